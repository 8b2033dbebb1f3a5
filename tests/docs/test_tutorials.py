"""Every line of the tutorials is run, in order, each tutorial in a folder of its own, with small settings.

A comment ``<!-- test: ... -->`` before a block says how the test differs from the reader: ``--set KEY=VALUE`` goes to
every command that takes an experiment, ``fixture lab`` makes small folders of the study's layout, ``install`` stands
for installing the package whose `pyproject.toml` was written before.
"""

from __future__ import annotations

import importlib.util
import shlex
import signal
import sys
import tomllib
from pathlib import Path

import fakes
import numpy as np
import pytest
from documented_blocks import ROOT, blocks

from musicemo import workers
from musicemo.components import registry

pytestmark = pytest.mark.slow

TUTORIALS = [*sorted((ROOT / "docs" / "tutorials").glob("*.md")), ROOT / "docs" / "plugins.md"]

#: These wait for somebody to look, or change the shell.
_NOT_RUN = ("tensorboard", "--install-completion")
_WITH_SETTINGS = ("run", "validate", "data", "show")


@pytest.fixture(scope="module")
def cache(tmp_path_factory):
    """Return the folder of the features, which the tutorials share."""
    return tmp_path_factory.mktemp("cache")


@pytest.fixture
def reader(tmp_path, cache, monkeypatch, capfd):
    """Return somebody who follows a tutorial."""
    monkeypatch.chdir(tmp_path)
    monkeypatch.setenv("MUSICEMO_CACHE", str(cache))
    monkeypatch.setattr(sys, "path", [str(tmp_path), *sys.path])
    monkeypatch.setattr(signal, "signal", lambda *_: None)
    monkeypatch.setattr(workers, "cores", lambda: 1)  # each worker process imports all that a song needs
    before = set(sys.modules)
    yield Reader(tmp_path, monkeypatch, capfd)
    registry.entry_points.cache_clear()
    for name in set(sys.modules) - before:
        if str(getattr(sys.modules[name], "__file__", "")).startswith(str(tmp_path)):
            del sys.modules[name]


class Reader:
    """Runs blocks."""

    def __init__(self, folder: Path, monkeypatch, capfd) -> None:
        self.folder = folder
        self._monkeypatch = monkeypatch
        self._capfd = capfd
        self._settings: list[str] = []
        self._names: dict[str, object] = {"__name__": "__tutorial__"}

    def follow(self, block) -> None:
        for directive in block.directives:
            self._obey(directive)
        if block.title:
            (self.folder / block.title).write_text(block.text, encoding="utf-8")
        elif block.language == "python":
            exec(compile(block.text, str(block), "exec"), self._names)
        elif block.language in ("console", "sh"):
            for words in block.commands():
                self._run(words, block)

    def _obey(self, directive: str) -> None:
        if directive.startswith("--set"):
            self._settings += shlex.split(directive)
        elif directive == "fixture lab":
            make_lab_folders(self.folder / "data")
        elif directive == "install":
            install(self.folder)
            self._monkeypatch.syspath_prepend(str(self.folder / "site"))
            registry.entry_points.cache_clear()
        else:
            raise ValueError(f"no directive is called {directive!r}")

    def _run(self, words: list[str], block) -> None:
        if words[0] == "pytest":
            run_tests(self.folder / words[1])
        elif words[0] == "pip":
            assert "install" in block.directives, f"{block}: cannot be run"
        else:
            assert words[0] == "musicemo", f"{block}: cannot be run"
            self._musicemo(words[1:], block)

    def _musicemo(self, words: list[str], block) -> None:
        from musicemo.cli import main

        if words[0] in _NOT_RUN:
            return
        more = (
            self._settings
            if words[0] in _WITH_SETTINGS and any(word.endswith(".toml") for word in words)
            else []
        )
        if words[0] == "run":
            more = [*more, "--jobs", "1"]  # other processes would import torch anew
        # Its figures take longer than the runs.
        self._monkeypatch.setattr(sys, "argv", ["musicemo", "--without", "tensorboard", *words, *more])
        with pytest.raises(SystemExit) as end:
            main()
        printed = self._capfd.readouterr()
        assert not end.value.code, f"{block}: {' '.join(words)}\n{printed.out}\n{printed.err}"


def install(folder: Path) -> None:
    """Do what installing a package does that musicemo looks at."""
    project = tomllib.loads((folder / "pyproject.toml").read_text())["project"]
    points = [
        (kind, name, value)
        for kind, group in registry.GROUPS.items()
        for name, value in project["entry-points"].get(group, {}).items()
    ]
    (folder / "site").mkdir()
    fakes.write_distribution(folder / "site", points, project["name"], project["version"])


def run_tests(path: Path) -> None:
    """Call the tests of a file."""
    spec = importlib.util.spec_from_file_location(path.stem, path)
    assert spec
    assert spec.loader
    module = importlib.util.module_from_spec(spec)
    spec.loader.exec_module(module)
    tests = [value for name, value in vars(module).items() if name.startswith("test_")]
    assert tests
    for test in tests:
        test()


def make_lab_folders(data: Path) -> None:
    """Make small folders of the study's layout."""
    random = np.random.default_rng(0)
    genres = ("Rock", "Psych-Rock", "Folk", "Psych-Folk", "Electronic", "Hip-Hop", "Soundtrack", "Metal")
    folder = data / "fma_genre_spectrograms_beat"
    for part, count in (("train", 64), ("test", 24)):
        rows = [(number, genres[number % len(genres)]) for number in range(count)]
        _write_arrays(folder / part, [number for number, _ in rows], random)
        lines = ["Id\tGenre", *(f"{number}.fused.full.npy.gz\t{genre}" for number, genre in rows)]
        (folder / f"{part}_labels.txt").write_text("\n".join(lines) + "\n")
    folder = data / "multitask_dataset_beat"
    _write_arrays(folder / "train", range(40), random)
    lines = ["Id,valence,energy,danceability"]
    lines += [f"{number}," + ",".join(f"{value:.3f}" for value in random.random(3)) for number in range(40)]
    (folder / "train_labels.txt").write_text("\n".join(lines) + "\n")


def _write_arrays(folder: Path, numbers, random) -> None:
    folder.mkdir(parents=True)
    for number in numbers:
        np.save(folder / f"{number}.fused.full.npy", random.normal(size=(140, 30)).astype(np.float32))


@pytest.mark.parametrize("page", TUTORIALS, ids=lambda page: page.stem)
def test_a_tutorial_can_be_followed(page, reader):
    for block in blocks(page):
        reader.follow(block)
