"""Feature files: what was extracted from one song, with the recipe and the song's identity."""

from __future__ import annotations

import dataclasses
import hashlib
import json
import zipfile
import zlib
from dataclasses import dataclass
from io import BytesIO
from pathlib import Path
from typing import Any, Literal

import numpy as np
from numpy.typing import NDArray

from musicemo.audio._analysis import Analysis
from musicemo.audio._recipe import Recipe
from musicemo.errors import InputError
from musicemo.files import write_atomically

__all__ = ["FeatureFile", "FeatureInfo", "Source", "describe", "read_array", "read_features", "write_features"]

_FORMAT = 1
_META = "meta"
_DAMAGE = (zipfile.BadZipFile, zlib.error, EOFError, ValueError, TypeError, KeyError, NotImplementedError)


@dataclass(frozen=True, slots=True)
class Source:
    """The identity of an audio file.

    Attributes:
        name: Without its folder.
        sha256: Of its bytes, in hexadecimal digits.
        size: In bytes.
        modified_ns: When it was last changed, in nanoseconds since 1970.
    """

    name: str
    sha256: str
    size: int
    modified_ns: int

    @classmethod
    def of(cls, path: Path) -> Source:
        """Read the file.

        Raises:
            OSError: It cannot be read.
        """
        with path.open("rb") as file:
            status = path.stat()
            digest = hashlib.file_digest(file, "sha256").hexdigest()
        return cls(path.name, digest, status.st_size, status.st_mtime_ns)


@dataclass(frozen=True, slots=True)
class FeatureInfo:
    """What a feature file says of itself.

    Attributes:
        recipe: The parameters of the extraction, by name.
        fingerprint: That of the recipe, see `Recipe.fingerprint`.
        source: The song; None for a signal that was no file.
    """

    recipe: dict[str, Any]
    fingerprint: str
    source: Source | None


@dataclass(frozen=True, slots=True, eq=False)
class FeatureFile:
    """A feature file's contents.

    Attributes:
        frame: `[mels + 12, frames]`, float32; see `Analysis`.
        beat: `[mels + 12, segments]`, float32.
        beat_frames: `[beats]`, int64.
        info: What the file says of itself.
    """

    frame: NDArray[np.float32]
    beat: NDArray[np.float32]
    beat_frames: NDArray[np.int64]
    info: FeatureInfo


def write_features(path: Path, analysis: Analysis, source: Path | Source | None) -> None:
    """Write a feature file: an uncompressed `.npz` that numpy reads, complete or not at all.

    Its arrays are `frame`, `beat` and `beat_frames` as in `Analysis`, and `meta`, a JSON text with the recipe, its
    fingerprint, the format's version, and the source's name, hash, size and time of change.

    Args:
        path: The folder must exist.
        analysis: What to write.
        source: The song; None for a signal that was no file.

    Raises:
        RunError: The file cannot be written.
        OSError: The source cannot be read.
    """
    if isinstance(source, Path):
        source = Source.of(source)
    meta = {
        "format": _FORMAT,
        "recipe": dataclasses.asdict(analysis.recipe),
        "fingerprint": analysis.recipe.fingerprint,
        "source": dataclasses.asdict(source) if source else None,
    }
    arrays: dict[str, NDArray[Any]] = {
        _META: np.array(json.dumps(meta)),
        "frame": analysis.frame,
        "beat": analysis.beat,
        "beat_frames": analysis.beat_frames,
    }
    write_atomically(path, lambda file: np.savez(file, allow_pickle=False, **arrays))


def describe(path: Path) -> FeatureInfo:
    """Return what a feature file says of itself, without reading its features.

    Raises:
        InputError: The file is missing, cut off, or no feature file.
    """
    info: FeatureInfo = _read(path)[0]
    return info


def read_features(path: Path) -> FeatureFile:
    """Read a feature file; nothing in it is ever unpickled.

    Raises:
        InputError: The file is missing, damaged, or no feature file.
    """
    info, frame, beat, beat_frames = _read(path, "frame", "beat", "beat_frames")
    if beat_frames.dtype != np.int64 or beat_frames.ndim != 1 or len(frame) != len(beat):
        raise InputError(f"{path}: is damaged: its arrays do not belong together")
    return FeatureFile(frame, beat, beat_frames, info)


def read_array(path: Path, sync: Literal["frame", "beat"]) -> NDArray[np.float32]:
    """Read one array of a feature file, `[mels + 12, frames or segments]`.

    Raises:
        InputError: The file is missing, damaged, or no feature file.
    """
    array: NDArray[np.float32] = _read(path, sync)[1]
    return array


def _read(path: Path, *names: str) -> list[Any]:
    """Return a feature file's description, and those of its arrays that are named."""
    try:
        with zipfile.ZipFile(path) as archive:
            if f"{_META}.npy" not in archive.namelist():
                raise InputError(f"{path}: is no feature file: it has no {_META!r}")
            meta = json.loads(str(_array(archive, _META)))
            if meta["format"] != _FORMAT:
                raise InputError(
                    f"{path}: is a feature file of format {meta['format']!r}, this version reads {_FORMAT}"
                )
            source = None if meta["source"] is None else Source(**meta["source"])
            info = FeatureInfo(meta["recipe"], meta["fingerprint"], source)
            rows = Recipe(**info.recipe).rows
            found: list[Any] = [info]
            for name in names:
                array = _array(archive, name)
                if name != "beat_frames" and (
                    array.dtype != np.float32 or array.ndim != 2 or len(array) != rows or not array.size
                ):
                    raise InputError(
                        f"{path}: is damaged: {name!r} is {array.dtype} {list(array.shape)}, not float32 "
                        f"[{rows}, frames]"
                    )
                found.append(array)
            return found
    except FileNotFoundError as error:
        raise InputError(f"{path}: there is no such file") from error
    except OSError as error:
        raise InputError(f"{path}: cannot be read: {error.strerror or error}") from error
    except InputError:
        raise
    except _DAMAGE as error:
        raise InputError(f"{path}: is damaged, or no feature file: {error}") from error


def _array(archive: zipfile.ZipFile, name: str) -> NDArray[Any]:
    array: NDArray[Any] = np.lib.format.read_array(BytesIO(archive.read(f"{name}.npy")), allow_pickle=False)
    return array
