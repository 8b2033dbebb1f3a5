"""What only some runs have: how the epoch was chosen, where weights came from, scores held to more than their value."""

from __future__ import annotations

import math
from collections.abc import Iterator, Mapping, Sequence
from typing import Any

from musicemo.report.page import Block, Cell, Code, Facts, Section, Table
from musicemo.report.words import interval, number, plural
from musicemo.runs import RecordedRun

__all__ = ["analysis_sections", "extra_sections"]

_TITLES = {
    "calibration": ("Calibration", "Predictions brought to the scale of the ratings on the validation part."),
    "reliability": ("Reliability of the ratings", "How far a score can get, given how far raters agree."),
    "controlled": ("Genre-controlled scores", "What is left of a score when the genre is known."),
}


def extra_sections(run: RecordedRun) -> Iterator[Section]:
    """Yield the sections of what `results.json` has beside the metrics."""
    yield from analysis_sections(run.results)
    if isinstance(found := run.results.get("selection"), Mapping) and found.get("criteria"):
        yield Section("Choice of the epoch", [_selection(found)])
    if isinstance(found := run.results.get("transfer"), Mapping) and found:
        yield Section("Transfer", _transfer(found))


def analysis_sections(results: Mapping[str, Any]) -> Iterator[Section]:
    """Yield the sections of what `musicemo.analyses.analyse_evaluations` found."""
    for key, (title, note) in _TITLES.items():
        if isinstance(found := results.get(key), Mapping) and found:
            yield Section(title, list(_blocks(found, note)))


def _blocks(found: Mapping[str, Any], note: str) -> Iterator[Block]:
    """Yield a table of what is told of each task, or several, and the rest as names and values."""
    plain = [(str(name), _shown(value)) for name, value in found.items() if not isinstance(value, Mapping)]
    if plain:
        yield Facts(plain)
    tables = {str(name): value for name, value in found.items() if isinstance(value, Mapping)}
    told = _rows(tables)
    if told:
        yield Table(*told, note=note)
        return
    for name, inner in tables.items():
        if found_ := _rows({str(key): value for key, value in inner.items() if isinstance(value, Mapping)}):
            yield Table(*found_, title=name, note=note)
        else:
            yield Facts([(f"{name}: {key}", _shown(value)) for key, value in inner.items()])


def _rows(tables: Mapping[str, Mapping[str, Any]]) -> tuple[list[str], list[list[str | Cell]]] | None:
    """Return columns and rows of name -> quantity -> value; None where it is not of that shape."""
    columns = list(dict.fromkeys(key for table in tables.values() for key in table))
    values = [value for table in tables.values() for value in table.values()]
    if not values or not all(_is_value(value) for value in values):
        return None
    rows: list[list[str | Cell]] = [
        [name, *(_cell(table.get(column)) for column in columns)] for name, table in tables.items()
    ]
    return ["task", *(str(column).replace("_", " ") for column in columns)], rows


def _is_value(value: Any) -> bool:
    return not isinstance(value, list | Mapping) or (isinstance(value, Mapping) and "value" in value)


def _cell(value: Any) -> str | Cell:
    if isinstance(value, Mapping):
        return Cell(number(value.get("value")), interval(value.get("low"), value.get("high")))
    return "" if value is None else _shown(value)


def _shown(value: Any) -> str:
    if isinstance(value, float):
        return f"{value:.3f}".replace("-", "−") if math.isfinite(value) else "n/a"
    if isinstance(value, list):
        return ", ".join(map(_shown, value))
    return str(value)


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
