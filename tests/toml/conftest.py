"""Fixtures for the tests of experiment files as tables."""

from pathlib import Path

import pytest


@pytest.fixture
def toml_file(tmp_path):
    def write(text: str, name: str = "e.toml") -> Path:
        path = tmp_path / name
        path.parent.mkdir(parents=True, exist_ok=True)
        path.write_text(text, encoding="utf-8")
        return path

    return write
