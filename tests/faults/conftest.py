"""Fixtures of the fault-injection suite."""

from __future__ import annotations

import os

import numpy as np
import pytest
from launcher import Launcher
from launcher import launcher as the_launcher

#: Multiplies the number of trials; `make faults` sets it.
SCALE = int(os.environ.get("MUSICEMO_FAULTS", "1"))


@pytest.fixture(scope="session")
def launcher() -> Launcher:
    """Return the server that runs ``musicemo`` in processes of its own."""
    return the_launcher()


@pytest.fixture(autouse=True)
def _one_thread(one_thread: None) -> None:
    """Keep the small tensors of these tests on one thread."""


@pytest.fixture
def scale() -> int:
    """Return the factor of the numbers of trials."""
    return SCALE


@pytest.fixture
def random() -> np.random.Generator:
    """Return a generator; each test sees the same faults every time."""
    return np.random.default_rng(20)
