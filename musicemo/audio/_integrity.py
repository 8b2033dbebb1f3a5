"""Whether a file holds all that its header says."""

from __future__ import annotations

import os
import re
from pathlib import Path
from typing import TYPE_CHECKING

from musicemo.errors import InputError

if TYPE_CHECKING:
    from soundfile import SoundFile

__all__ = ["check_length"]

_TOLERANCE = 0.1
"""Seconds that may be missing: encoders count their own delay in different ways."""

_CHUNK = re.compile(r"^\s*(?:data|SSND)\s*:\s*(\d+) \(should be (\d+)\)", re.MULTILINE)
"""How libsndfile reports a chunk of samples that the file is too short for."""

_UNKNOWN_SIZE = 0xFFFF0000
"""Programs that write to a pipe put a size in this range."""


def check_length(file: SoundFile, name: str, missing: int) -> None:
    """Refuse a file that was cut off.

    Args:
        file: The open file.
        name: What the message calls it.
        missing: Sample frames that were asked for, and that `file` should have, but that were not there.

    Raises:
        InputError: More than 0.1 s is missing.
    """
    if file.format in ("MP3", "MPEG") and not _declares_length(Path(os.fsdecode(file.name))):
        # The number of frames is an estimate from the first frame's bit rate.
        missing = 0
    chunk = _CHUNK.search(file.extra_info)
    if chunk:
        declared, present = (int(size) for size in chunk.groups())
        if declared < _UNKNOWN_SIZE and present:
            missing += round(file.frames * (declared - present) / present)
    if missing > _TOLERANCE * file.samplerate:
        raise InputError(
            f"{name} is truncated: its header declares {missing / file.samplerate:.2f} s more than it holds"
        )
    if file.format == "OGG" and not _ends_stream(Path(os.fsdecode(file.name))):
        raise InputError(f"{name} is truncated: the last page of its Ogg stream is missing")


def _declares_length(path: Path) -> bool:
    """Whether the first frame of an MP3, behind its ID3 tag, says how many frames there are."""
    with path.open("rb") as file:
        header = file.read(10)
        start = 0
        if header[:3] == b"ID3" and len(header) == 10:
            start = 10
            for place, byte in enumerate(header[6:]):
                start += byte << (7 * (3 - place))
        file.seek(start)
        first = file.read(4096)
    return any(mark in first for mark in (b"Xing", b"Info", b"VBRI"))


def _ends_stream(path: Path) -> bool:
    """Whether the last page of an Ogg file is whole and marked as the last of its stream."""
    longest = 65307
    with path.open("rb") as file:
        size = file.seek(0, 2)
        file.seek(max(0, size - longest))
        tail = file.read()
    begin = tail.rfind(b"OggS")
    if begin < 0:
        return False
    page = tail[begin:]
    if len(page) < 27 or len(page) < 27 + page[26]:
        return False
    whole = 27 + page[26] + sum(page[27 : 27 + page[26]])
    return bool(page[5] & 4) and len(page) >= whole
