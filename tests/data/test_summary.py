import json
from dataclasses import asdict

import numpy as np
from fakes import MemoryDataset

from musicemo.contracts import Target, Track
from musicemo.data import Features, Split, TaskSettings, collect, make_task, summarize


class Listed:
    targets = (
        Target("valence", "regression", range=(1, 9)),
        Target("genre", "classification", classes=("folk", "jazz", "pop", "rock")),
    )
    rows = slice(None)

    def __init__(self, tracks) -> None:
        self._tracks = tracks

    def tracks(self):
        return iter(self._tracks)


def array(value: float, frames: int = 3) -> np.ndarray:
    return np.full((frames, 2), value, "float32")


def summary(tracks, parts, classes=None):
    dataset = Listed(tracks)
    tasks = [
        make_task("valence", TaskSettings(), dataset.targets),
        make_task("genre", TaskSettings(classes=classes or {}), dataset.targets),
    ]
    found = collect(dataset, tasks)
    split = Split({name: np.array(indices, dtype=int) for name, indices in parts.items()}, found.ids)
    return summarize(found, split, Features(found.tracks, found.rows))


TRACKS = [
    Track("a", array(1, 3), {"valence": 1.0, "genre": "pop"}, group="x"),
    Track("b", array(2, 4), {"valence": 3.0, "genre": "rock"}, group="x"),
    Track("c", array(3, 5), {"valence": 9.0, "genre": "folk"}, group="y"),
    Track("d", array(4, 6), {"valence": None, "genre": "pop"}, group="z"),
    Track("e", array(5, 7), {"valence": 5.0, "genre": "jazz"}),
    Track("f", array(6, 8), {}),
]


def test_counts_and_distributions():
    found = summary(TRACKS, {"train": [0, 1, 2], "val": [3], "test": [4]}, {"rock": "pop", "jazz": False})
    assert (found.tracks, found.unlabelled) == (5, 1)
    assert found.parts == {"train": 3, "val": 1, "test": 1}
    assert found.frames == {"train": [3, 4, 5], "val": [6, 6, 6], "test": [7, 7, 7]}
    assert found.feature_rows == 2
    assert found.ratings["valence"]["train"] == {
        **{"count": 3, "missing": 0, "min": 1, "q1": 2, "median": 3, "q3": 6, "max": 9, "mean": 13 / 3}
    }
    assert found.ratings["valence"]["val"] == {"count": 0, "missing": 1}
    assert found.classes["genre"] == {
        "folk": {"train": 1, "val": 0, "test": 0},
        "pop": {"train": 2, "val": 1, "test": 0},
        "missing": {"train": 0, "val": 0, "test": 1},
    }
    assert found.merged["genre"] == {
        "folk": {"tracks": 1, "becomes": "folk"},
        "jazz": {"tracks": 1, "becomes": None},
        "pop": {"tracks": 2, "becomes": "pop"},
        "rock": {"tracks": 1, "becomes": "pop"},
    }
    assert found.leaks == []
    assert json.loads(json.dumps(asdict(found), allow_nan=False)) == asdict(found)


def test_an_empty_part():
    found = summary(TRACKS, {"train": [0, 1, 2, 3, 4], "val": [], "test": []})
    assert found.parts == {"train": 5, "val": 0, "test": 0}
    assert list(found.frames) == ["train"]
    assert found.ratings["valence"]["test"] == {"count": 0, "missing": 0}


def test_groups_in_several_parts_leak():
    found = summary(TRACKS, {"train": [0, 2], "val": [1], "test": [3, 4]})
    assert found.leaks == [
        "1 of 3 groups (artists, albums) are in more than one set, for example 'x'; "
        'method = "grouped" keeps each in one set'
    ]


def test_equal_features_in_several_parts_leak():
    tracks = [
        Track(name, array(value), {"valence": 5.0, "genre": genre})
        for name, value, genre in [
            ("a", 1, "pop"),
            ("b", 1, "folk"),
            ("c", 2, "pop"),
            ("d", 2, "pop"),
            ("e", 1, "pop"),
        ]
    ]
    found = summary(tracks, {"train": [0, 2, 3], "val": [1], "test": [4]})
    assert found.leaks == [
        "1 recording is in more than one set, as tracks with equal features: 'a' (train), 'b' (val), 'e' (test)"
    ]
    assert not summary(tracks, {"train": [0, 1, 2, 3, 4], "val": [], "test": []}).leaks


def test_tracks_in_no_part_are_left_out():
    assert not summary(TRACKS, {"train": [0, 2], "val": [], "test": [3]}).leaks


def test_of_the_memory_dataset():
    dataset = MemoryDataset()
    tasks = [make_task(target.name, TaskSettings(), dataset.targets) for target in dataset.targets]
    found = collect(dataset, tasks)
    split = Split({"train": np.arange(40), "val": np.arange(40, 50), "test": np.arange(50, 60)}, found.ids)
    result = summarize(found, split, Features(found.tracks, found.rows))
    assert result.feature_rows == 12
    assert result.split_hash == split.hashes["all"]
    assert len(result.leaks) == 1, "artists have four tracks each"
