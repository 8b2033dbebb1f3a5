"""Headers of `.npy` files and of the arrays in feature files, read without numpy's own, slower parser."""

from __future__ import annotations

import ast
import errno
import io
import math
import mmap
import os
import re
import stat
from dataclasses import dataclass
from typing import Any, BinaryIO, Literal

import numpy as np
from numpy.typing import NDArray

__all__ = ["ArrayHeader", "array_header", "map_array", "open_regular", "read_header"]

_MAGIC = b"\x93NUMPY"
_PLAIN = re.compile(
    rb"\{'descr': '([<>|=]?[biufcUSVO]\d{0,9})', 'fortran_order': (True|False), "
    rb"'shape': \(((?:\d{1,18}, )*(?:\d{1,18},?)?)\), \} *\n?"
)
"""The text that numpy writes for an array without fields."""

_LONGEST = 10_000
"""Length of a header's text that numpy itself accepts from a stranger."""

_PYTHON_2 = re.compile(r"(?<=\d)L\b")
"""The ending of some integers in the files of Python 2."""

_FLAGS = getattr(os, "O_NONBLOCK", 0) | getattr(os, "O_CLOEXEC", 0) | getattr(os, "O_BINARY", 0)


@dataclass(frozen=True, slots=True)
class ArrayHeader:
    """The header of an array on disk.

    Attributes:
        dtype: Type of the values.
        shape: Length of each axis.
        fortran: Whether values along the first axis are adjacent.
        size: Number of bytes before the values.
    """

    dtype: np.dtype[Any]
    shape: tuple[int, ...]
    fortran: bool
    size: int

    @property
    def nbytes(self) -> int:
        """Bytes of the values."""
        return math.prod(self.shape) * self.dtype.itemsize

    def check(self, stored: int) -> None:
        """Check that the values can be read from the `stored` bytes behind the header.

        Raises:
            ValueError: They are Python objects, which are never loaded, or bytes are missing.
        """
        if self.dtype.hasobject:
            raise ValueError("it holds Python objects")
        if stored < self.nbytes:
            raise ValueError(f"it is cut off: {stored} of {self.nbytes} bytes are there")


def open_regular(path: str | os.PathLike[str]) -> BinaryIO:
    """Open a regular file for reading. Pipes and devices, which can block a reader, are refused.

    Raises:
        OSError: The file is missing or cannot be read.
        ValueError: It is not a regular file.
    """
    file = open(path, "rb", opener=lambda name, flags: os.open(name, flags | _FLAGS))  # noqa: SIM115
    if not stat.S_ISREG(os.fstat(file.fileno()).st_mode):
        file.close()
        raise ValueError("it is not a regular file")
    return file


def array_header(path: str | os.PathLike[str]) -> tuple[ArrayHeader, int]:
    """Read the header of a `.npy` file; return it and the number of bytes of values in the file.

    Raises:
        OSError: The file is missing or cannot be read.
        ValueError: The file is not in the format.
    """
    descriptor = os.open(path, os.O_RDONLY | _FLAGS)
    try:
        return _header(descriptor)
    finally:
        os.close(descriptor)


def map_array(path: str | os.PathLike[str]) -> NDArray[Any]:
    """Return the array of a `.npy` file, read-only and memory-mapped.

    Raises:
        OSError: The file is missing or cannot be read.
        ValueError: The file is not in the format, is truncated, or has Python objects.
    """
    descriptor = os.open(path, os.O_RDONLY | _FLAGS)
    try:
        header, stored = _header(descriptor)
        header.check(stored)
        values = mmap.mmap(descriptor, 0, access=mmap.ACCESS_READ)
    finally:
        os.close(descriptor)
    order: Literal["F", "C"] = "F" if header.fortran else "C"
    return np.ndarray(header.shape, header.dtype, values, header.size, order=order)


def _header(descriptor: int) -> tuple[ArrayHeader, int]:
    status = os.fstat(descriptor)
    if stat.S_ISDIR(status.st_mode):
        raise IsADirectoryError(errno.EISDIR, os.strerror(errno.EISDIR))
    if not stat.S_ISREG(status.st_mode):
        raise ValueError("it is not a regular file")
    header = read_header(io.BytesIO(os.read(descriptor, 12 + _LONGEST)))
    return header, status.st_size - header.size


def read_header(file: BinaryIO, *, plain: bool = False) -> ArrayHeader:
    """Read the header of an array from an open file, up to its first value.

    Args:
        file: The file, at the begin of the header.
        plain: Whether to refuse what other programs than numpy write, and arrays with fields.

    Raises:
        ValueError: There is no header, or it is not in the format.
    """
    begin = file.read(10)
    version = tuple(begin[6:8])
    if begin[:6] != _MAGIC or version not in ((1, 0), (2, 0)):
        raise ValueError("it has no header of an array, of version 1.0 or 2.0")
    begin += file.read(2) if version == (2, 0) else b""
    length = int.from_bytes(begin[8:], "little")
    if length > _LONGEST:
        raise ValueError(f"its header of {length} bytes is longer than {_LONGEST}")
    text = file.read(length)
    if len(text) < length:
        raise ValueError("its header is cut off")
    try:
        if match := _PLAIN.fullmatch(text):
            axes = match[3].split(b",")
            if len(axes) == 1 and axes[0]:
                raise ValueError("a shape of one axis without a comma")
            shape = tuple(int(axis) for axis in axes if axis)
            dtype, fortran = np.dtype(match[1].decode()), match[2] == b"True"
        elif plain:
            raise ValueError("unknown text")
        else:
            dtype, fortran, shape = _parse(text.decode("latin-1"))
    except Exception as error:  # Python's parser and numpy raise many types
        raise ValueError(f"its header is not as numpy writes it: {error}") from error
    return ArrayHeader(dtype, shape, fortran, len(begin) + length)


def _parse(text: str) -> tuple[np.dtype[Any], bool, tuple[int, ...]]:
    fields = ast.literal_eval(_PYTHON_2.sub("", text.strip()))
    dtype, fortran, shape = (
        np.lib.format.descr_to_dtype(fields["descr"]),
        fields["fortran_order"],
        fields["shape"],
    )
    if type(fortran) is not bool or not isinstance(shape, tuple):
        raise ValueError("other types than expected")
    if not all(type(axis) is int and axis >= 0 for axis in shape):
        raise ValueError(f"a shape of {shape}")
    return dtype, fortran, shape
