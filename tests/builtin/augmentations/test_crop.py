import numpy as np
import torch
from examples import examples
from musicemo_builtin.augmentations.crop import Crop

from musicemo.testing import check_augmentation


def test_it_holds_its_contract():
    check_augmentation("crop", {"length": 16})
    check_augmentation("crop", {"length": 100, "evaluation": 0})


def test_an_excerpt_is_a_part_of_its_track_and_every_start_occurs():
    tracks = examples([12, 3, 7])
    starts = set()
    for seed in range(100):
        cut = Crop(length=5)(tracks, np.random.default_rng(seed))
        assert cut.lengths.tolist() == [5, 3, 5]
        assert torch.equal(cut.x[1, :3], tracks.x[1, :3])
        assert not cut.x[1, 3:].any()
        (start,) = (n for n in range(8) if torch.equal(cut.x[0], tracks.x[0, n : n + 5]))
        starts.add(start)
    assert starts == set(range(8))


def test_the_evaluation_has_excerpts_of_the_same_length():
    assert Crop(length=5).excerpts == (5, 5)
    assert Crop(length=5, evaluation=0).excerpts is None
