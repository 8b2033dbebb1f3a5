import dataclasses
import math

import numpy as np
import pytest
from fakes import MemoryDataset

from musicemo.contracts import Dataset, Target, Track
from musicemo.data import TaskSettings, collect, make_task
from musicemo.errors import InputError

FEATURES = np.zeros((2, 3), "float32")
TARGETS = (
    Target("valence", "regression", range=(1, 9)),
    Target("genre", "classification", classes=("folk", "jazz", "pop")),
)


class Listed:
    targets = TARGETS
    rows = slice(0, 2)

    def __init__(self, *tracks: Track) -> None:
        self._tracks = tracks

    def tracks(self):
        return iter(self._tracks)


def track(name: str, **targets) -> Track:
    return Track(name, FEATURES, targets)


def tasks(*names: str, classes=None):
    options = {"genre": TaskSettings(classes=classes or {})}
    return [make_task(name, options.get(name, TaskSettings()), TARGETS) for name in names]


def said(*tracks: Track, names=("valence", "genre")) -> tuple[str, ...]:
    with pytest.raises(InputError) as caught:
        collect(Listed(*tracks), tasks(*names))
    return caught.value.problems


def test_targets_are_encoded_in_the_order_of_tasks():
    found = collect(
        Listed(track("a", valence=5, genre="pop"), track("b", genre="folk"), track("c", valence=9)),
        tasks("genre", "valence"),
    )
    assert found.ids == ["a", "b", "c"]
    assert len(found) == 3
    assert [task.classes for task in found.tasks] == [("folk", "pop"), ()]
    assert np.array_equal(found.targets, [[1, 0.5], [0, np.nan], [np.nan, 1]], equal_nan=True)
    assert found.rows == slice(0, 2)


def test_tracks_without_any_label_stand_apart():
    found = collect(
        Listed(
            *(track("a", valence=5, genre="pop"), track("b"), track("c", valence=None, genre=None)),
            *(track("d", genre="folk"), track("e", genre="jazz")),
        ),
        tasks("genre", classes={"jazz": False}),
    )
    assert found.ids == ["a", "d"]
    assert [one.id for one in found.unlabelled] == ["b", "c", "e"]


def test_groups_and_classes_describe_the_tracks():
    described = collect(
        Listed(
            dataclasses.replace(track("a", valence=5, genre="pop"), group="Muse"),
            dataclasses.replace(track("b", valence=2), group=7),
            track("c", valence=9, genre="jazz"),
        ),
        tasks("valence"),
    ).describe()
    assert described == {"groups": {"a": "Muse", "b": "7"}, "classes": {"genre": {"a": "pop", "c": "jazz"}}}


def test_the_memory_dataset():
    dataset = MemoryDataset(tracks=30, missing=0.3, seed=4)
    assert isinstance(dataset, Dataset)
    found = collect(dataset, [make_task(t.name, TaskSettings(), dataset.targets) for t in dataset.targets])
    missing = np.isnan(found.targets)
    assert missing.any()
    assert not missing.all(axis=1).any()
    assert len(found) + len(found.unlabelled) == 30


def test_ids_that_are_taken():
    assert said(track("a", valence=1), track("b", valence=1), track("a", valence=2), names=["valence"]) == (
        "track 'a': the id is not unique in the dataset",
    )


def test_targets_that_are_not_declared():
    assert said(track("a", valence=1, arousal=2, x=None), names=["valence"]) == (
        "track 'a': has targets that the dataset does not declare: arousal, x",
    )


def test_every_problem_is_told():
    assert said(
        track("a", valence=0, genre="rock"), track("b", valence=10, genre="pop"), track("b", genre="folk")
    ) == (
        "track 'a': valence is 0.0, outside [1, 9]",
        "track 'a': genre is 'rock', which is not a class (classes: folk, jazz, pop)",
        "track 'b': valence is 10.0, outside [1, 9]",
        "track 'b': the id is not unique in the dataset",
    )


def test_misspelt_classes_are_told_before_it_is_said_that_too_few_occur():
    assert said(track("a", genre="Pop"), track("b", genre="pop"), names=["genre"]) == (
        "track 'a': genre is 'Pop', which is not a class (classes: folk, jazz, pop)",
        "task 'genre': at least 2 classes must have tracks (found: pop)",
    )


def test_more_than_three_problems_of_a_kind_are_one_with_three_examples():
    problems = said(
        *(track(f"t{index}", valence=0) for index in range(70)), track("x", valence=math.inf), names=["valence"]
    )
    assert len(problems) == 2
    assert problems[0].count("\n") == 3
    assert "track 't2': valence is 0.0, outside [1, 9]" in problems[0]
    assert problems[0].endswith("... and 67 more of this kind (70 in all)")


def test_no_track_has_a_label():
    assert said(track("a"), track("b"), names=["valence"]) == (
        "none of the dataset's 2 tracks has a label for any task",
    )
    assert said() == ("none of the dataset's 0 tracks has a label for any task",)


# Whether a split can be trained on.


def check(labels, parts):
    found = collect(
        Listed(*(track(f"t{index}", genre=label) for index, label in enumerate(labels)), track("x", valence=5)),
        tasks("genre", "valence"),
    )
    found.check_trainable({name: np.array(indices, dtype=int) for name, indices in parts.items()})


def test_every_class_must_be_trained_on():
    labels = ["pop", "folk", "jazz", "pop"]
    check(labels, {"train": [0, 1, 2, 4], "val": [3], "test": []})
    with pytest.raises(InputError) as caught:
        check(labels, {"train": [0, 1, 4], "val": [3], "test": [2]})
    assert str(caught.value) == (
        "task 'genre': class 'jazz' occurs only in the test set (track 't2'). Merge or drop it with "
        "tasks.genre.classes, or change the split"
    )


def test_every_task_must_have_a_label_to_train_on():
    with pytest.raises(InputError, match="task 'valence': no track of the training set has a label"):
        check(["pop", "folk"], {"train": [0, 1], "val": [2], "test": []})


@pytest.mark.parametrize(
    ("track", "message"),
    [
        ({"id": "t0"}, "yields a dict, but must yield musicemo.contracts.Track"),
        (Track("t0", np.zeros((2, 3)), [1.0]), "track 't0': its targets are a list; they are a mapping"),
        (
            Track("t0", np.zeros((2, 3)), {}, ratings=[1.0]),
            "track 't0': its ratings are a list; they are a mapping",
        ),
    ],
)
def test_what_is_no_track_is_told(track, message):
    with pytest.raises(InputError, match=message):
        collect(Listed(track), [])


@pytest.mark.parametrize(
    ("changed", "message"),
    [
        ({"id": "a\rb"}, r"track 'a\\rb': its id contains '\\r', which is a control character"),
        ({"id": "a\x00"}, "a control character"),
        ({"id": "a\udce4"}, "not valid Unicode"),
        ({"id": ""}, "id is empty"),
        ({"id": 7}, "its id is 7; it must be text"),
        ({"group": math.nan}, "its group is nan; it must be text; a missing group is None"),
        ({"group": "x\n"}, "its group contains"),
        ({"ratings": {"valence": [2.0, math.nan]}}, r"a listener's rating of valence is nan, outside \[1, 9\]"),
        ({"ratings": {"valence": np.array([2.0, np.inf])}}, "a listener's rating of valence is inf, outside"),
        ({"ratings": {"valence": [9.5]}}, "is 9.5, outside"),
        ({"ratings": {"valence": ["9"]}}, "is '9', not a number"),
    ],
)
def test_what_cannot_be_written_or_averaged_is_an_error(changed, message):
    dataset = MemoryDataset(tracks=12)
    first, *others = dataset.tracks()
    dataset.tracks = lambda: [dataclasses.replace(first, **changed), *others]
    with pytest.raises(InputError, match=message):
        collect(dataset, [make_task("valence", TaskSettings(), dataset.targets)])


def test_ids_of_any_script_and_ratings_at_the_ends_are_fine():
    dataset = MemoryDataset(tracks=12)
    first, *others = dataset.tracks()
    ratings = {"valence": np.float32([1, 9])}
    odd = dataclasses.replace(first, id="\u6b4c \u200f\xa0#1", group="\N{ZERO WIDTH SPACE}", ratings=ratings)
    dataset.tracks = lambda: [odd, *others]
    assert collect(dataset, [make_task("valence", TaskSettings(), dataset.targets)]).ids[0] == odd.id


def test_a_smaller_share_of_labels_is_part_of_a_larger_one():
    every = collect(
        Listed(
            *(track(f"t{number}", valence=5, genre="pop" if number % 2 else "folk") for number in range(40))
        ),
        tasks("valence", "genre"),
    )
    train = np.arange(10, 40)

    def kept(seed: int, **shares: float) -> tuple[set[int], set[int]]:
        targets = every.with_share_of_labels(train, shares, seed).targets
        return tuple(set(np.flatnonzero(np.isfinite(column)).tolist()) for column in targets.T)

    few, many = kept(0, valence=0.1)[0], kept(0, valence=0.5)[0]
    assert set(range(10)) < few < many
    assert (len(few), len(many)) == (10 + 3, 10 + 15)
    assert kept(0, valence=0.1)[1] == set(range(40))
    assert len(kept(0, valence=0.001)[0]) == 11  # at least one
    assert kept(1, valence=0.5)[0] != many  # another seed
    assert kept(0, genre=0.5)[1] != many  # another task
    assert kept(0, valence=0.5)[0] == many
    assert np.isfinite(every.targets).all()
