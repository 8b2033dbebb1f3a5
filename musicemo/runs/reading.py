"""The reader of run directories. Each file is read once, and its shape is checked before it is used."""

from __future__ import annotations

import json
import math
import os
import re
import stat
import tomllib
from collections.abc import Callable, Collection, Mapping, Sequence
from dataclasses import replace
from datetime import UTC, datetime
from functools import cached_property
from os import PathLike
from pathlib import Path
from typing import Any, NoReturn, TextIO, TypeVar

import numpy as np
from numpy.typing import NDArray
from pydantic import BaseModel, ValidationError

from musicemo.errors import InputError
from musicemo.evaluation import (
    METRICS,
    SHARES,
    Evaluation,
    EvaluationSettings,
    Spread,
    TaskEvaluation,
    pair_members,
)
from musicemo.files import read_csv
from musicemo.runs.directory import SPREAD_COLUMNS, RunDirectory
from musicemo.runs.schema import SECTIONS, Environment, Epoch, ExperimentFile, Results, SplitFile
from musicemo.settings import plain_message

__all__ = ["INTERRUPTED", "RunRecord", "open_run"]

_T = TypeVar("_T")

#: Bytes that a file may have before it is read into memory; a run of a million tracks stays below both.
_LARGEST = 256 * 2**20
_LARGEST_TABLE = 4 * 2**30
#: Levels of nesting; a run's files have fewer than ten.
_DEEPEST = 50
#: Digits of an integer.
_LONGEST = 18

_RUN_ID = re.compile(r"^(?P<time>\d{8}-\d{6})(?P<utc>Z?)(?:-|$)")

INTERRUPTED = "interrupted (killed)"


def open_run(path: str | PathLike[str]) -> RunRecord:
    """Open a run directory.

    Args:
        path: ``runs/<name>/<run id>``.

    Raises:
        InputError: the path is not a run directory, or its `results.json` is damaged.
    """
    path = Path(path)
    file = path / "results.json"
    try:
        results = _read_object(file, Results)
    except FileNotFoundError as error:
        text = "it has no results.json" if path.is_dir() else "there is no such folder"
        raise InputError(f"{path}: is not a run directory: {text}") from error
    except (OSError, ValueError) as error:
        raise InputError(*(f"{file}: {text}" for text in _problems(error))) from error
    damaged = {}
    for name in [name for name in SECTIONS if name in results]:
        try:
            if results[name]:
                SECTIONS[name].validate_python(results[name])
                continue
        except ValidationError as error:
            damaged[name] = "; ".join(_problems(error, name))
        del results[name]
    return RunRecord(path, results, damaged=damaged)


class RunRecord:
    """Content of a run directory, without its checkpoints.

    A run that failed or is in progress has no metrics and no predictions, but all files written so far. A file is read
    when it is first needed. If it is missing or damaged, its content is empty, and `problems` describes it.
    """

    def __init__(
        self,
        directory: Path,
        results: Mapping[str, Any],
        history: Sequence[Mapping[str, Any]] | None = None,
        damaged: Mapping[str, str] | None = None,
    ) -> None:
        """Create a record of a run.

        Args:
            directory: the run directory.
            results: the checked content of its `results.json`.
            history: its epochs, instead of those in `history.jsonl`.
            damaged: keys of `results.json` that were left out -> problem.
        """
        self.directory = directory
        self.results = results
        self.damaged = damaged or {}
        self._problems: dict[str, str] = {}
        if history is not None:
            self.history = history

    @property
    def name(self) -> str:
        """The name of the experiment."""
        return str(self.results.get("name") or self.directory.parent.name)

    @cached_property
    def status(self) -> str:
        """The status: done, running, failed, interrupted, or interrupted (killed).

        A run is interrupted (killed) if its process ended without recording a status.
        """
        status = str(self.results["status"])
        return INTERRUPTED if status == "running" and not self.in_use else status

    @property
    def finished(self) -> bool:
        """Whether the run is done and no lifecycle plugin ended its training early."""
        return self.status == "done" and not self.results.get("stopped")

    @property
    def in_use(self) -> bool:
        """Whether a process is writing to the run."""
        return RunDirectory(self.directory).in_use

    @property
    def seed(self) -> int:
        """The seed."""
        return int(self.results.get("seed") or 0)

    @property
    def fitted(self) -> bool:
        """Whether the model was fitted in one go: it has no epochs, and its result does not depend on the seed."""
        return self.results.get("parameters") == 0

    @property
    def fold(self) -> int | None:
        """The fold; None without k-fold."""
        fold = self.results.get("fold")
        return None if fold is None else int(fold)

    @cached_property
    def started(self) -> datetime | None:
        """The time when the run was started, from the name of its directory; if that has another form, as recorded.

        Names with the ending Z are in UTC. Earlier versions of musicemo used local time, without Z, which is
        interpreted as the local time of this machine.
        """
        named = _RUN_ID.match(self.directory.name)
        if named is None:
            return self._recorded
        try:
            time = datetime.strptime(named["time"], "%Y%m%d-%H%M%S")
            return time.replace(tzinfo=UTC) if named["utc"] else time.astimezone()
        except (ValueError, OverflowError, OSError):  # digits that are not a time
            return self._recorded

    @property
    def _recorded(self) -> datetime | None:
        started = self.results.get("started")
        return datetime.fromisoformat(started) if started else None

    @property
    def order(self) -> tuple[float, float, str]:
        """Sort key of runs, the earliest first."""
        times = (-math.inf if time is None else time.timestamp() for time in (self.started, self._recorded))
        first, second = times
        return first, second, self.directory.name

    @property
    def metrics(self) -> Mapping[str, Any]:
        """Set -> task -> metric, as in `results.json`."""
        return self.results.get("metrics") or {}

    @cached_property
    def toml(self) -> str:
        """The text of `experiment.toml`."""
        return self._attempt("experiment.toml", lambda path: _text(path, _LARGEST), "")

    @cached_property
    def experiment(self) -> Mapping[str, Any]:
        """The resolved experiment, as nested tables."""
        return self._attempt("experiment.toml", lambda _: _tables(self.toml), {}) if self.toml else {}

    def read_experiment(self) -> Mapping[str, Any]:
        """Return the resolved experiment, as nested tables.

        Raises:
            InputError: `experiment.toml` is missing or damaged.
        """
        if not self.experiment:
            raise InputError(
                f"{self.directory}: {self._problems.get('experiment.toml', 'experiment.toml is empty')}"
            )
        return self.experiment

    @cached_property
    def evaluation_settings(self) -> EvaluationSettings:
        """The table ``[evaluation]``.

        Raises:
            InputError: the table is damaged.
        """
        try:
            return EvaluationSettings(**(self.experiment.get("evaluation") or {}))
        except (ValidationError, TypeError) as error:
            path = self.directory / "experiment.toml"
            raise InputError(*(f"{path}: evaluation: {text}" for text in _problems(error))) from error

    @cached_property
    def environment(self) -> Mapping[str, Any]:
        """The content of `environment.json`."""
        return self._attempt("environment.json", lambda path: _read_object(path, Environment), {})

    @cached_property
    def split(self) -> Mapping[str, Any]:
        """The content of `split.json`."""
        return self._attempt("split.json", lambda path: _read_object(path, SplitFile), {})

    @property
    def described(self) -> Mapping[str, str]:
        """Track -> its artist or album and its classes, as far as the dataset has them: ``Muse, rock``."""
        columns = [self.split.get("groups") or {}, *(self.split.get("classes") or {}).values()]
        tracks = dict.fromkeys(track for column in columns for track in column)
        return {track: ", ".join(column[track] for column in columns if track in column) for track in tracks}

    @cached_property
    def history(self) -> Sequence[Mapping[str, Any]]:
        """The content of `history.jsonl`: one record per epoch; undefined values are None. An ensemble has none."""
        if "ensemble" in self.results:
            return []
        return self._attempt("history.jsonl", _epochs, [])

    @property
    def problems(self) -> list[str]:
        """Sentences about missing or damaged files."""
        _ = self.experiment, self.environment, self.split, self.history
        damaged = (f"results.json: {text}. It is ignored" for text in self.damaged.values())
        return [*damaged, *self._problems.values()]

    def _attempt(self, name: str, read: Callable[[Path], _T], empty: _T) -> _T:
        try:
            return read(self.directory / name)
        except FileNotFoundError:
            self._problems[name] = f"{name} is missing"
        except (OSError, ValueError) as error:
            self._problems[name] = f"{name}: {_problems(error)[0]}"
        return empty

    @cached_property
    def tasks(self) -> Mapping[str, Mapping[str, Any]]:
        """Task -> its ``kind``, and ``range`` or ``classes`` if they are recorded."""
        if recorded := self.results.get("tasks"):
            return dict(recorded)
        tasks: dict[str, dict[str, Any]] = {}  # an earlier version of musicemo did not record them
        for part in self.metrics.values():
            for name, task in part.items():
                kind = next(kind for kind, names in METRICS.items() if names[0] in task)
                tasks.setdefault(name, {"kind": kind})
                if task.get("per_class"):
                    tasks[name].setdefault("classes", list(task["per_class"]))
        return tasks

    @cached_property
    def evaluations(self) -> Mapping[str, Evaluation]:
        """Set -> predictions in `predictions.csv`, and of series in `series.csv`; empty without these files.

        Raises:
            InputError: a file is damaged; the message names the line.
        """
        parts: dict[str, dict[str, _Column | _TagColumn | _PairColumn | _SeriesColumn]] = {}
        files = {
            name: self._read_predictions(self.directory / name, keys, parts) for name, keys in _CELLS.items()
        }
        if not any(files.values()):
            return {}
        for part, tasks in self.metrics.items():
            for name, metrics in tasks.items():
                present = len(parts.get(part, {}).get(name, ()))
                if (recorded := metrics.get("tracks", present)) != present:
                    file = (
                        "series.csv" if self.tasks.get(name, {}).get("kind") == "series" else "predictions.csv"
                    )
                    raise InputError(
                        f"{self.directory / file}: has {present} of the {recorded} {part} predictions of {name!r}"
                    )
        spreads = self._spreads({name for name, task in self.tasks.items() if task.get("distribution")})
        return {
            part: Evaluation(
                {
                    name: _spread_over(column.finish(), spreads.get((part, name)))
                    for name, column in tasks.items()
                }
            )
            for part, tasks in parts.items()
        }

    def _read_predictions(
        self,
        path: Path,
        keys: Sequence[str],
        parts: dict[str, dict[str, _Column | _TagColumn | _PairColumn | _SeriesColumn]],
    ) -> bool:
        """Add the lines of a file; return whether there is one.

        Raises:
            InputError: it is damaged; the message names the line.
        """
        try:
            _open(path, _LARGEST_TABLE).close()
            for number, row in enumerate(read_csv(path), start=2):
                try:
                    of_part = parts.setdefault(row["part"], {})
                    if row["task"] not in of_part:
                        limits = (self.results.get("thresholds") or {}).get(row["task"])
                        of_part[row["task"]] = _column(row["task"], self.tasks.get(row["task"]), limits)
                    column = of_part[row["task"]]
                    if isinstance(column, _SeriesColumn) != ("time" in keys):
                        raise ValueError(f"{row['task']!r} is not a task of this file")
                    column.add(*(row[key] for key in keys))
                except ValueError as error:
                    raise ValueError(f"line {number}: {error}") from error
        except FileNotFoundError:
            return False
        except KeyError as error:
            raise InputError(f"{path}: cannot be read: it has no column {error}") from error
        except (OSError, ValueError) as error:
            raise InputError(f"{path}: {_problems(error)[0]}") from error
        return True

    @cached_property
    def evaluations_with_probabilities(self) -> Mapping[str, Evaluation]:
        """`evaluations`, with the probabilities of the classes in `probabilities.csv`.

        Raises:
            InputError: a file is damaged, or the run was trained by a version of musicemo without this file.
        """
        rows = self._class_probabilities()
        return {
            part: Evaluation(
                {
                    name: replace(task, probabilities=self._probabilities_of(task, rows.get((part, name), {})))
                    if task.kind == "classification"
                    else task
                    for name, task in evaluation.tasks.items()
                }
            )
            for part, evaluation in self.evaluations.items()
        }

    def _probabilities_of(
        self, task: TaskEvaluation, rows: Mapping[str, Mapping[str, float]]
    ) -> NDArray[np.float64]:
        path = self.directory / "probabilities.csv"
        if missing := [track for track in task.ids if track not in rows]:
            raise InputError(f"{path}: has no row of track {missing[0]!r}")
        if unfit := [track for track in task.ids if set(rows[track]) != set(task.classes)]:
            raise InputError(f"{path}: track {unfit[0]!r} does not have a probability of every class")
        values = [[rows[track][name] for name in task.classes] for track in task.ids]
        return np.array(values, dtype=np.float64).reshape(len(task.ids), len(task.classes))

    def _class_probabilities(self) -> dict[tuple[str, str], dict[str, dict[str, float]]]:
        """Return set and task -> track -> class -> probability.

        Raises:
            InputError: the file is missing or damaged.
        """
        path = self.directory / "probabilities.csv"
        rows: dict[tuple[str, str], dict[str, dict[str, float]]] = {}
        if all(task.get("kind") != "classification" for task in self.tasks.values()):
            return rows
        try:
            _open(path, _LARGEST_TABLE).close()
            for number, row in enumerate(read_csv(path), start=2):
                values = _parse(row["probabilities"])
                if not isinstance(values, dict) or not all(
                    isinstance(value, float | int) and 0 <= value <= 1 for value in values.values()
                ):
                    raise ValueError(
                        f"line {number}: {row['probabilities'][:80]!r} is not an object of probabilities"
                    )
                rows.setdefault((row["part"], row["task"]), {})[row["track"]] = values
        except FileNotFoundError as error:
            raise InputError(
                f"{path}: is missing: an earlier version of musicemo trained the run and did not record the "
                "probabilities of classes. Train it again with --no-resume"
            ) from error
        except KeyError as error:
            raise InputError(f"{path}: cannot be read: it has no column {error}") from error
        except (OSError, ValueError) as error:
            raise InputError(f"{path}: {_problems(error)[0]}") from error
        return rows

    def _spreads(self, tasks: Collection[str]) -> dict[tuple[str, str], dict[str, list[float]]]:
        """Return set and task -> track -> its row of `distributions.csv`.

        Raises:
            InputError: the file is missing or damaged.
        """
        spreads: dict[tuple[str, str], dict[str, list[float]]] = {}
        path = self.directory / "distributions.csv"
        if not tasks:
            return spreads
        columns = (*SPREAD_COLUMNS, *map(str, SHARES))
        try:
            _open(path, _LARGEST_TABLE).close()
            for number, row in enumerate(read_csv(path), start=2):
                values = [float(row[name]) for name in columns]
                if row["task"] not in tasks:
                    raise ValueError(f"line {number}: {row['task']!r} is not a task with a distribution")
                spreads.setdefault((row["part"], row["task"]), {})[row["track"]] = values
        except KeyError as error:
            raise InputError(f"{path}: cannot be read: it has no column {error}") from error
        except (OSError, ValueError) as error:
            raise InputError(f"{path}: {_problems(error)[0]}") from error
        return spreads


#: File of predictions -> its columns beside the set and the task.
_CELLS = {
    "predictions.csv": ("track", "target", "prediction"),
    "series.csv": ("track", "time", "target", "prediction"),
}


def _spread_over(task: TaskEvaluation, rows: Mapping[str, list[float]] | None) -> TaskEvaluation:
    """Return the evaluation with the scores of its predicted distributions, if there are any.

    Raises:
        InputError: the scores of a track are missing.
    """
    if rows is None:
        return task
    if missing := [track for track in task.ids if track not in rows]:
        raise InputError(f"distributions.csv has no row of track {missing[0]!r}")
    values = np.array([rows[track] for track in task.ids]).reshape(len(task.ids), -1)
    count = len(SPREAD_COLUMNS)
    deviation, crps, nll = values[:, :count].T
    return replace(task, spread=Spread(deviation, crps, nll, values[:, count:]))


def _column(
    name: str, task: Mapping[str, Any] | None, thresholds: Mapping[str, Any] | None
) -> _Column | _TagColumn | _PairColumn | _SeriesColumn:
    if task is None:
        raise ValueError(f"{name!r} is not a task of results.json")
    if task["kind"] == "pairs":
        return _PairColumn()
    if task["kind"] == "series":
        return _SeriesColumn()
    if task["kind"] != "tags":
        return _Column(task)
    tags = tuple(task.get("classes") or ())
    values = (thresholds or {}).get("values", {})
    if missing := [tag for tag in tags if tag not in values]:
        raise ValueError(f"results.json has no threshold of {name!r} for the tag {missing[0]!r}")
    return _TagColumn(tags, [values[tag] for tag in tags])


class _SeriesColumn:
    """Ratings over time of one task on one set, read line by line."""

    def __init__(self) -> None:
        self._rows: dict[str, list[tuple[float, float, float]]] = {}

    def __len__(self) -> int:
        return len(self._rows)

    def add(self, track: str, time: str, target: str, prediction: str) -> None:
        row = float(time), float(target), float(prediction)
        if not (math.isfinite(row[0]) and math.isfinite(row[1])):
            raise ValueError(f"the target of track {track!r} is {target} at {time} s")
        rows = self._rows.setdefault(track, [])
        if rows and rows[-1][0] >= row[0]:
            raise ValueError(f"the times of track {track!r} do not ascend: {rows[-1][0]!r}, then {time}")
        rows.append(row)

    def finish(self) -> TaskEvaluation:
        times, target, prediction = (
            [np.array([row[place] for row in rows]) for rows in self._rows.values()] for place in range(3)
        )
        return TaskEvaluation.of_series(tuple(self._rows), times, target, prediction)


class _TagColumn:
    """Predictions of the tags of one task on one set, read line by line."""

    def __init__(self, tags: Sequence[str], thresholds: Sequence[float]) -> None:
        self._tags, self._thresholds = tags, thresholds
        self._ids: dict[str, None] = {}
        self._target: list[list[float]] = []
        self._prediction: list[list[float]] = []

    def __len__(self) -> int:
        return len(self._ids)

    def add(self, track: str, target: str, prediction: str) -> None:
        if track in self._ids:
            raise ValueError(f"track {track!r} is there twice")
        self._ids[track] = None
        truth, probabilities = (self._read(track, cell) for cell in (target, prediction))
        if not set(truth.values()) <= {0, 1}:
            raise ValueError(f"the target of track {track!r} has values other than 0 and 1")
        if len(probabilities) < len(self._tags):
            raise ValueError(f"track {track!r} does not have a probability of every tag")
        if not all(0 <= value <= 1 for value in probabilities.values()):
            raise ValueError(f"track {track!r} has a probability outside [0, 1]")
        self._target.append([truth.get(tag, math.nan) for tag in self._tags])
        self._prediction.append([probabilities[tag] for tag in self._tags])

    def _read(self, track: str, cell: str) -> dict[str, float]:
        values = _parse(cell)
        numbers = isinstance(values, dict) and all(
            isinstance(value, int | float) and not isinstance(value, bool) for value in values.values()
        )
        if not numbers or set(values) - set(self._tags):
            raise ValueError(f"a cell of track {track!r} is not an object of tags and numbers: {cell[:80]}")
        return dict(values)

    def finish(self) -> TaskEvaluation:
        shape = len(self._ids), len(self._tags)
        target, prediction = (
            np.array(rows, dtype=np.float64).reshape(shape) for rows in (self._target, self._prediction)
        )
        return TaskEvaluation.of_tags(tuple(self._ids), target, prediction, self._tags, self._thresholds)


class _PairColumn:
    """Predictions of the pairs of one task on one set, read line by line."""

    def __init__(self) -> None:
        self._ids: dict[str, None] = {}
        self._values: list[tuple[list[float], list[float]]] = []

    def __len__(self) -> int:
        return len(self._ids)

    def add(self, track: str, target: str, prediction: str) -> None:
        if track in self._ids:
            raise ValueError(f"pair {track} is there twice")
        pair_members(track)
        self._ids[track] = None
        listeners, scores = (self._read(track, cell) for cell in (target, prediction))
        if min(listeners) < 0 or not any(listeners):
            raise ValueError(f"the numbers of listeners of pair {track} are {target}")
        self._values.append((listeners, scores))

    def _read(self, pair: str, cell: str) -> list[float]:
        values = _parse(cell)
        if not isinstance(values, list) or len(values) != 2:
            raise ValueError(f"a cell of pair {pair} is not a list of two numbers: {cell[:80]}")
        if not all(isinstance(one, int | float) and not isinstance(one, bool) for one in values):
            raise ValueError(f"a cell of pair {pair} is not a list of two numbers: {cell[:80]}")
        return [float(one) for one in values]

    def finish(self) -> TaskEvaluation:
        listeners, scores = (np.array(one).reshape(-1, 2) for one in zip(*self._values, strict=True))
        return TaskEvaluation("pairs", tuple(self._ids), listeners, scores)


class _Column:
    """Predictions of one task on one set, read line by line."""

    def __init__(self, task: Mapping[str, Any]) -> None:
        self._regression = task["kind"] == "regression"
        self._declared = tuple(task.get("classes") or ())
        self._classes = frozenset(self._declared)
        self._ids: dict[str, None] = {}
        self._target: list[Any] = []
        self._prediction: list[Any] = []

    def __len__(self) -> int:
        return len(self._ids)

    def add(self, track: str, target: str, prediction: str) -> None:
        if track in self._ids:
            raise ValueError(f"track {track!r} is there twice")
        self._ids[track] = None
        if self._regression:
            self._target.append(float(target))
            self._prediction.append(float(prediction))
            if not math.isfinite(self._target[-1]):
                raise ValueError(f"the target of track {track!r} is {target}")
            return
        for label in (target, prediction):
            if self._classes and label not in self._classes:
                raise ValueError(f"{label!r} is not a class ({', '.join(self._declared)})")
        self._target.append(target)
        self._prediction.append(prediction)

    def finish(self) -> TaskEvaluation:
        ids = tuple(self._ids)
        if self._regression:
            return TaskEvaluation("regression", ids, np.array(self._target), np.array(self._prediction))
        classes = list(self._declared) or sorted({*self._target, *self._prediction})
        places = {label: place for place, label in enumerate(classes)}

        def indices(labels: Sequence[str]) -> NDArray[np.intp]:
            return np.array([places[label] for label in labels], np.intp)

        return TaskEvaluation(
            "classification", ids, indices(self._target), indices(self._prediction), classes=classes
        )


def _read_object(path: Path, shape: type[BaseModel]) -> dict[str, Any]:
    content = _parse(_text(path, _LARGEST))
    shape.model_validate(content)
    return dict(content)


def _epochs(path: Path) -> list[dict[str, Any]]:
    records: list[dict[str, Any]] = []
    for number, line in enumerate(_text(path, _LARGEST).splitlines(), start=1):
        try:
            records.append(_parse(line))
            Epoch.model_validate(records[-1])
        except ValueError as error:
            raise ValueError(
                f"line {number}: {_problems(error)[0].removeprefix('cannot be read: ')}"
            ) from error
    return records


def _tables(text: str) -> dict[str, Any]:
    try:
        content = tomllib.loads(text)
    except RecursionError as error:
        raise ValueError(f"it is nested in more than {_DEEPEST} levels") from error
    _check_nesting(content)
    ExperimentFile.model_validate(content)
    return content


def _open(path: Path, largest: int) -> TextIO:
    """Open a regular text file of limited size."""
    descriptor = os.open(path, os.O_RDONLY | os.O_NONBLOCK | os.O_CLOEXEC)  # a pipe would be waited for
    file = os.fdopen(descriptor, encoding="utf-8")
    about = os.fstat(descriptor)
    if not stat.S_ISREG(about.st_mode) or about.st_size > largest:
        file.close()
        raise ValueError(
            f"it has {about.st_size:,} bytes; at most {largest:,} are read"
            if stat.S_ISREG(about.st_mode)
            else "it is not a file"
        )
    return file


def _text(path: Path, largest: int) -> str:
    with _open(path, largest) as file:
        return str(file.read())


def _parse(text: str) -> Any:
    """Parse JSON with finite numbers."""
    try:
        content = json.loads(text, parse_constant=_refuse, parse_float=_finite, parse_int=_short)
    except RecursionError as error:
        raise ValueError(f"it is nested in more than {_DEEPEST} levels") from error
    _check_nesting(content)
    if "\\ud" in text.lower():  # half of a character is no text, unless it is a byte of a file's name
        json.dumps(content, ensure_ascii=False).encode(errors="surrogateescape")
    return content


def _refuse(name: str) -> NoReturn:
    raise ValueError(f"{name} is not a number that JSON has")


def _finite(text: str) -> float:
    if not math.isfinite(value := float(text)):
        raise ValueError(f"{text[:_LONGEST]} is too large for a number")
    return value


def _short(text: str) -> int:
    if len(text) > _LONGEST:
        raise ValueError(f"{text[:_LONGEST]}... is too large for an integer")
    return int(text)


def _check_nesting(content: Any) -> None:
    level = [content]
    for _ in range(_DEEPEST):
        level = [
            inner
            for value in level
            if isinstance(value, dict | list)
            for inner in (value.values() if isinstance(value, dict) else value)
            if isinstance(inner, dict | list)
        ]
        if not level:
            return
    raise ValueError(f"it is nested in more than {_DEEPEST} levels")


def _problems(error: Exception, key: str = "") -> list[str]:
    """Return sentences about the problems of a file, each with its key."""
    if isinstance(error, ValidationError):
        details = error.errors(include_url=False, include_context=False)
        texts = []
        for one in details[:3]:
            place = ".".join(map(str, ([key] if key else []) + list(one["loc"])))
            message = plain_message(one)
            texts.append(f"{place}: {message}" if place else message)
        return [*texts, *([f"and {len(details) - 3} more"] if len(details) > 3 else [])]
    if isinstance(error, OSError):
        return [f"cannot be read: {error.strerror or error}"]
    return [f"cannot be read: {error}"]
