"""Random changes of the examples of a training batch."""

from __future__ import annotations

from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass, replace

import numpy as np
import torch
from numpy.typing import NDArray
from torch import Tensor

from musicemo.contracts import Augmentation, Examples, Labels
from musicemo.data.tasks import Task, columns
from musicemo.errors import InputError, nearest

__all__ = ["AppliedAugmentation", "Augmentations", "check_examples"]


@dataclass(frozen=True)
class AppliedAugmentation:
    """An augmentation, and how it is applied."""

    #: Value of ``type``.
    name: str
    augmentation: Augmentation
    #: Probability that an example is changed.
    probability: float = 1.0
    #: Tasks whose labels a changed example loses.
    lost: Sequence[str] = ()


@dataclass(frozen=True)
class _LabelSet:
    weight: float
    #: `[batch]`: places in the batch.
    places: NDArray[np.intp]
    #: `[batch, columns]`, NaN where missing.
    targets: Tensor
    #: Task -> `[batch, time]`, NaN where not rated.
    series: Mapping[str, Tensor]


class Augmentations:
    """The augmentations of a run, in the order of their application.

    Each draws from a generator of its own, which depends on the seed, the epoch, the batch and its place in the order.

    Args:
        applied: the augmentations.
        tasks: the tasks, whose targets the columns of the batches are.
        seed: seed of the run, or several numbers that are its seed together.
    """

    def __init__(
        self, applied: Sequence[AppliedAugmentation], tasks: Sequence[Task], seed: int | Sequence[int]
    ) -> None:
        self._applied = tuple(applied)
        self._columns = columns(tasks)
        self._tasks = [task.name for task in tasks if task.kind != "pairs"]
        self._seed = seed

    def __call__(self, x: Tensor, lengths: Tensor, epoch: int, batch: int) -> Examples:
        """Return the changed examples of a batch.

        Args:
            x: `[batch, time, feature]`, zero from each track's length on.
            lengths: `[batch]`.
            epoch: number of the epoch.
            batch: number of the batch in it.

        Raises:
            InputError: an augmentation does not return what its contract says.
        """
        examples = Examples(x, lengths, [Labels(1.0, torch.arange(len(x)))])
        for place, one in enumerate(self._applied):
            # A spawn key, since trailing zeros of a seed are ignored.
            seed = np.random.SeedSequence(self._seed, spawn_key=(epoch, batch, place))
            examples = _apply(one, examples, np.random.default_rng(seed))
            if unknown := {task for labels in examples.labels for task in labels.lost} - set(self._tasks):
                task = min(unknown)
                raise InputError(
                    f"augmentation {one.name!r} returns labels whose lost names {task!r}, which is not a task with "
                    f"labels of single tracks{nearest(task, self._tasks)} (tasks: {', '.join(self._tasks) or 'none'})"
                )
        return examples

    def label(self, examples: Examples, targets: Tensor, series: Mapping[str, Tensor]) -> Iterator[_LabelSet]:
        """Yield the label sets of examples.

        Args:
            examples: the examples of a batch.
            targets: `[batch, columns]`, of its tracks.
            series: task with ratings over time -> `[batch, time]`, of its tracks.
        """
        beyond = torch.arange(examples.x.shape[1]) >= examples.lengths[:, None]
        for labels in examples.labels:
            kept = targets[labels.places]
            rated = {
                name: ratings[labels.places].masked_fill(beyond, torch.nan) for name, ratings in series.items()
            }
            for task, lost in labels.lost.items():
                if task in rated:
                    rated[task][lost] = torch.nan
                else:
                    kept[lost, self._columns[task]] = torch.nan
            yield _LabelSet(labels.weight, labels.places.numpy(), kept, rated)


def _apply(one: AppliedAugmentation, examples: Examples, random: np.random.Generator) -> Examples:
    """Change the examples that are drawn, and put them back into their places."""
    if one.probability < 1:
        drawn = torch.from_numpy(random.random(len(examples.x)) < one.probability)
        rows = drawn.nonzero().squeeze(1)
        if not len(rows):
            return examples
    else:
        rows = torch.arange(len(examples.x))
    before = examples if len(rows) == len(examples.x) else examples.select(rows)
    try:
        changed = one.augmentation(before, random)
    except Exception as error:
        error.add_note(f"augmentation {one.name!r} fails")
        raise
    check_examples(one.name, one.augmentation, before, changed)
    if one.lost:
        labels = [
            replace(
                labels,
                lost={**labels.lost, **dict.fromkeys(one.lost, torch.ones(len(changed.x), dtype=torch.bool))},
            )
            for labels in changed.labels
        ]
        changed = replace(changed, labels=labels)
    return changed if before is examples else _merged(examples, rows, changed)


def _merged(examples: Examples, rows: Tensor, changed: Examples) -> Examples:
    """Return examples of which those at some rows have been changed.

    If changed examples were mixed, all examples get as many label sets; those of the other examples repeat.
    """
    steps = max(examples.x.shape[1], changed.x.shape[1])
    x = torch.nn.functional.pad(examples.x, (0, 0, 0, steps - examples.x.shape[1]))
    x[rows] = torch.nn.functional.pad(changed.x, (0, 0, 0, steps - changed.x.shape[1]))
    lengths = examples.lengths.clone()
    lengths[rows] = changed.lengths
    merged = []
    for place, labels in enumerate(changed.labels):
        before = examples.labels[place % len(examples.labels)]
        places = before.places.clone()
        places[rows] = labels.places
        nothing = torch.zeros(len(x), dtype=torch.bool)
        lost = {}
        for task in dict.fromkeys([*before.lost, *labels.lost]):
            lost[task] = before.lost.get(task, nothing).clone()
            lost[task][rows] = labels.lost.get(task, nothing[: len(rows)])
        merged.append(Labels(labels.weight, places, lost))
    return Examples(x, lengths, merged)


def check_examples(name: str, augmentation: Augmentation, before: Examples, after: Examples) -> None:
    """Check the examples that an augmentation returns.

    Args:
        name: its name, for the error.
        augmentation: the augmentation.
        before: the examples that it got.
        after: the examples that it returned.

    Raises:
        InputError: they are not what the contract says.
    """
    if not isinstance(after, Examples):
        raise InputError(f"augmentation {name!r} returns {type(after).__name__}; it must return Examples")
    x, lengths = after.x, after.lengths
    count, _, size = before.x.shape
    problem = ""
    if x.dtype != torch.float32 or x.dim() != 3 or (len(x), x.shape[2]) != (count, size):
        problem = f"x of type {x.dtype} and shape {list(x.shape)}; it must be float32 [{count}, time, {size}]"
    elif lengths.dtype != torch.int64 or lengths.shape != (count,):
        problem = (
            f"lengths of type {lengths.dtype} and shape {list(lengths.shape)}; they must be int64 [{count}]"
        )
    elif lengths.min() < 1 or lengths.max() > x.shape[1]:
        problem = f"lengths from {lengths.min()} to {lengths.max()}; they must be from 1 to {x.shape[1]}"
    elif not x.isfinite().all():
        problem = "values that are not finite"
    elif x[~after.mask].any():
        problem = "values other than zero beyond the length of an example"
    elif getattr(augmentation, "aligned", True) and (
        x.shape != before.x.shape or not torch.equal(lengths, before.lengths)
    ):
        problem = "examples of other lengths; declare it with aligned = False"
    elif (
        not after.labels
        or len(after.labels) % len(before.labels)
        or abs(sum(labels.weight for labels in after.labels) - 1) > 1e-6
    ):
        problem = "label sets whose weights do not add up to 1; mix examples with Examples.mixed"
    else:
        places = torch.cat([labels.places for labels in before.labels])
        for labels in after.labels:
            if labels.places.shape != (count,) or not torch.isin(labels.places, places).all():
                problem = f"labels whose places are not {count} of those of its input; keep them, or use Examples.mixed"
            elif any(lost.dtype != torch.bool or lost.shape != (count,) for lost in labels.lost.values()):
                problem = f"labels whose lost is not bool [{count}] for each task"
    if problem:
        raise InputError(f"augmentation {name!r} returns {problem}")
