"""Fixtures for tests of the observers."""

from __future__ import annotations

import sys
from collections.abc import Iterator
from pathlib import Path

import pytest
import torch

sys.path.insert(0, str(Path(__file__).parents[2] / "cli"))
sys.path.insert(0, str(Path(__file__).parents[2] / "training"))

from launcher import Launcher
from launcher import launcher as the_launcher


@pytest.fixture
def launcher() -> Launcher:
    """Return what runs ``musicemo`` in processes of its own."""
    return the_launcher()


@pytest.fixture(autouse=True)
def _one_thread() -> Iterator[None]:
    """Keep small tensors on one thread: on a busy machine, threads that wait for each other take longer."""
    threads = torch.get_num_threads()
    torch.set_num_threads(1)
    yield
    torch.set_num_threads(threads)
