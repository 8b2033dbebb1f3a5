"""Plugins, and the hooks that they implement."""

from __future__ import annotations

import json
import math
import os
import random
import signal
from pathlib import Path

import numpy as np
import pytest
import torch
from complaints import UnexpectedWarning, warns
from harness import run_all

from musicemo.components.hooks import Hooks, load_hooks
from musicemo.errors import InputError, RunError
from musicemo.hookspecs import hookimpl
from musicemo.training import load_checkpoint


class Recorder:
    def __init__(self) -> None:
        self.seen = []

    @hookimpl
    def musicemo_epoch_started(self, epoch):
        self.seen.append(epoch)

    @hookimpl
    def musicemo_run_failed(self, run, error):
        self.seen.append((run, error))


class Misspelt:
    @hookimpl
    def musicemo_epoch_begun(self, run):
        pass


class WrongArguments:
    @hookimpl
    def musicemo_epoch_started(self, epoch):
        pass

    @hookimpl
    def musicemo_run_started(self, trainer):
        pass


class Broken(Recorder):
    @hookimpl
    def musicemo_epoch_started(self, epoch):
        self.seen.append(epoch)
        raise ValueError("broken")


def test_hooks_receive_the_arguments_that_they_name():
    hooks, recorder = Hooks(), Recorder()
    hooks.register(recorder, "recorder")
    hooks("epoch_started", run=None, epoch=3)
    hooks("run_failed", run="run", error="error")
    hooks("run_finished", run=None, results={})
    assert recorder.seen == [3, ("run", "error")]


def test_a_class_is_made_without_arguments():
    hooks = Hooks()
    hooks.register(Recorder, "recorder")
    hooks("epoch_started", run=None, epoch=3)
    assert hooks.manager.get_plugin("recorder").seen == [3]


class MisspeltArgument:
    @hookimpl
    def musicemo_epoch_finished(self, run, recrod):
        pass


@pytest.mark.parametrize("plugin", [MisspeltArgument(), MisspeltArgument])
def test_a_misspelt_argument_is_refused(plugin):
    message = r"plugin 'wrong': musicemo_epoch_finished has no argument 'recrod' \(arguments: run, record\)$"
    with pytest.raises(InputError, match=message):
        Hooks().register(plugin, "wrong", construct=False)


def test_a_misspelt_hook_is_refused():
    hooks, recorder = Hooks(), Recorder()
    with pytest.raises(
        InputError, match=r"plugin 'wrong': unknown hook 'musicemo_epoch_begun'.*musicemo_epoch_started"
    ):
        hooks.register(Misspelt(), "wrong")
    hooks.register(recorder, "recorder")
    hooks("epoch_started", run=None, epoch=1)
    assert recorder.seen == [1]


def test_an_argument_that_a_hook_does_not_have_is_refused():
    hooks = Hooks()
    with pytest.raises(InputError, match=r"plugin 'wrong': .*\n?.*trainer"):
        hooks.register(WrongArguments(), "wrong")
    assert not hooks.manager.get_plugins()
    hooks("epoch_started", run=None, epoch=1)


def test_a_hook_wrapper_is_refused_since_it_would_never_run():
    class Wrapper:
        @hookimpl(wrapper=True)
        def musicemo_run_finished(self):
            yield

    hooks = Hooks()
    with pytest.raises(InputError, match=r"plugin 'wrapper': musicemo_run_finished is a hook wrapper"):
        hooks.register(Wrapper, "wrapper")
    assert not hooks.manager.has_plugin("wrapper")


def test_a_hook_that_raises_is_left_out_and_the_others_go_on():
    hooks = Hooks()
    first, broken, last = Recorder(), Broken(), Recorder()
    for name, plugin in (("first", first), ("broken", broken), ("last", last)):
        hooks.register(plugin, name)
    with warns(r"plugin 'broken' failed in epoch_started .*: ValueError: broken"):
        hooks("epoch_started", run=None, epoch=1)
    hooks("epoch_started", run=None, epoch=2)
    hooks("run_failed", run=0, error=0)
    assert first.seen == last.seen == [1, 2, (0, 0)]
    assert broken.seen == [1]


def test_a_broken_hook_is_left_out_even_where_warnings_are_errors():
    hooks, broken = Hooks(), Broken()
    hooks.register(broken, "broken")
    with pytest.raises(UnexpectedWarning):
        hooks("epoch_started", run=None, epoch=1)
    hooks("epoch_started", run=None, epoch=2)
    assert broken.seen == [1]


@pytest.mark.parametrize("error", [InputError("theirs"), RunError("theirs"), KeyboardInterrupt()])
def test_what_is_meant_for_the_user_passes(error):
    class Raises:
        @hookimpl
        def musicemo_epoch_started(self, run, epoch):
            raise error

    hooks = Hooks()
    hooks.register(Raises(), "raises")
    with pytest.raises(type(error)):
        hooks("epoch_started", run=None, epoch=1)


def test_hooks_are_called_last_first_and_honour_tryfirst():
    order = []

    def plugin(name, **options):
        class Plugin:
            @hookimpl(**options)
            def musicemo_epoch_started(self):
                order.append(name)

        return Plugin()

    hooks = Hooks()
    hooks.register(plugin("first", tryfirst=True), "first")
    hooks.register(plugin("a"), "a")
    hooks.register(plugin("b"), "b")
    hooks.register(plugin("last", trylast=True), "last")
    hooks("epoch_started", run=None, epoch=1)
    assert order == ["first", "b", "a", "last"]


def test_load_hooks_warns_of_what_cannot_be_loaded_and_goes_on(install):
    class NeedsArguments:
        def __init__(self, path):
            raise AssertionError

    install("plugin", "good", Recorder)
    install("plugin", "absent", "no_such_module:Plugin", "lost", "1.2")
    install("plugin", "needy", NeedsArguments)
    install("plugin", "misspelt", Misspelt)
    install("plugin", "wrong", WrongArguments)
    with warns("is ignored") as caught:
        hooks = load_hooks()
    said = caught
    assert len(said) == 3
    assert "plugin 'absent' of lost 1.2 (no_such_module:Plugin)" in said[0]
    assert "ModuleNotFoundError" in said[0]
    assert "unknown hook" in said[1]
    assert "trainer" in said[2]
    assert [name for name, _ in hooks.manager.list_name_plugin()] == ["good of fake"]


def test_the_installed_plugins_load():
    hooks = load_hooks()
    assert {"report of musicemo", "progress of musicemo", "tensorboard of musicemo"} <= {
        name for name, _ in hooks.manager.list_name_plugin()
    }


# What a hook must not change.


class Hostile:
    """A plugin that does what it should not in every hook."""

    def __init__(self, run_started=lambda run: None, epoch_finished=lambda run, record: None, **more):
        self.started, self.finished, self.more = run_started, epoch_finished, more

    @hookimpl
    def musicemo_run_started(self, run):
        self.started(run)

    @hookimpl
    def musicemo_batch_finished(self, run, losses):
        self.more.get("batch", lambda *_: None)(run, losses)

    @hookimpl
    def musicemo_epoch_finished(self, run, record):
        self.finished(run, record)

    @hookimpl
    def musicemo_evaluated(self, run, evaluation):
        self.more.get("evaluated", lambda *_: None)(run, evaluation)

    @hookimpl(tryfirst=True)
    def musicemo_run_finished(self, run, results):
        self.more.get("run_finished", lambda *_: None)(run, results)


class Seen:
    """Keeps the records."""

    def __init__(self):
        self.records = []

    @hookimpl
    def musicemo_epoch_finished(self, record):
        self.records.append(dict(record))


def disturb(run, *_):
    """Change all that `undisturbed` names."""
    random.seed(7)
    np.random.seed(7)  # noqa: NPY002
    torch.manual_seed(7)
    torch.set_grad_enabled(False)
    torch.set_default_dtype(torch.float64)
    os.chdir("/")
    if run is not None:
        run.network.eval()


@pytest.fixture
def modes():
    """Restore torch's modes after a test that fails."""
    yield
    torch.set_grad_enabled(True)
    torch.set_default_dtype(torch.float32)


def trained_with(folder, *plugins):
    """Return the results, the history and the last checkpoint of a run with some plugins."""
    folder.mkdir()
    (outcome,) = run_all(folder, "training.epochs=2", plugins=plugins)
    results = json.loads((outcome.directory / "results.json").read_text())
    lines = (outcome.directory / "history.jsonl").read_text().splitlines()
    history = [json.loads(line) for line in lines]
    return results, history, load_checkpoint(outcome.directory / "checkpoints" / "last.pt")


@pytest.mark.slow
def test_a_hook_that_changes_the_state_of_the_process_does_not_change_the_run(
    tmp_path, monkeypatch, fakes, one_thread, modes
):
    monkeypatch.chdir(tmp_path)
    _, expected, checkpoint = trained_with(tmp_path / "plain")
    hostile = Hostile(disturb, disturb, batch=disturb, evaluated=disturb, run_finished=disturb)
    results, history, other = trained_with(tmp_path / "disturbed", hostile)
    assert history == expected
    assert results["warnings"] == []
    assert Path.cwd() == tmp_path
    for name, weights in checkpoint["network"].items():
        assert torch.equal(weights, other["network"][name])


@pytest.mark.slow
def test_nothing_of_a_plugin_reaches_the_files_unchecked(tmp_path, fakes, one_thread):
    def record(run, record):
        record["numpy"] = np.float32(0.5)
        record["tensor"] = torch.tensor(2)
        record["text"] = "fine"
        record["array"] = np.zeros(3)
        record["train/loss"] = np.float64(0)
        del record["val/loss"]
        run.history.append({})

    def losses(run, losses):
        losses.clear()

    def evaluated(run, evaluation):
        for task in evaluation.tasks.values():
            task.prediction[:] = 0

    def results(run, results):
        results["array"] = np.arange(3)
        results["nested"] = {"a": {1}, "b": (np.float32(0.5), math.inf), 3: torch.zeros(2)}
        results["object"] = object()
        results["lost\ud800"] = 1
        results["name"] = "other"
        results["transfer"] = 5
        results["metrics"]["test"]["valence"]["spearman"] = np.zeros(2)
        results["warnings"].append(7)
        del results["status"]

    plain, expected, _ = trained_with(tmp_path / "plain")
    hostile = Hostile(epoch_finished=record, batch=losses, evaluated=evaluated, run_finished=results)
    with warns("plugin") as caught:
        found, history, _ = trained_with(tmp_path / "changed", seen := Seen(), hostile)
    said = set(caught)
    for words in (
        "plugin 'plugin 1': the record: 'text' was not recorded: it must be a number (it is of type str)",
        "plugin 'plugin 1': the record: 'array' was not recorded: it must be a number (it is of type ndarray)",
        "plugin 'plugin 1': the record: 'train/loss' is a key of musicemo and was restored. Add keys with other names",
        "plugin 'plugin 1': the record: 'val/loss' is a key of musicemo and was restored. Add keys with other names",
        "plugin 'plugin 1': the results: 'object' was not recorded: JSON has no value for the type object",
        "plugin 'plugin 1': the results: 'transfer' was not recorded: musicemo uses this name. Use another name",
        "plugin 'plugin 1': the results: 'metrics' is a key of musicemo and was restored. Add keys with other names",
        "plugin 'plugin 1': the results: 'status' is a key of musicemo and was restored. Add keys with other names",
    ):
        assert words in said
    assert all("was not recorded: a key must be text" in words for words in said if "lost" in words)
    assert history == expected
    assert seen.records == [{**one, "numpy": 0.5, "tensor": 2.0} for one in expected]
    assert found["array"] == [0, 1, 2]
    assert found["nested"] == {"a": [1], "b": [0.5, None], "3": [0.0, 0.0]}
    assert found["metrics"] == plain["metrics"]
    assert (found["status"], found["name"]) == ("done", plain["name"])
    assert "7" in found["warnings"]
    assert {"object", "transfer"}.isdisjoint(found)


@pytest.mark.parametrize("error", [SystemExit(0), GeneratorExit(), type("Odd", (BaseException,), {})()])
def test_a_hook_that_ends_the_program_is_left_out(error):
    class Exits:
        @hookimpl
        def musicemo_epoch_started(self, epoch):
            raise error

    hooks, recorder = Hooks(), Recorder()
    hooks.register(recorder, "recorder")
    hooks.register(Exits(), "exits")
    with warns(rf"plugin 'exits' failed in epoch_started .*: {type(error).__name__}"):
        hooks("epoch_started", run=None, epoch=1)
    hooks("epoch_started", run=None, epoch=2)
    assert recorder.seen == [1, 2]


def test_a_value_without_end_is_not_recorded():
    hooks = Hooks()

    class Endless:
        @hookimpl
        def musicemo_run_finished(self, results):
            results["endless"] = []
            results["endless"].append(results["endless"])
            results["huge"] = 10**400

    hooks.register(Endless(), "endless")
    results = {"status": "done"}
    with warns("was not recorded") as caught:
        hooks("run_finished", run=None, results=results)
    assert len(caught) == 2
    assert results == {"status": "done"}


MODULES = {
    "exits": "import sys; sys.exit()",
    "interrupts": "raise KeyboardInterrupt",
    "odd": "raise type('Odd', (BaseException,), {})",
    "made": "class Plugin:\n    def __init__(self):\n        raise SystemExit(0)",
    "unsayable": "class E(Exception):\n    def __str__(self):\n        raise ValueError\nraise E",
}


@pytest.mark.parametrize("name", MODULES)
def test_a_plugin_that_ends_the_program_when_it_is_loaded_is_reported(name, install, tmp_path, monkeypatch):
    monkeypatch.syspath_prepend(tmp_path)
    (tmp_path / f"ending_{name}.py").write_text(MODULES[name])
    install("plugin", "good", Recorder)
    install("plugin", "ending", f"ending_{name}:Plugin", "strange", "2.0")
    with warns(rf"plugin 'ending' of strange 2\.0 \(ending_{name}:Plugin\) is ignored"):
        hooks = load_hooks()
    assert [name for name, _ in hooks.manager.list_name_plugin()] == ["good of fake"]


def test_a_user_can_interrupt_the_loading_of_plugins(install, tmp_path, monkeypatch):
    monkeypatch.syspath_prepend(tmp_path)
    (tmp_path / "long_import.py").write_text("import os, signal, time\nos.kill(os.getpid(), 2)\ntime.sleep(9)")
    install("plugin", "long", "long_import:Plugin")
    before = signal.getsignal(signal.SIGINT)
    with pytest.raises(KeyboardInterrupt):
        load_hooks()
    assert signal.getsignal(signal.SIGINT) is before


def test_loading_a_plugin_changes_nothing(install, tmp_path, monkeypatch, capfd):
    monkeypatch.syspath_prepend(tmp_path)
    monkeypatch.chdir(tmp_path)
    (tmp_path / "loud.py").write_text(
        "import os, random, signal\nprint('loud')\nos.chdir('/')\nrandom.seed(1)\n"
        "signal.signal(signal.SIGINT, signal.SIG_IGN)\n"
        "class Plugin:\n    def __init__(self):\n        print('made')\n"
    )
    install("plugin", "loud", "loud:Plugin")
    random.seed(3)
    state, handler = random.getstate(), signal.getsignal(signal.SIGINT)
    load_hooks()
    assert (Path.cwd(), random.getstate(), signal.getsignal(signal.SIGINT)) == (tmp_path, state, handler)
    out, err = capfd.readouterr()
    assert (out, err.split()) == ("", ["loud", "made"])
