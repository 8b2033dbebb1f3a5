"""What experiments would do, as text: ``musicemo validate`` and ``musicemo run --dry-run``."""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from typing import TYPE_CHECKING

from rich.console import Console

from musicemo.components.documentation import summary
from musicemo.experiment import Component
from musicemo.progress import duration
from musicemo.reporting.terminal import plain_table, print_table

if TYPE_CHECKING:
    from musicemo.running.preview import Preview, TaskPreview

__all__ = ["print_dry_run", "print_explanation"]

#: Classes of a task that are listed.
_CLASSES = 12


def print_explanation(console: Console, preview: Preview) -> None:
    """Print what each component of an experiment is, and what each task would learn."""
    experiment = preview.experiment
    dataset = experiment.dataset
    datasets = [dataset] if isinstance(dataset, Component) else [one.component for one in dataset.members]
    rows = [
        *(("dataset", *_described(one)) for one in datasets),
        ("model", *_described(experiment.model)),
        ("weighting", *_described(experiment.weighting)),
        *(("task", found.task.name, "; ".join(_learns(found))) for found in preview.tasks),
    ]
    split = experiment.split
    sizes = ", ".join(f"{count} {part}" for part, count in preview.tracks.items())
    without = f"; {preview.unlabelled} without a label are left out" if preview.unlabelled else ""
    rows.append(("split", split.method, f"{sizes}{without}"))
    heads = preview.parameters - preview.backbone
    rows.append(
        ("network", f"{preview.parameters:,}", f"parameters: backbone {preview.backbone:,}, heads {heads:,}")
    )
    wide = [max(len(row[column]) for row in rows) for column in (0, 1)]
    for what, name, told in rows:
        console.print(f"  {what:<{wide[0]}}  {name:<{wide[1]}}  {told}".rstrip(), markup=False)


def _described(component: Component) -> tuple[str, str]:
    return component.name, summary(component.factory)


def _learns(preview: TaskPreview) -> Iterator[str]:
    """Yield what is to be said of a task."""
    task = preview.task
    if task.kind == "regression":
        low, high = task.range
        yield f"rating in [{low:g}, {high:g}] of {preview.labelled} tracks"
    else:
        shown = [f"{name} {count}" for name, count in list(preview.classes.items())[:_CLASSES]]
        more = f" and {len(preview.classes) - _CLASSES} more" if len(preview.classes) > _CLASSES else ""
        yield f"{len(preview.classes)} classes: {', '.join(shown)}{more}"
    merged = [f"{old} is {new}" for old, new in task.merged.items() if new is not None and old != new]
    dropped = [old for old, new in task.merged.items() if new is None]
    if merged:
        yield f"merged: {', '.join(merged)}"
    if dropped:
        yield f"dropped: {', '.join(dropped)}"
    yield "loss " + " + ".join(name if weight == 1 else f"{weight:g} {name}" for weight, name in preview.losses)


def print_dry_run(console: Console, previews: Sequence[Preview], jobs: int) -> None:
    """Print what a run would do: runs, tracks, batches, parameters, and how long it would take."""
    table = plain_table("experiment", "runs", "part", "tracks", "batches")
    for preview in previews:
        count = str(len(preview.experiment.replicates()))
        names = [preview.experiment.name, *[""] * len(preview.tracks)]
        for name, (part, tracks) in zip(names, preview.tracks.items(), strict=False):
            table.add_row(name, count if name else "", part, str(tracks), str(preview.batches.get(part, 0)))
    print_table(console, table)
    console.print()
    for preview in previews:
        console.print(f"{preview.experiment.name}: {'; '.join(_effort(preview))}", markup=False)
    runs = sum(len(preview.experiment.replicates()) for preview in previews)
    times = [
        preview.run * len(preview.experiment.replicates()) for preview in previews if preview.run is not None
    ]
    if times:
        beside = f", {jobs} at a time" if jobs > 1 else ""
        console.print(
            f"{runs} run{'s' * (runs > 1)}{beside}: about {duration(sum(times) / jobs)}", style="bold"
        )
        console.print("That is of steps if none stops early; evaluating and recording come on top.")
    console.print("Nothing was trained or written.")


def _effort(preview: Preview) -> Iterator[str]:
    yield f"{preview.parameters:,} parameters on {preview.device}"
    if preview.step is None:
        yield "is fitted at once"
        return
    assert preview.epoch is not None
    assert preview.run is not None
    epochs = preview.experiment.training.epochs
    yield f"a step takes {1000 * preview.step:.0f} ms, an epoch about {_short(preview.epoch)}"
    yield f"{epochs} epochs at most, about {duration(preview.run)}"


def _short(seconds: float) -> str:
    return f"{seconds:.1f} s" if seconds < 10 else duration(seconds)
