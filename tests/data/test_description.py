import numpy as np
import pytest
from fakes import MemoryDataset

from musicemo.data import (
    Description,
    Features,
    SplitSettings,
    TaskSettings,
    collect,
    describe,
    make_split,
    make_task,
)
from musicemo.errors import InputError


def described(**attributes):
    dataset = MemoryDataset()
    vars(dataset).update(attributes)
    names = ("valence", "genre")
    tracks = collect(dataset, [make_task(name, TaskSettings(), dataset.targets) for name in names])
    nothing = [None] * len(tracks)
    strata = np.zeros(len(tracks), dtype=np.intp)
    split = make_split(SplitSettings(method="random"), tracks.ids, strata, nothing, nothing)
    features = Features(tracks.tracks, tracks.rows)
    return describe(tracks, split, features), [features.lengths[index] for index in split.parts["train"]]


def test_it_comes_back_from_its_state():
    for extraction in (None, {"type": "mel-chroma", "grid": "beat", "outputs": ["mel"], "hop": 256}):
        found, _ = described(extraction=extraction)
        assert Description.from_state(found.to_state()) == found
        assert found.extraction == ([extraction] if extraction else [])
        assert found.streams == {"features": (12, 1)}


def test_lengths_are_those_of_the_training_part():
    found, lengths = described()
    assert found.lengths[0] == min(lengths)
    assert found.lengths[2] == max(lengths)
    assert sum(length <= found.lengths[1] for length in lengths) >= len(lengths) // 2
    assert (found.rows, found.input_size) == (slice(0, 12), 12)


@pytest.mark.parametrize(
    ("attributes", "message"),
    [
        ({"extraction": "beat"}, "extraction is 'beat'; it must be a table"),
        ({"extraction": {"hop": 3}}, "extraction is {'hop'"),
    ],
)
def test_a_dataset_that_misdeclares_itself_is_told(attributes, message):
    with pytest.raises(InputError, match=message):
        described(**attributes)
