"""The choice of the epoch, and the source of transferred weights."""

from __future__ import annotations

import statistics
from collections.abc import Iterator, Mapping, Sequence
from typing import Any

from musicemo.evaluation import SHORT_TITLES
from musicemo.reporting.blocks import Block, Cell, Code, Column, Facts, Label, Number, Section, Table
from musicemo.reporting.words import plural

__all__ = ["selection_section", "transfer_section"]

#: Maximum number of tasks with a column of their own on a terminal.
_TASKS = 4

#: Criteria that are compared with the one that was used.
_CRITERIA = ("val/loss", "val/mean_rank", "val/mean_improvement")


def selection_section(results: Mapping[str, Any]) -> Section:
    """Return the section on the epochs that each criterion selects."""
    selection = results.get("selection")
    if not isinstance(selection, Mapping) or not selection.get("criteria"):
        return Section("Choice of the epoch", [])
    return Section("Choice of the epoch", list(_selection(selection)))


def _selection(selection: Mapping[str, Any]) -> Iterator[Block]:
    criteria: Mapping[str, Mapping[str, Any]] = selection["criteria"]
    metrics: Mapping[str, str] = selection.get("metrics") or {}
    monitor = selection.get("monitor", "unknown")
    rows: list[list[Cell]] = []
    for name in dict.fromkeys([monitor, *_CRITERIA]):
        if name in criteria:
            tasks = criteria[name].get("tasks") or {}
            excess = [task["excess"] for task in tasks.values() if task.get("excess") is not None]
            cost = f"{_percent(statistics.mean(excess))}, at most {_percent(max(excess))}" if excess else "n/a"
            scores = [Number((tasks.get(task) or {}).get("val")) for task in metrics]
            used = " (used)" if name == monitor else ""
            rows.append(
                [Label(name + used, strong=bool(used)), str(criteria[name].get("epoch", "")), *scores, cost]
            )
    lowest = {task: criteria[name] for task in metrics if (name := f"val/{task}/loss") in criteria}
    if lowest:
        epochs = sorted(criterion["epoch"] for criterion in lowest.values())
        between = f"{epochs[0]} to {epochs[-1]}" if epochs[0] < epochs[-1] else str(epochs[0])
        scores = [
            Number(((lowest.get(task, {}).get("tasks") or {}).get(task) or {}).get("val")) for task in metrics
        ]
        rows.append(["each task's own loss", between, *scores, _percent(0)])
    columns = [
        Column("best epoch by"),
        Column("epoch"),
        *(
            Column(f"{task} {SHORT_TITLES[metric]}", detail=len(metrics) > _TASKS)
            for task, metric in metrics.items()
        ),
        Column("loss above lowest"),
    ]
    yield Table(columns, rows, "Validation scores at the best epoch of each criterion")
    details: list[list[Cell]] = []
    for name, criterion in criteria.items():
        of_tasks = criterion.get("tasks") or {}
        cells = [_score(of_tasks.get(task) or {}) for task in metrics]
        details.append([Label(name, strong=name == monitor), str(criterion.get("epoch", "")), *cells])
    note = (
        "Scores on the validation set at the best epoch of each criterion. The smaller number is the task's loss "
        f"relative to its lowest value. The run used {monitor}."
    )
    yield Table(["criterion", "epoch", *metrics], details, "Every criterion", note, detail=True)


def _percent(share: float) -> str:
    return f"{100 * share:.1f} %"


def _score(task: Mapping[str, Any]) -> Number:
    excess = task.get("excess")
    return Number(task.get("val"), note="" if excess is None else f"+{_percent(excess)}")


def transfer_section(results: Mapping[str, Any]) -> Section:
    """Return the section on the run whose weights were loaded."""
    transfer = results.get("transfer")
    if not isinstance(transfer, Mapping) or not transfer:
        return Section("Transfer", [])
    rows = [("from", str(transfer.get("from", "unknown")))]
    blocks: list[Block] = []
    for key, title in (("loaded", "loaded"), ("new", "newly initialized"), ("frozen", "frozen")):
        names: Sequence[Any] = transfer.get(key) or ()
        rows.append((title, plural(len(names), "tensor")))
        if names:
            blocks.append(Code(f"Parameters {title}", "\n".join(map(str, names))))
    return Section("Transfer", [Facts(rows), *blocks])
