"""From a file to a mono signal."""

from __future__ import annotations

import math
import os
from os import PathLike, fspath
from pathlib import Path
from typing import TYPE_CHECKING

import numpy as np
from numpy.typing import NDArray

from musicemo.audio._recipe import Recipe
from musicemo.errors import InputError

if TYPE_CHECKING:
    from soundfile import SoundFile

__all__ = ["check_file", "load"]

_READ = 1 << 25
"""Sample frames that are decoded at once, 12 minutes at 44.1 kHz; an MP3 loses its last bit where reads meet."""

_FOREIGN = (1, 4, 7)
"""libsndfile's codes for an unknown format, an unknown encoding, and an MP3 without a valid header."""


def load(path: str | PathLike[str], recipe: Recipe | None = None) -> NDArray[np.float32]:
    """Read the recipe's excerpt of an audio file, as mono at the recipe's sample rate.

    Channels are averaged and the rate converted by soxr at its high quality, as `librosa.load` does. Only
    one channel of the excerpt is held in memory.

    Args:
        path: What libsndfile reads (wav, flac, ogg, mp3 and others), or what an installed ffmpeg reads.
        recipe: Sample rate and excerpt; None is all of the file at 22,050 Hz.

    Returns:
        `[samples]`.

    Raises:
        InputError: The file is missing, is not audio, is damaged or truncated, or the excerpt is not in it.
    """
    recipe = recipe or Recipe()
    name, path = fspath(path), Path(path)
    check_file(name, path)
    samples, rate = _read(name, path, recipe)
    if not len(samples):
        where = f" from {recipe.offset:g} s on" if recipe.offset else ""
        raise InputError(f"{name} holds no samples{where}")
    return _resample(samples, rate, recipe.sample_rate)


def check_file(name: str, path: Path) -> None:
    """Refuse what is missing, unreadable, empty or no file; `name` is what messages call it.

    Raises:
        InputError: It is one of these.
    """
    if not path.exists():
        raise InputError(f"{name}: there is no such file")
    if not path.is_file():
        raise InputError(f"{name} is not a file")
    try:
        with path.open("rb") as file:
            empty = not file.read(1)
    except OSError as error:
        raise InputError(f"{name} cannot be read: {error.strerror}") from error
    if empty:
        raise InputError(f"{name} is empty")


def _read(name: str, path: Path, recipe: Recipe) -> tuple[NDArray[np.float32], int]:
    """Decode the excerpt: mono samples and their rate in Hz."""
    import soundfile

    try:
        file = soundfile.SoundFile(os.fsencode(path))  # as text it must be UTF-8, which a name need not be
    except soundfile.LibsndfileError as error:
        if error.code not in _FOREIGN:
            raise InputError(f"{name} is damaged or truncated: {error.error_string}") from error
        from musicemo.audio._ffmpeg import decode

        return decode(name, path, recipe)
    with file:
        try:
            return _excerpt(file, name, recipe), file.samplerate
        except soundfile.LibsndfileError as error:
            raise InputError(f"{name} is damaged or truncated: {error.error_string}") from error


def _excerpt(file: SoundFile, name: str, recipe: Recipe) -> NDArray[np.float32]:
    """Decode the excerpt of an open file and average its channels."""
    from musicemo.audio._integrity import check_length

    begin = int(recipe.offset * file.samplerate)
    if begin > file.frames:
        raise InputError(
            f"{name}: the excerpt begins at {recipe.offset:g} s, and the file ends at "
            f"{file.frames / file.samplerate:.3f} s"
        )
    if begin:
        file.seek(begin)
    wanted = file.frames - begin
    if recipe.duration is not None:
        wanted = min(wanted, int(recipe.duration * file.samplerate))
    samples = np.empty(wanted, np.float32)
    done = 0
    while done < wanted:
        block = file.read(min(wanted - done, _READ), dtype="float32", always_2d=True)
        if not len(block):
            break
        place = samples[done : done + len(block)]
        place[:] = block[:, 0] if block.shape[1] == 1 else block.T.mean(axis=0)
        done += len(block)
    check_length(file, name, missing=wanted - done)
    return samples[:done]


def _resample(samples: NDArray[np.float32], rate: int, target: int) -> NDArray[np.float32]:
    if rate == target:
        return samples
    import soxr

    size = math.ceil(len(samples) * (target / rate))
    resampled: NDArray[np.float32] = soxr.resample(samples, rate, target, quality="soxr_hq")[:size]
    return np.pad(resampled, (0, size - len(resampled)))
