"""Distributions of the listeners' ratings, from the listeners to the report."""

from __future__ import annotations

import csv
import io
import json
import shutil
from collections.abc import Iterator

import numpy as np
import pytest
import torch
from harness import Average, assemble, load, printed, results_of, run_all

from musicemo.comparison import compare, read_replicates
from musicemo.contracts import Estimator, Target, Track
from musicemo.errors import InputError
from musicemo.evaluation import SPREAD, EvaluationSettings
from musicemo.experiment.tracks import read_tracks
from musicemo.ops import Gaussian, Levels
from musicemo.prediction import SongPrediction, TaskPrediction, TrainedRun, evaluate_run
from musicemo.reporting import make_report
from musicemo.reporting.sections.songs import song_blocks
from musicemo.reporting.tabular import predictions_csv, predictions_json
from musicemo.runs import open_run

EXPERIMENT = """\
name = "spread"
dataset.type = "rated"
model.type = "average"
head = { hidden = [], dropout = 0.0 }
training.epochs = 20
training.batch_size = 16
training.device = "cpu"
training.early_stopping.monitor = "val/valence/crps"
training.optimizer = { type = "adam", lr = 0.05 }
evaluation.resamples = 100
tasks.valence.loss.type = "gaussian-nll"
tasks.energy.loss = [{ type = "soft-label", levels = 9 }, { type = "mse", weight = 0.1 }]
"""


class Rated:
    """Listeners from two to five rate valence from 1 to 9; of some tracks and of energy, only the mean is there."""

    targets = tuple(Target(name, "regression", range=(1.0, 9.0)) for name in ("valence", "energy"))
    rows = slice(0, 6)

    def tracks(self) -> Iterator[Track]:
        random = np.random.default_rng(0)
        for index in range(80):
            level = random.normal()
            features = random.normal(size=(5 + index % 3, 6)).astype(np.float32)
            features[:, 0] += 2 * level
            ratings = np.clip(np.round(5 + level + random.normal(size=2 + index % 4)), 1, 9).tolist()
            mean = float(np.mean(ratings))
            single = {} if index % 8 == 0 else {"valence": ratings}
            targets = {"valence": None if index % 16 == 1 else mean, "energy": mean}
            yield Track(f"t{index:02d}", features, targets, ratings=single)


@pytest.fixture
def components(fakes_beside, one_thread):
    fakes_beside("dataset", "rated", Rated)
    fakes_beside("model", "average", Average)
    return fakes_beside


@pytest.fixture(scope="module")
def folder(tmp_path_factory):
    return tmp_path_factory.mktemp("spread")


@pytest.fixture
def runs(components, folder):
    """Return the folder with the runs of two seeds; do not write to it."""
    if not (folder / "runs").exists():
        run_all(folder, "seeds=[0, 1]", text=EXPERIMENT)
    return folder / "runs" / "spread"


@pytest.fixture
def directory(runs):
    return sorted(path for path in runs.iterdir() if path.is_dir())[0]


def test_a_run_is_scored_by_likelihood_and_coverage(directory):
    results = results_of(directory)
    assert results["tasks"]["energy"]["distribution"] == {"type": "levels", "levels": 9}
    valence = results["metrics"]["test"]["valence"]
    assert valence["spearman"]["value"] > 0.4
    assert valence["crps"]["low"] < valence["crps"]["value"] < valence["crps"]["high"]
    epoch = json.loads((directory / "history.jsonl").read_text().splitlines()[-1])
    assert {"val/valence/crps", "val/valence/nll", "val/energy/crps", "val/mean_improvement"} <= set(epoch)
    assert epoch["train/valence/predicted_deviation"] > 0
    assert results["monitor"] == {"name": "val/valence/crps", "mode": "min"}
    described = results["distributions"]["valence"]
    assert described["type"] == "gaussian"
    assert described["listeners"] == {"min": 1, "median": 3.5, "max": 5}
    scores = described["parts"]["test"]
    assert scores["crps"]["value"] == valence["crps"]["value"] < scores["reference"]["crps"]
    coverage = list(scores["coverage"].values())
    assert coverage == sorted(coverage)
    assert 0.5 < scores["deviation"] < 3


def test_predictions_and_scores_are_read_as_they_were_written(directory):
    record = open_run(directory)
    for part, evaluation in record.evaluations.items():
        for name, task in evaluation.tasks.items():
            recorded = record.metrics[part][name]
            assert {metric: task.metric(metric) for metric in (*SPREAD, "rmse")} == {
                metric: recorded[metric]["value"] for metric in (*SPREAD, "rmse")
            }


def test_a_missing_row_of_the_distributions_is_an_error(directory, tmp_path):
    copy = shutil.copytree(directory, tmp_path / "copy")
    path = copy / "distributions.csv"
    lines = path.read_text().splitlines(keepends=True)
    path.write_text("".join([lines[0], *lines[2:]]))
    with pytest.raises(InputError, match=r"distributions\.csv has no row of track"):
        open_run(copy).evaluations  # noqa: B018  # it is read on access
    path.unlink()
    with pytest.raises(InputError, match=r"distributions\.csv: cannot be read"):
        open_run(copy).evaluations  # noqa: B018  # likewise


def test_evaluation_gives_the_recorded_results(directory):
    run = TrainedRun.load(directory)
    assert evaluate_run(run, part="test").metrics() == run.results["metrics"]["test"]


def test_predictions_of_clips_have_a_spread(directory):
    run = TrainedRun.load(directory)
    outputs = run.outputs([np.ones((4, 6), np.float32), np.zeros((9, 6), np.float32)])
    values, spreads = run.in_units(outputs), run.spreads(outputs)
    assert [values[name].shape for name in ("valence", "energy")] == [(2,), (2,)]
    expected = 8 * Gaussian().deviation(outputs["valence"])
    np.testing.assert_allclose(spreads["valence"], expected.numpy())
    assert (values["energy"] >= 1).all()
    assert (values["energy"] <= 9).all()


def test_replicates_and_reports(directory, runs):
    comparison = compare([read_replicates(runs)], metrics=SPREAD, settings=EvaluationSettings(resamples=100))
    (row,) = (row for row in comparison.rows if (row.task, row.metric) == ("valence", "crps"))
    assert not row.higher_is_better
    assert row.scores[0].low < row.scores[0].mean < row.scores[0].high
    for path in (directory, runs):
        section = next(one for one in make_report(path).sections if one.title == "Distributions of the ratings")
        shown = printed(section.blocks, width=180)
        assert "Predicted distributions of the listeners' ratings" in shown
        assert "constant CRPS" in shown


@pytest.mark.slow
def test_folds_are_pooled(components, tmp_path):
    run_all(tmp_path, "split.method='kfold'", "split.folds=2", "training.epochs=1", text=EXPERIMENT)
    pooled = read_replicates(tmp_path / "runs" / "spread").per_seed[0].evaluation.tasks["valence"]
    assert len(pooled.spread.crps) == len(pooled.ids) == 75
    assert np.isfinite(pooled.metric("crps"))


def test_listeners_of_tracks(components, tmp_path):
    tracks = read_tracks(load(tmp_path, text=EXPERIMENT))
    assert [task.distribution for task in tracks.tasks] == [Gaussian(), Levels(9)]
    ratings = tracks.listeners["valence"]
    assert ratings.shape == (80, 5)
    assert np.isfinite(ratings[:4]).sum(axis=1).tolist() == [1, 3, 4, 5]  # of the first, only the mean is there
    assert (np.isfinite(tracks.listeners["energy"]).sum(axis=1) == 1).all()


def test_weights_are_the_numbers_of_listeners(components, tmp_path):
    overrides = ("tasks.valence.weights='listeners'", "tasks.valence.loss.type='mse'")
    overrides += ("training.early_stopping.monitor='val/loss'",)
    prepared = assemble(tmp_path, *overrides, text=EXPERIMENT)
    indices = np.array([2, 3, 4])  # 4, 5 and 2 listeners
    predictions = {"valence": torch.tensor([0.0, 1.0, 0.0]), "energy": torch.zeros(3, 9)}
    targets = torch.tensor([[0.0, 0.5], [0.0, 0.5], [0.5, 0.5]])
    losses = prepared.objective(predictions, targets, indices)
    assert losses["valence"].item() == pytest.approx((5 * 1 + 2 * 0.25) / 11)


class Fitted(Estimator):
    def __init__(self, *, input_size: int) -> None:
        super().__init__()


@pytest.mark.parametrize(
    ("overrides", "message"),
    [
        (
            ["tasks.valence.weights='listeners'", "tasks.valence.loss.type='ccc'"],
            "weights: loss 'ccc' does not take",
        ),
        (["tasks.energy.loss=[{type='soft-label'},{type='gaussian-nll'}]"], "learn different distributions"),
        (
            ["tasks.energy.weights='listeners'"],
            "'energy': weights: the dataset has no ratings of single listeners",
        ),
        (["head.output='sigmoid'"], 'output = "sigmoid" is for single ratings'),
        (
            ["model.type='fitted'"],
            "'fitted' is fitted in one go and predicts ratings, but the loss of 'valence'",
        ),
        (["training.early_stopping.monitor='val/energy/crp'"], "did you mean 'val/energy/crps'"),
    ],
)
def test_what_does_not_fit_is_refused(components, tmp_path, overrides, message):
    components("model", "fitted", Fitted)
    with pytest.raises(InputError, match=message):
        assemble(tmp_path, *overrides, text=EXPERIMENT)


def test_experiments_with_other_distributions_read_their_own_tracks(components, tmp_path):
    from musicemo.running.prepare import TrackReader

    reader = TrackReader()
    first, other = (
        reader.read(load(tmp_path, f"tasks.energy.loss={{type='soft-label',levels={levels}}}", text=EXPERIMENT))
        for levels in (3, 4)
    )
    assert [one.tracks.tasks[1].outputs for one in (first, other)] == [3, 4]


def test_a_song_is_predicted_with_the_spread_of_its_listeners():
    values, spread = np.array([[0.2, 0.4]]), np.array([[0.3, 0.4]])
    task = TaskPrediction("regression", (0.0, 1.0), (), values, spread=spread)
    song = SongPrediction("a.mp3", 12.0, np.array([[0.0, 6.0], [6.0, 12.0]]), {"valence": task})
    lines = [line.split() for line in printed(song_blocks(song), width=180).splitlines()]
    assert ["valence", "0.300", "0.200", "0.400", "0.354", "0", "to", "1"] in lines
    first, window, _ = list(csv.DictReader(io.StringIO(predictions_csv([song]))))
    assert float(first["listeners_deviation"]) == pytest.approx(np.sqrt(0.125))
    assert window["listeners_deviation"] == "0.3"
    found = predictions_json([], [song])["songs"][0]["tasks"]["valence"]
    assert found["listeners_deviation"] == pytest.approx(np.sqrt(0.125))


def test_the_figure_of_a_song_has_room_for_the_listeners():
    from musicemo.reporting.song_figure import _spread

    values, spread = np.array([[0.2, 0.4], [0.4, 0.4]]), np.array([[0.3, 0.4], [0.3, 0.0]])
    task = TaskPrediction("regression", (0.0, 1.0), (), values, spread=spread)
    np.testing.assert_allclose(_spread(task), [0.3, np.sqrt(0.08)])
