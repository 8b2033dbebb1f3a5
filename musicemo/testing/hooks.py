"""Contract of lifecycle plugins."""

from __future__ import annotations

import importlib.util
import inspect
import subprocess
import sys
import tempfile
from collections.abc import Mapping
from pathlib import Path
from types import ModuleType
from typing import Any

import typer

from musicemo.components.hooks import Hooks
from musicemo.experiment import load_experiment
from musicemo.messages import muted
from musicemo.running.execute import run_experiment
from musicemo.running.prepare import RunOptions
from musicemo.testing import _small_experiment
from musicemo.testing._contract import Contract, built, require
from musicemo.tracking import Tracker

__all__ = ["check_hooks"]

_HEAVY = (
    "torch",
    "numba",
    "scipy",
    "sklearn",
    "matplotlib",
    "librosa",
    "pandas",
    "tensorflow",
    "wandb",
    "mlflow",
)
"""Packages that take so long to import that no command line should wait for them."""


def check_hooks(plugin: Any, parameters: Mapping[str, Any] | None = None) -> None:
    """Check that a lifecycle plugin meets `musicemo.hookspecs`.

    Its import is fast. The table of a class is validated, written and read again. Its hooks are marked, have the names
    of musicemo's hooks, and take only their arguments. Commands have a help text. Every hook works in a small
    experiment with two replicates and one plugin object; one replicate is interrupted and resumed.

    Args:
        plugin: the class, object or module, or its installed name.
        parameters: the table ``[plugins.NAME]`` of a class.

    Raises:
        ContractError: with one sentence for each violated clause; a hook's clause has the hook's name.
        InputError: no plugin of this name is installed.
    """
    __tracebackhide__ = True
    with Contract("plugin", plugin, parameters) as contract:
        with contract.clause("import", "importing its module"):
            _check_import(contract.given)
        constructed = contract.given
        if inspect.isclass(contract.given):
            component = contract.configured()
            with contract.clause("construction", "constructing it", essential=True):
                constructed = built(contract, component)
        if isinstance(constructed, Tracker):
            constructed.raises = True
        hooks = _Watched(contract)
        with contract.clause("hooks", "registering it", essential=True):
            hooks.register(constructed, contract.name)
            implemented = {caller.name for caller in hooks.manager.get_hookcallers(constructed) or ()}
            for name in dir(constructed):
                require(
                    not name.startswith("musicemo_") or name in implemented,
                    f"{name} is not marked @hookimpl and will never be called; mark it, or give it another name",
                )
            require(implemented, "it implements no hook; musicemo.hookspecs lists them")
        if "musicemo_commands" in implemented:
            _check_commands(contract, hooks)
        _run_small_experiment(hooks)


class _Watched(Hooks):
    """Hooks, each of which is a clause of the contract."""

    def __init__(self, contract: Contract) -> None:
        super().__init__()
        self._contract = contract
        #: Whether to end the run before its second epoch, as if someone had.
        self.interrupt = False

    def __call__(self, hook: str, **arguments: Any) -> None:
        caller = getattr(self.manager.hook, f"musicemo_{hook}")
        for implementation in caller.get_hookimpls():
            with self._contract.clause(caller.name, "a small experiment with it"):
                self.call(implementation, arguments)
        if self.interrupt and arguments.get("epoch") == 2:
            self.interrupt = False
            raise KeyboardInterrupt

    def complain(self, problem: str) -> None:
        require(False, problem)


def _check_import(plugin: Any) -> None:
    """Import the plugin's module in a separate process, and check which other modules this imports."""
    home = plugin if isinstance(plugin, ModuleType | type) else type(plugin)
    module = home.__name__ if isinstance(home, ModuleType) else home.__module__
    if module == "__main__" or importlib.util.find_spec(module) is None:
        return
    code = (
        f"import sys; sys.path[:] = {sys.path!r}; import {module}; print(*({set(_HEAVY)!r} & set(sys.modules)))"
    )
    done = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, check=False)
    last = (done.stderr.strip().splitlines() or ["an unknown error"])[-1]
    require(not done.returncode, f"importing {module} in a fresh process ends with {last}")
    heavy = ", ".join(sorted(done.stdout.split()))
    require(
        not heavy,
        f"importing {module} imports {heavy}, for which every command would wait; import it inside the hook",
    )


def _check_commands(contract: Contract, hooks: _Watched) -> None:
    app = typer.Typer()
    app.callback()(lambda: None)
    hooks("commands", app=app)
    with contract.clause("commands", "reading its commands"):
        group: Any = typer.main.get_command(app)
        require(group.commands, "its musicemo_commands adds no command")
        for name, command in group.commands.items():
            require(
                command.help, f"the command {name!r} does not say what it does; give its function a docstring"
            )


def _run_small_experiment(hooks: _Watched) -> None:
    with tempfile.TemporaryDirectory() as folder, muted():
        file = Path(folder) / "small.toml"
        file.write_text(_small_experiment.EXPERIMENT, encoding="utf-8")
        experiment = load_experiment(file)
        hooks.interrupt = True
        for _ in range(2):
            try:
                list(run_experiment(experiment, Path(folder) / "runs", hooks, RunOptions(resume=True)))
            except KeyboardInterrupt:
                continue
            break
