"""A song's course through the plane of two emotions, among the predictions of held-out tracks."""

from __future__ import annotations

from collections.abc import Sequence

import numpy as np

from musicemo.evaluation import Evaluation
from musicemo.listening.analysis import Heard, Rating
from musicemo.listening.uncertainty import HeldOut
from musicemo.reporting.charts import MUTED, Chart, Cursor, Line, Mark, Points
from musicemo.reporting.sections.plane import Dimension, course_marks, plane_chart, plane_tasks

__all__ = ["course_chart", "default_emotions"]

_STEPS = 200
"""Steps of a course that are drawn, at most."""

_OTHERS = 400
"""Held-out tracks that are drawn, at most."""


def default_emotions(heard: Heard, held_out: HeldOut) -> tuple[str, str] | None:
    """Return the emotions across and up: valence and arousal or energy, else those that are predicted best.

    Without held-out tracks, they are the first two. None for a song with fewer than two ratings.
    """
    names = [rating.name for rating in heard.ratings]
    if len(names) < 2:
        return None
    evaluated = {name: held_out.tasks[name][0] for name in names if name in held_out.tasks}
    return plane_tasks(Evaluation(evaluated)) or (names[0], names[1])


def course_chart(heard: Heard, held_out: HeldOut, across: str, up: str) -> Chart:
    """Return the chart of a song's course, its interval, and the predictions of held-out tracks.

    Args:
        heard: The song.
        held_out: The predictions of held-out tracks.
        across: The emotion on the x axis.
        up: The emotion on the y axis.

    Raises:
        KeyError: The song has no such rating.
    """
    ratings = {rating.name: rating for rating in heard.ratings}
    x, y = ratings[across], ratings[up]
    steps = np.unique(np.linspace(0, len(x.times) - 1, _STEPS).astype(int))
    times, x_curve = x.times[steps], x.curve[steps]
    y_curve = np.interp(times, y.times, y.curve)
    course = course_marks(times.tolist(), x_curve.tolist(), y_curve.tolist(), "over time")
    last = np.append(x_curve, x_curve[-1]), np.append(y_curve, y_curve[-1])
    follows = (
        Cursor(  # from the beginning to the end, also outside the middles of the first and the last window
            [0.0, *times.tolist(), heard.duration],
            [float(x_curve[0]), *last[0].tolist()],
            [float(y_curve[0]), *last[1].tolist()],
        )
    )
    marks: list[Mark] = [
        *_others(held_out, across, up),
        *_intervals(x, y),
        *(mark for mark in course if not isinstance(mark, Cursor)),
        *_label(x, y),
        follows,
    ]
    dimensions = [Dimension(one.name, one.range) for one in (x, y)]
    return plane_chart(
        dimensions[0],
        dimensions[1],
        marks,
        description=f"Course of {heard.title} through the plane of {across} and {up}",
    )


def _others(held_out: HeldOut, across: str, up: str) -> Sequence[Mark]:
    """Return the predictions of the held-out tracks that have both."""
    x, y = held_out.predictions(across), held_out.predictions(up)
    tracks = [track for track in x if track in y]
    if not tracks:
        return []
    tracks = [tracks[place] for place in np.unique(np.linspace(0, len(tracks) - 1, _OTHERS).astype(int))]
    values = [[ratings[track] for track in tracks] for ratings in (x, y)]
    return [Points(values[0], values[1], "held-out tracks, predicted", MUTED, titles=tracks)]


def _intervals(x: Rating, y: Rating) -> Sequence[Mark]:
    """Return the prediction of the whole song, with its intervals as a cross."""
    marks: list[Mark] = []
    if x.interval:
        marks.append(Line(x.interval, [y.value, y.value], "whole song, with its intervals", 1))
    if y.interval:
        marks.append(Line([x.value, x.value], y.interval, "whole song, with its intervals", 1))
    return [*marks, Points([x.value], [y.value], "whole song, with its intervals", 1, titles=["whole song"])]


def _label(x: Rating, y: Rating) -> Sequence[Mark]:
    if x.label is None or y.label is None:
        return []
    return [
        Points([x.label], [y.label], "rating in the dataset", 2, ring=True, titles=["rating in the dataset"])
    ]
