"""The plane of two emotions, such as valence and arousal: songs as points, and a song's course as a line."""

from __future__ import annotations

import re
from collections import Counter
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, replace
from typing import Any

import numpy as np

from musicemo.evaluation import Evaluation, TaskEvaluation
from musicemo.reporting.blocks import Charts, Section
from musicemo.reporting.charts import MUTED, Chart, Cursor, Line, Mark, Points, Rule, spanning
from musicemo.reporting.words import listed, number, plural

__all__ = ["Dimension", "course_marks", "plane_chart", "plane_section", "plane_tasks"]

_VALENCE = ("valence",)
_AROUSAL = ("arousal", "energy")

_JOINED = 60
"""Tracks whose true and predicted ratings are joined by lines in one chart; more have a chart for each."""

_MOST = 400
"""Tracks that are drawn."""

_COLOURED = 7
"""Classes with a color of their own; the others are grey."""

_OTHERS = "other classes"

JOINED = "A dot is at a track's true ratings, the ring at its predicted ones, and a line joins them."
APART = "A dot is a track: in one chart at its true ratings, in the other at its predicted ones."


@dataclass(frozen=True)
class Dimension:
    """A direction of the plane: a task, and the lowest and highest possible rating if they are recorded."""

    name: str
    range: Sequence[float] | None = None

    @property
    def label(self) -> str:
        """The name with the range: ``valence (1 to 9)``."""
        return f"{self.name} ({self.range[0]:g} to {self.range[1]:g})" if self.range else self.name

    @property
    def middle(self) -> float | None:
        """The middle of the range."""
        return sum(self.range) / 2 if self.range else None


def plane_chart(
    across: Dimension,
    up: Dimension,
    marks: Sequence[Mark],
    *,
    beside: Sequence[Mark] = (),
    title: str = "",
    description: str = "",
) -> Chart:
    """Return a square chart of two emotions, with lines at the middles of their ranges, which part the quadrants.

    Args:
        across: The emotion on the x axis, such as valence.
        up: The emotion on the y axis, such as arousal.
        marks: Points, lines and cursors, in the units of the ratings. The axes contain all of them.
        beside: Marks that the axes contain too: those of a chart that is compared with this one.
        title: Heading of the chart.
        description: The same in a sentence, for readers who cannot see it.
    """
    every = (*marks, *beside)
    x = spanning([value for mark in every for value in getattr(mark, "x", ())], across.label)
    y = spanning([value for mark in every for value in getattr(mark, "y", ())], up.label)
    rules = [
        *([Rule(across.middle)] if across.middle is not None and x.low < across.middle < x.high else []),
        *([Rule(up.middle, "y")] if up.middle is not None and y.low < up.middle < y.high else []),
    ]
    title = title or f"{across.name} and {up.name}"
    return Chart(title, x, y, [*rules, *marks], description, aspect=1)


def course_marks(
    times: Sequence[float], x: Sequence[float], y: Sequence[float], label: str = "", colour: int = 0
) -> list[Mark]:
    """Return the course of a song through the plane: a line, a ring at its start, and a cursor that follows the player.

    Args:
        times: Seconds from the start of the audio, in ascending order, such as the middles of the windows.
        x: The first emotion at each time.
        y: The second emotion at each time.
        label: Name in the legend.
        colour: Number of the color.
    """
    return [
        Line(x, y, label, colour),
        Points(x, y, colour=colour, titles=[f"{time:.1f} s" for time in times]),
        Points(x[:1], y[:1], "start", colour, ring=True, titles=["start"]),
        Cursor(times, x, y),
    ]


def plane_tasks(evaluation: Evaluation) -> tuple[str, str] | None:
    """Return the tasks across and up: valence and arousal (or energy), else the two that are predicted best.

    None with fewer than two tasks of ratings. A task is valence if its name has the word: ``valence``,
    ``mean_valence``.
    """
    ratings = {
        name: task
        for name, task in evaluation.tasks.items()
        if task.kind in ("regression", "series") and len(task.ids)
    }
    valence, arousal = _named(ratings, _VALENCE), _named(ratings, _AROUSAL)
    if valence and arousal and valence != arousal:
        return valence, arousal
    scores = {name: task.metric(task.names[0]) for name, task in ratings.items()}
    best = sorted((name for name in ratings if np.isfinite(scores[name])), key=lambda name: -scores[name])
    return (best[0], best[1]) if len(best) > 1 else None


def _named(tasks: Mapping[str, TaskEvaluation], words: Sequence[str]) -> str:
    """Return the task with the shortest name that has one of the words; empty if there is none."""
    named = [name for word in words for name in tasks if word in re.split(r"[\W_]+", name.casefold())]
    return min(named, key=len, default="")


def plane_section(evaluation: Evaluation, tasks: Mapping[str, Mapping[str, Any]]) -> Section:
    """Return the section on two emotions of each track; empty with fewer than two tasks of ratings.

    Tracks have the color of their class if there is a classification. A track that is rated over time is at the mean
    of its ratings.

    Args:
        evaluation: Predictions and targets.
        tasks: task -> its ``range``.
    """
    names = plane_tasks(evaluation)
    songs = _songs(evaluation, names) if names else []
    if names is None or len(songs) < 2:
        return Section("", [])
    across, up = (Dimension(name, tasks.get(name, {}).get("range")) for name in names)
    more = ""
    if len(songs) > _MOST:
        more = f" {_MOST} of the {len(songs)} tracks are drawn, at equal steps of their order."
        songs = [songs[place] for place in np.linspace(0, len(songs) - 1, _MOST).astype(int)]
    true, predicted = (_points(songs, names, predicted=predicted) for predicted in (False, True))
    about = f"ratings of {plural(len(songs), 'track')} in the plane of {listed(names)}"
    classes = any(song.label for song in songs)
    if len(songs) <= _JOINED:
        rings = [replace(points, ring=True, label="" if classes else "predicted") for points in predicted]
        dots = true if classes else [replace(points, label="true") for points in true]
        title = "true and predicted ratings"
        marks: list[Mark] = [*_lines(songs), *rings, *dots]
        charts = [plane_chart(across, up, marks, title=title, description=f"True and predicted {about}")]
    else:
        charts = [
            plane_chart(
                across, up, shown, beside=others, title=f"{title} ratings", description=f"{title} {about}"
            )
            for title, shown, others in (("true", true, predicted), ("predicted", predicted, true))
        ]
    note = JOINED if len(songs) <= _JOINED else APART
    if classes:
        note += " Colours are the true classes."
    charts = [replace(chart, name=f"plane-{chart.title}") for chart in charts]
    return Section(f"Plane of {listed(names)}", [Charts(charts, note=note + more, large=True)])


@dataclass(frozen=True)
class _Song:
    """A track with both ratings."""

    track: str
    #: True and predicted ratings, each across and up.
    true: tuple[float, float]
    predicted: tuple[float, float]
    #: True class.
    label: str

    def title(self, names: Sequence[str]) -> str:
        """Return its ratings as text."""
        pairs = zip(names, self.true, self.predicted, strict=True)
        ratings = [
            f"{name} {number(true, '.3g')} (predicted {number(guess, '.3g')})" for name, true, guess in pairs
        ]
        return f"{self.track}: {', '.join(ratings)}"


def _songs(evaluation: Evaluation, names: tuple[str, str]) -> list[_Song]:
    """Return the tracks that have both ratings."""
    labels: dict[str, str] = {}
    for task in evaluation.tasks.values():
        if task.kind == "classification" and not labels:
            labels = {track: task.classes[place] for track, place in zip(task.ids, task.target, strict=True)}
    across, up = (_ratings(evaluation.tasks[name]) for name in names)
    return [
        _Song(track, (x[0], y[0]), (x[1], y[1]), labels.get(track, ""))
        for track, x in across.items()
        if (y := up.get(track))
    ]


def _ratings(task: TaskEvaluation) -> dict[str, tuple[float, float]]:
    """Return track -> true and predicted rating, of series their means over the rated times."""
    values = [task.target, task.prediction]
    if task.kind == "series":
        values = [np.array([row.mean() for row in task.rows(name)]) for name in ("target", "prediction")]
    return dict(zip(task.ids, zip(*(one.tolist() for one in values), strict=True), strict=True))


def _colours(songs: Sequence[_Song]) -> dict[str, int]:
    """Return class -> number of its color, of the most frequent classes."""
    counts = Counter(song.label for song in songs)
    return {label: place for place, (label, _) in enumerate(counts.most_common(_COLOURED))}


def _points(songs: Sequence[_Song], names: Sequence[str], *, predicted: bool) -> list[Points]:
    """Return the points of each class."""
    colours = _colours(songs)
    groups: dict[str, list[_Song]] = {label: [] for label in [*colours, _OTHERS]}
    for song in songs:
        groups[song.label if song.label in colours else _OTHERS].append(song)
    marks = []
    for label, some in groups.items():
        places = [song.predicted if predicted else song.true for song in some]
        if places:
            x, y = zip(*places, strict=True)
            titles, tracks = [song.title(names) for song in some], [song.track for song in some]
            marks.append(Points(x, y, label, colours.get(label, MUTED), titles=titles, tracks=tracks))
    return marks


def _lines(songs: Sequence[_Song]) -> list[Line]:
    """Return a line between the true and the predicted ratings of each track."""
    pairs = ((song.true, song.predicted) for song in songs)
    return [Line((a[0], b[0]), (a[1], b[1]), colour=MUTED, faint=True) for a, b in pairs]
