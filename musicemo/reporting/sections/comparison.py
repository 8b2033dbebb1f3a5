"""A comparison of experiments: scores, tested differences, conclusions, and what differs in the experiments."""

from __future__ import annotations

import math
from collections.abc import Collection, Iterator, Mapping, Sequence
from typing import Any

from musicemo.comparison import Comparison, Difference, Ranking, Row, Score
from musicemo.evaluation import LEADING, TITLES, finite, higher_is_better
from musicemo.progress import duration
from musicemo.reporting.blocks import Block, Cell, Charts, Column, Label, Notice, Number, Section, Table, Text
from musicemo.reporting.charts import Axis, Chart, Intervals, Line, Mark, Rule, categories, spanning
from musicemo.reporting.charts.chart import COLOURS
from musicemo.reporting.sections import scores
from musicemo.reporting.sections.replicates import constant_notes, count_of, score_number, set_of
from musicemo.reporting.sections.search import looks, searches_of
from musicemo.reporting.sections.setup import value_text
from musicemo.reporting.words import SETS, listed, number, plural
from musicemo.runs import RunRecord

__all__ = ["comparison_blocks", "comparison_facts", "comparison_sections", "notes", "score_blocks", "verdicts"]

#: Keys of the experiments' files that are not listed as differences.
_IGNORED = ("name", "description", "seed", "seeds", "split.fold")

#: Maximum number of tasks or experiments that a verdict lists; more of them are summarized.
_LISTED = 4

#: Maximum number of characters of a value that is listed as a difference.
_LONG = 60


def comparison_blocks(comparison: Comparison) -> list[Block]:
    """Return the compared experiments, the tables and the conclusions, without charts."""
    experiments = [
        Text(
            f": {count_of(one)}, {set_of(one)}",
            lead=one.name,
        )
        for one in comparison.experiments
    ]
    searches = [Text(f": {looks(one).text}", lead=name) for name, one in searches_of(comparison).items()]
    return [*experiments, *score_blocks(comparison), *searches]


def score_blocks(comparison: Comparison) -> list[Block]:
    """Return the tables and the conclusions."""
    return [*score_tables(comparison), *_conclusions(comparison)]


def comparison_sections(comparison: Comparison) -> list[Section]:
    """Return the sections of a comparison's page."""
    runs = {one.name: one.records for one in comparison.experiments}
    return [
        Section("Verdict", _conclusions(comparison)),
        Section("Scores", [_forests(comparison), *score_tables(comparison)]),
        Section("All pairs", list(_pairs(comparison))),
        Section("Differences", _differences(comparison)),
        Section("Training", _training(runs)),
        Section("What differs", _settings(runs)),
        Section("Experiments", _experiments(runs)),
    ]


def comparison_facts(comparison: Comparison) -> list[tuple[str, str]]:
    """Return the facts at the top of a comparison's page."""
    experiments = comparison.experiments
    tracks = max((len(task.ids) for one in experiments for task in one.tasks.values()), default=0)
    return [
        ("experiments", str(len(experiments))),
        ("runs", str(sum(len(one.records) for one in experiments))),
        ("evaluated on", SETS[comparison.part]),
        ("tracks", str(tracks)),
        ("confidence", f"{100 * comparison.settings.confidence:g} %"),
    ]


def score_tables(comparison: Comparison) -> Iterator[Table]:
    """Yield a table for each metric, and one of the relative improvements."""
    several = any(len(row.scores) > 1 for row in comparison.rows)
    seeds = any(len(score.values) > 1 for row in comparison.rows for score in row.scores)
    columns: list[str | Column] = [
        "task",
        Column("experiment", text=True),
        "mean ± deviation" if seeds else "score",
    ]
    columns += ["difference", "p"] if several else []
    for metric in dict.fromkeys(row.metric for row in comparison.rows):
        rows = [row for row in (*comparison.rows, *comparison.averages) if row.metric == metric]
        direction = "higher" if rows[0].higher_is_better else "lower"
        lines = [line for row in rows for line in _lines(row, several=several)]
        yield Table(columns, lines, f"{TITLES[metric]} ({direction} is better)")
    if any(math.isfinite(one.value) for one in comparison.improvements):
        improvements: list[list[Cell]] = [
            [
                one.experiment,
                Number(100 * one.value, 100 * one.low, 100 * one.high, format="+.1f", ends="+.1f", unit=" %"),
                str(len(one.tasks)),
            ]
            for one in comparison.improvements
            if math.isfinite(one.value)
        ]
        yield Table(["experiment", "Δm", "tasks"], improvements, "Relative improvement Δm over the baselines")


def _pairs(comparison: Comparison) -> Iterator[Table]:
    """Yield the differences of all pairs of experiments."""
    for ranking in comparison.rankings:
        rows: list[list[Cell]] = [
            [
                better,
                worse,
                Number(difference.value, difference.low, difference.high, format="+.3f", ends="+.2f"),
                _p_cell(difference.corrected),
            ]
            for (better, worse), difference in ranking.pairs.items()
        ]
        columns: list[str | Column] = [
            Column("experiment", text=True),
            Column("minus", text=True),
            "difference",
            "p",
        ]
        yield Table(columns, rows, _of_ranking(ranking))


def _of_ranking(ranking: Ranking) -> str:
    title = TITLES[ranking.metric]
    return (
        f"{title} of {ranking.tasks[0]}"
        if len(ranking.tasks) == 1
        else f"Mean {title} of {len(ranking.tasks)} tasks"
    )


def _p_cell(value: float) -> Cell:
    return "<0.001" if value < 0.001 else Number(value)


def _lines(row: Row, *, several: bool) -> Iterator[list[Cell]]:
    for place, score in enumerate(row.scores):
        line: list[Cell] = ["" if place else _title(row), score.experiment, score_number(score, strong=True)]
        difference = score.difference
        if several and difference:
            line.append(Number(difference.value, difference.low, difference.high, format="+.3f", ends="+.2f"))
            line.append(_p_cell(difference.corrected))
        elif several:
            line += ["baseline" if row.baseline == score.experiment else "", ""]
        yield line


def _conclusions(comparison: Comparison) -> list[Block]:
    return [
        *(Notice(text) for text in verdicts(comparison)),
        *(Text(text) for text in notes(comparison)),
    ]


def verdicts(comparison: Comparison) -> list[str]:
    """Return the conclusions on each experiment that was tested against a baseline, on the leading metrics.

    No sentence claims more than was tested.
    """
    level = 1 - comparison.settings.confidence
    identical = {frozenset(pair) for pair in comparison.identical}
    sentences = [_best(ranking, identical, level) for ranking in comparison.rankings]
    sentences += [
        f"{one} and {other} are identical: they have the same predictions on every track."
        for one, other in comparison.identical
    ]
    for experiment in comparison.experiments:
        tested = list(_tested(experiment.name, comparison))
        if tested:
            sentences += _of(experiment.name, tested, level)
    return sentences


def _best(ranking: Ranking, identical: Collection[frozenset[str]], level: float) -> str:
    """Return which experiment is best on a metric, and of which others this is known."""
    best, *others = ranking.means
    title = _of_ranking(ranking)
    what = f"{title[0].lower()}{title[1:]}" if title.startswith("Mean") else title
    worse = [other for other in others if ranking.pairs[best, other].corrected < level]
    unknown = [other for other in others if other not in worse and frozenset((best, other)) not in identical]
    most = "highest" if higher_is_better(ranking.metric) else "lowest"
    tested = f"all {len(ranking.pairs)} pairs tested, corrected " if len(ranking.pairs) > 1 else ""
    text = f"{best} has the {most} {what} ({number(ranking.means[best])})."
    if worse:
        text += f" It is better than {listed(worse)} ({tested}p < {level:.2g})."
    if unknown:
        others_named = "any other" if len(others) == len(unknown) > _LISTED else listed(unknown)
        text += f" It is not significantly better than {others_named} ({tested}p ≥ {level:.2g})."
    return text


def _tested(name: str, comparison: Comparison) -> Iterator[tuple[Row, Difference]]:
    identical = {frozenset(pair) for pair in comparison.identical}
    for row in (row for row in comparison.rows if row.metric in LEADING):
        for score in row.scores:
            against = score.difference.baseline if score.difference else name
            if score.experiment == name and score.difference and frozenset((name, against)) not in identical:
                yield row, score.difference


def _of(name: str, tested: Sequence[tuple[Row, Difference]], level: float) -> Iterator[str]:
    better: dict[str, Difference] = {}
    worse: dict[str, Difference] = {}
    open_: list[str] = []
    for row, difference in tested:
        if not difference.corrected < level:  # NaN too
            open_.append(row.task)
            continue
        side = better if (difference.value > 0) == row.higher_is_better else worse
        side[row.task] = difference
    baselines = list(dict.fromkeys(difference.baseline for _, difference in tested))
    against = f"{'its baselines ' if len(baselines) > 1 else ''}{listed(baselines)}"
    for word, differences in (("better", better), ("worse", worse)):
        if differences:
            yield f"{name} is {word} than {against} on {_tasks_of(differences, len(tested))}."
    if open_:
        what = "any task" if len(open_) == len(tested) and len(open_) > 1 else listed(open_)
        yield f"No significant difference between {name} and {against} on {what}. A difference may still exist."


def _tasks_of(differences: Mapping[str, Difference], tested: int) -> str:
    """Return tasks with their differences and p-values; of many, only the range and the largest p-value."""
    if len(differences) <= _LISTED:
        return listed([f"{task} ({one.value:+.3f}, {_p(one.corrected)})" for task, one in differences.items()])
    values = sorted((one.value for one in differences.values()), key=abs)
    largest = _p(max(one.corrected for one in differences.values())).replace("p = ", "p ≤ ")
    which = f"all {tested} tasks" if len(differences) == tested else listed(list(differences))
    return f"{which} (differences from {values[0]:+.3f} to {values[-1]:+.3f}, {largest})"


def notes(comparison: Comparison) -> list[str]:
    """Return sentences on how to read the numbers."""
    sentences = []
    confidence = f"{100 * comparison.settings.confidence:g} %"
    tests = [
        score for row in comparison.rows if row.metric in LEADING for score in row.scores if score.difference
    ]
    if tests:
        sentences.append(
            f"A difference is the mean over seeds minus the baseline's, with its {confidence} interval over tracks and "
            f"seeds. The p-values are two-sided and corrected for {len(tests)} tests (Holm)."
            if len(tests) > 1
            else f"The difference is the mean over seeds minus the baseline's, with its {confidence} interval over "
            "tracks and seeds. The p-value is two-sided."
        )
    single = [
        one.name for one in comparison.experiments if len(one.per_seed) == 1 and not one.records[0].fitted
    ]
    if single:
        verb = "have" if len(single) > 1 else "has"
        sentences.append(
            f"{listed(single)} {verb} one seed: intervals and tests hold for these trained networks and do not include "
            "the variation between seeds."
        )
    unpaired = sorted(
        {
            score.experiment
            for row in comparison.rows
            for score in row.scores
            if score.difference and not score.difference.paired
        }
    )
    if unpaired:
        sentences.append(
            f"{listed(unpaired)}: tested on other tracks than the baseline. A difference may be caused by the tracks."
        )
    return [*sentences, *constant_notes(comparison.experiments), *_improvement_notes(comparison)]


def _improvement_notes(comparison: Comparison) -> Iterator[str]:
    """Yield why tasks, or all of them, are missing in the relative improvements."""
    left_out: dict[tuple[str, ...], list[str]] = {}
    for one in comparison.improvements:
        if one.left_out:
            left_out.setdefault(tuple(one.left_out), []).append(one.experiment)
    defined = {one.experiment for one in comparison.improvements if one.tasks}
    reason = "a baseline that is better than chance: its interval must not include chance"
    for tasks, names in left_out.items():
        if defined.intersection(names):
            yield f"The relative improvement Δm of {listed(names)} leaves out {listed(tasks)}: it needs {reason}."
        else:
            yield f"There is no relative improvement Δm of {listed(names)}: it needs {reason}."


def _p(value: float) -> str:
    return "p < 0.001" if value < 0.001 else f"p = {value:.3f}" if math.isfinite(value) else "p is not defined"


def _forests(comparison: Comparison) -> Charts:
    charts = []
    colours = {one.name: place for place, one in enumerate(comparison.experiments)}
    for row in (*comparison.rows, *comparison.averages):
        if row.metric in LEADING:
            rows = {one.experiment: {row.metric: _ends(one)} for one in row.scores}
            each = {
                one.experiment: one.values if len(one.values) > 1 else one.folds
                for one in row.scores
                if len(one.values) > 1 or len(one.folds) > 1
            }
            charts.append(
                scores.forest(
                    rows, row.metric, each, title=_title(row), notes=[TITLES[row.metric]], colours=colours
                )
            )
    several = any(len(score.values) > 1 or score.folds for row in comparison.rows for score in row.scores)
    return Charts(charts, note="Small dots are single seeds, or folds of one seed." if several else "")


def _title(row: Row) -> str:
    return row.task or f"mean of {len(row.tasks)}"


def _ends(score: Score) -> dict[str, float | None]:
    return {"value": finite(score.mean), "low": finite(score.low), "high": finite(score.high)}


def _differences(comparison: Comparison) -> list[Block]:
    """Return each experiment's differences from the baselines, and its relative improvement."""
    charts = []
    for place, one in enumerate(comparison.experiments):
        for metric in LEADING:
            rows = [
                (_title(row), score.difference)
                for row in (*comparison.rows, *comparison.averages)
                for score in row.scores
                if row.metric == metric and score.experiment == one.name and score.difference
            ]
            if rows:
                against = dict.fromkeys(difference.baseline for _, difference in rows)
                numbers = [[d.value, d.low, d.high] for _, d in rows]
                title = one.name
                note = f"{TITLES[metric]} minus that of {', '.join(against)}"
                charts.append(
                    _around_zero(title, note, [name for name, _ in rows], numbers, [place] * len(rows))
                )
    order = [one.name for one in comparison.experiments]
    improvements = [one for one in comparison.improvements if math.isfinite(one.value)]
    if improvements:
        numbers = [[100 * one.value, 100 * one.low, 100 * one.high] for one in improvements]
        names = [one.experiment for one in improvements]
        note = "Δm in percent, mean over the tasks"
        colours = [order.index(name) for name in names]
        charts.append(_around_zero("relative improvement", note, names, numbers, colours))
    return [Charts(charts)] if charts else []


def _around_zero(
    title: str, note: str, names: Sequence[str], numbers: Sequence[Sequence[float]], colours: Sequence[int]
) -> Chart:
    value, low, high = ([finite(end) for end in column] for column in zip(*numbers, strict=True))
    axis = spanning([0.0, *value, *low, *high])
    count = len(names)
    return Chart(
        title=title,
        x=axis,
        y=categories(names),
        marks=[
            Rule(0),
            *(
                Intervals([place], [value[place]], [low[place]], [high[place]], colour=colour)
                for place, colour in enumerate(colours)
            ),
        ],
        aspect=scores.rows_aspect(count),
        downwards=True,
        description=f"{title}: {note}, with intervals",
        name=f"{title}-{note}",
        notes=[note],
    )


def _training(runs: Mapping[str, Sequence[RunRecord]]) -> list[Block]:
    """Return each task's leading metric on the validation set, one color per experiment."""
    tasks = {name: task for records in runs.values() for run in records for name, task in run.tasks.items()}
    charts = []
    for task, table in tasks.items():
        metric = scores.leading(table["kind"])
        key = f"val/{task}/{metric}"
        marks: list[Mark] = []
        values: list[float | None] = []
        last = 1
        for place, (name, records) in enumerate(runs.items()):
            for run in (run for run in records if not run.fitted):
                line = [record.get(key) for record in run.history]
                if any(value is not None for value in line):
                    epochs = [record["epoch"] for record in run.history]
                    dashed = place // COLOURS % 2 == 1
                    marks.append(Line(epochs, line, name, place % COLOURS, dashed, faint=len(records) > 1))
                    values += line
                    last = max(last, *epochs)
        if marks:
            description = f"{TITLES[metric]} of {task} on the validation set over the epochs"
            y = spanning(values, TITLES[metric])
            charts.append(Chart(task, Axis(1, max(last, 2), "epoch", whole=True), y, marks, description))
    return [Charts(charts, "Validation set over the epochs")] if charts else []


def _settings(runs: Mapping[str, Sequence[RunRecord]]) -> list[Block]:
    """Return the keys of the experiments' files in which they differ, without the plugins."""
    flat = {
        name: dict(_flat({key: value for key, value in records[0].experiment.items() if key != "plugins"}))
        for name, records in runs.items()
    }
    keys = dict.fromkeys(key for table in flat.values() for key in table)
    rows = []
    for key in keys:
        values = [table.get(key, "") for table in flat.values()]
        if key not in _IGNORED and len(set(values)) > 1:
            rows.append(
                [key, *(value if len(value) <= _LONG else f"{value[: _LONG - 1]}…" for value in values)]
            )
    columns = [Column(name, text=True) for name in ("key", *flat)]
    return [Table(columns, rows)] if rows else []


def _flat(table: Mapping[str, Any], prefix: str = "") -> Iterator[tuple[str, str]]:
    for name, value in table.items():
        if isinstance(value, dict):
            yield from _flat(value, f"{prefix}{name}.")
        else:
            yield f"{prefix}{name}", value_text(value)


def _experiments(runs: Mapping[str, Sequence[RunRecord]]) -> list[Block]:
    """Return the experiments, and links to the reports of their runs."""
    rows: list[list[Cell]] = []
    for name, records in runs.items():
        seconds = sum((run.results.get("durations") or {}).get("training") or 0 for run in records)
        parameters = records[0].results.get("parameters")
        rows.append(
            [
                name,
                str(records[0].experiment.get("description") or ""),
                plural(len(records), "run"),
                f"{parameters:,}" if parameters else "",
                duration(seconds),
                str(records[0].directory.parent if len(records) > 1 else records[0].directory),
            ]
        )
    columns: list[str | Column] = [
        "experiment",
        Column("description", text=True),
        "runs",
        "parameters",
        "training",
        Column("directory", text=True),
    ]
    pages: list[list[Cell]] = [
        [name, Label(run.directory.name, link=page)]
        for name, records in runs.items()
        for run in records
        if (page := run.directory / "report.html").is_file()
    ]
    reports = Table(["experiment", Column("report", text=True)], pages, "Reports of the runs", detail=True)
    return [Table(columns, rows), *([reports] if pages else [])]
