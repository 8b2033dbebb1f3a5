"""Files with the weights of MusiCNN."""

from __future__ import annotations

import hashlib
import zipfile
from pathlib import Path

import numpy as np
from numpy.typing import NDArray

from musicemo.errors import InputError
from musicemo_musicnn.checkpoint import read_checkpoint

__all__ = ["PACKAGED", "Weights", "content_hash", "inference_weights", "load_weights"]

Weights = dict[str, NDArray[np.float32]]

PACKAGED = Path(__file__).parent / "pretrained"
"""The folder with the weights that come with this package."""


def load_weights(path: Path) -> Weights:
    """Return the network's variables, by TensorFlow's names.

    Args:
        path: A file that ``musicemo_musicnn.convert`` has written, or the folder of a TensorFlow checkpoint.

    Raises:
        InputError: The path does not exist, or is not one of these.
    """
    if path.is_dir():
        return inference_weights(read_checkpoint(path))
    if not path.is_file():
        raise InputError(f"{path}: no such file or folder. Set `weights` to an existing one, or omit it")
    try:
        with np.load(path, allow_pickle=False) as archive:
            return {name: archive[name] for name in archive.files}
    except (ValueError, OSError, EOFError, zipfile.BadZipFile) as error:
        raise InputError(
            f"{path}: not a file of weights. Write one with python -m musicemo_musicnn.convert, or give the folder of "
            "a TensorFlow checkpoint"
        ) from error


def inference_weights(variables: Weights) -> Weights:
    """Return the variables without those of the optimizer."""
    return {
        name: values
        for name, values in variables.items()
        if not name.endswith(("/Adam", "/Adam_1")) and not name.endswith("_power")
    }


def content_hash(weights: Weights) -> str:
    """Return the SHA-256 of names, shapes and values."""
    digest = hashlib.sha256()
    for name, values in sorted(weights.items()):
        digest.update(f"{name} {values.shape} ".encode())
        digest.update(values.astype("<f4").tobytes())
    return digest.hexdigest()
