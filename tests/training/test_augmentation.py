"""Augmentations in a run: the loss of mixes, excerpts in evaluation, resumption, and what is refused."""

import dataclasses
import types

import pytest
import torch
from complaints import warns
from harness import assemble, only_run, run_all, train

from musicemo.contracts import Examples
from musicemo.data import Task
from musicemo.errors import InputError
from musicemo.hookspecs import hookimpl
from musicemo.prediction import TrainedRun, evaluate_run
from musicemo.running.prepare import check_labels
from musicemo.training import load_checkpoint
from musicemo.training.scoring import Collected, Scorer
from musicemo.training.step import OptimizationStep


class Halves:
    """A random half of each track; in evaluation, three."""

    aligned = False

    def __init__(self, *, rows, length: int = 6) -> None:
        assert rows.size == 12
        self.length = length
        self.excerpts = (length, 3)

    def __call__(self, examples, random):
        lengths = examples.lengths.clamp(max=self.length)
        x = examples.x[:, : self.length]
        return Examples(x * (torch.arange(x.shape[1]) < lengths[:, None])[:, :, None], lengths, examples.labels)


class Mixed:
    def __call__(self, examples, random):
        return examples.mixed(torch.from_numpy(random.permutation(len(examples.x))), 0.7)


class Slower:
    changes = ("energy",)

    def __call__(self, examples, random):
        return dataclasses.replace(examples, x=examples.x * 1.5)


class Breaks:
    def __call__(self, examples, random):
        raise ZeroDivisionError("no")


@pytest.fixture(autouse=True)
def _augmentations(fakes):
    fakes("augmentation", "breaks", Breaks)
    fakes("augmentation", "halves", Halves)
    fakes("augmentation", "mixed", Mixed)
    fakes("augmentation", "slower", Slower)


CHAIN = "augment=[{ type = 'halves' }, { type = 'mixed', probability = 0.6 }]"


def test_the_loss_of_mixes_is_the_weighted_sum_of_the_losses_with_both_labels(tmp_path):
    prepared = assemble(tmp_path, "augment=[{ type = 'mixed' }]", "dataset.missing=0.3")
    batch = next(prepared.batches["train"].epoch(1))
    (other,) = batch.more
    assert (batch.weight, other.weight) == (0.7, pytest.approx(0.3))
    prepared.network.eval()
    with torch.no_grad():
        _, predictions = prepared.network(batch.x, batch.lengths)
    losses = OptimizationStep(prepared, "min")(batch, Collected(), "here").losses
    assert losses.keys() == {"valence", "genre"}
    expected = dict.fromkeys(losses, 0.0)
    for labels in (batch, other):
        present = labels.targets[:, 0].isfinite()
        squared = (predictions["valence"][present] - labels.targets[present, 0]) ** 2
        expected["valence"] += labels.weight * float(squared.mean())
        present = labels.targets[:, 1].isfinite()
        chance = predictions["genre"][present].log_softmax(dim=1)
        chosen = chance.gather(1, labels.targets[present, 1:].long())
        expected["genre"] -= labels.weight * float(chosen.mean())
    assert losses == pytest.approx(expected, rel=1e-5)


def test_a_task_with_labels_of_partners_only_is_learned(tmp_path):
    prepared = assemble(tmp_path, "augment=[{ type = 'mixed' }]")
    batch = next(prepared.batches["train"].epoch(1))
    without = dataclasses.replace(batch, targets=batch.targets.index_fill(1, torch.tensor([0]), torch.nan))
    losses = OptimizationStep(prepared, "min")(without, Collected(), "here").losses
    assert list(losses) == ["valence", "genre"]
    gone = dataclasses.replace(without, more=())
    assert list(OptimizationStep(prepared, "min")(gone, Collected(), "here").losses) == ["genre"]


def test_evaluation_averages_evenly_spaced_excerpts(tmp_path):
    prepared = assemble(tmp_path, "augment=[{ type = 'halves' }]")
    network = prepared.network.eval()
    predicted = Scorer(prepared).predict("val")
    for row, index in enumerate(predicted.indices.tolist()):
        track = torch.from_numpy(prepared.features[index])
        spare = max(len(track) - 6, 0)
        starts = [0, round(spare / 2), spare]
        network._excerpts = None
        for task, values in predicted.values.items():
            several = [
                network(track[None, start : start + 6], torch.tensor([min(6, len(track))]))[1][task][0]
                for start in starts
            ]
            torch.testing.assert_close(values[row], torch.stack(several).mean(dim=0).detach())
        network._excerpts = (6, 3)


def test_excerpts_that_are_whole_tracks_are_reported(tmp_path):
    with warns(r"augment\[0\]: no training track is longer than the excerpts of 20 time steps \(longest: 20\)"):
        assemble(tmp_path, "augment=[{ type = 'halves', length = 20 }]")


class Interrupt:
    @hookimpl
    def musicemo_epoch_finished(self, run, record):
        if record["epoch"] == 2:
            raise KeyboardInterrupt


@pytest.mark.slow
def test_a_resumed_run_has_the_same_examples_and_predicts_as_it_was_evaluated(tmp_path):
    more = [CHAIN, "training.epochs=4", "training.early_stopping.patience=false"]
    whole = train(tmp_path, *more, runs="whole").run.directory
    with pytest.raises(KeyboardInterrupt):
        run_all(tmp_path, *more, plugins=[Interrupt()])
    directory = only_run(tmp_path)
    train(tmp_path, *more, resume=True)
    for name in ("history.jsonl", "predictions.csv", "experiment.toml"):
        assert (directory / name).read_bytes() == (whole / name).read_bytes(), name
    plain = train(tmp_path, *more[1:], runs="plain").run.directory
    assert (directory / "history.jsonl").read_bytes() != (plain / "history.jsonl").read_bytes()
    assert "excerpts" not in load_checkpoint(plain / "checkpoints" / "best.pt")["description"]
    run = TrainedRun.load(directory)  # without the dataset, and without the augmentations
    assert run.description.excerpts == (6, 3)
    assert run.experiment.resolved()["augment"][1] == {"type": "mixed", "probability": 0.6}
    assert evaluate_run(run, part="test").metrics() == run.results["metrics"]["test"]


def test_overfitting_does_not_augment(tmp_path):
    prepared = assemble(tmp_path, CHAIN, overfit_batches=1)
    (one,), (other,) = (list(prepared.batches["train"].epoch(epoch)) for epoch in (0, 1))
    assert torch.equal(one.x, other.x)


@pytest.mark.parametrize(
    ("override", "message"),
    [
        (
            "augment=[{ type = 'slow' }]",
            r"augment\[0\]\.type: no augmentation has the name 'slow'; did you mean 'slower'\?",
        ),
        (
            "augment=[{ type = 'mixed', probability = 0 }]",
            r"augment\[0\]\.probability: input should be greater than 0",
        ),
        (
            "augment=[{ type = 'mixed', size = 1 }]",
            r"augment\[0\]\.size: unknown key .allowed: probability, tasks, type",
        ),
        (
            "augment=[{ type = 'mixed', tasks = ['valense'] }]",
            r"augment\[0\]\.tasks\[0\]: no task has the name 'valense'; did you mean 'valence'",
        ),
        (
            "augment=[{ type = 'halves' }, { type = 'halves' }]",
            r"augment\[1\]: a second augmentation determines the excerpts",
        ),
        (
            "augment=[{ type = 'mixed', tasks = ['genre'] }]|distillation={ teacher.model.type = 'means' }",
            r"augment\[0\]\.tasks: must contain every task with \[distillation\]",
        ),
        (
            "augment=[{ type = 'mixed' }, { type = 'breaks' }]",
            r"augment: augmentation 'breaks' fails: ZeroDivisionError: no \(.*test_augmentation\.py:\d+\)",
        ),
        ("augment={ type = 'mixed' }", r"augment: must be a list of tables, \[\[augment\]\]"),
    ],
)
def test_what_is_refused(override, message, tmp_path):
    with pytest.raises(InputError, match=message):
        assemble(tmp_path, *override.split("|"))


def test_a_task_that_an_augmentation_changes_needs_a_decision(tmp_path):
    energy = "tasks.energy.loss.type='squared-error'"
    with pytest.raises(
        InputError, match=r"augment\[0\]: 'slower' changes 'energy', which task 'energy' learns. Set tasks"
    ):
        assemble(tmp_path, energy, "augment=[{ type = 'slower' }]")
    prepared = assemble(tmp_path, energy, "augment=[{ type = 'slower', tasks = ['valence', 'genre'] }]")
    batch = next(prepared.batches["train"].epoch(1))
    columns = [task.name for task in prepared.tasks]
    assert batch.targets.isnan().all(dim=0).tolist() == [name == "energy" for name in columns]
    assemble(tmp_path, energy, "augment=[{ type = 'slower', tasks = ['valence', 'genre', 'energy'] }]")


@pytest.mark.parametrize(
    ("augmentation", "kept", "kind", "message"),
    [
        (
            Halves(rows=types.SimpleNamespace(size=12)),
            None,
            "series",
            "'test' changes the time steps, and task 'mood'",
        ),
        (Slower(), None, "series", ""),
        (Slower(), ["energy"], "pairs", "tasks: must contain 'mood', whose labels belong to pairs of tracks"),
        (Slower(), ["energy", "mood"], "pairs", ""),
    ],
)
def test_series_need_their_time_steps_and_pairs_their_labels(augmentation, kept, kind, message):
    tasks = [Task("energy", "power", "regression"), Task("mood", "mood", kind)]
    if not message:
        check_labels("test", augmentation, kept, tasks)
    else:
        with pytest.raises(InputError, match=message):
            check_labels("test", augmentation, kept, tasks)
