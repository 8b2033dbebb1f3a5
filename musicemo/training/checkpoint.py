"""Checkpoints: everything that the rest of a run depends on, in a file that executes nothing when loaded."""

from __future__ import annotations

import io
import warnings
from collections.abc import Sequence
from pathlib import Path
from typing import Any, BinaryIO

import torch

from musicemo.errors import InputError
from musicemo.files import write_atomically

__all__ = ["load_checkpoint", "save_checkpoint"]

_FORMAT = 1


def save_checkpoint(folder: Path, content: dict[str, Any], *, best: bool, best_of: Sequence[str] = ()) -> None:
    """Write ``last.pt`` and, if the epoch is the best so far, ``best.pt`` with the same content.

    So it is with ``best-<task>.pt`` for the tasks of `best_of`. The best come first: a run killed in between trains
    the epoch again, and no ``last.pt`` ever speaks of a best epoch that ``best.pt`` is not of.
    """
    buffer = io.BytesIO()  # since torch.save turns a full disk's OSError into a RuntimeError about zip files
    torch.save({"format": _FORMAT, **content}, buffer)
    names = [*(f"best-{task}" for task in best_of), *(["best"] if best else []), "last"]
    for path in [folder / f"{name}.pt" for name in names]:
        write_atomically(path, lambda file: _write(file, buffer))


def _write(file: BinaryIO, content: io.BytesIO) -> None:
    file.write(content.getbuffer())


def load_checkpoint(path: Path) -> dict[str, Any]:
    """Read a checkpoint; nothing in it is executed.

    Raises:
        InputError: the file is missing, damaged, or no checkpoint of this format.
    """
    try:
        with warnings.catch_warnings():
            warnings.simplefilter("ignore")  # of how a file that is no checkpoint was pickled
            content = torch.load(path, map_location="cpu", weights_only=True)
    except FileNotFoundError as error:
        raise InputError(f"{path}: there is no such checkpoint") from error
    except Exception as error:  # what torch raises for a damaged file depends on where it is damaged
        first = next(iter(str(error).splitlines()), "")
        raise InputError(f"{path}: is no readable checkpoint: {type(error).__name__}: {first}") from error
    if not isinstance(content, dict) or content.get("format") != _FORMAT:
        raise InputError(f"{path}: is no checkpoint of this version of musicemo")
    return content
