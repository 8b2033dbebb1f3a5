"""Each task's loss: a list of weighted terms, on the tracks whose target is known."""

from __future__ import annotations

from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass

import numpy as np
import torch
from numpy.typing import NDArray
from torch import Tensor, nn

from musicemo.data import Pairs, Task, columns
from musicemo.errors import InputError

__all__ = ["Objective", "Term"]


@dataclass(frozen=True)
class Term:
    """One term of a task's loss."""

    weight: float
    loss: nn.Module


class Objective(nn.Module):
    """Predictions and targets of a batch, or of a whole part, to a loss per task.

    Args:
        tasks: the tasks.
        terms: task -> terms of its loss.
        pairs: task of the kind ``pairs`` -> its judged pairs.
    """

    def __init__(
        self,
        tasks: Sequence[Task],
        terms: Mapping[str, Sequence[Term]],
        pairs: Mapping[str, Pairs] | None = None,
    ) -> None:
        super().__init__()
        self.tasks = tuple(tasks)
        self._pairs = dict(pairs or {})
        self.terms = dict(terms)
        self._losses = nn.ModuleList(term.loss for task in tasks for term in terms[task.name])

    def forward(
        self, predictions: Mapping[str, Tensor], targets: Tensor, indices: NDArray[np.intp]
    ) -> dict[str, Tensor]:
        """Return task -> loss, a scalar, for the tasks that have a target here.

        Args:
            predictions: task -> ratings `[batch]`, or logits `[batch, classes]` of classes or tags.
            targets: `[batch, columns]`, see `musicemo.data.columns`, on the CPU; NaN where missing.
            indices: `[batch]`, index of each track among the experiment's tracks.
        """
        losses = {}
        for task, prediction, target in self.known(predictions, targets, indices):
            parts = [term.weight * term.loss(prediction, target) for term in self.terms[task.name]]
            for term, part in zip(self.terms[task.name], parts, strict=True):
                if not isinstance(part, Tensor) or part.dim():
                    name = type(term.loss).__name__
                    returned = f"shape {list(part.shape)}" if isinstance(part, Tensor) else type(part).__name__
                    raise InputError(
                        f"task {task.name!r}: loss {name} returns {returned}, where a scalar tensor is expected"
                    )
            losses[task.name] = torch.stack(parts).sum()
        return losses

    def known(
        self, predictions: Mapping[str, Tensor], targets: Tensor, indices: NDArray[np.intp]
    ) -> list[tuple[Task, Tensor, Tensor]]:
        """Return each task that has a target here, with prediction and target of those tracks or pairs."""
        labeled = []
        places = columns(self.tasks)
        for task in self.tasks:
            prediction = predictions[task.name]
            if task.kind == "pairs":
                if len(pairs := self._pairs[task.name].within(indices)):
                    members = torch.from_numpy(pairs.members).to(prediction.device)
                    listeners = torch.from_numpy(pairs.listeners).to(prediction)
                    labeled.append((task, prediction[members], listeners))
                continue
            target = targets[:, places[task.name]]
            present = torch.isfinite(target)
            if task.kind == "tags":
                present = present.any(dim=1)
            if not present.all():
                if not present.any():
                    continue
                target, prediction = target[present], prediction[present.to(prediction.device)]
            dtype = torch.int64 if task.kind == "classification" else prediction.dtype
            labeled.append((task, prediction, target.to(prediction.device, dtype)))
        return labeled

    @torch.no_grad()
    def diagnostics(
        self, predictions: Mapping[str, Tensor], targets: Tensor, indices: NDArray[np.intp]
    ) -> dict[str, float]:
        """Return ``<task>/<name>`` of whatever the losses tell of themselves."""
        values: dict[str, float] = {}
        for task, prediction, target in self.known(predictions, targets, indices):
            for term in self.terms[task.name]:
                tell: Callable[..., dict[str, float]] = getattr(term.loss, "diagnostics", lambda *_: {})
                values |= {
                    f"{task.name}/{name}": float(value) for name, value in tell(prediction, target).items()
                }
        return values
