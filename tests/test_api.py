"""The package as a library: what a notebook calls."""

from __future__ import annotations

import subprocess
import sys
from pathlib import Path

import fakes as fakes_module
import pytest

import musicemo
from musicemo.components.hooks import Hooks
from musicemo.errors import InputError
from musicemo.running.launching import InProgress

pytestmark = pytest.mark.usefixtures("fakes", "one_thread")

SMALL = ["training.epochs=1", "evaluation.resamples=100"]


@pytest.fixture
def file(tmp_path) -> Path:
    path = tmp_path / "small.toml"
    path.write_text(fakes_module.EXPERIMENT)
    return path


@pytest.mark.slow
def test_an_experiment_is_loaded_run_opened_and_compared(file, tmp_path):
    first = musicemo.load_experiment(str(file), [*SMALL, "seeds=[0, 1]"])
    second = musicemo.load_experiment(file, [*SMALL, "name=other", "training.optimizer.lr=0.1"])
    outcomes = musicemo.run([first, second], tmp_path / "runs", jobs=1, hooks=Hooks())
    assert [(one.directory.parent.name, one.seed) for one in outcomes] == [
        ("small", 0),
        ("small", 1),
        ("other", 0),
    ]
    assert [one.seed for one in outcomes.of(first)] == [0, 1]
    record = musicemo.open_run(str(outcomes[0].directory))
    assert record.status == "done"
    assert record.metrics == outcomes[0].results["metrics"]
    comparison = musicemo.compare([str(tmp_path / "runs/small"), f"b={tmp_path / 'runs/other'}"])
    assert [one.name for one in comparison.experiments] == ["small", "b"]


def test_the_path_of_a_file_is_run(file, tmp_path):
    file.write_text(
        fakes_module.EXPERIMENT + "\n[training]\nepochs = 1\n" * ("[training]" not in fakes_module.EXPERIMENT)
    )
    (outcome,) = musicemo.run(str(file), tmp_path / "runs", hooks=Hooks())
    assert outcome.directory.parent == tmp_path / "runs" / "small"


@pytest.mark.slow
def test_several_runs_at_a_time_show_their_progress(file, tmp_path, capfd):
    experiment = musicemo.load_experiment(file, [*SMALL, "seeds=[0, 1]"])
    outcomes = musicemo.run(experiment, tmp_path / "runs", jobs=2, check=False)
    assert "Running: 2 runs" in capfd.readouterr().err
    assert outcomes.total == outcomes.done == 2


@pytest.mark.slow
def test_an_observer_is_called_with_each_result(file, tmp_path):
    calls = []

    class Observer:
        def started(self, replicates, jobs):
            calls.append(([str(one) for one in replicates], jobs))

        def finished(self, replicate, result):
            assert not isinstance(result, InProgress)
            calls.append((str(replicate), result.seed))

    experiment = musicemo.load_experiment(file, [*SMALL, "seeds=[0, 1]"])
    musicemo.run(experiment, tmp_path / "runs", jobs=1, hooks=Hooks(), observer=Observer())
    names = ["small, seed 0", "small, seed 1"]
    assert calls == [(names, 1), (names[0], 0), (names[1], 1)]


def test_a_failure_is_raised_when_all_are_done(file, tmp_path):
    good = musicemo.load_experiment(file, [*SMALL, "name=good"])
    bad = musicemo.load_experiment(file, [*SMALL, "name=bad", "tasks.valence.target='absent'"])
    with pytest.raises(InputError, match="1 of 2 runs failed: bad, seed 0"):
        musicemo.run([bad, good], tmp_path / "runs", jobs=1, hooks=Hooks())
    assert musicemo.open_run(next((tmp_path / "runs/good").iterdir())).status == "done"
    results = musicemo.run([bad, good], tmp_path / "runs", jobs=1, hooks=Hooks(), resume=True, check=False)
    assert [(len(results), len(results.failures), results.skipped)] == [(1, 1, 1)]


def test_importing_the_package_imports_nothing_heavy_and_knows_its_names():
    code = (
        "import musicemo, sys; print({'torch', 'pydantic', 'numpy', 'typer'} & set(sys.modules), dir(musicemo))"
    )
    done = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, check=True)
    assert done.stdout.startswith("set()")
    for name in ("Predictor", "compare", "load_experiment", "open_run", "run"):
        assert repr(name) in done.stdout
    with pytest.raises(AttributeError, match="no attribute 'rnu'"):
        _ = musicemo.rnu


@pytest.mark.slow
def test_the_package_is_the_command_line():
    done = subprocess.run(
        [sys.executable, "-m", "musicemo", "--version"], capture_output=True, text=True, check=True
    )
    assert done.stdout == f"musicemo {musicemo.__version__}\n"
