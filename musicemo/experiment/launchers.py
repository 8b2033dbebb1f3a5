"""The launcher of an experiment, or of an extraction."""

from __future__ import annotations

from pathlib import Path

from pydantic import ValidationError

from musicemo import toml
from musicemo.components import registry
from musicemo.components.lookup import Components
from musicemo.components.spec import Component, default_component, make_component
from musicemo.contracts import Launcher
from musicemo.errors import InputError
from musicemo.experiment.schema import DEFAULT_LAUNCHER

__all__ = ["build_launcher", "read_launcher"]


def build_launcher(component: Component, name: str | None = None, jobs: int | None = None) -> Launcher:
    """Construct a launcher.

    Args:
        component: the launcher of the file.
        name: name of another launcher, with its default parameters.
        jobs: the parameter ``jobs``.

    Raises:
        InputError: no launcher has the name, or it has no parameter ``jobs``.
    """
    if name not in (None, component.name):
        component = make_component("launcher", name, registry.load("launcher", name), {})
    if jobs is not None:
        try:
            table = {**component.to_table(), "jobs": jobs}
            del table["type"]
            component = make_component(
                "launcher", component.name, component.factory, table, code=component.code
            )
        except ValidationError as error:
            raise InputError(f"--jobs {jobs}: the launcher {component.name!r} has no parameter jobs") from error
    launcher: Launcher = component.build()
    return launcher


def read_launcher(file: Path | None, name: str, jobs: int | None = None) -> Launcher:
    """Construct the launcher of the table ``[launcher]`` in a TOML file, whose other tables are ignored.

    Args:
        file: the file; None for default parameters.
        name: name of the launcher. If that of the file is another, it has its default parameters.
        jobs: the parameter ``jobs``.

    Raises:
        InputError: the file cannot be read, or the table or the name is not valid.
    """
    component: Component | None = default_component("launcher", DEFAULT_LAUNCHER["type"])
    if file is not None:
        source = toml.read(file, [])
        if isinstance(source.table.get("launcher"), dict):
            source.table["launcher"].setdefault("type", name)
        problems: list[str] = []
        component = Components(source, problems).find("launcher", ("launcher",), DEFAULT_LAUNCHER)
        if problems or component is None:
            raise InputError(*problems)
    assert component is not None
    return build_launcher(component, name, jobs)
