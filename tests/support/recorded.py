"""Run directories that were written without training."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from pathlib import Path

import numpy as np

from musicemo.evaluation import Evaluation, EvaluationSettings, TaskEvaluation
from musicemo.files import write_json, write_text
from musicemo.runs import RunDirectory

SETTINGS = EvaluationSettings(resamples=100)
CLASSES = ("folk", "jazz", "pop")


def truth(count: int, seed: int = 0) -> np.ndarray:
    """Return ratings `[count]`."""
    return np.random.default_rng(seed).normal(size=count)


def regression(target: np.ndarray, quality: float, seed: int, first: int = 0) -> TaskEvaluation:
    """Return ratings that follow the target: the better, the higher `quality`."""
    noise = np.random.default_rng([seed, 7]).normal(size=len(target))
    ids = [f"track{first + index:04d}" for index in range(len(target))]
    return TaskEvaluation("regression", ids, target, quality * target + noise)


def classification(count: int, accuracy: float, seed: int, classes: Sequence[str] = CLASSES) -> TaskEvaluation:
    """Return classes that are right with a probability; targets are those of `count` alone."""
    target = np.random.default_rng(count).integers(len(classes), size=count)
    random = np.random.default_rng([seed, 8])
    wrong = (target + 1) % len(classes)
    prediction = np.where(random.uniform(size=count) < accuracy, target, wrong)
    ids = [f"track{index:04d}" for index in range(count)]
    return TaskEvaluation("classification", ids, target, prediction, classes)


def write_run(
    runs: Path,
    name: str,
    tasks: Mapping[str, TaskEvaluation],
    *,
    seed: int = 0,
    fold: int | None = None,
    part_hash: str = "aaaa",
    part: str = "test",
    status: str = "done",
    folds: int = 2,
    train: Mapping[str, TaskEvaluation] | None = None,
    kinds: Mapping[str, Mapping[str, object]] | None = None,
    **more: object,
) -> Path:
    """Write a finished run and return its directory."""
    label = f"seed{seed}" + ("" if fold is None else f"-fold{fold}")
    directory = RunDirectory.create(runs, name, label)
    evaluation = Evaluation(tasks)
    split = f'[split]\nmethod = "kfold"\nfolds = {folds}\nfold = {fold}\n' if fold is not None else ""
    write_text(directory.path / "experiment.toml", f'name = "{name}"\nseed = {seed}\n{split}')
    write_json(directory.path / "split.json", {"hash": {part: part_hash}})
    directory.write_predictions(({"train": Evaluation(train)} if train else {}) | {part: evaluation})
    directory.write_results(
        {
            "status": status,
            "name": name,
            "seed": seed,
            "fold": fold,
            "split": {part: part_hash},
            "metrics": {part: evaluation.to_json(SETTINGS)},
            **({"tasks": kinds} if kinds else {}),
            **more,
        }
    )
    return directory.path


def write_experiment(
    runs: Path,
    name: str,
    qualities: Mapping[str, float],
    *,
    seeds: Sequence[int] = (0, 1, 2),
    count: int = 60,
    **how,
) -> Path:
    """Write a run for each seed, with a regression task of each quality; return the experiment's folder."""
    for seed in seeds:
        tasks = {
            task: regression(truth(count, place), quality, seed + 100 * place + 1000 * hash_of(name))
            for place, (task, quality) in enumerate(sorted(qualities.items()))
        }
        write_run(runs, name, tasks, seed=seed, **how)
    return runs / name


def hash_of(name: str) -> int:
    """Return a number that is the same in every process."""
    return sum(map(ord, name))
