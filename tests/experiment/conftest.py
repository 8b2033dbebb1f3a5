"""Fixtures for the tests of experiments."""

from pathlib import Path

import pytest
from fakes import EXPERIMENT


@pytest.fixture
def write(tmp_path):
    def write(text: str = EXPERIMENT, name: str = "e.toml") -> Path:
        path = tmp_path / name
        path.parent.mkdir(parents=True, exist_ok=True)
        path.write_text(text)
        return path

    return write
