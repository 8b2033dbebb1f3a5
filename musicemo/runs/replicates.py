"""Run directories that belong together: one experiment, several seeds and folds."""

from __future__ import annotations

import tomllib
import warnings
from pathlib import Path
from typing import Any

from musicemo.errors import InputError
from musicemo.runs.directory import RunDirectory

__all__ = ["find_replicates"]

_OUTCOME_IS_THE_SAME = ("device", "cache", "threads")
"""Keys of ``[training]`` in which replicates may differ."""


def find_replicates(path: Path, *, unfinished: bool = False) -> list[Path]:
    """Return a run directory, or those of the replicates in an experiment's folder.

    Replicates are the finished runs of one version of the experiment, the one that was run last: the latest of each
    seed and fold, in the order of seeds and folds.

    Args:
        path: ``runs/<name>/<run id>``, or ``runs/<name>``.
        unfinished: let a seed and fold of which no run is finished be stood for by its latest, however it ended.

    Raises:
        InputError: there is no such run, or none of the folder's is finished.
    """
    if not path.is_dir():
        raise InputError(f"{path}: there is no such run directory")
    if (path / "results.json").exists():
        return [path]
    candidates = sorted(found.parent for found in path.glob("*/results.json"))
    if not candidates:
        raise InputError(f"{path}: is no run directory{_inner(path)}")
    done = {found: status == "done" for found in candidates if (status := _status(found))}
    if not unfinished and not any(done.values()):
        raise InputError(f"{path}: none of its {len(candidates)} runs is finished")
    eligible = [found for found, is_done in done.items() if is_done or (unfinished and _began(found))]
    if not eligible:
        raise InputError(f"{path}: none of its {len(candidates)} runs has begun")
    latest = _version(eligible[-1])
    chosen: dict[tuple[Any, Any], Path] = {}
    others = 0
    for found in eligible:
        if _version(found) != latest:
            others += done[found]
            continue
        results = RunDirectory(found).results
        key = results.get("seed") or 0, results.get("fold") or 0
        if done[found] or not done.get(chosen.get(key, found)):
            chosen[key] = found
    if others:
        warnings.warn(
            f"{path}: {others} finished run{'s' if others > 1 else ''} of another version of the experiment "
            f"left out; the latest one is {eligible[-1].name}",
            stacklevel=2,
        )
    return [chosen[key] for key in sorted(chosen)]


def _status(directory: Path) -> str:
    """Return a run's status; nothing for a damaged one."""
    try:
        return str(RunDirectory(directory).results.get("status", "unknown"))
    except InputError as error:
        warnings.warn(f"{error}; the run is passed over", stacklevel=3)
        return ""


def _began(directory: Path) -> bool:
    return (directory / "experiment.toml").exists()


def _version(directory: Path) -> Any:
    """Return a run's experiment without what may differ between replicates."""
    path = directory / "experiment.toml"
    try:
        table = tomllib.loads(path.read_text(encoding="utf-8"))
    except (OSError, ValueError) as error:
        raise InputError(f"{path}: cannot be read: {error}") from error
    kept = {name: value for name, value in table.items() if name not in ("seed", "description")}
    for name, keys in (
        ("split", ("fold",)),
        ("training", _OUTCOME_IS_THE_SAME),
        ("transfer", ("from",)),  # a replicate begins with the source's of the same seed
    ):
        if isinstance(kept.get(name), dict):
            kept[name] = {key: value for key, value in kept[name].items() if key not in keys}
    return kept


def _inner(path: Path) -> str:
    """Name the experiments' folders in a folder."""
    names = sorted({found.parent.parent.name for found in path.glob("*/*/results.json")})
    return f"; it holds those of {', '.join(names[:10])}{', ...' if len(names) > 10 else ''}" if names else ""
