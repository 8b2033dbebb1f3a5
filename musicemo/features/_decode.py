"""From a file to a mono signal."""

from __future__ import annotations

import contextlib
import math
import os
import re
import shutil
import tempfile
from collections.abc import Iterator
from functools import cache
from os import PathLike, fspath
from pathlib import Path
from typing import TYPE_CHECKING, BinaryIO, Protocol

import numpy as np
from numpy.typing import NDArray

from musicemo.errors import InputError
from musicemo.features._recipe import Recipe
from musicemo.features._recordings import (
    TOLERANCE,
    Part,
    Recording,
    find_recordings,
    mpeg_recordings,
    wave_tail,
)

if TYPE_CHECKING:
    import soundfile

__all__ = ["check_file", "check_level", "decode", "load", "resample"]

_READ = 1 << 18
"""Sample frames that are decoded at once."""

_BLOCK = 1 << 22
"""Samples for which memory is taken at once."""

_FOREIGN = (1, 4, 7)
"""libsndfile's codes for an unknown format, an unknown encoding, and an MP3 without a valid header."""

_UNKNOWN = 1 << 60
"""libsndfile's number of frames is larger if the file does not declare it."""

_SOUGHT = ("WAV", "WAVEX", "AIFF", "AU", "CAF", "W64", "RF64")
_PLAIN = re.compile("PCM|FLOAT|DOUBLE|ULAW|ALAW")
"""Formats and encodings in which every sample stands for itself."""

_STATED = re.compile(r"^\s*(?:data|SSND|BODY|Data Size|Size)\s*:\s*(\d+) \(should be (\d+)\)", re.MULTILINE)
"""How libsndfile reports that a file is too short for its samples."""

_RATES = 1000, 10_000_000
"""Sample rates in Hz outside these are damage."""

_LEAST_RANGE = 2e-4
"""Between the lowest and the highest sample: 80 dB below full scale is silence."""

_CANCELLED, _WEAK, _BASS = 1e-3, 0.25, 1400
"""Channels cancel if the power of their mean is 30 dB below the mean of their powers. A codec does not keep the phase
of high frequencies: if it is only 6 dB below, it must be 30 dB below after averaging to this rate in Hz."""


class _Reader(Protocol):
    """Reads one recording from its beginning.

    Attributes:
        rate: Sample rate in Hz.
        place: Samples of a channel that were decoded so far, those that were skipped included.
    """

    rate: int
    place: int

    def blocks(self, skip: int) -> Iterator[NDArray[np.float32]]:
        """Yield the samples from frame `skip` on, `[frames, channels]`."""

    def finish(self, *, ended: bool) -> None:
        """Refuse what is damaged or truncated; `ended` if the blocks were read up to the end."""

    def close(self) -> None:
        """Close the file."""


def load(path: str | PathLike[str], recipe: Recipe | None = None) -> NDArray[np.float32]:
    """Read the recipe's excerpt of an audio file, as mono at the recipe's sample rate.

    Channels are averaged, and soxr converts the sample rate at its high quality, as in `librosa.load`. Only
    the result is held in memory. Consecutive recordings in a file are joined.

    Args:
        path: File in a format of libsndfile (wav, flac, ogg, mp3 and others), or of an installed ffmpeg.
        recipe: Sample rate and excerpt; by default the whole file at 22,050 Hz.

    Returns:
        `[samples]`.

    Raises:
        InputError: The file is missing, is not audio, is damaged or truncated, is silent, its channels cancel, or the
            excerpt is outside it.
    """
    recipe = recipe or Recipe()
    return decode(path, recipe.sample_rate, recipe.offset, recipe.duration)


def decode(
    path: str | PathLike[str], sample_rate: int, offset: float = 0.0, duration: float | None = None
) -> NDArray[np.float32]:
    """Read an excerpt of an audio file, as mono at a sample rate; see `load`.

    Args:
        path: File in a format of libsndfile (wav, flac, ogg, mp3 and others), or of an installed ffmpeg.
        sample_rate: Sample rate in Hz.
        offset: Start of the excerpt, in seconds.
        duration: Length of the excerpt in seconds; by default up to the end.

    Returns:
        `[samples]`.

    Raises:
        InputError: See `load`.
    """
    name, path = fspath(path), Path(path)
    check_file(name, path)
    try:
        return _load(name, path, sample_rate, offset, duration)
    except (InputError, MemoryError):
        raise
    except OSError as error:
        raise InputError(f"{name} cannot be read: {error.strerror or error}") from error
    except Exception as error:  # whatever a decoder raises is a fault of this file
        raise InputError(f"{name} cannot be decoded: {type(error).__name__}: {error}") from error


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


def check_level(name: str, low: float, high: float) -> None:
    """Refuse a signal that is silent or constant.

    Args:
        name: The signal in messages.
        low: Its lowest sample.
        high: Its highest sample.

    Raises:
        InputError: The samples are less than 2e-4 apart.
    """
    if high - low >= _LEAST_RANGE or not math.isfinite(high - low):
        return
    if low == high:
        raise InputError(f"{name} is silent: all samples are {low:g}")
    raise InputError(f"{name} is silent: all samples are between {low:.6g} and {high:.6g}")


def resample(samples: NDArray[np.float32], rate: int, target: int) -> NDArray[np.float32]:
    """Convert the sample rate of a signal, as `load` does.

    Args:
        samples: `[samples]`, mono.
        rate: Its sample rate in Hz.
        target: The sample rate of the result.
    """
    resampler = _Resampler(rate, target)
    return np.concatenate([resampler(np.ascontiguousarray(samples, np.float32)), resampler.end()])


def _load(
    name: str, path: Path, sample_rate: int, offset: float, duration: float | None
) -> NDArray[np.float32]:
    signal = _Growing()
    resampler: _Resampler | None = None
    level: _Level | None = None
    for rate, block in _excerpt(name, path, offset, duration):
        level = level or _Level(rate)
        if resampler is None or resampler.rate != rate:  # the rate may change within a file
            if resampler is not None:
                signal.append(resampler.end())
            resampler = _Resampler(rate, sample_rate)
        signal.append(resampler(level.mix(block)))
    if level is None or resampler is None:
        raise InputError(f"{name} holds no samples")
    level.check(name)
    signal.append(resampler.end())
    return signal.take()


class _Growing:
    """A signal that grows, in blocks that are large enough for the system to take each one back."""

    def __init__(self) -> None:
        self._blocks: list[NDArray[np.float32]] = []
        self._free = 0

    def append(self, piece: NDArray[np.float32]) -> None:
        """Add the next samples."""
        while len(piece):
            if not self._free:
                self._blocks.append(np.empty(_BLOCK, np.float32))
                self._free = _BLOCK
            part = piece[: self._free]
            begin = _BLOCK - self._free
            self._blocks[-1][begin : begin + len(part)] = part
            self._free -= len(part)
            piece = piece[len(part) :]

    def take(self) -> NDArray[np.float32]:
        """Return the signal, and forget it."""
        if len(self._blocks) == 1:
            return self._blocks.pop()[: _BLOCK - self._free]
        signal = np.empty(len(self._blocks) * _BLOCK - self._free, np.float32)
        for begin in reversed(range(0, len(signal), _BLOCK)):
            target = signal[begin : begin + _BLOCK]
            target[:] = self._blocks.pop()[: len(target)]
        return signal


class _Resampler:
    """Converts the sample rate of a signal that comes in blocks, to as many samples as `librosa.load`."""

    def __init__(self, rate: int, target: int) -> None:
        self.rate = rate
        self._ratio = target / rate
        self._taken = self._given = 0
        self._stream = None
        if rate != target:
            import soxr

            self._stream = soxr.ResampleStream(rate, target, 1, dtype="float32", quality="soxr_hq")

    def __call__(self, block: NDArray[np.float32]) -> NDArray[np.float32]:
        """Return the samples that are ready."""
        self._taken += len(block)
        if self._stream is None:
            return block
        ready: NDArray[np.float32] = self._stream.resample_chunk(np.ascontiguousarray(block))
        self._given += len(ready)
        return ready

    def end(self) -> NDArray[np.float32]:
        """Return the last samples; these are fewer than the signal has too many, which a caller cuts off."""
        if self._stream is None:
            return np.empty(0, np.float32)
        ready = self._stream.resample_chunk(np.empty(0, np.float32), last=True)
        missing = math.ceil(self._taken * self._ratio) - self._given
        return np.pad(ready[: max(missing, 0)], (0, max(missing - len(ready), 0)))


class _Level:
    """Mixes channels to one, and records how loud both are."""

    def __init__(self, rate: int) -> None:
        self._low, self._high = math.inf, -math.inf
        self._count = 1
        self._step = max(1, rate // _BASS)
        self._energy = np.zeros(2)
        self._bass = np.zeros(2)

    def mix(self, block: NDArray[np.float32]) -> NDArray[np.float32]:
        """Return the mean of the channels of `[frames, channels]`, with at least one frame."""
        mono: NDArray[np.float32] = block[:, 0] if block.shape[1] == 1 else block.T.mean(axis=0)
        self._low, self._high = min(self._low, float(mono.min())), max(self._high, float(mono.max()))
        if block.shape[1] > 1:
            self._count = max(self._count, block.shape[1])
            energy = _energies(block, mono)
            self._energy += energy
            if energy[1] < _WEAK * energy[0]:
                size = len(block) // self._step * self._step
                slow = block[:size].reshape(-1, self._step, block.shape[1]).mean(axis=1)
                self._bass += _energies(slow, slow.mean(axis=1))
        return mono

    def check(self, name: str) -> None:
        """Refuse channels that cancel, and silence.

        Raises:
            InputError: The signal is one of these.
        """
        channels, mixed = self._energy
        lost = mixed < _CANCELLED * channels or (
            mixed < _WEAK * channels and self._bass[1] < _CANCELLED * self._bass[0]
        )
        if lost and self._high - self._low < math.inf:
            weaker = f"{10 * math.log10(channels / mixed):.0f} dB weaker" if mixed else "silent"
            raise InputError(
                f"{name}: its {self._count} channels cancel: they are in opposite phase, and their mean is {weaker}. "
                "Invert one of them, or keep one"
            )
        check_level(name, self._low, self._high)


def _energies(block: NDArray[np.float32], mono: NDArray[np.float32]) -> NDArray[np.float64]:
    """Return the mean energy of the channels, and that of their mean."""
    flat = np.ascontiguousarray(block).reshape(-1)
    return np.array([flat @ flat / block.shape[1], mono @ mono], np.float64)


def _excerpt(
    name: str, path: Path, offset: float, left: float | None
) -> Iterator[tuple[int, NDArray[np.float32]]]:
    """Decode the excerpt: yield sample rates and blocks, `[frames, channels]`."""
    start, length = offset, 0.0
    nothing = True
    for index, recording in enumerate(_recordings(path)):
        with contextlib.closing(_open(name, path, recording)) as reader:
            rate = reader.rate
            if not _RATES[0] <= rate <= _RATES[1]:
                raise InputError(f"{name} is damaged: its sample rate is {rate} Hz")
            whole = round if index else int
            wanted = math.inf if left is None else whole(left * rate)
            taken = 0
            for block in reader.blocks(whole(offset * rate)):
                part = block if taken + len(block) <= wanted else block[: int(wanted) - taken]
                if len(part):
                    yield rate, part
                taken += len(part)
                if taken >= wanted:
                    break
            reader.finish(ended=taken < wanted)
            if taken < wanted and recording.cut is not None:
                raise InputError(f"{name} is truncated: {recording.cut}")
            nothing = nothing and not taken
            length += reader.place / rate
            offset = max(0.0, offset - reader.place / rate)
            left = None if left is None else left - taken / rate
            if taken >= wanted:
                return
    if nothing and start:
        raise InputError(f"{name}: the excerpt begins at {start:g} s, and the file ends at {length:.3f} s")


def _recordings(path: Path) -> list[Recording]:
    recordings = find_recordings(path)
    if recordings == [Recording()]:
        import soundfile

        with contextlib.suppress(soundfile.LibsndfileError), _sequential(os.fsencode(path)) as sound:
            if sound.format in ("MP3", "MPEG"):
                with path.open("rb") as file:
                    return mpeg_recordings(file, 0)
    return recordings


def _open(name: str, path: Path, recording: Recording) -> _Reader:
    """Open a recording with libsndfile, else with ffmpeg."""
    import soundfile

    if recording.ffmpeg:
        return _open_ffmpeg(name, path, recording)
    try:
        return _SoundFileReader(name, path, recording)
    except soundfile.LibsndfileError as error:
        try:
            return _open_ffmpeg(name, path, recording)
        except InputError:
            if error.code in _FOREIGN:
                raise
            raise InputError(f"{name} is damaged or truncated: {error.error_string}") from error


def _open_ffmpeg(name: str, path: Path, recording: Recording) -> _Reader:
    from musicemo.features._ffmpeg import FfmpegReader, find_ffmpeg

    if find_ffmpeg() is None:
        raise InputError(
            f"{name} is not audio in a format that libsndfile reads (wav, flac, ogg, mp3 and others); "
            "other formats need ffmpeg, which is not installed"
        )
    if not recording.pieces:
        return FfmpegReader(name, path)
    with tempfile.NamedTemporaryFile(suffix=path.suffix) as copy:
        with path.open("rb") as file, Part(file, recording.pieces) as part:
            shutil.copyfileobj(part, copy)
        copy.flush()
        return FfmpegReader(name, Path(copy.name))


class _SoundFileReader:
    """Reads a recording through libsndfile.

    Args:
        name: The file in messages.
        path: The file.
        recording: What of it is read.

    Attributes:
        rate: Sample rate in Hz.
        place: Samples of a channel that were decoded so far, those that were skipped included.

    Raises:
        soundfile.LibsndfileError: libsndfile cannot open it.
    """

    def __init__(self, name: str, path: Path, recording: Recording) -> None:
        self._name = name
        self.place = 0
        with contextlib.ExitStack() as stack:
            file = stack.enter_context(path.open("rb"))
            source: BinaryIO | Part = file
            if recording.pieces:
                source = stack.enter_context(Part(file, recording.pieces))
            self._tail = wave_tail(source) if recording.frames is None else None
            source.seek(0)
            self._file = stack.enter_context(_sequential(source if recording.pieces else os.fsencode(path)))
            self.rate = self._file.samplerate
            self._stack = stack.pop_all()
        self._declared = recording.frames
        self._slack = recording.slack
        if self._declared is None and self._file.frames < _UNKNOWN:
            self._declared = self._file.frames

    def blocks(self, skip: int) -> Iterator[NDArray[np.float32]]:
        """Yield the samples from frame `skip` on, `[frames, channels]`.

        Only uncompressed samples are sought. After a seek, a decoder of MP3 or Ogg lacks what went before.

        Raises:
            InputError: The file is damaged.
        """
        import soundfile

        try:
            if self._file.format in _SOUGHT and _PLAIN.match(self._file.subtype):
                self.place = self._file.seek(min(skip, self._file.frames))
            while True:
                size = _READ if self.place >= skip else min(_READ, skip - self.place)
                block: NDArray[np.float32] = self._file.read(size, dtype="float32", always_2d=True)
                if not len(block):
                    return
                wanted = self.place >= skip
                self.place += len(block)
                if wanted:
                    yield block
        except soundfile.LibsndfileError as error:
            raise InputError(f"{self._name} is damaged or truncated: {error.error_string}") from error

    def finish(self, *, ended: bool) -> None:
        """Refuse a file whose length is not what it declares.

        Raises:
            InputError: More than 0.1 s is missing or left over.
        """
        if not ended:
            return
        missing = float((self._declared or 0) - self._slack - self.place)
        if self._tail is not None and self._tail.there:
            a_byte = self.place / self._tail.there
            missing += a_byte * self._tail.missing
            surplus = a_byte * self._tail.surplus / self.rate
            if surplus > TOLERANCE:
                raise InputError(
                    f"{self._name} is damaged: about {surplus:.2f} s lie behind the end that its header declares"
                )
        elif stated := _STATED.search(self._file.extra_info):
            declared, there = map(int, stated.groups())
            missing += self.place * (declared - there) / max(there, 1)
        if missing > TOLERANCE * self.rate:
            raise InputError(
                f"{self._name} is truncated: its header declares {missing / self.rate:.2f} s more than it holds"
            )

    def close(self) -> None:
        """Close the file."""
        self._stack.close()


def _sequential(source: bytes | BinaryIO | Part) -> soundfile.SoundFile:
    """Open a file that is read from its beginning to its end."""
    return _sequential_type()(source)


@cache
def _sequential_type() -> type[soundfile.SoundFile]:
    """Return a class of files that are never sought, not even after each read: an MP3 decoder would lose its state."""
    import soundfile

    class Sequential(soundfile.SoundFile):  # type: ignore[misc]
        def seekable(self) -> bool:
            return False

    return Sequential
