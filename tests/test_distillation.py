"""Distillation: a network that learns the predictions of a teacher beside the labels."""

from __future__ import annotations

import fakes as fakes_module
import numpy as np
import pytest
import torch
from complaints import warns
from musicemo_builtin.models.ridge import Ridge
from torch import nn

import musicemo
from musicemo.components.hooks import Hooks
from musicemo.data import Task
from musicemo.errors import InputError
from musicemo.experiment import load_experiment
from musicemo.experiment.tracks import read_tracks, split_tracks
from musicemo.prediction import TrainedRun
from musicemo.running.distillation import find_teacher
from musicemo.running.preview import check_experiment
from musicemo.training import Objective, Teacher, Term

pytestmark = pytest.mark.usefixtures("fakes", "one_thread")

TEACHER = """\
dataset.type = "another"
scaling.method = "none"
model = { type = "ridge" }
"""
STUDENT = (
    fakes_module.EXPERIMENT
    + """
[evaluation]
resamples = 100

[distillation]
teacher = "teacher.toml"
folds = 3
"""
)


@pytest.fixture
def student(tmp_path, install, monkeypatch):
    """Return the path of a network with a ridge regression as its teacher."""
    monkeypatch.setenv("MUSICEMO_CACHE", str(tmp_path / "cache"))
    install("model", "ridge", Ridge)
    (tmp_path / "teacher.toml").write_text(TEACHER)
    path = tmp_path / "small.toml"
    path.write_text(STUDENT)
    return path


@pytest.fixture
def fitted(monkeypatch):
    """Return a list to which each fitted ridge regression and the sums of its tracks are added."""
    models = []
    fit = Ridge.fit

    def watch(self, tracks, targets):
        every = list(tracks)
        models.append((self, {round(float(track.sum()), 2) for track in every}))
        fit(self, every, targets)

    monkeypatch.setattr(Ridge, "fit", watch)
    return models


def teach(path, *overrides):
    experiment = load_experiment(path, overrides)
    tracks = read_tracks(experiment)
    experiment = experiment.completed(tracks)
    split = split_tracks(experiment, tracks)
    return tracks, split, find_teacher(experiment, tracks, split)


@pytest.mark.slow
def test_every_training_track_is_predicted_by_a_teacher_that_was_not_fitted_to_it(student, fitted):
    tracks, split, lesson = teach(student)
    train, others = split.parts["train"], np.concatenate([split.parts["val"], split.parts["test"]])
    features = [torch.from_numpy(np.asarray(track.features)) for track in tracks.tracks]
    sums = [round(float(one.sum()), 2) for one in features]
    assert len(fitted) == 3
    for _, trained in fitted:
        assert not trained & {sums[index] for index in others}  # neither validation nor test set
    soft = lesson.teacher.predictions
    assert soft["valence"].isfinite().nonzero().flatten().tolist() == sorted(train.tolist())
    for index in train.tolist():
        ((model, _),) = [one for one in fitted if sums[index] not in one[1]]  # of one inner fold only
        expected = model(features[index][None], torch.tensor([len(features[index])]), {})
        assert float(soft["valence"][index]) == pytest.approx(float(expected["valence"]), abs=1e-3)
        np.testing.assert_allclose(soft["genre"][index], expected["genre"].softmax(1)[0].detach(), atol=1e-3)
    assert lesson.results["teacher"] == "ridge"
    assert lesson.results["metrics"]["valence"]["spearman"] > 0.5


@pytest.mark.slow
def test_predictions_are_kept_for_other_seeds_and_networks(student, fitted, tmp_path):
    first = teach(student)[-1].teacher
    again = teach(student, "seed=3", "model.hidden=3", "distillation.weight=0.25")[-1].teacher
    assert (len(fitted), again.weight) == (3, 0.25)
    for name, values in first.predictions.items():
        torch.testing.assert_close(again.predictions[name], values, equal_nan=True, rtol=0, atol=0)
    (file,) = (tmp_path / "cache").glob("distillation/ridge-*/predictions.npz")
    file.write_bytes(file.read_bytes()[:-40])
    with warns("is damaged"):
        repaired = teach(student)[-1].teacher
    torch.testing.assert_close(repaired.predictions["valence"], first.predictions["valence"], equal_nan=True)
    assert len(fitted) == 6
    teach(student, "distillation.teacher.model.type=ridge", "distillation.folds=2")  # others are fitted again
    assert len(fitted) == 8


@pytest.mark.slow
def test_a_run_records_its_teacher_and_is_repeated_by_its_file(student, fitted, tmp_path, install):
    def run(path, *overrides):
        experiment = load_experiment(path, overrides)
        (outcome,) = musicemo.run(experiment, tmp_path / "runs", hooks=Hooks(), jobs=1, resume=False)
        return outcome, (outcome.directory / "predictions.csv").read_text()

    outcome, predictions = run(student)
    assert outcome.results["distillation"]["folds"] == 3
    (tmp_path / "teacher.toml").unlink()
    own = outcome.directory / "experiment.toml"
    assert run(own)[1] == predictions
    assert len(fitted) == 3
    assert run(own, "distillation.weight=0.9")[1] != predictions
    student.write_text(STUDENT[: STUDENT.index("[distillation]")])
    assert run(own, "distillation.weight=0.0")[1] == run(student)[1]
    assert TrainedRun.load(outcome.directory).network.parameter_count > 0


def test_it_is_validated_without_fitting_the_teacher(student, fitted):
    assert check_experiment(load_experiment(student)).tracks["train"] > 0
    assert not fitted


@pytest.mark.parametrize(
    ("old", "new", "problem"),
    [
        ("teacher.toml", "none.toml", r"small.toml:\d+: distillation.teacher: there is no file .*none.toml"),
        ('"teacher.toml"', '{ model.type = "means" }', "its model 'means' is trained by gradients"),
        ('"teacher.toml"', "{ scaling.method = 'none' }", "distillation.teacher: has no model"),
        ('"teacher.toml"', '{ model.type = "ridge", split = {} }', r"teacher.split: unknown key"),
        ('"teacher.toml"', '{ model.type = "rigde" }', "did you mean 'ridge'"),
        ("folds = 3", "folds = 1", "distillation.folds: "),
        ('type = "means"', 'type = "ridge"', "distillation: is for networks, and 'ridge' is fitted in one go"),
    ],
)
def test_what_is_wrong_with_the_table(old, new, problem, student):
    student.write_text(STUDENT.replace(old, new))
    with pytest.raises(InputError, match=problem):
        load_experiment(student)


def test_a_teacher_is_a_single_experiment(student, tmp_path):
    (tmp_path / "teacher.toml").write_text(TEACHER + '[matrix]\n"scaling.method" = ["none", "standard"]')
    with pytest.raises(InputError, match=r"has \[matrix\], but must be a single experiment"):
        load_experiment(student)


def test_the_loss_is_a_mixture_of_that_of_the_labels_and_of_the_teacher():
    tasks = [
        Task("rating", "rating", "regression", (0.0, 1.0), ()),
        Task("class", "class", "classification", (0.0, 1.0), ("a", "b")),
        Task("tags", "tags", "tags", (0.0, 1.0), ("x", "y")),
    ]
    nan = torch.nan
    soft = {
        "rating": torch.tensor([0.2, nan, 0.6]),
        "class": torch.tensor([[0.3, 0.7], [nan, nan], [1.0, 0.0]]),
        "tags": torch.tensor([[0.5, 0.25], [nan, nan], [0.0, 1.0]]),
    }
    predictions = {
        "rating": torch.tensor([0.5, 0.9], requires_grad=True),
        "class": torch.tensor([[0.0, 1.0], [2.0, 0.0]]),
        "tags": torch.tensor([[1.0, 0.0], [0.0, -1.0]]),
    }
    zero = nn.Module()
    zero.forward = lambda prediction, target: torch.tensor(8.0)
    terms = {task.name: [Term(1.0, zero)] for task in tasks}
    objective = Objective(tasks, terms, teacher=Teacher(soft, 0.25))
    targets = torch.tensor([[nan, 1.0, 1.0, 0.0], [nan, 0.0, 0.0, 0.0]])
    learned = objective(predictions, targets, np.array([2, 0]))
    losses = {name: loss.detach() for name, loss in learned.items()}
    rows = soft["class"][[2, 0]], soft["tags"][[2, 0]]
    cross = -(rows[0] * predictions["class"].log_softmax(1)).sum(1).mean()
    p = predictions["tags"].sigmoid()
    binary = -(rows[1] * p.log() + (1 - rows[1]) * (1 - p).log()).mean()
    assert float(losses["rating"]) == pytest.approx(0.25 * (0.1**2 + 0.7**2) / 2)  # no labels here
    assert float(losses["class"]) == pytest.approx(0.75 * 8 + 0.25 * float(cross))
    assert float(losses["tags"]) == pytest.approx(0.75 * 8 + 0.25 * float(binary))
    learned["rating"].backward()
    assert predictions["rating"].grad.tolist() == pytest.approx([0.25 * -0.1, 0.25 * 0.7])

    held_out = objective({name: one[:1] for name, one in predictions.items()}, targets[:1], np.array([1]))
    assert {name: float(loss) for name, loss in held_out.items()} == {"class": 8.0, "tags": 8.0}
