import librosa
import numpy as np
import pytest
from musicemo_builtin.features.mfcc import MFCC
from signals import song

from musicemo.errors import InputError
from musicemo.testing import check_features


@pytest.mark.parametrize("parameters", [{}, {"coefficients": 13, "bands": 40, "hop": 1024, "mel_scale": "htk"}])
def test_contract(parameters):
    check_features("mfcc", parameters, window=(1024 + 5 * parameters.get("hop", 512)) / 22050, seconds=3.0)


@pytest.mark.slow
def test_memory_does_not_grow_with_the_clip():
    check_features("mfcc", memory=True)


@pytest.mark.parametrize("coefficients", [13, 20])
def test_the_values_are_those_of_librosa(coefficients):
    samples = song(2.0)
    power = librosa.feature.melspectrogram(y=samples, sr=22050, pad_mode="constant")
    expected = librosa.feature.mfcc(S=librosa.power_to_db(power, top_db=None), n_mfcc=coefficients)
    outputs = MFCC(coefficients=coefficients).extract(samples, ["mfcc", "delta", "delta-delta"]).outputs
    np.testing.assert_allclose(outputs["mfcc"].values, expected.T, atol=0.02)
    np.testing.assert_allclose(outputs["delta"].values, librosa.feature.delta(expected).T, atol=0.02)
    np.testing.assert_allclose(
        outputs["delta-delta"].values, librosa.feature.delta(expected, order=2).T, atol=0.02
    )


def test_the_differences_of_a_short_clip_are_finite():
    outputs = MFCC().extract(song(0.1), ["delta"]).outputs
    assert outputs["delta"].values.shape == (5, 20)
    assert np.isfinite(outputs["delta"].values).all()


def test_more_coefficients_than_bands():
    with pytest.raises(InputError, match=r"coefficients = 50: must be at most the number of bands \(40\)"):
        MFCC(bands=40, coefficients=50)
