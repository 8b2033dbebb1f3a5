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
from musicemo.features import Recipe


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
    for attributes in ({}, {"sync": "frame"}, {"sync": "beat", "recipe": Recipe(hop=256, duration=30.0)}):
        found, _ = described(**attributes)
        assert Description.from_state(found.to_state()) == found
        assert (found.sync, found.recipe) == (attributes.get("sync"), attributes.get("recipe"))


def test_lengths_are_those_of_the_training_part():
    found, lengths = described()
    assert found.lengths[0] == min(lengths)
    assert found.lengths[2] == max(lengths)
    assert sum(length <= found.lengths[1] for length in lengths) >= len(lengths) // 2
    assert (found.rows, found.input_size) == (slice(0, 12), 12)


@pytest.mark.parametrize(
    ("attributes", "message"),
    [
        ({"sync": "bar"}, "sync is 'bar'; it must be 'beat', 'frame' or None"),
        ({"recipe": {"hop": 3}}, "recipe is {'hop'"),
    ],
)
def test_a_dataset_that_misdeclares_itself_is_told(attributes, message):
    with pytest.raises(InputError, match=message):
        described(**attributes)
