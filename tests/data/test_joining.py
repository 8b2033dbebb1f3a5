from collections import Counter

import numpy as np
import pytest

from musicemo.contracts import Dataset, Target, Track
from musicemo.data import Joined, Split, TaskSettings, artist_key, collect, make_task, split_joined
from musicemo.errors import InputError

FEATURES = np.zeros((3, 2), "float32")
WIDE = Target("valence", "regression", range=(1, 9))
NARROW = Target("mood", "regression", range=(-1, 1))
GENRE = Target("genre", "classification", classes=("folk", "jazz"))
STYLE = Target("genre", "classification", classes=("jazz", "rock"))


class Listed:
    def __init__(self, targets, tracks=(), rows=slice(0, 2), **more) -> None:
        self.targets, self._tracks, self.rows = targets, tracks, rows
        vars(self).update(more)

    def tracks(self):
        return iter(self._tracks)


def track(name: str, group=None, part=None, ratings=None, **targets) -> Track:
    return Track(name, FEATURES, targets, group, part, ratings or {})


def joined(tasks=None, **datasets) -> Joined:
    settings = {name: TaskSettings(**table) for name, table in (tasks or {"valence": {}}).items()}
    return Joined(datasets, settings)


def read(tasks, **datasets):
    made = joined(tasks, **datasets)
    return collect(
        made, [make_task(name, TaskSettings(**tasks[name]).under(name), made.targets) for name in tasks]
    )


def test_it_is_a_dataset_whose_ids_are_qualified():
    made = joined(a=Listed([WIDE], [track("1", valence=5.0)]), b=Listed([WIDE], [track("1", valence=9.0)]))
    assert isinstance(made, Dataset)
    assert [(found.id, found.source) for found in made.tracks()] == [("a/1", "a"), ("b/1", "b")]
    assert list(made.targets) == [Target("valence", "regression", range=(1, 9))]


def test_differently_named_and_scaled_targets_become_one():
    tasks = {"valence": {"target": {"a": "valence", "b": "mood"}}}
    a = Listed([WIDE], [track("1", valence=1.0), track("2", valence=7.0)])
    b = Listed([NARROW], [track("1", mood=-1.0), track("2", mood=0.5), track("3", mood=1.0)])
    found = read(tasks, a=a, b=b)
    assert found.targets[:, 0].tolist() == [0, 0.75, 0, 0.75, 1]
    assert found.tasks[0].range == (0, 1), "the ranges differ, so it is reported as a share of them"
    tasks["valence"]["range"] = (1, 9)
    found = read(tasks, a=a, b=b)
    assert found.targets[:, 0].tolist() == [0, 0.75, 0, 0.75, 1]
    assert found.tasks[0].decode(found.targets[:, 0]).tolist() == [1, 7, 1, 7, 9]
    assert [one.targets for one in found.tracks] == [{"valence": value} for value in (1, 7, 1, 7, 9)]


def test_a_common_range_is_the_tasks_and_ratings_stay_to_the_bit():
    values = np.random.default_rng(0).uniform(1, 9, size=20).tolist()
    tracks = [track(str(index), valence=value) for index, value in enumerate(values)]
    alone = collect(Listed([WIDE], tracks), [make_task("valence", TaskSettings(), [WIDE])])
    found = read({"valence": {}}, a=Listed([WIDE], tracks[:7]), b=Listed([WIDE], tracks[7:]))
    assert found.tasks[0].range == (1, 9)
    assert np.array_equal(found.targets, alone.targets)


@pytest.mark.parametrize("ends", [(0.1, 0.7), (-3.3, 1.1), (1, 9)])
def test_the_ends_of_a_range_stay_its_ends(ends):
    tasks = {"mood": {"range": ends}}
    low, high = (Listed([NARROW], [track("1", mood=value)]) for value in (-1.0, 1.0))
    assert read(tasks, a=low, b=high).targets[:, 0].tolist() == [0, 1]


def test_a_dataset_without_the_target_has_it_missing():
    tasks = {"valence": {}, "genre": {}}
    a = Listed([WIDE], [track("1", valence=5.0)])
    b = Listed([GENRE], [track("1", genre="jazz"), track("2", genre="folk"), track("3")])
    found = read(tasks, a=a, b=b)
    assert np.array_equal(found.targets, [[0.5, np.nan], [np.nan, 1], [np.nan, 0]], equal_nan=True)
    assert [one.id for one in found.unlabelled] == ["b/3"]
    assert {name: indices.tolist() for name, indices in found.sources.items()} == {"a": [0], "b": [1, 2]}


def test_a_dataset_that_a_table_of_targets_does_not_name_takes_no_part():
    tasks = {"valence": {"target": {"a": "valence"}}, "genre": {}}
    a = Listed([WIDE], [track("1", valence=5.0)])
    b = Listed([WIDE, GENRE], [track("1", valence=5.0, genre="jazz"), track("2", genre="folk")])
    assert np.isnan(read(tasks, a=a, b=b).targets[1, 0])


def test_classes_are_those_of_all():
    tasks = {"genre": {"classes": {"rock": "jazz"}}}
    a = Listed([GENRE], [track("1", genre="jazz"), track("2", genre="folk")])
    b = Listed([STYLE], [track("1", genre="rock")])
    found = read(tasks, a=a, b=b)
    assert found.tasks[0].classes == ("folk", "jazz")
    assert found.targets[:, 0].tolist() == [1, 0, 1]
    assert read({"genre": {}}, a=a, b=b).tasks[0].classes == ("folk", "jazz", "rock")


def test_single_ratings_go_along():
    tasks = {"valence": {"target": {"a": "valence", "b": "mood"}}}
    a = Listed([WIDE], [track("1", valence=5.0, ratings={"valence": [1, 5, 9]})])
    b = Listed([NARROW], [track("1", mood=0.0, ratings={"mood": [-1, 1], "other": [3]})])
    assert [one.ratings for one in joined(tasks, a=a, b=b).tracks()] == [
        {"valence": [0, 0.5, 1]},
        {"valence": [0, 1]},
    ]


def test_problems_of_the_tracks_are_told_in_their_own_units():
    a = Listed([WIDE], [track("1", valence=12.0), track("2", valence="high"), track("3", tempo=1.0)])
    b = Listed([NARROW], [track("1", mood=0.0)])
    with pytest.raises(InputError) as caught:
        read({"valence": {"target": {"a": "valence", "b": "mood"}}}, a=a, b=b)
    assert caught.value.problems == (
        "track 'a/1': valence is 12.0, outside [1, 9]",
        "track 'a/2': valence is 'high', not a number",
        "track 'a/3': has targets that the dataset does not declare: tempo",
    )


@pytest.mark.parametrize(
    ("table", "message"),
    [
        ({}, "no dataset declares a target 'task' (targets of a: valence, genre; b: mood)"),
        (
            {"target": "moood"},
            "no dataset declares a target 'moood'; did you mean 'mood'? "
            "(targets of a: valence, genre; b: mood)",
        ),
        (
            {"target": {"c": "valence"}},
            "target: there is no dataset 'c' (datasets: a, b)",
        ),
        (
            {"target": {"a": "valance"}},
            "target: a declares no target 'valance'; did you mean 'valence'? (targets: valence, genre)",
        ),
        ({"target": {}}, "target: names no dataset"),
        (
            {"target": {"a": "genre", "b": "mood"}},
            "the datasets' targets are of different kinds ('genre' of a: classification, 'mood' of b: regression)",
        ),
        ({"target": "genre", "range": (0, 2)}, "range: is for ratings, and this is a classification"),
    ],
)
def test_a_target_that_does_not_fit(table, message):
    made = joined({"task": table, "mood": {}}, a=Listed([WIDE, GENRE]), b=Listed([NARROW]))
    made.check("mood")
    with pytest.raises(InputError) as caught:
        made.check("task")
    assert str(caught.value) == message


BEAT = {"extraction": {"type": "mel-chroma", "grid": "beat"}}
FRAME = {"extraction": {"type": "mel-chroma", "grid": "frame"}}


@pytest.mark.parametrize(
    ("first", "second", "message"),
    [
        (
            {"rows": slice(0, 128)},
            {"rows": slice(0, 140)},
            "feature rows must be the same: a has 0 to 128, b has 0 to 140",
        ),
        ({"rows": slice(0, 2, 2)}, {"rows": slice(0, 2)}, "a has 0 to 1 in steps of 2, b has 0 to 2"),
        (BEAT, FRAME, "features must be the same: a has {'type': 'mel-chroma', 'grid': 'beat'}, b has {"),
        ({"extraction": "beat"}, {}, "a: the dataset's extraction is 'beat'; it must be a table"),
        (
            {"extraction": {"grid": "beat"}},
            {},
            "a: the dataset's extraction is {'grid': 'beat'}; it must be a table",
        ),
    ],
)
def test_features_must_agree(first, second, message):
    with pytest.raises(InputError, match=message.replace("(", r"\(")):
        joined(a=Listed([WIDE], **first), b=Listed([WIDE], **second))


def test_what_is_unknown_of_one_dataset_is_unknown_of_both():
    assert not hasattr(joined(a=Listed([WIDE], **BEAT), b=Listed([WIDE])), "extraction")
    assert joined(a=Listed([WIDE], **BEAT), b=Listed([WIDE], **BEAT)).extraction == BEAT["extraction"]


def halves(tracks):
    """Put the first half of a dataset's groups in the training part and the others in the test part."""

    def split_one(name, indices):
        groups = sorted({tracks.tracks[index].group for index in indices})
        trains = np.array([tracks.tracks[index].group in groups[: len(groups) // 2] for index in indices])
        parts = {"train": np.flatnonzero(trains), "val": np.array([], int), "test": np.flatnonzero(~trains)}
        return Split(parts, [tracks.ids[index] for index in indices])

    return split_one


def grouped_tracks(spelling="artist{}"):
    a = [track(str(index), f"artist{index // 2}", valence=5.0) for index in range(8)]
    b = [track(str(index), spelling.format(2 + index // 2), valence=5.0) for index in range(8)]
    return read({"valence": {}}, a=Listed([WIDE], a), b=Listed([WIDE], b))


@pytest.mark.parametrize("spelling", ["artist{}", "The Artist {}", "ARTIST{} feat. Nina"])
def test_an_artist_of_two_datasets_stands_on_one_side(spelling):
    tracks = grouped_tracks(spelling)
    split = split_joined(halves(tracks), {"a": True, "b": True}, tracks)
    sides: dict[str, set[str]] = {}
    for part, indices in split.parts.items():
        for index in indices:
            sides.setdefault(artist_key(tracks.tracks[index].group), set()).add(part)
    assert sides == {f"artist{number}": {"train" if number in (0, 1, 4) else "test"} for number in range(6)}
    assert sorted(np.concatenate(list(split.parts.values()))) == list(range(16))


def test_a_dataset_that_is_not_split_by_groups_is_split_by_itself():
    tracks = grouped_tracks()
    split = split_joined(halves(tracks), {"a": True, "b": False}, tracks)
    counts = {part: Counter(tracks.tracks[i].source for i in split.parts[part]) for part in ("train", "test")}
    assert counts == {"train": {"a": 4, "b": 4}, "test": {"a": 4, "b": 4}}


def test_datasets_of_the_same_artists_alone():
    a = [track(str(index), f"artist{index}", valence=5.0) for index in range(4)]
    tracks = read({"valence": {}}, a=Listed([WIDE], a), b=Listed([WIDE], a))
    split = split_joined(halves(tracks), {"a": True, "b": True}, tracks)
    assert split.track_ids("train") == ["a/0", "a/1", "b/0", "b/1"]


def test_a_tag_that_a_dataset_does_not_declare_is_unknown_for_its_tracks():
    tasks = {"mood": {}}
    a = Listed(
        [Target("mood", "tags", classes=("film", "sad"))], [track("1", mood=["sad"]), track("2", mood=None)]
    )
    b = Listed(
        [Target("mood", "tags", classes=("happy", "sad"))],
        [track("1", mood=["happy", "sad"]), track("2", mood={"film": True}), track("3", mood={"happy": True})],
    )
    c = Listed([Target("mood", "tags", classes=("film",))], [track("1", mood=["film"])])
    found = read(tasks, a=a, b=b, c=c)
    assert found.tasks[0].classes == ("film", "happy", "sad")
    nan = np.nan
    rows = [[0, nan, 1], [nan, 1, 1], [1, nan, nan], [nan, 1, nan], [1, nan, nan]]
    np.testing.assert_array_equal(found.targets, rows)
    assert [one.id for one in found.unlabelled] == ["a/2"]
