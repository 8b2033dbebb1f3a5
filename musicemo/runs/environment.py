"""The environment of a run: enough to repeat it, and to explain different results elsewhere."""

from __future__ import annotations

import importlib.metadata
import os
import platform
import sys
from collections.abc import Sequence
from typing import TYPE_CHECKING, Any

from musicemo import __version__
from musicemo.components import registry

if TYPE_CHECKING:
    import torch

__all__ = ["describe_environment"]

_PACKAGES = (
    "torch",
    "numpy",
    "scipy",
    "scikit-learn",
    "numba",
    "librosa",
    "soundfile",
    "pydantic",
    "pluggy",
    "tensorboard",
)


def describe_environment(device: torch.device, command: Sequence[str] | None = None) -> dict[str, Any]:
    """Return versions, machine, device, threads, installed plugins and the command line.

    Args:
        device: where a run computes.
        command: the command line, instead of that of this process.
    """
    import torch

    claims = [claim for kind in registry.GROUPS for claim in registry.claims(kind)]
    plugins = {claim.distribution: claim.version for claim in claims}
    packages = {claim.distribution: claim for claim in claims if claim.distribution != "musicemo"}
    origins = {name: origin for name, claim in packages.items() if (origin := claim.origin)}
    return {
        "musicemo": __version__,
        "python": platform.python_version(),
        "platform": platform.platform(),
        "processor": platform.processor() or platform.machine(),
        "cores": os.cpu_count(),
        "threads": torch.get_num_threads(),
        "device": torch.cuda.get_device_name(device) if device.type == "cuda" else device.type,
        "packages": {name: _version(name) for name in _PACKAGES},
        "plugins": dict(sorted(plugins.items())),
        "origins": dict(sorted(origins.items())),
        "command": list(sys.argv if command is None else command),
    }


def _version(package: str) -> str | None:
    try:
        return importlib.metadata.version(package)
    except importlib.metadata.PackageNotFoundError:
        return None
