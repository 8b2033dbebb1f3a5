"""Ratings over time from their tracks to the report."""

from __future__ import annotations

import json
import shutil
from collections.abc import Iterator

import numpy as np
import pytest
import torch
from harness import Average, assemble, load, printed, results_of, run_all
from musicemo_builtin.models.mean import Mean
from musicemo_builtin.observers.tensorboard import TensorBoard, _text

from musicemo.comparison import compare, read_replicates
from musicemo.contracts import Series, Target, Track
from musicemo.data import summarize
from musicemo.errors import InputError
from musicemo.evaluation import SERIES, EvaluationSettings
from musicemo.features import Analysis, Recipe
from musicemo.files import read_csv
from musicemo.prediction import Predictor, SongPrediction, TaskPrediction, TrainedRun, evaluate_run
from musicemo.prediction.export import export_onnx
from musicemo.reporting import make_report
from musicemo.reporting.charts import Cursor
from musicemo.reporting.html import render
from musicemo.reporting.sections.songs import song_blocks
from musicemo.reporting.song_figure import song_figure
from musicemo.reporting.tabular import predictions_csv, predictions_json
from musicemo.running.preview import check_experiment
from musicemo.runs import open_run

EXPERIMENT = """\
name = "moving"
dataset.type = "moving"
model.type = "steps"
head = { hidden = [], dropout = 0.0 }
training.epochs = 4
training.batch_size = 16
training.device = "cpu"
training.early_stopping.monitor = "val/arousal/song_pearson"
training.optimizer = { type = "adam", lr = 0.05 }
evaluation.resamples = 100
split.stratify = "arousal"
tasks.arousal.loss = [{ type = "mse" }, { type = "ccc", weight = 0.1 }]
tasks.arousal.smoothing = 1.0
tasks.valence.loss.type = "mse"
"""


class Moving:
    """Tracks whose first row is their arousal, two ratings for three time steps; some times are not rated."""

    targets = (
        Target("arousal", "series", range=(-1.0, 1.0)),
        Target("valence", "regression", range=(1.0, 9.0)),
    )
    rate = 3.0

    def __init__(self, tracks: int = 60) -> None:
        self._tracks = tracks

    def tracks(self) -> Iterator[Track]:
        random = np.random.default_rng(0)
        for index in range(self._tracks):
            steps = 30 + index % 7
            features = random.normal(size=(steps, 4)).astype(np.float32)
            truth = np.sin(np.arange(steps) / random.uniform(2, 6) + index) * 0.8
            features[:, 0] = truth + 0.1 * random.normal(size=steps)
            times = np.arange(0.5, steps / 3, 0.5)
            values = np.interp(times, (np.arange(steps) + 0.5) / 3, truth)
            if index % 5 == 0:
                values[3:5] = np.nan
            listeners = [Series(np.clip(values + shift, -1, 1), 0.5, 2.0) for shift in (-0.05, 0.05)]
            yield Track(
                f"track{index:03d}",
                features,
                {
                    "arousal": None if index % 20 == 0 else Series(values, 0.5, 2.0),
                    "valence": float(5 + truth.mean()),
                },
                ratings={} if index % 20 == 0 else {"arousal": listeners},
            )


class Steps(Average):
    """The features as they are."""

    def __init__(self, *, input_size: int) -> None:
        super().__init__(input_size=input_size)
        self.sequence_size = input_size

    def sequence(self, x, lengths):
        return x


@pytest.fixture
def components(fakes_beside, one_thread):
    fakes_beside("dataset", "moving", Moving)
    fakes_beside("model", "steps", Steps)
    fakes_beside("model", "average", Average)
    return fakes_beside


@pytest.fixture(scope="module")
def folder(tmp_path_factory):
    return tmp_path_factory.mktemp("moving")


@pytest.fixture
def runs(components, folder):
    """Return the folder with the runs of two seeds; do not write to it."""
    if not (folder / "runs").exists():
        run_all(folder, "seeds=[0, 1]", text=EXPERIMENT)
    return folder / "runs" / "moving"


@pytest.fixture
def directory(runs):
    return sorted(path for path in runs.iterdir() if path.is_dir())[0]


def test_a_run_learns_curves_and_records_their_scores(directory):
    results = results_of(directory)
    assert results["tasks"]["arousal"] == {
        "kind": "series",
        "target": "arousal",
        "range": [-1.0, 1.0],
        "smoothing": 1.0,
    }
    arousal = results["metrics"]["test"]["arousal"]
    assert arousal["song_pearson"]["low"] < arousal["song_pearson"]["value"] < arousal["song_pearson"]["high"]
    assert arousal["song_pearson"]["value"] > 0.9
    assert set(arousal["deviations"]) == {"song_pearson", "song_rmse", "song_ccc"}
    assert "spearman" in results["metrics"]["test"]["valence"]
    epoch = json.loads((directory / "history.jsonl").read_text().splitlines()[-1])
    assert {name for name in epoch if name.startswith("val/arousal/")} == {
        f"val/arousal/{name}" for name in ("loss", *SERIES)
    }
    assert results["monitor"] == {"name": "val/arousal/song_pearson", "mode": "max"}
    ceiling = results["reliability"]["arousal"]
    assert ceiling["raters"] == {"min": 2, "median": 2.0, "max": 2}
    assert ceiling["song_pearson"]["ceiling"] == pytest.approx(
        1.0
    )  # the two listeners differ in their level only
    assert ceiling["song_pearson"]["reached"]["test"]["value"] == pytest.approx(
        arousal["song_pearson"]["value"]
    )
    assert 0.9 < ceiling["pooled_pearson"]["ceiling"] < 1
    assert "smoothing = 1.0" in (directory / "experiment.toml").read_text()


def test_predictions_are_read_as_they_were_made(directory):
    record = open_run(directory)
    for part, evaluation in record.evaluations.items():
        task = evaluation.tasks["arousal"]
        recorded = record.metrics[part]["arousal"]
        assert {name: task.metric(name) for name in SERIES} == {
            name: recorded[name]["value"] for name in SERIES
        }
    rows = [row for row in read_csv(directory / "series.csv") if row["track"] == "track005"]
    truth = next(track for track in Moving().tracks() if track.id == "track005").targets["arousal"]
    rated = np.isfinite(truth.values)
    np.testing.assert_allclose([float(row["time"]) for row in rows], truth.times[rated])
    np.testing.assert_allclose([float(row["target"]) for row in rows], truth.values[rated])
    assert {row["task"] for row in read_csv(directory / "predictions.csv")} == {"valence"}


@pytest.mark.parametrize(
    ("old", "new", "message"),
    [
        (
            "arousal,1.0,",
            "arousal,0.5,",
            r"series.csv: cannot be read: line \d+: the times of track .* do not ascend",
        ),
        ("arousal,1.0,", "arousal,nan,", r"line \d+: the target of track 'track0\d+' is .* at nan s"),
        ("arousal,1.0,", "valence,1.0,", "'valence' is not a task of this file"),
        ("arousal,1.0,", "arousal,x,", "could not convert"),
    ],
)
def test_damaged_predictions(directory, tmp_path, old, new, message):
    copy = shutil.copytree(directory, tmp_path / "copy")
    path = copy / "series.csv"
    path.write_text(path.read_text().replace(old, new, 1))
    with pytest.raises(InputError, match=message):
        open_run(copy).evaluations  # noqa: B018  # it is read on access


def test_missing_predictions(directory, tmp_path):
    copy = shutil.copytree(directory, tmp_path / "copy")
    (copy / "series.csv").unlink()
    with pytest.raises(InputError, match=r"series.csv: has 0 of the \d+ train predictions of 'arousal'"):
        open_run(copy).evaluations  # noqa: B018  # it is read on access


def test_evaluation_gives_the_recorded_results(directory):
    run = TrainedRun.load(directory)
    for part in ("val", "test"):
        assert evaluate_run(run, part=part).metrics() == run.results["metrics"][part]


def test_a_curve_is_the_smoothed_output_of_the_network(directory):
    run = TrainedRun.load(directory)
    task = open_run(directory).evaluations["test"].tasks["arousal"]
    track = next(track for track in Moving().tracks() if track.id == task.ids[0])
    edges = np.arange(len(track.features) + 1) / 3
    (curve,) = run.curves(track.features, edges).values()
    assert curve.shape == (len(track.features),)
    at_ratings = np.interp(task.rows("times")[0], (edges[:-1] + edges[1:]) / 2, curve)
    np.testing.assert_allclose(at_ratings, task.rows("prediction")[0], atol=1e-6)
    assert set(run.predict([track.features])) == {"valence"}


@pytest.mark.slow
def test_replicates_and_folds(components, runs, tmp_path):
    replicates = read_replicates(runs)
    comparison = compare([replicates], settings=EvaluationSettings(resamples=100))
    (row,) = (row for row in comparison.rows if row.task == "arousal")
    assert row.metric == "song_pearson"
    assert row.scores[0].low < row.scores[0].mean < row.scores[0].high
    run_all(tmp_path, "split.method='kfold'", "split.folds=2", "training.epochs=1", text=EXPERIMENT)
    pooled = read_replicates(tmp_path / "runs" / "moving").per_seed[0].evaluation.tasks["arousal"]
    assert len(pooled.ids) == 57
    assert list(pooled.ids) == sorted(pooled.ids)
    assert pooled.metric("song_pearson") > 0.2
    truth = {track.id: track.targets["arousal"] for track in Moving().tracks()}
    for name, values in zip(pooled.ids, pooled.rows("target"), strict=True):
        np.testing.assert_allclose(values, truth[name].values[np.isfinite(truth[name].values)])


def test_the_reports_of_runs_and_replicates_draw_curves(directory, runs):
    for path in (directory, runs):
        page = make_report(path)
        section = next(section for section in page.sections if section.title == "Over time")
        curves, together = section.blocks
        assert [chart.title for chart in curves.charts] == [
            f"arousal: {which} track" for which in ("best", "median", "worst")
        ]
        errors = [
            float(next(note for note in chart.notes if "RMSE" in note).split()[1]) for chart in curves.charts
        ]
        assert errors == sorted(errors)
        *lines, cursor = curves.charts[0].marks
        assert [line.label for line in lines] == ["error of a moment", "true", "predicted"]
        assert isinstance(cursor, Cursor)
        assert len(together.charts) == 1
        assert "r per song" in render(page)
        assert path == runs or "± is the standard deviation over the tracks." in render(page)
        worst = next(section for section in page.sections if section.title == "Worst predicted tracks")
        assert "arousal" in printed(worst.blocks)
        ceiling = next(section for section in page.sections if section.title == "Noise ceiling")
        assert "Noise ceiling of r per song" in printed(ceiling.blocks)


@pytest.mark.slow
def test_tensorboard_shows_series(components, tmp_path):
    event_accumulator = pytest.importorskip("tensorboard.backend.event_processing.event_accumulator")
    (outcome,) = run_all(tmp_path, "training.epochs=1", text=EXPERIMENT, plugins=[TensorBoard()])
    events = event_accumulator.EventAccumulator(str(outcome.directory))
    events.Reload()
    tags = events.Tags()
    assert {"Metrics/arousal/song_pearson/val", "final/test/arousal/pooled_rmse"} <= set(tags["scalars"])
    assert {"predictions/arousal/test", "predictions/arousal/val"} <= set(tags["images"])
    assert _text(Series(np.array([0.2, np.nan, 0.4]), 0, 2)) == "0.30 on average"


def test_the_plan_of_an_experiment_counts_rated_tracks(components, tmp_path):
    preview = check_experiment(load(tmp_path, text=EXPERIMENT))
    (task,) = (task for task in preview.tasks if task.task.name == "arousal")
    assert task.labelled == 57


def test_the_summary_of_the_data_has_the_distribution_of_the_ratings(components, tmp_path):
    prepared = assemble(tmp_path, text=EXPERIMENT)
    train = summarize(prepared.tracks, prepared.split, prepared.features).ratings["arousal"]["train"]
    assert train["count"] + train["missing"] == len(prepared.split.parts["train"])
    assert -0.85 < train["min"] < -0.7 < 0.7 < train["max"] < 0.85


def test_a_model_that_does_not_embed_steps_is_refused(components, tmp_path):
    with pytest.raises(InputError, match=r"small.toml:3: model: model Average has no embedding per time step"):
        run_all(tmp_path, text=EXPERIMENT.replace('"steps"', '"average"'))


def test_a_grid_with_one_step_is_refused_before_anything_is_extracted(components, tmp_path, monkeypatch):
    monkeypatch.setattr("musicemo.running.prepare.collect", pytest.fail)
    text = EXPERIMENT.replace("model.type", 'features = { type = "mfcc", grid = "track" }\nmodel.type', 1)
    with pytest.raises(
        InputError,
        match=r"small.toml:3: features.grid: 'track' has one time step, .*'arousal'.* Use 'segment', 'beat'",
    ):
        run_all(tmp_path, text=text)


def test_an_estimator_that_does_not_predict_series_is_refused(components, tmp_path):
    with pytest.raises(InputError, match=r"'svr' is fitted in one go and cannot learn 'arousal' \(series\)"):
        run_all(tmp_path, text=EXPERIMENT.replace('"steps"', '"svr"'))


@pytest.mark.parametrize(
    ("override", "message"),
    [
        (
            "tasks.valence.loss={type='mse', per='song'}",
            "loss.per: is for series, and 'valence' is a regression",
        ),
        (
            "tasks.arousal.loss={type='mse', per='track'}",
            r"loss.per: 'track' must be one of 'song', 'step', 'all'",
        ),
        ("tasks.arousal.loss={type='bce'}", "loss 'bce' is for tags, and 'arousal' is a series target"),
        ("tasks.valence.smoothing=1", "smoothing: is for series, and 'valence' is a regression target"),
        ("tasks.arousal.smoothing=0", "smoothing: input should be greater than 0"),
    ],
)
def test_settings_that_do_not_fit(components, tmp_path, override, message):
    with pytest.raises(InputError, match=message):
        assemble(tmp_path, override, text=EXPERIMENT)


def test_the_mean_predicts_the_mean_of_all_ratings():
    mean = Mean(targets=[Target("arousal", "series"), Target("valence", "regression")])
    rated = torch.tensor([[0.2, 0.4, torch.nan], [0.9, torch.nan, torch.nan]])
    mean.fit([], {"arousal": rated, "valence": torch.tensor([0.1, 0.3])})
    found = mean(torch.zeros(2, 5, 3), torch.tensor([5, 4]), {})
    torch.testing.assert_close(found["arousal"], torch.full((2, 5), 0.5))
    torch.testing.assert_close(found["valence"], torch.full((2,), 0.2))


def test_the_mean_is_a_baseline_that_follows_nothing(components, tmp_path):
    (outcome,) = run_all(tmp_path, text=EXPERIMENT.replace('"steps"', '"mean"'))
    arousal = results_of(outcome.directory)["metrics"]["test"]["arousal"]
    assert arousal["song_pearson"]["value"] == pytest.approx(0, abs=1e-6)
    assert arousal["song_rmse"]["value"] > 0.3


@pytest.mark.slow
def test_every_loss_of_ratings_trains_series(components, tmp_path):
    terms = ", ".join(
        f"{{type='{name}'}}" for name in ("mse", "mae", "huber", "ccc", "pearson", "soft-spearman", "ranknet")
    )
    prepared = assemble(tmp_path, f"tasks.arousal.loss=[{terms}]", text=EXPERIMENT)
    batch = next(prepared.batches["train"].epoch(1))
    _, predictions = prepared.network(batch.x, batch.lengths)
    loss = prepared.objective(predictions, batch.targets, batch.indices, batch.series)["arousal"]
    loss.backward()
    assert loss.isfinite()
    assert all(parameter.grad.isfinite().all() for parameter in prepared.network.heads["arousal"].parameters())


def test_export_says_what_it_cannot(directory, tmp_path):
    pytest.importorskip("onnx")
    pytest.importorskip("onnxruntime")
    with pytest.raises(InputError, match="arousal: ratings over time cannot be exported"):
        export_onnx(TrainedRun.load(directory), tmp_path / "a.onnx")


@pytest.mark.slow
def test_songs_are_predicted_as_a_whole_beside_windows(one_thread, tmp_path, monkeypatch):
    """One network learns a rating of each clip and a rating over time; a longer song has windows for the first only."""
    import soundfile
    from musicemo_builtin.datasets.synth import render

    monkeypatch.setenv("MUSICEMO_CACHE", str(tmp_path / "cache"))
    experiment = """\
name = "synthesized"
dataset = { type = "synth", tracks = 5, duration = 4.0, sections = 2 }
features = { type = "log-mel", grid = "segment", segment = 0.5 }
model = { type = "lstm", hidden = 4 }
split = { method = "random", validation = 0.2, test = 0.2 }
training = { epochs = 1, batch_size = 3, device = "cpu" }
evaluation.resamples = 100
tasks.valence.loss.type = "mse"
tasks.energy_over_time = { loss = { type = "ccc" }, smoothing = 1.0 }
"""
    (outcome,) = run_all(tmp_path, text=experiment)
    soundfile.write(tmp_path / "song.wav", render(5, 3, 10.0), 22050)
    predictor = Predictor(outcome.directory)
    found = predictor.predict(tmp_path / "song.wav")
    assert len(found.windows) > 2
    assert found.tasks["valence"].values.shape == (1, len(found.windows))
    np.testing.assert_allclose(found.windows_of("energy_over_time")[:, 0], np.arange(20) / 2)
    assert found.tasks["energy_over_time"].values.shape == (1, 20)


@pytest.mark.slow
def test_arrays_with_a_rate_are_learned_from_a_table_and_predicted(one_thread, tmp_path):
    random = np.random.default_rng(0)
    songs, ratings = ["id,features"], ["id,time,arousal"]
    for index in range(12):
        array = random.normal(size=(20 + index, 3)).astype(np.float32)
        np.save(tmp_path / f"{index}.npy", array)
        songs.append(f"s{index},{index}.npy")
        ratings += [f"s{index},{step / 4},{np.tanh(value):.3f}" for step, value in enumerate(array[:, 0])]
    (tmp_path / "songs.csv").write_text("\n".join(songs))
    (tmp_path / "ratings.csv").write_text("\n".join(ratings))
    experiment = """\
name = "arrays"
[dataset]
type = "table"
path = "songs.csv"
series = "ratings.csv"
series_targets = { arousal = [-1, 1] }
[features]
type = "arrays"
rate = 4.0
[split]
method = "random"
[model]
type = "mlp"
[training]
epochs = 1
device = "cpu"
[tasks.arousal]
"""
    (outcome,) = run_all(tmp_path, text=experiment)
    assert results_of(outcome.directory)["metrics"]["train"]["arousal"]["tracks"] == 6
    found = Predictor(outcome.directory, arrays=True).predict(tmp_path / "3.npy")
    np.testing.assert_allclose(found.windows_of("arousal")[:, 0], np.arange(23) / 4)


def song():
    steps = np.array([[0.0, 1.0], [1.0, 2.0], [2.0, 4.0]])
    curves = np.array([[0.1, 0.3, 0.5], [0.3, 0.5, 0.7]])
    arousal = TaskPrediction("series", (-1.0, 1.0), (), curves, steps=steps)
    valence = TaskPrediction("regression", (0.0, 1.0), (), np.array([[0.4], [0.6]]))
    return SongPrediction("a.mp3", 4.0, np.array([[0.0, 4.0]]), {"arousal": arousal, "valence": valence})


def test_a_song_is_predicted_with_its_curve():
    lines = [line.split() for line in printed(song_blocks(song())).splitlines()]
    (row,) = (line for line in lines if line[:1] == ["arousal"])
    assert row[1] == "0.450"  # steps weigh by their length
    assert {"0.200", "0.600"} <= set(row)
    tasks = predictions_json([], [song()])["songs"][0]["tasks"]
    assert tasks["arousal"]["kind"] == "series"
    np.testing.assert_allclose(tasks["arousal"]["curve"], [0.2, 0.4, 0.6])
    assert tasks["arousal"]["steps"] == [[0.0, 1.0], [1.0, 2.0], [2.0, 4.0]]
    assert "steps" not in tasks["valence"]
    rows = predictions_csv([song()]).splitlines()
    assert sum(row.startswith("a.mp3,arousal,") for row in rows) == 4
    assert sum(row.startswith("a.mp3,valence,") for row in rows) == 1
    assert any(row.startswith("a.mp3,arousal,,2,2.000,4.000,0.6") for row in rows)


@pytest.mark.slow
def test_the_figure_of_a_song_draws_a_value_for_every_step():
    found = song()
    frame = np.zeros((140, 172), np.float32)
    figure = song_figure(found, Analysis(frame, frame[:, :4], np.array([40, 90]), Recipe()))
    lines = {str(line.get_label()).split()[0]: line for axes in figure.axes[1:] for line in axes.lines}
    np.testing.assert_allclose(lines["arousal"].get_xdata(), [0.5, 1.5, 3.0])
    np.testing.assert_allclose(lines["arousal"].get_ydata(), [0.2, 0.4, 0.6])
    np.testing.assert_allclose(lines["valence"].get_xdata(), [0.0, 4.0])
