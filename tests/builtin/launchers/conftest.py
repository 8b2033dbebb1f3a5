"""The matrix of four runs, one after the other in one process."""

import pytest
from launcher import launcher
from matrix import content, found, run


@pytest.fixture(scope="session")
def serial(tmp_path_factory):
    """Return name of the variant -> all of its run that is not of the time that it took."""
    folder = tmp_path_factory.mktemp("serial")
    finished = run(launcher(), folder, "--jobs", "1")
    assert finished.code == 0, finished.err
    return {name: content(path) for name, path in found(folder).items()}, finished.out.splitlines()[-20:]


@pytest.fixture
def losing_a_worker(serial, tmp_path):
    """Return a function that runs the matrix with one worker killed, and compares it with the serial runs."""

    def check(*arguments):
        expected, table = serial
        lost = tmp_path / "lost"
        finished = run(launcher(), tmp_path, *arguments, kill_at="epoch_finished:2", kill_once=lost)
        assert finished.code == 0, finished.err
        assert lost.exists(), "no worker was killed"
        assert {name: content(path) for name, path in found(tmp_path).items()} == expected
        assert finished.out.splitlines()[-8:] == table[-8:]
        return finished

    return check
