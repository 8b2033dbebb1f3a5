import dataclasses

import numpy as np
import pytest
import torch
from examples import examples, rows
from musicemo_builtin.augmentations.spec_augment import SpecAugment

from musicemo.errors import InputError
from musicemo.testing import check_augmentation


@pytest.mark.parametrize("parameters", [{}, {"time_masks": 0}, {"frequency_masks": 0, "time_width": 1.0}])
def test_it_holds_its_contract(parameters):
    check_augmentation("spec-augment", parameters)


def test_masks_are_steps_or_declared_bands_of_at_most_the_width():
    tracks = examples([40] * 200)
    x = SpecAugment(rows=rows(), time_masks=1, time_width=0.25, frequency_masks=0)(
        tracks, np.random.default_rng(0)
    ).x
    masked = (x == 0).all(dim=2)
    assert torch.equal(masked, (x == 0).any(dim=2)), "whole steps"
    assert set(masked.sum(dim=1).tolist()) == set(range(11))
    assert (masked.int().diff(dim=1) == 1).sum(dim=1).max() <= 1, "one mask"
    x = SpecAugment(rows=rows(), time_masks=0, frequency_masks=1, frequency_width=0.5)(
        tracks, np.random.default_rng(0)
    ).x
    masked = (x == 0).all(dim=1)
    assert torch.equal(masked, (x == 0).any(dim=1)), "at all steps"
    assert not masked[:, 6:].any(), "only the frequency bands"
    assert set(masked.sum(dim=1).tolist()) == {0, 1, 2, 3}


def test_frequency_masks_need_declared_bands():
    silent = dataclasses.replace(rows(), bands=[])
    with pytest.raises(
        InputError, match="frequency_masks: needs frequency bands, but the features \\(mel-chroma\\)"
    ):
        SpecAugment(rows=silent)
    SpecAugment(rows=silent, frequency_masks=0)
