"""Noise ceilings, scores within genres and calibration in a run's results."""

from dataclasses import replace

import fakes as fakes_module
import numpy as np
import pytest
from complaints import warns
from harness import assemble, load, results_of, run_all

from musicemo.comparison import analyse_replicates, read_replicates
from musicemo.errors import InputError
from musicemo.evaluation import Evaluation, TaskEvaluation
from musicemo.experiment.tracks import read_tracks, split_tracks
from musicemo.running.execute import constant_predictions
from musicemo.runs import open_run


class Rated(fakes_module.MemoryDataset):
    """Tracks whose valence eight listeners rated; ``deaf``: all that can be heard of it is the genre."""

    def __init__(self, tracks: int = 120, deaf: bool = False) -> None:
        super().__init__(tracks=tracks)
        self._deaf = deaf

    def tracks(self):
        for number, track in enumerate(super().tracks()):
            random = np.random.default_rng(number)
            truth = track.targets["valence"]
            if self._deaf:
                place = fakes_module.CLASSES.index(track.targets["genre"])
                truth = 2.5 + 2.5 * place + random.uniform(-1.2, 1.2)
                track.features[0] = track.features[1] = 0
            given = np.clip(truth + 0.5 * random.normal(size=8), 1, 9)
            targets = {**track.targets, "valence": float(given.mean())}
            yield replace(track, targets=targets, ratings={"valence": given.tolist()})


@pytest.fixture
def rated(fakes):
    fakes("dataset", "rated", Rated)


def results(folder, *overrides, **how):
    (outcome,) = run_all(folder, "dataset.type='rated'", "training.epochs=40", *overrides, **how)
    return results_of(outcome.directory)


def test_a_run_says_none_of_it_where_it_does_not_apply(fakes, tmp_path):
    (outcome,) = run_all(tmp_path)
    assert not {"reliability", "controlled", "calibration"} & set(results_of(outcome.directory))


@pytest.mark.slow
def test_the_ceiling_and_the_share_of_it(rated, tmp_path):
    found = results(tmp_path)
    table = found["reliability"]["valence"]
    assert (table["tracks"], table["raters"]) == (120, {"min": 8, "median": 8.0, "max": 8})
    ceiling = table["spearman"]["ceiling"]
    assert 0.95 < ceiling < 1
    rho = found["metrics"]["test"]["valence"]["spearman"]
    assert table["spearman"]["reached"]["test"] == {end: rho[end] / ceiling for end in rho}
    assert "genre" not in found["reliability"]


@pytest.mark.slow
def test_a_network_that_can_only_hear_the_genre_is_caught(rated, tmp_path):
    found = results(tmp_path, "dataset.deaf=true", "evaluation.control='genre'", "evaluation.resamples=400")
    assert found["controlled"]["by"] == "genre"
    scores = found["controlled"]["parts"]["test"]["valence"]
    assert scores["spearman"]["low"] > 0.6
    assert scores["group_alone"]["low"] > 0.6
    for name in ("gain", "within", "partial"):
        assert scores[name]["low"] < 0.05, name


@pytest.mark.slow
def test_a_network_that_hears_more_is_not(rated, tmp_path):
    found = results(tmp_path, "evaluation.control='genre'")
    assert found["controlled"]["parts"]["test"]["valence"]["within"]["low"] > 0.3


def test_what_is_controlled_for_need_be_no_task(rated, tmp_path):
    text = fakes_module.EXPERIMENT.replace("[tasks.genre]\n", "")
    found = results(tmp_path, "evaluation.control='genre'", "training.epochs=1", text=text)
    groups = found["controlled"]["parts"]["test"]["valence"]["groups"]
    assert sum(group["tracks"] for group in groups.values()) == 24
    assert len(found["controlled"]["labels"]["test"]) == 24


def test_folds_are_controlled_for_a_target_that_is_no_task_together(rated, tmp_path):
    text = fakes_module.EXPERIMENT.replace("[tasks.genre]\n", "")
    overrides = ["evaluation.control='genre'", "training.epochs=1", "split={ method = 'kfold', folds = 2 }"]
    outcomes = run_all(tmp_path, "dataset.type='rated'", *overrides, text=text)
    replicates = read_replicates([outcome.directory for outcome in outcomes])
    settings = open_run(outcomes[0].directory).evaluation_settings
    scores = analyse_replicates(replicates, [], settings)["controlled"]["parts"]["test"]["valence"]
    assert scores["tracks"] == 120
    assert sum(group["tracks"] for group in scores["groups"].values()) == 120


@pytest.mark.slow
@pytest.mark.parametrize("method", ["affine", "isotonic"])
def test_calibration(rated, tmp_path, method):
    found = results(tmp_path, f"evaluation.calibration='{method}'", "training.epochs=5")
    task = found["calibration"]["tasks"]["valence"]
    assert (found["calibration"]["method"], task["tracks"]) == (method, 24)
    assert task["parts"]["test"]["rmse"]["before"] == found["metrics"]["test"]["valence"]["rmse"]["value"]
    assert task["parts"]["val"]["rmse"]["after"] < task["parts"]["val"]["rmse"]["before"]
    assert "genre" not in found["calibration"]["tasks"]


def test_without_a_validation_part_nothing_is_calibrated(rated, tmp_path):
    found = results(
        tmp_path,
        "evaluation.calibration='affine'",
        "split.validation=0",
        "training.early_stopping.monitor='train/loss'",
        "training.epochs=1",
    )
    assert found["calibration"]["tasks"]["valence"] == {"skipped": "there is no validation part"}


@pytest.mark.parametrize(
    ("override", "message"),
    [
        ("evaluation.control='gnere'", "evaluation.control: 'gnere' is not a task; did you mean 'genre'?"),
        (
            "evaluation.control='energy'",
            "evaluation.control: 'energy' is a regression, but must be a classification",
        ),
        ("evaluation.calibration='linear'", "evaluation.calibration"),
    ],
)
def test_what_is_wrong_is_told(fakes, tmp_path, override, message):
    with pytest.raises(InputError) as error:
        assemble(tmp_path, override)
    assert message in str(error.value)


def test_a_split_may_be_stratified_by_a_target_that_is_no_task(fakes, tmp_path):
    """So that single-task experiments are tested on the tracks of the multitask one."""
    alone = fakes_module.EXPERIMENT.replace("[tasks.genre]\n", "")
    hashes = []
    for text in (fakes_module.EXPERIMENT, alone):
        experiment = load(tmp_path, "split.stratify='genre'", text=text)
        hashes.append(split_tracks(experiment, read_tracks(experiment)).hashes)
    assert hashes[0] == hashes[1]


def test_nearly_constant_predictions_are_reported():
    ids = [str(place) for place in range(40)]
    target = np.linspace(1, 9, 40)
    flat = TaskEvaluation("regression", ids, target, 5 + 0.003 * (target - 5))
    slope = TaskEvaluation("regression", ids, target, 5 + 0.1 * (target - 5))
    classes = np.repeat([0, 1], 20)
    one = TaskEvaluation("classification", ids, classes, np.zeros(40, dtype=int), ("folk", "jazz"))
    both = TaskEvaluation("classification", ids, classes, 1 - classes, ("folk", "jazz"))
    texts = list(constant_predictions(Evaluation({"a": flat, "b": slope, "c": one, "d": both})))
    assert [text.partition(". ")[0] for text in texts] == [
        "a: the predictions for the training set are nearly constant: their standard deviation is 0.3 % of the "
        "ratings'",
        "c: class 'folk' is predicted for every track of the training set",
    ]


def test_constant_predictions_are_recorded_with_the_run(fakes, tmp_path, monkeypatch):
    monkeypatch.setattr("musicemo.running.execute._CONSTANT", 100)
    with warns("valence: the predictions for the training set are nearly constant"):
        (outcome,) = run_all(tmp_path, "training.epochs=5")
    assert any("valence: the predictions" in text for text in results_of(outcome.directory)["warnings"])
    (outcome,) = run_all(tmp_path, "training.epochs=4")
    assert not results_of(outcome.directory).get("warnings")
