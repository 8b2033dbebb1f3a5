"""Predictions of an experiment, read from its run directories: one replicate per seed and repeat of k-fold."""

from __future__ import annotations

import hashlib
import json
import logging
from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass, replace
from os import PathLike, fspath
from pathlib import Path
from typing import Any

import numpy as np
from numpy.typing import NDArray

from musicemo.errors import InputError
from musicemo.evaluation import Evaluation, Spread, TaskEvaluation
from musicemo.runs import RunRecord, open_replicates, open_run

__all__ = ["Replicates", "SeedResult", "join_evaluations", "read_experiments", "read_replicates"]

_log = logging.getLogger(__name__)


@dataclass(frozen=True)
class SeedResult:
    """One seed: one run, or one run per fold. Repeated k-fold has one of these for each time.

    The folds of every repeat are counted from 0.
    """

    seed: int
    #: Number of the division into folds, counted from 0.
    repeat: int
    #: Fold -> its run; the fold is None without k-fold.
    records: Mapping[int | None, RunRecord]
    #: Fold -> evaluation of the run on its set.
    folds: Mapping[int | None, Evaluation]
    #: All tasks on the set, tracks in the order of their ids; with k-fold, all folds together (out-of-fold
    #: predictions).
    evaluation: Evaluation


@dataclass(frozen=True)
class Replicates:
    """An experiment's finished runs, evaluated on one set."""

    name: str
    part: str
    #: One per seed and repeat, sorted.
    per_seed: Sequence[SeedResult]
    #: SHA-256 of the set's track ids, one per fold.
    hashes: Sequence[str]

    @property
    def seeds(self) -> list[int]:
        """The seed of each replicate. With repeated k-fold, each seed occurs once per repeat."""
        return [replicate.seed for replicate in self.per_seed]

    @property
    def repeats(self) -> int:
        """Number of divisions of the tracks into folds; 1 without k-fold."""
        return len({replicate.repeat for replicate in self.per_seed})

    @property
    def folds(self) -> list[int]:
        """The folds, empty without k-fold."""
        return [fold for fold in self.per_seed[0].folds if fold is not None]

    @property
    def tasks(self) -> dict[str, TaskEvaluation]:
        """Each task as the first seed evaluated it; targets and tracks are those of every seed."""
        return dict(self.per_seed[0].evaluation.tasks)

    def constant(self, task: str) -> bool:
        """Return whether each of several folds predicts one rating or class for all of its tracks."""
        return _constant_per_fold([one.tasks[task] for one in self.per_seed[0].folds.values()])

    def tested(self, task: str) -> list[str]:
        """Return SHA-256 of the ids of the tracks with a label for a task, one per fold and repeat, sorted."""
        first = [one for one in self.per_seed if one.seed == self.per_seed[0].seed]
        evaluations = [evaluation.tasks.get(task) for one in first for evaluation in one.folds.values()]
        ids = [sorted(one.ids) if one else [] for one in evaluations]
        return sorted(hashlib.sha256(json.dumps(names).encode()).hexdigest() for names in ids)

    def of_dataset(self, name: str) -> Replicates:
        """Return the replicates as evaluated on the tracks of one of several joined datasets."""
        per_seed = [
            replace(
                one,
                folds={fold: evaluation.of_dataset(name) for fold, evaluation in one.folds.items()},
                evaluation=one.evaluation.of_dataset(name),
            )
            for one in self.per_seed
        ]
        return replace(self, per_seed=per_seed)

    @property
    def directories(self) -> list[Path]:
        """The run directories, by seed and fold."""
        return [record.directory for record in self.records]

    @property
    def records(self) -> list[RunRecord]:
        """The runs, by seed and fold."""
        return [record for replicate in self.per_seed for record in replicate.records.values()]


def read_replicates(
    paths: Path | Iterable[Path | RunRecord], part: str = "test", name: str | None = None
) -> Replicates:
    """Read one experiment's predictions.

    A seed that lacks folds which other seeds have is left out with a warning.

    Args:
        paths: ``runs/<name>``, whose finished runs are replicates (`musicemo.runs.open_replicates`), or run
            directories of one experiment, opened or not.
        part: ``train``, ``val`` or ``test``.
        name: name of the experiment in the comparison; by default its own name.

    Raises:
        InputError: a run is not finished, is damaged, lacks the set, has another set than the other seeds, or has the
            seed and fold of another run.
    """
    if isinstance(paths, Path):
        records = open_replicates(paths)
    else:
        records = [one if isinstance(one, RunRecord) else open_run(one) for one in paths]
    runs = [_Run.read(record, part) for record in records]
    by_seed: dict[tuple[int, int], dict[int | None, _Run]] = {}
    for run in runs:
        repeat, fold = (0, None) if run.fold is None else divmod(run.fold, run.declared or run.fold + 1)
        other = by_seed.setdefault((run.seed, repeat), {}).setdefault(fold, run)
        if other is not run:
            of = f"seed {run.seed}" + ("" if run.fold is None else f" and fold {run.fold}")
            raise InputError(
                f"{other.path} and {run.path}: both are of {of}, and a replicate is one run; leave one of them out"
            )
    where = paths if isinstance(paths, Path) else records[0].directory
    complete = _complete(by_seed, where)
    firsts: dict[int, dict[int | None, _Run]] = {}
    replicates = []
    for (seed, repeat), folds in complete.items():
        first = firsts.setdefault(repeat, folds)
        for fold, run in folds.items():
            if run.hash != first[fold].hash:
                raise InputError(
                    f"{run.path}: its {part} part is not that of {first[fold].path} ({run.hash[:12]} and "
                    f"{first[fold].hash[:12]})"
                )
        evaluations = {fold: run.evaluation for fold, run in folds.items()}
        of_folds = {fold: run.record for fold, run in folds.items()}
        replicates.append(
            SeedResult(seed, repeat, of_folds, evaluations, join_evaluations(list(evaluations.values())))
        )
    hashes = [run.hash for first in firsts.values() for run in first.values()]
    return Replicates(name or runs[0].name, part, replicates, hashes)


def read_experiments(
    experiments: Iterable[Replicates | str | PathLike[str]], part: str = "test"
) -> list[Replicates]:
    """Read several experiments, each ``PATH`` or ``NAME=PATH``. Those that are `Replicates` already are kept.

    If an experiment without ``NAME`` has the name of another, its path becomes its name.

    Raises:
        InputError: see `read_replicates`.
    """
    #: The path that may become its name, and the experiment.
    read: list[tuple[str | None, Replicates]] = []
    for experiment in experiments:
        if isinstance(experiment, Replicates):
            read.append((None, experiment))
            continue
        text = fspath(experiment)
        name, _, path = text.partition("=") if "=" in text and not Path(text).exists() else ("", "", text)
        read.append((None if name else path, read_replicates(Path(path), part, name or None)))
    names = [experiment.name for _, experiment in read]
    return [
        replace(experiment, name=path) if path and names.count(experiment.name) > 1 else experiment
        for path, experiment in read
    ]


@dataclass(frozen=True)
class _Run:
    record: RunRecord
    name: str
    seed: int
    fold: int | None
    #: How many folds the experiment has, 0 without k-fold.
    declared: int
    hash: str
    evaluation: Evaluation

    @classmethod
    def read(cls, run: RunRecord, part: str) -> _Run:
        path = run.directory
        if run.status != "done":
            raise InputError(
                f"{path}: the run is not finished (status {run.status!r}). Continue it with `musicemo run --resume`"
            )
        if run.results.get("overfit_batches"):
            raise InputError(
                f"{path}: is an --overfit-batches check, not a trained run. Train it without this option first"
            )
        if not run.metrics.get(part):
            raise InputError(f"{path}: has no {part} part (parts: {', '.join(run.metrics)})")
        if part not in run.evaluations:
            raise InputError(f"{path / 'predictions.csv'}: has no {part} part")
        hashed = (run.results.get("split") or {}).get(part)
        if not hashed:
            raise InputError(f"{path / 'results.json'}: split.{part}: is missing")
        declared = 0
        if run.fold is not None:
            declared = (run.read_experiment().get("split") or {}).get("folds") or 0
        return cls(run, run.name, run.seed, run.fold, declared, hashed, run.evaluations[part])

    @property
    def path(self) -> Path:
        return self.record.directory


def _complete(
    by_seed: Mapping[tuple[int, int], Mapping[int | None, _Run]], where: Path
) -> dict[tuple[int, int], dict[int | None, _Run]]:
    """Return the seeds and repeats that have all folds of the others."""
    folds = sorted(
        {fold for runs in by_seed.values() for fold in runs}, key=lambda fold: -1 if fold is None else fold
    )
    complete = {
        seed: {fold: runs[fold] for fold in folds}
        for seed, runs in sorted(by_seed.items())
        if len(runs) == len(folds)
    }
    if not complete:
        raise InputError(f"{where}: no seed has all of the folds {', '.join(map(str, folds))}")
    if lacking := sorted(set(by_seed) - set(complete)):
        _log.warning(
            f"{where}: left out, for folds that are missing: seed "
            + ", ".join(str(seed) + (f" (repeat {repeat})" if repeat else "") for seed, repeat in lacking)
        )
    declared = next(iter(complete[min(complete)].values())).declared
    if 1 < len(folds) < declared:
        _log.warning(f"{where}: {len(folds)} of {declared} folds")
    return complete


def join_evaluations(evaluations: Sequence[Evaluation]) -> Evaluation:
    """Return several sets as one, with each task's tracks in the order of their ids."""
    names = [name for name in evaluations[0].tasks if all(name in fold.tasks for fold in evaluations)]
    return Evaluation({name: _join([fold.tasks[name] for fold in evaluations]) for name in names})


def _join(parts: Sequence[TaskEvaluation]) -> TaskEvaluation:
    classes = tuple(sorted({name for part in parts for name in part.classes}))
    ids = [name for part in parts for name in part.ids]
    order = np.argsort(np.array(ids, dtype=str), kind="stable")
    if parts[0].kind == "pairs":  # no pair is in two folds
        target, prediction = (
            np.concatenate([getattr(part, name) for part in parts])[order] for name in ("target", "prediction")
        )
        return TaskEvaluation("pairs", [ids[place] for place in order], target, prediction)
    if parts[0].kind == "series":
        rows = {
            name: [row for part in parts for row in part.rows(name)]
            for name in ("times", "target", "prediction")
        }
        in_order = {name: [values[place] for place in order] for name, values in rows.items()}
        return TaskEvaluation.of_series([ids[place] for place in order], **in_order)
    if parts[0].kind == "tags":
        return _join_tags(parts, classes, [ids[place] for place in order], order)

    def column(name: str) -> np.ndarray[tuple[int], np.dtype[np.float64 | np.intp]]:
        columns = []
        for part in parts:
            places = np.array([classes.index(label) for label in part.classes], dtype=np.intp)
            values = getattr(part, name)
            columns.append(places[values] if classes and len(values) else values)
        return np.concatenate(columns)[order]

    sorted_ids = [ids[place] for place in order]
    prediction = column("prediction")
    if parts[0].kind == "regression" and _constant_per_fold(parts):
        # A fold with high ratings leaves low ones for training, so its constant correlates negatively with the ratings
        # by construction. The mean of the constants has a correlation of 0, as every constant.
        prediction = np.full(len(prediction), prediction.mean())
    spreads = [part.spread for part in parts if part.spread is not None]
    spread = Spread.joined(spreads).taken(order) if len(spreads) == len(parts) else None
    return TaskEvaluation(parts[0].kind, sorted_ids, column("target"), prediction, classes, spread=spread)


def _constant_per_fold(parts: Sequence[TaskEvaluation]) -> bool:
    """Return whether each of several folds predicts one rating or class for all of its tracks, as a baseline does."""
    return len(parts) > 1 and all(
        part.kind in ("regression", "classification")
        and len(part.prediction) > 1
        and np.ptp(part.prediction) == 0
        for part in parts
    )


def _join_tags(
    parts: Sequence[TaskEvaluation], tags: Sequence[str], ids: Sequence[str], order: NDArray[np.intp]
) -> TaskEvaluation:
    """Return several sets with tags as one; a tag that a set does not have is unknown for its tracks."""

    def joined(values: Sequence[NDArray[Any]], missing: float) -> NDArray[Any]:
        every = []
        for part, some in zip(parts, values, strict=True):
            whole = np.full((len(some), len(tags)), missing, dtype=some.dtype)
            whole[:, [tags.index(name) for name in part.classes]] = some
            every.append(whole)
        return np.asarray(np.concatenate(every)[order])

    return TaskEvaluation(
        "tags",
        ids,
        joined([part.target for part in parts], np.nan),
        joined([part.prediction for part in parts], False),
        tags,
        joined([np.zeros(0) if part.probabilities is None else part.probabilities for part in parts], 0.0),
    )
