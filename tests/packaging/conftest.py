"""A fresh environment with musicemo's wheel, beside whatever else the running environment has."""

from __future__ import annotations

import contextlib
import os
import subprocess
import sys
import tarfile
import venv
from collections.abc import Iterator
from dataclasses import dataclass
from pathlib import Path

import pytest

ROOT = Path(__file__).parents[2]


@dataclass(frozen=True)
class Packages:
    """What was built: the sdist, the wheel that is made of it, and the one that is made of the working tree."""

    sdist: Path
    from_sdist: Path
    from_tree: Path


class Environment:
    """A virtual environment with nothing of its own but what is installed into it; torch and all else are borrowed."""

    def __init__(self, folder: Path) -> None:
        venv.create(folder, with_pip=False, symlinks=True)
        self.scripts = folder / "bin"
        (self.site,) = folder.glob("lib/python*/site-packages")
        borrowed = [path for path in sys.path if path.endswith("site-packages")]
        (self.site / "borrowed.pth").write_text("\n".join(borrowed) + "\n")

    def pip(self, *arguments: str | Path) -> None:
        """Run pip on the environment; nothing is downloaded."""
        python = str(self.scripts / "python")
        options = ["--python", python, "--quiet", "--disable-pip-version-check", "--no-input"]
        checked([sys.executable, "-m", "pip", *options, *map(str, arguments)], ROOT.parent)

    def install(self, *projects: Path) -> None:
        """Install wheels or projects, without their dependencies."""
        options = ["--no-deps", "--no-build-isolation", "--no-index", "--ignore-installed"]
        self.pip("install", *options, *projects)

    def run(self, folder: Path, *words: str | Path, **more: str) -> subprocess.CompletedProcess[str]:
        """Run a script of the environment in a folder, on one core."""
        hidden = ("PYTHONPATH", "COLUMNS")
        environment = {name: value for name, value in os.environ.items() if name not in hidden}
        with on_one_core():
            return subprocess.run(
                [str(self.scripts / words[0]), *map(str, words[1:])],
                cwd=folder,
                env={**environment, "OMP_NUM_THREADS": "1", **more},
                capture_output=True,
                text=True,
                check=False,
            )


@contextlib.contextmanager
def on_one_core() -> Iterator[None]:
    """Keep this process and its children on one core: a pool starts one worker, which compiles each kernel anew."""
    if not hasattr(os, "sched_setaffinity"):
        yield
        return
    cores = os.sched_getaffinity(0)
    os.sched_setaffinity(0, {sorted(cores)[os.getpid() % len(cores)]})
    try:
        yield
    finally:
        os.sched_setaffinity(0, cores)


def checked(command: list[str], folder: Path) -> None:
    """Run a command that must succeed."""
    done = subprocess.run(command, cwd=folder, capture_output=True, text=True, check=False)
    assert done.returncode == 0, f"{' '.join(command)}\n{done.stdout}{done.stderr}"


def build(source: Path, folder: Path, *targets: str) -> list[Path]:
    """Build a project, as pip and build would, with the backend that is here."""
    wanted = [word for target in targets for word in ("-t", target)]
    checked([sys.executable, "-m", "hatchling", "build", *wanted, "-d", str(folder)], source)
    return sorted(folder.iterdir())


@pytest.fixture(scope="session")
def packages(tmp_path_factory) -> Packages:
    """Build everything once."""
    pytest.importorskip("hatchling")
    (sdist,) = build(ROOT, tmp_path_factory.mktemp("sdist"), "sdist")
    (from_tree,) = build(ROOT, tmp_path_factory.mktemp("tree"), "wheel")
    unpacked = tmp_path_factory.mktemp("unpacked")
    with tarfile.open(sdist) as archive:
        archive.extractall(unpacked, filter="data")
    (source,) = unpacked.iterdir()
    (from_sdist,) = build(source, tmp_path_factory.mktemp("wheel"), "wheel")
    return Packages(sdist, from_sdist, from_tree)


@pytest.fixture(scope="session")
def environment(packages, tmp_path_factory) -> Environment:
    """Return an environment that has the wheel which was made of the sdist, and the further distributions."""
    made = Environment(tmp_path_factory.mktemp("environment"))
    made.install(packages.from_sdist, *(file.parent for file in (ROOT / "plugins").glob("*/pyproject.toml")))
    return made
