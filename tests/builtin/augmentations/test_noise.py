import numpy as np
import pytest
from examples import examples
from musicemo_builtin.augmentations.noise import Noise

from musicemo.testing import check_augmentation


def test_it_holds_its_contract():
    check_augmentation("noise")
    check_augmentation("noise", {"deviation": 2.0})


def test_its_deviation():
    tracks = examples([50, 30])
    noise = (Noise(deviation=0.3)(tracks, np.random.default_rng(0)).x - tracks.x)[tracks.mask]
    assert float(noise.std()) == pytest.approx(0.3, rel=0.05)
    assert float(noise.mean()) == pytest.approx(0, abs=0.03)
