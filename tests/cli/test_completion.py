"""What the shell is offered, as the shell asks for it."""

from __future__ import annotations

import os
import subprocess
import sys

import pytest

from musicemo.cli._completion import complete_component, complete_experiment, complete_override, complete_run

MUSICEMO = [sys.executable, "-c", "import sys; sys.argv[0] = 'musicemo'; from musicemo.cli import main; main()"]


@pytest.fixture
def folder(tmp_path, monkeypatch):
    """Return a working directory with experiments and runs."""
    for file in ("mine.toml", "pyproject.toml", "notes.txt", "experiments/a.toml", "experiments/lab/b.toml"):
        (tmp_path / file).parent.mkdir(parents=True, exist_ok=True)
        (tmp_path / file).touch()
    for run in ("mine/1-seed0", "mine/2-seed1", "other/1-seed0"):
        (tmp_path / "runs" / run).mkdir(parents=True)
        (tmp_path / "runs" / run / "results.json").touch()
    (tmp_path / ".venv").mkdir()
    (tmp_path / ".venv" / "hidden.toml").touch()
    (tmp_path / "runs" / "empty").mkdir()
    monkeypatch.chdir(tmp_path)
    return tmp_path


def ask(*words: str, shell: str = "bash") -> list[str]:
    """Return what a shell is told when the last of `words` is completed."""
    line = " ".join(["musicemo", *words])
    asked = {
        "bash": {"COMP_WORDS": line, "COMP_CWORD": str(len(words))},
        "fish": {"_TYPER_COMPLETE_ARGS": line, "_TYPER_COMPLETE_FISH_ACTION": "get-args"},
    }
    done = subprocess.run(
        MUSICEMO,
        env={**os.environ, "_MUSICEMO_COMPLETE": f"complete_{shell}", **asked[shell]},
        capture_output=True,
        text=True,
        check=False,
    )
    assert done.stderr == ""
    return done.stdout.split()


@pytest.mark.slow
def test_commands_and_files_are_completed_in_the_shell(folder):
    assert {"run", "report"} & set(ask("r")) >= {"run"}
    assert ask("run", "exp") == ["experiments/a.toml", "experiments/lab/b.toml"]
    assert ask("evaluate", "runs/m", shell="fish") == ["runs/mine"]


def test_experiments(folder):
    everything = ["experiments/a.toml", "experiments/lab/b.toml", "mine.toml"]
    assert complete_experiment("") == everything
    assert complete_experiment("m") == ["mine.toml"]
    assert complete_experiment("experiments/l") == ["experiments/lab/b.toml"]
    assert complete_experiment("nowhere/") == []
    assert complete_experiment(f"{folder}/m") == [f"{folder}/mine.toml"]


def test_runs(folder):
    assert complete_run("") == ["runs/mine", "runs/other"]
    assert complete_run("runs/mine") == ["runs/mine", "runs/mine/1-seed0", "runs/mine/2-seed1"]
    assert complete_run("runs/mine/2") == ["runs/mine/2-seed1"]
    assert complete_run("mi") == []


def test_components(fakes):
    assert complete_component("m") == ["means", "memory", "mse"]
    assert complete_component("m", "model") == ["means"]
    assert complete_override("weighting.type=s") == ["weighting.type=sum"]
    assert complete_override("training.") == []


@pytest.mark.slow
@pytest.mark.parametrize("shell", ["bash", "zsh", "fish"])
def test_completion_can_be_installed(shell, tmp_path):
    environment = {
        **os.environ,
        "HOME": str(tmp_path),
        "XDG_CONFIG_HOME": str(tmp_path / ".config"),
        "_TYPER_COMPLETE_TEST_DISABLE_SHELL_DETECTION": "1",
    }
    command = [*MUSICEMO, "--install-completion", shell]
    done = subprocess.run(command, env=environment, capture_output=True, text=True, check=False)
    assert (done.returncode, done.stderr) == (0, "")
    assert f"{shell} completion installed" in done.stdout
    assert any("_MUSICEMO_COMPLETE" in path.read_text() for path in tmp_path.rglob("*") if path.is_file())
