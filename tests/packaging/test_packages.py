"""What is built, installed and run outside the repository: musicemo itself, and packages of other people."""

from __future__ import annotations

import json
import re
import shutil
import tarfile
import zipfile
from pathlib import Path

import pytest

from musicemo import __version__
from musicemo.authoring.plugin import KINDS, new_plugin

pytestmark = pytest.mark.packaging

ROOT = Path(__file__).parents[2]
THIRD_PARTY = ROOT / "tests" / "thirdparty"


def sources(folder: str) -> set[str]:
    """Return the files of a package in the repository, by their path in a wheel."""
    package = ROOT / folder
    found = [path for path in package.rglob("*") if path.is_file() and "__pycache__" not in path.parts]
    return {str(path.relative_to(package.parent)) for path in found}


def test_a_wheel_has_the_packages_and_nothing_else(packages):
    with zipfile.ZipFile(packages.from_sdist) as archive:
        names = set(archive.namelist())
        entry_points = archive.read(f"musicemo-{__version__}.dist-info/entry_points.txt").decode()
    own = {name for name in names if ".dist-info/" not in name}
    assert own == sources("musicemo") | sources("plugins/musicemo_builtin")
    assert "musicemo/py.typed" in own
    assert "musicemo/authoring/templates/model.py.template" in own
    for line in ("musicemo = musicemo.cli:main", "cnn = musicemo_builtin.models.cnn:CNN", "[pytest11]"):
        assert line in entry_points


def test_the_wheel_of_the_sdist_is_that_of_the_tree(packages):
    def content(wheel: Path) -> dict[str, int]:
        with zipfile.ZipFile(wheel) as archive:
            return {info.filename: info.CRC for info in archive.infolist()}

    assert packages.from_sdist.name == packages.from_tree.name == f"musicemo-{__version__}-py3-none-any.whl"
    assert content(packages.from_sdist) == content(packages.from_tree)


def test_an_sdist_has_what_is_needed_to_build_and_to_test(packages):
    with tarfile.open(packages.sdist) as archive:
        names = {name.partition("/")[2] for name in archive.getnames()}
    wanted = (
        "pyproject.toml",
        "README.md",
        "LICENSE",
        "CHANGELOG.md",
        "constraints.txt",
        "tests/conftest.py",
        "Makefile",
    )
    assert {
        *wanted,
        "docs/plugins.md",
        "experiments/multitask.toml",
        "tests/thirdparty/pyproject.toml",
    } <= names
    left_over = (".pyc", ".pt", ".npy", ".whl")
    assert not [name for name in names if name.endswith(left_over) or name.startswith(("runs", ".venv"))]


def test_a_package_of_somebody_else(environment, tmp_path):
    """Installed, listed, run, uninstalled, and missed."""
    project = tmp_path / "project"
    shutil.copytree(THIRD_PARTY, project)
    environment.install(project)

    listed = environment.run(tmp_path, "musicemo", "plugins", "--json")
    assert listed.returncode == 0, listed.stderr
    rows = json.loads(listed.stdout)
    theirs = [row for row in rows if row["distribution"] == "sonatina"]
    assert [(row["kind"], row["name"]) for row in theirs] == [
        *(("dataset", "sonatina-scales"), ("model", "sonatina-gru"), ("loss", "sonatina-quantile")),
        *(("weighting", "sonatina-slowest"), ("plugin", "sonatina-diary")),
    ]
    assert {row["problem"] for row in rows} == {None}
    assert all(row["summary"] for row in rows)
    assert all(Path(row["file"]).is_relative_to(environment.site) for row in rows)

    shutil.copy(project / "experiment.toml", tmp_path)
    ran = environment.run(tmp_path, "musicemo", "run", "experiment.toml", "--without", "tensorboard")
    assert ran.returncode == 0, ran.stderr
    (run,) = (tmp_path / "runs" / "sonatina").iterdir()
    assert json.loads((run / "results.json").read_text())["status"] == "done"
    recorded = json.loads((run / "environment.json").read_text())["plugins"]
    assert {"musicemo": __version__, "sonatina": "1.2"}.items() <= recorded.items()
    title, *lines, end = (run / "diary.txt").read_text().splitlines()
    assert (title, len(lines), end) == ("sonatina: tension, mode", 2, "done")
    said = environment.run(tmp_path, "musicemo", "sonata", "--movements", "2")
    assert (said.returncode, said.stdout) == (0, "allegro adagio\n")

    environment.pip("uninstall", "--yes", "sonatina")
    missed = environment.run(tmp_path, "musicemo", "run", "experiment.toml")
    assert missed.returncode == 2
    assert "no model has the name 'sonatina-gru'" in missed.stderr
    assert missed.stderr.count("install that package with pip") == 4
    assert "Traceback" not in missed.stderr
    evaluated = environment.run(tmp_path, "musicemo", "evaluate", run)
    assert evaluated.returncode == 2
    assert f"the run requires sonatina 1.2, which is not installed: pip install {project}" in evaluated.stderr
    assert environment.run(tmp_path, "musicemo", "sonata").returncode == 2


def test_a_distribution_beside_musicemo(environment, tmp_path):
    """Installed with its weights and licences, listed, and found by its name."""
    listed = environment.run(tmp_path, "musicemo", "plugins", "--json", "--check")
    assert listed.returncode == 0, listed.stderr
    (row,) = (row for row in json.loads(listed.stdout) if row["distribution"] == "musicemo-musicnn")
    assert (row["kind"], row["name"]) == ("features", "musicnn")
    folder = Path(row["file"]).parent
    assert folder.is_relative_to(environment.site)
    models = ("MSD_musicnn", "MSD_vgg", "MTT_musicnn")
    assert {path.name for path in (folder / "pretrained").iterdir()} == {f"{model}.npz" for model in models}
    assert list(environment.site.glob("musicemo_musicnn-*.dist-info/licenses/LICENSE.weights"))


def test_new_plugins_pass_their_own_tests(environment, tmp_path):
    """Every kind as it is written: contract, tests, and the example, with the templates of the wheel."""
    projects = [new_plugin(f"fresh-{kind}", kind, tmp_path) for kind in KINDS]
    environment.install(*projects)
    tests = [project / "tests" for project in projects]
    options = ["-p", "no:cacheprovider", "-W", "error", "-q"]
    done = environment.run(tmp_path, "python", "-m", "pytest", *options, *tests)
    assert done.returncode == 0, done.stdout + done.stderr
    assert re.search(r"^25 passed in", done.stdout, re.MULTILINE), done.stdout
