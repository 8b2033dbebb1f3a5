"""Run directories written by hand, for tests of what reads them."""

from __future__ import annotations

import json
from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Any

import numpy as np

from musicemo.evaluation import Evaluation, EvaluationSettings, TaskEvaluation
from musicemo.runs import RunDirectory

GENRES = ("Folk", "Jazz", "Rock")

TOML = """\
name = "{name}"
description = "Two tasks, by hand"
seed = {seed}

[dataset]
type = "memory"

[training]
epochs = {epochs}
device = "cpu"
"""


def evaluation(count: int, seed: int = 0, prefix: str = "track", genres: Sequence[str] = GENRES) -> Evaluation:
    """Return a part of so many tracks: valence from 1 to 9, and genre."""
    random = np.random.default_rng(seed)
    ids = [f"{prefix}{index:03d}" for index in range(count)]
    valence = np.random.default_rng(count).uniform(1, 9, size=count)
    genre = np.arange(count) % len(genres)
    wrong = random.uniform(size=count) < 0.3
    return Evaluation(
        {
            "valence": TaskEvaluation("regression", ids, valence, valence + random.normal(size=count)),
            "genre": TaskEvaluation(
                "classification", ids, genre, np.where(wrong, (genre + 1) % len(genres), genre), classes=genres
            ),
        }
    )


def history(epochs: int) -> list[dict[str, float | None]]:
    """Return what a run of so many epochs records."""
    return [
        {
            "epoch": epoch,
            **{
                f"{part}/{task}": value / epoch + offset
                for part, offset in (("train", 0.0), ("val", 0.1))
                for task, value in (("loss", 2.0), ("valence/loss", 1.5), ("genre/loss", 0.5))
            },
            "val/valence/spearman": None if epoch == 1 else 1 - 1 / epoch,
            "train/valence/spearman": 1 - 0.5 / epoch,
            "val/genre/accuracy": 1 - 0.8 / epoch,
            "weight/valence": 1 + epoch / 10,
            "weight/genre": 1 - epoch / 100,
            "log_variance/valence": -epoch / 10,
            "learning_rate": 0.001,
        }
        for epoch in range(1, epochs + 1)
    ]


def write_run(
    folder: Path,
    label: str = "20260102-030405-seed0",
    *,
    seed: int = 0,
    fold: int | None = None,
    epochs: int = 4,
    status: str = "done",
    parts: Mapping[str, Evaluation] | None = None,
    toml: str = TOML,
    genres: Sequence[str] = GENRES,
    **results: Any,
) -> Path:
    """Write a run directory ``folder/label``, like `musicemo run` would; return it."""
    directory = RunDirectory(folder / label)
    directory.path.mkdir(parents=True)
    if parts is None:
        sizes = {"train": 24, "val": 9, "test": 12}
        parts = {
            part: evaluation(count, seed=seed, prefix=part, genres=genres) for part, count in sizes.items()
        }
    split = {part: list(found.tasks["valence"].ids) for part, found in parts.items()}
    hashes = {part: f"{number:064x}" for number, part in enumerate(("all", "train", "val", "test"))}
    environment = {
        "musicemo": "0.1",
        "python": "3.11.9",
        "packages": {"torch": "2.13.0", "scipy": None},
        "plugins": {"musicemo": "0.1"},
        "command": ["musicemo", "run", "written.toml"],
    }
    text = toml.format(name=folder.name, seed=seed, epochs=epochs)
    directory.write_start(text, environment, {"hash": hashes, **split})
    lines = "".join(f"{json.dumps(record)}\n" for record in history(epochs))
    (directory.path / "history.jsonl").write_text(lines)
    found = {
        "status": status,
        "name": folder.name,
        "seed": seed,
        "fold": fold,
        "tasks": {
            "valence": {"kind": "regression", "target": "valence", "range": [1.0, 9.0]},
            "genre": {"kind": "classification", "target": "genre", "classes": list(genres)},
        },
        "warnings": [],
    }
    if status == "done":
        settings = EvaluationSettings(resamples=100)
        found |= {
            "best_epoch": epochs - 1,
            "epochs": epochs,
            "monitor": {"name": "val/loss", "mode": "min"},
            "parameters": 12_345,
            "split": hashes,
            "metrics": {part: some.to_json(settings) for part, some in parts.items()},
            "durations": {"training": 61.5, "evaluation": 0.25},
        }
        directory.write_predictions(parts)
    directory.write_results(found | results)
    return directory.path
