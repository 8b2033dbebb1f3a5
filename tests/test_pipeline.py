"""From an experiment to its runs."""

from __future__ import annotations

import json
import re
from collections.abc import Iterator, Mapping, Sequence

import fakes as fakes_module
import numpy as np
import pytest
import torch
from harness import Recorder, load, results_of, run_all, train
from torch import nn

from musicemo.contracts import GradientWeighting, Track, Weighting
from musicemo.errors import InputError
from musicemo.running.preview import check_experiment

pytestmark = pytest.mark.usefixtures("fakes")


@pytest.fixture(autouse=True)
def _one_thread(one_thread: None) -> None:
    """Everything here is small."""


def last(directory):
    return torch.load(directory / "checkpoints" / "last.pt", weights_only=True)


def same(first, second):
    return all(torch.equal(first[name], second[name]) for name in first) and first.keys() == second.keys()


@pytest.mark.slow
def test_there_is_a_run_for_each_seed_and_fold(tmp_path):
    overrides = ["seeds=[3, 5]", "split.method='kfold'", "split.folds=3", "training.epochs=1"]
    outcomes = run_all(tmp_path, *overrides)
    assert [(outcome.seed, outcome.fold) for outcome in outcomes] == [(s, f) for s in (3, 5) for f in range(3)]
    assert len({outcome.directory for outcome in outcomes}) == 6
    splits = [json.loads((outcome.directory / "split.json").read_text()) for outcome in outcomes]
    assert [split["hash"] for split in splits[:3]] == [split["hash"] for split in splits[3:]]
    tested = [track for split in splits[:3] for track in split["test"]]
    assert sorted(tested) == sorted(f"track{index:03d}" for index in range(60))
    for outcome in outcomes:
        assert outcome.directory.name.endswith(f"-seed{outcome.seed}-fold{outcome.fold}")
        found = results_of(outcome.directory)
        assert (found["seed"], found["fold"], found["status"]) == (outcome.seed, outcome.fold, "done")
        text = (outcome.directory / "experiment.toml").read_text()
        assert f"\nseed = {outcome.seed}\n" in text
        assert f"\nfold = {outcome.fold}\n" in text


@pytest.mark.slow
def test_the_same_seed_twice_is_the_same_run_and_another_seed_is_not(tmp_path):
    first, second, other = (
        train(tmp_path, f"seed={seed}", runs=name) for seed, name in ((7, "a"), (7, "b"), (8, "c"))
    )
    assert first.run.history == second.run.history != other.run.history
    assert same(first.weights[-1], second.weights[-1])
    assert not same(first.weights[-1], other.weights[-1])
    assert first.run.split.hashes == other.run.split.hashes
    for name in ("predictions.csv", "split.json", "experiment.toml"):
        assert (first.run.directory / name).read_bytes() == (second.run.directory / name).read_bytes()


@pytest.mark.slow
def test_what_was_drawn_before_does_not_matter(tmp_path):
    torch.rand(17)
    first = train(tmp_path, runs="a")
    torch.rand(5)
    second = train(tmp_path, runs="b")
    assert first.run.history == second.run.history


class Changed(fakes_module.MemoryDataset):
    """Other features for the tracks of one part of the official split."""

    def __init__(self, changed: str = "") -> None:
        super().__init__()
        self.changed = changed

    def tracks(self) -> Iterator[Track]:
        for track in super().tracks():
            factor = np.float32(100 if track.part == self.changed else 1)
            yield Track(track.id, track.features * factor, track.targets, track.group, track.part)


@pytest.mark.slow
def test_scaling_and_training_see_nothing_of_the_test_part(fakes, tmp_path):
    fakes("dataset", "changed", Changed)
    runs = {
        part: train(
            tmp_path,
            f"dataset={{ type = 'changed', changed = '{part}' }}",
            "split.method='official'",
            runs=part,
        )
        for part in ("none", "val", "test", "train")
    }
    states = {part: last(recorder.run.directory) for part, recorder in runs.items()}
    for part in ("val", "test"):
        assert same(states[part]["network"], states["none"]["network"])
        assert same(states[part]["scaling"], states["none"]["scaling"])
    assert runs["test"].run.history == runs["none"].run.history
    assert not same(states["train"]["scaling"], states["none"]["scaling"])


@pytest.mark.slow
def test_memory_and_disk_give_the_same_run(fakes, tmp_path):
    class OnDisk(fakes_module.MemoryDataset):
        def tracks(self) -> Iterator[Track]:
            for track in super().tracks():
                path = tmp_path / f"{track.id}.npy"
                np.save(path, track.features)
                yield Track(track.id, path, track.targets, track.group, track.part)

    fakes("dataset", "on-disk", OnDisk)
    runs = [
        train(tmp_path, *overrides, runs=f"runs{number}")
        for number, overrides in enumerate(
            [
                ["training.cache='memory'"],
                ["training.cache='disk'"],
                ["training.cache='disk'", "dataset.type='on-disk'"],
                ["training.cache='memory'", "dataset.type='on-disk'"],
            ]
        )
    ]
    for recorder in runs[1:]:
        assert recorder.run.history == runs[0].run.history
        assert same(recorder.weights[-1], runs[0].weights[-1])


@pytest.mark.slow
def test_overfitting_batches_is_a_sanity_check(tmp_path):
    overrides = [
        "training={ epochs = 60, batch_size = 8, device = 'cpu' }",
        "training.optimizer={ type = 'adam', lr = 0.02 }",
        "training.early_stopping={ monitor = 'val/valence/spearman', mode = 'max', patience = 1 }",
        "head={ hidden = [50], dropout = 0.0 }",
    ]
    recorder = train(tmp_path, *overrides, overfit_batches=2)
    assert len(recorder.run.history) == 60
    assert [call[1] for call in recorder.calls if call[0] == "evaluated"] == ["train"]
    found = results_of(recorder.run.directory)
    assert found["name"] == recorder.run.directory.parent.name == "small-overfit"
    assert found["monitor"] == {"name": "train/loss", "mode": "min"}
    losses = [record["train/loss"] for record in recorder.run.history]
    assert found["best_epoch"] == int(np.argmin(losses)) + 1
    assert min(losses) < 0.05 * losses[0]
    assert list(found["metrics"]) == ["train"]
    assert found["metrics"]["train"]["valence"]["tracks"] == 16
    assert found["metrics"]["train"]["genre"]["accuracy"]["value"] == 1.0
    seen = {call[2] for call in recorder.calls if call[0] == "batch_finished"}
    assert seen == {1, 2}
    assert not any(name.startswith("val/") for name in recorder.run.history[0])


def test_overfitting_more_batches_than_there_are_takes_them_all(tmp_path):
    recorder = train(tmp_path, "training.epochs=1", overfit_batches=99)
    assert results_of(recorder.run.directory)["metrics"]["train"]["genre"]["tracks"] == 36


@pytest.mark.slow
def test_overfitting_and_training_are_no_resumption_of_each_other(tmp_path):
    for batches in (0, 1, 2):
        (outcome,) = run_all(tmp_path, "training.epochs=1", overfit_batches=batches, resume=True)
        assert not outcome.skipped
    (outcome,) = run_all(tmp_path, "training.epochs=1", overfit_batches=2, resume=True)
    assert outcome.skipped


def test_a_device_may_be_given_instead_of_the_experiments(tmp_path, monkeypatch):
    monkeypatch.setattr(torch.cuda, "is_available", lambda: False)
    with pytest.raises(InputError, match="no 'cuda' device"):
        run_all(tmp_path, "training.device='cuda'")
    (outcome,) = run_all(tmp_path, "training.device='cuda'", "training.epochs=1", device="cpu")
    assert results_of(outcome.directory)["status"] == "done"


@pytest.mark.parametrize("name", ["cuda:99", "tpu", " "])
def test_a_device_that_is_none(name, tmp_path):
    with pytest.raises(InputError, match="available: auto, cpu"):
        run_all(tmp_path, device=name)
    assert not (tmp_path / "runs").exists()


def refused(folder, *overrides, **how):
    """Return the message of an input error that comes before anything is written."""
    recorder = Recorder()
    with pytest.raises(InputError) as caught:
        run_all(folder, *overrides, plugins=[recorder], **how)
    assert not (folder / "runs").exists()
    assert recorder.calls == []
    assert caught.value.exit_code == 2
    return str(caught.value)


@pytest.mark.parametrize("part", ["train", "val", "test"])
def test_features_that_are_not_finite_are_found_before_training(part, fakes, tmp_path):
    (index,) = (i for i in (0, 9, 12) if ("train", "train", "train", "val", "test")[i // 3 % 5] == part)
    message = refused(tmp_path, f"dataset.nan_track={index}", "split.method='official'")
    assert message == f"track 'track{index:03d}': is nan at row 2, frame 3"


def test_a_track_cannot_stand_on_two_sides(fakes, tmp_path):
    class Twice(fakes_module.MemoryDataset):
        def tracks(self) -> Iterator[Track]:
            yield from super().tracks()
            yield next(super().tracks())

    fakes("dataset", "twice", Twice)
    assert "track 'track000': the id is not unique in the dataset" in refused(tmp_path, "dataset.type='twice'")


@pytest.mark.parametrize("part", ["val", "test"])
def test_a_class_that_nothing_trains(part, fakes, tmp_path):
    class Late(fakes_module.MemoryDataset):
        def tracks(self) -> Iterator[Track]:
            for track in super().tracks():
                if track.targets["genre"] != "metal" or track.part == part:
                    yield track

    fakes("dataset", "late", Late)
    message = refused(tmp_path, "dataset.type='late'", "split.method='official'")
    assert f"class 'metal' occurs only in the {part} set" in message
    assert "tasks.genre.classes" in message


@pytest.mark.parametrize(
    ("override", "message"),
    [
        (
            "tasks.valence.loss={ type = 'cross-entropy' }",
            "loss 'cross-entropy' is for classification, and 'valence'",
        ),
        ("tasks.genre.loss={ type = 'squared-error' }", "loss 'squared-error' is for regression, and 'genre'"),
        ("tasks.tempo={}", "the dataset declares no target 'tempo'"),
        (
            "split.stratify='valance'",
            "'valance' is not a task; did you mean 'valence'? (tasks: valence, genre; other targets: energy)",
        ),
        ("split.method='grouped'", ""),
    ],
)
def test_what_does_not_fit_is_told_with_its_place(override, message, tmp_path):
    if not message:
        run_all(tmp_path, override, "training.epochs=1")
        return
    found = refused(tmp_path, override)
    assert message in found
    assert found.startswith((f"--set {override}", str(tmp_path / "small.toml")))


class Picky(fakes_module.MeanModel):
    """A model that breaks what is expected of it in one of several ways."""

    def __init__(self, *, input_size: int, fault: str) -> None:
        if fault == "constructor":
            raise ValueError("cannot be built")
        super().__init__(input_size=input_size)
        self.fault = fault
        if fault == "silent":
            del self.embedding_size

    def forward(self, x: torch.Tensor, lengths: torch.Tensor) -> object:
        found = super().forward(x, lengths)
        if self.fault == "raises":
            raise IndexError("out of frames")
        return {
            "per frame": found[:, None],
            "narrow": found[:, :3],
            "flat": found.mean(),
            "tuple": (found, found),
            "unmasked": self.dense(x.mean(dim=1)),
        }[self.fault]


class NoModule:
    embedding_size = 4

    def __init__(self, *, input_size: int) -> None:
        self.layer = nn.Linear(input_size, 4)

    def __call__(self, x: torch.Tensor, lengths: torch.Tensor) -> torch.Tensor:
        return self.layer(x.sum(1) / lengths[:, None])


class NoSuper(Weighting):
    def __init__(self, *, tasks: Sequence[str]) -> None:
        pass


class Vector(Weighting):
    def combine(self, losses: Mapping[str, torch.Tensor]) -> torch.Tensor:
        return torch.stack(list(losses.values()))


class Number(Weighting):
    def combine(self, losses: Mapping[str, torch.Tensor]) -> object:
        return 1.0


class Detached(Weighting):
    def combine(self, losses: Mapping[str, torch.Tensor]) -> torch.Tensor:
        return torch.stack(list(losses.values())).sum().detach()


class FiveWeights(GradientWeighting):
    def weigh(self, gradients: torch.Tensor, tasks: Sequence[str]) -> torch.Tensor:
        return torch.ones(5)


class Short(GradientWeighting):
    def aggregate(self, gradients: torch.Tensor, tasks: Sequence[str]) -> torch.Tensor:
        return gradients[0, :3]


@pytest.mark.slow
@pytest.mark.parametrize(
    ("weighting", "message"),
    [
        (Vector, r"weighting Vector: combine returns shape \[2\]; it returns the objective, a scalar"),
        (Number, "weighting Number: combine returns float; "),
        (Detached, "weighting Detached: what combine returns is detached from the losses"),
        (FiveWeights, r"weigh returns shape \[5\]; it returns a weight per task, here of shape \[2\]"),
        (Short, r"aggregate returns shape \[3\]; it returns one gradient, here of shape \[\d+\]"),
    ],
)
def test_a_weighting_that_returns_something_else(weighting, message, fakes, tmp_path):
    fakes("weighting", "odd", weighting)
    with pytest.raises(InputError, match=message):
        run_all(tmp_path, "weighting={ type = 'odd' }")


class NoLengths(fakes_module.MeanModel):
    def forward(self, x: torch.Tensor) -> torch.Tensor:
        return self.dense(x.mean(dim=1))


@pytest.mark.parametrize(
    ("kind", "component", "message"),
    [
        ("model", NoModule, "model: model 'odd': is a NoModule, but a model must be an nn.Module"),
        (
            "model",
            NoLengths,
            "takes 2 positional arguments but 3 were given .*; it is called with x and lengths",
        ),
        ("weighting", NoModule, "weighting.*: is a .*, but a weighting must be a musicemo.contracts.Weighting"),
        ("weighting", NoSuper, "weighting 'odd': its constructor does not call super\\(\\).__init__ first"),
        ("dataset", NoModule, "dataset.*: is a .*, but a dataset must have targets and tracks()"),
    ],
)
def test_a_component_of_another_make_is_refused(kind, component, message, fakes, tmp_path):
    def make(**given: object) -> object:
        return NoModule(input_size=1)

    fakes(kind, "odd", make if component is NoModule and kind != "model" else component)
    assert re.search(message, refused(tmp_path, f"{kind}={{ type = 'odd' }}"))


@pytest.mark.parametrize(
    ("fault", "message"),
    [
        ("constructor", r"model 'picky': cannot be built"),
        ("silent", r"model Picky has no integer attribute embedding_size"),
        (
            "raises",
            r"fails on a batch of shape \[2, \d+, 12\]: IndexError: out of frames \(.*test_pipeline.py:\d+\)",
        ),
        ("per frame", r"the embedding has shape \[2, 1, 8\], where \[2, 8\] is expected"),
        ("narrow", r"the embedding has shape \[2, 3\], where \[2, 8\] is expected"),
        ("flat", r"the embedding has shape \[\], where \[2, 8\] is expected"),
        ("tuple", r"the embedding has shape tuple, where \[2, 8\] is expected"),
        ("unmasked", r"padding changes its embedding, by \d\.\d+: what lies beyond a track's length .*"),
    ],
)
def test_a_model_that_does_not_do_what_models_do(fault, message, fakes, tmp_path):
    fakes("model", "picky", Picky)
    found = refused(tmp_path, f"model={{ type = 'picky', fault = '{fault}' }}")
    assert re.search(rf"(small\.toml:\d+|--set .*): model: {message}$", found)


class Odd(nn.Module):
    """A loss that breaks what is expected of it."""

    kind = "regression"

    def __init__(self, fault: str) -> None:
        super().__init__()
        self.fault = fault

    def forward(self, prediction: torch.Tensor, target: torch.Tensor) -> object:
        if self.fault == "raises":
            raise KeyError("nothing there")
        return {"vector": (prediction - target) ** 2, "number": 1.5}[self.fault]


@pytest.mark.parametrize(
    ("fault", "message"),
    [
        ("raises", r"a loss fails on 2 tracks: KeyError: 'nothing there' \(.*test_pipeline.py:\d+\)"),
        ("vector", r"task 'valence': loss Odd returns shape \[2\], where a scalar tensor is expected"),
        ("number", r"task 'valence': loss Odd returns float, where a scalar tensor is expected"),
    ],
)
def test_a_loss_that_does_not_do_what_losses_do(fault, message, fakes, tmp_path):
    fakes("loss", "odd", Odd)
    found = refused(tmp_path, f"tasks.valence.loss={{ type = 'odd', fault = '{fault}' }}")
    assert re.search(rf"(small\.toml:\d+|--set .*): tasks: {message}$", found)


def test_nothing_to_train_on(tmp_path):
    message = refused(tmp_path, "dataset.tracks=2", "dataset.classes=2", "split.method='random'")
    assert "too few for a validation set" in message


def test_an_experiment_is_checked_without_training(tmp_path):
    checked = check_experiment(load(tmp_path))
    assert checked.tracks == {"train": 36, "val": 12, "test": 12}
    assert checked.parameters == 12 * 8 + 8 + (8 * 50 + 50 + 50 + 1) + (8 * 50 + 50 + 50 * 3 + 3)
    assert sorted(path.name for path in tmp_path.iterdir()) == ["small.toml"]
    with pytest.raises(InputError, match="is nan at row 2"):
        check_experiment(load(tmp_path, "dataset.nan_track=0"))


def test_a_merged_and_dropped_class_is_trained_as_such(tmp_path):
    recorder = train(
        tmp_path, "dataset.classes=5", "tasks.genre.classes={ jazz = 'pop', rock = false }", "training.epochs=1"
    )
    assert recorder.run.tasks[1].classes == ("folk", "metal", "pop")
    found = results_of(recorder.run.directory)["metrics"]["train"]["genre"]
    assert len(found["confusion_matrix"]) == 3
    dropped = sum(track.targets["genre"] == "rock" for track in recorder.run.tracks.tracks)
    assert dropped == 12  # they still have a rating
    total = sum(
        results_of(recorder.run.directory)["metrics"][part]["genre"]["tracks"]
        for part in ("train", "val", "test")
    )
    assert total == 48


def test_a_task_learns_from_a_share_of_its_labels(tmp_path):
    recorder = train(tmp_path, "tasks.valence.labeled=0.25", "training.epochs=1")
    metrics = results_of(recorder.run.directory)["metrics"]
    tracks = {part: {task: one["tracks"] for task, one in of.items()} for part, of in metrics.items()}
    assert tracks == {
        "train": {"valence": 9, "genre": 36},
        "val": {"valence": 12, "genre": 12},
        "test": {"valence": 12, "genre": 12},
    }


@pytest.mark.slow
def test_tracks_without_a_label_are_not_trained_on(tmp_path):
    recorder = train(tmp_path, "tasks.valence.labeled=0.25", "tasks.genre.labeled=0.25", "training.epochs=1")
    targets = recorder.run.prepared.tracks.targets
    trained = recorder.run.prepared.batches["train"].indices
    assert 9 <= len(trained) <= 18
    assert np.isfinite(targets[trained]).any(axis=1).all()
    assert np.isfinite(targets[recorder.run.split.parts["test"]]).all()


def test_a_share_of_labels_must_leave_every_class(tmp_path):
    assert "occurs only in the" in refused(tmp_path, "tasks.genre.labeled=0.01")
