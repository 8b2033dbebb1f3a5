"""Formats that libsndfile does not read, through an installed ffmpeg."""

from __future__ import annotations

import shutil
import struct
import subprocess
import tempfile
from pathlib import Path
from typing import IO

import numpy as np
from numpy.typing import NDArray

from musicemo.audio._recipe import Recipe
from musicemo.errors import InputError

__all__ = ["decode"]

_READ = 1 << 22
"""Bytes that are read at once."""

_MAGIC = b".snd"


def decode(name: str, path: Path, recipe: Recipe) -> tuple[NDArray[np.float32], int]:
    """Decode the recipe's excerpt of a file's first audio stream.

    ffmpeg writes a Sun audio stream of big-endian 32-bit floats, whose header needs no length.

    Args:
        name: What messages call the file.
        path: The file.
        recipe: The excerpt.

    Returns:
        Mono samples, `[samples]`, and their rate in Hz.

    Raises:
        InputError: ffmpeg is not installed, or finds no audio in the file.
    """
    program = shutil.which("ffmpeg")
    if program is None:
        raise InputError(
            f"{name} is not audio in a format that libsndfile reads (wav, flac, ogg, mp3 and others); "
            "other formats need ffmpeg, which is not installed"
        )
    command = [program, "-nostdin", "-v", "error", "-protocol_whitelist", "file,pipe"]
    command += ["-i", f"file:{path.absolute()}", "-map", "0:a:0", "-c:a", "pcm_f32be", "-f", "au", "pipe:1"]
    with (
        tempfile.TemporaryFile() as messages,
        subprocess.Popen(command, stdout=subprocess.PIPE, stderr=messages, stdin=subprocess.DEVNULL) as process,
    ):
        assert process.stdout is not None
        try:
            decoded = _read(process.stdout, recipe)
            enough = decoded is not None and process.stdout.read(1) != b""
        finally:
            process.stdout.close()
            process.kill()
            process.wait()
        if decoded is None or (process.returncode > 0 and not enough):
            messages.seek(0)
            said = messages.read().decode(errors="replace").strip().splitlines()
            reason = f": {said[0]}" if said else ""
            raise InputError(f"{name} is not audio that libsndfile or ffmpeg can read{reason}")
    return decoded


def _read(stream: IO[bytes], recipe: Recipe) -> tuple[NDArray[np.float32], int] | None:
    """Read a Sun audio stream up to the end of the excerpt; None when there is no whole header."""
    header = stream.read(24)
    if len(header) < 24 or header[:4] != _MAGIC:
        return None
    begin, _, _, rate, channels = struct.unpack(">5I", header[4:])
    stream.read(begin - 24)
    frame = 4 * channels
    skip = int(recipe.offset * rate) * frame
    left = None if recipe.duration is None else int(recipe.duration * rate) * frame
    while skip > 0 and (gone := len(stream.read(min(skip, _READ)))):
        skip -= gone
    parts = []
    whole = _READ // frame * frame
    while left is None or left > 0:
        data = stream.read(whole if left is None else min(left, whole))
        data = data[: len(data) // frame * frame]
        if not data:
            break
        if left is not None:
            left -= len(data)
        block = np.frombuffer(data, ">f4").astype(np.float32).reshape(-1, channels)
        parts.append(block[:, 0].copy() if channels == 1 else block.T.mean(axis=0))
    return (np.concatenate(parts) if parts else np.empty(0, np.float32)), rate
