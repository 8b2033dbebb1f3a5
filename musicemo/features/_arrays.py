"""Ready-made feature arrays in files."""

from __future__ import annotations

import zipfile
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import dataclass
from functools import cached_property
from pathlib import Path
from typing import BinaryIO, cast

import numpy as np
from numpy.typing import NDArray

from musicemo.contracts import ArrayFile
from musicemo.errors import InputError
from musicemo.features._npy import ArrayHeader, array_header, map_array, open_regular, read_header

__all__ = ["StoredArray", "npz_arrays", "npz_header"]

_Array = NDArray[np.floating]

_EDGES = "edges"  # see write_outputs

#: Layout -> the axes.
_AXES = {
    "time-rows": "[time, rows]",
    "rows-time": "[rows, time]",
    "vector": "[rows]",
    "layers": "[layers, rows]",
}


@dataclass(frozen=True)
class StoredArray:
    """A ready-made array in a file, read when it is needed; see `FeatureArray`. Nothing is unpickled."""

    file: ArrayFile

    @cached_property
    def shape(self) -> tuple[int, int]:
        """Number of time steps and of rows. Only the header of the array is read.

        Raises:
            InputError: The file is missing or damaged, or its array is not floating-point or has other dimensions.
        """
        header, layout = self.header, self.file.layout
        dimensions = 1 if layout == "vector" else 2
        if len(header.shape) != dimensions or header.dtype.kind != "f":
            fitting = {1: '"vector"', 2: '"time-rows", "rows-time" or "layers"'}.get(len(header.shape))
            hint = f". For this shape, set layout = {fitting}" if fitting and header.dtype.kind == "f" else ""
            raise InputError(
                f"{self}: must be a floating-point array {_AXES[layout]}, not {header.dtype} {list(header.shape)}{hint}"
            )
        if layout == "vector":
            return 1, header.shape[0]
        first, second = header.shape
        if layout == "layers":
            if beyond := [layer for layer in self.file.layers or () if layer >= first]:
                raise InputError(f"{self}: has {first} layers, counted from 0, and no layer {beyond[0]}")
            return 1, (first if self.file.layers is None else len(self.file.layers)) * second
        return (first, second) if layout == "time-rows" else (second, first)

    @property
    def edges(self) -> NDArray[np.float64] | None:
        """The edges of the time steps in seconds, `[time + 1]`: by the rate, or the array `edges` of a `.npz` file.

        None if the file has neither, which those of `musicemo extract --features` have.

        Raises:
            InputError: The array `edges` cannot be read, or is not one of edges of the time steps.
        """
        steps = self.shape[0]
        if self.file.rate is not None and self.file.layout in ("time-rows", "rows-time"):
            return np.arange(steps + 1) / self.file.rate
        if self.file.key is None or _EDGES not in npz_arrays(self.file.path):
            return None
        with self._told(), np.load(self.file.path, allow_pickle=False) as arrays:
            edges = np.asarray(arrays[_EDGES])
        if edges.shape != (steps + 1,) or edges.dtype.kind != "f" or not (np.diff(edges) > 0).all():
            raise InputError(
                f"{self.file.path}: the array {_EDGES!r} is {edges.dtype} {list(edges.shape)}, but must be the "
                f"ascending edges of {steps} time steps in seconds, [{steps + 1}]"
            )
        return edges.astype(np.float64)

    def read(self) -> _Array:
        """Return the values, `[time, rows]`; those of a `.npy` file are memory-mapped.

        Raises:
            InputError: The file cannot be read.
        """
        with self._told():
            if self.file.key is None:
                array = map_array(self.file.path)
            else:
                with np.load(self.file.path, allow_pickle=False) as arrays:
                    array = arrays[self.file.key]
        if self.file.layout == "vector":
            return array[None]
        if self.file.layout == "layers":
            return (array if self.file.layers is None else array[list(self.file.layers)]).reshape(1, -1)
        return array if self.file.layout == "time-rows" else array.T

    @property
    def header(self) -> ArrayHeader:
        """The header of the array.

        Raises:
            InputError: The file is missing or damaged.
        """
        with self._told():
            if self.file.key is None:
                header, stored = array_header(self.file.path)
                header.check(stored)
            else:
                with open_regular(self.file.path) as file, zipfile.ZipFile(file) as archive:
                    member = archive.getinfo(f"{self.file.key}.npy")
                    with archive.open(member) as stream:
                        header = read_header(cast("BinaryIO", stream), plain=True)
                    header.check(member.file_size - header.size)
        return header

    @contextmanager
    def _told(self) -> Iterator[None]:
        try:
            yield
        except FileNotFoundError as error:
            raise InputError(f"{self.file.path}: there is no such file") from error
        except KeyError as error:
            raise InputError(
                f"{self.file.path}: has no array {self.file.key!r} (arrays: {', '.join(npz_arrays(self.file.path))})"
            ) from error
        except (OSError, ValueError, zipfile.BadZipFile, NotImplementedError, EOFError) as error:
            kind = ".npy array" if self.file.key is None else ".npz file"
            raise InputError(f"{self.file.path}: cannot be read as a plain {kind}: {error}") from error

    def __str__(self) -> str:
        return str(self.file.path) + (f":{self.file.key}" if self.file.key else "")


def npz_arrays(path: Path) -> list[str]:
    """Return the names of the arrays in a `.npz` file.

    Raises:
        InputError: It cannot be read.
    """
    try:
        with open_regular(path) as file, zipfile.ZipFile(file) as archive:
            return [name.removesuffix(".npy") for name in archive.namelist()]
    except FileNotFoundError as error:
        raise InputError(f"{path}: there is no such file") from error
    except (OSError, ValueError, zipfile.BadZipFile) as error:
        raise InputError(f"{path}: cannot be read as a .npz file: {error}") from error


def npz_header(path: Path, key: str) -> ArrayHeader:
    """Return the header of an array in a `.npz` file.

    Raises:
        InputError: The file cannot be read, or has no such array.
    """
    return StoredArray(ArrayFile(path, key=key)).header
