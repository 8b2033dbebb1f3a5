import io
from dataclasses import replace

import numpy as np
import pytest
from clips import columns, song_features

from musicemo.features import Analysis, Recipe
from musicemo.prediction import Predictor, TaskPrediction, find_runs
from musicemo.reporting.song_figure import song_figure

#: Frames of a time step of half a second.
_FRAMES = 21


@pytest.fixture
def predict(replicates):
    def of(count, name="song.mp3", **how):
        prediction = Predictor(find_runs(replicates), **how).predict(name, song_features(count))
        beat = columns(count)
        frame = np.repeat(beat, _FRAMES, axis=1)
        return prediction, Analysis(frame, beat, np.arange(1, count) * _FRAMES, Recipe())

    return of


def drawn(figure):
    file = io.BytesIO()
    figure.savefig(file, format="png")
    assert file.getvalue().startswith(b"\x89PNG")
    return figure.axes


def labels(axes):
    return [axis.get_ylabel() for axis in axes]


@pytest.mark.slow
def test_a_long_song_has_spectrogram_curves_and_classes(predict):
    prediction, found = predict(60)
    spectrogram, emotions, classes, *_ = drawn(song_figure(prediction, found))
    assert labels([spectrogram, emotions, classes]) == ["Hz", "valence", "genre: probability"]
    (line,) = (line for line in emotions.lines if line.get_label().startswith("valence"))
    np.testing.assert_allclose(line.get_ydata(), prediction.tasks["valence"].curve)
    np.testing.assert_allclose(line.get_xdata(), prediction.windows.mean(axis=1))
    assert "±" in line.get_label()
    assert spectrogram.get_title().endswith(f"({prediction.duration:.1f} s, 59 beats)")
    assert len(spectrogram.collections[0].get_segments()) == 59


@pytest.mark.slow
def test_a_short_song_has_lines_from_end_to_end_and_bars(predict):
    prediction, found = predict(8)
    _, emotions, classes, *_ = drawn(song_figure(prediction, found))
    (line,) = (line for line in emotions.lines if line.get_label().startswith("valence"))
    np.testing.assert_allclose(line.get_xdata(), [0, prediction.duration])
    assert len(set(line.get_ydata())) == 1
    assert sorted(bar.get_width() for bar in classes.patches) == pytest.approx(
        sorted(prediction.tasks["genre"].value)
    )


@pytest.mark.slow
def test_emotions_of_one_range_share_a_panel(predict):
    prediction, found = predict(40)
    task = prediction.tasks["valence"]
    tasks = {"a": task, "b": task, "c": replace(task, range=(0.0, 100.0))}
    panels = drawn(song_figure(replace(prediction, tasks=tasks), found))
    assert labels(panels)[:3] == ["Hz", "rating", "c"]


@pytest.mark.slow
def test_predictions_beyond_the_range_are_seen(predict):
    prediction, found = predict(40)
    task = prediction.tasks["valence"]
    axes = drawn(song_figure(replace(prediction, tasks={"a": replace(task, values=task.values + 10)}), found))[
        1
    ]
    assert axes.get_ylim()[1] > task.curve.max() + 10


@pytest.mark.slow
def test_many_classes_and_many_emotions_fit(predict):
    prediction, found = predict(40)
    values = np.random.default_rng(0).dirichlet(np.ones(30), size=(1, len(prediction.windows)))
    many = TaskPrediction("classification", (0, 1), [f"class {index}" for index in range(30)], values)
    emotions = {f"emotion {index}": prediction.tasks["valence"] for index in range(12)}
    axes = drawn(song_figure(replace(prediction, tasks={**emotions, "genre": many}), found))
    assert axes[2].get_legend().get_texts()[-1].get_text().startswith("22 others")


@pytest.mark.slow
@pytest.mark.parametrize(
    "name", ["a $x_1$ {b}.mp3", "\udcff.mp3", "folder/" + "long " * 60 + ".mp3", "x\ny.mp3"]
)
def test_odd_names_are_drawn(predict, name):
    drawn(song_figure(*predict(8, name)))


@pytest.mark.slow
def test_an_hour_is_drawn_as_well(predict):
    prediction, found = predict(7000)
    assert prediction.duration > 3000
    spectrogram = drawn(song_figure(prediction, found))[0]
    assert spectrogram.get_images()[0].get_array().shape[1] <= 2000
    assert spectrogram.get_xlabel() == "minutes:seconds"
