"""Ratings over time: the curves of single tracks, and the error of single moments."""

import numpy as np
import pytest

from musicemo.evaluation import Evaluation, TaskEvaluation
from musicemo.reporting.charts import Band, Line
from musicemo.reporting.sections.tracks import series_section

TASKS = {"valence": {"kind": "series", "range": [0.0, 1.0]}}


def evaluation(count):
    """Return tracks that are rated 0.5 in 10 moments, and predicted with an error of 0.0, 0.1, 0.2 and so on."""
    times = [np.arange(10.0)] * count
    target = [np.full(10, 0.5)] * count
    prediction = [one + 0.1 * place for place, one in enumerate(target)]
    ids = [f"track{place}" for place in range(count)]
    return Evaluation({"valence": TaskEvaluation.of_series(ids, times, target, prediction)})


def test_a_band_around_the_prediction_has_the_error_of_80_percent_of_the_moments():
    curves, _ = series_section(evaluation(5), TASKS, {}, "test").blocks
    best, median, worst = curves.charts
    band, _, predicted, _ = worst.marks
    assert isinstance(band, Band)
    assert isinstance(predicted, Line)
    assert predicted.y == pytest.approx(np.full(10, 0.9))
    assert band.low == pytest.approx(
        np.full(10, 0.9 - 0.4)
    )  # 41 of 50 moments, one more than 80 %, are within 0.4
    assert set(band.high) == {1.0}  # the end of the scale
    assert worst.y.low < 0.1  # that of the best: all have one axis
    assert best.y == median.y == worst.y
    assert (
        "80 % of all rated moments of the test set do not exceed: valence 0.4 (50 moments of 5 tracks;"
        in curves.note
    )


def test_without_held_out_tracks_the_error_is_said_to_be_unknown():
    for count, part, reason in (
        (5, "train", "no tracks are held out."),
        (3, "test", "it needs at least four tracks."),
    ):
        curves, _ = series_section(evaluation(count), TASKS, {}, part).blocks
        assert not any(isinstance(mark, Band) for chart in curves.charts for mark in chart.marks)
        assert curves.note.endswith(f"The error of single moments is unknown: {reason}")
