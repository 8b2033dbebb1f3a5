import numpy as np
import pytest
import torch
from examples import examples
from musicemo_builtin.augmentations.mixup import Mixup

from musicemo.testing import check_augmentation


@pytest.mark.parametrize("alpha", [0.2, 1.0])
def test_it_holds_its_contract(alpha):
    check_augmentation("mixup", {"alpha": alpha})


def test_a_mix_is_the_weighted_mean_within_both_tracks():
    tracks = examples([6, 4, 5])
    mixes = Mixup(alpha=1.0)(tracks, np.random.default_rng(1))
    first, second = mixes.labels
    weight, partners = first.weight, second.places
    assert 0.5 <= weight < 1
    assert first.places.tolist() == [0, 1, 2]
    assert sorted(partners.tolist()) == [0, 1, 2]
    assert mixes.lengths.tolist() == [6, 4, 5]
    for row, partner in enumerate(partners.tolist()):
        both = min(int(tracks.lengths[row]), int(tracks.lengths[partner]))
        expected = weight * tracks.x[row] + (1 - weight) * tracks.x[partner]
        assert torch.allclose(mixes.x[row, :both], expected[:both])
        assert torch.equal(mixes.x[row, both:], tracks.x[row, both:])


def test_weights_follow_the_distribution():
    weights = [
        Mixup(alpha=1.0)(examples([1, 1]), np.random.default_rng(seed)).labels[0].weight for seed in range(200)
    ]
    assert np.quantile(weights, [0.25, 0.5, 0.75]) == pytest.approx([0.625, 0.75, 0.875], abs=0.05)
