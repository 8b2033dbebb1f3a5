"""A dataset and its split."""

from __future__ import annotations

from collections.abc import Iterator, Mapping

from musicemo.data import EVIDENCE, PARTS, Overlap, Summary
from musicemo.reporting.blocks import Block, Cell, Column, Notice, Number, Table, Text
from musicemo.reporting.words import listed, plural

__all__ = ["data_blocks"]


def data_blocks(dataset: str, method: str, summary: Summary) -> Iterator[Block]:
    """Yield the sizes of the sets, the ratings and classes in each, and suspected leaks."""
    yield Text(
        f": {summary.tracks} labelled tracks, {summary.unlabelled} without a label for any task, "
        f"{summary.feature_rows} feature rows",
        lead=dataset,
    )
    rows: list[list[Cell]] = []
    for part, count in summary.parts.items():
        lengths = [f"{frames:g}" for frames in summary.frames.get(part, ())]
        rows.append([part, str(count), *(lengths or [""] * 3)])
    columns = ["set", "tracks", "shortest", "median", f"longest ({summary.steps})"]
    yield Table(columns, rows, f"Split: {method}, hash {summary.split_hash[:12]}")
    if summary.datasets:
        rows = [[name, *(str(counts[part]) for part in PARTS)] for name, counts in summary.datasets.items()]
        yield Table(["dataset", *PARTS], rows, "Labelled tracks of each dataset")
    for task, ratings in summary.ratings.items():
        yield _ratings(task, ratings)
    for task, classes in summary.classes.items():
        noun = "tag" if task in summary.tagged else "class"
        if any(old["becomes"] != name for name, old in summary.merged[task].items()):
            yield _merging(task, summary, noun)
        yield _classes(task, classes, noun)
    if summary.pairs:
        rows = [
            [task, *(str(counts[name]) for name in (*PARTS, "dropped"))]
            for task, counts in summary.pairs.items()
        ]
        title = "Judged pairs; those whose tracks are in different sets are dropped"
        yield Table(["task", *PARTS, "dropped"], rows, title)
    for overlap in summary.overlaps:
        yield from _overlap(overlap)
    for repeated in summary.repeated:
        yield Notice(f"note: {repeated}")
    for leak in summary.leaks:
        yield Notice(f"suspected leak: {leak}", "warning")
    if not summary.leaks:
        heard = ", no nearly identical audio" if summary.heard else ""
        yield Notice(f"No suspected leak: no group, no id{heard} and no equal features in more than one set.")


def _overlap(overlap: Overlap) -> Iterator[Block]:
    """Yield what two datasets share, and the labels of shared tracks, with a warning if they contradict each other."""
    first, second = overlap.first, overlap.second
    artists = f" and {plural(overlap.artists, 'artist')}" if overlap.artists else ""
    evidence = f", with {listed([EVIDENCE[one] for one in overlap.evidence])}" if overlap.shared else ""
    examples = "; ".join(f"{one!r} and {other!r}" for one, other in overlap.examples)
    yield Text(
        f" share {plural(overlap.shared, 'track')}{artists}{evidence}" + (f": {examples}" if examples else ""),
        lead=f"{first} and {second}",
    )
    rows: list[list[Cell]] = [
        [one.first, one.second, Number(one.value, strong=bool(one.task)), str(one.tracks), one.task]
        for one in overlap.correlations
    ]
    rows += [
        [task, task, Number(1 - different / count, strong=True), str(count), task]
        for task, (count, different) in overlap.classes.items()
    ]
    columns: list[str | Column] = [
        first,
        Column(second, text=True),
        "agreement",
        "tracks",
        Column("task", text=True),
    ]
    title = f"Labels of the shared tracks of {first} and {second}: correlation, or fraction with the same class"
    yield Table(columns, rows, title)
    if overlap.warning:
        yield Notice(overlap.warning, "warning")


def _ratings(task: str, ratings: Mapping[str, Mapping[str, float]]) -> Table:
    names = ("count", "missing", "min", "q1", "median", "q3", "max", "mean")
    rows = [
        [part, *(f"{of_set[name]:.4g}" if name in of_set else "" for name in names)]
        for part, of_set in ratings.items()
    ]
    return Table(["set", *names], rows, f"{task}: ratings in their own units")


def _merging(task: str, summary: Summary, noun: str) -> Table:
    rows = [
        [name, str(old["tracks"]), "dropped" if old["becomes"] is None else str(old["becomes"])]
        for name, old in summary.merged[task].items()
    ]
    return Table(
        [noun, "tracks", "becomes"], rows, f"{task}: {'tags' if noun == 'tag' else 'classes'} before merging"
    )


def _classes(task: str, classes: Mapping[str, Mapping[str, int]], noun: str) -> Table:
    totals = {name: sum(counts.values()) for name, counts in classes.items()}
    most = max(*totals.values(), 1)
    rows = [
        [name, *(str(counts[part]) for part in PARTS), str(totals[name]), "█" * round(20 * totals[name] / most)]
        for name, counts in classes.items()
        if name != "missing" or totals[name]
    ]
    columns: list[str | Column] = [noun, *PARTS, "all", Column("", text=True)]
    return Table(columns, rows, f"{task}: tracks {'with each tag' if noun == 'tag' else 'of each class'}")
