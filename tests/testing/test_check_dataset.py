"""`check_dataset`: what it lets pass, and which clause each kind of mistake breaks."""

import dataclasses
import random
from collections.abc import Callable
from pathlib import Path

import numpy as np
import pytest
from fakes import MemoryDataset

from musicemo.contracts import Target
from musicemo.testing import ContractError, check_dataset


class Changed(MemoryDataset):
    """A dataset whose tracks are changed on their way out."""

    def tracks(self):
        return self.change(list(super().tracks()))

    def change(self, tracks):
        return tracks


def one(**changes) -> Callable:
    """Return what changes the sixth track."""

    def change(self, tracks):
        tracks[5] = dataclasses.replace(tracks[5], **changes)
        return tracks

    return change


class Shuffled(Changed):
    def change(self, tracks):
        random.shuffle(tracks)
        return tracks


class OtherEachTime(Changed):
    calls = 0

    def change(self, tracks):
        self.calls += 1
        return [dataclasses.replace(track, features=track.features + self.calls) for track in tracks]


class Undeclared(MemoryDataset):
    def __init__(self) -> None:
        super().__init__()
        self.targets = ()


class Endless(MemoryDataset):
    def __init__(self) -> None:
        super().__init__()
        self.targets = [Target("valence", "regression", range=(0.0, float("inf")))]


class OneClass(MemoryDataset):
    def __init__(self) -> None:
        super().__init__()
        self.targets = [Target("genre", "classification", classes=("folk",))]


class NoRows(MemoryDataset):
    def __init__(self) -> None:
        super().__init__()
        self.rows = None


class TooManyRows(MemoryDataset):
    def __init__(self) -> None:
        super().__init__()
        self.rows = slice(0, 13)


class Strange(MemoryDataset):
    extraction = "mel-chroma"


class Unpicklable(MemoryDataset):
    def __init__(self) -> None:
        super().__init__()
        self.reader = lambda path: path


class Empty(Changed):
    def change(self, tracks):
        return []


class Pairs(Changed):
    def change(self, tracks):
        return [(track.id, track) for track in tracks]


class Raises(MemoryDataset):
    def tracks(self):
        raise OSError("no disk")


def features(shape=(9, 12), value=0.0, dtype=np.float32):
    return np.full(shape, value, dtype)


class Unknown(MemoryDataset):
    def __init__(self) -> None:
        super().__init__()
        self.targets = [*self.targets, Target("calm", "regression")]


def test_a_dataset_that_holds_its_contract_passes_and_gives_its_tracks():
    assert len(check_dataset(MemoryDataset, {"tracks": 9})) == 9
    assert len(check_dataset(MemoryDataset(tracks=9))) == 9


def test_an_installed_one_is_looked_up(fakes):
    assert len(check_dataset("memory", {"tracks": 9, "missing": 0.5})) == 9


@pytest.mark.parametrize(
    ("dataset", "clause", "words"),
    [
        (object, "construction", "a dataset must have targets and tracks()"),
        (object(), "targets", "lacks targets or tracks()"),
        (Undeclared, "targets", "declares no target"),
        (Endless, "targets", "a range is finite"),
        (OneClass, "targets", "at least two"),
        (NoRows, "targets", "a slice"),
        (Strange, "targets", "must be a table [features] with a type"),
        (Empty, "tracks", "no track"),
        (Pairs, "tracks", "yields a tuple"),
        (Raises, "tracks", "OSError: no disk"),
        (TooManyRows, "features", "has 12 rows"),
        (Shuffled, "order", "stands where"),
        (OtherEachTime, "order", "other features a second time"),
        (Unpicklable, "pickle", "pickling it"),
        (Unknown, "labels", "no track has a value for 'calm'"),
    ],
)
def test_each_mistake_breaks_its_clause(dataset, clause, words):
    with pytest.raises(ContractError) as caught:
        check_dataset(dataset)
    assert words in caught.value.problems[clause]


@pytest.mark.parametrize(
    ("changes", "clause", "words"),
    [
        ({"id": "track000"}, "ids", "id of two tracks"),
        ({"id": ""}, "ids", "not empty"),
        ({"id": 7}, "ids", "an id is 7"),
        ({"targets": {"valance": 3.0}}, "labels", "'valance', which is not declared"),
        ({"targets": {"valence": 9.5}}, "labels", "outside the declared range [1, 9]"),
        ({"targets": {"valence": float("nan")}}, "labels", "outside"),
        ({"targets": {"valence": "high"}}, "labels", "is a number"),
        ({"targets": {"genre": "polka"}}, "labels", "not among the declared classes"),
        ({"ratings": {"valence": [0.5]}}, "labels", "outside"),
        ({"group": ""}, "groups", "a group is text"),
        ({"part": "validation"}, "groups", "'validation'"),
        ({"features": [[0.0]]}, "features", "a list"),
        ({"features": features((12,))}, "features", "float32 [12]"),
        ({"features": features(dtype=np.int16)}, "features", "int16"),
        ({"features": features((0, 12))}, "features", "no time step"),
        ({"features": features(value=np.nan)}, "features", "not finite"),
        ({"features": features((9, 11))}, "features", "has 11 rows"),
        ({"features": features((9, 13))}, "features", "has 13 rows where the first has 12"),
        ({"features": features(), "audio": Path("song.mp3")}, "features", "has audio and features"),
        ({"features": None, "audio": "song.mp3"}, "features", "has a str as audio; it is a path"),
        ({"features": None, "audio": Path("none.mp3")}, "features", "there is no file none.mp3"),
        ({"features": Path("none.npy")}, "features", "none.npy: there is no such file"),
    ],
)
def test_each_mistake_in_a_track_breaks_its_clause(changes, clause, words, monkeypatch):
    monkeypatch.setattr(Changed, "change", one(**changes))
    with pytest.raises(ContractError) as caught:
        check_dataset(Changed)
    assert words in caught.value.problems[clause]
    assert set(caught.value.problems) <= {clause, "pickle", "order"}
