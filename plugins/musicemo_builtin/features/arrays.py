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
        layout: Axes of each array: `[time, rows]`, `[rows, time]`, one vector `[rows]` for the whole track, or
            ``layers``: one vector for each layer of a network, `[layers, rows]`, which are concatenated.
        layers: With ``layout = "layers"``: the layers to use, counted from 0; by default all.
        keys: Names of the arrays in a `.npz` file, which are concatenated along their rows in this order; by default
            the only one.
        rate: Time steps per second, if the predictions over time are to have times.

    Raises:
        InputError: From `locate`: the file has another form.
    """

    def __init__(
        self,
        *,
        layout: Literal["time-rows", "rows-time", "vector", "layers"] = "time-rows",
        layers: Annotated[list[Annotated[int, Field(ge=0)]], Field(min_length=1)] | None = None,
        keys: Annotated[list[str], Field(min_length=1)] | None = None,
        rate: Annotated[float, Field(gt=0)] | None = None,
    ) -> None:
        if layers is not None and layout != "layers":
            raise InputError('layers: requires layout = "layers"')
        self.layout, self.keys, self.rate = layout, keys, rate
        self.layers = None if layers is None else tuple(layers)

    def locate(self, features: Path) -> list[ArrayFile]:
        """Return the arrays of a track's file."""
        if features.suffix.lower() != ".npz":
            if self.keys:
                raise InputError(
                    f"{features}: is not a .npz file, and features.keys selects arrays of .npz files"
                )
            return [ArrayFile(features, self.layout, layers=self.layers)]
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
        return [ArrayFile(features, self.layout, key, layers=self.layers) for key in self.keys or names]
