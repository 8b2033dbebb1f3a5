"""Plans of experiments: `musicemo validate` and `musicemo run --dry-run`."""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from typing import TYPE_CHECKING

from musicemo.components.documentation import summary
from musicemo.experiment import Component
from musicemo.progress import duration
from musicemo.reporting.blocks import Block, Cell, Column, Table, Text
from musicemo.reporting.words import plural

if TYPE_CHECKING:
    from musicemo.running.preview import Preview, TaskPreview

__all__ = ["dry_run_blocks", "explanation_blocks"]

#: Classes of a task that are listed.
_CLASSES = 12


def explanation_blocks(preview: Preview) -> list[Block]:
    """Return a line on each component of an experiment and on each task."""
    experiment = preview.experiment
    dataset = experiment.dataset
    datasets = [dataset] if isinstance(dataset, Component) else [one.component for one in dataset.members]
    rows = [
        *(("dataset", *_described(one)) for one in datasets),
        *(("features", *_described(one.component)) for one in experiment.features),
        *(("augment", *_described(one)) for one in experiment.augmentations),
        ("model", *_described(experiment.model)),
        ("sharing", *_described(experiment.sharing)),
        ("weighting", *_described(experiment.weighting)),
        *(("task", one.task.name, "; ".join(_learns(one))) for one in preview.tasks),
    ]
    split = experiment.split
    sizes = ", ".join(f"{count} {part}" for part, count in preview.tracks.items())
    without = f"; {preview.unlabelled} without a label are left out" if preview.unlabelled else ""
    rows.append(("split", split.method, f"{sizes}{without}"))
    rows.append(("network", f"{preview.parameters:,}", f"parameters: {_parts(preview)}"))
    if experiment.pretraining:
        epochs = plural(experiment.pretraining.epochs, "epoch")
        rows.append(
            ("pretraining", experiment.pretraining.type, f"{epochs} on the training set, without labels")
        )
    if search := experiment.search:
        aim = "highest" if search.maximizes else "lowest"
        text = f"{aim} {search.settings.metric} in {search.trials} trials: {', '.join(search.places)}"
        rows.append(("search", search.settings.sampler, text))
    rows += [("protocol", name, text) for name, text in _protocol(preview)]
    widths = [max(len(row[column]) for row in rows) for column in (0, 1)]
    return [Text(f"  {kind:<{widths[0]}}  {name:<{widths[1]}}  {text}".rstrip()) for kind, name, text in rows]


def _parts(preview: Preview) -> str:
    """Return the numbers of parameters of the parts of the network."""
    heads = preview.parameters - preview.backbone - preview.sharing
    between = f"sharing {preview.sharing:,}, " if preview.sharing else ""
    return f"backbone {preview.backbone:,}, {between}heads {heads:,}"


def _protocol(preview: Preview) -> Iterator[tuple[str, str]]:
    """Yield the published protocol of an experiment, and its departures from it."""
    if preview.experiment.protocol is not None and preview.departures is not None:
        yield preview.experiment.protocol.name, "; ".join(preview.departures) or "no departure"


def _described(component: Component) -> tuple[str, str]:
    return component.name, summary(component.factory)


def _learns(preview: TaskPreview) -> Iterator[str]:
    """Yield the targets, the merged classes and the loss of a task."""
    task = preview.task
    if task.rated:
        low, high = task.range
        what = "ratings over time" if task.kind == "series" else "rating"
        yield f"{what} in [{low:g}, {high:g}] of {preview.labelled} tracks"
        if task.smoothing is not None:
            yield f"smoothed over {task.smoothing:g} s"
    elif task.kind == "pairs":
        yield f"which of two tracks is higher, {preview.labelled} judged pairs"
    else:
        shown = [f"{name} {count}" for name, count in list(preview.classes.items())[:_CLASSES]]
        more = f" and {len(preview.classes) - _CLASSES} more" if len(preview.classes) > _CLASSES else ""
        nouns = "tags" if task.kind == "tags" else "classes"
        yield f"{len(preview.classes)} {nouns}: {', '.join(shown)}{more}"
    merged = [f"{old} is {new}" for old, new in task.merged.items() if new is not None and old != new]
    dropped = [old for old, new in task.merged.items() if new is None]
    if merged:
        yield f"merged: {', '.join(merged)}"
    if dropped:
        yield f"dropped: {', '.join(dropped)}"
    yield "loss " + " + ".join(name if weight == 1 else f"{weight:g} {name}" for weight, name in preview.losses)


def dry_run_blocks(previews: Sequence[Preview], jobs: int) -> Iterator[Block]:
    """Yield the runs, tracks, batches and parameters of experiments, and an estimate of the time."""
    rows: list[list[Cell]] = []
    for preview in previews:
        names = [preview.experiment.name, *[""] * len(preview.tracks)]
        for name, (part, tracks) in zip(names, preview.tracks.items(), strict=False):
            count = str(preview.experiment.run_count) if name else ""
            rows.append([name, count, part, str(tracks), str(preview.batches.get(part, 0))])
    yield Table(["experiment", "runs", Column("set", text=True), "tracks", "batches"], rows)
    yield Text("")
    for preview in previews:
        yield Text(f"{preview.experiment.name}: {'; '.join(_effort(preview))}")
        for name, text in _protocol(preview):
            yield Text(f"{preview.experiment.name}: protocol {name}: {text}")
    runs = sum(preview.experiment.run_count for preview in previews)
    times = [preview.run * preview.experiment.run_count for preview in previews if preview.run is not None]
    if times:
        beside = f", {jobs} at a time" if jobs > 1 else ""
        yield Text("", lead=f"{plural(runs, 'run')}{beside}: about {duration(sum(times) / jobs)}")
        yield Text(
            "The estimate is for the steps if no run stops early, without the time to evaluate and to record."
        )
    yield Text("Nothing was trained or written.")


def _effort(preview: Preview) -> Iterator[str]:
    parts = f" ({_parts(preview)})" if preview.sharing else ""
    yield f"{preview.parameters:,} parameters{parts} on {preview.device}"
    if preview.step is None:
        yield "fitted in one go"
        return
    assert preview.epoch is not None
    assert preview.run is not None
    epochs = preview.experiment.training.epochs
    yield f"a step takes {1000 * preview.step:.0f} ms, an epoch about {_short(preview.epoch)}"
    yield f"at most {epochs} epochs, about {duration(preview.run)}"


def _short(seconds: float) -> str:
    return f"{seconds:.1f} s" if seconds < 10 else duration(seconds)
