import dataclasses

import numpy as np
import pytest
import torch
from examples import examples, rows
from musicemo_builtin.augmentations.gain import Gain

from musicemo.contracts import Bands
from musicemo.errors import InputError
from musicemo.testing import check_augmentation


def test_it_holds_its_contract():
    check_augmentation("gain")
    check_augmentation("gain", {"limit": 20.0})


def test_every_band_gets_the_same_decibels_in_its_own_scale():
    scale = np.arange(1, 19, dtype=np.float32)
    tracks = examples([9] * 100)
    louder = Gain(rows=dataclasses.replace(rows(), scale=scale), limit=6.0)(tracks, np.random.default_rng(0)).x
    decibels = (louder - tracks.x) * torch.from_numpy(scale)
    assert not decibels[:, :, 6:].any()
    gains = decibels[:, 0, 0]
    torch.testing.assert_close(decibels[:, :, :6], gains[:, None, None].expand(-1, 9, 6), rtol=0, atol=1e-4)
    assert -6 <= float(gains.min()) < -5
    assert 5 < float(gains.max()) <= 6


def test_it_needs_a_logarithmic_scale():
    power = dataclasses.replace(rows(), bands=[(slice(0, 6), Bands("frequency", (1.0,) * 6))])
    with pytest.raises(InputError, match="needs frequency bands on a logarithmic scale; those of mel-chroma"):
        Gain(rows=power)
