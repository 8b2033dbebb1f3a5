"""The recordings that lie one after another in a file, and how long each should be by what the file declares."""

from __future__ import annotations

import io
import re
import struct
from collections.abc import Iterator, Sequence
from dataclasses import dataclass, field, replace
from pathlib import Path
from typing import BinaryIO, NamedTuple

__all__ = ["TOLERANCE", "Part", "Recording", "Tail", "find_recordings", "mpeg_recordings", "wave_tail"]

TOLERANCE = 0.1
"""Seconds that may be missing: encoders count their delay in different ways."""

_FEW = 4096
"""Bytes that may be missing at the end of a container whose bytes per second are not known."""

_CHUNK = 1 << 20
"""Bytes that are searched at once."""


@dataclass(frozen=True)
class Recording:
    """A part of a file that one decoder reads from its beginning to its end.

    Attributes:
        pieces: The bytes of the recording: bytes that replace those of the file, and ranges of the file. Empty if the
            recording is the file itself.
        frames: Declared number of samples of a channel; None if the recording does not declare it.
        slack: Samples of a channel by which `frames` may be too large in a whole recording.
        cut: Why the recording is not whole, found without decoding it; None if it is.
        ffmpeg: Whether libsndfile cannot read it, although it may begin to.
    """

    pieces: tuple[bytes | range, ...] = ()
    frames: int | None = None
    slack: int = 0
    cut: str | None = None
    ffmpeg: bool = False


class Part(io.RawIOBase):
    """A read-only file made of bytes and of ranges of another file."""

    def __init__(self, file: BinaryIO, pieces: Sequence[bytes | range]) -> None:
        self._file = file
        self._pieces = pieces
        self._starts = [0]
        for piece in pieces:
            self._starts.append(self._starts[-1] + len(piece))
        self._place = 0
        self._index = 0

    def readable(self) -> bool:
        return True

    def seekable(self) -> bool:
        return True

    def tell(self) -> int:
        return self._place

    def seek(self, offset: int, whence: int = 0) -> int:
        self._place = max(0, offset + (0, self._place, self._starts[-1])[whence])
        return self._place

    def readinto(self, buffer: bytearray | memoryview) -> int:  # type: ignore[override]
        view = memoryview(buffer).cast("B")
        done = 0
        while done < len(view) and self._place < self._starts[-1]:
            while self._place >= self._starts[self._index + 1]:
                self._index += 1
            while self._place < self._starts[self._index]:
                self._index -= 1
            piece, begin = self._pieces[self._index], self._place - self._starts[self._index]
            if isinstance(piece, bytes):
                data = piece[begin : begin + len(view) - done]
            else:
                self._file.seek(piece.start + begin)
                data = self._file.read(min(len(view) - done, len(piece) - begin))
            if not data:
                break
            view[done : done + len(data)] = data
            done += len(data)
            self._place += len(data)
        return done


def find_recordings(path: Path) -> list[Recording]:
    """Find the recordings of an Ogg, FLAC, WAV or AIFF file; any other file counts as one recording.

    Raises:
        OSError: The file cannot be read.
    """
    with path.open("rb") as file:
        size = file.seek(0, io.SEEK_END)
        start = _behind_tags(file, 0)
        file.seek(start)
        magic = file.read(12)
        if magic[:4] == b"OggS":
            return _ogg_links(file, start, size)
        if magic[:4] == b"fLaC":
            return _flac_streams(file, start, size)
        waves = (b"RIFF", b"RIFX", b"RF64", b"FORM", b".snd", b"dns.")
        if start == 0 and magic[:4] in waves and (samples := _samples(file, size)):
            return _waves(file, samples, size)
        if _is_mpeg(file, start):
            return mpeg_recordings(file, start)
        if len(begins := _beginnings(file, magic, size)) > 1:
            ends = [*begins[1:], size]
            return [Recording((range(*pair),), ffmpeg=True) for pair in zip(begins, ends, strict=True)]
        if magic.startswith(b"Creative Voi"):
            return [_voice(file, size)]
        tail = wave_tail(file)
        if magic[:4] == b"riff" and tail and not tail.missing and not tail.surplus:
            samples = _samples(file, size)
            if samples and samples.length is not None:  # libsndfile takes what follows for samples
                return [Recording((range(samples.begin + samples.length),))]
        missing = tail.missing if tail else _declared_end(file, magic) - size
    cut = f"its header declares {missing} bytes more than it holds" if missing > _FEW else None
    return [Recording(cut=cut)]


def _beginnings(file: BinaryIO, magic: bytes, size: int) -> list[int]:
    """Return where files begin that follow one another, of formats of which ffmpeg reads the first one only."""
    header = next((header for mark, header in _REPEATED.items() if magic.startswith(mark)), None)
    return [] if header is None else list(_search(file, header, 0, size, 32))


def _behind_tags(file: BinaryIO | Part, start: int) -> int:
    """Return the offset behind the ID3 tags at `start`."""
    while True:
        file.seek(start)
        header = file.read(10)
        if len(header) < 10 or header[:3] != b"ID3" or max(header[6:]) > 127:
            return start
        length = 0
        for byte in header[6:]:
            length = length << 7 | byte
        start += 10 + length + (10 if header[5] & 0x10 else 0)


def _search(file: BinaryIO, pattern: re.Pattern[bytes], start: int, stop: int, longest: int) -> Iterator[int]:
    """Yield the offsets of a pattern, which matches at most `longest` bytes."""
    while start < stop:
        file.seek(start)
        data = file.read(_CHUNK + longest - 1)
        for match in pattern.finditer(data):
            if match.start() < _CHUNK and start + match.start() < stop:
                yield start + match.start()
        start += _CHUNK


# Ogg


class _Page(NamedTuple):
    begin: int
    end: int
    flags: int
    serial: int
    body: int


def _pages(file: BinaryIO, start: int, size: int) -> Iterator[_Page]:
    """Yield the pages of an Ogg file; the last one may end behind the file."""
    place = start
    while place < size:
        file.seek(place)
        header = file.read(27 + 255)
        if header[:4] != b"OggS"[: len(header)]:
            place = next(_search(file, re.compile(b"OggS"), place + 1, size, 4), size)
            continue
        whole = len(header) >= 27 and len(header) >= 27 + header[26]
        body = 27 + header[26] if whole else 0
        end = place + body + sum(header[27:body]) if whole else size + 1
        flags, serial = (header[5], int.from_bytes(header[14:18], "little")) if len(header) >= 18 else (0, -1)
        yield _Page(place, end, flags, serial, place + body)
        place = end


@dataclass
class _Link:
    begin: int
    codecs: list[bytes] = field(default_factory=list)
    last: _Page | None = None
    ended: set[int] = field(default_factory=set)


def _ogg_links(file: BinaryIO, start: int, size: int) -> list[Recording]:
    """Split an Ogg file at the pages that begin a stream after others have ended.

    A recording is cut if the file ends within a page, or if bytes that are no page follow the last page. If whole
    pages end the file, and no page is marked as the last one, the file was copied from a running stream and is whole.
    """
    links: list[_Link] = []
    beginning = False
    for page in _pages(file, start, size):
        if page.flags & 2:
            if not beginning:
                links.append(_Link(page.begin if links else 0))
            file.seek(page.body)
            links[-1].codecs.append(file.read(8))
        beginning = bool(page.flags & 2)
        if links:
            links[-1].last = page
            if page.flags & 4 and page.end <= size:
                links[-1].ended.add(page.serial)
    recordings = []
    for index, link in enumerate(links):
        end = links[index + 1].begin if index + 1 < len(links) else size
        assert link.last is not None
        complete = len(link.ended) == len(link.codecs)
        cut = None if link.last.end <= size or complete else "the last page of its Ogg stream is incomplete"
        if end == size and (other := _unexplained(file, link.last.end, size, padded=complete)):
            cut = f"{other} bytes behind the last page of its Ogg stream are not audio of this stream"
        recordings.append(
            Recording(
                pieces=() if len(links) == 1 else (range(link.begin, end),),
                cut=cut,
                ffmpeg=len(link.codecs) > 1 or not link.codecs[0].startswith((b"\1vorbis", b"OpusHead")),
            )
        )
    return recordings or [Recording()]


# FLAC

_FLAC = re.compile(rb"fLaC[\x00\x80]\x00\x00\x22", re.DOTALL)
_FLAC_HEAD = 42
"""Bytes up to the end of the first block of metadata."""


def _flac_streams(file: BinaryIO, start: int, size: int) -> list[Recording]:
    """Split a file at its FLAC headers.

    The decoder gets a header that leaves the length open, so that it decodes as much as there is.
    """
    begins = list(_search(file, _FLAC, start, size, 8))
    recordings = []
    for index, begin in enumerate(begins):
        end = begins[index + 1] if index + 1 < len(begins) else size
        file.seek(begin)
        head = bytearray(file.read(_FLAC_HEAD))
        if len(head) < _FLAC_HEAD:
            return [Recording()]
        frames = int.from_bytes(head[21:26], "big") & 0xFFFFFFFFF
        head[21] &= 0xF0
        head[22:26] = bytes(4)
        pieces = (bytes(head), range(begin + _FLAC_HEAD, end))
        recordings.append(Recording(pieces=pieces, frames=frames or None))
    return recordings or [Recording()]


# WAV, AIFF and their relatives


def _waves(file: BinaryIO, samples: _Samples, size: int) -> list[Recording]:
    """Split a WAV, AIFF or AU file at the chunks of samples that follow one another.

    If a header leaves the length open, the decoder gets one that leaves it open in a form that it understands.
    """
    begins = [0]
    while following := _following(file, begins[-1]):
        begins.append(following)
    if len(begins) > 1:
        ends = [*begins[1:], size]
        return [Recording((range(begin, end),)) for begin, end in zip(begins, ends, strict=True)]
    file.seek(0)
    head = file.read(min(samples.begin, 1 << 12))
    form = head.find(b"fmt ")
    if head[:4] == b"RIFF" and form > 0 and head[form + 8 : form + 10] == b"\x55\0":
        missing = max((samples.length or 0) - (size - samples.begin), 0)
        cut = f"its header declares {missing} bytes more than it holds" if missing else None
        return [
            replace(part, cut=part.cut or cut) for part in mpeg_recordings(file, samples.begin, alone=False)
        ]
    if samples.length is not None:
        file.seek(samples.end)
        further = file.read(4) in (b"data", b"SSND")
        return [Recording(cut="only the first of its chunks of samples can be read" if further else None)]
    file.seek(0)
    opened = bytearray(file.read(samples.begin))
    opened[samples.field : samples.field + 4] = b"\xff\xff\xff\xff"
    if head[:4] not in (b".snd", b"dns."):
        opened[4:8] = b"\xff\xff\xff\xff"
    if head[:4] == b"RF64":
        opened[:4] = b"RIFF"
    return [Recording((bytes(opened), range(samples.begin, size)))]


def _following(file: BinaryIO, begin: int) -> int | None:
    """Return where a WAV or AIFF file begins behind the one that begins here."""
    file.seek(begin)
    header = file.read(8)
    if header[:4] not in (b"RIFF", b"RIFX", b"FORM"):
        return None
    end = begin + 8 + int.from_bytes(header[4:], "little" if header[:4] == b"RIFF" else "big")
    for place in (end, end + 1):
        file.seek(place)
        further = file.read(12)
        if further[:4] == header[:4] and further[8:] in _FORMS:
            return place
    return None


_FORMS = (b"WAVE", b"AIFF", b"AIFC")
_ASF = bytes.fromhex("3026b2758e66cf11a6d900aa0062ce6c")
_REPEATED = {
    _ASF[:12]: re.compile(re.escape(_ASF)),
    b"FLV\1": re.compile(rb"FLV\x01[\1\4\5]\0\0\0\x09\0\0\0\0", re.DOTALL),
    b"TTA1": re.compile(rb"TTA1[\1-\3]\0", re.DOTALL),
    b"Creative Voi": re.compile(rb"Creative Voice File\x1a"),
    b"caff": re.compile(rb"caff\x00\x01\x00\x00desc", re.DOTALL),
}
_ASF_PROPERTIES = bytes.fromhex("a1dcab8c47a9cf118ee400c00c205365")


def _voice(file: BinaryIO, size: int) -> Recording:
    """Walk through the blocks of a Creative Voice file; libsndfile takes the headers between them for samples."""
    file.seek(20)
    place = int.from_bytes(file.read(2), "little")
    sounds = 0
    while place < size:
        file.seek(place)
        header = file.read(4)
        if header[0] == 0:
            break
        sounds += header[0] in (1, 2, 9)
        place += 4 + int.from_bytes(header[1:], "little")
    missing = place - size
    cut = f"its last block declares {missing} bytes more than it holds" if missing > 0 else None
    return Recording(cut=cut, ffmpeg=sounds > 1)


def _declared_end(file: BinaryIO, magic: bytes) -> int:
    """Return where an AVI, ASF (WMA) or Matroska (WebM) file should end by its header; 0 if it does not say so."""
    if magic[:4] == b"RIFF":
        length = int.from_bytes(magic[4:8], "little")
        return 0 if _unknown(length, 4) else 8 + length
    file.seek(0)
    head = file.read(1 << 16)
    if magic.startswith(_ASF[:12]):
        place = head.find(_ASF_PROPERTIES)
        if 0 <= place <= len(head) - 92:
            length, flags = int.from_bytes(head[place + 40 : place + 48], "little"), head[place + 88]
            return 0 if flags & 1 else length
    if magic.startswith(b"\x1a\x45\xdf\xa3"):
        place = head.find(b"\x18\x53\x80\x67") + 4
        if place >= 4 and head[place : place + 1].strip(b"\0"):
            width = 9 - head[place].bit_length()
            length = int.from_bytes(head[place : place + width], "big") & ((1 << 7 * width) - 1)
            return 0 if length == (1 << 7 * width) - 1 else place + width + length
    return 0


class _Chunks(NamedTuple):
    """How the chunks of a container are written."""

    first: int
    name: int
    length: str
    align: int = 1
    inclusive: bool = False


_CONTAINERS = {
    b"RIFF": _Chunks(12, 4, "<I", 2),
    b"RIFX": _Chunks(12, 4, ">I", 2),
    b"RF64": _Chunks(12, 4, "<I", 2),
    b"FORM": _Chunks(12, 4, ">I", 2),
    b"riff": _Chunks(40, 16, "<Q", 8, inclusive=True),
    b"caff": _Chunks(8, 4, ">Q"),
}
_AUDIO = (b"RIFF", b"RIFX", b"RF64", b"FORM", b"fLaC", b"OggS", b"caff", b"wvpk", b"TTA1")


def _unknown(length: int, width: int) -> bool:
    """Return whether a program that writes to a pipe puts this into the place of a length."""
    if width == 8:
        return length >= 1 << 62 or (length >> 32 in (0, 0xFFFFFFFF) and _unknown(length & 0xFFFFFFFF, 4))
    return (
        length >= 0xFFFF0000
        or 0x7FFF0000 - 4096 <= length <= 0x80000000 + 4096
        or 0x7F000000 <= length <= 0x7F000100
    )


class Tail(NamedTuple):
    """The length that a header declares for the samples, compared with the file.

    Attributes:
        there: Bytes of samples that are there.
        missing: Bytes that the header declares beyond them.
        surplus: Bytes behind the samples that are neither a chunk nor a tag nor zero.
    """

    there: int
    missing: int
    surplus: int


class _Samples(NamedTuple):
    """Where the samples of a container are.

    Attributes:
        field: Offset of the length of the samples.
        begin: Offset of the samples.
        length: Their declared length in bytes; None if the header leaves it open.
        end: Offset behind the last chunk.
    """

    field: int
    begin: int
    length: int | None
    end: int


def wave_tail(file: BinaryIO | Part) -> Tail | None:
    """Compare the declared length of a WAV, AIFF, AU, W64, RF64 or CAF file with the file.

    Args:
        file: The file, or a part of one that begins with such a header.

    Returns:
        None for another kind of file, or if there is no chunk of samples.
    """
    size = file.seek(0, io.SEEK_END)
    samples = _samples(file, size)
    if samples is None:
        return None
    if samples.length is None:
        return Tail(size - samples.begin, 0, 0)
    there = max(0, min(samples.length, size - samples.begin))
    return Tail(there, samples.length - there, _unexplained(file, samples.end, size))


def _samples(file: BinaryIO | Part, size: int) -> _Samples | None:
    file.seek(0)
    magic = file.read(12)
    if magic[:4] in (b".snd", b"dns."):
        begin, length = struct.unpack(">2I" if magic[:4] == b".snd" else "<2I", magic[4:].ljust(8, b"\0"))
        open_ended = _unknown(length, 4) or not length
        return _Samples(8, begin, None if open_ended else length, begin + length)
    layout = _CONTAINERS.get(magic[:4])
    if layout is None:
        return None
    width = struct.calcsize(layout.length)
    long_length = 0
    place = layout.first
    samples: _Samples | None = None
    while place + layout.name + width <= size:
        file.seek(place)
        header = file.read(layout.name + width)
        (length,) = struct.unpack(layout.length, header[layout.name :])
        name, begin = header[:4], place + len(header)
        length -= len(header) if layout.inclusive else 0
        if name == magic[:4] or not all(32 <= byte < 127 for byte in name):
            break
        if samples is not None and length and name in (b"data", b"SSND"):  # only the first one is decoded
            break
        if name == b"ds64":
            long_length = int.from_bytes(file.read(16)[8:], "little")
        if samples is None and name in (b"data", b"SSND"):
            if magic[:4] == b"RF64" and length == 0xFFFFFFFF and long_length and not _unknown(long_length, 8):
                length = long_length
            elif _unknown(length, width) or length < 0:
                return _Samples(begin - width, begin, None, size)
            samples = _Samples(begin - width, begin, length, begin)
        elif begin + length > size or length < 0:
            break
        place = begin + length
        place += -place % layout.align
    if samples is None:
        return None
    empty = (8 if magic[:4] == b"FORM" else 0) >= (samples.length or 0)
    if empty and _unexplained(file, place, size):
        return samples._replace(length=None)
    return samples._replace(end=place)


def _unexplained(file: BinaryIO | Part, place: int, size: int, *, padded: bool = True) -> int:
    """Return how many bytes are behind the last chunk and its tags.

    Args:
        file: The file.
        place: Offset behind the last chunk.
        size: Bytes of the file.
        padded: Whether zeros do not count.
    """
    while place < size:
        file.seek(place)
        data = file.read(_CHUNK)
        zeros = len(data) - len(data.lstrip(b"\0"))
        if zeros and not padded:
            break
        place += zeros
        if zeros < len(data):
            tag = data[zeros : zeros + 32]
            if tag.startswith(b"LYRICS"):
                return 0
            behind = _behind_tags(file, place)
            if tag.startswith(b"APETAGEX") and len(tag) > 16:
                behind = place + 32 + int.from_bytes(tag[12:16], "little")
            elif tag.startswith(b"TAG"):
                behind = place + (227 if tag.startswith(b"TAG+") else 128)
            if behind == place:
                break
            place = behind
    return max(size - place, 0)


# MPEG

_SAMPLES = {(3, 3): 384, (3, 2): 1152, (3, 1): 1152, (2, 3): 384, (2, 2): 1152, (2, 1): 576}
"""Samples of a frame by version (3: MPEG-1, 2: MPEG-2 and 2.5) and layer (3: I, 2: II, 1: III)."""
_KBITS = {
    (3, 3): (32, 64, 96, 128, 160, 192, 224, 256, 288, 320, 352, 384, 416, 448),
    (3, 2): (32, 48, 56, 64, 80, 96, 112, 128, 160, 192, 224, 256, 320, 384),
    (3, 1): (32, 40, 48, 56, 64, 80, 96, 112, 128, 160, 192, 224, 256, 320),
    (2, 3): (32, 48, 56, 64, 80, 96, 112, 128, 144, 160, 176, 192, 224, 256),
    (2, 2): (8, 16, 24, 32, 40, 48, 56, 64, 80, 96, 112, 128, 144, 160),
    (2, 1): (8, 16, 24, 32, 40, 48, 56, 64, 80, 96, 112, 128, 144, 160),
}
_HERTZ = {3: (44100, 48000, 32000), 2: (22050, 24000, 16000), 0: (11025, 12000, 8000)}
_COUNTS = (b"Xing", b"Info", b"VBRI")
_COUNT_REACH = 64
"""Bytes within which such a mark lies behind the beginning of its frame."""
_SYNC = re.compile(rb"\xff[\xe2-\xff]")


class _Header(NamedTuple):
    """The header of an MPEG audio frame.

    Attributes:
        length: Bytes of the frame.
        format: Version, layer, sample rate and whether there is one channel: the same within a recording.
        samples: Samples of a channel.
    """

    length: int
    format: tuple[int, int, int, bool]
    samples: int


def _header(word: int) -> _Header | None:
    """Decode the four bytes that begin a frame; None if they do not, or if they leave the bit rate open."""
    version, layer = word >> 19 & 3, word >> 17 & 3
    kbits, hertz, padding = word >> 12 & 15, word >> 10 & 3, word >> 9 & 1
    if word >> 21 != 0x7FF or version == 1 or layer == 0 or kbits in (0, 15) or hertz == 3:
        return None
    kind = (3 if version == 3 else 2), layer
    rate, samples = _HERTZ[version][hertz], _SAMPLES[kind]
    bits = 1000 * _KBITS[kind][kbits - 1]
    length = (12 * bits // rate + padding) * 4 if layer == 3 else samples // 8 * bits // rate + padding
    return _Header(length, (version, layer, rate, word >> 6 & 3 == 3), samples)


def _is_mpeg(file: BinaryIO, start: int) -> bool:
    """Return whether MPEG frames begin behind the tags, or behind the zeros that follow them."""
    file.seek(start)
    data = file.read(_CHUNK)
    place = len(data) - len(data.lstrip(b"\0"))
    first = None
    for _ in range(3):
        header = _header(int.from_bytes(data[place : place + 4], "big"))
        if header is None or (first is not None and header.format != first.format):
            return False
        first = header
        place += header.length
    return True


class _Run(NamedTuple):
    """Frames of one format.

    Attributes:
        header: The first frame's header.
        ranges: Where the frames are.
        number: Frames, without the one that holds the count.
        mark: Offset of the mark (Xing, Info, VBRI) before the declared number of frames; 0 if there is none.
    """

    header: _Header
    ranges: list[range]
    number: int
    mark: int


def mpeg_recordings(file: BinaryIO, start: int, *, alone: bool = True) -> list[Recording]:
    """Find the recordings of an MP3 or other MPEG audio file by its frames.

    A recording ends where the sample rate or the number of channels changes, and before a frame that declares how
    many frames follow (Xing, Info, VBRI). If a recording declares no length, or a shorter one than it has, or if
    other bytes lie between its frames, the decoder gets the frames alone, behind a header with their true number.

    Args:
        file: The file.
        start: Where the frames, or other bytes before them, begin.
        alone: Whether the decoder may get the file itself if there is one recording.

    Raises:
        OSError: The file cannot be read.
    """
    file.seek(0)
    data = file.read()
    runs = _mpeg_runs(data, start)
    recordings = [_mpeg_recording(data, run, alone=alone and len(runs) == 1) for run in runs]
    if not recordings:
        return [Recording()]
    other = _unexplained(file, runs[-1].ranges[-1].stop, len(data)) if alone else 0
    if other and data[-other:].startswith(_AUDIO):
        recordings[-1] = replace(
            recordings[-1], cut=f"{other} bytes behind its last frame are of another format"
        )
    return recordings


def _occurrences(data: bytes, mark: bytes) -> Iterator[int]:
    place = data.find(mark)
    while place >= 0:
        yield place
        place = data.find(mark, place + 1)


def _mpeg_runs(data: bytes, start: int) -> list[_Run]:
    counts = sorted(place for mark in _COUNTS for place in _occurrences(data, mark))
    headers: dict[bytes, _Header | None] = {}

    def header_at(place: int) -> _Header | None:
        """Return the header of the frame that begins here, if the file holds all of the frame."""
        word = data[place : place + 4]
        if word not in headers:
            headers[word] = _header(int.from_bytes(word, "big")) if len(word) == 4 else None
        header = headers[word]
        return None if header is None or place + header.length > len(data) else header

    def begins(place: int) -> bool:
        """Return whether frames of one format begin here: three, or fewer up to the end of the file."""
        first = header_at(place)
        for _ in range(2):
            header = header_at(place)
            if header is None or first is None or header.format != first.format:
                return False
            place += header.length
            if place == len(data):
                return True
        header = header_at(place)
        return first is not None and header is not None and header.format == first.format

    def count_of(place: int, header: _Header) -> int:
        """Return the offset of the mark in a frame that declares a number of frames, or 0."""
        version, layer, _, mono = header.format
        side = (17 if mono else 32) if version == 3 else (9 if mono else 17)
        places = (place + 4 + side, place + 6 + side, place + 36) if layer == 1 else ()
        return next((place for place in places if place in counts), 0)

    runs: list[_Run] = []
    place = start
    joined = False  # whether the frame before ends here
    while place < len(data):
        header = header_at(place)
        same = bool(runs) and header is not None and header.format == runs[-1].header.format
        if header is None or not (same or begins(place)):
            place = next((m.start() for m in _SYNC.finditer(data, place + 1) if begins(m.start())), len(data))
            joined = False
            continue
        count = count_of(place, header)
        if not same or count:
            runs.append(_Run(header, [], 0, count))
            joined = False
        begin, number = place, 0 if count else 1
        place += header.length
        # The frames that follow without anything special take most of the time.
        stop = next((mark for mark in counts if mark >= place), len(data)) - _COUNT_REACH
        expected = runs[-1].header.format
        while place < stop:
            header = headers.get(data[place : place + 4])
            if header is None or header.format != expected or place + header.length > len(data):
                break
            place += header.length
            number += 1
        ranges = runs[-1].ranges
        if joined:
            ranges[-1] = range(ranges[-1].start, place)
        else:
            ranges.append(range(begin, place))
        runs[-1] = runs[-1]._replace(number=runs[-1].number + number)
        joined = True
    return [run for run in runs if run.number]


def _mpeg_recording(data: bytes, run: _Run, *, alone: bool) -> Recording:
    _, layer, rate, _ = run.header.format
    samples, first = run.header.samples, run.ranges[0].start
    declared, place = 0, 0
    if run.mark:
        vbri = data[run.mark : run.mark + 4] == b"VBRI"
        if vbri or data[run.mark + 7] & 1:
            place = run.mark + (14 if vbri else 8)
            declared = int.from_bytes(data[place : place + 4], "big")
    missing = (declared - run.number) * samples / rate
    cut = f"its header declares {missing:.2f} s more than it holds" if missing > TOLERANCE else None
    right = bool(declared) and abs(missing) <= TOLERANCE
    if alone and len(run.ranges) == 1 and (right or layer != 1):
        pieces: tuple[bytes | range, ...] = ()
    elif layer != 1:
        pieces = tuple(run.ranges)
    else:
        behind = first + run.header.length if run.mark else first
        number = run.number.to_bytes(4, "big")
        if place:
            head = data[first:place] + number + data[place + 4 : behind]
            if data[run.mark + 7] & 2 and data[run.mark : run.mark + 4] != b"VBRI":
                size = behind - first + sum(map(len, run.ranges)) - run.header.length
                head = head[: place + 4 - first] + size.to_bytes(4, "big") + head[place + 8 - first :]
        else:
            head = _counting_frame(data[first : first + 4], run.header, number)
        pieces = (head, range(behind, run.ranges[0].stop), *run.ranges[1:])
        pieces = tuple(piece for piece in pieces if len(piece))
    return Recording(pieces, run.number * samples, 4 * samples, cut)


def _counting_frame(word: bytes, header: _Header, number: bytes) -> bytes:
    """Build a frame without sound that declares how many frames follow."""
    version, _, _, mono = header.format
    side = (17 if mono else 32) if version == 3 else (9 if mono else 17)
    first = (int.from_bytes(word, "big") | 1 << 16) & ~(15 << 12 | 1 << 9) | 9 << 12
    length = _header(first).length  # type: ignore[union-attr]
    frame = first.to_bytes(4, "big") + bytes(side) + b"Xing" + (1).to_bytes(4, "big") + number
    return frame.ljust(length, b"\0")
