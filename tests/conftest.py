"""Fixtures for every test: components that are registered without being installed."""

from __future__ import annotations

import collections
import importlib.metadata
import os
import signal
from collections.abc import Callable, Generator, Iterator, Sequence
from pathlib import Path
from types import SimpleNamespace
from typing import Any

import fakes as fakes_module
import pytest
from complaints import guarded

from musicemo.components import registry
from musicemo.files import can_write, expanded, private_folder

# How the terminal of whoever runs the tests looks decides nothing.
for _name in ("COLUMNS", "LINES", "FORCE_COLOR", "NO_COLOR", "TTY_COMPATIBLE", "TTY_INTERACTIVE"):
    os.environ.pop(_name, None)

if not can_write(expanded("~")):  # processes that are forked would each remove matplotlib's temporary folder
    os.environ.setdefault("MPLCONFIGDIR", str(private_folder() / "matplotlib"))

signal.signal(
    signal.SIGINT, signal.default_int_handler
)  # a shell's background processes, and their children, ignore it


def pytest_collection_modifyitems(config: pytest.Config, items: list[pytest.Item]) -> None:
    """Let parallel processes begin with the files that have slow tests, so that all end at the same time.

    Files keep their order otherwise, and so do the tests of each.
    """
    if hasattr(config, "workerinput"):
        slow = {item.path for item in items if item.get_closest_marker("slow")}
        packaging = {item.path for item in items if item.get_closest_marker("packaging")}
        items.sort(key=lambda item: 0 if item.path in packaging else 1 if item.path in slow else 2)


@pytest.hookimpl(wrapper=True)
def pytest_runtest_protocol() -> Generator[None, object, object]:
    """Let warnings that musicemo logs be errors, as Python's are."""
    with guarded():
        return (yield)


@pytest.hookimpl(wrapper=True)
def pytest_runtest_makereport() -> Generator[None, pytest.TestReport, pytest.TestReport]:
    """Let reports be text that is sent between processes: names of files may hold bytes that are not UTF-8."""
    report = yield
    report.sections = [
        (title, text.encode("utf-8", "backslashreplace").decode()) for title, text in report.sections
    ]
    return report


def pytest_unconfigure(config: pytest.Config) -> None:
    """Close with what is not installed and which tests needed it: other skipped tests have no remedy."""
    reporter: Any = config.pluginmanager.get_plugin("terminalreporter")
    skipped = reporter.stats.get("skipped", ()) if reporter else ()
    reasons = (report.longrepr[2] for report in skipped if isinstance(report.longrepr, tuple))
    for reason, count in collections.Counter(reason.removeprefix("Skipped: ") for reason in reasons).items():
        if reason.startswith("needs "):
            reporter.write_line(f"{count} test{'s' * (count > 1)} skipped: {reason}", yellow=True)


class FakeEntryPoint(importlib.metadata.EntryPoint):
    """An entry point of an object, or, like a real one, of ``module:attribute``."""

    def load(self) -> Any:
        component = vars(self)["component"]
        return super().load() if isinstance(component, str) else component


Install = Callable[..., None]


@pytest.fixture
def install(monkeypatch: pytest.MonkeyPatch) -> Iterator[Install]:
    """Return ``install(kind, name, component, distribution="fake", version="1.0", requires=())``.

    A component is an object, or ``"module:attribute"``. What is really installed is hidden from the test unless
    ``install.beside()`` is called, which shows it too.
    """
    points: dict[str, list[importlib.metadata.EntryPoint]] = {group: [] for group in registry.GROUPS.values()}
    real = registry.entry_points
    shown = False

    def entry_points(group: str) -> importlib.metadata.EntryPoints:
        return importlib.metadata.EntryPoints([*points[group], *(real(group) if shown else ())])

    def add(
        kind: str,
        name: str,
        component: Any,
        distribution: str = "fake",
        version: str = "1.0",
        requires: Sequence[str] = (),
    ) -> None:
        if not isinstance(component, str):
            module = getattr(component, "__module__", "fakes")
            value = f"{module}:{getattr(component, '__qualname__', name)}"
        else:
            value = component
        point = FakeEntryPoint(name, value, registry.GROUPS[kind])
        vars(point).update(
            component=component,
            dist=SimpleNamespace(name=distribution, version=version, metadata={}, requires=list(requires)),
        )
        points[registry.GROUPS[kind]].append(point)

    def beside() -> None:
        nonlocal shown
        shown = True

    add.beside = beside  # type: ignore[attr-defined]
    entry_points.cache_clear = lambda: None  # type: ignore[attr-defined]
    monkeypatch.setattr(registry, "entry_points", entry_points)
    clear_caches()
    yield add
    clear_caches()


def clear_caches() -> None:
    """Forget components of earlier tests."""
    from musicemo.components import spec

    spec.table_schema.cache_clear()
    spec._signature.cache_clear()


@pytest.fixture
def fakes(install: Install) -> Install:
    """Register the components of `fakes.py`, and nothing else; return `install` to register more."""
    for kind, name, component in fakes_module.FAKES:
        install(kind, name, component)
    return install


@pytest.fixture
def fakes_beside(install: Install) -> Install:
    """Register the components of `fakes.py` whose names are their own, beside all that is installed."""
    for kind, name, component in fakes_module.FAKES:
        if name in fakes_module.OWN_NAMES:
            install(kind, name, component)
    install.beside()  # type: ignore[attr-defined]
    return install


@pytest.fixture
def experiment_file(tmp_path: Path) -> Path:
    """Return the path of a small experiment on the components of `fakes.py`."""
    path = tmp_path / "small.toml"
    path.write_text(fakes_module.EXPERIMENT)
    return path


@pytest.fixture
def child_environment(tmp_path: Path) -> dict[str, str]:
    """Return the environment of a child process that sees the components of `fakes.py` beside the built-ins."""
    folder = tmp_path / "site"
    folder.mkdir()
    own = [point for point in fakes_module.FAKES if point[1] in fakes_module.OWN_NAMES]
    points = [(kind, name, f"fakes:{component.__name__}") for kind, name, component in own]
    fakes_module.write_distribution(folder, points)
    path = os.pathsep.join([str(folder), str(Path(__file__).parent / "support")])
    return {**os.environ, "PYTHONPATH": path}


@pytest.fixture
def one_thread() -> Iterator[None]:
    """Keep small tensors on one thread: on a busy machine, threads that wait for each other take longer."""
    import torch

    threads = torch.get_num_threads()
    torch.set_num_threads(1)
    yield
    torch.set_num_threads(threads)
