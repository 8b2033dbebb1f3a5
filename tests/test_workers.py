"""Tasks over processes: outcomes, deaths, ends."""

import functools
import multiprocessing.spawn
import os
import signal
import subprocess
import sys
import time
from pathlib import Path

import pytest
from worker_tasks import (
    Unreadable,
    dawdle,
    fail,
    is_running,
    itself,
    leave,
    meet,
    perish,
    process,
    square,
    threads,
    wait_for,
    write_slowly,
)

from musicemo import workers
from musicemo.components.local import LocalCode
from musicemo.errors import InputError, RunError
from musicemo.workers import WorkerDied, cores, interruptible, run_tasks, unbroken

pytestmark = pytest.mark.slow

ROOT = Path(__file__).resolve().parents[1]


@pytest.mark.parametrize("jobs", [0, 1, 2])
def test_every_task_has_its_outcome(jobs):
    tasks = [3, -1, *range(20)]
    outcomes = list(run_tasks(functools.partial(square, power=3), tasks, jobs))
    assert sorted(outcome.task for outcome in outcomes) == sorted(tasks)
    for outcome in outcomes:
        if outcome.task < 0:
            assert outcome.value is None
            assert isinstance(outcome.error, InputError)
            assert str(outcome.error) == "-1 is negative\nand that is that"
        else:
            assert (outcome.value, outcome.error) == (outcome.task**3, None)


def test_workers_find_the_classes_of_local_files(tmp_path):
    (tmp_path / "mine.py").write_text(
        "class Mine:\n    def __eq__(self, other):\n        return type(other) is Mine\n"
    )
    mine = LocalCode.find("mine.py:Mine", tmp_path).load()()
    (outcome,) = run_tasks(itself, [mine], 1)
    assert outcome.value == mine
    assert outcome.error is None


def test_no_task_needs_no_process():
    assert list(run_tasks(square, [], 2)) == []


def test_tasks_are_taken_as_they_are_needed():
    taken = []

    def tasks():
        for number in range(10):
            taken.append(number)
            yield number

    for count, _ in enumerate(run_tasks(square, tasks(), 2), start=1):
        assert len(taken) <= count + 2


def test_processes_are_kept_and_have_one_thread():
    pids = {outcome.value for outcome in run_tasks(process, range(10), 2)}
    assert 1 <= len(pids) <= 2
    assert os.getpid() not in pids
    (outcome,) = run_tasks(threads, [0], 1)
    assert set(outcome.value) == {1}


def test_a_process_that_dies_fails_its_task_alone():
    tasks = ["a", int(signal.SIGKILL), "b", "exit", int(signal.SIGSEGV), "c"]
    outcomes = {outcome.task: outcome for outcome in run_tasks(perish, tasks, 2)}
    assert [outcomes[name].value for name in "abc"] == ["a", "b", "c"]
    said = {task: str(outcomes[task].error) for task in tasks if len(str(task)) > 1 or isinstance(task, int)}
    assert said == {
        signal.SIGKILL: "SIGKILL, as when memory runs out",
        signal.SIGSEGV: "SIGSEGV",
        "exit": "exit code 3: out of ideas",
    }
    assert all(isinstance(outcomes[task].error, WorkerDied) for task in said)


def test_errors_and_values_that_cannot_be_sent():
    outcomes = {outcome.task: outcome.error for outcome in run_tasks(fail, ["error", "lambda", "divide"], 1)}
    assert str(outcomes["error"]) == "Stubborn: 1 and 2"
    assert "lambda" in str(outcomes["lambda"])
    assert isinstance(outcomes["divide"], ZeroDivisionError)
    assert "return 1 / 0" in outcomes["divide"].__notes__[0]


def test_a_function_that_cannot_be_sent_starts_nothing(monkeypatch):
    monkeypatch.setattr(subprocess, "Popen", None)
    with pytest.raises((AttributeError, TypeError), match=r"lambda|local"):
        list(run_tasks(lambda task: task, [1], 1))


@pytest.mark.parametrize(
    ("how", "message"), [("exit", "All workers expired"), ("error", "LookupError: .*nowhere")]
)
def test_processes_that_cannot_start_are_an_error(how, message):
    with pytest.raises(RunError, match=f"a worker process ended when it started: {message}"):
        list(run_tasks(Unreadable(how), [1, 2, 3], 2))


def test_a_missing_interpreter_is_an_error(monkeypatch):
    monkeypatch.setattr(multiprocessing.spawn, "_python_exe", b"/nowhere/python")
    with pytest.raises(RunError, match="a worker process ended when it started"):
        list(run_tasks(square, [1], 1))


def test_an_end_with_the_exit_code_0_fails_the_task():
    outcomes = {outcome.task: outcome for outcome in run_tasks(leave, [0, None], 1)}
    assert str(outcomes[0].error) == "exit code 0"
    assert outcomes[None].value == "stayed"


def test_each_process_has_its_environment(tmp_path):
    environments = [{"PLACE": "here"}, {"PLACE": "there"}]
    outcomes = list(run_tasks(meet, [(str(tmp_path), "PLACE")] * 2, 2, environments=environments))
    assert sorted(outcome.value for outcome in outcomes) == ["here", "there"]


def test_a_negative_number_of_jobs():
    with pytest.raises(InputError, match="jobs is -1"):
        list(run_tasks(square, [1], -1))


def test_closing_ends_the_processes_at_once(tmp_path):
    first = tmp_path / "pid"
    outcomes = run_tasks(_start_or_dawdle, ["", str(first)], 2)
    assert next(outcomes).value == "started"
    wait_for(lambda: first.exists() and first.read_text())
    begin = time.monotonic()
    outcomes.close()
    assert time.monotonic() - begin < 30
    assert not is_running(int(first.read_text()))


def _start_or_dawdle(path):
    return dawdle(path) if path else "started"


def test_the_end_waits_for_what_is_unbroken(tmp_path):
    path = tmp_path / "file"
    outcomes = run_tasks(_start_or_write, ["", str(path)], 2)
    next(outcomes)
    wait_for(path.exists)
    outcomes.close()
    assert path.read_text() == "whole"


def test_a_process_that_takes_too_long_is_killed_without_an_error(tmp_path, monkeypatch):
    monkeypatch.setattr("musicemo.workers._PATIENCE", 0.1)
    path = tmp_path / "file"
    outcomes = run_tasks(_start_or_hold_on, ["", str(path)], 2)
    next(outcomes)
    wait_for(path.exists)
    outcomes.close()
    wait_for(lambda: not is_running(int(path.read_text())), seconds=5)


def _start_or_hold_on(path):
    if not path:
        return "started"
    with unbroken():
        dawdle(path)


def _start_or_write(path):
    return write_slowly(path) if path else "started"


def test_what_is_interruptible_is_interrupted_by_the_end_and_waited_for(tmp_path):
    path = tmp_path / "file"
    outcomes = run_tasks(_start_or_be_interrupted, ["", str(path)], 2)
    next(outcomes)
    wait_for(path.exists)
    outcomes.close()
    assert path.read_text() == "interrupted"


def _start_or_be_interrupted(path):
    if not path:
        return "started"
    with interruptible():
        try:
            Path(path).write_text("begun")
            time.sleep(60)
        except KeyboardInterrupt:
            time.sleep(0.3)
            Path(path).write_text("interrupted")
            raise


SCRIPT = """
import sys, time
from worker_tasks import dawdle
from musicemo.workers import run_tasks

print("main", flush=True)  # no guard: the processes do not import the main program
for outcome in run_tasks(dawdle, [sys.argv[1]], 1):
    print(outcome)
"""


@pytest.mark.parametrize("how", [signal.SIGKILL, signal.SIGINT])
def test_processes_end_with_their_parent(tmp_path, how):
    script, pid = tmp_path / "script.py", tmp_path / "pid"
    script.write_text(SCRIPT)
    program = subprocess.Popen(
        [sys.executable, str(script), str(pid)],
        env={**os.environ, "PYTHONPATH": os.pathsep.join([str(ROOT), str(Path(__file__).parent / "support")])},
        stdout=subprocess.PIPE,
        stderr=subprocess.DEVNULL,
        text=True,
    )
    wait_for(lambda: pid.exists() and pid.read_text())
    program.send_signal(how)
    out, _ = program.communicate(timeout=50)
    assert out == "main\n"
    wait_for(lambda: not is_running(int(pid.read_text())))


def test_cores(monkeypatch, tmp_path):
    monkeypatch.setattr(os, "sched_getaffinity", lambda _: set(range(8)), raising=False)
    quota = tmp_path / "cpu.max"
    monkeypatch.setattr(workers, "Path", lambda _: quota)
    assert cores() == 8
    for text, count in (("max 100000", 8), ("250000 100000", 2), ("5000 100000", 1)):
        quota.write_text(text)
        assert cores() == count
