"""Which checkpoint a run begins with."""

from __future__ import annotations

from pathlib import Path

from musicemo.errors import InputError, nearest
from musicemo.files import expanded
from musicemo.runs import RunRecord, earlier_runs, open_run

__all__ = ["find_source"]


def find_source(
    source: str, folder: Path, runs: Path, seed: int | None = None, fold: int | None = None
) -> Path:
    """Return the checkpoint that ``transfer.from`` names.

    A run directory stands for its best checkpoint. An experiment's folder, or its name in `runs`, stands for its
    latest finished run of the same seed and fold, or of the same fold, or its latest finished one. A name without a
    folder is looked for in `runs` first, anything else in `folder`; a folder that holds no run is passed over.

    Args:
        source: what is named.
        folder: what a relative path is relative to.
        runs: the folder of run directories.
        seed: of the run that is to begin with it.
        fold: likewise.

    Raises:
        InputError: there is no such run, or none that is finished.
    """
    places = [folder / expanded(source), runs / source]
    if Path(source).name == source:
        places.reverse()
    path = next((place for place in places if place.is_file() or _runs_in(place)), None)
    if path is None:
        known = sorted({found.parent.parent.name for found in runs.glob("*/*/results.json")})
        looked = " and ".join(
            f"{place} (which holds no run)" if place.is_dir() else str(place) for place in places
        )
        raise InputError(
            f"there is no run, experiment or checkpoint {source!r}{nearest(source, known)} "
            f"(looked for {looked}; experiments in {runs}: {', '.join(known) or 'none'})"
        )
    if path.is_file():
        return path.resolve()
    records = [open_run(path)] if (path / "results.json").exists() else earlier_runs(path)
    finished = [
        record for record in records if record.status == "done" and not record.results.get("overfit_batches")
    ]
    if not finished:
        raise InputError(f"{path}: none of its {len(_runs_in(path))} runs is finished; musicemo run makes one")

    def fit(record: RunRecord) -> tuple[bool, bool]:
        same_fold = record.fold == fold
        return same_fold, same_fold and record.seed == seed

    latest = max(finished, key=lambda record: (*fit(record), record.order))
    return (latest.directory / "checkpoints" / "best.pt").resolve()


def _runs_in(path: Path) -> list[Path]:
    """Return a run directory, or those in an experiment's folder."""
    if (path / "results.json").exists():
        return [path]
    return sorted(found.parent for found in path.glob("*/results.json"))
