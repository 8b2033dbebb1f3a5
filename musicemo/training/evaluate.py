"""A network on a whole part: predictions, losses and metrics."""

from __future__ import annotations

from collections.abc import Mapping, Sequence

import numpy as np
import torch
from torch import Tensor

from musicemo.data import Batches, Task
from musicemo.evaluation import Evaluation, TaskEvaluation
from musicemo.training.network import Network
from musicemo.training.precision import autocast

__all__ = ["Collected", "collect_predictions", "to_evaluation"]


class Collected:
    """Predictions of a part, gathered batch by batch, and brought into the part's order."""

    def __init__(self) -> None:
        self._predictions: dict[str, list[Tensor]] = {}
        self._targets: list[Tensor] = []
        self._indices: list[np.ndarray[tuple[int], np.dtype[np.intp]]] = []

    def add(
        self,
        predictions: Mapping[str, Tensor],
        targets: Tensor,
        indices: np.ndarray[tuple[int], np.dtype[np.intp]],
    ) -> None:
        """Take in a batch."""
        for name, prediction in predictions.items():
            self._predictions.setdefault(name, []).append(prediction.detach())
        self._targets.append(targets)
        self._indices.append(indices)

    def finish(self) -> tuple[dict[str, Tensor], Tensor, np.ndarray[tuple[int], np.dtype[np.intp]]]:
        """Return task -> predictions, targets `[tracks, tasks]` and track indices, ascending, on the CPU."""
        indices = np.concatenate(self._indices)
        order = np.argsort(indices, kind="stable")
        place = torch.from_numpy(order)
        predictions = {name: torch.cat(found).float().cpu()[place] for name, found in self._predictions.items()}
        return predictions, torch.cat(self._targets)[place], indices[order]


@torch.no_grad()
def collect_predictions(
    network: Network, batches: Batches, tasks: Sequence[Task], device: torch.device, precision: str
) -> tuple[dict[str, Tensor], Tensor, np.ndarray[tuple[int], np.dtype[np.intp]]]:
    """Run the network in evaluation mode over a part; see `Collected.finish` for what it returns.

    Args:
        network: the network.
        batches: the part.
        tasks: those of the columns of the part's targets.
        device: where the network is.
        precision: as in the table ``[training]``.
    """
    network.eval()
    collected = Collected()
    for batch in batches.epoch():
        batch = batch.to(device)
        with autocast(device, precision):
            labels = network.known_labels(batch.targets, tasks)
            _, predictions = network(batch.x, batch.lengths, labels)
        collected.add(predictions, batch.targets.cpu(), batch.indices)
    return collected.finish()


def to_evaluation(
    predictions: Mapping[str, Tensor], targets: Tensor, ids: Sequence[str], tasks: Sequence[Task]
) -> Evaluation:
    """Bring predictions into the targets' own units and leave out tracks whose target is missing."""
    found = {}
    for column, task in enumerate(tasks):
        target = targets[:, column].numpy()
        present = np.isfinite(target)
        prediction = predictions[task.name].numpy()[present]
        known = [name for name, there in zip(ids, present, strict=True) if there]
        if task.kind == "regression":
            found[task.name] = TaskEvaluation(
                task.kind, known, task.decode(target[present]), task.decode(prediction)
            )
        else:
            probabilities = torch.from_numpy(prediction).double().softmax(dim=1).numpy()
            found[task.name] = TaskEvaluation(
                task.kind,
                known,
                target[present].astype(np.intp),
                prediction.argmax(axis=1),
                task.classes,
                probabilities,
            )
    return Evaluation(found)
