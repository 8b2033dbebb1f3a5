"""The trained runs of an experiment."""

from __future__ import annotations

from pathlib import Path

import torch

from musicemo.prediction.trained import TrainedRun
from musicemo.runs import find_replicates

__all__ = ["find_runs"]


def find_runs(
    path: Path, device: torch.device | None = None, *, trust_local_code: bool = False
) -> list[TrainedRun]:
    """Return the run in a run directory, or the replicates in an experiment's folder.

    Args:
        path: ``runs/<name>/<run id>``, or ``runs/<name>``; see `musicemo.runs.find_replicates`.
        device: device of the predictions; None is the CPU.
        trust_local_code: whether to execute the runs' copies of local Python files; see `TrainedRun.load`.

    Raises:
        InputError: the run does not exist, is not finished, or cannot be loaded.
    """
    return [
        TrainedRun.load(found, device, trust_local_code=trust_local_code) for found in find_replicates(path)
    ]
