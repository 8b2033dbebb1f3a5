"""Run directories that belong together: one experiment, several seeds and folds."""

from __future__ import annotations

import tomllib
import warnings
from pathlib import Path
from typing import Any

import torch

from musicemo.errors import InputError
from musicemo.prediction.trained import TrainedRun
from musicemo.runs import RunDirectory

__all__ = ["find_runs"]

_OUTCOME_IS_THE_SAME = ("device", "cache")
"""Keys of ``[training]`` in which replicates may differ."""


def find_runs(path: Path, device: torch.device | None = None) -> list[TrainedRun]:
    """Return the run of a run directory, or the replicates in an experiment's folder.

    Replicates are the finished runs of one version of the experiment, the one that was run last: the latest of each
    seed and fold, in the order of seeds and folds.

    Args:
        path: ``runs/<name>/<run id>``, or ``runs/<name>``.
        device: where to predict; None is the CPU.

    Raises:
        InputError: there is no such run, it is not finished, or it cannot be loaded.
    """
    if not path.is_dir():
        raise InputError(f"{path}: there is no such run directory")
    if (path / "results.json").exists():
        return [TrainedRun.load(path, device)]
    candidates = sorted(found.parent for found in path.glob("*/results.json"))
    if not candidates:
        raise InputError(f"{path}: is no run directory{_inner(path)}")
    done = [found for found in candidates if _is_done(found)]
    if not done:
        raise InputError(f"{path}: none of its {len(candidates)} runs is finished")
    latest = _version(done[-1])
    chosen: dict[tuple[Any, Any], Path] = {}
    others = 0
    for found in done:
        if _version(found) == latest:
            results = RunDirectory(found).results
            chosen[results.get("seed") or 0, results.get("fold") or 0] = found
        else:
            others += 1
    if others:
        warnings.warn(
            f"{path}: {others} finished run{'s' if others > 1 else ''} of another version of the experiment "
            f"left out; the latest one is {done[-1].name}",
            stacklevel=2,
        )
    return [TrainedRun.load(chosen[key], device) for key in sorted(chosen)]


def _is_done(directory: Path) -> bool:
    try:
        return RunDirectory(directory).results.get("status") == "done"
    except InputError as error:
        warnings.warn(f"{error}; the run is passed over", stacklevel=3)
        return False


def _version(directory: Path) -> Any:
    """Return a run's experiment without what may differ between replicates."""
    path = directory / "experiment.toml"
    try:
        table = tomllib.loads(path.read_text(encoding="utf-8"))
    except (OSError, ValueError) as error:
        raise InputError(f"{path}: cannot be read: {error}") from error
    kept = {name: value for name, value in table.items() if name not in ("seed", "description")}
    for name, keys in (("split", ("fold",)), ("training", _OUTCOME_IS_THE_SAME)):
        if isinstance(kept.get(name), dict):
            kept[name] = {key: value for key, value in kept[name].items() if key not in keys}
    return kept


def _inner(path: Path) -> str:
    """Name the experiments' folders in a folder."""
    names = sorted({found.parent.parent.name for found in path.glob("*/*/results.json")})
    return f"; it holds those of {', '.join(names[:10])}{', ...' if len(names) > 10 else ''}" if names else ""
