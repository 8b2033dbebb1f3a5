"""Packs: feature arrays of many songs in one memory-mapped file, for training."""

from __future__ import annotations

import hashlib
import math
import mmap
import os
import struct
import zlib
from collections.abc import Iterable, Iterator
from concurrent.futures import ThreadPoolExecutor
from dataclasses import dataclass
from itertools import pairwise
from pathlib import Path
from typing import Any, BinaryIO, Literal

import numpy as np
from numpy.typing import NDArray

from musicemo.errors import InputError
from musicemo.features._npy import open_regular
from musicemo.files import write_atomically
from musicemo.workers import cores

__all__ = ["Pack", "PackedArray"]

_MAGIC = b"musicemo pack\r\n\x1a"
_HEADER = struct.Struct("<16sIIQQQII")
"""Magic, format, rows, tracks, offset of the index, its length, its checksum, the header's own checksum."""

_ALIGNMENT = 64
"""Where arrays begin: at a cache line."""

_AT_ONCE = 256
"""Tracks that a thread checks before it takes others."""

_MAPPED, _AROUND = 256 << 20, 64 << 10
"""Bytes of a pack that are mapped before its pages are given back to the system, which keeps them in its cache if it
has the room; and the bytes that it maps around each that is read."""

_VALUES: dict[int, np.dtype[Any]] = {1: np.dtype("<f4"), 2: np.dtype("<f2")}
"""Format -> type of the values."""

_ENTRY = np.dtype([("offset", "<u8"), ("frames", "<u8"), ("checksum", "<u4"), ("name", "<u4")])
"""One track in the index; `name` is the length of its name, and the names follow, in UTF-8."""


class Pack:
    """A read-only file of feature arrays by name.

    Opening it maps the file and reads its index. An array is a view of the map, which processes share. On first access,
    its checksum is checked. Values are stored frame by frame, so `pack[name].T`, the input of a network, is contiguous.
    Iterating yields the names in the order of the file. Unpickling a pack opens its file again.

    Args:
        path: A file written by `Pack.build`.

    Attributes:
        path: The file.
        rows: Number of rows of every array.
        dtype: Type of the values: float32, or float16.
        fingerprint: Hexadecimal digits, equal for packs of equal names and contents.

    Raises:
        InputError: The file is missing, is not a pack, is truncated, or its index is damaged.
    """

    def __init__(self, path: str | os.PathLike[str]) -> None:
        self.path = Path(path)
        try:
            with open_regular(self.path) as file:
                self._map = mmap.mmap(file.fileno(), 0, access=mmap.ACCESS_READ)
        except FileNotFoundError as error:
            raise InputError(f"{self.path}: there is no such file") from error
        except (OSError, ValueError) as error:  # an empty file cannot be mapped
            raise InputError(f"{self.path}: cannot be read as a pack of features: {error}") from error
        self.rows, entries, names = self._index()
        self.fingerprint = hashlib.sha256(self._map[-self._length :]).hexdigest()[:32]
        self._entries = entries  # as an array: tuples of a million tracks would take 200 MB
        self._places = {name: place for place, name in enumerate(names)}
        if len(self._places) < len(names):
            raise InputError(f"{self.path}: is damaged: a track is in its index twice")
        self._sound = np.zeros(len(names), dtype=bool)
        self._mapped = 0

    @classmethod
    def build(
        cls,
        path: str | os.PathLike[str],
        items: Iterable[tuple[str, NDArray[np.floating]]],
        dtype: Literal["float32", "float16"] = "float32",
    ) -> Pack:
        """Write a pack and open it. Arrays are read one by one, and the file appears only when it is complete.

        Args:
            path: The file. Its folder must exist.
            items: Unique names, and arrays `[rows, frames]`, all with the same number of rows.
            dtype: Type of the values in the file.

        Raises:
            InputError: A name occurs twice, an array has another shape, there is no array, or a value is too large
                for float16.
            RunError: The file cannot be written.
        """
        form = next(form for form, value in _VALUES.items() if value == np.dtype(dtype))
        write_atomically(Path(path), lambda file: _write(file, items, form))
        return cls(path)

    @property
    def names(self) -> tuple[str, ...]:
        """The tracks' names, in the order of the file."""
        return tuple(self._places)

    def frames(self, name: str) -> int:
        """Return the number of frames of a track, without reading its values."""
        return int(self._entries["frames"][self._places[name]])

    def __len__(self) -> int:
        return len(self._places)

    def __iter__(self) -> Iterator[str]:
        return iter(self._places)

    def __contains__(self, name: object) -> bool:
        return name in self._places

    def __getitem__(self, name: str) -> NDArray[np.floating]:
        """Return a track's features, `[rows, frames]`, a read-only view.

        Raises:
            KeyError: There is no such track.
            InputError: The track's features are damaged.
        """
        if not self._sound[self._places[name]] and not self._is_sound(name):
            raise InputError(
                f"{self.path}: track {name!r} is damaged: its features are not as they were written"
            )
        return self._view(name)

    def damaged(self, names: Iterable[str] | None = None) -> list[str]:
        """Read tracks, on all cores, and return those that are damaged.

        Args:
            names: The tracks; by default all.
        """
        every = self._places if names is None else names
        unread = [name for name in every if not self._sound[self._places[name]]]
        parts = [unread[begin : begin + _AT_ONCE] for begin in range(0, len(unread), _AT_ONCE)]

        def check(part: list[str]) -> list[str]:
            return [name for name in part if not self._is_sound(name)]

        with ThreadPoolExecutor(cores()) as threads:  # reading and checksums leave other threads free to work
            return [name for part in threads.map(check, parts) for name in part]

    def verify(self) -> None:
        """Read all tracks and check their checksums.

        Raises:
            InputError: Tracks are damaged; the first ones are named.
        """
        self._sound[:] = False
        if damaged := self.damaged():
            listed = ", ".join(map(repr, damaged[:5])) + (", ..." if len(damaged) > 5 else "")
            raise InputError(f"{self.path}: {len(damaged)} of {len(self)} tracks are damaged: {listed}")

    def _view(self, name: str) -> NDArray[np.floating]:
        entry = self._entries[self._places[name]]
        view = np.ndarray((int(entry["frames"]), self.rows), self.dtype, self._map, int(entry["offset"])).T
        self._mapped += view.nbytes + _AROUND
        if self._mapped > _MAPPED and hasattr(mmap, "MADV_DONTNEED"):
            self._mapped = 0
            self._map.madvise(mmap.MADV_DONTNEED)  # a page that is needed again is mapped again
        return view

    def _is_sound(self, name: str) -> bool:
        place = self._places[name]
        sound = zlib.crc32(self._view(name).T.data) == self._entries["checksum"][place]
        if sound:
            self._sound[place] = True
        return bool(sound)

    def __reduce__(self) -> tuple[type[Pack], tuple[Path]]:
        return type(self), (self.path.absolute(),)

    def __repr__(self) -> str:
        return f"Pack({str(self.path)!r}: {len(self)} tracks of {self.rows} rows)"

    def _index(self) -> tuple[int, NDArray[Any], list[str]]:
        """Return the number of rows, the tracks' entries and their names, checked."""
        size = len(self._map)
        head = self._map[: _HEADER.size]
        if head[: len(_MAGIC)] != _MAGIC:
            raise InputError(f"{self.path}: is not a pack of features")
        if size < _HEADER.size or zlib.crc32(head[:-4]) != _HEADER.unpack(head)[-1]:
            raise InputError(f"{self.path}: is damaged: its header is not as it was written")
        _, version, rows, count, begin, length, checksum, _ = _HEADER.unpack(head)
        if version not in _VALUES:
            readable = " and ".join(map(str, _VALUES))
            raise InputError(f"{self.path}: is a pack of format {version}, this version reads {readable}")
        self.dtype = _VALUES[version]
        if size != begin + length:
            raise InputError(f"{self.path}: is damaged: it has {size} of {begin + length} bytes")
        self._length = length
        index = self._map[begin:]
        if zlib.crc32(index) != checksum:
            raise InputError(f"{self.path}: is damaged: its index is not as it was written")
        try:
            entries = np.frombuffer(index, _ENTRY, count)
        except ValueError as error:
            raise InputError(f"{self.path}: is damaged: {error}") from error
        text = index[entries.nbytes :]
        ends = np.cumsum(entries["name"], dtype=np.int64).tolist()
        names = [text[a:b].decode("utf-8", "surrogateescape") for a, b in pairwise([0, *ends])]
        room = (begin - np.minimum(entries["offset"], begin)) // (self.dtype.itemsize * max(rows, 1))
        if (entries["frames"] > room).any():
            raise InputError(f"{self.path}: is damaged: a track lies beyond the part that holds the tracks")
        return rows, entries, names


@dataclass(frozen=True, slots=True, eq=False)
class PackedArray:
    """The features of one track in a pack; see `FeatureArray`."""

    pack: Pack
    name: str

    @property
    def shape(self) -> tuple[int, int]:
        """Number of time steps and of rows."""
        return self.pack.frames(self.name), self.pack.rows

    def read(self) -> NDArray[np.floating]:
        """Return the values, `[time, rows]`, a read-only view.

        Raises:
            InputError: They are damaged.
        """
        return self.pack[self.name].T

    def __str__(self) -> str:
        return f"{self.pack.path}: {self.name}"


def _encoded(name: str) -> bytes:
    """Return a name's bytes, which do not depend on the locale; a name of a file may hold bytes that are not UTF-8."""
    return name.encode("utf-8", "surrogateescape")


def _write(file: BinaryIO, items: Iterable[tuple[str, NDArray[np.floating]]], form: int) -> None:
    file.write(bytes(_HEADER.size))
    place, rows = _HEADER.size, 0
    names: dict[str, None] = {}
    entries: list[tuple[int, int, int, int]] = []
    for name, array in items:
        if name in names:
            raise InputError(f"track {name!r} is to be packed twice")
        if array.ndim != 2 or not array.size or (rows and len(array) != rows):
            raise InputError(
                f"track {name!r} has features of shape {list(array.shape)}, and [{rows or 'rows'}, frames] is needed"
            )
        rows = len(array)
        with np.errstate(over="raise"):
            try:
                values = np.ascontiguousarray(array.T, _VALUES[form])
            except FloatingPointError as error:
                raise InputError(
                    f"track {name!r} has features up to {np.abs(array).max():g}, which float16 cannot hold. "
                    'Set dtype = "float32"'
                ) from error
        start = math.ceil(place / _ALIGNMENT) * _ALIGNMENT
        file.write(bytes(start - place))
        file.write(values.data)
        place = start + values.nbytes
        names[name] = None
        entries.append((start, values.shape[0], zlib.crc32(values.data), len(_encoded(name))))
    if not entries:
        raise InputError("there is no track to be packed")
    index = np.array(entries, _ENTRY).tobytes() + b"".join(map(_encoded, names))
    file.write(index)
    fields = _MAGIC, form, rows, len(entries), place, len(index), zlib.crc32(index)
    head = _HEADER.pack(*fields, 0)[:-4]
    file.seek(0)
    file.write(head + struct.pack("<I", zlib.crc32(head)))
