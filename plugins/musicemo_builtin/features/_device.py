"""The device of an extractor that computes with torch."""

from __future__ import annotations

import torch

from musicemo.errors import InputError

__all__ = ["DTYPES", "choose_device"]

DTYPES = {"float32": torch.float32, "bfloat16": torch.bfloat16, "float16": torch.float16}


def choose_device(name: str) -> torch.device:
    """Return the device of a name; "auto" is CUDA if available, else MPS, else the CPU.

    Raises:
        InputError: The device is not available.
    """
    usable = [
        *(["cuda"] if torch.cuda.is_available() else []),
        *(["mps"] if torch.backends.mps.is_available() else []),
        "cpu",
    ]
    if name == "auto":
        name = usable[0]
    kind, _, index = name.partition(":")
    count = torch.cuda.device_count() if kind == "cuda" else 1
    if kind not in usable or (index and not (index.isdecimal() and int(index) < count)):
        raise InputError(f"device: {name!r} is not available (available: auto, {', '.join(usable)})")
    return torch.device(name)
