"""Fixtures for tests of the command line."""

from __future__ import annotations

import signal
import sys
from collections.abc import Callable
from pathlib import Path

import pytest
import trained as trained_module
from launcher import Finished, Launcher
from launcher import launcher as the_launcher


@pytest.fixture
def launcher() -> Launcher:
    """Return what runs ``musicemo`` in processes of its own."""
    return the_launcher()


@pytest.fixture(scope="session")
def trained(tmp_path_factory) -> trained_module.Trained:
    """Return two finished replicates of a small experiment; do not write to them."""
    return trained_module.Trained(the_launcher(), Path(tmp_path_factory.mktemp("trained")))


@pytest.fixture
def command(trained, fakes_beside, monkeypatch, capfd) -> Callable[..., Finished]:
    """Return what runs ``musicemo ARGUMENTS`` in this process: quicker, for what needs no process of its own."""
    from clips import Clips

    from musicemo.cli import main

    fakes_beside("dataset", "clips", Clips)
    monkeypatch.setattr(signal, "signal", lambda *_: None)

    def run(*arguments: object, folder: Path = trained.folder) -> Finished:
        monkeypatch.chdir(folder)
        monkeypatch.setattr(sys, "argv", ["musicemo", *map(str, arguments)])
        with pytest.raises(SystemExit) as end:
            main()
        return Finished(int(end.value.code or 0), *capfd.readouterr())

    return run
