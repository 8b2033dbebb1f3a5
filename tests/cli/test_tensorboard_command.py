"""``musicemo tensorboard``."""

from __future__ import annotations

import json
import os
import re
import signal
import socket
import time
import urllib.request

import pytest

pytestmark = pytest.mark.slow


@pytest.fixture
def run(tmp_path):
    """Return a run directory with something to look at."""
    from torch.utils.tensorboard import SummaryWriter

    folder = tmp_path / "runs" / "mine" / "20260101-000000-seed0"
    with SummaryWriter(str(folder)) as writer:
        writer.add_scalar("train/loss", 1.5, 1)
    return folder


def test_it_serves_the_runs_until_it_is_interrupted(launcher, run, tmp_path):
    process = launcher.start("tensorboard", "--port", "0", "--no-browser", folder=tmp_path)
    deadline = time.monotonic() + 240
    while not (found := re.search(r"shows runs at (http://\S+)", process.read())):
        assert time.monotonic() < deadline
        time.sleep(0.1)
    names: list[str] = []
    while not names and time.monotonic() < deadline:
        with urllib.request.urlopen(f"{found[1]}data/runs", timeout=60) as answer:
            names = json.load(answer)
        time.sleep(0.2)
    os.kill(process.pid, signal.SIGINT)
    finished = process.wait()
    assert names == ["mine/20260101-000000-seed0"]
    assert (finished.code, finished.err) == (0, "")


def test_a_port_that_is_taken_is_the_users(launcher, run, tmp_path):
    with socket.create_server(("127.0.0.1", 0)) as taken:
        port = taken.getsockname()[1]
        finished = launcher.run("tensorboard", str(run), "--port", str(port), "--host", "127.0.0.1")
    assert finished.code == 2
    assert str(port) in finished.err
    assert "--port 0" in finished.err


def test_a_folder_without_runs_says_where_they_come_from(command, tmp_path):
    (tmp_path / "empty").mkdir()
    (tmp_path / "file").touch()
    for name, why in {"nowhere": "does not exist", "empty": "contains no run", "file": "is a file"}.items():
        finished = command("tensorboard", tmp_path / name)
        assert finished.code == 2
        assert why in finished.err
        assert "musicemo run EXPERIMENT" in finished.err
