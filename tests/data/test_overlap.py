"""Labels of the same tracks in several joined datasets."""

from __future__ import annotations

import numpy as np
import pytest

from musicemo.contracts import Target, Track
from musicemo.data import Features, Joined, Split, TaskSettings, collect, compare_datasets, make_task, summarize
from musicemo.data.same import find_same, recordings
from musicemo.errors import InputError

RANDOM = np.random.default_rng(0)


class Rated:
    """Songs with numbers as ids, each with an array of its own."""

    def __init__(self, ratings, *, id_space=None, high=9.0, shift=0.0, genres=None):
        self.targets = [
            *(Target(name, "regression", range=(1, high)) for name in ratings),
            *([Target("genre", "classification", classes=("folk", "jazz"))] if genres else []),
        ]
        self.id_space = id_space
        self.ratings, self._shift, self._genres = ratings, shift, genres

    def tracks(self):
        for index in range(len(next(iter(self.ratings.values())))):
            targets = {name: float(values[index]) for name, values in self.ratings.items()}
            if self._genres:
                targets["genre"] = self._genres[index]
            yield Track(str(index), np.full((3, 2), index + self._shift, "float32"), targets)


def overlaps(tasks, **datasets):
    dataset = Joined(datasets, {name: TaskSettings(**table) for name, table in tasks.items()})
    tracks = collect(
        dataset, [make_task(name, TaskSettings(**tasks[name]).under(name), dataset.targets) for name in tasks]
    )
    every = np.arange(len(tracks))
    split = Split({"train": every, "val": every[:0], "test": every[:0]}, tracks.ids)
    return compare_datasets(tracks, find_same(recordings(tracks, split, Features(tracks.tracks, tracks.rows))))


def emotions(count=60):
    """Return two ratings that correlate, as valence and arousal do."""
    common = RANDOM.normal(size=count)
    valence, arousal = (np.clip(5 + common + RANDOM.normal(size=count), 1, 9) for _ in range(2))
    return valence, arousal


def test_targets_that_are_swapped_in_one_dataset():
    valence, arousal = emotions()
    first = Rated({"valence": valence.round(1), "arousal": arousal.round(1)}, id_space="deam")
    second = Rated({"valence": arousal, "arousal": valence}, id_space="deam", shift=0.5)
    (found,) = overlaps({"valence": {}, "arousal": {}}, deam=first, emomusic=second)
    values = {(one.first, one.second): one.value for one in found.correlations}
    expected = {
        (a, b): np.corrcoef(first.ratings[a], second.ratings[b])[0, 1]
        for a in first.ratings
        for b in second.ratings
    }
    assert values == pytest.approx(expected)
    assert (found.shared, found.evidence) == (60, ["id"])
    own = [values[name, name] for name in ("valence", "arousal")]
    assert found.warning == (
        "labels of deam and emomusic contradict each other on 60 shared tracks: "
        f"deam valence correlates 1.000 with emomusic arousal, {own[0]:.3f} with emomusic valence; "
        f"deam arousal correlates 1.000 with emomusic valence, {own[1]:.3f} with emomusic arousal. "
        'Check which dataset is right. tasks.valence.target = { deam = "valence", emomusic = "arousal" } and '
        'tasks.arousal.target = { deam = "arousal", emomusic = "valence" } joins the targets that agree'
    )
    remedied = {task: {"target": dict(targets)} for task, targets in found.remedy.items()}
    (mended,) = overlaps(remedied, deam=first, emomusic=second)
    assert not mended.warning


def test_a_target_that_is_no_task_is_compared_too():
    valence, arousal = emotions()
    first = Rated({"valence": valence, "arousal": arousal})
    second = Rated({"valence": np.clip(arousal + RANDOM.normal(size=60), 1, 9), "other": valence})
    (found,) = overlaps({"valence": {}}, a=first, b=second)
    assert found.evidence == ["features"]
    assert "a valence correlates 1.000 with b other" in found.warning
    assert 'tasks.valence.target = { a = "valence", b = "other" }' in found.warning


def test_labels_that_agree_are_no_conflict():
    valence, arousal = emotions()
    noise = RANDOM.normal(scale=0.3, size=(2, 60))
    first = Rated({"valence": valence, "arousal": arousal})
    second = Rated({"valence": np.clip(valence + noise[0], 1, 9), "arousal": np.clip(arousal + noise[1], 1, 9)})
    (found,) = overlaps({"valence": {}, "arousal": {}}, a=first, b=second)
    assert found.shared == 60
    assert not found.warning


def test_a_small_difference_is_no_conflict():
    """The other pair agrees better only by chance: two noisy copies of one rating."""
    rating = RANDOM.normal(size=40).clip(-3, 3) + 5
    copies = [np.clip(rating + RANDOM.normal(scale=0.5, size=40), 1, 9) for _ in range(3)]
    first = Rated({"valence": copies[0]})
    second = Rated({"valence": copies[1], "again": copies[2]})
    (found,) = overlaps({"valence": {}}, a=first, b=second)
    assert not found.warning


def test_a_reversed_scale():
    valence, _ = emotions()
    (found,) = overlaps({"valence": {}}, a=Rated({"valence": valence}), b=Rated({"valence": 10 - valence}))
    assert found.conflicts == [
        "a valence correlates -1.000 with b valence, as if one of the scales were reversed"
    ]
    assert found.warning.endswith("Check the labels of both datasets, or train on one of them")


def test_classes():
    genres = ["folk", "jazz"] * 30
    other = ["jazz"] * 12 + genres[12:]
    ratings = {"valence": np.linspace(1, 9, 60)}
    (found,) = overlaps({"genre": {}}, a=Rated(ratings, genres=genres), b=Rated(ratings, genres=other))
    assert found.classes == {"genre": (60, 6)}
    assert not found.conflicts, "a tenth may differ"
    other[12:14] = ["jazz", "folk"]
    (found,) = overlaps({"genre": {}}, a=Rated(ratings, genres=genres), b=Rated(ratings, genres=other))
    assert found.conflicts == ["genre: 8 of 60 have another class"]


def test_ids_without_a_common_catalogue_are_not_the_same_music():
    valence, arousal = emotions()
    for spaces in [(None, None), ("a", "b"), ("a", None)]:
        first = Rated({"valence": valence}, id_space=spaces[0])
        second = Rated({"valence": arousal}, id_space=spaces[1], shift=0.5)
        assert overlaps({"valence": {}}, a=first, b=second) == []


@pytest.mark.parametrize("value", [3, ["deam"]])
def test_an_id_space_is_text(value):
    with pytest.raises(InputError, match=r"id_space is .*; it must be the name of a catalogue"):
        overlaps({"valence": {}}, a=Rated({"valence": emotions()[0]}, id_space=value))


def test_the_summary_has_it():
    valence, arousal = emotions()
    dataset = Joined(
        {"a": Rated({"valence": valence}), "b": Rated({"valence": arousal})}, {"valence": TaskSettings()}
    )
    tracks = collect(dataset, [make_task("valence", TaskSettings(), dataset.targets)])
    split = Split({"train": np.arange(60), "val": np.arange(0), "test": np.arange(60, 120)}, tracks.ids)
    found = summarize(tracks, split, Features(tracks.tracks, tracks.rows))
    assert [one.shared for one in found.overlaps] == [60]
    assert found.leaks == [
        "60 recordings are in more than one set, as tracks with equal features: 'a/0' (train), 'b/0' (test); "
        "'a/1' (train), 'b/1' (test); 'a/2' (train), 'b/2' (test); and 57 more"
    ]
