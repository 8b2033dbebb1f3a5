"""The `arrays` features."""

from __future__ import annotations

from pathlib import Path
from typing import Annotated, Literal

from pydantic import Field

from musicemo.contracts import ArrayFile
from musicemo.errors import InputError, nearest
from musicemo.features import npz_arrays

__all__ = ["Arrays"]


class Arrays:
    """Ready-made feature arrays, such as embeddings, in a `.npy` or `.npz` file for each track.

    Values are of type float16, float32 or float64.

    Args:
        layout: Axes of each array: `[time, rows]`, `[rows, time]`, or one vector `[rows]` for the whole track.
        keys: Names of the arrays in a `.npz` file, which are concatenated along their rows in this order; by default
            the only one.
        rate: Time steps per second, if the predictions over time are to have times.

    Raises:
        InputError: From `locate`: the file has another form.
    """

    def __init__(
        self,
        *,
        layout: Literal["time-rows", "rows-time", "vector"] = "time-rows",
        keys: Annotated[list[str], Field(min_length=1)] | None = None,
        rate: Annotated[float, Field(gt=0)] | None = None,
    ) -> None:
        self.layout, self.keys, self.rate = layout, keys, rate

    def locate(self, features: Path) -> list[ArrayFile]:
        """Return the arrays of a track's file."""
        if features.suffix.lower() != ".npz":
            if self.keys:
                raise InputError(
                    f"{features}: is not a .npz file, and features.keys selects arrays of .npz files"
                )
            return [ArrayFile(features, self.layout)]
        names = npz_arrays(features)
        if self.keys is None and len(names) > 1:
            raise InputError(
                f"{features}: has several arrays ({', '.join(names)}). Choose with features.keys, for example "
                f'keys = ["{names[0]}"]'
            )
        for key in self.keys or ():
            if key not in names:
                raise InputError(
                    f"{features}: has no array {key!r}{nearest(key, names)} (arrays: {', '.join(names)})"
                )
        return [ArrayFile(features, self.layout, key) for key in self.keys or names]
