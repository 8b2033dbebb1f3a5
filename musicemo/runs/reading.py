"""Reading a run directory back, whatever became of the run."""

from __future__ import annotations

import json
import tomllib
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass
from functools import cached_property
from pathlib import Path
from typing import Any

import numpy as np
from numpy.typing import NDArray

from musicemo.errors import InputError
from musicemo.evaluation import CLASSIFICATION, Evaluation, TaskEvaluation
from musicemo.files import read_csv
from musicemo.runs.directory import RunDirectory

__all__ = ["RecordedRun"]


@dataclass(frozen=True)
class RecordedRun:
    """What a run directory holds, without its checkpoints; what is missing is empty.

    A run that failed, or is under way, has no metrics and no predictions; the rest is as far as it got.
    """

    directory: Path
    #: What `results.json` holds.
    results: Mapping[str, Any]
    #: The resolved experiment, as tables and as it is written.
    experiment: Mapping[str, Any]
    toml: str
    environment: Mapping[str, Any]
    #: What `split.json` holds.
    split: Mapping[str, Any]
    #: What `history.jsonl` holds: a record an epoch; what is not defined is None.
    history: Sequence[Mapping[str, Any]]
    #: Sentences on the files that are missing or damaged.
    problems: Sequence[str]

    @classmethod
    def read(cls, directory: Path) -> RecordedRun:
        """Read a run directory.

        Raises:
            InputError: it is none, or its `results.json` is damaged.
        """
        results = RunDirectory(directory).results
        if not results:
            raise InputError(f"{directory}: is no run directory: it has no results.json")
        problems: list[str] = []

        def attempt(name: str, parse: Callable[[str], Any], empty: Any) -> Any:
            try:
                found = parse((directory / name).read_text(encoding="utf-8"))
            except FileNotFoundError:
                problems.append(f"{name} is missing")
            except (OSError, ValueError) as error:
                problems.append(f"{name} cannot be read: {error}")
            else:
                if isinstance(found, type(empty)):
                    return found
                problems.append(f"{name} cannot be read: it holds no {type(empty).__name__}")
            return empty

        return cls(
            directory=directory,
            results=results,
            toml=(toml := attempt("experiment.toml", str, "")),
            experiment=attempt("experiment.toml", tomllib.loads, {}) if toml else {},
            environment=attempt("environment.json", json.loads, {}),
            split=attempt("split.json", json.loads, {}),
            history=attempt("history.jsonl", _lines, []),
            problems=problems,
        )

    @property
    def name(self) -> str:
        """The experiment's name."""
        return str(self.results.get("name") or self.directory.parent.name)

    @property
    def status(self) -> str:
        """done, running, failed or interrupted."""
        return str(self.results.get("status", "unknown"))

    @property
    def metrics(self) -> Mapping[str, Any]:
        """Part -> task -> metric, as `results.json` has them."""
        return self.results.get("metrics") or {}

    @cached_property
    def tasks(self) -> Mapping[str, Mapping[str, Any]]:
        """Task -> its ``kind``, and ``range`` or ``classes`` where they are known."""
        if told := self.results.get("tasks"):
            return dict(told)
        found: dict[str, dict[str, Any]] = {}  # an earlier version of musicemo did not record them
        for part in self.metrics.values():
            for name, task in part.items():
                kind = "classification" if CLASSIFICATION[0] in task else "regression"
                found.setdefault(name, {"kind": kind})
                if "per_class" in task:
                    found[name].setdefault("classes", list(task["per_class"]))
        return found

    @cached_property
    def evaluations(self) -> Mapping[str, Evaluation]:
        """Part -> what `predictions.csv` holds of it; empty where there is none.

        Raises:
            InputError: it is damaged.
        """
        path = self.directory / "predictions.csv"
        rows: dict[str, dict[str, list[tuple[str, str, str]]]] = {}
        try:
            for row in read_csv(path):
                of_task = rows.setdefault(row["part"], {}).setdefault(row["task"], [])
                of_task.append((row["track"], row["target"], row["prediction"]))
            return {
                part: Evaluation({name: self._task(name, found) for name, found in tasks.items()})
                for part, tasks in rows.items()
            }
        except FileNotFoundError:
            return {}
        except (OSError, KeyError, TypeError, ValueError) as error:
            raise InputError(f"{path}: cannot be read: {type(error).__name__}: {error}") from error

    def _task(self, name: str, rows: Sequence[tuple[str, str, str]]) -> TaskEvaluation:
        ids, target, prediction = zip(*rows, strict=True)
        if self.tasks[name]["kind"] == "regression":
            return TaskEvaluation("regression", ids, np.array(target, float), np.array(prediction, float))
        classes = self.tasks[name].get("classes") or sorted({*target, *prediction})
        places = {label: place for place, label in enumerate(classes)}

        def indices(labels: Sequence[str]) -> NDArray[np.intp]:
            return np.array([places[label] for label in labels], np.intp)

        return TaskEvaluation("classification", ids, indices(target), indices(prediction), classes=classes)


def _lines(text: str) -> list[Any]:
    return [json.loads(line) for line in text.splitlines()]
