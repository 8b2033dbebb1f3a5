"""What results say beside the metrics: noise ceilings, scores within genres, calibration."""

from __future__ import annotations

from collections.abc import Iterator, Mapping
from typing import Any

from musicemo.evaluation import CALIBRATED, LEADING, TITLES
from musicemo.reporting.blocks import Block, Cell, Section, Table, Text
from musicemo.reporting.words import measured, number, plural

__all__ = ["analysis_sections"]

_RHO = TITLES[LEADING[0]]


def analysis_sections(results: Mapping[str, Any], part: str) -> Iterator[Section]:
    """Yield a section for each of `musicemo.running.analyses.analyse_evaluations` that there is.

    Args:
        results: what `results.json` has, or `musicemo.comparison.analyse_replicates` returns.
        part: of the tracks.
    """
    if found := _told(results, "reliability"):
        yield Section("Noise ceiling", list(_ceilings(found, part)))
    if found := _told(results, "controlled"):
        yield Section(f"Beyond the {found['by']}", list(_controlled(found, part)))
    if found := _told(results, "calibration"):
        yield Section("Calibration", list(_calibration(found, part)))


def _told(results: Mapping[str, Any], name: str) -> Mapping[str, Any]:
    found = results.get(name)
    return found if isinstance(found, Mapping) else {}


def _ceilings(tasks: Mapping[str, Any], part: str) -> Iterator[Block]:
    rows: list[list[str | Cell]] = []
    for name, found in tasks.items():
        rho = found["spearman"]
        raters = found.get("raters")
        share = rho.get("reached", {}).get(part, {})
        rows.append(
            [
                name,
                str(found["tracks"]),
                f"{raters['min']:g} to {raters['max']:g}" if raters else "",
                measured(rho["reliability"]),
                number(rho["ceiling"]),
                Cell(_percent(share.get("value")), _percents(share), strong=True),
            ]
        )
    note = (
        "Reliability is what another panel of as many listeners would agree by (Spearman-Brown, over split halves); "
        f"its root is the ceiling: {_RHO} of predictions that know what everybody thinks."
    )
    columns = ["task", "tracks", "listeners a track", "reliability", "ceiling", "share reached"]
    yield Table(columns, rows, note=note)


def _percent(share: float | None) -> str:
    return "n/a" if share is None else f"{share:.0%}"


def _percents(share: Mapping[str, float | None]) -> str:
    low, high = share.get("low"), share.get("high")
    return "" if low is None or high is None else f"[{low:.0%}, {high:.0%}]"


def _controlled(found: Mapping[str, Any], part: str) -> Iterator[Block]:
    by = found["by"]
    tasks = found["parts"].get(part, {})
    if not tasks:
        return
    scores = ("spearman", "group_alone", "gain", "within", "partial")
    rows = [[name, *(measured(task[score]) for score in scores)] for name, task in tasks.items()]
    note = (
        f"“{by} alone” predicts the mean rating of the {by} in the training part, and the gain is the model's score "
        f"less that. A model that only hears the {by} has nothing within one."
    )
    yield Table(["task", _RHO, f"{by} alone", "gain", f"within {by}", "partial"], rows, note=note)
    sizes = {name: group["tracks"] for task in tasks.values() for name, group in task["groups"].items()}
    columns = [f"{name}, {plural(count, 'track')}" for name, count in sizes.items()]
    own = [
        [name, *(number(task["groups"].get(group, {}).get("spearman")) for group in sizes)]
        for name, task in tasks.items()
    ]
    yield Table(["task", *columns], own, title=f"{_RHO} within each {by}")


def _calibration(found: Mapping[str, Any], part: str) -> Iterator[Block]:
    rows: list[list[str | Cell]] = []
    for name, task in found["tasks"].items():
        if part in task.get("parts", {}):
            changes = (task["parts"][part].get(metric, {}) for metric in CALIBRATED)
            rows.append(
                [name, *(f"{number(one.get('before'))} → {number(one.get('after'))}" for one in changes)]
            )
    note = (
        f"Predictions brought to the ratings' scale by a map ({found['method']}) fitted on the validation part."
    )
    if rows:
        yield Table(["task", *(TITLES[metric] for metric in CALIBRATED)], rows, note=note)
    for name, task in found["tasks"].items():
        if "skipped" in task:
            yield Text(f"{name} is not calibrated: {task['skipped']}.")
