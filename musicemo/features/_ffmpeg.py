"""Formats that libsndfile does not read, through an installed ffmpeg."""

from __future__ import annotations

import re
import shutil
import struct
import subprocess
import tempfile
from collections.abc import Iterator
from pathlib import Path
from typing import IO

import numpy as np
from numpy.typing import NDArray

from musicemo.errors import InputError

__all__ = ["FfmpegReader", "find_ffmpeg"]

_READ = 1 << 20
"""Bytes that are read at once."""

_MAGIC = b".snd"

_MESSAGE = re.compile(r"(?:\[[^]@]*@ [^]]*\] )?\[(error|fatal|panic|warning|info)\] (.*)")
_INPUT = re.compile(r"Input #0, ([\w,]+), from")
_DURATION = re.compile(r"\s*Duration: (\d+):(\d\d):(\d\d(?:\.\d+)?)(?:, start: (-?\d+\.\d+))?")
_STREAM = re.compile(r"\s*Stream #0:\d+.*?: (?:Audio|Video|Subtitle|Data)\b")
_GUESS = "Estimating duration from bitrate"
_DAMAGE = re.compile("corrupt|truncat|partial|prematurely|size mismatch|duplicated MOOV", re.IGNORECASE)
"""Warnings that samples are missing, or that what follows in the file is left out."""
_RAW = ("aptx", "aptx_hd", "wav", "w64", "caf", "aiff", "au", "voc")
"""Formats for which ffmpeg calls the last packet corrupt because it is shorter than the others."""
_CUT = re.compile("moov atom not found|Missing packet table|partial file|prematurely", re.IGNORECASE)
"""Errors of a file whose beginning is that of an audio file."""
_HARMLESS = re.compile("non monotonically increasing dts|Queue input is backward in time")
"""Errors about time stamps, which change no sample."""
_TOLERANCE = 0.25
"""Seconds that may be missing: containers round, and count what the decoder drops at the ends."""


def find_ffmpeg() -> str | None:
    """Return the path of the ffmpeg program; None if it is not installed."""
    return shutil.which("ffmpeg")


class FfmpegReader:
    """Reads the first audio stream of a file through ffmpeg.

    ffmpeg writes a Sun audio stream of big-endian 32-bit floats, whose header needs no length.

    Args:
        name: The file in messages.
        path: The file.

    Attributes:
        rate: Sample rate in Hz.
        place: Samples of a channel that were decoded so far, those that were skipped included.

    Raises:
        InputError: ffmpeg does not find audio in the file.
    """

    def __init__(self, name: str, path: Path) -> None:
        program = find_ffmpeg()
        assert program is not None
        self._name = name
        self.place = 0
        command = [program, "-nostdin", "-nostats", "-v", "level+info", "-protocol_whitelist", "file,pipe"]
        command += ["-i", f"file:{path.absolute()}", "-map", "0:a:0", "-c:a", "pcm_f32be", "-f", "au", "pipe:1"]
        self._messages = tempfile.TemporaryFile()  # noqa: SIM115
        try:
            self._process = subprocess.Popen(
                command, stdout=subprocess.PIPE, stderr=self._messages, stdin=subprocess.DEVNULL
            )
        except BaseException:
            self._messages.close()
            raise
        try:
            header = self._stdout.read(24)
            if len(header) < 24 or header[:4] != _MAGIC:
                self._process.wait()
                errors = self._report()[0] or self._lines()[-1:]
                reason = f": {errors[0]}" if errors else ""
                fault = (
                    "damaged or truncated"
                    if _CUT.search(reason)
                    else "not audio that libsndfile or ffmpeg can read"
                )
                raise InputError(f"{name} is {fault}{reason}")
            begin, _, _, self.rate, self._channels = struct.unpack(">5I", header[4:])
            self._stdout.read(begin - 24)
        except BaseException:
            self.close()
            raise

    @property
    def _stdout(self) -> IO[bytes]:
        assert self._process.stdout is not None
        return self._process.stdout

    def blocks(self, skip: int) -> Iterator[NDArray[np.float32]]:
        """Yield the samples from frame `skip` on, `[frames, channels]`.

        Raises:
            InputError: The file is damaged.
        """
        frame = 4 * self._channels
        whole = max(_READ // frame, 1) * frame
        while data := self._stdout.read(
            whole if self.place >= skip else min(whole, (skip - self.place) * frame)
        ):
            block = np.frombuffer(data[: len(data) // frame * frame], ">f4").astype(np.float32)
            wanted = self.place >= skip
            self.place += len(block) // self._channels
            if wanted and len(block):
                yield block.reshape(-1, self._channels)

    def finish(self, *, ended: bool) -> None:
        """Refuse what is damaged or truncated.

        Args:
            ended: Whether the blocks were read up to the end.

        Raises:
            InputError: ffmpeg reports an error, or the file is shorter than it declares.
        """
        if not ended:
            self._process.kill()
        code = self._process.wait()
        errors, declared = self._report()
        if errors or (ended and code != 0):
            reason = errors[0] if errors else f"ffmpeg ends with code {code}"
            raise InputError(f"{self._name} is damaged or truncated: {reason}")
        missing = (declared or 0.0) - self.place / self.rate
        if ended and missing > _TOLERANCE:
            raise InputError(f"{self._name} is truncated: it declares {missing:.2f} s more than it holds")

    def close(self) -> None:
        """End ffmpeg."""
        self._process.kill()
        self._stdout.close()
        self._process.wait()
        self._messages.close()

    def _lines(self) -> list[str]:
        self._messages.seek(0)
        return self._messages.read().decode(errors="replace").strip().splitlines()

    def _report(self) -> tuple[list[str], float | None]:
        """Return ffmpeg's errors, and the declared duration in seconds if there is one of the audio alone."""
        errors = []
        declared = None
        streams = 0
        guess = mapped = False
        form = ""
        for line in self._lines():
            match = _MESSAGE.match(line)
            if match is None:
                continue
            level, text = match.groups()
            if level == "info":
                if source := _INPUT.match(text):
                    form = source[1]
                elif (duration := _DURATION.match(text)) and declared is None:
                    hours, minutes, seconds, start = duration.groups()
                    declared = (
                        3600 * int(hours) + 60 * int(minutes) + float(seconds) - max(0.0, float(start or 0))
                    )
                elif text.startswith(("Stream mapping", "Output #")):
                    mapped = True
                elif not mapped and _STREAM.match(text) and "(attached pic)" not in text:
                    streams += 1
            elif level == "warning":
                guess = guess or _GUESS in text
                if _DAMAGE.search(text) and form not in _RAW:
                    errors.append(text)
            elif not _HARMLESS.search(text):
                errors.append(text)
        return errors, declared if streams == 1 and not guess and form not in _RAW else None
