"""The features that an analysis is compared with: librosa's on this machine, and stored ones of another machine."""

from pathlib import Path
from typing import NamedTuple

import librosa
import numpy as np

SHARED = Path(__file__).parents[3] / "shared"
GOLDEN = sorted((SHARED / "golden" / "extraction").glob("*.npz"))


class Reference(NamedTuple):
    """The features of one song, as `Analysis` holds them."""

    frame: np.ndarray
    beat: np.ndarray
    beat_frames: np.ndarray


def song_of(golden):
    """Return the song that a stored reference was computed from."""
    genre, _, number = golden.stem.partition("-")
    return SHARED / "data" / "emotify" / "audio" / genre / f"{number}.mp3"


def stored(golden):
    """Read a stored reference."""
    with np.load(golden) as arrays:
        return Reference(*(arrays[name] for name in Reference._fields))


def plain(path):
    """Compute a reference with plain librosa calls."""
    samples, rate = librosa.load(path, sr=22050)
    mel = librosa.feature.melspectrogram(y=samples, sr=rate)
    chroma = librosa.feature.chroma_cqt(y=samples, sr=rate)
    beats = librosa.beat.beat_track(y=librosa.effects.percussive(samples), sr=rate)[1]
    pairs = (mel, chroma), tuple(librosa.util.sync(part, beats, aggregate=np.median) for part in (mel, chroma))
    return Reference(*(np.concatenate([librosa.power_to_db(m, ref=np.max), c]) for m, c in pairs), beats)


def assert_close(actual, expected, message=""):
    """Compare rows of mel to 1e-3 dB and rows of chroma to 1e-4."""
    np.testing.assert_allclose(actual[:-12], expected[:-12], rtol=0, atol=1e-3, err_msg=message)
    np.testing.assert_allclose(actual[-12:], expected[-12:], rtol=0, atol=1e-4, err_msg=message)


def assert_same(actual, expected):
    """Compare with features of this machine: the beats are equal."""
    np.testing.assert_array_equal(actual.beat_frames, expected.beat_frames)
    assert_close(actual.frame, expected.frame)
    assert_close(actual.beat, expected.beat)


def assert_same_but_for_the_machine(actual, expected):
    """Compare with features of another machine: a beat may be one frame away, which changes the segments beside it."""
    assert_close(actual.frame, expected.frame)
    assert len(actual.beat_frames) == len(expected.beat_frames)
    moved = np.abs(actual.beat_frames - expected.beat_frames)
    assert moved.max(initial=0) <= 1
    assert (moved > 0).mean() <= 0.1
    assert actual.beat.shape == expected.beat.shape
    first = actual.beat.shape[1] - len(moved)  # 1 if there is a segment before the first beat
    agree = np.ones(actual.beat.shape[1], bool)
    agree[first:] &= moved == 0
    agree[: first + len(moved) - 1] &= moved[1 - first :] == 0
    ours, theirs = actual.beat[:, agree], expected.beat[:, agree].copy()
    # Decibels are relative to the loudest segment, which may be one that differs.
    louder = ours[:-12].max() - theirs[:-12].max()
    assert moved.any() or abs(louder) <= 1e-3
    theirs[:-12] = np.maximum(theirs[:-12] + louder, ours[:-12].min())
    assert_close(np.maximum(ours, theirs.min()), theirs)
