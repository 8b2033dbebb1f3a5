"""Help reads well and is quick: no torch is imported for it."""

from __future__ import annotations

import json
import os
import re
import subprocess
import sys
from importlib.machinery import PathFinder
from types import SimpleNamespace

import pytest
import typer
from fakes import write_distribution

from musicemo import __version__
from musicemo.cli._app import make_app
from musicemo.components import registry

HELP = {
    (): ["run", "validate", "show", "data", "plugins", "--version", "musicemo run experiments/multitask.toml"],
    ("run",): [
        "EXPERIMENT",
        "--set",
        "--runs",
        "--resume",
        "--device",
        "--overfit-batches",
        "--dry-run",
        "KEY=VALUE",
    ],
    ("init",): ["DATA", "--output", "--task", "--dataset"],
    ("validate",): ["EXPERIMENT", "--set", "--no-data"],
    ("show",): ["EXPERIMENT", "--set"],
    ("schema",): ["--output"],
    ("data",): ["EXPERIMENT", "--set", "--json"],
    ("tensorboard",): ["RUNS", "--port", "--host", "--no-browser"],
    ("environment",): ["--json", "--output"],
    ("plugins",): ["--json"],
}

HEAVY = ("torch", "numpy", "sklearn", "scipy", "matplotlib", "librosa", "numba", "tensorboard", "pydantic")

#: Modules that help needs only to list the commands of other packages.
FOR_PLUGINS = ("importlib.metadata", "packaging", "pluggy", "musicemo.components.hooks", "musicemo_builtin")


@pytest.fixture(scope="module")
def clean() -> dict[str, dict[str, object]]:
    """Return what a process of its own prints for every command's help, and what it has imported after it."""
    code = """
        import contextlib, io, json, sys
        import musicemo.cli
        from musicemo.cli import main
        found = {}
        for command in json.loads(sys.argv[1]):
            sys.argv = ["musicemo", *command, "--help"]
            text = io.StringIO()
            with contextlib.redirect_stdout(text):
                try:
                    main()
                except SystemExit as end:
                    code = end.code
            found[" ".join(command)] = [code, text.getvalue(), sorted(sys.modules)]
        print(json.dumps(found))
    """
    lines = "\n".join(line[8:] for line in code.splitlines())
    environment = {**os.environ, "COLUMNS": "80", "TERM": "dumb"}
    finished = subprocess.run(
        [sys.executable, "-c", lines, json.dumps(list(HELP))],
        capture_output=True,
        text=True,
        env=environment,
        check=False,
    )
    assert finished.returncode == 0, finished.stderr
    assert finished.stderr == ""
    return json.loads(finished.stdout)


@pytest.mark.slow
@pytest.mark.parametrize("command", HELP)
def test_help_mentions_every_option(command, clean):
    code, text, _ = clean[" ".join(command)]
    assert code == 0
    for option in HELP[command]:
        assert option in text
    assert max(map(len, text.splitlines())) <= 80
    assert re.search(r"^\s*(Show|-h|--help|.*--help)", text, re.MULTILINE)


@pytest.mark.slow
@pytest.mark.parametrize("command", HELP)
def test_help_imports_nothing_heavy(command, clean):
    _, _, modules = clean[" ".join(command)]
    assert not set(HEAVY) & set(modules)


@pytest.mark.parametrize("command", HELP)
def test_help_without_other_plugins_does_not_load_the_built_in_ones(command, clean):
    if registry.third_party_plugins():
        pytest.skip("needs an environment without plugins of other packages")
    _, _, modules = clean[" ".join(command)]
    assert not set(FOR_PLUGINS) & set(modules)


def test_plugins_of_other_packages_are_noticed(tmp_path, monkeypatch):
    monkeypatch.setattr(sys, "path", [str(tmp_path), "absent"])
    monkeypatch.setattr(sys, "meta_path", [PathFinder])
    write_distribution(tmp_path, [("model", "net", "package:Net")], "models", "1.0")
    write_distribution(tmp_path, [("plugin", "own", "package:Own")], "musicemo", "1.0")
    assert not registry.third_party_plugins()
    write_distribution(tmp_path, [("plugin", "other", "package:Other")], "other", "1.0")
    assert registry.third_party_plugins()


def test_archives_and_unusual_finders_may_have_plugins(tmp_path, monkeypatch):
    monkeypatch.setattr(sys, "meta_path", [PathFinder])
    archive = tmp_path / "packages.zip"
    archive.touch()
    monkeypatch.setattr(sys, "path", [str(archive)])
    assert registry.third_party_plugins()
    monkeypatch.setattr(sys, "path", [])
    assert not registry.third_party_plugins()
    monkeypatch.setattr(sys, "meta_path", [SimpleNamespace(find_distributions=None)])
    assert registry.third_party_plugins()


def test_every_command_says_what_it_does(clean):
    _, text, _ = clean[""]
    summaries = dict(re.findall(r"^  ([a-z]+) +(\S.*)$", text.split("Commands:")[1], re.MULTILINE))
    assert {"run", "validate", "show", "data", "plugins"} <= set(summaries)
    assert all(summary.endswith(".") for summary in summaries.values())


@pytest.mark.slow
def test_the_version(launcher):
    finished = launcher.run("--version")
    assert (finished.code, finished.out, finished.err) == (0, f"musicemo {__version__}\n", "")


@pytest.mark.slow
def test_no_command_is_a_request_for_help(launcher, clean):
    finished = launcher.run()
    assert finished.code in (0, 2)
    assert "Usage: musicemo" in finished.out + finished.err


def test_wrong_values_of_options_are_not_reported_in_a_librarys_words():
    from typer.testing import CliRunner

    from musicemo.cli._app import make_app

    finished = CliRunner().invoke(make_app(), ["plugin", "new", "tempo", "--kind", "nothing"])
    assert finished.exit_code == 2
    assert "Invalid value for '--kind': 'nothing' is not one of" in finished.output


@pytest.mark.slow
@pytest.mark.parametrize(
    "arguments", [["rum"], ["run"], ["run", "--resum", "x.toml"], ["show", "a.toml", "b.toml"]]
)
def test_wrong_usage_is_the_users_and_told_on_stderr(arguments, launcher):
    finished = launcher.run(*arguments)
    assert finished.code == 2
    assert finished.out == ""
    assert "Usage: musicemo" in finished.err
    assert "Traceback" not in finished.err


def test_the_list_of_commands_cuts_no_sentence():
    group = typer.main.get_command(make_app())
    for name, command in group.commands.items():
        assert "..." not in command.get_short_help_str(60), (
            f"{name}: its first sentence is longer than a line has room"
        )
