"""Which epoch is the best for several tasks, and what each choice costs."""

from __future__ import annotations

import math

import fakes as fakes_module
import numpy as np
import pytest
import torch
from complaints import warns
from harness import CPU, only_run, results_of, run_all, train
from torch import nn

from musicemo.contracts import Target, Track
from musicemo.data import Task
from musicemo.hookspecs import hookimpl
from musicemo.prediction import TrainedRun
from musicemo.reporting.sections.outcomes import run_blocks
from musicemo.reporting.terminal import show
from musicemo.terminal import console
from musicemo.training import Objective, Stopping, Term, describe_selection, load_checkpoint
from musicemo.training.criteria import mean_improvement, mean_predictor_losses
from musicemo.training.settings import EarlyStoppingSettings

pytestmark = pytest.mark.usefixtures("fakes")

THREE = ["tasks.energy={}", "training.epochs=12", "training.optimizer={ type = 'adam', lr = 0.1 }"]
KEPT = [*THREE, "training.early_stopping={ patience = false, per_task = true }"]


class MeanSquare(nn.Module):
    def forward(self, prediction, target):
        assert prediction.shape == target.shape
        return ((prediction - target) ** 2).mean()


class Pearson(nn.Module):
    """Like the losses that a constant prediction cannot improve: 1 for it."""

    def forward(self, prediction, target):
        return (
            1 + 0 * prediction.sum()
            if prediction.std() == 0
            else 1 - torch.corrcoef(torch.stack([prediction, target]))[0, 1]
        )


VALENCE = Task("valence", "valence", "regression")
GENRE = Task("genre", "genre", "classification", classes=("jazz", "pop", "rock"))


def objective(**losses):
    tasks = [VALENCE, GENRE]
    chosen = {"valence": MeanSquare(), "genre": nn.CrossEntropyLoss()} | losses
    return Objective(tasks, {task.name: [Term(1.0, chosen[task.name])] for task in tasks})


def test_the_mean_predictor_knows_the_labels_of_the_training_part_alone():
    labels = np.array([[0.2, 0], [0.6, 0], [np.nan, 1], [0.4, np.nan]])
    targets = torch.tensor([[0.5, 0.0], [0.1, 1.0], [math.nan, 0.0]])
    found = mean_predictor_losses(objective(), labels, targets, np.arange(len(targets)), CPU)
    assert found["valence"] == pytest.approx((0.1**2 + 0.3**2) / 2)
    shares = np.array([2, 1, 0.5]) / 3.5  # rock has no track
    assert found["genre"] == pytest.approx(-(2 * np.log(shares[0]) + np.log(shares[1])) / 3)


def test_an_improvement_is_a_share_of_what_the_mean_predictor_lacks():
    targets = torch.rand(50, 2)
    targets[:, 1] = 0
    labels = targets.double().numpy()
    reference = mean_predictor_losses(
        objective(valence=Pearson()), labels, targets, np.arange(len(targets)), CPU
    )
    assert reference["valence"] == pytest.approx(1.0)
    record = {"val/valence/loss": 0.25, "val/genre/loss": reference["genre"]}
    assert mean_improvement(record, reference) == pytest.approx((0.75 + 0) / 2)


def test_an_improvement_on_nothing_is_left_out():
    record = {"val/a/loss": 0.5, "val/b/loss": 0.5}
    assert mean_improvement(record, {"a": 1.0, "b": 0.0, "c": 3.0}) == 0.5
    assert mean_improvement(record, {"a": -1.0, "b": math.nan}) != mean_improvement(record, {"a": 1.0})
    assert math.isnan(mean_improvement(record, {"b": 0.0}))
    assert mean_improvement({"val/a/loss": 2.0}, {"a": 1.0}) == -1.0, "worse than knowing nothing"


def test_every_criterion_is_told_with_its_epoch_and_price():
    tasks = [VALENCE, GENRE, Task("energy", "energy", "regression")]
    rows = [(1.0, 4.0, 2.0, 0.1), (2.0, 2.0, 2.0, 0.4), (3.0, 1.0, 1.0, 0.3)]
    history = [
        {
            "epoch": epoch,
            "val/loss": valence + genre + energy,
            "val/valence/loss": valence,
            "val/genre/loss": genre,
            "val/energy/loss": energy,
            "val/mean_improvement": improvement,
            "val/valence/spearman": 1 / valence,
            "val/genre/accuracy": 1 / genre,
            "val/energy/spearman": math.nan,
        }
        for epoch, (valence, genre, energy, improvement) in enumerate(rows, start=1)
    ]
    stopping = Stopping(EarlyStoppingSettings(monitor="val/valence/loss"))
    for epoch in range(3):
        stopping.take(history[: epoch + 1])
    found = describe_selection(history, tasks, stopping, {})
    assert found["metrics"] == {"valence": "spearman", "genre": "accuracy", "energy": "spearman"}
    assert {name: one["epoch"] for name, one in found["criteria"].items()} == {
        "val/loss": 3,
        "val/mean_rank": 3,
        "val/mean_improvement": 2,
        "val/valence/loss": 1,
        "val/genre/loss": 3,
        "val/energy/loss": 3,
    }
    assert (found["monitor"], found["epoch"]) == ("val/valence/loss", 1)
    prices = {name: one["excess"] for name, one in found["criteria"]["val/mean_improvement"]["tasks"].items()}
    assert prices == {"valence": 1.0, "genre": 1.0, "energy": 1.0}
    assert found["criteria"]["val/loss"]["tasks"]["valence"] == {
        **{"loss": 3.0, "excess": 2.0, "val": pytest.approx(1 / 3)}
    }
    assert found["criteria"]["val/loss"]["tasks"]["energy"]["val"] is None


@pytest.mark.slow
def test_a_run_says_what_each_criterion_would_choose(tmp_path):
    recorder = train(tmp_path, *THREE)
    history = recorder.run.history
    found = results_of(recorder.run.directory)["selection"]
    assert (found["monitor"], found["epoch"]) == ("val/loss", recorder.run.stopping.best_epoch)
    for task in ("valence", "genre", "energy"):
        own = found["criteria"][f"val/{task}/loss"]
        values = [record[f"val/{task}/loss"] for record in history]
        assert own["epoch"] == int(np.argmin(values)) + 1
        assert own["tasks"][task]["excess"] == 0.0
    improvements = [record["val/mean_improvement"] for record in history]
    assert found["criteria"]["val/mean_improvement"]["epoch"] == int(np.argmax(improvements)) + 1
    chosen = found["criteria"]["val/loss"]["tasks"]
    metrics = results_of(recorder.run.directory)["metrics"]
    assert chosen["genre"]["val"] == pytest.approx(metrics["val"]["genre"]["accuracy"]["value"])
    assert chosen["genre"]["test"] == pytest.approx(metrics["test"]["genre"]["accuracy"]["value"])


@pytest.mark.slow
def test_one_task_or_no_validation_has_nothing_to_choose_from(tmp_path):
    text = fakes_module.EXPERIMENT.replace("[tasks.genre]", "")
    recorder = train(tmp_path, text=text, runs="one")
    assert "selection" not in results_of(recorder.run.directory)
    assert "val/mean_improvement" not in recorder.run.history[0]
    overrides = ["split.validation=0.0", "training.early_stopping.monitor='train/loss'"]
    assert "selection" not in results_of(train(tmp_path, *overrides, runs="none").run.directory)
    assert "selection" not in results_of(train(tmp_path, runs="few", overfit_batches=1).run.directory)


@pytest.mark.slow
def test_each_tasks_best_is_kept_and_tested(tmp_path):
    recorder = train(tmp_path, *KEPT)
    folder = recorder.run.directory / "checkpoints"
    names = ["best-energy.pt", "best-genre.pt", "best-valence.pt", "best.pt", "last.pt"]
    assert sorted(path.name for path in folder.iterdir()) == names
    found = results_of(recorder.run.directory)["selection"]
    epochs = set()
    for task in ("valence", "genre", "energy"):
        own = found["criteria"][f"val/{task}/loss"]
        state = load_checkpoint(folder / f"best-{task}.pt")
        assert state["epoch"] == own["epoch"] == recorder.run.stopping.task_epochs[task]
        expected = recorder.weights[own["epoch"] - 1]
        assert all(torch.equal(state["network"][name], weight) for name, weight in expected.items())
        assert all("test" in one for one in own["tasks"].values())
        epochs.add(own["epoch"])
    assert len(epochs) > 1, "else the test shows nothing"
    last = recorder.run.network.state_dict()
    best = recorder.weights[recorder.run.stopping.best_epoch - 1]
    assert all(torch.equal(last[name], best[name]) for name in best), (
        "the network has the best epoch's weights again"
    )
    loaded = TrainedRun.load(recorder.run.directory)
    assert all(torch.equal(loaded.network.state_dict()[name], best[name]) for name in best)


@pytest.mark.slow
@pytest.mark.parametrize("monitor", ["val/mean_rank", "val/mean_improvement"])
def test_a_best_epoch_by_several_tasks(monitor, tmp_path):
    recorder = train(tmp_path, *THREE, f"training.early_stopping={{ monitor = '{monitor}', patience = 4 }}")
    found = results_of(recorder.run.directory)
    assert found["monitor"]["name"] == monitor
    best = found["best_epoch"]
    assert found["selection"]["criteria"][monitor]["epoch"] == best
    assert len(recorder.run.history) == min(12, best + 4)
    if monitor == "val/mean_improvement":
        assert best == int(np.argmax([record[monitor] for record in recorder.run.history])) + 1
    state = load_checkpoint(recorder.run.directory / "checkpoints" / "best.pt")
    assert state["epoch"] == best


class Assassin:
    def __init__(self, epoch: int) -> None:
        self.epoch = epoch

    @hookimpl
    def musicemo_epoch_finished(self, run, record):
        if record["epoch"] == self.epoch:
            raise KeyboardInterrupt


@pytest.mark.slow
@pytest.mark.parametrize("epoch", [1, 5])
@pytest.mark.parametrize("monitor", ["val/loss", "val/mean_rank", "val/mean_improvement"])
def test_a_resumed_run_chooses_the_same(monitor, epoch, tmp_path):
    stopping = f"training.early_stopping={{ monitor = '{monitor}', patience = 6, per_task = true }}"
    overrides = [*THREE, stopping, "training.schedule={ type = 'plateau', patience = 0 }"]
    whole = results_of(train(tmp_path, *overrides, runs="whole").run.directory)
    with pytest.raises(KeyboardInterrupt):
        run_all(tmp_path, *overrides, plugins=[Assassin(epoch)])
    (outcome,) = run_all(tmp_path, *overrides, resume=True)
    assert outcome.results["resumed_after_epoch"] == epoch
    found = results_of(only_run(tmp_path))
    assert found["selection"] == whole["selection"]
    assert found["metrics"] == whole["metrics"]


def test_what_is_never_defined_is_told(tmp_path):
    overrides = ["dataset.tracks=40", "split={ validation = 0.02, method = 'random' }"]  # a single track
    with warns("val/valence/spearman was not defined in any epoch"):
        recorder = train(tmp_path, *overrides, "training.early_stopping.monitor='val/valence/spearman'")
    assert recorder.run.stopping.best_epoch == 1
    assert any("was not defined" in text for text in results_of(recorder.run.directory)["warnings"])


def printed(capsys, outcome):
    show(console(), run_blocks(outcome, overfit=False))
    text = capsys.readouterr().out
    return text[text.index("Validation scores at the best epoch") :].splitlines()


@pytest.mark.slow
def test_what_each_choice_costs_is_printed(tmp_path, capsys):
    (outcome,) = run_all(tmp_path, *THREE, "training.early_stopping.monitor='val/mean_rank'")
    _, header, *rows = printed(capsys, outcome)
    assert "valence rho" in header
    assert "genre accuracy" in header
    assert [row.split("  ")[0] for row in rows[:4]] == [
        *("val/mean_rank (used)", "val/loss", "val/mean_improvement", "each task's own loss")
    ]
    assert rows[3].endswith("0.0 %")


@pytest.mark.slow
def test_with_many_tasks_the_costs_alone_are_printed(fakes, tmp_path, capsys):
    class Many(fakes_module.MemoryDataset):
        def __init__(self) -> None:
            super().__init__()
            self.targets = tuple(Target(f"t{number}", "regression") for number in range(6))

        def tracks(self):
            for track in super().tracks():
                targets = {target.name: track.targets["energy"] for target in self.targets}
                yield Track(track.id, track.features, targets)

    fakes("dataset", "many", Many)
    text = fakes_module.EXPERIMENT.split("[tasks")[0] + "".join(f"[tasks.t{number}]\n" for number in range(6))
    (outcome,) = run_all(tmp_path, "dataset.type='many'", text=text)
    _, header, first, *_ = printed(capsys, outcome)
    assert header.split("  ")[0] == "best epoch by"
    assert "t0" not in header
    assert first.startswith("val/loss (used)")
    assert "at most" in first
