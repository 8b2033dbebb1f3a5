"""Results under a published protocol, beside the published ones."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import replace
from typing import TYPE_CHECKING, Any

from musicemo.comparison import Replicates, fold_mean, read_replicates
from musicemo.errors import InputError
from musicemo.evaluation import SHORT_TITLES, TITLES, higher_is_better
from musicemo.reporting.blocks import Block, Cell, Column, Facts, Label, Notice, Number, Section, Table, Text
from musicemo.reporting.sections import scores
from musicemo.reporting.sections.replicates import metric_row, score_number
from musicemo.reporting.words import SETS, listed
from musicemo.runs import RunRecord

if TYPE_CHECKING:
    from musicemo.experiment import Protocol

__all__ = ["list_blocks", "protocol_section", "result_blocks", "show_blocks"]

Entry = Mapping[str, Any]

#: The test set is the only one that protocols compare.
_PART = "test"

#: Number of metrics that a terminal has room for.
_BESIDE = 3


def protocol_section(runs: Sequence[RunRecord]) -> Section:
    """Return the section on the protocol of an experiment's finished runs; empty without one."""
    done = [run for run in runs if run.metrics.get(_PART) and run.results.get("protocol")]
    return Section("Protocol", result_blocks([(done[0].name, done)]) if done else [])


def result_blocks(experiments: Sequence[tuple[str, Sequence[RunRecord]]]) -> list[Block]:
    """Return the results of some experiments under one protocol, below the published ones.

    Args:
        experiments: name -> its finished runs, all with the protocol.
    """
    entry: Entry = experiments[0][1][0].results["protocol"]
    notes = _Notes()
    rows = _published(entry, notes)
    warnings: list[Block] = []
    for name, runs in experiments:
        reasons = list(dict.fromkeys(text for run in runs for text in run.results["protocol"]["departures"]))
        cells = _measured(entry, runs, reasons)
        mark = notes.mark(bool(reasons))
        rows.append([Label(f"{name} {mark}".rstrip(), strong=True), *cells, "this run"])
        if reasons:
            warnings.append(
                Notice(f"{mark} {name} departs from the protocol: {'; '.join(reasons)}.", "warning")
            )
    seeds = max(len({run.seed for run in runs}) for _, runs in experiments)
    return [_introduction(entry, seeds), _table(entry, rows), *notes.blocks, *warnings, _sources(entry)]


def show_blocks(protocol: Protocol) -> list[Block]:
    """Return a protocol: its rules and the published results."""
    entry = protocol.to_json()
    notes = _Notes()
    sizes = ", ".join(f"{one.tracks:,} {part}" for part, one in protocol.table.sets.items())
    facts = [
        ("dataset", protocol.dataset),
        ("split", f"{protocol.table.split} Tracks: {sizes}."),
        ("segments", protocol.table.segments),
        ("reference", protocol.table.reference),
    ]
    return [
        Text(f": {protocol.table.title}", lead=protocol.name),
        Facts(facts),
        _table(entry, _published(entry, notes)),
        *notes.blocks,
        _sources(entry),
    ]


def list_blocks(protocols: Sequence[Protocol]) -> list[Block]:
    """Return a table of protocols."""
    rows: list[Sequence[Cell]] = []
    for one in protocols:
        metrics = dict.fromkeys(SHORT_TITLES[name] for names in one.table.metrics.values() for name in names)
        sizes = " / ".join(f"{sized.tracks:,}" for sized in one.table.sets.values())
        rows.append([one.name, one.table.title, sizes, ", ".join(metrics)])
    columns = [
        Column("protocol"),
        Column("title", text=True, fold=True),
        Column("tracks"),
        Column("metrics", text=True, fold=True),
    ]
    return [
        Table(columns, rows),
        Text("`musicemo bench NAME --show` prints a protocol with its published results."),
    ]


def _introduction(entry: Entry, seeds: int) -> Text:
    metrics = listed(list(dict.fromkeys(TITLES[metric] for _, metric in _metrics(entry))))
    averaged = " A metric is the mean over the folds." if entry["average"] == "folds" else ""
    lower = sorted({SHORT_TITLES[metric] for _, metric in _metrics(entry) if not higher_is_better(metric)})
    over = "songs" if _over_songs(entry) else "seeds" if seeds > 1 else ""
    deviations = f" ± is the standard deviation over the {over}." if over else ""
    direction = f" A lower {listed(lower)} is better." if lower else ""
    text = f": {entry['title']}: {metrics} on the {SETS[_PART]}. {entry['segments']}{averaged}{deviations}{direction}"
    return Text(
        f"{text} Brackets show intervals of this experiment; published results have none.",
        lead=f"Protocol {entry['name']}",
    )


def _published(entry: Entry, notes: _Notes) -> list[list[Cell]]:
    return [
        [
            f"{row['system']} {notes.of(row.get('caveat') or '')}".rstrip(),
            *(_cell(row, task, metric) for task, metric in _metrics(entry)),
            row["source"],
        ]
        for row in entry["published"]
    ]


def _cell(row: Mapping[str, Any], task: str, metric: str) -> Cell:
    """Return a published number; empty if there is none."""
    value, deviation = (((row.get(key) or {}).get(task) or {}).get(metric) for key in ("scores", "deviations"))
    return "" if value is None else Number(value, deviation=deviation)


def _metrics(entry: Entry) -> list[tuple[str, str]]:
    return [(task, metric) for task, names in entry["metrics"].items() for metric in names]


def _measured(entry: Entry, runs: Sequence[RunRecord], reasons: list[str]) -> list[Number]:
    """Return the experiment's metrics; of several runs their means. Why runs are left out is added to `reasons`."""
    if len(runs) == 1 and runs[0].fold is None:
        metrics = runs[0].results["protocol"].get("scores") or runs[0].metrics[_PART]
        tasks = {task: metrics.get(task) or {} for task in entry["metrics"]}
        return [
            scores.measured(
                tasks[task].get(metric),
                strong=True,
                deviation=(tasks[task].get("deviations") or {}).get(metric) if _over_songs(entry) else None,
            )
            for task, metric in _metrics(entry)
        ]
    try:
        replicates = read_replicates(runs, _PART)
    except InputError as error:
        reasons.append(f"its runs cannot be combined: {error}")
        return [Number(None) for _ in _metrics(entry)]
    if dataset := runs[0].results["protocol"].get("dataset"):
        replicates = replicates.of_dataset(dataset)
    declared = (runs[0].read_experiment().get("split") or {}).get("folds") or 0
    if replicates.folds and len(replicates.folds) < declared and not any("fold" in text for text in reasons):
        reasons.append(f"it has {len(replicates.folds)} of {declared} folds")
    return [_mean(entry, replicates, task, metric, runs[0]) for task, metric in _metrics(entry)]


def _over_songs(entry: Entry) -> bool:
    """Return whether the published results have deviations over the songs."""
    return any(row.get("deviations") for row in entry["published"])


def _mean(entry: Entry, replicates: Replicates, task: str, metric: str, run: RunRecord) -> Number:
    settings = run.evaluation_settings
    if task not in replicates.tasks:
        return Number(None)
    if entry["average"] == "folds":
        estimate = fold_mean(replicates, task, metric, settings)
        return Number(estimate.value, estimate.low, estimate.high, strong=True)
    number = score_number(metric_row(replicates, task, metric, settings).scores[0], strong=True)
    return replace(number, deviation=None) if _over_songs(entry) else number


def _table(entry: Entry, rows: Sequence[Sequence[Cell]]) -> Table:
    tasks, metrics = entry["metrics"], dict.fromkeys(metric for _, metric in _metrics(entry))
    columns = [Column("system", text=True, fold=True)]
    for task, metric in _metrics(entry):
        names = (
            [task] * (len(tasks) > 1 or len(metrics) == 1),
            [TITLES[metric]],
            [SHORT_TITLES[metric]] * (len(metrics) > 1),
        )
        columns.append(Column(" ".join(names[0] + names[1]), " ".join(names[0] + names[2])))
    # More metrics than a terminal has room for are in several tables there.
    return Table([*columns, Column("source", text=True)], rows, wrap=2 if len(_metrics(entry)) > _BESIDE else 0)


def _sources(entry: Entry) -> Facts:
    used = dict.fromkeys(row["source"] for row in entry["published"])
    return Facts([("protocol", entry["reference"]), *((name, entry["sources"][name]) for name in used)])


class _Notes:
    """Numbered remarks below a table: why a row is not comparable."""

    def __init__(self) -> None:
        self.blocks: list[Block] = []
        self._count = 0

    def of(self, text: str) -> str:
        """Add a remark and return its mark, empty without one."""
        mark = self.mark(bool(text))
        if text:
            self.blocks.append(Text(f"{mark} Not comparable: {text}."))
        return mark

    def mark(self, needed: bool) -> str:
        """Return the next mark if one is needed."""
        self._count += needed
        return f"({self._count})" if needed else ""
