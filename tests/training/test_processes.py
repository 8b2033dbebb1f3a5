"""Several processes that train one network give the gradient of one, and a run like that of one."""

import importlib.metadata
import multiprocessing
import os
import signal

import numpy as np
import pytest
import torch
from two_processes import Case, align, compare

from musicemo import load_experiment, open_run
from musicemo.components.hooks import Hooks
from musicemo.errors import InputError, RunError
from musicemo.hookspecs import hookimpl
from musicemo.running.prepare import RunOptions
from musicemo.running.sweep import run
from musicemo.training.processes import Processes


def names(kind: str) -> list[str]:
    points = importlib.metadata.entry_points(group=f"musicemo.{kind}")
    return sorted(point.name for point in points if point.value.startswith("musicemo_builtin"))


def every_loss() -> list[Case]:
    return [({"task": name}, ("mlp", {"dropout": 0.0}), ("constant", {}), "hard") for name in names("losses")]


def every_model() -> list[Case]:
    still: dict[str, dict[str, object]] = {
        "mlp": {"dropout": 0.0, "norm": "batch"},
        "cnn": {"channels": [3, 4], "kernels": [3, 3]},
        "crnn": {"channels": [3, 4], "strides": [2, 1], "hidden": 5, "dropout": 0.0},
        "lstm": {"hidden": 5, "dropout": 0.0},
        "tdnn": {"channels": 4, "dilations": [1], "embedding": 5, "dropout": 0.0},
        "transformer": {"width": 8, "layers": 1, "heads": 2, "dropout": 0.0},
    }
    return [
        ({"a": "ccc", "b": "cross-entropy"}, (name, more), ("constant", {}), "hard")
        for name, more in still.items()
    ]


def over_time() -> list[Case]:
    """Return a series alone, whose embedding has steps, and one beside another task."""
    model = ("lstm", {"hidden": 5, "dropout": 0.0})
    alone: Case = ({"series": "ccc"}, model, ("constant", {}), "hard")
    return [alone, ({"a": "mse", "series": "soft-spearman"}, model, ("pcgrad", {}), "mmoe")]


def every_weighting() -> list[Case]:
    losses = {"valence": "soft-spearman", "energy": "mse", "genre": "cross-entropy"}
    model = ("mlp", {"dropout": 0.0})
    cases: list[Case] = [(losses, model, (name, {}), "hard") for name in names("weightings")]
    return [*cases, (losses, model, ("gradnorm", {"of": "shared"}), "hard")]


def every_sharing() -> list[Case]:
    losses = {"valence": "ccc", "energy": "mse", "genre": "cross-entropy"}
    return [(losses, ("mlp", {"dropout": 0.0}), ("db-mtl", {}), name) for name in names("sharings")]


@pytest.mark.slow
def test_two_processes_have_the_gradient_of_one():
    cases = [*every_loss(), *every_model(), *over_time(), *every_weighting(), *every_sharing()]
    for case, differences in zip(cases, compare(cases), strict=True):
        gradients = [largest for name, (_, largest) in differences.items() if name.startswith("gradient")]
        for name, (difference, largest) in differences.items():
            scale = max(gradients) if name.startswith("gradient") else largest
            assert difference <= 1e-6 * max(scale, 1.0), (case, name, difference, scale)


@pytest.mark.slow
def test_processes_have_the_weights_of_the_first_and_notice_a_model_that_bypasses_its_parameters():
    first, second = align()
    assert first == (1.0, "")
    assert second[0] == 1.0
    assert "epoch 2: weight differs between the processes by 1: the model does not compute with" in second[1]


def test_every_track_of_a_batch_has_one_share():
    indices = torch.arange(10, 17).numpy()
    shares = [Processes(rank, 3).share(indices).tolist() for rank in range(3)]
    assert shares == [[10, 11, 12], [13, 14], [15, 16]]


def test_a_process_without_a_share_computes_a_track_that_does_not_count():
    indices = torch.arange(10, 12).numpy()
    assert [Processes(rank, 3).share(indices).tolist() for rank in range(3)] == [[10], [11], [10]]


EXPERIMENT = """\
name = "together"
dataset = { type = "table", path = "songs.csv", regression = { valence = [0, 1] }, classification = ["genre"] }
model = { type = "mlp", hidden = [8], norm = "batch", dropout = 0.0 }
tasks.valence.loss.type = "ccc"
tasks.genre = {}
training = { epochs = 3, batch_size = 8, device = "cpu", threads = 1, optimizer = { type = "sgd", lr = 0.05 } }
evaluation.resamples = 100
"""


@pytest.fixture
def experiment_file(tmp_path):
    generator = np.random.default_rng(0)
    rows = ["id,features,valence,genre"]
    for number in range(31):
        np.save(tmp_path / f"{number}.npy", generator.normal(size=(20 + number % 7, 5)).astype(np.float32))
        rows.append(f"{number},{number}.npy,{generator.uniform():.3f},{'ab'[number % 2]}")
    (tmp_path / "songs.csv").write_text("\n".join(rows))
    path = tmp_path / "together.toml"
    path.write_text(EXPERIMENT)
    return path


class Killer:
    """Kills the other process of a run in its second epoch."""

    def __init__(self) -> None:
        self.killed = 0

    @hookimpl
    def musicemo_batch_finished(self, epoch):
        if epoch == 2 and not self.killed:
            (other,) = multiprocessing.active_children()
            os.kill(other.pid, signal.SIGKILL)
            self.killed = other.pid


@pytest.mark.slow
def test_a_run_that_loses_a_process_is_resumed_and_is_that_of_one_process(experiment_file, tmp_path):
    recipe = ["training.average={ type = 'swa', start = 1 }", "training.accumulate=2"]
    alone, together = (
        load_experiment(experiment_file, [f"training.processes={number}", *recipe]) for number in (1, 2)
    )
    (expected,) = run(alone, tmp_path / "alone", hooks=Hooks())
    killer, hooks = Killer(), Hooks()
    hooks.register(killer, "killer")
    with pytest.raises(RunError, match="process 2 of 2 of the run died: SIGKILL"):
        run(together, tmp_path / "runs", hooks=hooks)
    assert killer.killed
    (outcome,) = run(together, tmp_path / "runs", hooks=Hooks(), resume=True)
    assert not multiprocessing.active_children()
    assert outcome.results["resumed_after_epoch"] == 1
    record, one = open_run(outcome.directory), open_run(expected.directory)
    assert len(record.history) == len(one.history) == 3
    for ours, theirs in zip(record.history, one.history, strict=True):
        assert ours == pytest.approx(theirs, rel=1e-4, abs=1e-5)


class Stops:
    @hookimpl
    def musicemo_epoch_finished(self, run):
        run.stop("enough")


@pytest.mark.slow
def test_a_plugin_stops_every_process(experiment_file, tmp_path):
    hooks = Hooks()
    hooks.register(Stops(), "stops")
    (outcome,) = run(load_experiment(experiment_file, ["training.processes=2"]), tmp_path / "runs", hooks=hooks)
    assert outcome.results["stopped"] == {"reason": "enough", "epoch": 1}
    assert not multiprocessing.active_children()


@pytest.mark.parametrize(
    ("overrides", "message"),
    [
        (["training.processes=9"], r"training.processes: must be at most training.batch_size, 8"),
        (["training.processes=2", "model={ type = 'ridge' }"], r"'ridge' is fitted in one go, by one process"),
    ],
)
def test_what_processes_cannot_share_is_an_error(experiment_file, tmp_path, overrides, message):
    with pytest.raises(InputError, match=message):
        run(load_experiment(experiment_file, overrides), tmp_path / "runs", hooks=Hooks())
    assert not list(tmp_path.glob("runs/*/*"))


def test_each_process_needs_a_gpu_of_its_own(experiment_file, monkeypatch):
    monkeypatch.setattr(torch.cuda, "is_available", lambda: True)
    monkeypatch.setattr(torch.cuda, "device_count", lambda: 2)
    experiment = load_experiment(experiment_file, ["training.processes=2", "training.device='cuda'"])
    options = RunOptions()
    assert [options.choose_device(experiment, rank).index for rank in range(2)] == [0, 1]
    for overrides in (["training.processes=3"], ["training.processes=2", "training.device='cuda:1'"]):
        experiment = load_experiment(experiment_file, ["training.device='auto'", *overrides])
        with pytest.raises(InputError, match=r"training.processes: is [23], but cuda"):
            options.choose_device(experiment)
