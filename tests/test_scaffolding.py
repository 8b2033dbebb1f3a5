"""``musicemo plugin new``: what it writes, and what it refuses; that the projects work is tested in packaging."""

import ast
import tomllib

import pytest
from packaging.requirements import Requirement
from typer.testing import CliRunner

from musicemo import __version__
from musicemo.authoring.plugin import KINDS, _bounds, add_component, new_plugin
from musicemo.cli._app import make_app
from musicemo.cli._plugin import Kind
from musicemo.components.registry import GROUPS, noun
from musicemo.errors import InputError, RunError
from musicemo.experiment import load_experiment


def test_every_kind_of_component_has_a_template():
    assert set(GROUPS) - set(KINDS.values()) == {"launcher", "protocol"}
    assert [kind.value for kind in Kind] == list(KINDS)


@pytest.mark.parametrize("kind", KINDS)
def test_a_project_is_whole(kind, tmp_path):
    folder = new_plugin("my-own-2", kind, tmp_path)
    assert folder == tmp_path / "musicemo-my-own-2"
    files = {str(path.relative_to(folder)) for path in folder.rglob("*") if path.is_file()}
    package = f"src/musicemo_my_own_2/{kind}.py"
    assert {"pyproject.toml", "README.md", "example.toml", package, f"tests/test_{kind}.py"} <= files
    for path in folder.rglob("*.py"):
        ast.parse(path.read_text())
    project = tomllib.loads((folder / "pyproject.toml").read_text())["project"]
    assert project["name"] == "musicemo-my-own-2"
    group = GROUPS[KINDS[kind]]
    assert project["entry-points"] == {group: {"my-own-2": f"musicemo_my_own_2.{kind}:MyOwn2"}}
    assert "class MyOwn2" in (folder / package).read_text()
    assert Requirement(project["dependencies"][0]).specifier.contains(__version__)
    assert not [
        path for path in folder.rglob("*") if path.is_file() and "$" in _text(path) and path.suffix != ".md"
    ]
    if kind != "hooks":
        with pytest.raises(InputError, match=f"no {noun(KINDS[kind])} has the name 'my-own-2'") as caught:
            load_experiment(folder / "example.toml")
        assert len(set(caught.value.problems)) <= 2, "all else in the example is valid"


def _text(path):
    return path.read_text() if path.suffix != ".npy" else ""


def test_the_command_says_what_comes_next(tmp_path):
    said = CliRunner().invoke(
        make_app(), ["plugin", "new", "my-crnn", "--kind", "model", "--output", str(tmp_path)]
    )
    assert said.exit_code == 0
    assert f"cd {tmp_path}/musicemo-my-crnn" in said.stdout


@pytest.mark.parametrize(
    ("name", "kind", "words"),
    [
        ("My_CRNN", "model", "letter first (for example 'my-crnn')"),
        ("my--crnn", "model", "(for example 'my-crnn')"),
        ("-", "model", "is not a valid component name"),
        ("2nd", "model", "is not a valid component name"),
        ("../up", "model", "(for example 'up')"),
        ("crnn.", "model", "(for example 'crnn')"),
        ("a" * 61, "model", "has 61 characters"),
        ("none", "loss", "its class would have the name None"),
        ("cnn", "model", "model 'cnn' already exists, from musicemo"),
        ("tensorboard", "hooks", "plugin 'tensorboard' already exists"),
        ("builtin", "model", "a package musicemo_builtin is already installed"),
        ("my-crnn", "models", "--kind models: must be one of model, dataset"),
    ],
)
def test_names_that_are_refused(name, kind, words, tmp_path):
    with pytest.raises(InputError) as caught:
        new_plugin(name, kind, tmp_path)
    assert words in str(caught.value)
    assert not list(tmp_path.iterdir())


def test_a_name_of_another_kind_is_free(tmp_path):
    new_plugin("cnn", "loss", tmp_path)


def test_nothing_is_overwritten(tmp_path):
    folder = new_plugin("my-crnn", "model", tmp_path)
    (folder / "README.md").write_text("mine")
    with pytest.raises(InputError, match=r"already exists\. Nothing was written"):
        new_plugin("my-crnn", "loss", tmp_path)
    assert (folder / "README.md").read_text() == "mine"
    assert [path.name for path in tmp_path.iterdir()] == ["musicemo-my-crnn"]


def test_a_folder_that_is_not_there(tmp_path):
    with pytest.raises(InputError, match="is not a folder"):
        new_plugin("my-crnn", "model", tmp_path / "absent")


def test_nothing_is_left_of_what_cannot_be_written(tmp_path, monkeypatch):
    def full(*_):
        raise OSError(28, "No space left on device")

    monkeypatch.setattr("musicemo.authoring.plugin._fill", full)
    with pytest.raises(RunError, match="No space left"):
        new_plugin("my-crnn", "model", tmp_path)
    assert not list(tmp_path.iterdir())


@pytest.mark.parametrize(
    ("version", "bounds"), [("0.1.0", ">=0.1,<0.2"), ("0.12.3.dev1", ">=0.12,<0.13"), ("2.3.1", ">=2.3,<3")]
)
def test_a_plugin_works_with_what_it_was_written_for(version, bounds):
    assert _bounds(version) == bounds


@pytest.mark.parametrize("kind", KINDS)
def test_a_component_is_added_to_a_package(kind, tmp_path):
    project = new_plugin("first", "loss", tmp_path)
    before = (project / "pyproject.toml").read_text()
    *written, metadata = add_component("second-one", kind, project)
    package = project / "src" / "musicemo_first"
    assert written == [
        package / "second_one.py",
        project / "tests" / "test_second_one.py",
        project / "second-one.toml",
    ]
    assert "class SecondOne" in written[0].read_text()
    tree = ast.parse(written[1].read_text())
    names = {node.module for node in ast.walk(tree) if isinstance(node, ast.ImportFrom)}
    assert kind == "hooks" or "musicemo_first.second_one" in names
    assert '"example.toml"' not in written[1].read_text()
    points = tomllib.loads(metadata.read_text())["project"]["entry-points"]
    assert points["musicemo.losses"]["first"] == "musicemo_first.loss:First"
    assert points[GROUPS[KINDS[kind]]]["second-one"] == "musicemo_first.second_one:SecondOne"
    kept = [line for line in before.splitlines() if line in metadata.read_text().splitlines()]
    assert kept == before.splitlines()
    assert (project / "example_data").exists() == (kind == "dataset")


def test_a_component_that_cannot_be_added(tmp_path):
    project = new_plugin("first", "loss", tmp_path)
    add_component("second", "loss", project)
    before = {path: path.read_bytes() for path in project.rglob("*") if path.is_file()}
    for arguments, words in [
        (("second", "model", project), "already exists. Nothing was written"),
        (("First", "loss", project), "is not a valid component name"),
        (("third", "lost", project), "--kind lost: must be one of"),
        (("third", "loss", tmp_path), "is not the metadata of a package"),
    ]:
        with pytest.raises(InputError, match=words):
            add_component(*arguments)
    (project / "src" / "other").mkdir()
    (project / "src" / "other" / "__init__.py").touch()
    with pytest.raises(InputError, match=r"must have one package .*\(packages: musicemo_first, other\)"):
        add_component("third", "loss", project)
    assert {path: path.read_bytes() for path in before} == before


def test_the_command_adds_to_a_package(tmp_path):
    project = new_plugin("first", "loss", tmp_path)
    arguments = ["plugin", "new", "second", "--kind", "hooks", "--to", str(project)]
    said = CliRunner().invoke(make_app(), arguments, catch_exceptions=False)
    assert said.exit_code == 0
    assert f"changed {project}/pyproject.toml" in said.stdout
