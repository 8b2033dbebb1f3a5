"""Two runs of the matrix, one after the other in one process."""

import os
import signal

import pytest
from launcher import launcher
from matrix import FOUR, MATRIX, content, found, results, run
from worker_tasks import is_running, wait_for

#: Two runs suffice, as processes that start slowly execute them.
TWO = ("--only", "hidden=8")


@pytest.fixture(scope="session")
def serial(tmp_path_factory):
    """Return name of the variant -> all of its run that is not of the time that it took."""
    folder = tmp_path_factory.mktemp("serial")
    finished = run(launcher(), folder, *TWO, "--jobs", "1")
    assert finished.code == 0, finished.err
    return {name: content(path) for name, path in found(folder).items()}, finished.out.splitlines()[-8:]


@pytest.fixture
def losing_a_worker(serial, tmp_path):
    """Return a function that executes the runs, ends one worker, and compares the runs with the serial ones."""

    def check(*arguments, signal=signal.SIGKILL):
        expected, table = serial
        lost = tmp_path / "lost"
        finished = run(
            launcher(), tmp_path, *TWO, *arguments, kill_at="epoch_finished:2", kill_once=lost, signal=signal
        )
        assert finished.code == 0, finished.err
        assert lost.exists(), "no worker was ended"
        contents = {name: content(path) for name, path in found(tmp_path).items()}
        assert contents == {name: expected[name] for name in contents}
        if "--only" not in arguments:
            assert list(contents) == FOUR[2:]
            assert finished.out.splitlines()[-8:] == table
        return finished

    return check


@pytest.fixture
def interrupted(tmp_path):
    """Return a function that interrupts two runs in the midst of training, and checks that they have recorded it."""

    def check(*arguments):
        (tmp_path / "small.toml").write_text(MATRIX.replace("[2, 3]", "[100000]"))
        endless = "training.early_stopping.patience=false"
        process = launcher().start("run", "small.toml", "--set", endless, *arguments, folder=tmp_path)
        wait_for(lambda: len(list(tmp_path.glob("runs/*/*/checkpoints/last.pt"))) == 2)
        workers = [results(path)["process"]["pid"] for path in found(tmp_path).values()]
        os.kill(process.pid, signal.SIGINT)
        finished = process.wait()
        assert finished.code == 130
        assert "interrupted: run `musicemo run` with --resume to continue" in finished.err
        assert [results(path)["status"] for path in found(tmp_path).values()] == ["interrupted"] * 2
        wait_for(lambda: not any(map(is_running, workers)))

    return check
