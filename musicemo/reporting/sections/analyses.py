"""Analyses beside the metrics: noise ceilings, scores within genres, calibration."""

from __future__ import annotations

from collections.abc import Iterator, Mapping
from typing import Any

from musicemo.evaluation import CALIBRATED, LEADING, METRICS, TITLES
from musicemo.reporting.blocks import Block, Cell, Change, Charts, Column, Number, Section, Table, Text
from musicemo.reporting.charts import MUTED, Axis, Chart, Line, Mark
from musicemo.reporting.sections.scores import measured
from musicemo.reporting.words import plural

__all__ = ["analysis_sections"]

#: Probabilities of the intervals that the table has.
_COVERED = ("0.5", "0.9")

_RHO = TITLES[LEADING[0]]


def analysis_sections(results: Mapping[str, Any], part: str) -> Iterator[Section]:
    """Yield a section for each of `musicemo.running.analyses.analyse_evaluations` that was made.

    Args:
        results: The content of `results.json`, or the return value of `musicemo.comparison.analyse_replicates`.
        part: ``train``, ``val`` or ``test``.
    """
    if reliability := _table(results, "reliability"):
        yield Section("Noise ceiling", list(_ceilings(reliability, part)))
    if controlled := _table(results, "controlled"):
        yield Section(f"Beyond the {controlled['by']}", list(_controlled(controlled, part)))
    if distributions := _table(results, "distributions"):
        yield Section("Distributions of the ratings", list(_distributions(distributions, part)))
    if calibration := _table(results, "calibration"):
        yield Section("Calibration", list(_calibration(calibration, part)))


def _table(results: Mapping[str, Any], name: str) -> Mapping[str, Any]:
    value = results.get(name)
    return value if isinstance(value, Mapping) else {}


def _ceilings(tasks: Mapping[str, Any], part: str) -> Iterator[Block]:
    """Yield a table for the ratings of tracks, and one for ratings over time."""
    for metric in (LEADING[0], METRICS["series"][0]):
        yield from _ceilings_of(metric, tasks, part)


def _ceilings_of(metric: str, tasks: Mapping[str, Any], part: str) -> Iterator[Block]:
    rows: list[list[Cell]] = []
    for name, task in tasks.items():
        rho = task.get(metric) or {}
        if part in rho.get("reached", {}):
            raters = task.get("raters")
            ends = dict.fromkeys(f"{raters[end]:g}" for end in ("min", "max")) if raters else ()
            listeners = " to ".join(ends)
            reached = rho["reached"][part]
            share = Number.share(reached.get("value"), reached.get("low"), reached.get("high"), strong=True)
            reliability = measured(rho["reliability"])
            rows.append(
                [name, str(task.get("tracks", "")), listeners, reliability, Number(rho["ceiling"]), share]
            )
    columns: list[str | Column] = [
        "task",
        Column("tracks", detail=True),
        Column("listeners per track", detail=True),
        "reliability",
        "ceiling",
        Column("share reached", brief=True),
    ]
    note = (
        "The reliability is the agreement with another panel of as many listeners (Spearman-Brown, over split halves). "
        f"Its square root is the ceiling: {TITLES[metric]} of predictions that equal the mean opinion of all listeners."
    )
    if rows:
        yield Table(columns, rows, f"Noise ceiling of {TITLES[metric]}", note)


def _controlled(controlled: Mapping[str, Any], part: str) -> Iterator[Block]:
    by = controlled["by"]
    tasks = controlled["parts"].get(part, {})
    if not tasks:
        return
    columns: list[str | Column] = [
        "task",
        Column(_RHO, brief=True),
        Column(f"{by} only", brief=True),
        "gain",
        f"within {by}",
        Column("partial", detail=True),
    ]
    scores = ("spearman", "group_alone", "gain", "within", "partial")
    rows: list[list[Cell]] = [
        [name, *(measured(task.get(score)) for score in scores)] for name, task in tasks.items()
    ]
    note = (
        f"“{by} only” predicts the mean rating of the {by} in the training set. The gain is the model's score minus "
        f"that. A model that only recognizes the {by} scores 0 within each {by}."
    )
    yield Table(columns, rows, f"{_RHO} compared with predicting from the {by} only", note)
    unproven = [name for name, task in tasks.items() if not (task["within"]["low"] or 0) > 0]
    if unproven:
        yield Text(
            f"No significant rank correlation within a {by}: {', '.join(unproven)}. The model may only recognize "
            f"the {by}."
        )
    sizes = {name: group["tracks"] for task in tasks.values() for name, group in task.get("groups", {}).items()}
    if sizes:
        groups: list[list[Cell]] = [
            [name, *(Number(task.get("groups", {}).get(group, {}).get("spearman")) for group in sizes)]
            for name, task in tasks.items()
        ]
        columns = ["task", *(Column(f"{name}, {plural(count, 'track')}") for name, count in sizes.items())]
        yield Table(columns, groups, title=f"{_RHO} within each {by}", detail=True)


def _distributions(tasks: Mapping[str, Any], part: str) -> Iterator[Block]:
    shown = {name: task["parts"][part] for name, task in tasks.items() if part in task.get("parts", {})}
    if not shown:
        return
    rows: list[list[Cell]] = []
    for name, scores in shown.items():
        constant = scores.get("reference", {})
        rows.append(
            [
                name,
                measured(scores["crps"], strong=True),
                Number(constant.get("crps")),
                measured(scores["nll"]),
                Number(constant.get("nll")),
                Number(scores["deviation"]),
                *(Number.share(scores["coverage"].get(share)) for share in _COVERED),
            ]
        )
    columns: list[str | Column] = [
        "task",
        TITLES["crps"],
        f"constant {TITLES['crps']}",
        Column(TITLES["nll"], brief=True),
        Column(f"constant {TITLES['nll']}", detail=True),
        "deviation",
        *(f"in {float(share) * 100:g} %" for share in _COVERED),
    ]
    note = (
        "Scores of the predicted distributions on the ratings of single listeners; lower is better. The constant "
        "prediction is the distribution of all ratings in the training set, for every track. The deviation is the "
        "predicted one of the ratings of a track. A calibrated model has 50 % of them in its central 50 % interval."
    )
    yield Table(columns, rows, "Predicted distributions of the listeners' ratings", note)
    marks: list[Mark] = [Line([0, 1], [0, 1], colour=MUTED, dashed=True)]
    for colour, (name, scores) in enumerate(shown.items()):
        coverage = scores["coverage"]
        marks.append(Line(list(map(float, coverage)), list(coverage.values()), label=name, colour=colour))
    chart = Chart(
        title="Coverage of the predicted intervals",
        x=Axis(0, 1, "probability of the interval"),
        y=Axis(0, 1, "share of the ratings"),
        marks=marks,
        aspect=1,
        description="Share of the listeners' ratings in central intervals: "
        + "; ".join(f"{name}: {_observed(scores['coverage'])}" for name, scores in shown.items()),
        name="coverage",
    )
    yield Charts(
        [chart], note="On the dashed line, the predicted distributions are calibrated; below it too narrow."
    )


def _observed(coverage: Mapping[str, float]) -> str:
    return ", ".join(
        f"{observed:.0%} in the {float(share):.0%} interval" for share, observed in coverage.items()
    )


def _calibration(calibration: Mapping[str, Any], part: str) -> Iterator[Block]:
    rows: list[list[Cell]] = []
    for name, task in calibration["tasks"].items():
        if part in task.get("parts", {}):
            changes = (task["parts"][part].get(metric, {}) for metric in CALIBRATED)
            rows.append([name, *(Change(one.get("before"), one.get("after")) for one in changes)])
    title = f"Calibration: {calibration['method']}, fitted on the validation set"
    note = "Metrics of the predictions before and after a map to the scale of the ratings."
    if rows:
        yield Table(["task", *(TITLES[metric] for metric in CALIBRATED)], rows, title, note)
    for name, task in calibration["tasks"].items():
        if "skipped" in task:
            yield Text(f"{name} is not calibrated: {task['skipped']}.")
