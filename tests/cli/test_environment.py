"""``musicemo environment``."""

from __future__ import annotations

import json
import sys

import pytest

from musicemo import __version__


@pytest.mark.slow
def test_it_has_what_a_bug_report_needs(command, fakes_beside, monkeypatch):
    fakes_beside("model", "rotten", "no_such_module:Rotten", distribution="rotten-models", version="0.3")
    monkeypatch.setenv("MUSICEMO_CACHE", "/somewhere")
    finished = command("environment", "--json")
    assert (finished.code, finished.err) == (0, "")
    found = json.loads(finished.out)
    assert found["musicemo"] == __version__
    assert found["packages"]["torch"]
    assert found["plugins"]["rotten-models"] == "0.3"
    assert found["variables"]["MUSICEMO_CACHE"] == "/somewhere"
    assert found["cache"].startswith("/somewhere")
    assert found["interpreter"] == sys.executable
    (problem,) = found["broken"]
    assert "model 'rotten' of rotten-models 0.3" in problem
    assert "command" not in found

    text = command("environment").out
    assert f"musicemo     {__version__}\n" in text
    assert problem in text


@pytest.mark.slow
def test_nothing_broken_is_said(command):
    assert command("environment").out.splitlines()[-1].split() == ["broken", "none"]


@pytest.mark.slow
def test_it_can_be_written_to_a_file(command, tmp_path):
    assert command("environment", "--output", tmp_path / "report.txt").out == ""
    assert "device" in (tmp_path / "report.txt").read_text()
    finished = command("environment", "--output", tmp_path / "no" / "report.txt")
    assert finished.code == 2
    assert "does not exist" in finished.err
