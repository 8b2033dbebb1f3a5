"""Each stage gives what librosa gives, on signals made here."""

import librosa
import numpy as np
import pytest
from signals import song

from musicemo.features import Recipe
from musicemo.features.melchroma._beats import (
    OnsetStrength,
    _last_beat,
    _without_weak_ends,
    estimate_tempo,
    synchronise,
    track_beats,
)
from musicemo.features.melchroma._chroma import BINS_PER_OCTAVE, _kernels, chromagram
from musicemo.features.melchroma._hpss import separate
from musicemo.features.melchroma._spectrum import (
    OverlapAdd,
    decibels,
    frame_count,
    hann,
    mel_filters,
    transform,
)
from musicemo.features.melchroma._tuning import estimate_tuning

RECIPES = [
    Recipe(),
    Recipe(hop=256),
    Recipe(sample_rate=44100),
    Recipe(sample_rate=16000, n_fft=1024, hop=320),
    Recipe(hop=441, mels=64),
]


def onset_strength(samples, recipe, pieces=3):
    onsets = OnsetStrength(len(samples), recipe)
    for piece in np.array_split(samples, pieces):
        onsets.add(piece)
    return onsets.finish()


def names(recipe):
    return f"{recipe.sample_rate}-{recipe.n_fft}-{recipe.hop}"


@pytest.mark.slow
@pytest.mark.parametrize("recipe", RECIPES, ids=names)
@pytest.mark.parametrize("length", [3.0, 0.21])
def test_transform_and_separation(recipe, length):
    samples = song(length, rate=recipe.sample_rate)
    size, hop, rate = recipe.n_fft, recipe.hop, recipe.sample_rate
    spectrum = librosa.stft(samples, n_fft=size, hop_length=hop)
    total = frame_count(len(samples), hop)
    assert total == spectrum.shape[1]
    np.testing.assert_array_equal(transform(samples, 0, total, size, hop).T, spectrum)
    np.testing.assert_array_equal(transform(samples, total // 2, total, size, hop).T, spectrum[:, total // 2 :])

    pieces = []
    parts = separate(samples, recipe, pieces.append)
    _, percussive = librosa.effects.hpss(samples, n_fft=size, hop_length=hop)
    np.testing.assert_allclose(np.concatenate(pieces), percussive, rtol=0, atol=1e-7)
    mel = librosa.feature.melspectrogram(y=samples, sr=rate, n_fft=size, hop_length=hop, n_mels=recipe.mels)
    np.testing.assert_allclose(parts.mel, mel, rtol=1e-5, atol=1e-9)
    tuning = librosa.estimate_tuning(S=np.abs(spectrum), n_fft=size, sr=rate, bins_per_octave=BINS_PER_OCTAVE)
    assert estimate_tuning(parts.pitches, BINS_PER_OCTAVE) == tuning


def test_the_inverse_undoes_the_transform():
    samples = song(1.0)
    inverse = OverlapAdd(len(samples), 2048, 512)
    pieces = []
    for start in range(0, 44, 10):
        stop = min(start + 10, 44)
        pieces.append(inverse.add(transform(samples, start, stop, 2048, 512), last=stop == 44))
    assert len(pieces[0]) == 9 * 512 - 512  # half a window later, no frame reaches back
    np.testing.assert_allclose(np.concatenate(pieces), samples, rtol=0, atol=1e-6)


@pytest.mark.parametrize("detune", [-0.3, 0.0, 0.2])
def test_tuning_is_found(detune):
    parts = separate(song(3.0, detune=detune), Recipe(), lambda piece: None)
    assert estimate_tuning(parts.pitches, 12) == pytest.approx(detune, abs=0.03)


def test_no_pitch_is_no_deviation():
    assert estimate_tuning(np.empty((2, 0), np.float32), 36) == 0.0


@pytest.mark.parametrize("mels", [40, 128])
@pytest.mark.parametrize(("rate", "size"), [(22050, 2048), (16000, 1024), (44100, 4096)])
def test_mel_filters(mels, rate, size):
    filters, covered = mel_filters(rate, size, mels)
    np.testing.assert_allclose(
        filters, librosa.filters.mel(sr=rate, n_fft=size, n_mels=mels), rtol=1e-5, atol=1e-9
    )
    for row, (first, stop) in zip(filters, covered, strict=True):
        assert (row[first:stop] > 0).all()
        assert not row[:first].any()
        assert not row[stop:].any()


@pytest.mark.parametrize("htk", [False, True])
@pytest.mark.parametrize("equal_area", [False, True])
@pytest.mark.parametrize(("low", "high"), [(0.0, None), (30.0, 8000.0), (1500.0, 11025.0), (0.0, 900.0)])
def test_mel_filters_of_other_ranges_and_scales(htk, equal_area, low, high):
    filters, _ = mel_filters(22050, 4096, 30, low, high, htk=htk, equal_area=equal_area)
    expected = librosa.filters.mel(
        sr=22050, n_fft=4096, n_mels=30, fmin=low, fmax=high, htk=htk, norm="slaney" if equal_area else None
    )
    np.testing.assert_allclose(filters, expected, rtol=1e-4, atol=1e-6 * expected.max())


def test_a_mel_band_between_two_bins_is_empty():
    filters, covered = mel_filters(22050, 256, 200)
    empty = ~filters.any(axis=1)
    assert empty.any()
    assert not covered[empty].any()


def test_the_window_is_the_periodic_hann_window():
    np.testing.assert_array_equal(hann(2048), librosa.filters.get_window("hann", 2048))


@pytest.mark.slow
@pytest.mark.parametrize(
    ("rate", "hop", "tuning"),
    [
        (22050, 512, 0.0),
        (22050, 512, -0.37),
        (44100, 512, 0.49),
        (22050, 1024, 0.1),
        (22050, 96, 0.2),
        (16000, 441, 0.3),
    ],
)
def test_chromagram(rate, hop, tuning):
    samples = song(4.0, rate=rate)
    actual = chromagram(samples, rate, hop, tuning)
    assert actual.shape == (12, frame_count(len(samples), hop))
    expected = librosa.feature.chroma_cqt(y=samples, sr=rate, hop_length=hop, tuning=tuning)
    np.testing.assert_allclose(actual, expected[:, : actual.shape[1]], rtol=0, atol=1e-5)


def test_a_tone_is_its_pitch_class():
    tone = np.sin(2 * np.pi * 440 * np.arange(44100) / 22050).astype(np.float32)
    assert (chromagram(tone, 22050, 512, 0.0)[:, 5:-5].argmax(axis=0) == 9).all()


def test_octaves_share_their_filters():
    _kernels.cache_clear()
    chromagram(song(1.0), 22050, 512, 0.12)
    assert _kernels.cache_info().misses == 1


@pytest.mark.slow
@pytest.mark.parametrize("recipe", [Recipe(), Recipe(hop=256), Recipe(sample_rate=44100)], ids=names)
@pytest.mark.parametrize("bpm", [75, 120, 163])
def test_beats(recipe, bpm):
    rate, hop = recipe.sample_rate, recipe.hop
    samples = song(12.0, bpm, rate=rate)
    envelope = librosa.onset.onset_strength(y=samples, sr=rate, hop_length=hop, aggregate=np.median)
    np.testing.assert_allclose(onset_strength(samples, recipe), envelope, rtol=0, atol=1e-4)
    tempo = librosa.feature.tempo(onset_envelope=envelope, sr=rate, hop_length=hop)
    assert estimate_tempo(envelope, recipe) == pytest.approx(tempo[0])
    beats = track_beats(onset_strength(samples, recipe), recipe)
    np.testing.assert_array_equal(beats, librosa.beat.beat_track(y=samples, sr=rate, hop_length=hop)[1])
    assert 60 * recipe.frame_rate / np.median(np.diff(beats)) == pytest.approx(bpm, rel=0.05)


def test_a_steady_tone_has_no_beats():
    tone = np.ones(22050, np.float32)
    assert track_beats(onset_strength(np.zeros_like(tone), Recipe()), Recipe()).dtype == np.int64
    assert len(track_beats(onset_strength(np.zeros_like(tone), Recipe()), Recipe())) == 0


def test_the_last_beat_is_the_last_strong_peak():
    assert _last_beat(np.array([0, 3, 1, 4, 1, 1.4, 1, 0])) == 3
    assert _last_beat(np.array([0.0, 3, 1, 4])) == 3
    assert _last_beat(np.zeros(5)) == 4


def test_weak_beats_at_the_ends_are_dropped():
    score = np.array([0.1, 0, 5, 0, 6, 0, 5, 0, 0.1])
    assert _without_weak_ends(score, np.array([0, 2, 4, 6, 8])).tolist() == [2, 4, 6]


@pytest.mark.parametrize("beats", [[0], [5], [3, 4, 9, 20], [0, 29], list(range(30))])
def test_medians_between_beats(beats):
    features = np.random.default_rng(3).random((7, 30)).astype(np.float32)
    actual = synchronise(features, np.array(beats, np.int64))
    np.testing.assert_array_equal(actual, librosa.util.sync(features, beats, aggregate=np.median))


def test_without_beats_there_is_one_segment():
    features = np.random.default_rng(3).random((7, 30)).astype(np.float32)
    actual = synchronise(features, np.empty(0, np.int64))
    np.testing.assert_array_equal(actual, np.median(features, axis=1, keepdims=True))


def test_decibels():
    power = 10 ** np.random.default_rng(4).uniform(-12, 3, (20, 30)).astype(np.float32)
    np.testing.assert_allclose(decibels(power), librosa.power_to_db(power, ref=np.max), rtol=0, atol=1e-5)
    np.testing.assert_allclose(decibels(power, 1.0), librosa.power_to_db(power), rtol=0, atol=1e-5)
    assert decibels(power).max() == 0
    assert decibels(power).min() == -80
