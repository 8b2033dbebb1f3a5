"""Descriptors of tracks, one by one, against what they are said to be."""

import math

import numpy as np
import pytest
from musicemo_builtin.features._descriptors import describe
from musicemo_builtin.features._descriptors.covariance import log_euclidean, normal, with_slopes
from musicemo_builtin.features._descriptors.spectrum import (
    cepstrum,
    level_shares,
    modulation_spectrum,
    separation,
    shape_statistics,
    skewness,
    summary,
)
from musicemo_builtin.features._descriptors.tonality import tonal_statistics
from musicemo_builtin.features.descriptors import Descriptors
from musicemo_builtin.features.mel_chroma import MelChroma
from scipy.linalg import logm
from signals import song

from musicemo.testing import check_features

RANDOM = np.random.default_rng(0)


def track(steps, seed=0):
    random = np.random.default_rng(seed)
    return np.concatenate([random.uniform(-80, 0, (steps, 128)), random.uniform(size=(steps, 12))], 1).astype(
        np.float32
    )


@pytest.mark.parametrize("steps", [1, 2, 3, 10, 60, 300])
def test_a_track_of_any_length_has_descriptors_of_one_size(steps):
    found = describe(track(steps))
    sizes = {name: len(values) for name, values in found.items()}
    assert sizes == {"statistics": sizes["statistics"], "timbre": 3321, "bands": 4753, "normal": 60 + 60**2}
    assert sizes["statistics"] == len(describe(track(77))["statistics"])
    assert all(np.isfinite(values).all() for values in found.values())


@pytest.mark.parametrize("value", [-80.0, 0.0])
def test_silence_and_noise_without_end_are_described(value):
    features = np.full((50, 140), value, np.float32)
    features[:, 128:] = 0
    assert all(np.isfinite(values).all() for values in describe(features).values())


def test_slopes_are_differences_of_averages():
    rows = RANDOM.normal(size=(2, 40))
    found = with_slopes(rows, (1, 4))
    np.testing.assert_allclose(found[:2], rows)
    np.testing.assert_allclose(found[2:4, 5], rows[:, 6] - rows[:, 4])
    mean = np.array([rows[:, step - 2 : step + 2].mean(1) for step in (24, 16)])
    np.testing.assert_allclose(found[4:, 20], mean[0] - mean[1])
    plain = with_slopes(rows, (5,), smoothed=False)
    np.testing.assert_allclose(plain[2:, 20], rows[:, 25] - rows[:, 15])
    np.testing.assert_allclose(plain[2:, 38], rows[:, 39] - rows[:, 33])


def test_a_normal_distribution_is_mean_and_covariance():
    rows = RANDOM.normal(size=(3, 50))
    expected = np.r_[rows.mean(1), (np.cov(rows, ddof=0) + 0.01 * np.eye(3)).ravel()]
    np.testing.assert_allclose(normal(rows), expected)


def test_the_log_euclidean_vector_has_the_norm_of_the_matrix_logarithm():
    rows = RANDOM.normal(size=(3, 50)) + 1
    mean, covariance = rows.mean(1), np.cov(rows, ddof=0) + 0.03 * np.eye(3)
    embedded = np.block(
        [[covariance + 0.25 * np.outer(mean, mean), 0.5 * mean[:, None]], [0.5 * mean[None], np.eye(1)]]
    )
    found = log_euclidean(rows)
    assert len(found) == 4 * 5 / 2
    assert np.linalg.norm(found) == pytest.approx(np.linalg.norm(logm(embedded)))
    np.testing.assert_allclose(found[:4], np.diag(logm(embedded)))


def test_a_summary_is_of_time():
    rows = RANDOM.normal(size=(2, 30))
    found = summary(rows).reshape(5, 2)
    expected = [rows.mean(1), rows.std(1), np.percentile(rows, 10, 1), np.percentile(rows, 90, 1)]
    np.testing.assert_allclose(found, [*expected, np.diff(rows, axis=1).std(1)])


def test_cepstral_coefficients_are_orthonormal_in_bels():
    mel = RANDOM.uniform(-80, 0, (128, 5))
    np.testing.assert_allclose(np.linalg.norm(cepstrum(mel, 128), axis=0), np.linalg.norm(mel, axis=0) / 10)


@pytest.mark.parametrize(("rate", "band"), [(0.75, 1), (3.0, 3), (11.0, 5)])
def test_a_band_that_pulses_is_modulated_at_its_rate(rate, band):
    mel = np.full((128, 1024), -60.0)
    mel[16:24] += 10 * np.sin(2 * np.pi * rate * np.arange(1024) / 43.07)
    found = modulation_spectrum(mel).reshape(7, 16)
    assert found[:, 2].argmax() == band
    np.testing.assert_allclose(found[:, 5], np.log(0.1), atol=1e-6)


def test_the_shape_of_one_loud_band_is_where_it_is():
    mel = np.full((128, 20), -80.0)
    mel[64] = 0
    centroid, spread, _, half, most, nearly = shape_statistics(mel)[:6]
    assert (centroid, half, most, nearly) == pytest.approx((64, 64, 64, 64), abs=0.01)
    assert spread < 0.1


def test_skewness_is_that_of_scipy_and_none_of_what_stays():
    rows = np.stack([np.r_[np.zeros(30), 1.0], np.ones(31), np.linspace(-1, 1, 31)])
    assert skewness(rows) == pytest.approx([5.0, 0.0, 0.0], abs=1e-9)


def test_what_lasts_is_harmonic_and_what_is_broad_percussive():
    tone, click = np.full((2, 128, 60), -80.0)
    tone[30] = 0
    click[:, 30] = 0
    share = {name: separation(mel)[80:96] for name, mel in {"tone": tone, "click": click}.items()}
    assert share["tone"][:8].max() > 0
    assert share["tone"][8:].max() == 0
    assert share["click"][:8].max() == 0
    assert share["click"][8:].max() > 0


def test_level_shares_count():
    mel = np.full((128, 4), -60.0)
    mel[:8] = -75
    mel[8:16, :2] = -20
    found = level_shares(mel).reshape(3, 16)
    assert found[:, 0].tolist() == [1, 1, 0]
    assert found[:, 1].tolist() == [0, 0.5, 0.5]
    assert found[:, 2].tolist() == [0, 1, 0]


@pytest.mark.parametrize("semitones", [1, 5, 11])
def test_tonal_statistics_are_the_same_in_every_key(semitones):
    chroma = RANDOM.uniform(size=(12, 200)) ** 3
    chroma[[0, 4, 7]] += 1
    np.testing.assert_allclose(
        tonal_statistics(np.roll(chroma, semitones, axis=0)), tonal_statistics(chroma), rtol=1e-6, atol=1e-9
    )


def test_major_and_minor_are_told_apart():
    chroma = np.full((12, 100), 0.01)
    chroma[[0, 4, 7]] = 1
    major = tonal_statistics(chroma)
    minor = tonal_statistics(np.roll(chroma[::-1], 8, axis=0))
    assert major[-30 + 2] > 0.05 > -0.05 > minor[-30 + 2]


def test_tonal_statistics_of_values_below_zero_are_finite():
    """As rounding and scaled features have them; a warning is an error here."""
    chroma = np.random.default_rng(0).normal(size=(12, 50))
    assert np.isfinite(tonal_statistics(chroma)).all()
    np.testing.assert_array_equal(tonal_statistics(chroma), tonal_statistics(chroma.clip(0)))


def test_contract_of_the_extractor():
    check_features("descriptors", window=math.inf)


def test_the_extractor_describes_what_multi_kernel_describes():
    samples = song(4.0)
    clip = Descriptors().extract(samples, ["timbre", "normal"])
    analysis = MelChroma().extract(samples, ["mel", "chroma"])
    frames = MelChroma().finish({name: output.values for name, output in analysis.outputs.items()})
    expected = describe(np.concatenate([frames["mel"], frames["chroma"]], 1))
    assert set(clip.outputs) == {"timbre", "normal"}
    for name, output in clip.outputs.items():
        assert np.allclose(output.values[0], expected[name], atol=1e-5)
        assert output.edges.tolist() == [0, 4]
    assert {name: len(vector) for name, vector in expected.items()} == Descriptors().outputs
