"""A checkpoint to begin with, and what of it is taken over."""

from __future__ import annotations

import warnings
from collections.abc import Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from musicemo.data import Scaling, Split
from musicemo.errors import InputError
from musicemo.running.transfer.leaks import find_leaks, run_of
from musicemo.training import Network, TransferSettings, load_checkpoint
from musicemo.training.checkpoint import read_scaling

__all__ = ["Transfer"]


@dataclass(frozen=True)
class Transfer:
    """A checkpoint to begin with."""

    settings: TransferSettings
    checkpoint: Path
    state: Mapping[str, Any]

    @classmethod
    def read(cls, settings: TransferSettings, checkpoint: Path) -> Transfer:
        """Read the checkpoint.

        Raises:
            InputError: it is none.
        """
        return cls(settings, checkpoint, load_checkpoint(checkpoint))

    @property
    def run(self) -> Path | None:
        """The run directory that the checkpoint is of, where it is in one."""
        return run_of(self.checkpoint)

    def scaling(self, size: int) -> Scaling | None:
        """Return the source's scaling of features, if that is to be used.

        Args:
            size: how many rows the features have.

        Raises:
            InputError: the source's features have another number of rows.
        """
        if self.settings.scaling == "own":
            return None
        try:
            scaling = read_scaling(self.state)
        except InputError as error:
            raise InputError(f"{self.checkpoint}: {error}") from error
        if len(scaling.offset) != size:
            raise InputError(
                f"{self.checkpoint}: its features have {len(scaling.offset)} rows, and these {size}; choose the same "
                'features, or scaling = "own"'
            )
        return scaling

    def load(self, network: Network) -> dict[str, Any]:
        """Load what fits into a network and freeze what is to be frozen; return what `results.json` says of it.

        Raises:
            InputError: nothing fits, a frozen parameter is new, or nothing is left to train.
        """
        loaded, new = network.take(self.state.get("network", {}))
        if not {name for name, _ in network.named_parameters()} & set(loaded):
            raise InputError(f"{self.checkpoint}: none of its weights fits this network by name and shape")
        frozen = network.freeze(self.settings.freeze)
        if unlearnt := [name for name in frozen if name in new]:
            raise InputError(
                f"{unlearnt[0]} is to be frozen and has no weights in {self.checkpoint}: it would stay random"
            )
        if not any(parameter.requires_grad for parameter in network.parameters()):
            raise InputError("everything is frozen: nothing is left to train")
        return {"from": str(self.run or self.checkpoint), "loaded": loaded, "new": new, "frozen": frozen}

    def check_leaks(self, dataset: Any, split: Split) -> None:
        """Refuse test tracks that the source was trained on, or warn of them; warn of what cannot be told.

        Args:
            dataset: the table of the dataset, or of several.
            split: their parts.

        Raises:
            InputError: there are some.
        """
        leaks, doubts = find_leaks(self.checkpoint, dataset, split.track_ids("test"))
        if leaks and self.settings.leaks == "refuse":
            raise InputError(*(f'{leak}, or leaks = "warn"' for leak in leaks))
        for text in (*leaks, *doubts):
            warnings.warn(text, stacklevel=2)
