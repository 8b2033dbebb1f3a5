"""Checkpoints: everything that the rest of a run depends on, in a file that executes nothing when loaded."""

from __future__ import annotations

import hashlib
import io
import pickle
import warnings
import zipfile
from collections.abc import Iterator, Mapping, Sequence
from pathlib import Path
from typing import Any, BinaryIO

import numpy as np
import torch

from musicemo.data import Scaling
from musicemo.errors import InputError, RunError
from musicemo.files import write_atomically

__all__ = ["content_hash", "load_checkpoint", "read_scaling", "save_checkpoint", "storable", "unreadable"]

_FORMAT = 1

#: The attribute of a zip file's member that makes it a folder.
_FOLDER = 0x10

#: What follows every message about a file that is damaged.
_ADVICE = "Restore the file from a copy, or train the run again."


def save_checkpoint(folder: Path, content: dict[str, Any], *, best: bool, best_of: Sequence[str] = ()) -> None:
    """Write ``last.pt`` and, if the epoch is the best so far, ``best.pt`` with the same content.

    The same holds for ``best-<task>.pt`` of the tasks in `best_of`. The best ones are written first: a run that is
    killed in between trains the epoch again, and no ``last.pt`` names a best epoch that ``best.pt`` does not hold.

    Raises:
        RunError: a file cannot be written, or a value cannot be stored; the message names it.
    """
    buffer = io.BytesIO()  # since torch.save turns a full disk's OSError into a RuntimeError about zip files
    try:
        torch.save({"format": _FORMAT, **content}, buffer)
    except Exception as error:  # what pickle raises depends on the value
        raise RunError(_not_storable(content) or f"the checkpoint cannot be stored: {error}") from error
    names = [*(f"best-{task}" for task in best_of), *(["best"] if best else []), "last"]
    for path in [folder / f"{name}.pt" for name in names]:
        write_atomically(path, lambda file: _write(file, buffer))


def _write(file: BinaryIO, content: io.BytesIO) -> None:
    file.write(content.getbuffer())


def load_checkpoint(path: Path) -> dict[str, Any]:
    """Read a checkpoint; nothing in it is executed.

    Every byte of the content is compared with the checksums that the file carries, which torch leaves out. Memory is
    bounded by the size of the file: compressed members and tensors larger than their data are refused.

    Raises:
        InputError: the file is missing, damaged, or not a checkpoint of this format.
    """
    try:
        _verify(path)
        with warnings.catch_warnings():
            warnings.simplefilter("ignore")  # how a foreign file was pickled
            content = torch.load(path, map_location="cpu", weights_only=True)
        _check_tensors(content, path.stat().st_size)
    except FileNotFoundError as error:
        raise InputError(f"{path}: the checkpoint does not exist. {_ADVICE}") from error
    except IsADirectoryError as error:
        raise InputError(f"{path}: is a folder, not a checkpoint") from error
    except PermissionError as error:
        raise InputError(f"{path}: cannot be read: {error.strerror}") from error
    except Exception as error:  # what torch raises for a damaged file depends on where it is damaged
        first = f"{type(error).__name__}: {next(iter(str(error).splitlines()), '')}"
        if isinstance(error, pickle.UnpicklingError):  # torch's own text says how to execute the file
            first = "it holds other objects than tensors, numbers, text, lists and dictionaries"
        raise InputError(f"{path}: is not a readable checkpoint: {first}. {_ADVICE}") from error
    if not isinstance(content, dict) or content.get("format") != _FORMAT:
        raise InputError(f"{path}: is not a checkpoint of this version of musicemo")
    return content


def _verify(path: Path) -> None:
    """Compare a checkpoint's content with its checksums.

    Raises:
        ValueError: the file is damaged, or not what musicemo writes.
    """
    with zipfile.ZipFile(path) as archive:
        for member in archive.infolist():
            if member.compress_type != zipfile.ZIP_STORED:
                raise ValueError(f"{member.filename!r} is compressed")
            if member.external_attr & _FOLDER:  # torch would read it as empty and leave its memory as it is
                raise ValueError(f"{member.filename!r} is marked as a folder")
        damaged = archive.testzip()
    if damaged:
        raise ValueError(f"the checksum of {damaged!r} does not match its content")


def _check_tensors(content: Any, size: int) -> None:
    """Refuse tensors that are not plain arrays in the file, whose copies may need any amount of memory."""
    for name, value in _leaves(content):
        if isinstance(value, torch.Tensor) and (
            value.layout != torch.strided
            or value.device.type != "cpu"
            or value.numel() * value.element_size() > size
        ):
            raise ValueError(f"{name} is not a tensor within the file")


def read_scaling(content: Mapping[str, Any]) -> Scaling:
    """Return the scaling of features that a checkpoint holds.

    Raises:
        InputError: it is missing or damaged.
    """
    table = content.get("scaling")
    offset, scale = ((table.get(name) if isinstance(table, dict) else None) for name in ("offset", "scale"))
    if not isinstance(offset, torch.Tensor) or not isinstance(scale, torch.Tensor):
        raise InputError("its scaling is missing or damaged: features cannot be scaled as in training")
    if offset.dim() != 1 or offset.shape != scale.shape or not (offset.isfinite() & scale.isfinite()).all():
        raise InputError("its scaling is damaged: features cannot be scaled as in training")
    return Scaling(offset.numpy(), scale.numpy())


def content_hash(path: Path) -> str:
    """Return the SHA-256 of what another run takes over from a checkpoint: its weights and its scaling.

    Two trainings with the same outcome have the same hash, whenever and however fast they ran.

    Raises:
        InputError: as `load_checkpoint`.
    """
    content = load_checkpoint(path)
    digest = hashlib.sha256()
    for name, value in _leaves({key: content.get(key) for key in ("network", "scaling")}):
        digest.update(f"{name}\n".encode())
        if isinstance(value, torch.Tensor):
            digest.update(f"{value.dtype} {list(value.shape)}\n".encode())
            digest.update(value.detach().contiguous().flatten().view(torch.uint8).numpy().data)
        else:
            digest.update(f"{value!r}\n".encode())
    return digest.hexdigest()


def storable(value: Any) -> Any:
    """Return a value with numpy's scalars and the subclasses of text and numbers as Python's own types.

    A checkpoint is read back by a loader that knows few types; a numpy string among the classes would end in a file
    that cannot be read.
    """
    if isinstance(value, Mapping):
        return {storable(name): storable(inner) for name, inner in value.items()}
    if isinstance(value, list | tuple):
        return type(value)(storable(inner) for inner in value) if type(value) in (list, tuple) else list(value)
    if isinstance(value, np.generic):
        value = value.item()
    for kind in (bool, int, float, str):
        if isinstance(value, kind):
            return kind(value)
    return value


def unreadable(content: Mapping[str, Any]) -> str:
    """Return the name and type of the first value that a checkpoint cannot give back; empty if it gives back all.

    Tensors are left out: they are always read.
    """
    for name, value in _leaves(content):
        if isinstance(value, torch.Tensor) or value is None or type(value) in (bool, int, float, str):
            continue
        buffer = io.BytesIO()
        try:
            torch.save(value, buffer)
            buffer.seek(0)
            torch.load(buffer, weights_only=True)
        except Exception:  # whatever pickle or torch raises
            return f"{name!r} of type {type(value).__module__}.{type(value).__qualname__}"
    return ""


def _not_storable(content: Mapping[str, Any]) -> str:
    value = unreadable(content)
    return value and f"the checkpoint cannot store {value}: use tensors, numbers, text, lists and dictionaries"


def _leaves(value: Any, name: str = "") -> Iterator[tuple[str, Any]]:
    """Yield what stands where in nested dictionaries and lists."""
    if isinstance(value, Mapping):
        pairs: Any = value.items()
    elif isinstance(value, list | tuple) and type(value) in (list, tuple):
        pairs = enumerate(value)
    else:
        yield name, value
        return
    for key, inner in pairs:
        if type(key) in (str, int):
            yield from _leaves(inner, f"{name}.{key}" if name else str(key))
        else:
            yield f"the key {key!r} of {name}", key
