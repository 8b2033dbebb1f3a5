"""Recordings that sound the same."""

from __future__ import annotations

import functools

import numpy as np
import pytest
import soundfile

from musicemo.features import find_alike, resample, sound_prints
from musicemo.features._sound import SoundPrint, _difference

RATE = 16000


def song(seed: int, seconds: float = 14.0) -> np.ndarray:
    """Return notes of random pitch that begin at random times, over faint noise, `[samples]`."""
    random = np.random.default_rng(seed)
    time = np.arange(round(seconds * RATE)) / RATE
    sound = random.normal(scale=0.003, size=len(time))
    for _ in range(round(4 * seconds)):
        start, pitch = random.uniform(0, seconds), 220 * 2 ** (random.integers(0, 30) / 12)
        since = time[round(start * RATE) :] - start
        for harmonic in (1, 2, 3):
            sound[-len(since) :] += (
                np.exp(-3 * since) * np.sin(2 * np.pi * harmonic * pitch * since) / harmonic**2
            )
    return (0.5 * sound / np.abs(sound).max()).astype(np.float32)


def bits(samples: np.ndarray, rate: int = RATE) -> np.ndarray:
    values = SoundPrint().extract(resample(samples, rate, 8000), ["bits"]).outputs["bits"].values
    return values[:, 0].astype(np.uint32) << 16 | values[:, 1].astype(np.uint32)


@functools.cache
def songs() -> list[np.ndarray]:
    return [song(seed) for seed in range(5)]


@functools.cache
def prints() -> list[np.ndarray]:
    return [bits(one) for one in songs()]


def test_different_songs_are_not_alike():
    assert find_alike(prints()) == []
    differences = [_difference(prints()[0], other, 0) for other in prints()[1:]]
    assert min(differences) > 0.35, "half of the bits, about"


@pytest.mark.parametrize("shift", [0.0, 0.5, 1.2345, 5.0])
def test_a_shifted_and_quieter_copy_is_alike(shift):
    copies = [bits(0.5 * one[round(shift * RATE) :]) for one in songs()]
    assert find_alike([*prints(), *copies]) == [(index, index + len(songs())) for index in range(len(songs()))]
    assert max(map(_difference, prints(), copies, [-round(shift * 20)] * len(songs()))) < 0.1


@pytest.mark.slow
@pytest.mark.skipif("MP3" not in soundfile.available_formats(), reason="needs libsndfile with MP3")
def test_an_mp3_is_alike(tmp_path):
    every = list(prints())
    for index, one in enumerate(songs()[:3]):
        path = tmp_path / f"{index}.mp3"
        soundfile.write(path, one[8000:], RATE, format="MP3", compression_level=0.9)
        every.append(bits(*soundfile.read(path, dtype="float32")))
    assert find_alike(every) == [(index, index + len(songs())) for index in range(3)]


def test_the_bits_do_not_depend_on_the_level():
    assert np.array_equal(bits(0.25 * songs()[0]), prints()[0])


def test_copies_of_copies_are_linked():
    copies = [bits(songs()[0][number * 777 :]) for number in range(12)]
    pairs = find_alike(copies)
    linked = {0}
    for _ in copies:
        linked |= {place for pair in pairs if linked & set(pair) for place in pair}
    assert linked == set(range(12))


def test_silence_and_short_recordings_are_like_nothing():
    silent = np.zeros(10 * RATE, np.float32)
    half = np.concatenate([songs()[0][: 2 * RATE], silent])
    others = [
        bits(silent),
        bits(silent),
        bits(songs()[0][: 4 * RATE]),
        bits(songs()[0][:100]),
        bits(half),
        bits(half),
    ]
    assert (others[0] == 0).all()
    assert find_alike(others) == [], "less than five seconds sound"
    assert find_alike([prints()[0], *others]) == []
    assert find_alike([]) == []


def test_an_excerpt_is_like_the_song():
    assert find_alike([prints()[1], bits(songs()[1][3 * RATE : 9 * RATE])]) == [(0, 1)]


def test_files_are_read_once(tmp_path, monkeypatch):
    monkeypatch.setenv("MUSICEMO_CACHE", str(tmp_path / "cache"))
    paths = {}
    for index in range(2):
        paths[index] = tmp_path / f"{index}.wav"
        soundfile.write(paths[index], songs()[index], RATE)
    names = {index: str(index) for index in paths}
    first = sound_prints(paths, names, "songs")

    def extract(*_):
        raise AssertionError("it is in the cache")

    monkeypatch.setattr(SoundPrint, "extract", extract)
    for index, again in sound_prints(paths, names, "songs").items():
        assert np.array_equal(again, first[index])
        assert _difference(again, prints()[index], 0) < 0.05
    assert sound_prints({}, {}, "songs") == {}
