"""Tags from their tracks to the report: what is peculiar to several labels at once."""

from __future__ import annotations

import json
import re
import shutil
from collections.abc import Iterator

import numpy as np
import pytest
from complaints import warns
from harness import Average, load, printed, results_of, run_all
from musicemo_builtin.observers.tensorboard import TensorBoard, _text

from musicemo.comparison import compare, read_replicates
from musicemo.contracts import Target, Track
from musicemo.errors import InputError
from musicemo.evaluation import TAGS, EvaluationSettings, TaskEvaluation
from musicemo.files import read_csv
from musicemo.prediction import SongPrediction, TaskPrediction, TrainedRun, evaluate_run
from musicemo.reporting import make_report
from musicemo.reporting.html import render
from musicemo.reporting.sections.songs import song_blocks
from musicemo.reporting.tabular import predictions_csv, predictions_json
from musicemo.running.preview import check_experiment
from musicemo.runs import open_run

NAMES = ("calm", "film", "happy", "sad")

EXPERIMENT = """\
name = "moods"
dataset.type = "moods"
model.type = "average"
head = { hidden = [], dropout = 0.0 }
training.epochs = 3
training.batch_size = 16
training.device = "cpu"
training.early_stopping.monitor = "val/mood/pr_auc"
training.optimizer = { type = "adam", lr = 0.05 }
evaluation.resamples = 100
split.stratify = "mood"
tasks.valence.loss.type = "mse"
tasks.mood.loss.type = "bce"
"""


class Moods:
    """Tracks whose first rows determine four tags; some tags are unknown, some tracks have none."""

    targets = (
        Target("mood", "tags", classes=(*NAMES, "never")),
        Target("valence", "regression", range=(1.0, 9.0)),
    )
    rows = slice(0, 12)

    def __init__(self, tracks: int = 80) -> None:
        self._tracks = tracks

    def tracks(self) -> Iterator[Track]:
        random = np.random.default_rng(0)
        for index in range(self._tracks):
            levels = random.normal(size=4)
            features = random.normal(size=(6 + index % 5, 12)).astype(np.float32)
            features[:, :4] += 2 * levels
            tags = [name for name, level in zip(NAMES, levels, strict=True) if level > 0.4]
            value = (
                {**dict.fromkeys(NAMES, False), **dict.fromkeys(tags, True), "sad": None}
                if index % 7 == 0
                else tags
            )
            targets = {
                "mood": None if index % 20 == 0 else value,
                "valence": float(np.clip(5 + levels[0], 1, 9)),
            }
            yield Track(f"track{index:03d}", features, targets)


@pytest.fixture
def components(fakes_beside, one_thread):
    fakes_beside("dataset", "moods", Moods)
    fakes_beside("model", "average", Average)
    return fakes_beside


@pytest.fixture(scope="module")
def folder(tmp_path_factory):
    return tmp_path_factory.mktemp("moods")


@pytest.fixture
def runs(components, folder):
    """Return the folder with the runs of two seeds; do not write to it."""
    if not (folder / "runs").exists():
        run_all(folder, "seeds=[0, 1]", text=EXPERIMENT)
    return folder / "runs" / "moods"


@pytest.fixture
def directory(runs):
    return sorted(path for path in runs.iterdir() if path.is_dir())[0]


def test_a_run_learns_tags_and_records_their_scores(directory):
    results = results_of(directory)
    assert results["tasks"]["mood"] == {"kind": "tags", "target": "mood", "classes": list(NAMES)}
    mood = results["metrics"]["test"]["mood"]
    assert mood["pr_auc"]["low"] < mood["pr_auc"]["value"] < mood["pr_auc"]["high"]
    assert mood["roc_auc"]["value"] > 0.8
    assert mood["left_out"] == []
    assert set(mood["per_tag"]) == set(NAMES)
    assert mood["per_tag"]["sad"]["tracks"] < mood["per_tag"]["calm"]["tracks"] == mood["tracks"]
    epoch = json.loads((directory / "history.jsonl").read_text().splitlines()[-1])
    assert {name for name in epoch if name.startswith("val/mood/")} == {
        f"val/mood/{name}" for name in ("loss", "pr_auc", "roc_auc", "micro_pr_auc", "micro_roc_auc")
    }
    assert results["monitor"] == {"name": "val/mood/pr_auc", "mode": "max"}


def test_thresholds_are_those_of_the_validation_set(directory):
    results = results_of(directory)
    thresholds = results["thresholds"]["mood"]
    assert thresholds["part"] == "val"
    val, test = (open_run(directory).evaluations[part].tasks["mood"] for part in ("val", "test"))
    assert thresholds["values"] == open_run(directory).evaluations["val"].choose_thresholds()["mood"]
    limits = list(thresholds["values"].values())
    for task in (val, test):
        np.testing.assert_array_equal(task.prediction, task.probabilities >= limits)


def test_predictions_are_read_as_they_were_made(directory):
    record = open_run(directory)
    for part, evaluation in record.evaluations.items():
        task = evaluation.tasks["mood"]
        recorded = record.metrics[part]["mood"]
        assert {name: task.metric(name) for name in TAGS} == {name: recorded[name]["value"] for name in TAGS}
    row = next(
        row
        for row in read_csv(directory / "predictions.csv")
        if row["track"] == "track007" and row["task"] == "mood"
    )
    assert set(json.loads(row["target"])) == set(NAMES) - {"sad"}
    assert set(json.loads(row["prediction"])) == set(NAMES)


@pytest.mark.parametrize(
    ("old", "new", "message"),
    [
        (r'""calm"": 0,', '""calm"": 2,', "the target of track 'track0.*' has values other than 0 and 1"),
        (r'""calm"": 0,', '""clam"": 0,', "a cell of track 'track0.*' is not an object of tags and numbers"),
        (r'""calm"": 0\.', '""calm"": 7.', "track 'track0.*' has a probability outside"),
        (r'\{""calm"": 0\.\d+, ', "{", "track 'track0.*' does not have a probability of every tag"),
    ],
)
def test_damaged_predictions(directory, tmp_path, old, new, message):
    copy = shutil.copytree(directory, tmp_path / "copy")
    path = copy / "predictions.csv"
    path.write_text(re.sub(old, new, path.read_text(), count=1))
    with pytest.raises(InputError, match=message):
        open_run(copy).evaluations  # noqa: B018  # it is read on access


def test_the_test_set_has_no_influence_on_the_thresholds(components, tmp_path):
    (outcome,) = run_all(
        tmp_path, "split.validation=0", "training.early_stopping.monitor='train/loss'", text=EXPERIMENT
    )
    assert results_of(outcome.directory)["thresholds"]["mood"] == {
        "part": None,
        "values": dict.fromkeys(NAMES, 0.5),
    }


def test_evaluation_gives_the_recorded_results(directory):
    run = TrainedRun.load(directory)
    for part in ("val", "test"):
        assert evaluate_run(run, part=part).metrics() == run.results["metrics"][part]


class Others(Moods):
    """Tracks of another dataset, which has one of the run's tags and one of its own."""

    targets = (Target("mood", "tags", classes=("calm", "epic")),)

    def tracks(self) -> Iterator[Track]:
        for index, track in enumerate(super().tracks()):
            yield Track(f"other{index}", track.features, {"mood": [("calm", "epic")[index % 2]]})


@pytest.mark.slow
def test_evaluation_on_a_dataset_with_other_tags(components, directory):
    components("dataset", "others", Others)
    with warns("task 'valence' is left out"):
        found = evaluate_run(TrainedRun.load(directory), overrides=["dataset.type='others'"])
    mood = found.metrics()["mood"]
    assert mood["left_out"] == ["film", "happy", "sad"]
    assert {name: (one["support"], one["tracks"]) for name, one in mood["per_tag"].items()} == {
        "calm": (40, 80),
        **dict.fromkeys(("film", "happy", "sad"), (0, 0)),
    }


@pytest.mark.slow
def test_replicates_and_folds(components, runs, tmp_path):
    replicates = read_replicates(runs)
    comparison = compare([replicates], settings=EvaluationSettings(resamples=100))
    (row,) = (row for row in comparison.rows if row.task == "mood")
    assert row.metric == "pr_auc"
    assert row.scores[0].low < row.scores[0].mean < row.scores[0].high
    run_all(tmp_path, "split.method='kfold'", "split.folds=2", "training.epochs=1", text=EXPERIMENT)
    pooled = read_replicates(tmp_path / "runs" / "moods").per_seed[0].evaluation.tasks["mood"]
    assert len(pooled.ids) == 76
    assert list(pooled.ids) == sorted(pooled.ids)
    assert pooled.metric("roc_auc") > 0.5


def test_folds_with_other_tags_are_joined():
    from musicemo.comparison.replicates import _join

    first = TaskEvaluation.of_tags(["b"], np.array([[1.0, 0.0]]), np.array([[0.9, 0.2]]), ("x", "y"))
    second = TaskEvaluation.of_tags(["a"], np.array([[1.0]]), np.array([[0.4]]), ("y",))
    joined = _join([first, second])
    assert (list(joined.ids), list(joined.classes)) == (["a", "b"], ["x", "y"])
    np.testing.assert_array_equal(joined.target, [[np.nan, 1.0], [1.0, 0.0]])
    np.testing.assert_array_equal(joined.prediction, [[False, False], [True, False]])


def test_the_reports_of_runs_and_replicates_show_the_tags(directory, runs):
    for path in (directory, runs):
        page = make_report(path)
        section = next(section for section in page.sections if section.title == "Tags")
        shown = printed(section.blocks)
        assert "PR-AUC" in shown
        assert all(name in shown for name in NAMES)
        assert "Tags of mood" in render(page)
        worst = next(section for section in page.sections if section.title == "Worst predicted tracks")
        assert "mood: tracks with the most wrong tags" in printed(worst.blocks)


@pytest.mark.slow
def test_tensorboard_shows_the_tags_of_a_track_and_their_scores(components, tmp_path):
    event_accumulator = pytest.importorskip("tensorboard.backend.event_processing.event_accumulator")
    (outcome,) = run_all(tmp_path, "training.epochs=1", text=EXPERIMENT, plugins=[TensorBoard()])
    events = event_accumulator.EventAccumulator(str(outcome.directory))
    events.Reload()
    tags = events.Tags()
    assert {"Metrics/mood/pr_auc/val", "final/test/mood/macro_f1"} <= set(tags["scalars"])
    assert {"predictions/mood/test", "predictions/mood/val"} <= set(tags["images"])


def test_the_labels_of_an_example():
    assert _text(("happy", "film")) == "happy + film"
    assert _text({"happy": True, "film": None, "sad": False}) == "happy"
    assert _text("jazz") == "jazz"


def test_the_plan_of_an_experiment_counts_tags(components, tmp_path):
    preview = check_experiment(load(tmp_path, text=EXPERIMENT))
    (task,) = (task for task in preview.tasks if task.task.name == "mood")
    assert task.labelled == 76
    assert sum(task.classes.values()) > 76


def test_a_tag_that_only_the_test_set_has_is_an_error(components, tmp_path):
    class Rare(Moods):
        def tracks(self):
            for index, track in enumerate(super().tracks()):
                part = "test" if index > 60 else "train"
                targets = {
                    "mood": ["film"] if part == "test" else ["calm"] * (index % 2),
                    "valence": 5.0 + index % 2,
                }
                yield Track(track.id, track.features, targets, part=part)

    components("dataset", "rare", Rare)
    with pytest.raises(InputError, match=r"no track of the training set has the tag 'film' \(test\)"):
        run_all(tmp_path, "split.method='official'", "dataset.type='rare'", text=EXPERIMENT)


def song():
    shares = np.array([[0.2, 0.7, 0.6, 0.1]])
    task = TaskPrediction("tags", (0.0, 1.0), NAMES, shares[None], np.array([0.5, 0.5, 0.65, 0.05]))
    return SongPrediction("a.mp3", 12.0, np.array([[0.0, 12.0]]), {"mood": task})


def test_a_song_is_predicted_with_its_tags():
    table = printed(song_blocks(song()))
    lines = [line.split() for line in table.splitlines()]
    assert ["mood:", "film", "0.700", "0.500", "yes"] in lines
    assert ["mood:", "happy", "0.600", "0.650", "no"] in lines
    found = predictions_json([], [song()])["songs"][0]["tasks"]["mood"]
    assert found["value"] == ["film", "sad"]
    assert found["probabilities"]["happy"] == 0.6
    assert found["thresholds"]["sad"] == 0.05
    assert "a.mp3,mood,film,,0.000,12.000,0.7," in predictions_csv([song()])
