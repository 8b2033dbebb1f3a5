"""``musicemo environment``."""

from __future__ import annotations

import os
import sys
from collections.abc import Mapping
from typing import Any

import typer

from musicemo.cli._options import AsJson, Output
from musicemo.cli._output import prints_data
from musicemo.components import registry

__all__ = ["add_commands"]

#: Environment variables that change the behavior or the speed of musicemo.
_VARIABLES = ("MUSICEMO_", "OMP_NUM_THREADS", "MKL_NUM_THREADS", "CUDA_VISIBLE_DEVICES")


def add_commands(app: typer.Typer) -> None:
    """Add ``environment``."""
    app.command()(environment)


@prints_data
def environment(
    as_json: AsJson = False,
    output: Output = None,
) -> None:
    """Describe this installation for a bug report.

    Print versions, machine, device, threads, installed plugins, and components that cannot be imported. The only paths
    in the output are those of the interpreter and the cache.
    """
    from musicemo.cli._output import check_output, emit, emit_json

    check_output(output)
    table = _describe()
    if as_json:
        emit_json(table, output)
    else:
        emit("".join(f"{line}\n" for line in _lines(table)), output)


def _describe() -> dict[str, Any]:
    from musicemo.features import cache_folder
    from musicemo.runs import describe_environment
    from musicemo.training import choose_device

    recorded = describe_environment(choose_device("auto"))
    del recorded["command"], recorded["origins"]
    return {
        **recorded,
        "interpreter": sys.executable,
        "cache": str(cache_folder()),
        "variables": {
            name: value for name, value in sorted(os.environ.items()) if value and name.startswith(_VARIABLES)
        },
        "broken": _broken(),
    }


def _broken() -> list[str]:
    """Return the problem of each component and plugin that cannot be used."""
    from musicemo.components.checks import problem_of

    claims = [claim for kind in registry.GROUPS for claim in registry.claims(kind, disabled=True)]
    problems = {claim: problem_of(claim, check=True) for claim in claims}
    return [
        f"{claim.kind} {claim.name!r} of {claim}: {problem}" for claim, problem in problems.items() if problem
    ]


def _lines(table: Mapping[str, Any]) -> list[str]:
    width = max(map(len, table)) + 2
    lines = []
    for name, value in table.items():
        if isinstance(value, Mapping):
            value = [f"{key} {inner}" for key, inner in value.items() if inner is not None]
            value = [", ".join(value)] if name != "variables" else value
        items = value if isinstance(value, list) else [value]
        for label, item in zip([name, *[""] * len(items)], items or ["none"], strict=False):
            lines.append(f"{label:<{width}}{item}")
    return lines
