"""Fixtures for tests of reports: run directories written by hand."""

from __future__ import annotations

import json
from collections.abc import Callable
from pathlib import Path

import pytest
from reading_html import Reader
from recorded_runs import write_run

from musicemo.reporting import make_report, render


@pytest.fixture
def directory(tmp_path) -> Path:
    """Return the directory of a finished run that can be changed."""
    return write_run(tmp_path / "runs" / "written")


@pytest.fixture
def read(directory: Path) -> Callable[..., Reader]:
    """Return what reads the report of the run with more results."""

    def reading(**results: object) -> Reader:
        path = directory / "results.json"
        path.write_text(json.dumps(json.loads(path.read_text()) | results))
        return Reader(render(make_report(directory)))

    return reading
