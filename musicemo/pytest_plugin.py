"""Pytest fixtures for the tests of components. pytest loads them in every environment with musicemo.

Their names begin with ``musicemo_``. ``pytest -p no:musicemo`` disables them. The import loads no other module.
"""

from __future__ import annotations

from collections.abc import Callable, Iterator
from pathlib import Path
from typing import TYPE_CHECKING, Any

import pytest

if TYPE_CHECKING:
    from musicemo.running.execute import Outcome

__all__ = ["musicemo_check", "musicemo_run"]


@pytest.fixture
def musicemo_check() -> Iterator[Callable[..., Any]]:
    """Return ``check(kind, component, parameters)``, which calls the check of this kind in `musicemo.testing`.

    The check runs on one thread. Threads slow small components down, especially beside other test processes.
    """
    import torch

    from musicemo import testing

    def check(kind: str, component: Any, *arguments: Any, **options: Any) -> Any:
        return getattr(testing, f"check_{kind}")(component, *arguments, **options)

    threads = torch.get_num_threads()
    torch.set_num_threads(1)
    yield check
    torch.set_num_threads(threads)


@pytest.fixture
def musicemo_run(tmp_path: Path) -> Callable[..., list[Outcome]]:
    """Return ``run(experiment_file, "KEY=VALUE", ..., plugins=[...])``, which trains in `tmp_path`.

    It returns an `Outcome` for each seed and fold, whose `results` are the content of `results.json`. Only the
    lifecycle plugins in `plugins` are called, and no installed ones.
    """

    def run(file: Path | str, *overrides: str, plugins: Any = ()) -> list[Outcome]:
        from musicemo.components.hooks import Hooks
        from musicemo.experiment import load_experiment
        from musicemo.running.execute import run_experiment

        hooks = Hooks()
        for number, plugin in enumerate(plugins):
            hooks.register(plugin, f"plugin {number}")
        return list(run_experiment(load_experiment(Path(file), overrides), tmp_path / "runs", hooks))

    return run
