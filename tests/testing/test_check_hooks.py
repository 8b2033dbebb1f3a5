"""`check_hooks`: what it lets pass, and which clause each kind of mistake breaks."""

import subprocess
import sys

import pytest
from fakes import write_module
from recorders import (
    Commands,
    FreshRunsOnly,
    Misspelt,
    NeedsArguments,
    NoCommands,
    Nothing,
    OneRunOnly,
    Raises,
    Recorder,
    Speechless,
    Unmarked,
    Unreachable,
)

from musicemo.components import registry
from musicemo.errors import InputError
from musicemo.testing import ContractError, check_hooks


@pytest.mark.slow
@pytest.mark.parametrize("plugin", [Recorder, Commands])
def test_a_plugin_that_holds_its_contract_passes(plugin):
    check_hooks(plugin)


@pytest.mark.slow
def test_the_rehearsal_is_two_replicates_one_of_them_interrupted_and_resumed():
    recorder = Recorder()
    check_hooks(recorder)
    assert recorder.seen == [
        *(("started", 0, 0), 1, "KeyboardInterrupt"),
        *(("started", 0, 1), 2, 3, "done"),
        *(("started", 1, 0), 1, 2, 3, "done"),
    ]


@pytest.mark.slow
@pytest.mark.parametrize(
    "name",
    [claim.name for claim in registry.claims("plugin") if claim.distribution == "musicemo"],
)
def test_the_built_ins_pass(name, tmp_path, monkeypatch):
    for package in {"mlflow", "wandb"} & {name}:
        pytest.importorskip(package, reason=f"needs {package}: pip install 'musicemo[{package}]'")
    monkeypatch.setenv("MLFLOW_ALLOW_FILE_STORE", "true")  # a database takes seconds to set up
    settings = {
        "mlflow": {"tracking_uri": tmp_path.as_uri()},
        "profiler": {"skip": 1, "steps": 1},
        "time-budget": {"minutes": 60.0},
        "wandb": {"mode": "offline"},
    }
    check_hooks(name, settings.get(name))


@pytest.mark.slow
def test_an_error_of_a_tracker_is_a_violation():
    with pytest.raises(ContractError) as caught:
        check_hooks(Unreachable)
    assert "no network" in caught.value.problems["musicemo_run_started"]


@pytest.mark.slow
@pytest.mark.parametrize(
    ("plugin", "clause", "words"),
    [
        (NeedsArguments, "parameters", "path: field required"),
        (Misspelt, "hooks", "unknown hook 'musicemo_epoch_begun'"),
        (Unmarked, "hooks", "musicemo_epoch_started is not marked @hookimpl"),
        (Nothing, "hooks", "implements no hook"),
        (Raises, "musicemo_batch_finished", "KeyError: 'valance'"),
        (OneRunOnly, "musicemo_run_finished", "closed already"),
        (FreshRunsOnly, "musicemo_run_started", "AssertionError"),
        (Speechless, "commands", "'sonata' does not say what it does"),
        (NoCommands, "commands", "adds no command"),
    ],
)
def test_each_mistake_breaks_its_clause(plugin, clause, words):
    with pytest.raises(ContractError) as caught:
        check_hooks(plugin)
    assert list(caught.value.problems) == [clause]
    assert words in caught.value.problems[clause]


@pytest.mark.slow
def test_a_heavy_import_is_told(tmp_path, monkeypatch):
    code = """
        import torch
        from musicemo.hookspecs import hookimpl

        @hookimpl
        def musicemo_epoch_started():
            pass
    """
    write_module(tmp_path, "heavy_hooks", code)
    monkeypatch.syspath_prepend(tmp_path)
    import heavy_hooks

    with pytest.raises(ContractError, match="importing heavy_hooks imports torch"):
        check_hooks(heavy_hooks)


def test_a_name_is_looked_up(fakes_beside):
    with pytest.raises(InputError, match="no plugin has the name 'progres'; did you mean 'progress'"):
        check_hooks("progres")


def test_the_plugin_of_pytest_imports_nothing_heavy():
    code = "import musicemo.pytest_plugin, sys; print(*({'torch', 'numpy', 'pydantic', 'typer'} & set(sys.modules)))"
    done = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, check=True)
    assert done.stdout.strip() == ""


@pytest.mark.slow
def test_the_fixtures_check_and_run(musicemo_check, musicemo_run, tmp_path, fakes, experiment_file):
    musicemo_check("loss", "squared-error")
    with pytest.raises(ContractError):
        musicemo_check("hooks", Nothing)
    recorder = Recorder()
    outcomes = musicemo_run(experiment_file, "training.epochs=1", "seeds=[0, 1]", plugins=[recorder])
    assert [outcome.results["status"] for outcome in outcomes] == ["done", "done"]
    assert outcomes[0].directory.is_relative_to(tmp_path)
    assert recorder.seen == [("started", 0, 0), 1, "done", ("started", 1, 0), 1, "done"]
