"""What a run is, as lifecycle hooks see it."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

import torch

from musicemo.contracts import Weighting
from musicemo.data import Features, Split, Task, Tracks
from musicemo.training.network import Network
from musicemo.training.stopping import Stopping

__all__ = ["Run"]


@dataclass(frozen=True)
class Run:
    """One training of one network, with one seed and one split, and the folder that records it."""

    directory: Path
    name: str
    seed: int
    #: The resolved experiment, as nested tables and as TOML.
    settings: Mapping[str, Any]
    toml: str
    tracks: Tracks
    split: Split
    features: Features
    network: Network
    weighting: Weighting
    device: torch.device
    epochs: int
    #: Which epoch was best so far, and by what.
    stopping: Stopping
    #: What was taken from an earlier run: ``from``, and the names of what was ``loaded``, is ``new`` and ``frozen``.
    transfer: Mapping[str, Any] | None = None
    #: The record of every finished epoch, those before a resumption included. The trainer writes it: read only.
    history: list[Mapping[str, float]] = field(default_factory=list)

    @property
    def tasks(self) -> Sequence[Task]:
        """The tasks, in the experiment's order."""
        return self.tracks.tasks

    @property
    def label(self) -> str:
        """The run's name and id, as they stand in its path."""
        return f"{self.name}/{self.directory.name}"
