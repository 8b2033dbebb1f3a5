"""From a file to a mono signal."""

from __future__ import annotations

import math
from os import PathLike
from pathlib import Path

import numpy as np
from numpy.typing import NDArray

from musicemo.audio._recipe import Recipe
from musicemo.errors import InputError

__all__ = ["load"]


def load(path: str | PathLike[str], recipe: Recipe | None = None) -> NDArray[np.float32]:
    """Read the recipe's excerpt of an audio file, as mono at the recipe's sample rate, `[samples]`."""
    import soundfile
    import soxr

    recipe = recipe or Recipe()
    path = Path(path)
    if not path.is_file():
        raise InputError(f"{path}: there is no such file")
    try:
        with soundfile.SoundFile(path) as file:
            rate = file.samplerate
            file.seek(int(recipe.offset * rate))
            count = -1 if recipe.duration is None else int(recipe.duration * rate)
            samples = file.read(count, dtype="float32", always_2d=True).mean(axis=1)
    except soundfile.LibsndfileError as error:
        raise InputError(f"{path}: not audio: {error.error_string}") from error
    if rate == recipe.sample_rate:
        return np.asarray(samples)
    size = math.ceil(len(samples) * (recipe.sample_rate / rate))
    resampled = soxr.resample(samples, rate, recipe.sample_rate, quality="soxr_hq")[:size]
    return np.pad(resampled, (0, size - len(resampled)))
