"""Fixtures for tests of run directories."""

from __future__ import annotations

import pytest
from launcher import Launcher
from launcher import launcher as the_launcher


@pytest.fixture(scope="session")
def launcher() -> Launcher:
    """Return what runs ``musicemo`` in processes of its own."""
    return the_launcher()


@pytest.fixture(autouse=True)
def _one_thread(one_thread: None) -> None:
    """Everything here is small."""
