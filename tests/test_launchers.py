"""Which launcher executes the runs of a command, and what it is told about them."""

import pytest
import torch
from harness import load

from musicemo.contracts import Needs
from musicemo.errors import InputError
from musicemo.running.prepare import RunOptions
from musicemo.running.sweep import Sweep
from musicemo.workers import cores

pytestmark = pytest.mark.usefixtures("fakes")


class Asked:
    """A launcher that keeps what it is asked for."""

    def __init__(self, *, jobs: int | None = None) -> None:
        pass

    def workers(self, tasks, needs):
        self.asked = tasks, needs
        return tasks

    def run(self, function, tasks, needs):
        raise NotImplementedError


class Plain:
    """A launcher without parameters."""

    def workers(self, tasks, needs):
        return tasks

    def run(self, function, tasks, needs):
        raise NotImplementedError


def test_experiments_must_have_one_launcher(fakes, tmp_path):
    fakes("launcher", "asked", Asked)
    first = load(tmp_path, "launcher.type=asked", "launcher.jobs=2")
    second = load(tmp_path, "launcher.type=asked", "launcher.jobs=3")
    with pytest.raises(InputError, match=r"different launchers\. Choose one with --launcher NAME"):
        Sweep([first, second], RunOptions())
    assert Sweep([first, first], RunOptions()).jobs == 2
    assert Sweep([first, second], RunOptions(), launcher="local", jobs=1).in_turn


def test_the_number_of_jobs_is_a_parameter_of_the_launcher(fakes, tmp_path):
    fakes("launcher", "plain", Plain)
    with pytest.raises(InputError, match="--jobs 2: the launcher 'plain' has no parameter jobs"):
        Sweep([load(tmp_path, "launcher.type=plain")], RunOptions(), jobs=2)


@pytest.mark.parametrize(
    ("device", "cuda", "expected"),
    [
        ("cpu", True, Needs(threads=1)),
        ("auto", False, Needs(threads=1)),
        ("auto", True, Needs(threads=1, gpus=1)),
        ("cuda", False, Needs(threads=1, gpus=1)),
        ("cuda:1", True, Needs(threads=cores())),
        ("mps", False, Needs(threads=cores())),
    ],
)
def test_a_launcher_is_told_the_threads_and_whether_it_chooses_a_gpu(
    monkeypatch, tmp_path, device, cuda, expected
):
    monkeypatch.setattr(torch.cuda, "is_available", lambda: cuda)
    monkeypatch.setattr(torch.backends.mps, "is_available", lambda: False)
    launcher = Asked()
    Sweep([load(tmp_path, "seeds=[0, 1]")], RunOptions(device=device), launcher=launcher)
    assert launcher.asked == (2, expected)


def test_a_launcher_is_told_the_memory_of_the_data(tmp_path):
    launcher = Asked()
    sweep = Sweep([load(tmp_path, "seeds=[0, 1]")], RunOptions(), launcher=launcher)
    assert launcher.asked[1].memory == 0
    sweep.read_data()
    small = launcher.asked[1].memory
    sweep = Sweep([load(tmp_path, "seeds=[0, 1]", "dataset.tracks=600")], RunOptions(), launcher=launcher)
    sweep.read_data()
    assert launcher.asked[1].memory > small > 0


def test_the_launcher_is_not_part_of_a_run(tmp_path):
    assert load(tmp_path, "launcher.jobs=2").resolved()["launcher"] == {
        "type": "local",
        "jobs": 2,
        "attempts": 2,
    }
    assert "launcher" not in load(tmp_path, "launcher.jobs=2").resolved(0)
