"""``musicemo run``: exit codes, streams, and what it prints."""

from __future__ import annotations

import json
import os
import pty
import re
import signal
import subprocess
import sys
import threading

import fakes as fakes_module
import pytest

TEXT = fakes_module.EXPERIMENT.replace("[training]", "[evaluation]\nresamples = 100\n\n[training]")
ONE = ["--set", "training.epochs=1"]


@pytest.fixture
def small(tmp_path):
    """Return the path of a small experiment."""
    path = tmp_path / "small.toml"
    path.write_text(TEXT)
    return path


def run(launcher, folder, *arguments, **how):
    return launcher.run("run", *arguments, folder=folder, **how)


def directories(folder, runs="runs"):
    return sorted((folder / runs).glob("*/*"))


def status(directory):
    return json.loads((directory / "results.json").read_text())["status"]


@pytest.mark.slow
def test_a_run_from_end_to_end(launcher, small, tmp_path):
    finished = run(launcher, tmp_path, "small.toml")
    assert (finished.code, finished.err) == (0, "")
    (directory,) = directories(tmp_path)
    assert status(directory) == "done"
    results = json.loads((directory / "results.json").read_text())
    lines = finished.out.splitlines()
    assert lines[0].startswith("small: seed 0, 36 train, 12 val, 12 test, ")
    assert [line.split("  ")[0] for line in lines[1:4]] == ["epoch 1/3", "epoch 2/3", "epoch 3/3"]
    assert f"(epoch {results['best_epoch']} of 3; " in finished.out
    valence = results["metrics"]["test"]["valence"]
    row = next(line for line in lines if line.startswith("valence"))
    assert row.split()[1] == f"{valence['spearman']['value']:.3f}"
    assert row.split()[-1] == "12"
    assert f"Run directory: runs/small/{directory.name}" in finished.out
    assert "TensorBoard:" not in finished.out, "the plugin is not active here"
    assert "\x1b" not in finished.out
    assert max(map(len, lines[5:])) <= 80 + len(str(directory))


@pytest.mark.slow
def test_the_installed_command_does_the_same(small, tmp_path, child_environment):
    command = [sys.executable, "-c", "from musicemo.cli import main; main()", "run", "small.toml", *ONE]
    finished = subprocess.run(
        command, cwd=tmp_path, env=child_environment, capture_output=True, text=True, check=False
    )
    assert (finished.returncode, finished.stderr) == (0, "")
    (directory,) = directories(tmp_path)
    assert status(directory) == "done"
    assert list(directory.glob("events.out.tfevents.*"))


@pytest.mark.slow
def test_runs_may_be_written_elsewhere(launcher, small, tmp_path):
    finished = run(launcher, tmp_path, "small.toml", "--runs", "deep/down", *ONE)
    assert finished.code == 0
    assert len(directories(tmp_path, "deep/down")) == 1
    assert not (tmp_path / "runs").exists()


@pytest.mark.slow
def test_overrides_are_toml_or_text(launcher, small, tmp_path):
    overrides = [
        'training.optimizer={ type = "sgd", lr = 1e-3 }',
        "training.epochs=2",
        "split.method=random",
        "seeds=[4, 6]",
        'name="renamed"',
    ]
    arguments = [part for one in overrides for part in ("--set", one)]
    finished = run(launcher, tmp_path, "small.toml", "--jobs", "1", *arguments)
    assert finished.code == 0, finished.err
    found = [path.relative_to(tmp_path / "runs") for path in directories(tmp_path)]
    assert [str(path)[:7] for path in found] == ["renamed"] * 2
    assert [path.name[-5:] for path in found] == ["seed4", "seed6"]
    assert "renamed: mean ± standard deviation over 2 seeds, test set" in finished.out
    assert re.search(r"^valence +-?\d\.\d{3} ± \d\.\d{3}", finished.out, re.MULTILINE)
    text = (directories(tmp_path)[0] / "experiment.toml").read_text()
    assert 'optimizer = {type = "sgd", lr = 0.001' in text
    assert 'method = "random"' in text


@pytest.mark.slow
@pytest.mark.parametrize(
    ("arguments", "message"),
    [
        (["missing.toml"], "error: missing.toml: cannot be read: No such file or directory"),
        (["small.toml", "--device", "gpu"], "this machine has no 'gpu' device (available: auto, cpu"),
        (["small.toml", "--set", "training.device=gpu"], "must be auto, cpu, cuda, cuda:N or mps, not 'gpu'"),
        (["small.toml", "--launcher", "locl"], "no launcher has the name 'locl'; did you mean 'local'?"),
        (["small.toml", "--set", "launcher.job=2"], "launcher.job: unknown key; did you mean 'jobs'?"),
        (["small.toml", "--set", "training.epoch=3"], "unknown key; did you mean 'epochs'?"),
        (["small.toml", "--set", "model.type='men'"], "no model has the name 'men'; did you mean 'mean'?"),
        (
            ["small.toml", "--set", "training.epochs='3'"],
            "training.epochs: input should be a valid integer, not '3'",
        ),
        (["small.toml", "--set", "epochs"], "error: --set epochs: must have the form KEY=VALUE"),
        (["small.toml", "--set", "dataset.nan_track=7"], "error: track 'track007': is nan at row 2, frame 3"),
        (
            ["small.toml", "--set", "training.early_stopping.monitor='val/valance/ccc'"],
            "did you mean 'val/valence/ccc'?",
        ),
        (["small.toml", "--set", "tasks.tempo={}"], "the dataset declares no target 'tempo'"),
    ],
)
def test_wrong_input_is_told_on_stderr_and_nothing_is_written(arguments, message, launcher, small, tmp_path):
    finished = run(launcher, tmp_path, *arguments)
    assert finished.code == 2
    assert finished.out == ""
    assert message in finished.err
    assert all(line.startswith("error: ") for line in finished.err.splitlines())
    assert not (tmp_path / "runs").exists()


@pytest.mark.slow
def test_every_problem_is_told_at_once(launcher, small, tmp_path):
    changes = ["training.epoch=3", "model.typo=1", "dataset.tracks='many'", "split.test=2.0"]
    finished = run(launcher, tmp_path, "small.toml", *(part for one in changes for part in ("--set", one)))
    assert finished.code == 2
    assert len(finished.err.splitlines()) == 4
    for change in changes:
        assert f"--set {change}: {change.partition('=')[0]}: " in finished.err


@pytest.mark.slow
def test_several_files_are_checked_before_the_first_is_run(launcher, small, tmp_path):
    (tmp_path / "wrong.toml").write_text(TEXT.replace("epochs", "epoch"))
    finished = run(launcher, tmp_path, "small.toml", "wrong.toml")
    assert finished.code == 2
    assert "wrong.toml:" in finished.err
    assert not (tmp_path / "runs").exists()
    (tmp_path / "second.toml").write_text(TEXT.replace('"small"', '"second"'))
    finished = run(launcher, tmp_path, "small.toml", "second.toml", "--jobs", "1", *ONE)
    assert finished.code == 0
    assert [path.parent.name for path in directories(tmp_path)] == ["second", "small"]


@pytest.mark.slow
def test_overfitting_is_told_as_what_it_is(launcher, small, tmp_path):
    finished = run(launcher, tmp_path, "small.toml", "--overfit-batches", "1", *ONE)
    assert finished.code == 0
    assert "Not memorized: " in finished.out
    assert "small-overfit, seed 0: training set" in finished.out
    assert run(launcher, tmp_path, "small.toml", "--overfit-batches", "-1").code == 2


STRANGER = """
from torch import nn
from musicemo.contracts import Weighting
from musicemo.hookspecs import hookimpl

class Unstable(nn.Module):
    kind = "regression"
    def forward(self, prediction, target):
        loss = ((prediction - target) ** 2).mean()
        return loss * float("nan") if loss.requires_grad else loss

class Broken(Weighting):
    def combine(self, losses):
        raise RuntimeError("nobody foresaw this")

class Hook:
    @hookimpl
    def musicemo_epoch_finished(self, record):
        raise ValueError("a stranger's bug")

class Commands:
    @hookimpl
    def musicemo_commands(self, app):
        @app.command()
        def greet(name: str) -> None:
            '''Greet somebody.'''
            print(f"hello, {name}")

class Misspelt:
    @hookimpl
    def musicemo_epoch_finnished(self):
        pass
"""


@pytest.fixture
def stranger(tmp_path):
    """Return a function that installs components of somebody else's distribution."""
    folder = tmp_path / "stranger"
    folder.mkdir()
    fakes_module.write_module(folder, "stranger", STRANGER)

    def install(*points):
        fakes_module.write_distribution(folder, points, name="stranger", version="2.5")
        return [folder]

    return install


@pytest.mark.slow
def test_a_run_that_fails_has_exit_code_1(launcher, small, stranger, tmp_path):
    path = stranger(("loss", "unstable", "stranger:Unstable"), ("weighting", "broken", "stranger:Broken"))
    finished = run(
        launcher, tmp_path, "small.toml", "--set", "tasks.valence.loss={ type = 'unstable' }", path=path
    )
    assert finished.code == 1
    assert finished.err == "error: epoch 1, batch 1: the loss of task 'valence' is nan\n"
    finished = run(launcher, tmp_path, "small.toml", "--set", "weighting.type=broken", path=path)
    assert finished.code == 1
    assert finished.err.startswith("error: RuntimeError: nobody foresaw this (traceback in runs/small/")
    assert "Traceback" not in finished.err
    first, second = directories(tmp_path)
    assert status(first) == status(second) == "failed"
    assert "nobody foresaw this" in (second / "error.txt").read_text()
    assert not (first / "error.txt").exists()


@pytest.mark.slow
@pytest.mark.parametrize("tensorboard", [False, True])
def test_a_full_disk_has_exit_code_1(tensorboard, launcher, small, tmp_path):
    finished = run(launcher, tmp_path, "small.toml", largest_file=20_000, tensorboard=tensorboard)
    assert finished.code == 1
    *warned, error = finished.err.splitlines()
    assert error.startswith("error: runs/small/")
    assert error.endswith("/checkpoints/best.pt: cannot be written: File too large")
    assert bool(warned) == tensorboard
    assert "Traceback" not in finished.err
    (directory,) = directories(tmp_path)
    assert status(directory) == "failed"
    assert list((directory / "checkpoints").iterdir()) == []


@pytest.mark.slow
def test_a_strangers_hook_that_raises_is_left_out_and_the_run_goes_on(launcher, small, stranger, tmp_path):
    finished = run(launcher, tmp_path, "small.toml", path=stranger(("plugin", "hook", "stranger:Hook")))
    assert finished.code == 0
    (line,) = finished.err.splitlines()
    assert line.startswith("warning: plugin 'hook of stranger' failed in epoch_finished and is ignored")
    assert re.search(r"ValueError: a stranger's bug \(.*stranger\.py:\d+\)$", line)
    (directory,) = directories(tmp_path)
    assert status(directory) == "done"
    assert len(json.loads((directory / "results.json").read_text())["warnings"]) == 1
    assert len((directory / "history.jsonl").read_text().splitlines()) == 3


@pytest.mark.slow
def test_a_strangers_command_is_one_of_musicemos(launcher, stranger):
    path = stranger(("plugin", "commands", "stranger:Commands"))
    assert re.search(r"greet +Greet somebody\.", launcher.run("--help", path=path).out)
    finished = launcher.run("greet", "you", path=path)
    assert (finished.code, finished.out, finished.err) == (0, "hello, you\n", "")


@pytest.mark.slow
@pytest.mark.parametrize(
    ("value", "message"),
    [
        ("stranger:Misspelt", "plugin 'hook': unknown hook 'musicemo_epoch_finnished'"),
        ("stranger:Absent", "cannot be imported: AttributeError"),
        ("no_such_module:Hook", "cannot be imported: ModuleNotFoundError"),
    ],
)
def test_a_plugin_that_cannot_be_loaded_is_warned_of_once(value, message, launcher, small, stranger, tmp_path):
    path = stranger(("plugin", "hook", value))
    finished = run(launcher, tmp_path, "small.toml", *ONE, path=path)
    assert finished.code == 0
    (line,) = finished.err.splitlines()
    assert line.startswith(f"warning: plugin 'hook' of stranger 2.5 ({value}) is ignored: ")
    assert message.partition(":")[2] in line


@pytest.mark.slow
def test_a_terminal_has_a_live_display_and_the_final_table(launcher, small, tmp_path):
    controller, terminal = pty.openpty()
    written = bytearray()

    def drain():
        while True:
            try:
                chunk = os.read(controller, 65536)
            except OSError:
                return
            if not chunk:
                return
            written.extend(chunk)

    reader = threading.Thread(target=drain, daemon=True)
    reader.start()
    environment = {"TERM": "xterm-256color", "COLUMNS": "80", "LINES": "30"}
    process = launcher.start(
        "run", "small.toml", folder=tmp_path, terminal=os.ttyname(terminal), environment=environment
    )
    finished = process.wait()
    os.close(terminal)
    reader.join(5)
    os.close(controller)
    text = written.decode()
    assert finished.code == 0
    assert text.count("\x1b[?25l") == text.count("\x1b[?25h") == 1
    plain = re.sub(r"\x1b\[[0-9;?]*[A-Za-z]", "", text)
    assert "3/3" in plain
    assert "best epoch so far: " in plain
    assert "test set with the best epoch's weights" in plain
    assert "Run directory: runs/small/" in plain
    table = plain[plain.index("test set with") :].replace("\r", "").splitlines()
    assert all(len(line) <= 80 for line in table[1:5])


@pytest.mark.slow
def test_a_table_of_long_names_is_readable_in_80_columns(launcher, tmp_path):
    name = "perceived-danceability"
    text = TEXT.replace("[tasks.valence]", f'[tasks.{name}]\ntarget = "valence"').replace(
        "seed = 0", "seeds = [0, 1]"
    )
    (tmp_path / "x.toml").write_text(text)
    finished = run(launcher, tmp_path, "x.toml", "--jobs", "1", *ONE)
    assert finished.code == 0, finished.err
    rows = [line for line in finished.out.splitlines() if line.startswith(name)]
    assert [row.count("±") for row in rows] == [0, 0, 1, 3, 2]
    assert [len(re.findall(r"-?\d+\.\d{3}", row)) for row in rows] == [6, 6, 2, 6, 4]
    assert all(len(row) <= 80 for row in rows[2:])
    assert "…" not in finished.out


# Output is never a reason to lose a run.


@pytest.mark.slow
def test_a_run_succeeds_on_a_full_device(launcher, small, tmp_path):
    finished = run(launcher, tmp_path, "small.toml", *ONE, terminal="/dev/full")
    (directory,) = directories(tmp_path)
    assert (finished.code, status(directory)) == (0, "done")
    assert (
        launcher.run("show", "small.toml", folder=tmp_path, terminal="/dev/full").code == 1
    )  # its text is lost


@pytest.mark.slow
def test_a_run_goes_on_when_its_terminal_is_closed(launcher, small, tmp_path):
    parent, child = pty.openpty()
    process = launcher.start(
        "run", "small.toml", "--set", "training.epochs=4", folder=tmp_path, terminal=os.ttyname(child)
    )
    os.read(parent, 1)
    os.kill(process.pid, signal.SIGHUP)
    os.close(parent)
    os.close(child)
    assert process.wait().code == 0
    (directory,) = directories(tmp_path)
    assert status(directory) == "done"


@pytest.mark.slow
@pytest.mark.usefixtures("fakes_beside")
def test_a_terminal_that_is_not_utf_8_is_no_reason_to_fail(tmp_path, monkeypatch):
    from musicemo.cli import main

    monkeypatch.chdir(tmp_path)
    monkeypatch.setattr(signal, "signal", lambda *_: None)
    (tmp_path / "small.toml").write_text(TEXT)
    arguments = "run small.toml --set training.epochs=1 --set seeds=[0,1] --jobs 1 --without tensorboard,report"
    monkeypatch.setattr(sys, "argv", ["musicemo", *arguments.split()])
    with (tmp_path / "out").open("w", encoding="ascii") as out:
        monkeypatch.setattr(sys, "stdout", out)
        with pytest.raises(SystemExit) as end:
            main()
    assert end.value.code == 0
    assert b"mean ? standard deviation over 2 seeds" in (tmp_path / "out").read_bytes()


@pytest.mark.parametrize(
    ("name", "hint"),
    [
        ("bench", "run `musicemo bench` with --resume to continue"),
        ("import", "run the same command again to complete the runs that were sent"),
        ("show", "no file was left incomplete"),
    ],
)
def test_an_interrupted_command_prints_how_to_continue(monkeypatch, capfd, name, hint):
    from musicemo.cli import main

    def interrupt():
        raise KeyboardInterrupt

    monkeypatch.setattr(signal, "signal", lambda *_: None)
    monkeypatch.setattr("musicemo.components.hooks.load_hooks", interrupt)
    monkeypatch.setattr(sys, "argv", ["musicemo", name, "x"])
    with pytest.raises(SystemExit) as end:
        main()
    assert end.value.code == 130
    assert f"interrupted: {hint}" in capfd.readouterr().err


def test_a_working_directory_that_was_removed_is_an_error(tmp_path):
    folder = tmp_path / "gone"
    folder.mkdir()
    code = f"import os; os.rmdir({str(folder)!r}); from musicemo.cli import main; main()"
    finished = subprocess.run(
        [sys.executable, "-c", code, "plugins"], cwd=folder, capture_output=True, text=True, check=False
    )
    assert (finished.returncode, finished.stdout) == (2, "")
    assert finished.stderr.startswith("error: the working directory: No such file or directory. Change to ")
