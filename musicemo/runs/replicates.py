"""Replicates: the run directories of one experiment with several seeds and folds."""

from __future__ import annotations

import json
import logging
from pathlib import Path

from musicemo.errors import InputError
from musicemo.runs.identity import decisive_settings, same_data
from musicemo.runs.reading import RunRecord, open_run

__all__ = ["find_replicates", "open_replicates", "open_runs", "version_of"]

_log = logging.getLogger(__name__)


def open_runs(folder: Path) -> list[RunRecord]:
    """Open the runs in an experiment's folder, in the order in which they were started.

    Runs whose `results.json` is damaged are left out with a warning.
    """
    records = []
    for path in sorted(folder.glob("*/results.json")):
        try:
            records.append(open_run(path.parent))
        except InputError as error:
            _log.warning(f"{error}. The run is ignored")
    return sorted(records, key=lambda record: record.order)


def find_replicates(path: Path, *, unfinished: bool = False) -> list[Path]:
    """Return the directories of `open_replicates`."""
    return [record.directory for record in open_replicates(path, unfinished=unfinished)]


def open_replicates(path: Path, *, unfinished: bool = False) -> list[RunRecord]:
    """Open a run directory, or those of the replicates in an experiment's folder.

    Replicates are the finished runs of one version of the experiment, the one that was run last: the latest run of each
    seed and fold, in the order of seeds and folds.

    Args:
        path: ``runs/<name>/<run id>``, or ``runs/<name>``.
        unfinished: whether to use the latest run of a seed and fold, whatever its status, if none is finished.

    Raises:
        InputError: there is no such run, or no run in the folder is finished.
    """
    if not path.is_dir():
        raise InputError(f"{path}: there is no such run directory")
    if (path / "results.json").exists():
        return [open_run(path)]
    if not any(path.glob("*/results.json")):
        raise InputError(f"{path}: is not a run directory{_inner(path)}")
    records = open_runs(path)
    done = [record for record in records if record.status == "done"]
    if not unfinished and not done:
        raise InputError(f"{path}: none of its {len(records)} runs is finished")
    eligible = [record for record in records if record.status == "done" or (unfinished and _has_begun(record))]
    if not eligible:
        raise InputError(f"{path}: none of its {len(records)} runs has begun")
    versions = {record.directory: version_of(record) for record in eligible}
    latest = versions[eligible[-1].directory]
    replicates: dict[tuple[int, int], RunRecord] = {}
    others = 0
    for record in eligible:
        if versions[record.directory] != latest:
            others += record.status == "done"
            continue
        key = record.seed, record.fold or 0
        if record.status == "done" or key not in replicates or replicates[key].status != "done":
            replicates[key] = record
    if others:
        _log.warning(
            f"{path}: {others} finished run{'s' if others > 1 else ''} of another version of the experiment or of "
            f"other data left out; the latest one is {eligible[-1].directory.name}"
        )
    return [replicates[key] for key in sorted(replicates)]


def _has_begun(record: RunRecord) -> bool:
    return (record.directory / "experiment.toml").exists()


def version_of(record: RunRecord) -> str:
    """Return a run's experiment and data, without everything in which replicates may differ.

    Raises:
        InputError: `experiment.toml` is missing or damaged.
    """
    if ensemble := record.results.get("ensemble"):
        return str(ensemble["version"])
    search = record.results.get("search") or {}
    if search.get("nested"):  # every outer fold has the settings of its own best trial
        return json.dumps([search.get("study"), same_data(record)], default=str)
    kept = {
        name: value for name, value in decisive_settings(record.read_experiment()).items() if name != "seed"
    }
    if isinstance(kept.get("split"), dict):
        kept["split"] = {name: value for name, value in kept["split"].items() if name != "fold"}
    return json.dumps([kept, same_data(record)], sort_keys=True, default=str)  # nan equals itself


def _inner(path: Path) -> str:
    """Return the names of the experiments' folders in a folder."""
    names = sorted({results.parent.parent.name for results in path.glob("*/*/results.json")})
    return f"; it holds those of {', '.join(names[:10])}{', ...' if len(names) > 10 else ''}" if names else ""
