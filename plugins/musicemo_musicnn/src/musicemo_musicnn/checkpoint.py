"""Read the weights of a TensorFlow checkpoint, without TensorFlow."""

from __future__ import annotations

import math
import struct
from collections.abc import Iterator
from functools import lru_cache
from pathlib import Path

import numpy as np
from numpy.typing import NDArray

from musicemo.errors import InputError

__all__ = ["read_checkpoint"]

_FOOTER, _MAGIC = 48, 0xDB4775248B80FB57
_TRAILER = 5
_FLOAT = 1


def read_checkpoint(folder: Path) -> dict[str, NDArray[np.float32]]:
    """Return the float32 variables of a checkpoint: name -> array.

    A checkpoint is a "tensor bundle": ``.index`` is a table in LevelDB's format from names to places in
    ``.data-00000-of-00001``. Nothing in it is executed, and the checksum of everything that is read is checked.

    Args:
        folder: The folder with both files, as in the ``musicnn`` package.

    Raises:
        InputError: A file is missing, damaged, or not of this format.
    """
    index, data = folder / ".index", folder / ".data-00000-of-00001"
    for path in (index, data):
        if not path.is_file():
            raise InputError(f"{path}: no such file. A checkpoint is a folder with .index and {data.name}")
    try:
        variables = dict(_variables(index.read_bytes()))
    except (KeyError, IndexError, ValueError, struct.error) as error:
        raise InputError(f"{index}: not a TensorFlow checkpoint, or damaged") from error
    content = data.read_bytes()
    weights = {}
    for name, (shape, offset, size, checksum) in variables.items():
        part = content[offset : offset + size]
        if len(part) != 4 * math.prod(shape) or _checksum(part) != checksum:
            raise InputError(f"{data}: {name} is damaged")
        weights[name] = np.frombuffer(part, "<f4").reshape(shape)
    return weights


def _variables(content: bytes) -> Iterator[tuple[str, tuple[list[int], int, int, bytes]]]:
    """Yield the names of the float32 variables, with shape, offset, size and checksum."""
    for name, entry in _table(content):
        fields = dict(_fields(entry))  # 1 type, 2 shape, 4 offset, 5 size, 6 checksum; zeros are left out
        if not name or fields[1] != _FLOAT:  # the header has no name; steps are integers
            continue
        sizes = [dict(_fields(_bytes(size))) for _, size in _fields(_bytes(fields.get(2, b"")))]
        shape = [int(size.get(1, 0)) for size in sizes]
        yield name.decode(), (shape, int(fields.get(4, 0)), int(fields[5]), _bytes(fields[6]))


def _table(content: bytes) -> Iterator[tuple[bytes, bytes]]:
    """Yield the keys and values of a table in LevelDB's format."""
    footer = content[-_FOOTER:]
    if len(footer) < _FOOTER or struct.unpack("<Q", footer[-8:])[0] != _MAGIC:
        raise ValueError("no table")
    _, place = _varint(footer, 0)
    _, place = _varint(footer, place)
    for _, handle in _block(content, footer[place:]):
        yield from _block(content, handle)


def _block(content: bytes, handle: bytes) -> Iterator[tuple[bytes, bytes]]:
    """Yield the keys and values of a block; a key repeats the beginning of the one before it."""
    offset, place = _varint(handle, 0)
    size, _ = _varint(handle, place)
    block, trailer = content[offset : offset + size], content[offset + size : offset + size + _TRAILER]
    if trailer[0] != 0 or _checksum(block + trailer[:1]) != trailer[1:]:
        raise ValueError("a damaged or compressed block")
    restarts = struct.unpack("<I", block[-4:])[0]
    end, place, key = size - 4 * (restarts + 1), 0, b""
    while place < end:
        shared, place = _varint(block, place)
        rest, place = _varint(block, place)
        length, place = _varint(block, place)
        key = key[:shared] + block[place : place + rest]
        place += rest
        yield key, block[place : place + length]
        place += length


def _fields(content: bytes) -> Iterator[tuple[int, int | bytes]]:
    """Yield the fields of a protocol buffer: number and value."""
    place = 0
    while place < len(content):
        tag, place = _varint(content, place)
        kind = tag & 7
        if kind == 0:
            value, place = _varint(content, place)
            yield tag >> 3, value
            continue
        size, place = _varint(content, place) if kind == 2 else ({1: 8, 5: 4}[kind], place)
        if place + size > len(content):
            raise ValueError("a field ends too early")
        yield tag >> 3, content[place : place + size]
        place += size


def _bytes(value: int | bytes) -> bytes:
    if isinstance(value, int):
        raise ValueError("a number instead of a message")
    return value


def _varint(content: bytes, place: int) -> tuple[int, int]:
    """Return a number of seven bits per byte, lowest first, and the place after it."""
    value = shift = 0
    while True:
        byte = content[place]
        value |= (byte & 127) << shift
        place, shift = place + 1, shift + 7
        if byte < 128:
            return value, place


@lru_cache
def _crc_table() -> tuple[int, ...]:
    def entry(value: int) -> int:
        for _ in range(8):
            value = value >> 1 ^ (0x82F63B78 if value & 1 else 0)
        return value

    return tuple(map(entry, range(256)))


def _checksum(content: bytes) -> bytes:
    """Return the masked CRC-32C that LevelDB and TensorFlow write."""
    table, crc = _crc_table(), 0xFFFFFFFF
    for byte in content:
        crc = table[(crc ^ byte) & 255] ^ crc >> 8
    crc ^= 0xFFFFFFFF
    return struct.pack("<I", ((crc >> 15 | crc << 17) + 0xA282EAD8) & 0xFFFFFFFF)
