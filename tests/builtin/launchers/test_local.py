"""The launcher ``local``."""

import pytest
import torch
from musicemo_builtin.launchers import local
from musicemo_builtin.launchers.local import Local
from worker_tasks import meet

from musicemo.contracts import Needs
from musicemo.testing import check_launcher


@pytest.mark.slow
def test_contract():
    check_launcher("local", {"jobs": 2})


@pytest.mark.slow
def test_a_lost_run_is_resumed_and_all_are_those_of_one_process(losing_a_worker):
    losing_a_worker("--jobs", "2")


@pytest.mark.parametrize(
    ("parameters", "tasks", "needs", "workers"),
    [
        ({}, 100, Needs(), 8),
        ({}, 100, Needs(threads=3), 2),
        ({}, 100, Needs(threads=16), 0),
        ({}, 3, Needs(), 3),
        ({}, 1, Needs(), 0),
        ({"jobs": 20}, 100, Needs(memory=3 << 30), 20),
        ({}, 100, Needs(memory=3 << 30), 3),
        ({}, 100, Needs(memory=11 << 30), 0),
        ({}, 100, Needs(gpus=1), 3),
        ({"jobs": 4}, 100, Needs(gpus=1), 4),
        ({}, 100, Needs(gpus=2), 0),
        ({"jobs": 1}, 100, Needs(), 0),
    ],
)
def test_workers_are_bounded_by_tasks_cores_memory_and_gpus(monkeypatch, parameters, tasks, needs, workers):
    monkeypatch.setattr(local, "cores", lambda: 8)
    monkeypatch.setattr(local, "free_memory", lambda: 10 << 30)
    monkeypatch.setattr(torch.cuda, "device_count", lambda: 3)
    assert Local(**parameters).workers(tasks, needs) == workers


@pytest.mark.slow
@pytest.mark.parametrize(("listed", "expected"), [(None, {"0", "1"}), ("3,5", {"3", "5"})])
def test_each_worker_has_a_gpu(monkeypatch, listed, expected, tmp_path):
    monkeypatch.setattr(torch.cuda, "device_count", lambda: 2)
    monkeypatch.delenv("CUDA_VISIBLE_DEVICES", raising=False)
    if listed:
        monkeypatch.setenv("CUDA_VISIBLE_DEVICES", listed)
    outcomes = Local().run(meet, [(str(tmp_path), "CUDA_VISIBLE_DEVICES")] * 2, Needs(gpus=1))
    assert {outcome.value for outcome in outcomes} == expected
