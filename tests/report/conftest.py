"""Fixtures for tests of reports: run directories written by hand."""

from __future__ import annotations

import sys
from pathlib import Path

import pytest

sys.path.insert(0, str(Path(__file__).parent))
sys.path.insert(0, str(Path(__file__).parents[1] / "runs"))

from recorded_runs import write_run


@pytest.fixture
def directory(tmp_path) -> Path:
    """Return the directory of a finished run that can be changed."""
    return write_run(tmp_path / "runs" / "written")
