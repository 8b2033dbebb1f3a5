"""The public surface: what an analysis holds, for every signal that can be analysed."""

import subprocess
import sys

import numpy as np
import pytest
import soundfile
from hypothesis import given, settings
from hypothesis import strategies as st
from signals import song

from musicemo.errors import InputError
from musicemo.features import Recipe, analyse, analyse_signal


def assert_well_formed(analysis, samples, recipe):
    frames = 1 + samples // recipe.hop
    assert analysis.frame.shape == (recipe.rows, frames)
    assert analysis.beat.shape[0] == recipe.rows
    assert analysis.beat.shape[1] >= 1
    assert analysis.frame.dtype == analysis.beat.dtype == np.float32
    assert analysis.beat_frames.dtype == np.int64
    assert (np.diff(analysis.beat_frames) > 0).all()
    edges = {0, *analysis.beat_frames.tolist()}
    assert analysis.beat.shape[1] == len(edges)
    for features in (analysis.frame, analysis.beat):
        assert np.isfinite(features).all()
        mel, chroma = features[:-12], features[-12:]
        assert mel.max() == 0
        assert mel.min() >= -80
        assert chroma.min() >= 0
        assert chroma.max() <= 1


@pytest.mark.slow
@settings(max_examples=25, deadline=None)
@given(
    st.integers(2048, 30000),
    st.sampled_from(["noise", "tone", "click", "song", "sparse"]),
    st.floats(-3.5, 9).map(lambda exponent: 10.0**exponent),
    st.integers(0, 5),
)
def test_every_signal_gives_finite_features(length, kind, gain, seed):
    rng = np.random.default_rng(seed)
    time = np.arange(length)
    signal = {
        "noise": rng.uniform(-1, 1, length),
        "tone": np.sin(0.1 * (seed + 1) * time),
        "click": (time == length // (seed + 2)) * 1.0,
        "song": song(length / 22050, seed=seed)[:length] / 4,
        "sparse": (rng.random(length) > 0.999) * rng.uniform(-1, 1, length) + (time == 7),
    }[kind]
    samples = np.clip(gain * signal, -1e9, 1e9)
    assert_well_formed(analyse_signal(samples), len(samples), Recipe())


@pytest.mark.slow
@pytest.mark.parametrize(
    "recipe", [Recipe(hop=256), Recipe(sample_rate=44100), Recipe(n_fft=1024, hop=441, mels=40)], ids=repr
)
def test_other_recipes(recipe):
    samples = song(2.0, rate=recipe.sample_rate)
    assert_well_formed(analyse_signal(samples, recipe), len(samples), recipe)


def test_no_beat_gives_one_segment():
    analysis = analyse_signal(np.sin(0.1 * np.arange(22050)))
    assert len(analysis.beat_frames) == 0
    assert analysis.beat.shape == (140, 1)
    np.testing.assert_allclose(analysis.beat[128:, 0], np.median(analysis.frame[128:], axis=1))


def test_beats_are_on_the_beat():
    analysis = analyse_signal(song(15.0, bpm=120))
    interval = np.median(np.diff(analysis.beat_frames)) * 512 / 22050
    assert interval == pytest.approx(0.5, abs=0.025)


def test_a_file_and_its_signal_give_the_same(tmp_path):
    samples = song(3.0)
    soundfile.write(tmp_path / "a.wav", samples, 22050, subtype="FLOAT")
    from_file, from_signal = analyse(str(tmp_path / "a.wav")), analyse_signal(samples)
    for name in ("frame", "beat", "beat_frames"):
        np.testing.assert_array_equal(getattr(from_file, name), getattr(from_signal, name))


def test_an_excerpt_is_what_a_shorter_file_gives(tmp_path):
    samples = song(4.0)
    soundfile.write(tmp_path / "a.wav", samples, 22050, subtype="FLOAT")
    excerpt = analyse(tmp_path / "a.wav", Recipe(offset=1.0, duration=2.0))
    np.testing.assert_array_equal(excerpt.frame, analyse_signal(samples[22050:66150]).frame)
    assert excerpt.recipe == Recipe(offset=1.0, duration=2.0)


def test_loudness_does_not_matter():
    samples = song(2.0)
    loud, quiet = analyse_signal(samples), analyse_signal(samples / 8)
    np.testing.assert_allclose(loud.frame[128:], quiet.frame[128:], atol=1e-5)
    np.testing.assert_array_equal(loud.beat_frames, quiet.beat_frames)


@pytest.mark.parametrize(
    ("samples", "message"),
    [
        (np.zeros(22050), "the signal is silent: all samples are 0"),
        (np.full(22050, 0.5), r"the signal is silent: all samples are 0\.5"),
        (1e-40 * np.arange(22050), "the signal is silent: all samples are between 0 and 2"),
        (
            np.resize([0, 3e-5, -3e-5, 6e-5], 22050),
            "the signal is silent: all samples are between -3e-05 and 6e-05",
        ),
        (np.ones(2047), "the signal is too short: 2047 samples, 0.093 s; at least 2048 samples"),
        (np.empty(0), "the signal is too short"),
        (np.full(4096, np.nan), "not finite"),
        (np.full(4096, -np.inf), "not finite"),
        (np.full(4096, 1e12), "a sample of 1e"),
        (np.ones((2, 4096)), r"shape \[2, 4096\]; one channel"),
    ],
)
def test_what_cannot_be_analysed(samples, message):
    with pytest.raises(InputError, match=message):
        analyse_signal(samples)


@pytest.mark.slow
def test_importing_is_light():
    heavy = "librosa", "numba", "scipy", "soundfile", "soxr", "torch"
    command = f"import sys, musicemo.features; print(sorted(set(sys.modules) & {set(heavy)!r}))"
    done = subprocess.run([sys.executable, "-c", command], capture_output=True, text=True, check=True)
    assert done.stdout.strip() == "[]"


@pytest.mark.slow
def test_librosa_is_not_needed(tmp_path):
    soundfile.write(tmp_path / "a.wav", song(1.0), 44100)
    command = (
        "import sys; sys.modules['librosa'] = None\n"
        "from musicemo.features import analyse\n"
        f"print(analyse({str(tmp_path / 'a.wav')!r}).frame.shape)"
    )
    done = subprocess.run([sys.executable, "-c", command], capture_output=True, text=True, check=True)
    assert done.stdout.strip() == "(140, 22)"
