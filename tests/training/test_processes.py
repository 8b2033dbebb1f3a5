"""Several processes that train one network give the gradient of one, and a run like that of one."""

import importlib.metadata
import signal

import pytest
import torch
from two_processes import Case, compare

from musicemo import load_experiment, open_run
from musicemo.errors import InputError, RunError
from musicemo.running.sweep import run
from musicemo.training.processes import Processes


def names(kind: str) -> list[str]:
    points = importlib.metadata.entry_points(group=f"musicemo.{kind}")
    return sorted(point.name for point in points if point.value.startswith("musicemo_builtin"))


def every_loss() -> list[Case]:
    return [({"task": name}, ("mlp", {"dropout": 0.0}), ("constant", {})) for name in names("losses")]


def every_model() -> list[Case]:
    still: dict[str, dict[str, object]] = {
        "mlp": {"dropout": 0.0, "norm": "batch"},
        "cnn": {"channels": [3, 4], "kernels": [3, 3]},
        "crnn": {"channels": [3, 4], "strides": [2, 1], "hidden": 5, "dropout": 0.0},
        "lstm": {"hidden": 5, "dropout": 0.0},
        "transformer": {"width": 8, "layers": 1, "heads": 2, "dropout": 0.0},
    }
    return [
        ({"a": "ccc", "b": "cross-entropy"}, (name, more), ("constant", {})) for name, more in still.items()
    ]


def every_weighting() -> list[Case]:
    losses = {"valence": "soft-spearman", "energy": "mse", "genre": "cross-entropy"}
    cases = [(losses, ("mlp", {"dropout": 0.0}), (name, {})) for name in names("weightings")]
    return [*cases, (losses, ("mlp", {"dropout": 0.0}), ("gradnorm", {"of": "shared"}))]


@pytest.mark.slow
def test_two_processes_have_the_gradient_of_one():
    cases = [*every_loss(), *every_model(), *every_weighting()]
    for case, differences in zip(cases, compare(cases), strict=True):
        gradients = [largest for name, (_, largest) in differences.items() if name.startswith("gradient")]
        for name, (difference, largest) in differences.items():
            scale = max(gradients) if name.startswith("gradient") else largest
            assert difference <= 1e-6 * max(scale, 1.0), (case, name, difference, scale)


def test_every_track_of_a_batch_has_one_share():
    indices = torch.arange(10, 17).numpy()
    shares = [Processes(rank, 3).share(indices).tolist() for rank in range(3)]
    assert shares == [[10, 11, 12], [13, 14], [15, 16]]


def test_a_process_without_a_share_computes_a_track_that_does_not_count():
    indices = torch.arange(10, 12).numpy()
    assert [Processes(rank, 3).share(indices).tolist() for rank in range(3)] == [[10], [11], [10]]
