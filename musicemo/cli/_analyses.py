"""What results say beside the metrics: noise ceilings, scores within genres, calibration."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any

from rich.console import Console

from musicemo.cli._style import number, plain_table, print_table, with_interval
from musicemo.evaluation import CALIBRATED, TITLES

__all__ = ["print_analyses"]

Scores = Mapping[str, Any]


def print_analyses(console: Console, results: Mapping[str, Any], part: str) -> None:
    """Print those of a part that are there; see `musicemo.running.analyses.analyse_evaluations`."""
    if found := results.get("reliability"):
        _print_ceilings(console, found, part)
    controlled = results.get("controlled", {})
    if found := controlled.get("parts", {}).get(part):
        _print_controlled(console, found, controlled["by"])
    if found := results.get("calibration"):
        _print_calibration(console, found, part)


def _print_ceilings(console: Console, tasks: Mapping[str, Scores], part: str) -> None:
    known = {name: found["spearman"] for name, found in tasks.items() if part in found["spearman"]["reached"]}
    if not known:
        return
    table = plain_table(
        "task",
        "reliability [interval]",
        "ceiling",
        "share reached",
        title=f"Noise ceiling of {TITLES['spearman']}",
    )
    for name, found in known.items():
        share = found["reached"][part]["value"]
        reached = "n/a" if share is None else f"{100 * share:.0f} %"
        table.add_row(name, with_interval(found["reliability"]), number(found["ceiling"]), reached)
    console.print()
    print_table(console, table)


def _print_controlled(console: Console, tasks: Mapping[str, Scores], by: str) -> None:
    title = f"{TITLES['spearman']} beside what the {by} alone tells"
    table = plain_table(
        "task", TITLES["spearman"], f"{by} alone", "gain [interval]", f"within {by} [interval]", title=title
    )
    for name, found in tasks.items():
        numbers = (number(found[score]["value"]) for score in ("spearman", "group_alone"))
        table.add_row(name, *numbers, with_interval(found["gain"]), with_interval(found["within"]))
    console.print()
    print_table(console, table)
    unheard = [name for name, found in tasks.items() if not (found["within"]["low"] or 0) > 0]
    if unheard:
        console.print(
            f"Within a {by}, no rank correlation could be shown of {', '.join(unheard)}: hearing the {by} may be all."
        )


def _print_calibration(console: Console, calibration: Scores, part: str) -> None:
    title = f"Calibration: {calibration['method']}, fitted on the validation part"
    table = plain_table("task", *(TITLES[metric] for metric in CALIBRATED), title=title)
    for name, found in calibration["tasks"].items():
        if part in found.get("parts", {}):
            changes = (found["parts"][part][metric] for metric in CALIBRATED)
            table.add_row(name, *(f"{number(one['before'])} → {number(one['after'])}" for one in changes))
    console.print()
    if table.row_count:
        print_table(console, table)
    for name, found in calibration["tasks"].items():
        if "skipped" in found:
            console.print(f"{name} is not calibrated: {found['skipped']}", markup=False)
