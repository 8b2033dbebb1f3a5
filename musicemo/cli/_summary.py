"""A dataset's summary as tables."""

from __future__ import annotations

from collections.abc import Mapping

from rich.console import Console
from rich.markup import escape
from rich.table import Table
from rich.text import Text

from musicemo import terminal
from musicemo.data import PARTS, Summary
from musicemo.reporting.terminal import plain_table, print_table

__all__ = ["print_summary"]


def print_summary(dataset: str, method: str, summary: Summary) -> None:
    """Print a summary."""
    console = terminal.console(soft_wrap=False)
    console.print(
        f"[bold]{escape(dataset)}[/bold]: {summary.tracks} labelled tracks, {summary.unlabelled} without a label "
        f"for any task, {summary.feature_rows} feature rows",
        soft_wrap=True,
    )
    title = f"Split: {method}, hash {summary.split_hash[:12]}"
    table = plain_table("part", "tracks", "shortest", "median", "longest (frames)", title=title)
    for part, count in summary.parts.items():
        table.add_row(part, str(count), *(f"{frames:g}" for frames in summary.frames.get(part, ())))
    _print(console, table)
    if summary.datasets:
        table = plain_table("dataset", *PARTS, title="Labelled tracks of each dataset")
        for name, counts in summary.datasets.items():
            table.add_row(name, *(str(counts[part]) for part in PARTS))
        _print(console, table)
    for task, parts in summary.ratings.items():
        _print_ratings(console, task, parts)
    for task, classes in summary.classes.items():
        _print_merging(console, task, summary)
        table = plain_table("class", *PARTS, "all", title=f"{task}: tracks of each class")
        table.add_column("")
        most = max(sum(counts.values()) for counts in classes.values())
        for name, counts in classes.items():
            total = sum(counts.values())
            if name != "missing" or total:
                table.add_row(name, *(str(counts[part]) for part in PARTS), str(total), _bar(total, most))
        _print(console, table)
    console.print()
    for leak in summary.leaks:
        console.print("[yellow]suspected leak:[/yellow]", end=" ")
        console.print(leak, markup=False, soft_wrap=True)
    if not summary.leaks:
        console.print("No leak found: no group and no equal features in more than one part.")


def _print_ratings(console: Console, task: str, parts: Mapping[str, Mapping[str, float]]) -> None:
    names = ("count", "missing", "min", "q1", "median", "q3", "max", "mean")
    table = plain_table("part", *names, title=f"{task}: ratings in their own units")
    for part, found in parts.items():
        table.add_row(part, *(f"{found[name]:.4g}" if name in found else "" for name in names))
    _print(console, table)


def _print_merging(console: Console, task: str, summary: Summary) -> None:
    merged = summary.merged[task]
    if all(found["becomes"] == name for name, found in merged.items()):
        return
    table = plain_table("class", "tracks", "becomes", title=f"{task}: classes before merging")
    for name, found in merged.items():
        becomes = Text("dropped", style="dim") if found["becomes"] is None else found["becomes"]
        table.add_row(name, str(found["tracks"]), becomes)
    _print(console, table)


def _print(console: Console, table: Table) -> None:
    console.print()
    print_table(console, table)


def _bar(count: int, most: int) -> str:
    return "█" * round(20 * count / max(most, 1))
