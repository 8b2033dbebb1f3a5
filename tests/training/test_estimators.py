"""Models that are fitted in one go, from the experiment to its results."""

from __future__ import annotations

import shutil

import pytest
import torch
from harness import assemble, load, only_run, results_of, run_all, train
from musicemo_builtin.observers.progress import Progress

from musicemo.contracts import Estimator, Fitted
from musicemo.data import HeadSettings, Task
from musicemo.errors import InputError, RunError
from musicemo.prediction import TrainedRun, evaluate_run
from musicemo.running.preview import check_experiment
from musicemo.training import Network

pytestmark = pytest.mark.usefixtures("fakes")


class Nearest(Estimator):
    """The targets of the training track with the nearest mean; `spoil` makes its ratings infinite."""

    def __init__(self, *, input_size: int, targets, spoil: bool = False) -> None:
        super().__init__()
        self.targets, self.spoil = targets, spoil
        self.register_buffer("means", torch.empty(0, input_size))
        self.register_buffer("answers", torch.empty(0, len(targets)))

    def fit(self, tracks, targets):
        assert set(targets) == {target.name for target in self.targets}
        self.means = torch.stack([track.mean(0) for track in tracks])
        self.answers = torch.stack([targets[target.name] for target in self.targets], 1).nan_to_num()
        self.fits = getattr(self, "fits", 0) + 1

    def forward(self, x, lengths, labels):
        assert not labels
        answers = self.answers[torch.cdist(x.sum(1) / lengths[:, None], self.means).argmin(1)]
        if self.spoil:
            answers[:, 0] = torch.inf
        return {
            target.name: torch.nn.functional.one_hot(answers[:, column].long(), len(target.classes)).float()
            if target.classes
            else answers[:, column]
            for column, target in enumerate(self.targets)
        }


class Told(Nearest):
    """Rates a track by its genre's number."""

    given = ("genre",)

    def forward(self, x, lengths, labels):
        found = super().forward(x, lengths, {})
        return {**found, "valence": labels["genre"] / 4}


@pytest.fixture(autouse=True)
def estimators(fakes):
    fakes("model", "nearest", Nearest)
    fakes("model", "told", Told)


def test_it_is_fitted_once_to_the_training_part_and_remembers_it(tmp_path):
    recorder = train(tmp_path, "model={ type = 'nearest' }")
    network = recorder.run.network
    assert network.estimator.fits == 1
    assert len(network.estimator.means) == 36
    assert [call[0] for call in recorder.calls] == [
        "run_started",
        "epoch_started",
        "epoch_finished",
        "evaluated",
        "evaluated",
        "evaluated",
        "run_finished",
    ]
    (record,) = recorder.run.history
    assert record["train/valence/mae"] < 1e-5
    assert record["train/genre/accuracy"] == 1
    assert 0 < record["val/valence/mae"] < 2
    results = results_of(only_run(tmp_path))
    assert (results["status"], results["epochs"], results["parameters"]) == ("done", 1, 0)
    assert results["metrics"]["test"]["genre"]["accuracy"]["value"] > 0.8


def test_the_terminal_shows_no_epochs(tmp_path, capsys):
    train(tmp_path, "model={ type = 'nearest' }", plugins=[Progress()])
    first, second, *rest = capsys.readouterr().out.splitlines()
    assert first == "small: seed 0, 36 train, 12 val, 12 test, 2 tasks, on cpu"
    assert second.startswith("fitted  train loss ")
    assert not any(word in second for word in ("epoch", "best", "left"))
    assert rest == []


def test_its_ratings_are_those_of_the_targets_own_range(tmp_path):
    recorder = train(tmp_path, "model={ type = 'nearest' }")
    found = recorder.evaluations["train"].tasks["valence"]
    assert found.target.max() > 2
    assert found.prediction == pytest.approx(found.target, abs=1e-5)


def test_no_validation_part_is_needed(tmp_path):
    recorder = train(tmp_path, "model={ type = 'nearest' }", "split.validation=0.0")
    assert set(recorder.evaluations) == {"train", "test"}


@pytest.mark.parametrize(
    ("overrides", "needed"),
    [
        ((), False),
        (("split.validation=0.25",), True),
        (("evaluation.calibration='affine'",), True),
        (("split.method='stratified'",), True),
        (("model={ type = 'means' }",), True),
    ],
)
def test_folds_have_a_validation_set_only_if_something_uses_it(tmp_path, overrides, needed):
    common = ["model={ type = 'nearest' }", "split={ method = 'kfold', folds = 4 }"]
    preview = check_experiment(load(tmp_path, *common, *overrides))
    assert bool(preview.tracks.get("val")) == needed


def test_a_part_of_the_tracks_is_fitted_where_few_are_to_be_learnt_by_heart(tmp_path):
    made = assemble(tmp_path, "model={ type = 'nearest' }", "training.batch_size=4", overfit_batches=2)
    assert (made.training.epochs, made.training.early_stopping.monitor) == (1, "train/loss")
    recorder = train(tmp_path, "model={ type = 'nearest' }", "training.batch_size=4", overfit_batches=2)
    assert len(recorder.run.network.estimator.means) == 8


def test_a_finished_fit_is_resumed_without_another(tmp_path):
    overrides = ["model={ type = 'nearest' }"]
    (first,) = run_all(tmp_path, *overrides)
    path = first.directory / "results.json"
    path.write_text(path.read_text().replace('"done"', '"interrupted"'))
    before = (first.directory / "predictions.csv").read_text()
    (second,) = run_all(tmp_path, *overrides, resume=True)
    assert second.directory == first.directory
    assert second.results["resumed_after_epoch"] == 1
    assert (first.directory / "predictions.csv").read_text() == before


def test_a_run_is_loaded_and_predicts_as_it_did(tmp_path):
    recorder = train(tmp_path, "model={ type = 'nearest' }")
    run = TrainedRun.load(only_run(tmp_path))
    assert torch.equal(run.network.estimator.means, recorder.run.network.estimator.means)
    again = evaluate_run(run, part="test").evaluation.tasks["valence"]
    assert again.prediction == pytest.approx(recorder.evaluations["test"].tasks["valence"].prediction)
    clip = recorder.run.tracks.tracks[0].features
    rated = run.predict([clip])["valence"]
    assert rated == pytest.approx(recorder.run.tracks.tracks[0].targets["valence"], abs=1e-4)


def test_predictions_that_are_not_finite_end_the_run(tmp_path):
    with pytest.raises(RunError, match=r"the fitted model's predictions of task 'valence' are not finite"):
        run_all(tmp_path, "model={ type = 'nearest', spoil = true }")


def test_a_label_is_given_where_it_is_known(tmp_path):
    recorder = train(tmp_path, "model={ type = 'told' }")
    found, genre = (recorder.evaluations["test"].tasks[name] for name in ("valence", "genre"))
    assert found.prediction == pytest.approx(1 + 8 * genre.target / 4)
    run = TrainedRun.load(only_run(tmp_path))
    assert evaluate_run(run, part="test").evaluation.tasks["valence"].prediction == pytest.approx(
        found.prediction
    )
    with pytest.raises(InputError, match=r"predicts from the label of 'genre', which is not known here"):
        run.predict([recorder.run.tracks.tracks[0].features])


def test_an_experiment_is_checked_without_a_fit(tmp_path):
    assert check_experiment(load(tmp_path, "model={ type = 'nearest' }")).parameters == 0


def test_a_checkpoint_of_another_estimator_is_refused(tmp_path):
    train(tmp_path, "model={ type = 'nearest' }")
    copied = shutil.copytree(only_run(tmp_path), tmp_path / "copied")
    path = copied / "checkpoints" / "best.pt"
    state = torch.load(path, weights_only=True)
    state["network"]["backbone.medians"] = state["network"].pop("backbone.means")
    torch.save(state, path)
    with pytest.raises(InputError, match=r"lacks backbone\.means; has backbone\.medians"):
        TrainedRun.load(copied)


class Stored(Fitted):
    """A fitted part, with a parameter beside what was fitted."""

    embedding_size = 3

    def __init__(self, tracks: int, hidden: int = 2) -> None:
        super().__init__()
        self.register_buffer("kept", torch.ones(tracks, 4))
        self.weight = torch.nn.Parameter(torch.zeros(hidden))


def test_what_is_fitted_takes_any_shape_and_parameters_their_own():
    def network(**shape):
        task = Task("valence", "valence", "regression")
        return Network(Stored(**shape), [task], {"valence": HeadSettings()})

    empty = network(tracks=0)
    empty.load(network(tracks=7).state_dict(), "here")
    assert empty.backbone.kept.shape == (7, 4)
    assert (empty.backbone.kept == 1).all()
    with pytest.raises(InputError, match=r"has backbone\.weight \[5\] where this network has \[2\]"):
        empty.load(network(tracks=7, hidden=5).state_dict(), "here")


@pytest.mark.parametrize("schedule", ["cosine", "plateau"])
def test_an_estimator_has_neither_optimizer_nor_schedule(schedule, monkeypatch, tmp_path):
    """A schedule of its experiment, as of a matrix over models, is passed over without torch's warning."""
    for name in ("Adam", "AdamW", "SGD"):
        monkeypatch.delattr(torch.optim, name)
    run = train(tmp_path, f"training.schedule={{ type = '{schedule}' }}", "model={ type = 'nearest' }").run
    state = torch.load(run.directory / "checkpoints" / "last.pt", weights_only=True)
    assert not {"optimizer", "schedule", "scaler"} & set(state)
