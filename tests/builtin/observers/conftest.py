"""Fixtures for tests of the observers."""

from __future__ import annotations

import sys
from pathlib import Path

import pytest

sys.path.insert(0, str(Path(__file__).parents[2] / "cli"))
sys.path.insert(0, str(Path(__file__).parents[2] / "training"))

from launcher import Launcher
from launcher import launcher as the_launcher


@pytest.fixture
def launcher() -> Launcher:
    """Return what runs ``musicemo`` in processes of its own."""
    return the_launcher()


@pytest.fixture(autouse=True)
def _one_thread(one_thread: None) -> None:
    """Everything here is small."""
