"""The same features as those of `musicemo.features.analyse`, whose tests are in tests/features."""

import math

import numpy as np
import pytest
import soundfile
from musicemo_builtin.features.mel_chroma import MelChroma
from signals import song

from musicemo.errors import InputError
from musicemo.features import FeatureSettings, Recipe, Stream, analyse
from musicemo.testing import check_features


@pytest.mark.slow
def test_contract():
    """The tuning is that of the whole clip, and so is the harmonic part."""
    check_features("mel-chroma", window=math.inf)


@pytest.mark.slow
def test_memory_does_not_grow_with_the_clip():
    check_features("mel-chroma", window=math.inf, memory=True)


@pytest.fixture(scope="module")
def path(tmp_path_factory):
    path = tmp_path_factory.mktemp("songs") / "song.wav"
    soundfile.write(path, song(4.0), 22050)
    return path


def computed(path, parameters=None, **settings):
    one = Stream("mel-chroma", {}, lambda: MelChroma(**(parameters or {})), FeatureSettings(**settings))
    clip = one.compute(path)
    return np.concatenate([clip.values[name] for name in one.outputs], axis=1), clip.edges


@pytest.mark.slow
def test_by_default_a_step_is_a_beat_by_the_median(path):
    values, edges = computed(path)
    expected = analyse(path)
    np.testing.assert_array_equal(values, expected.beat.T)
    np.testing.assert_allclose(edges[1:-1], expected.beat_frames / expected.recipe.frame_rate)


def test_the_mean_and_deviation_of_frames_are_those_of_the_values_in_db(path):
    frames = analyse(path).frame.T
    values, _ = computed(path, grid="track", pool="mean-std", outputs=["mel"])
    np.testing.assert_allclose(values[0, 128:], frames[:, :128].std(axis=0), rtol=1e-4, atol=1e-4)
    values, _ = computed(path, grid="track", pool="mean", outputs=["chroma"])
    np.testing.assert_allclose(values[0], frames[:, 128:].mean(axis=0), rtol=1e-4)


@pytest.mark.slow
def test_parameters_are_those_of_the_recipe(path):
    parameters = {"sample_rate": 32000, "hop": 256, "n_fft": 1024, "mels": 64}
    values, edges = computed(path, parameters, grid="frame")
    np.testing.assert_array_equal(values, analyse(path, Recipe(**parameters)).frame.T)
    np.testing.assert_allclose(np.diff(edges), 256 / 32000)


def test_a_clip_without_features():
    for samples in (np.zeros(22050, np.float32), np.ones(10, np.float32)):
        with pytest.raises(InputError):
            MelChroma().extract(samples, ["mel", "chroma"])
