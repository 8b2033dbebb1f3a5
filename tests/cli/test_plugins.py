"""``musicemo plugins``."""

from __future__ import annotations

import json
import re
import sys
import tomllib

import fakes as fakes_module
import pytest
from complaints import any_warnings, warns
from musicemo_builtin.observers.progress import Progress
from torch import nn
from typer.testing import CliRunner

from musicemo import __version__
from musicemo.cli._app import make_app
from musicemo.components import registry
from musicemo.components.documentation import find_definition
from musicemo.components.hooks import load_hooks
from musicemo.components.spec import signature_schema
from musicemo.contracts import PROVIDED
from musicemo.errors import InputError
from musicemo.experiment import load_experiment
from musicemo.hookspecs import hookimpl
from musicemo.settings import validate
from musicemo.terminal import visible


def call(*arguments, code=0):
    found = CliRunner().invoke(make_app(), ["plugins", *arguments], catch_exceptions=False)
    assert found.exit_code == code
    return found.stdout


def own_components():
    return [
        (kind, claim.name)
        for kind in PROVIDED
        for claim in registry.claims(kind)
        if claim.distribution == "musicemo"
    ]


@pytest.mark.slow
@pytest.mark.usefixtures("fakes")
def test_every_component_is_a_row():
    rows = json.loads(call("--json"))
    assert all(list(row)[:4] == ["kind", "name", "distribution", "version"] for row in rows)
    assert {(row["kind"], row["name"]) for row in rows} == {
        (kind, name) for kind, name, _ in fakes_module.FAKES
    }
    assert {(row["distribution"], row["version"]) for row in rows} == {("fake", "1.0")}


@pytest.mark.usefixtures("fakes")
def test_the_table_says_the_same():
    header, *lines = call().splitlines()
    assert header.split() == ["kind", "name", "distribution", "version", "defined", "description"]
    for line, row in zip(lines, json.loads(call("--json")), strict=True):
        names = ("kind", "name", "distribution", "version", "defined")
        assert line.split()[:5] == [row[name] for name in names]
        assert line.rstrip().endswith(row["summary"])


def test_in_a_terminal_a_sentence_stays_in_its_column(install):
    sentence = "A network of which more is to be said than a line of a terminal of eighty columns has room for."
    install("model", "talkative", type("Model", (nn.Module,), {"__doc__": sentence, "__module__": "talkative"}))

    def lines_of(columns):
        environment = {"FORCE_COLOR": "1", "COLUMNS": str(columns), "TERM": "xterm"}
        found = CliRunner(env=environment).invoke(make_app(), ["plugins"], catch_exceptions=False)
        return re.sub(r"\x1b\[[\d;]*m", "", found.stdout).splitlines()

    header, *lines = lines_of(50)
    assert header.split() == ["kind", "name", "description"]
    place = header.index("description")
    assert len(lines) > 1
    assert all(len(line) <= 50 and line[:place].strip() in ("", lines[0][:place].strip()) for line in lines)
    assert "talkative" in "".join(lines_of(20))


def test_in_a_terminal_every_built_in_fits_eighty_columns():
    environment = {"FORCE_COLOR": "1", "COLUMNS": "80", "TERM": "xterm"}
    output = CliRunner(env=environment).invoke(make_app(), ["plugins"], catch_exceptions=False).stdout
    lines = re.sub(r"\x1b\[[\d;]*m", "", output).splitlines()
    assert max(map(len, lines)) <= 80
    rows = [line.split() for line in lines[1:] if line[:1].strip()]
    assert {("model", "cnn"), ("plugin", "mlflow")} <= {(row[0], row[1]) for row in rows}


@pytest.mark.usefixtures("fakes")
def test_rows_of_a_kind_and_of_a_package(install):
    install("model", "other", fakes_module.MeanModel, distribution="My_Package")

    def names(*arguments):
        return {row["name"] for row in json.loads(call("--json", *arguments))}

    assert names("--package", "my-package") == {"other"}
    assert names("--kind", "model", "--package", "fake") == {
        name for kind, name, _ in fakes_module.FAKES if kind == "model"
    }
    with pytest.raises(InputError, match=r"--kind modle: must be one of .*did you mean 'model'"):
        call("--kind", "modle")
    with pytest.raises(InputError, match=r"--package fakes: no installed package .*did you mean 'fake'"):
        call("--package", "fakes")


@pytest.mark.usefixtures("fakes")
def test_checking_prints_a_verdict(install):
    count = len(fakes_module.FAKES)
    assert call("--check").splitlines()[-1] == f"{count} components of 1 package: all can be loaded"
    install("model", "absent", "no_such_module:Model", distribution="lost")
    assert call("--check", code=2).splitlines()[-1] == (
        f"{count + 1} components of 2 packages: 1 cannot be loaded (model absent)"
    )


def test_nothing_is_imported(install):
    install("model", "absent", "no_such_module:Model")
    (row,) = json.loads(call("--json"))
    assert (row["name"], row["problem"]) == ("absent", "ModuleNotFoundError: No module named 'no_such_module'")


def test_both_claimants_of_a_name_are_listed(install):
    install("loss", "mse", "a:A", distribution="one", version="1")
    install("loss", "mse", "b:B", distribution="two", version="2")
    rows = json.loads(call("--json"))
    assert [row["distribution"] for row in rows] == ["one", "two"]
    assert {row["problem"] for row in rows} == {"is also provided by another distribution"}


def test_long_names_are_not_cut(install):
    name, distribution = "a-rather-long-name-of-a-weighting", "musicemo-" + "x" * 60
    install("weighting", name, "a:A", distribution=distribution)
    assert any(line.split()[:4] == ["weighting", name, distribution, "1.0"] for line in call().splitlines())


def test_the_built_ins_are_musicemos():
    rows = json.loads(call("--json"))
    found = {(row["kind"], row["name"]) for row in rows if row["distribution"] == "musicemo"}
    assert {("model", "cnn"), ("loss", "soft-spearman"), ("plugin", "progress"), ("dataset", "synth")} <= found


# Where it is defined, and what it is.


def test_the_definition_is_found_without_importing(tmp_path, monkeypatch):
    package = tmp_path / "sonatina_parts"
    (package / "inner").mkdir(parents=True)
    (package / "__init__.py").write_text(
        "raise RuntimeError('imported')\nfrom .inner import Late, Alias as Other\n"
    )
    (package / "inner" / "__init__.py").write_text("from sonatina_parts.inner.late import Late\n")
    (package / "inner" / "late.py").write_text(
        '"""A module."""\n\ntry:\n    class Late:\n        """Comes late. And\n        more."""\nfinally:\n    pass\n'
    )
    (package / "wrong.py").write_text("class Wrong(\n")
    monkeypatch.syspath_prepend(tmp_path)
    late = package / "inner" / "late.py"
    for value in ("sonatina_parts:Late", "sonatina_parts.inner:Late", "sonatina_parts.inner.late:Late.inner"):
        found = find_definition(value)
        assert (found.file, found.line, found.summary) == (late, 4, "Comes late.")
    assert find_definition("sonatina_parts.inner.late").summary == "A module."
    assert find_definition("sonatina_parts.absent:X").problem.endswith(
        "No module named 'sonatina_parts.absent'"
    )
    assert find_definition("sonatina_parts.wrong:Wrong").problem.startswith("SyntaxError: ")
    assert find_definition("math:tau").problem == ""
    assert "sonatina_parts" not in sys.modules


@pytest.mark.parametrize(("kind", "name"), own_components())
def test_every_built_in_has_a_place_and_a_sentence(kind, name):
    (claim,) = [claim for claim in registry.claims(kind) if claim.name == name]
    found = find_definition(claim.entry_point.value)
    component = registry.load(kind, name)
    assert found.file
    assert found.file.read_text().splitlines()[found.line - 1].startswith(f"class {component.__name__}")
    assert found.summary
    assert " ".join(component.__doc__.split()).startswith(found.summary)


def test_checking_imports_each_and_tells_of_those_that_are_broken(fakes, tmp_path, monkeypatch):
    fakes_module.write_module(tmp_path, "broken_parts", "import no_such_dependency\nclass Model:\n    pass\n")
    monkeypatch.syspath_prepend(tmp_path)
    assert "no_such_dependency" not in call("--check")
    fakes("model", "broken", "broken_parts:Model")
    fakes("plugin", "needy", type("Needy", (), {"__init__": lambda self, path: None}))
    assert "no_such_dependency" not in call()
    rows = {row["name"]: row["problem"] for row in json.loads(call("--check", "--json", code=2))}
    assert "No module named 'no_such_dependency'" in rows["broken"]
    assert "needs a type annotation" in rows["needy"]
    assert rows["means"] is None


# What is left out, and what works with other versions.


def test_checking_tells_of_a_loss_that_does_not_say_what_it_is_for(install):
    install("loss", "odd", type("Odd", (nn.Module,), {}))
    (row,) = json.loads(call("--json", "--check", code=2))
    assert row["problem"].startswith("loss 'odd' declares no kind")


def test_what_is_left_out_cannot_be_had(fakes, monkeypatch):
    monkeypatch.setenv("MUSICEMO_DISABLE_PLUGINS", "learned, mse")
    with pytest.raises(InputError, match=r"weighting 'learned' of fake 1\.0 .* is ignored, by --without or"):
        registry.load("weighting", "learned")
    with pytest.raises(InputError, match=r"no weighting has the name 'learnt'.*\(installed: constant, sum\)"):
        registry.load("weighting", "learnt")
    problems = {row["name"]: row["problem"] for row in json.loads(call("--json"))}
    assert problems["learned"] == "is ignored, by --without or MUSICEMO_DISABLE_PLUGINS"
    assert problems["sum"] is None


def test_a_distribution_is_left_out_by_its_name(install, monkeypatch):
    install("plugin", "progress", Progress, distribution="one")
    install("plugin", "other", Progress, distribution="Other_Things")
    install("loss", "mse", fakes_module.SquaredError, distribution="one")
    install("loss", "mse", "absent:Loss", distribution="Other_Things")
    with registry.without(["other-things"]):
        assert [name for name, _ in load_hooks().manager.list_name_plugin()] == ["progress of one"]
        assert registry.load("loss", "mse") is fakes_module.SquaredError
    with pytest.raises(InputError, match="provided more than once"):
        registry.load("loss", "mse")


def test_without_stands_anywhere(command, trained):
    """The plugin that is left out is one that the run would have called."""
    said = command("plugins", "--json", "--without", "progress,means", "--without=tensorboard")
    rows = json.loads(said.out)
    assert {row["name"] for row in rows if (row["problem"] or "").startswith("is ignored")} == {
        *("progress", "means", "tensorboard")
    }
    assert command("--without", "means", "plugins", "show", "means").code == 2
    wrong = command("plugins", "--without", "progres")
    assert (wrong.code, wrong.err) == (
        2,
        "error: --without progres: no component, plugin or package has this name; did you mean 'progress'?\n",
    )
    assert command("plugins", "--without").code == 2


@pytest.mark.parametrize(
    "requirement",
    [
        "musicemo>=0.1",
        f"musicemo=={__version__}",
        "musicemo[onnx]",
        "musicemo<0.1; extra == 'old'",
        "musicemo-x<0",
    ],
)
def test_versions_that_it_works_with(install, requirement):
    install("loss", "mse", fakes_module.SquaredError, requires=["numpy<1", requirement])
    assert registry.load("loss", "mse") is fakes_module.SquaredError


def test_versions_that_it_does_not_work_with(install):
    install("loss", "mse", fakes_module.SquaredError, "sonatina", "2.1", requires=["musicemo (>=7,<8)"])
    install("plugin", "recorder", Progress, "sonatina", "2.1", requires=["musicemo (>=7,<8)"])
    with pytest.raises(InputError) as caught:
        registry.load("loss", "mse")
    assert str(caught.value) == (
        "loss 'mse' of sonatina 2.1 (fakes:SquaredError) requires musicemo<8,>=7, but musicemo "
        f"{__version__} is installed. Try pip install --upgrade sonatina"
    )
    with warns("'recorder' .* is ignored: .* requires musicemo<8,>=7"):
        assert not load_hooks().manager.get_plugins()
    assert "requires musicemo<8,>=7" in call()


@pytest.mark.parametrize(
    ("content", "arguments"),
    [
        (None, ""),
        ("{", ""),
        ('{"url": "file:///tmp/my%20plugin", "dir_info": {}}', "'/tmp/my plugin'"),
        ('{"url": "file:///tmp/plugin", "dir_info": {"editable": true}}', "--editable /tmp/plugin"),
        ('{"url": "file:///tmp/plugins", "dir_info": {}, "subdirectory": "one"}', "/tmp/plugins/one"),
        (
            '{"url": "https://a.org/b.git", "vcs_info": {"vcs": "git", "commit_id": "12f"}, "subdirectory": "c"}',
            "'git+https://a.org/b.git@12f#subdirectory=c'",
        ),
        (
            '{"url": "https://a.org/b", "vcs_info": {"vcs": "git", "commit_id": "12f", "requested_revision": "v1"}}',
            "git+https://a.org/b@v1",
        ),
        ('{"url": "https://a.org/b-1.whl", "archive_info": {}}', "https://a.org/b-1.whl"),
    ],
)
def test_where_a_distribution_comes_from(content, arguments, install):
    install("loss", "mse", fakes_module.SquaredError, "sonatina", requires=["musicemo<0"])
    (claim,) = registry.claims("loss")
    claim.entry_point.dist.read_text = {"direct_url.json": content}.get
    assert claim.origin == arguments
    with pytest.raises(InputError) as caught:
        claim.load()
    assert str(caught.value).endswith(f"pip install --upgrade {arguments or 'sonatina'}")


# A table to paste.


@pytest.mark.slow
@pytest.mark.parametrize(("kind", "name"), own_components())
def test_the_table_of_every_built_in_says_its_defaults(kind, name):
    table = tomllib.loads(call("show", name, "--kind", kind))
    places = {"loss": ("tasks", "NAME", "loss"), "plugin": ("plugins", name), "augmentation": ("augment", 0)}
    for part in places.get(kind, (kind,)):
        table = table[part]
    assert table.pop("type", name) == name
    if kind == "loss":
        assert table.pop("weight") == 1.0
    model = signature_schema(registry.load(kind, name), PROVIDED[kind])
    defaults = {key: field for key, field in model.model_fields.items() if not field.is_required()}
    assert set(table) == {key for key, field in defaults.items() if field.default is not None}
    if len(defaults) == len(model.model_fields):
        assert validate(model, table) == validate(model, {})


def test_a_pasted_table_is_valid(experiment_file, fakes_beside):
    text = experiment_file.read_text().replace('[model]\ntype = "means"\n', call("show", "cnn"))
    experiment_file.write_text(text)
    assert load_experiment(experiment_file).model.name == "cnn"


def test_a_parameter_is_shown_with_type_and_meaning():
    text = call("show", "cnn")
    assert "# Dropout probability of the embedding. (number >= 0 < 1)\n" in text
    assert "absent)\n# frames =\n" in text
    assert '("mean" or "mean-max" or "flatten")' in text
    found = json.loads(call("show", "cnn", "--json"))
    assert found["defined"] == "musicemo_builtin.models.cnn:CNN"
    assert found["schema"]["properties"]["dropout"]["default"] == 0.0


def test_a_plugin_is_shown_with_its_hooks():
    assert "#   musicemo_run_started" in call("show", "progress")
    assert json.loads(call("show", "progress", "--json"))["hooks"] == [
        *("musicemo_epoch_finished", "musicemo_run_failed", "musicemo_run_finished", "musicemo_run_started")
    ]


LOCAL = """
from pathlib import Path

from torch import nn

from musicemo.contracts import Weighting


class Mine(nn.Module):
    '''Of my own. It does little.

    Args:
        width: Of the layer.
    '''

    def __init__(self, *, input_size: int, width: int = 5, where: Path | None = None) -> None:
        super().__init__()


class Mistake(nn.Module):
    kind = "regression"


class Sum(Weighting):
    pass


class Songs:
    def tracks(self):
        return []


class Levels:
    def extract(self, samples, outputs):
        return {}


class Undecided:
    pass


class Untyped(nn.Module):
    def __init__(self, *, input_size, width=5):
        super().__init__()


class Watcher:
    def musicemo_run_started(self):
        pass
"""


@pytest.fixture
def mine(tmp_path, monkeypatch):
    (tmp_path / "mine.py").write_text(LOCAL)
    monkeypatch.chdir(tmp_path)
    return tmp_path / "mine.py"


def test_a_file_of_ones_own_is_shown(mine):
    text = call("show", "./mine.py:Mine")
    assert text.splitlines()[:2] == ["# Of my own.", f"# model of your own, {mine}:9"]
    assert tomllib.loads(text) == {"model": {"type": "./mine.py:Mine", "width": 5}}
    assert "# Of the layer. (integer)" in text
    found = json.loads(call("show", str(mine) + ":Mine", "--json"))
    assert (found["kind"], found["distribution"], found["line"]) == ("model", None, 9)
    assert found["schema"]["properties"]["width"]["default"] == 5


@pytest.mark.parametrize(
    ("name", "kind"),
    [
        ("Mistake", "loss"),
        ("Sum", "weighting"),
        ("Songs", "dataset"),
        ("Levels", "features"),
        ("Watcher", "plugin"),
    ],
)
def test_which_kind_a_class_is_shows(mine, name, kind):
    assert json.loads(call("show", f"mine.py:{name}", "--json"))["kind"] == kind


@pytest.mark.parametrize(
    ("arguments", "words"),
    [
        (["mine.py:Undecided"], "Specify it with --kind"),
        (["mine.py:Mine", "--kind", "loss"], "declares no kind"),
        (["mine.py:Untyped"], r"'width' of /.*/mine\.py:Untyped needs a type"),
        (["mine.py:Mime"], "has no 'Mime'; did you mean 'Mine'"),
        (["yours.py:Mine"], "there is no file"),
        (["mine.py:Mine", "--kind", "modle"], "--kind modle: must be one of"),
    ],
)
def test_a_file_that_cannot_be_shown(mine, arguments, words):
    with pytest.raises(InputError, match=words):
        call("show", *arguments)


@pytest.mark.parametrize(
    ("arguments", "words"),
    [
        (("cmn",), "no component or plugin has the name 'cmn'; did you mean 'cnn'?"),
        (("cnn", "--kind", "models"), "--kind models: must be one of dataset, features, model"),
        (("cnn", "--kind", "loss"), "no component or plugin has the name 'cnn'"),
        (("pearson",), "'pearson' is the name of a loss and of a weighting. Specify one with --kind"),
    ],
)
def test_names_that_cannot_be_shown(fakes_beside, arguments, words):
    fakes_beside("weighting", "pearson", fakes_module.Sum)
    with pytest.raises(InputError) as caught:
        call("show", *arguments)
    assert words in str(caught.value)


# Plugins that would take the program down, or over.


class Greedy:
    """Takes the names of others, and has one command of its own."""

    @hookimpl
    def musicemo_commands(self, app):
        import typer

        app.registered_commands.clear()
        app.registered_groups.clear()
        app.callback()(lambda: None)
        for name in ("run", "plugins", "greedy"):
            app.command(name)(lambda: typer.echo("mine"))
        group = typer.Typer()
        group.command("inner")(lambda: typer.echo("mine"))
        group.callback()(lambda: None)
        app.add_typer(group, name="cache")


class Unreadable:
    @hookimpl
    def musicemo_commands(self, app):
        @app.command()
        def unreadable(value: NotThere) -> None:  # noqa: F821
            """Read what cannot be given."""


class Ending:
    def __init__(self, error):
        self.error = error

    @hookimpl
    def musicemo_commands(self, app):
        raise self.error


@pytest.mark.slow
@any_warnings()
def test_a_plugin_cannot_take_a_commands_name(command, fakes_beside):
    fakes_beside("plugin", "greedy", Greedy, "first")
    fakes_beside("plugin", "later", Greedy, "second")
    fakes_beside("plugin", "unreadable", Unreadable, "third")
    listed = command("plugins", "--json")
    assert len(json.loads(listed.out)) > 50
    warned = [line.removeprefix("warning: ") for line in listed.err.splitlines()]
    for plugin, name, owner in (
        ("later of second", "run", "musicemo"),
        ("later of second", "plugins", "musicemo"),
        ("later of second", "cache", "musicemo"),
        ("greedy of first", "run", "musicemo"),
        ("greedy of first", "greedy", "plugin 'later of second'"),
    ):
        assert (
            f"plugin '{plugin}': its command '{name}' is ignored because {owner} has a command of this name"
            in warned
        )
    assert any("plugin 'unreadable of third': one of its commands is ignored: " in line for line in warned)
    assert command("greedy").out == "mine\n"
    assert command("run", "absent.toml").code == 2
    assert command("--version").out == f"musicemo {__version__}\n"


@pytest.mark.parametrize(
    "error", [SystemExit(0), KeyboardInterrupt(), InputError("theirs"), ValueError("theirs")], ids=repr
)
@any_warnings()
def test_a_plugin_cannot_end_a_command_that_is_not_its_own(error, command, fakes_beside):
    fakes_beside("plugin", "ending", Ending(error), "strange")
    finished = command("plugins", "--json")
    assert finished.code == 0
    assert json.loads(finished.out)
    assert "plugin 'ending of strange' failed in commands and is ignored" in finished.err


@pytest.mark.slow
def test_what_components_print_is_not_in_the_json(command, fakes_beside, tmp_path, monkeypatch):
    fakes_module.write_module(
        tmp_path,
        "chatty_parts",
        "import sys\nprint('imported')\nclass Loss:\n    '''A loss.'''\nsys.stdout.flush()\n",
    )
    monkeypatch.syspath_prepend(tmp_path)
    fakes_beside("loss", "chatty", "chatty_parts:Loss")
    finished = command("plugins", "--json", "--check")
    assert finished.code == 2
    assert {row["name"]: row["problem"] for row in json.loads(finished.out)}["chatty"]
    assert "imported" in finished.err


@pytest.mark.slow
@pytest.mark.parametrize(
    "value",
    ["", ":", "a..b:C", ".a:B", "a b:C", "broken_here:X", "nul_here:X", "__main__:X", "\x1b[2J:X", "math"],
)
def test_entry_points_of_every_form_are_listed(value, install, tmp_path, monkeypatch):
    monkeypatch.syspath_prepend(tmp_path)
    (tmp_path / "broken_here.py").write_bytes(b"\xff\xfe")
    (tmp_path / "nul_here.py").write_bytes(b"a = 1\0")
    install("model", "odd", value)
    install("plugin", "odd-too", value)
    assert [row["defined"] for row in json.loads(call("--json"))] == [value] * 2
    assert visible(call()) == call()
    checked = json.loads(call("--json", "--check", code=2))
    assert all(row["problem"] for row in checked if row["kind"] == "model")


def test_a_distribution_with_broken_metadata_is_ignored(tmp_path, monkeypatch):
    for name, text in {
        "good": "[musicemo.models]\nodd = a:B\n",
        "bad": "[musicemo.models]\nno value\n",
    }.items():
        folder = tmp_path / f"{name}_thing-1.0.dist-info"
        folder.mkdir()
        (folder / "METADATA").write_text(f"Metadata-Version: 2.1\nName: {name}-thing\nVersion: 1.0\n")
        (folder / "entry_points.txt").write_text(text)
    (tmp_path / "nameless.dist-info").mkdir()
    monkeypatch.syspath_prepend(tmp_path)
    registry.entry_points.cache_clear()
    registry._distributions.cache_clear()
    try:
        with warns("the distribution is ignored") as caught:
            found = {claim.name: claim for claim in registry.claims("model")}
    finally:
        registry.entry_points.cache_clear()
        registry._distributions.cache_clear()
    assert {"bad_thing", "nameless"} == {
        re.search(r"(\w+)(-1\.0)?\.dist-info: ", warning)[1] for warning in caught
    }
    assert found["odd"].distribution == "good-thing"
    assert found["cnn"].distribution == "musicemo"


def test_long_names_and_control_characters_fit_a_table(install):
    install("model", "x" * 100_000, "a:B", distribution="evil\x1b]0;title\x07\u202e")
    install("model", "[red]fine[/red]", "a:B")
    text = call()
    assert max(map(len, text.splitlines())) < 2_000
    assert "[red]fine[/red]" in text
    assert "evil\\x1b]0;title\\x07\\u202e" in text
