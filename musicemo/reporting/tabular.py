"""Predictions, evaluations and comparisons as JSON and CSV."""

from __future__ import annotations

import dataclasses
import json
import math
from collections.abc import Iterable, Iterator, Sequence
from typing import TYPE_CHECKING, Any

import numpy as np
from numpy.typing import NDArray

from musicemo.comparison import Comparison, Row
from musicemo.evaluation import SCORES, finite
from musicemo.features import Failure
from musicemo.files import csv_text
from musicemo.prediction import RunEvaluation, SongPrediction, TaskPrediction, TrainedEnsemble, TrainedRun
from musicemo.reporting.sections.comparison import notes, verdicts

if TYPE_CHECKING:
    from musicemo.running.cross import Cross

__all__ = [
    "comparison_csv",
    "comparison_json",
    "cross_csv",
    "evaluations_csv",
    "evaluations_json",
    "predictions_csv",
    "predictions_json",
    "stream_csv",
    "stream_json",
]


def predictions_json(
    runs: Sequence[TrainedRun | TrainedEnsemble], songs: Iterable[SongPrediction | Failure]
) -> dict[str, Any]:
    """Return the predictions in the JSON form of `docs/prediction.md`."""
    return {"runs": [str(run.directory) for run in runs], "songs": [_song_json(song) for song in songs]}


def stream_json(
    runs: Sequence[TrainedRun | TrainedEnsemble], songs: Iterable[SongPrediction | Failure]
) -> Iterator[tuple[str, str]]:
    """Yield `predictions_json` as text, song by song. Each piece comes with the text that completes the document."""
    text = json.dumps(predictions_json(runs, []), indent=2, allow_nan=False)
    opening, closing = text[: text.rindex("]")], text[text.rindex("]") :] + "\n"
    yield opening, closing
    indent = "\n    "
    for number, song in enumerate(songs):
        piece = json.dumps(_song_json(song), indent=2, allow_nan=False).replace("\n", indent)
        yield ("," if number else "") + indent + piece, f"\n  {closing}"


def _song_json(song: SongPrediction | Failure) -> dict[str, Any]:
    if isinstance(song, Failure):
        return {"song": str(song.path), "error": song.reason}
    return {
        "song": song.song,
        **({} if song.timed else {"unit": "time steps"}),
        "duration": round(song.duration, 3),
        "windows": song.windows.round(3).tolist(),
        "tasks": {name: _task_json(task) for name, task in song.tasks.items()},
    }


def _task_json(task: TaskPrediction) -> dict[str, Any]:
    deviation = task.deviation
    if task.kind in ("regression", "pairs", "series"):
        return {
            "kind": task.kind,
            **({} if task.kind == "pairs" else {"range": list(task.range)}),
            "value": float(task.value),
            "deviation": None if deviation is None else float(deviation),
            "curve": task.curve.tolist(),
            **({} if task.steps is None else {"steps": task.steps.round(3).tolist()}),
            **({} if task.spread is None else {"listeners_deviation": task.listeners_deviation}),
        }
    if task.thresholds is not None:
        value: Any = [
            task.classes[place] for place in task.ranked if task.value[place] >= task.thresholds[place]
        ]
        more = {"thresholds": _by_class(task, task.thresholds)}
    else:
        value, more = task.classes[int(task.value.argmax())], {}
    return {
        "kind": task.kind,
        "value": value,
        **more,
        "probabilities": _by_class(task, task.value),
        "deviations": None if deviation is None else _by_class(task, deviation),
        "curves": _by_class(task, task.curve.T),
    }


def _by_class(task: TaskPrediction, values: NDArray[np.float64]) -> dict[str, Any]:
    return dict(zip(task.classes, values.tolist(), strict=True))


def predictions_csv(songs: Iterable[SongPrediction | Failure]) -> str:
    """Return a row for each song, task and class, followed by one for each window if the song has several.

    Columns: song, task, class, window (empty for the whole song), start, end, value, deviation over the runs,
    predicted deviation of the listeners' ratings.
    Songs that failed have no row.
    """
    return "".join(text for text, _ in stream_csv(songs))


def stream_csv(songs: Iterable[SongPrediction | Failure]) -> Iterator[tuple[str, str]]:
    """Yield the text of `predictions_csv`, song by song, in the form of `stream_json`; the completing text is empty."""
    yield (
        csv_text(
            [("song", "task", "class", "window", "start", "end", "value", "deviation", "listeners_deviation")]
        ),
        "",
    )
    for song in songs:
        if not isinstance(song, Failure):
            yield csv_text(_song_rows(song)), ""


def _song_rows(song: SongPrediction) -> Iterator[Sequence[Any]]:
    for name, task in song.tasks.items():
        windows = song.windows_of(name)
        curve, spread = task.curve, task.curve_deviation
        for index, label in enumerate(task.classes or [""]):
            select = (index,) if task.classes else ()
            whole = _pair(task.value, task.deviation, select)
            listeners = "" if task.spread is None else repr(task.listeners_deviation)
            yield song.song, name, label, "", "0.000", f"{song.duration:.3f}", *whole, listeners
            for number, (start, end) in enumerate(windows if len(windows) > 1 else ()):
                pair = _pair(curve, spread, (number, *select))
                over_listeners = task.listeners_curve
                listeners = "" if over_listeners is None else repr(float(over_listeners[number]))
                yield song.song, name, label, number, f"{start:.3f}", f"{end:.3f}", *pair, listeners


def _pair(value: Any, deviation: Any, place: tuple[int, ...]) -> tuple[str, str]:
    return repr(float(value[place])), "" if deviation is None else repr(float(deviation[place]))


def evaluations_json(evaluations: Sequence[RunEvaluation]) -> dict[str, Any]:
    """Return the evaluations in the JSON form of `docs/prediction.md`; metrics are as in `results.json`."""
    return {
        "dataset": evaluations[0].dataset,
        "part": evaluations[0].part,
        "runs": [
            {
                "run": str(evaluation.run.directory),
                "seed": evaluation.run.results.get("seed"),
                "fold": evaluation.run.results.get("fold"),
                "tracks": evaluation.tracks,
                "metrics": evaluation.metrics(),
            }
            for evaluation in evaluations
        ],
    }


def evaluations_csv(evaluations: Sequence[RunEvaluation]) -> str:
    """Return a row for each run, task and metric; undefined values are empty."""
    rows: list[Sequence[Any]] = [("run", "dataset", "part", "task", "metric", "value", "low", "high", "tracks")]
    for evaluation in evaluations:
        for task, metrics in evaluation.metrics().items():
            for name in SCORES:
                if name in metrics:
                    values = (metrics[name][end] for end in ("value", "low", "high"))
                    shown = ("" if value is None else repr(value) for value in values)
                    where = (str(evaluation.run.directory), evaluation.dataset, evaluation.part)
                    rows.append((*where, task, name, *shown, metrics["tracks"]))
    return csv_text(rows)


def comparison_json(comparison: Comparison) -> dict[str, Any]:
    """Return the shape that `docs/evaluation.md` describes; what is not defined is null."""
    return {
        "part": comparison.part,
        "confidence": comparison.settings.confidence,
        "resamples": comparison.settings.resamples,
        "experiments": [
            {
                "name": one.name,
                "seeds": one.seeds,
                "folds": one.folds,
                "hashes": list(one.hashes),
                "runs": [str(path) for path in one.directories],
            }
            for one in comparison.experiments
        ],
        "rows": [_row_json(row) for row in comparison.rows],
        "averages": [_row_json(row) for row in comparison.averages],
        "improvements": [_json(dataclasses.asdict(one)) for one in comparison.improvements],
        "rankings": [
            {
                "metric": one.metric,
                "tasks": list(one.tasks),
                "means": _json(dict(one.means)),
                "pairs": [
                    {"better": better, **_json(dataclasses.asdict(difference))}
                    for (better, _), difference in one.pairs.items()
                ],
            }
            for one in comparison.rankings
        ],
        "identical": [list(pair) for pair in comparison.identical],
        "verdicts": verdicts(comparison),
        "notes": notes(comparison),
    }


def _row_json(row: Row) -> dict[str, Any]:
    names = {
        "task": row.task or None,
        "higher_is_better": row.higher_is_better,
        "baseline": row.baseline or None,
    }
    return {**_json(dataclasses.asdict(row)), **names}


def _json(value: Any) -> Any:
    """Return nested values as JSON has them: lists, and null for a number that is not defined."""
    if isinstance(value, dict):
        return {name: _json(inner) for name, inner in value.items()}
    if isinstance(value, list | tuple):
        return [_json(inner) for inner in value]
    return finite(value) if isinstance(value, float) else value


def cross_csv(cross: Cross) -> str:
    """Return a row for each task, metric, training set and tested dataset; cells that are not defined are empty."""
    rows = [dataclasses.asdict(cell) for cell in cross.cells]
    values = [["" if value is None else _cell(value) for value in row.values()] for row in rows]
    return csv_text([list(rows[0]), *values])


_COLUMNS = ("task", "metric", "experiment", "seeds", "tracks", "mean", "deviation", "low", "high")
_DIFFERENCE = ("baseline", "value", "low", "high", "p", "corrected", "paired")


def comparison_csv(comparison: Comparison) -> str:
    """Return a row for each task, metric and experiment; the mean over tasks has no task, Delta-m is a metric.

    Cells that are not defined, such as a baseline's difference, are empty.
    """
    rows: list[list[Any]] = [
        [*_COLUMNS, *(name if name == "baseline" else f"difference_{name}" for name in _DIFFERENCE)]
    ]
    for row in (*comparison.rows, *comparison.averages):
        for score in row.scores:
            numbers = [score.mean, score.deviation, score.low, score.high]
            cells: list[Any] = [row.task, row.metric, score.experiment, len(score.values), score.tracks]
            cells += [_cell(number) for number in numbers]
            if score.difference:
                cells += [_cell(getattr(score.difference, name)) for name in _DIFFERENCE]
            else:
                cells += [""] * len(_DIFFERENCE)
            rows.append(cells)
    for one in comparison.improvements:
        cells = ["", "delta_m", one.experiment, "", "", _cell(one.value), "", _cell(one.low), _cell(one.high)]
        rows.append([*cells, *[""] * len(_DIFFERENCE)])
    return csv_text(rows)


def _cell(value: Any) -> str:
    if isinstance(value, float):
        return repr(value) if math.isfinite(value) else ""
    return str(value).lower() if isinstance(value, bool) else str(value)
