"""The launcher ``submitit``, with processes of this machine as its cluster."""

import signal
import sys

import pytest
from matrix import found, results
from musicemo_builtin.launchers.submitit import Submitit

from musicemo.testing import check_launcher

LOCAL = ("--set", "launcher={ type = 'submitit', cluster = 'local', poll = 0.1 }")


def test_without_submitit_the_command_that_installs_it_is_named(monkeypatch):
    monkeypatch.setitem(sys.modules, "submitit", None)
    with pytest.raises(ImportError, match=r"pip install 'musicemo\[submitit\]'"):
        Submitit()


@pytest.mark.slow
def test_contract(tmp_path):
    pytest.importorskip("submitit", reason="needs the library submitit")
    local = {"cluster": "local", "folder": str(tmp_path), "poll": 0.1}
    check_launcher("submitit", {**local, "jobs": 2, "attempts": 2})


@pytest.mark.slow
def test_a_lost_run_is_resumed_and_all_are_those_of_one_process(losing_a_worker):
    pytest.importorskip("submitit", reason="needs the library submitit")
    losing_a_worker("--jobs", "2", *LOCAL)


@pytest.mark.slow
def test_a_job_that_is_preempted_is_queued_again_and_continues_its_run(losing_a_worker, tmp_path):
    pytest.importorskip("submitit", reason="needs the library submitit")
    losing_a_worker("--only", "epochs=3", *LOCAL, signal=signal.SIGUSR2)
    assert any(b"Requeued job" in log.read_bytes() for log in tmp_path.glob("submitit/*/*"))
    (directory,) = found(tmp_path).values()
    assert results(directory)["resumed_after_epoch"] >= 1


@pytest.mark.slow
def test_an_interruption_is_recorded_by_every_run(interrupted):
    pytest.importorskip("submitit", reason="needs the library submitit")
    interrupted(*LOCAL)
