"""What only some runs have: how the epoch was chosen, where weights came from."""

from __future__ import annotations

from collections.abc import Iterator, Mapping, Sequence
from typing import Any

from musicemo.reporting.blocks import Block, Cell, Code, Facts, Section, Table
from musicemo.reporting.words import number, plural
from musicemo.runs import RunRecord

__all__ = ["extra_sections"]


def extra_sections(run: RunRecord) -> Iterator[Section]:
    """Yield the sections of what `results.json` has beside the metrics."""
    if isinstance(found := run.results.get("selection"), Mapping) and found.get("criteria"):
        yield Section("Choice of the epoch", [_selection(found)])
    if isinstance(found := run.results.get("transfer"), Mapping) and found:
        yield Section("Transfer", _transfer(found))


def _selection(found: Mapping[str, Any]) -> Table:
    """Return what each criterion would have chosen."""
    tasks = list(found.get("metrics") or {})
    rows: list[list[str | Cell]] = []
    for name, criterion in found["criteria"].items():
        of_tasks = criterion.get("tasks") or {}
        values = [_chosen(of_tasks.get(task) or {}) for task in tasks]
        rows.append([Cell(name, strong=name == found.get("monitor")), str(criterion.get("epoch", "")), *values])
    note = (
        "Scores on the validation part at the epoch that each criterion would have chosen; below them, how far the "
        f"task's loss is above its own lowest. {found.get('monitor', 'An unknown one')} chose."
    )
    return Table(["criterion", "epoch", *tasks], rows, note=note)


def _chosen(found: Mapping[str, Any]) -> Cell:
    excess = found.get("excess")
    return Cell(number(found.get("val")), "" if excess is None else f"+{excess:.1%}")


def _transfer(found: Mapping[str, Any]) -> list[Block]:
    rows = [("from", str(found.get("from", "unknown")))]
    blocks: list[Block] = []
    for key, title in (("loaded", "loaded"), ("new", "left new"), ("frozen", "frozen")):
        names: Sequence[Any] = found.get(key) or ()
        rows.append((title, plural(len(names), "tensor")))
        if names:
            blocks.append(Code(f"Parameters {title}", "\n".join(map(str, names))))
    return [Facts(rows), *blocks]
