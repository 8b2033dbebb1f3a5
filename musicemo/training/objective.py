"""Each task's loss: a list of weighted terms, on the tracks whose target is known."""

from __future__ import annotations

from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass

import numpy as np
import torch
from numpy.typing import NDArray
from torch import Tensor, nn

from musicemo.contracts import Per, kinds_of
from musicemo.data import Pairs, Task, columns
from musicemo.errors import InputError

__all__ = ["Objective", "Teacher", "Term"]


@dataclass(frozen=True)
class Teacher:
    """Predictions of another model, which are learned beside the labels."""

    #: Task -> ratings in [0, 1] `[tracks]`, or probabilities `[tracks, classes]` of classes or tags; NaN for tracks
    #: without one.
    predictions: Mapping[str, Tensor]
    #: Share of these predictions in the loss of a task, from 0 to 1.
    weight: float

    def loss(self, task: Task, prediction: Tensor, rows: Tensor) -> Tensor | None:
        """Return the loss of a network that imitates the teacher; None if it has no prediction of these tracks.

        It is the mean squared error of ratings, the cross-entropy of the distributions of classes, and the mean binary
        cross-entropy of tags.

        G. Hinton, O. Vinyals, J. Dean, "Distilling the Knowledge in a Neural Network", 2015.

        Args:
            task: the task.
            prediction: of the network for some tracks.
            rows: `[batch]`, index of each track.
        """
        soft = self.predictions[task.name][rows].to(prediction)
        present = soft.isfinite() if soft.dim() == 1 else soft.isfinite().all(dim=1)
        if not present.any():
            return None
        soft, prediction = soft[present], prediction[present]
        if task.kind == "classification":
            return nn.functional.cross_entropy(prediction, soft)
        if task.kind == "tags":
            return nn.functional.binary_cross_entropy_with_logits(prediction, soft)
        if task.distribution is not None:
            prediction = task.distribution.mean(prediction)
        return nn.functional.mse_loss(prediction, soft)


@dataclass(frozen=True)
class Labeled:
    """A task with the predictions and targets of the tracks, or pairs, that have a target."""

    task: Task
    prediction: Tensor
    target: Tensor
    #: The listeners' ratings `[batch, listeners]`, of a task that learns a distribution or has weights.
    listeners: Tensor | None = None

    def arguments(self, loss: nn.Module) -> tuple[Tensor, ...]:
        """Return the arguments of a loss; see `musicemo.contracts.Loss`."""
        prediction, target = self.prediction, self.target
        if self.task.distribution is not None:
            if hasattr(loss, "distribution") and self.listeners is not None:
                target = self.listeners
            else:
                prediction = self.task.distribution.mean(prediction)
        if self.task.weighted and self.listeners is not None:
            return prediction, target, self.listeners.isfinite().sum(dim=1).to(prediction.dtype)
        return prediction, target


@dataclass(frozen=True)
class Term:
    """One term of a task's loss."""

    weight: float
    loss: nn.Module
    #: Series: ratings that a loss of ratings compares with each other; None for the default of the loss.
    per: Per | None = None

    def arguments(self, labeled: Labeled) -> Sequence[tuple[Tensor, ...]]:
        """Return the arguments of each call of the loss. The term is the mean of the results.

        It is called once, unless the task is a series and the loss compares the ratings of each song, or of each step.
        """
        prediction, target = labeled.prediction, labeled.target
        if labeled.task.kind != "series" or "series" in kinds_of(self.loss):
            return [labeled.arguments(self.loss)]
        per = self.per or getattr(self.loss, "per", "all")
        if per == "step":
            prediction, target = prediction.T, target.T
        rated = target.isfinite().cpu()
        counts = rated.sum(dim=1)
        lengths = [int(counts.sum())] if per == "all" else counts[counts > 0].tolist()
        place = rated.flatten().nonzero().squeeze(1).to(prediction.device)
        some = (torch.split(values.flatten()[place], lengths) for values in (prediction, target))
        return list(zip(*some, strict=True))


class Objective(nn.Module):
    """Predictions and targets of a batch, or of a whole part, to a loss per task.

    Args:
        tasks: the tasks.
        terms: task -> terms of its loss.
        pairs: task of the kind ``pairs`` -> its judged pairs.
        listeners: task that learns a distribution, or has weights -> the listeners' ratings, `[tracks, listeners]`, NaN
            where there are fewer.
        teacher: predictions that are learned beside the labels.
    """

    def __init__(
        self,
        tasks: Sequence[Task],
        terms: Mapping[str, Sequence[Term]],
        pairs: Mapping[str, Pairs] | None = None,
        listeners: Mapping[str, NDArray[np.float32]] | None = None,
        teacher: Teacher | None = None,
    ) -> None:
        super().__init__()
        self._teacher = teacher
        self.tasks = tuple(tasks)
        self._pairs = dict(pairs or {})
        self._listeners = {name: torch.from_numpy(ratings) for name, ratings in (listeners or {}).items()}
        self.terms = dict(terms)
        self._losses = nn.ModuleList(term.loss for task in tasks for term in terms[task.name])

    def forward(
        self,
        predictions: Mapping[str, Tensor],
        targets: Tensor,
        indices: NDArray[np.intp],
        series: Mapping[str, Tensor] | None = None,
    ) -> dict[str, Tensor]:
        """Return task -> loss, a scalar, for the tasks that have a target here.

        If a teacher has predictions of tracks here, the loss is (1 - w) L + w T, with the loss L of the labels, T of
        `Teacher.loss`, and the weight w of the teacher. The loss of a task without labels here is w T.

        Args:
            predictions: task -> ratings `[batch]`, over time `[batch, time]`, or logits `[batch, classes]` of classes
                or tags.
            targets: `[batch, columns]`, see `musicemo.data.columns`, on the CPU; NaN where missing.
            indices: `[batch]`, index of each track among the experiment's tracks.
            series: task with ratings over time -> `[batch, time]`, NaN where not rated.
        """
        losses = {
            labeled.task.name: torch.stack(
                [term.weight * _value(labeled, term) for term in self.terms[labeled.task.name]]
            ).sum()
            for labeled in self.known(predictions, targets, indices, series)
        }
        if self._teacher is None:
            return losses
        weight, rows, taught = self._teacher.weight, torch.from_numpy(indices), dict[str, Tensor]()
        for task in self.tasks:
            imitation = self._teacher.loss(task, predictions[task.name], rows)
            if imitation is not None:
                taught[task.name] = weight * imitation
                if task.name in losses:
                    taught[task.name] = taught[task.name] + (1 - weight) * losses[task.name]
            elif task.name in losses:
                taught[task.name] = losses[task.name]
        return taught

    def known(
        self,
        predictions: Mapping[str, Tensor],
        targets: Tensor,
        indices: NDArray[np.intp],
        series: Mapping[str, Tensor] | None = None,
    ) -> list[Labeled]:
        """Return each task that has a target here, with prediction and target of those tracks or pairs."""
        labeled = []
        places = columns(self.tasks)
        for task in self.tasks:
            prediction = predictions[task.name]
            if task.kind == "pairs":
                if len(pairs := self._pairs[task.name].within(indices)):
                    members = torch.from_numpy(pairs.members).to(prediction.device)
                    listeners = torch.from_numpy(pairs.listeners).to(prediction)
                    labeled.append(Labeled(task, prediction[members], listeners))
                continue
            target = (series or {})[task.name] if task.kind == "series" else targets[:, places[task.name]]
            present = torch.isfinite(target)
            if task.kind in ("tags", "series"):
                present = present.any(dim=1)
            if not present.all():
                if not present.any():
                    continue
                target, prediction = target[present], prediction[present.to(prediction.device)]
            dtype = torch.int64 if task.kind == "classification" else prediction.dtype
            single = self._listeners.get(task.name)
            if single is not None:
                single = single[torch.from_numpy(indices)[present]].to(prediction)
            labeled.append(Labeled(task, prediction, target.to(prediction.device, dtype), single))
        return labeled

    @torch.no_grad()
    def diagnostics(
        self,
        predictions: Mapping[str, Tensor],
        targets: Tensor,
        indices: NDArray[np.intp],
        series: Mapping[str, Tensor] | None = None,
    ) -> dict[str, float]:
        """Return ``<task>/<name>`` of whatever the losses tell of themselves; of a series, the means over the calls."""
        values: dict[str, float] = {}
        for labeled in self.known(predictions, targets, indices, series):
            for term in self.terms[labeled.task.name]:
                tell: Callable[..., dict[str, float]] | None = getattr(term.loss, "diagnostics", None)
                if tell is None:
                    continue
                every = [tell(*arguments) for arguments in term.arguments(labeled)]
                values |= {
                    f"{labeled.task.name}/{name}": sum(float(one[name]) for one in every) / len(every)
                    for name in every[0]
                }
        return values


def _value(labeled: Labeled, term: Term) -> Tensor:
    """Return the value of a term, a scalar.

    Raises:
        InputError: the loss returns something else.
    """
    parts = [term.loss(*arguments) for arguments in term.arguments(labeled)]
    for part in parts:
        if not isinstance(part, Tensor) or part.dim():
            name = type(term.loss).__name__
            returned = f"shape {list(part.shape)}" if isinstance(part, Tensor) else type(part).__name__
            raise InputError(
                f"task {labeled.task.name!r}: loss {name} returns {returned}, where a scalar tensor is expected"
            )
    return parts[0] if len(parts) == 1 else torch.stack(parts).mean()
