"""Predictions of a song, and evaluations of trained runs."""

from __future__ import annotations

from collections.abc import Sequence
from typing import TYPE_CHECKING

from musicemo.reporting.blocks import Block, Cell, Column, Number, Table, Text
from musicemo.reporting.sections import scores
from musicemo.reporting.words import SETS, plural

if TYPE_CHECKING:
    from musicemo.prediction import RunEvaluation, SongPrediction, TaskPrediction

__all__ = ["evaluation_blocks", "song_blocks"]

#: Number of classes, and of tags, in the tables; the other formats have all of them.
_CLASSES, _TAGS = 3, 8


def song_blocks(prediction: SongPrediction) -> list[Block]:
    """Return a song's ratings, and its most probable classes and tags."""
    count = max(len(prediction.windows_of(name)) for name in prediction.tasks)
    windows = len(prediction.windows) if any(task.steps is None for task in prediction.tasks.values()) else 1
    length = prediction.windows[0][1] - prediction.windows[0][0]
    unit = "s" if prediction.timed else "time steps"
    over = f", {windows} windows of about {length:.0f} {unit}" if windows > 1 else ""
    duration = (
        f"{prediction.duration:.1f} s" if prediction.timed else plural(round(prediction.duration), "time step")
    )
    several = any(task.deviation is not None for task in prediction.tasks.values())
    columns = ["± over runs"] * several + ["lowest", "highest"] * (count > 1)
    spread = any(task.spread is not None for task in prediction.tasks.values())
    ratings: list[list[Cell]] = []
    classes: list[list[Cell]] = []
    tags: list[list[Cell]] = []
    for name, task in prediction.tasks.items():
        if task.kind == "pairs":
            ratings.append([name, *_numbers(task, (), count), *_listeners(task, spread), "score"])
            continue
        if task.kind in ("regression", "series"):
            low, high = task.range
            ratings.append(
                [name, *_numbers(task, (), count), *_listeners(task, spread), f"{low:g} to {high:g}"]
            )
            continue
        if task.thresholds is not None:
            for place in task.ranked[:_TAGS]:
                limit = float(task.thresholds[place])
                predicted = "yes" if task.value[place] >= limit else "no"
                tags.append(
                    [
                        f"{name}: {task.classes[place]}",
                        *_numbers(task, (place,), count),
                        Number(limit),
                        predicted,
                    ]
                )
            continue
        for place in task.ranked[:_CLASSES]:
            classes.append([f"{name}: {task.classes[place]}", *_numbers(task, (place,), count)])
    blocks: list[Block] = [Text(f": {duration}{over}", lead=str(prediction.song))]
    if ratings:
        listeners = ["± over listeners"] * spread
        blocks.append(Table(["emotion", "rating", *columns, *listeners, "range"], ratings))
    if classes:
        blocks.append(Table(["class", "probability", *columns], classes))
    if tags:
        blocks.append(
            Table(["tag", "probability", *columns, "threshold", Column("predicted", text=True)], tags)
        )
    if beyond := [name for name, task in prediction.tasks.items() if task.beyond]:
        blocks.append(
            Text(
                f"Outside the range of the ratings: {', '.join(beyond)}. Predictions are not clipped; those of a run "
                'whose head has output = "sigmoid" stay inside.'
            )
        )
    return blocks


def _listeners(task: TaskPrediction, shown: bool) -> list[Cell]:
    """Return the predicted deviation of the listeners' ratings, if the table has a column for it."""
    return [Number(task.listeners_deviation)] if shown else []


def _numbers(task: TaskPrediction, place: tuple[int, ...], windows: int) -> list[Cell]:
    """Return the value, its deviation over the runs, and its extremes over the windows or the steps."""
    numbers = [float(task.value[place])]
    if (deviation := task.deviation) is not None:
        numbers.append(float(deviation[place]))
    if windows > 1:
        curve = task.curve[:, place[0]] if place else task.curve
        numbers += [float(curve.min()), float(curve.max())]
    return [Number(number) for number in numbers]


def evaluation_blocks(evaluations: Sequence[RunEvaluation]) -> list[Block]:
    """Return the metrics of each evaluated run, then their means and standard deviations."""
    blocks: list[Block] = []
    metrics = []
    for one in evaluations:
        metrics.append(one.metrics())
        text = f" on {one.dataset}: {SETS[one.part]}, {plural(one.tracks, 'track')}"
        blocks.append(Text(text, lead=str(one.run.directory)))
        blocks += [*scores.metric_tables(metrics[-1]), *scores.class_tables(metrics[-1])]
        blocks += scores.tag_tables(metrics[-1])
    if len(evaluations) > 1:
        blocks += scores.spread_blocks(evaluations[0].run.record.name, evaluations[0].part, metrics)
    return blocks
