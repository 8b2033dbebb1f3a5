"""Charts of an evaluation."""

from __future__ import annotations

import math
from collections.abc import Callable, Iterator, Mapping, Sequence
from typing import TYPE_CHECKING, Any

import numpy as np
from numpy.typing import NDArray

from musicemo.evaluation import (
    TITLES,
    Evaluation,
    MomentError,
    TargetKind,
    TaskEvaluation,
    moment_error,
    pair_members,
    song_metrics,
)
from musicemo.reporting.blocks import Block, Cell, Charts, Column, Label, Number, Section, Table, Tables
from musicemo.reporting.charts import (
    MUTED,
    Axis,
    Band,
    Cells,
    Chart,
    Cursor,
    Line,
    Mark,
    Points,
    Rule,
    categories,
    draw,
    spanning,
)
from musicemo.reporting.sections.scores import leading, rows_aspect
from musicemo.reporting.words import SETS, listed, number, plural, scale

if TYPE_CHECKING:
    from matplotlib.figure import Figure

__all__ = [
    "CONFUSION",
    "DOTS",
    "LABELS",
    "PAIR_CHART",
    "TAG_CHART",
    "label_section",
    "other_tracks",
    "prediction_charts",
    "series_section",
    "task_chart",
    "task_figure",
    "worst",
    "worst_tracks",
]

_DOTS = 400
"""Tracks that are drawn as dots; of more, the density is."""

_TITLED = 150
"""Tracks that are named where a pointer rests on their dots; more would make a page large."""

_BINS = 30

_RATING_BINS = 12
"""Bins of the distribution of the ratings."""

_WORST = 5
"""Tracks that the table of the worst predicted ones has for each rating."""

_BEST = 2
"""Tracks predicted best that a table has for each rating."""

DOTS = "Dots are tracks; on the dashed line, predicted and true ratings are equal. Rings mark the worst."
LABELS = "Distributions of the true ratings."
SHIFTED = f"{LABELS} A set whose ratings differ from the training set is harder to predict."
CONFUSION = "Rows are true classes, columns predicted ones; the colour is the share of the true class."

TAG_CHART = (
    "PR-AUC of each tag, the best first. Rings are the share of tracks with the tag: the PR-AUC of chance."
)

PAIR_CHART = (
    "Share of the listeners for whom the first track of a pair is higher, against the difference of the scores. Rings "
    "are means of a tenth of the pairs each. Of predictions that are right, all dots are top right and bottom left."
)

_TENTHS = 10
"""Groups of pairs with similar differences of the scores, whose means are drawn."""

CURVES = (
    "True ratings over time, and the predictions at the same times, of the tracks with the lowest, the median and the "
    "highest RMSE. Lines break where a track is not rated."
)

BAND = (
    "The band is the prediction minus and plus the error of a single moment, which 80 % of all rated moments of the "
    "{part} do not exceed"
)

NO_BAND = "The error of single moments is unknown:"

#: Metrics of a track that is rated over time, as they are written.
_OF_A_TRACK = {"rmse": "RMSE", "pearson": "r", "ccc": "CCC"}

TOGETHER = "The ratings of all tracks together; on the dashed line, predicted and true ratings are equal."

_TAGS = 40
"""Tags that are drawn; of more, those with the most tracks."""

_PAIRS = 8
"""Pairs of classes that are listed of those that were mixed up, and tracks of each."""

_HEARD = 2
"""Tracks of a pair of classes that were mixed up that get a player."""


def task_figure(name: str, part: str, task: TaskEvaluation) -> Figure:
    """Return `task_chart`, drawn by matplotlib, with the leading metric."""
    score = f"{TITLES[task.names[0]]} {number(task.metric(task.names[0]))}"
    count = plural(len(task.target), "pair" if task.kind == "pairs" else "track")
    return draw(task_chart(name, task, notes=[SETS[part], count, score]))


def task_chart(
    name: str, task: TaskEvaluation, *, unit: str = "", rings: int = 0, notes: Sequence[str] = ()
) -> Chart:
    """Return a chart of predicted against true ratings, the confusion matrix, or the scores of tags or pairs.

    That of a series has the ratings of all tracks together; see `curve_charts` for single tracks.

    Args:
        name: name of the task.
        task: predictions and targets.
        unit: unit of the ratings.
        rings: number of worst predictions to mark.
        notes: text after the title.
    """
    if task.kind == "regression":
        return _predicted(name, task, unit, rings, notes)
    if task.kind == "series":
        return _predicted(name, _ratings(task), unit, 0, notes, "ratings")
    if task.kind == "tags":
        return _tags(name, task, notes)
    if task.kind == "pairs":
        return _pairs(name, task, notes)
    return _confusion(name, task, notes)


def series_section(
    evaluation: Evaluation,
    tasks: Mapping[str, Mapping[str, Any]],
    metrics: Mapping[str, Any],
    part: str,
    more: str = "",
) -> Section:
    """Return the section on ratings over time; empty without them.

    It has the true and the predicted ratings of the best, the median and the worst track of each series, by RMSE, and
    those of all tracks together. A band around a prediction has the error of single moments, if tracks are held out.

    Args:
        evaluation: Predictions and targets.
        tasks: task -> its ``range``.
        metrics: task -> its metrics, to be shown.
        part: The set.
        more: Further text below the curves.
    """
    series = {
        name: task for name, task in evaluation.tasks.items() if task.kind == "series" and len(task.target)
    }
    if not series:
        return Section("", [])
    errors = {
        name: None if part == "train" else moment_error(task.prediction, task.target)
        for name, task in series.items()
    }
    charts = [
        chart
        for name, task in series.items()
        for chart in _curves(name, task, tasks.get(name, {}), errors[name])
    ]
    together = prediction_charts(evaluation, "series", metrics, tasks)
    return Section(
        "Over time", [Charts(charts, note=_curve_note(errors, part) + more), Charts(together, note=TOGETHER)]
    )


def _curves(
    name: str, task: TaskEvaluation, table: Mapping[str, Any], error: MomentError | None
) -> Iterator[Chart]:
    """Yield the charts of the best, the median and the worst track of a series."""
    order = np.argsort(song_metrics(task.prediction, task.target)["rmse"], kind="stable").tolist()
    shown = {"best": order[0], "median": order[len(order) // 2], "worst": order[-1]}
    unit = scale(table)
    low, high = (
        np.clip(
            task.prediction + side * (error.within if error else 0.0),
            *(table.get("range") or (-math.inf, math.inf)),
        )
        for side in (-1, 1)
    )
    y = spanning(
        np.concatenate([values[np.isfinite(values)] for values in (task.target, task.prediction, low, high)]),
        name + (unit and f" ({unit})"),
    )
    for which, place in list(shown.items())[: len(order)]:
        band = (low[place], high[place]) if error else None
        yield _curve(f"{name}: {which} track", task, place, y, band)


def _curve_note(errors: Mapping[str, MomentError | None], part: str) -> str:
    """Return the sentences below the curves of series, task -> error of its single moments."""
    if part == "train":
        return f"{CURVES} {NO_BAND} no tracks are held out."
    texts = [
        f"{name} {number(error.within, '.3g')} ({error.moments:,} moments of {plural(error.songs, 'track')}; the mean "
        f"rating has {number(error.constant, '.3g')})"
        for name, error in errors.items()
        if error
    ]
    if not texts:
        return f"{CURVES} {NO_BAND} it needs at least four tracks."
    return f"{CURVES} {BAND.format(part=SETS[part])}: {listed(texts)}."


def _curve(
    title: str,
    task: TaskEvaluation,
    place: int,
    y: Axis,
    band: tuple[NDArray[np.float64], NDArray[np.float64]] | None,
) -> Chart:
    times, target, prediction = (task.rows(key)[place] for key in ("times", "target", "prediction"))
    scores = song_metrics(prediction[None], target[None])
    named = (f"{text}\u00a0{number(float(scores[key][0]))}" for key, text in _OF_A_TRACK.items())
    notes = [task.ids[place], *named]
    ends = [float(times[0]), float(times[-1])]
    # A line breaks where the track is not rated.
    gaps = np.flatnonzero(np.diff(times) > 1.5 * np.diff(times).min(initial=np.inf)) + 1
    rated = len(times)
    x, true, predicted, low, high = (
        np.insert(values[:rated], gaps, np.nan).tolist()
        for values in (times, target, prediction, *(band or (prediction, prediction)))
    )
    return Chart(
        title=title,
        x=spanning(times, "seconds"),
        y=y,
        marks=[
            *([Band(x, low, high, "error of a moment", 1)] if band else []),
            Line(x, true, label="true", colour=0),
            Line(x, predicted, label="predicted", colour=1),
            Cursor(ends, ends),
        ],
        description=f"True and predicted ratings over time, {title}, {', '.join(notes)}",
        name=title.replace(": ", "-"),
        notes=notes,
        track=task.ids[place],
    )


def _ratings(task: TaskEvaluation) -> TaskEvaluation:
    """Return the ratings of all tracks of a series as those of one track each."""
    times, target, prediction = (task.rows(key) for key in ("times", "target", "prediction"))
    ids = [f"{track} at {time:g} s" for track, every in zip(task.ids, times, strict=True) for time in every]
    return TaskEvaluation("regression", ids, np.concatenate(target), np.concatenate(prediction))


def worst(task: TaskEvaluation, count: int) -> NDArray[np.intp]:
    """Return the indices of the `count` tracks with the largest errors, the largest first.

    The error is the absolute error of a rating, and the RMSE of ratings over time.
    """
    if task.kind == "series":
        error = song_metrics(task.prediction, task.target)["rmse"]
    else:
        error = np.abs(task.prediction - task.target)
    error = np.nan_to_num(error, nan=math.inf)
    return np.argsort(-error, kind="stable")[:count]


def _predicted(
    name: str, task: TaskEvaluation, unit: str, rings: int, notes: Sequence[str], nouns: str = "tracks"
) -> Chart:
    """Draw dots, or their density if there are many, and the diagonal."""
    unit = unit and f" ({unit})"
    both = np.concatenate([task.target, task.prediction])
    x = spanning(both, f"true {name}{unit}", margin=0.04)
    y = spanning(both, f"predicted {name}{unit}", margin=0.04)
    marks: list[Mark] = [Line([x.low, x.high], [x.low, x.high], colour=MUTED, dashed=True)]
    if len(task.target) > _DOTS:
        counts, _, _ = np.histogram2d(
            task.prediction, task.target, bins=_BINS, range=[(x.low, x.high), (x.low, x.high)]
        )
        edges = np.linspace(x.low, x.high, _BINS + 1).tolist()
        marks.insert(0, Cells(np.sqrt(counts / max(counts.max(), 1)), edges, edges, label="density"))
    else:
        titles = _titles(task) if len(task.target) <= _TITLED else ()
        marks.append(Points(task.target.tolist(), task.prediction.tolist(), titles=titles))
    if rings:
        places = worst(task, rings)
        marked = TaskEvaluation(
            task.kind, [task.ids[place] for place in places], task.target[places], task.prediction[places]
        )
        pairs = marked.target.tolist(), marked.prediction.tolist()
        marks.append(Points(*pairs, colour=1, ring=True, titles=_titles(marked), tracks=marked.ids))
    return Chart(
        title=name,
        x=x,
        y=y,
        marks=marks,
        aspect=1,
        description=", ".join([f"Predicted against true {name} of {len(task.target)} {nouns}", *notes]),
        notes=notes,
    )


def _titles(task: TaskEvaluation) -> list[str]:
    return [
        f"{track}: true {target:.4g}, predicted {prediction:.4g}"
        for track, target, prediction in zip(task.ids, task.target, task.prediction, strict=True)
    ]


def _confusion(name: str, task: TaskEvaluation, notes: Sequence[str]) -> Chart:
    """Draw the counts as numbers, and the share of each true class as color."""
    counts = np.zeros((len(task.classes), len(task.classes)), dtype=np.intp)
    np.add.at(counts, (task.target, task.prediction), 1)
    shares = counts / np.maximum(counts.sum(axis=1, keepdims=True), 1)
    texts = [[str(count) if count else "" for count in row] for row in counts.tolist()]
    return Chart(
        title=name,
        x=categories(task.classes, "predicted"),
        y=categories(task.classes, "true"),
        marks=[Cells(shares, texts=texts, label="share of the true class")],
        aspect=1,
        downwards=True,
        description=", ".join([f"Confusion matrix of {name}, {len(task.target)} tracks", *notes]),
        notes=notes,
    )


def _tags(name: str, task: TaskEvaluation, notes: Sequence[str]) -> Chart:
    """Draw the average precision of each tag, and that of chance."""
    per_tag: Mapping[str, Mapping[str, Any]] = task.metrics()["per_tag"]
    scored = {tag: one for tag, one in per_tag.items() if one["pr_auc"] is not None}
    most = sorted(scored, key=lambda tag: -scored[tag]["support"])[:_TAGS]
    ordered = sorted(most, key=lambda tag: -scored[tag]["pr_auc"])
    places = [float(place) for place in range(len(ordered))]
    values = [scored[tag]["pr_auc"] for tag in ordered]
    chance = [scored[tag]["support"] / scored[tag]["tracks"] for tag in ordered]
    more = [f"{len(most)} tags with the most tracks"] if len(most) < len(scored) else []
    titles = [
        f"{tag}: {value:.3f}, chance {by:.3f}" for tag, value, by in zip(ordered, values, chance, strict=True)
    ]
    return Chart(
        title=name,
        x=Axis(0, 1, TITLES["pr_auc"]),
        y=categories(ordered),
        marks=[Points(chance, places, colour=MUTED, ring=True), Points(values, places, titles=titles)],
        aspect=rows_aspect(len(ordered)),
        downwards=True,
        description=", ".join([f"{TITLES['pr_auc']} of each tag of {name}, {len(task.target)} tracks", *notes]),
        notes=[*notes, *more],
    )


def _pairs(name: str, task: TaskEvaluation, notes: Sequence[str]) -> Chart:
    """Draw the listeners' judgements against the difference of the scores, each pair in both directions."""
    difference = np.nan_to_num(task.prediction[:, 0] - task.prediction[:, 1])
    share = task.target[:, 0] / task.target.sum(axis=1)
    both = np.concatenate([difference, -difference]), np.concatenate([share, 1 - share])
    order = np.argsort(both[0], kind="stable")
    tenths = [some for some in np.array_split(order, min(_TENTHS, len(order))) if len(some)]
    means = [[float(values[some].mean()) for some in tenths] for values in both]
    titles: list[str] = []
    if len(difference) <= _TITLED:
        titles = [
            f"{_pair(pair)}: {number(value)} of the listeners, difference {number(apart)}"
            for pair, value, apart in zip(task.ids, share.tolist(), difference.tolist(), strict=True)
        ]
    return Chart(
        title=name,
        x=spanning(both[0].tolist(), f"difference of the scores of {name}", margin=0.04),
        y=Axis(-0.05, 1.05, "share of the listeners"),
        marks=[
            Rule(0),
            Points(difference.tolist(), share.tolist(), titles=titles),
            Points(means[0], means[1], colour=1, ring=True),
        ],
        description=", ".join([f"Judgements of {name} against the scores, {len(share)} pairs", *notes]),
        notes=notes,
    )


def _pair(name: str) -> str:
    return " / ".join(pair_members(name))


def prediction_charts(
    evaluation: Evaluation, kind: TargetKind, metrics: Mapping[str, Any], tasks: Mapping[str, Mapping[str, Any]]
) -> list[Chart]:
    """Return predicted against true ratings, confusion matrices, or the scores of tags, of the tasks of a kind."""
    metric = leading(kind)
    charts = []
    for name, task in evaluation.tasks.items():
        if task.kind == kind and len(task.target):
            value = (metrics.get(name) or {}).get(metric)
            symbol = TITLES[metric].rpartition("'s ")[2]
            notes = [f"{symbol} {number(value.get('value'))}"] if value else []
            rings = min(_WORST, len(task.target) // 4)
            charts.append(task_chart(name, task, unit=scale(tasks.get(name, {})), rings=rings, notes=notes))
    return charts


def label_section(parts: Mapping[str, Evaluation], tasks: Mapping[str, Mapping[str, Any]]) -> Section:
    """Return the section on the distributions of the ratings in the training set and in another set.

    Args:
        parts: set -> its evaluation.
        tasks: task -> its ``kind`` and ``range``.
    """
    charts = []
    for name, table in tasks.items():
        ratings = {
            part: evaluation.tasks[name].target
            for part, evaluation in parts.items()
            if table["kind"] == "regression" and name in evaluation.tasks and len(evaluation.tasks[name].target)
        }
        if ratings:
            charts.append(_distribution(name, table, ratings))
    return Section(
        "Ratings", [Charts(charts, note=SHIFTED if len(parts) > 1 else LABELS)] if charts else [], folded=True
    )


def _distribution(name: str, table: Mapping[str, Any], ratings: Mapping[str, NDArray[np.float64]]) -> Chart:
    every = np.concatenate(list(ratings.values()))
    low, high = (float(end) for end in table.get("range") or (every.min(), every.max()))
    low, high = min(low, float(every.min())), max(high, float(every.max()))
    edges = np.linspace(low, high if high > low else low + 1, _RATING_BINS + 1)
    marks: list[Mark] = []
    largest = 0.0
    for place, (part, values) in enumerate(ratings.items()):
        shares = 100 * np.histogram(values, edges)[0] / len(values)
        largest = max(largest, float(shares.max()))
        x, y = np.repeat(edges, 2), np.concatenate([[0.0], np.repeat(shares, 2), [0.0]])
        marks.append(Line(x.tolist(), y.tolist(), SETS[part], place, dashed=part == "train"))
    return Chart(
        name,
        Axis(float(edges[0]), float(edges[-1]), f"{name} ({scale(table)})"),
        Axis(0.0, largest * 1.05, "% of tracks"),
        marks,
        f"Distribution of the ratings of {name}",
        name=f"ratings-{name}",
    )


def worst_tracks(evaluation: Evaluation) -> Section:
    """Return the section on the tracks that were predicted worst."""
    confused: list[Block] = [
        _confused(name, task)
        for name, task in evaluation.tasks.items()
        if task.kind == "classification" and (task.target != task.prediction).any()
    ]
    mistagged: list[Block] = [
        _mistagged(name, task)
        for name, task in evaluation.tasks.items()
        if task.kind == "tags" and (task.prediction != (task.target == 1))[np.isfinite(task.target)].any()
    ]
    misjudged: list[Block] = [
        _misjudged(name, task)
        for name, task in evaluation.tasks.items()
        if task.kind == "pairs" and len(task.ids)
    ]
    tables = _tables(evaluation, lambda places: dict.fromkeys(places[:_WORST], ""))
    return Section("Worst predicted tracks", [*tables, *confused, *mistagged, *misjudged])


def other_tracks(evaluation: Evaluation) -> Section:
    """Return the section on the tracks that were predicted best, and on those with the median error."""

    def choose(places: Sequence[int]) -> dict[int, str]:
        count = len(places)
        ranks = dict.fromkeys(range((count - 1) // 2, count // 2 + 1), "median error")
        ranks |= dict.fromkeys(range(count - _BEST, count), "among the best")
        return {places[rank]: note for rank, note in ranks.items() if rank >= _WORST}

    return Section("Median and best predicted tracks", _tables(evaluation, choose), folded=True)


def _tables(evaluation: Evaluation, choose: Callable[[Sequence[int]], Mapping[int, str]]) -> list[Block]:
    """Return the tables of some tracks for each rating, and for each rating over time.

    Args:
        evaluation: predictions and targets.
        choose: returns place -> note, of places that are sorted by their errors, the largest first.
    """
    blocks: list[Block] = []
    for kind in ("regression", "series"):
        tables = []
        for name, task in evaluation.tasks.items():
            if task.kind == kind and (places := choose(worst(task, len(task.target)).tolist())):
                rows = _curve_rows if kind == "series" else _rating_rows
                tables.append(rows(name, task, places))
        if tables:
            blocks.append(Tables(tables))
    return blocks


def _misjudged(name: str, task: TaskEvaluation) -> Table:
    """Return the pairs whose scores contradict the listeners most."""
    share = task.target[:, 0] / task.target.sum(axis=1)
    difference = task.prediction[:, 0] - task.prediction[:, 1]
    cost = np.nan_to_num((0.5 - share) * difference, nan=math.inf)
    rows: list[list[Cell]] = []
    for place in np.argsort(-cost, kind="stable")[:_PAIRS].tolist():
        if cost[place] > 0:
            first, second = pair_members(task.ids[place])
            rows.append(
                [
                    *map(_track, (first, second)),
                    Number(float(share[place])),
                    Number(float(difference[place]), format="+.3f"),
                ]
            )
    columns: list[str | Column] = [
        "first track",
        Column("second track", text=True),
        "listeners for the first",
        "difference of the scores",
    ]
    return Table(columns, rows, f"{name}: pairs with scores opposite to the listeners' judgement")


def _track(name: str, note: str = "") -> Label:
    """Return the cell of a track."""
    return Label(name, note=note, tracks=[name])


def _curve_rows(name: str, task: TaskEvaluation, places: Mapping[int, str]) -> Table:
    """Return the scores of tracks whose ratings over time are predicted."""
    scores = song_metrics(task.prediction, task.target)
    rows: list[list[Cell]] = [
        [
            _track(task.ids[place], note),
            *(Number(float(scores[key][place]), strong=key == "rmse") for key in _OF_A_TRACK),
        ]
        for place, note in places.items()
    ]
    return Table(["track", *_OF_A_TRACK.values()], rows, name)


def _rating_rows(name: str, task: TaskEvaluation, places: Mapping[int, str]) -> Table:
    """Return the true and the predicted ratings of tracks."""
    rows: list[list[Cell]] = []
    for place, note in places.items():
        true, predicted = float(task.target[place]), float(task.prediction[place])
        error = Number(predicted - true, format="+.3f", strong=True)
        rows.append([_track(task.ids[place], note), Number(true), Number(predicted), error])
    return Table(["track", "true", "predicted", "error"], rows, name)


def _mistagged(name: str, task: TaskEvaluation) -> Table:
    """Return the tracks with the most tags that are wrongly predicted or missed."""
    known = np.isfinite(task.target)
    added, missed = task.prediction & (task.target == 0), ~task.prediction & (task.target == 1) & known
    order = np.argsort(-(added | missed).sum(axis=1), kind="stable")[:_PAIRS]

    def names(flags: NDArray[np.bool_]) -> str:
        return ", ".join(tag for tag, flag in zip(task.classes, flags, strict=True) if flag)

    rows: list[list[Cell]] = [
        [_track(task.ids[place]), names(task.target[place] == 1), names(missed[place]), names(added[place])]
        for place in order.tolist()
    ]
    columns: list[str | Column] = [
        "track",
        *(Column(title, text=True) for title in ("tags", "missed", "wrong")),
    ]
    return Table(columns, rows, f"{name}: tracks with the most wrong tags")


def _confused(name: str, task: TaskEvaluation) -> Table:
    """Return the tracks that were taken for another class, by how often those two were mixed up."""
    wrong: list[int] = np.flatnonzero(task.target != task.prediction).tolist()
    pairs: dict[tuple[int, int], list[str]] = {}
    for place in wrong:
        pairs.setdefault((int(task.target[place]), int(task.prediction[place])), []).append(task.ids[place])
    ordered = sorted(pairs.items(), key=lambda item: -len(item[1]))
    rows: list[list[Cell]] = []
    for (true, predicted), ids in ordered[:_PAIRS]:
        shown = ", ".join(ids[:_PAIRS]) + (f" and {len(ids) - _PAIRS} more" if len(ids) > _PAIRS else "")
        rows.append(
            [
                task.classes[true],
                task.classes[predicted],
                str(len(ids)),
                Label(shown, tracks=ids[:_HEARD]),
            ]
        )
    title = f"{name}: {plural(len(wrong), 'track')} of {len(task.target)} in another class"
    columns: list[str | Column] = [
        "true",
        Column("predicted as", text=True),
        "tracks",
        Column("which", text=True),
    ]
    return Table(columns, rows, title)
