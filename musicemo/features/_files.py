"""Feature files: the features of one song, with the recipe and the song's identity."""

from __future__ import annotations

import dataclasses
import hashlib
import json
import os
import zipfile
from collections.abc import Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import IO, Any, BinaryIO, Literal, cast

import numpy as np
from numpy.typing import NDArray

from musicemo.errors import InputError
from musicemo.features._npy import ArrayHeader, open_regular, read_header
from musicemo.features._recipe import Recipe
from musicemo.features.melchroma import Analysis
from musicemo.files import can_write, expanded, private_folder, write_atomically

__all__ = [
    "FeatureFile",
    "FeatureInfo",
    "Source",
    "cache_folder",
    "check_features",
    "describe",
    "read_array",
    "read_features",
    "read_with_info",
    "write_features",
    "write_outputs",
]

_FORMAT = 1
_OUTPUTS_FORMAT = 2
_META = "meta"
_ARRAYS = ("frame", "beat", "beat_frames")
_LONGEST_META = 1 << 20
_CHUNK = 1 << 20


@dataclass(frozen=True, slots=True)
class Source:
    """The identity of an audio file: its content, and its path, size and times, which are compared first.

    Attributes:
        name: File name without its folder.
        sha256: SHA-256 of the content, in hexadecimal digits.
        size: Size in bytes.
        modified_ns: Time of the last change of the content, in nanoseconds since 1970. Programs can set it.
        changed_ns: Time of the last change of content or metadata, in nanoseconds since 1970. Only the system sets it.
        path: Absolute path without links.
    """

    name: str
    sha256: str
    size: int
    modified_ns: int
    changed_ns: int = 0
    path: str = ""

    @classmethod
    def of(cls, path: Path) -> Source:
        """Return the identity of a file, whose content is read.

        Raises:
            OSError: It cannot be read.
        """
        with path.open("rb") as file:
            status = os.fstat(file.fileno())
            digest = hashlib.file_digest(file, "sha256").hexdigest()
        return cls(
            path.name,
            digest,
            status.st_size,
            status.st_mtime_ns,
            status.st_ctime_ns,
            os.path.realpath(path),
        )

    @property
    def stamp(self) -> Stamp:
        """The recorded path, size and times; see `stamp_of`."""
        return self.path, self.size, self.modified_ns, self.changed_ns

    def is_at(self, path: Path) -> bool:
        """Return whether a file has the recorded path, size and times; its content is not read.

        Raises:
            OSError: There is no such file.
        """
        return stamp_of(path) == self.stamp

    def renewed(self, path: Path) -> Source | None:
        """Return the identity of a file if it has the recorded content, otherwise None.

        The file is read only if its path, size or times differ from the recorded ones.

        Raises:
            OSError: It cannot be read.
        """
        if self.is_at(path):
            return self
        if path.stat().st_size != self.size:
            return None
        other = Source.of(path)
        return other if other.sha256 == self.sha256 else None

    @classmethod
    def parse(cls, value: object) -> Source:
        """Return the identity from the JSON form of `dataclasses.asdict`.

        Raises:
            ValueError: The value is not valid.
        """
        if not isinstance(value, dict) or not all(
            type(entry) is _SOURCE_TYPES.get(name) for name, entry in value.items()
        ):
            raise ValueError("the source is not described as expected")
        try:
            return cls(**value)
        except TypeError as error:
            raise ValueError(f"the source is not described as expected: {error}") from error


Stamp = tuple[str, int, int, int]


def stamp_of(path: Path) -> Stamp:
    """Return a file's path without links, its size and its times, which are equal as long as nobody changes the file.

    Raises:
        OSError: There is no such file.
    """
    status = path.stat()
    return os.path.realpath(path), status.st_size, status.st_mtime_ns, status.st_ctime_ns


_SOURCE_TYPES = {field.name: int if field.type == "int" else str for field in dataclasses.fields(Source)}


@dataclass(frozen=True, slots=True)
class FeatureInfo:
    """Description of a feature file: its recipe and its song.

    Attributes:
        recipe: The parameters of the extraction, by name; of a file of `write_outputs` the table ``[features]``.
        fingerprint: Fingerprint of the recipe; see `Recipe.fingerprint`.
        source: The song; None for a signal without a file.
    """

    recipe: dict[str, Any]
    fingerprint: str
    source: Source | None


@dataclass(frozen=True, slots=True, eq=False)
class FeatureFile:
    """Content of a feature file.

    Attributes:
        frame: `[mels + 12, frames]`, float32; see `Analysis`.
        beat: `[mels + 12, segments]`, float32.
        beat_frames: `[beats]`, int64.
        info: The recipe and the song.
    """

    frame: NDArray[np.float32]
    beat: NDArray[np.float32]
    beat_frames: NDArray[np.int64]
    info: FeatureInfo


def write_features(path: Path, analysis: Analysis, source: Path | Source | None) -> None:
    """Write a feature file: an uncompressed `.npz` that numpy can read. It is written completely or not at all.

    Its arrays are `frame`, `beat` and `beat_frames` as in `Analysis`, and `meta`, a JSON text with the recipe, its
    fingerprint, the format's version, and the song's identity; see `Source`.

    Args:
        path: The file. Its folder must exist.
        analysis: The features.
        source: The song; None for a signal without a file.

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


def write_outputs(
    path: Path,
    values: Mapping[str, NDArray[np.float32]],
    edges: NDArray[np.float64],
    table: Mapping[str, Any],
    key: str,
    source: Source | None,
) -> None:
    """Write a feature file of any extractor: an uncompressed `.npz` that numpy can read, complete or not at all.

    Its arrays are the outputs `[time, rows]`; `edges` `[time + 1]`, the times of the steps in seconds; and `meta`, a
    JSON text with the table ``[features]``, its fingerprint, the format's version, and the song's identity; see
    `Source`.

    Args:
        path: The file. Its folder must exist.
        values: Output -> `[time, rows]`.
        edges: `[time + 1]`, in seconds.
        table: The table ``[features]``; see `Stream.to_table`.
        key: Its fingerprint; see `Stream.key`.
        source: The song; None for a signal without a file.

    Raises:
        RunError: The file cannot be written.
    """
    meta = {
        "format": _OUTPUTS_FORMAT,
        "features": dict(table),
        "fingerprint": key,
        "source": dataclasses.asdict(source) if source else None,
    }
    arrays: dict[str, NDArray[Any]] = {_META: np.array(json.dumps(meta, default=str)), "edges": edges, **values}
    write_atomically(path, lambda file: np.savez(file, allow_pickle=False, **arrays))


def describe(path: Path) -> FeatureInfo:
    """Return the description of a feature file, without reading its features.

    Raises:
        InputError: The file is missing, truncated, or not a feature file.
    """
    return _read(path)[0]


def check_features(path: Path) -> FeatureInfo:
    """Compare the checksums of a feature file, block by block, and return its description.

    Raises:
        InputError: The file is missing, damaged, or not a feature file.
    """
    return _read(path, keep=False)[0]


def read_features(path: Path) -> FeatureFile:
    """Read a feature file. Nothing is unpickled.

    Raises:
        InputError: The file is missing, damaged, or not a feature file.
    """
    info, arrays = _read(path, *_ARRAYS)
    return FeatureFile(**arrays, info=info)


def read_array(path: Path, sync: Literal["frame", "beat"]) -> NDArray[np.float32]:
    """Read one array of a feature file, `[mels + 12, frames or segments]`.

    Raises:
        InputError: The file is missing, damaged, or not a feature file.
    """
    return read_with_info(path, sync)[1]


def read_with_info(path: Path, sync: Literal["frame", "beat"]) -> tuple[FeatureInfo, NDArray[np.float32]]:
    """Read the description of a feature file and one of its arrays.

    Raises:
        InputError: The file is missing, damaged, or not a feature file.
    """
    info, arrays = _read(path, sync)
    return info, arrays[sync]


def _read(path: Path, *names: str, keep: bool = True) -> tuple[FeatureInfo, dict[str, NDArray[Any]]]:
    """Return a feature file's description, and the named arrays; all arrays are checked and dropped unless `keep`.

    Whatever is wrong with the file's content is an `InputError`: a damaged file is never a reason to stop.
    """
    try:
        with open_regular(path) as file, zipfile.ZipFile(file) as archive:
            size = os.fstat(file.fileno()).st_size
            meta = _meta(path, archive, size)
            source = None if meta["source"] is None else Source.parse(meta["source"])
            if not isinstance(meta["fingerprint"], str):
                raise ValueError("its fingerprint is not text")
            arrays: dict[str, NDArray[Any]] = {}
            if meta["format"] == _OUTPUTS_FORMAT:
                if names:
                    raise InputError(
                        f"{path}: holds outputs of an extractor, not {', '.join(names)} of `mel-chroma`"
                    )
                for entry in archive.infolist() if not keep else ():
                    with archive.open(entry) as member:
                        while member.read(_CHUNK):
                            pass
                return FeatureInfo(meta["features"], meta["fingerprint"], source), arrays
            info = FeatureInfo(meta["recipe"], meta["fingerprint"], source)
            rows = Recipe(**info.recipe).rows
            for name in names if keep else _ARRAYS:
                stored = _member(archive, name, size)
                with archive.open(stored) as member:
                    header = read_header(cast("BinaryIO", member), plain=True)
                    _check_header(path, name, header, rows, stored.file_size)
                    if keep:
                        arrays[name] = _values(member, header)
                    else:
                        while member.read(_CHUNK):
                            pass
            return info, arrays
    except FileNotFoundError as error:
        raise InputError(f"{path}: there is no such file") from error
    except OSError as error:
        raise InputError(f"{path}: cannot be read: {error.strerror or error}") from error
    except InputError:
        raise
    except Exception as error:  # zipfile, json and numpy raise a dozen types on damaged content
        raise InputError(
            f"{path}: is damaged, or not a feature file: {error or type(error).__name__}"
        ) from error


def _meta(path: Path, archive: zipfile.ZipFile, size: int) -> dict[str, Any]:
    if f"{_META}.npy" not in archive.namelist():
        raise InputError(f"{path}: is not a feature file: it has no {_META!r}")
    stored = _member(archive, _META, min(size, _LONGEST_META))
    with archive.open(stored) as member:
        header = read_header(cast("BinaryIO", member), plain=True)
        if header.shape or header.dtype.kind != "U" or header.size + header.nbytes != stored.file_size:
            raise ValueError(f"{_META!r} is not a text")
        meta = json.loads(str(np.frombuffer(member.read(), header.dtype)[0]))
    if not isinstance(meta, dict):
        raise ValueError(f"{_META!r} is not a JSON object")
    if meta["format"] not in (_FORMAT, _OUTPUTS_FORMAT):
        raise InputError(
            f"{path}: is a feature file of format {meta['format']!r}, this version reads {_FORMAT} and "
            f"{_OUTPUTS_FORMAT}"
        )
    return meta


def _member(archive: zipfile.ZipFile, name: str, size: int) -> zipfile.ZipInfo:
    """Return the entry of an array that is stored as `write_features` does it, within the file's `size` bytes."""
    stored = archive.getinfo(f"{name}.npy")
    if stored.flag_bits & 1 or stored.compress_type != zipfile.ZIP_STORED:
        raise ValueError(f"{name!r} is compressed or encrypted")
    if stored.file_size != stored.compress_size or stored.file_size > size:
        raise ValueError(f"{name!r} has a size that the file has no room for")
    return stored


def _check_header(path: Path, name: str, header: ArrayHeader, rows: int, size: int) -> None:
    """Refuse an array of another type or shape than `write_features` gives it, or of other than `size` bytes."""
    if name == "beat_frames":
        dtype, right = "int64", len(header.shape) == 1
    else:
        dtype = "float32"
        right = len(header.shape) == 2 and header.shape[0] == rows and header.shape[1] > 0
    if not right or header.dtype != np.dtype(dtype):
        expected = "[beats]" if name == "beat_frames" else f"[{rows}, frames]"
        raise InputError(
            f"{path}: is damaged: {name!r} is {header.dtype} {list(header.shape)}, not {dtype} {expected}"
        )
    if header.size + header.nbytes != size:
        raise ValueError(f"{name!r} has {size - header.size} bytes of values, and declares {header.nbytes}")


def _values(member: IO[bytes], header: ArrayHeader) -> NDArray[Any]:
    """Read the values behind a header that was checked; reading to the end compares the checksum."""
    values = np.empty(header.nbytes // header.dtype.itemsize, header.dtype)
    place, buffer = 0, values.view(np.uint8)
    while chunk := member.read(_CHUNK):
        buffer[place : place + len(chunk)] = np.frombuffer(chunk, np.uint8)
        place += len(chunk)
    return np.ascontiguousarray(values.reshape(header.shape, order="F" if header.fortran else "C"))


def cache_folder() -> Path:
    """Return `$MUSICEMO_CACHE`, or `musicemo` in the user's cache folder. The folder need not exist.

    The user's cache folder is `$XDG_CACHE_HOME`, or `~/.cache`. Without a writable home, as in many containers, it is
    a private folder among the temporary files.

    Raises:
        InputError: no such folder can be created.
    """
    if named := os.environ.get("MUSICEMO_CACHE"):
        return expanded(named)
    caches = expanded(os.environ.get("XDG_CACHE_HOME") or "~/.cache")
    folder = caches / "musicemo"
    if folder.is_dir() or can_write(caches):
        return folder
    return private_folder()
