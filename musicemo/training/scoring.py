"""Predictions, losses and metrics of a network on the sets of a run."""

from __future__ import annotations

from collections.abc import Mapping, Sequence

import numpy as np
import torch
from numpy.typing import NDArray
from torch import Tensor

from musicemo.data import Batches, Task, Tracks, columns, labelled
from musicemo.evaluation import EPOCH_METRICS, Evaluation, TaskEvaluation, pair_id
from musicemo.training.criteria import MEAN_IMPROVEMENT, mean_improvement, mean_predictor_losses
from musicemo.training.network import Network
from musicemo.training.precision import autocast
from musicemo.training.processes import SINGLE, Processes
from musicemo.training.run import Prepared

__all__ = ["Collected", "Scorer", "collect_predictions", "to_evaluation"]


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

    def merge(self, processes: Processes) -> None:
        """Take in the batches of all processes."""
        if processes.size == 1:
            return
        own = ({name: [one.cpu() for one in kept] for name, kept in self._predictions.items()}, self._targets)
        gathered = processes.all((*own, self._indices))
        self._targets = [one for _, targets, _ in gathered for one in targets]
        self._indices = [one for *_, indices in gathered for one in indices]
        names = {name for predictions, *_ in gathered for name in predictions}
        self._predictions = {
            name: [one for predictions, *_ in gathered for one in predictions.get(name, ())] for name in names
        }

    def finish(self) -> tuple[dict[str, Tensor], Tensor, np.ndarray[tuple[int], np.dtype[np.intp]]]:
        """Return task -> predictions, targets `[tracks, columns]` and track indices, ascending, on the CPU."""
        indices = np.concatenate(self._indices)
        order = np.argsort(indices, kind="stable")
        place = torch.from_numpy(order)
        predictions = {
            name: torch.cat(batches).float().cpu()[place] for name, batches in self._predictions.items()
        }
        return predictions, torch.cat(self._targets)[place], indices[order]


@torch.no_grad()
def collect_predictions(
    network: Network,
    batches: Batches,
    tasks: Sequence[Task],
    device: torch.device,
    precision: str,
    processes: Processes = SINGLE,
) -> tuple[dict[str, Tensor], Tensor, np.ndarray[tuple[int], np.dtype[np.intp]]]:
    """Run the network in evaluation mode over a part; see `Collected.finish` for what it returns.

    Args:
        network: the network.
        batches: the part.
        tasks: those of the columns of the part's targets.
        device: where the network is.
        precision: as in the table ``[training]``.
        processes: the processes that share the batches.
    """
    network.eval()
    collected = Collected()
    for batch in batches.epoch(batches=slice(processes.rank, None, processes.size)):
        batch = batch.to(device)
        with autocast(device, precision):
            labels = network.known_labels(batch.targets, tasks)
            _, predictions = network(batch.x, batch.lengths, labels)
        collected.add(predictions, batch.targets.cpu(), batch.indices)
    collected.merge(processes)
    return collected.finish()


def to_evaluation(
    predictions: Mapping[str, Tensor], targets: Tensor, tracks: Tracks, indices: NDArray[np.intp]
) -> Evaluation:
    """Bring predictions into the targets' own units and leave out tracks whose target is missing.

    Args:
        predictions: task -> `[part]` or `[part, classes]`.
        targets: `[part, columns]`.
        tracks: the experiment's tracks.
        indices: `[part]`, index of each track among them.
    """
    evaluations = {}
    places = columns(tracks.tasks)
    ids = [tracks.tracks[index].id for index in indices]
    for task in tracks.tasks:
        if task.kind == "pairs":
            pairs = tracks.pairs[task.name].within(indices)
            scores = predictions[task.name].double().numpy()[pairs.members]
            names = [pair_id(ids[first], ids[second]) for first, second in pairs.members.tolist()]
            evaluations[task.name] = TaskEvaluation(task.kind, names, pairs.listeners, scores)
            continue
        target = targets[:, places[task.name]].numpy()
        present = labelled(target)
        prediction = predictions[task.name].numpy()[present]
        present_ids = [name for name, there in zip(ids, present, strict=True) if there]
        if task.kind == "regression":
            evaluations[task.name] = TaskEvaluation(
                task.kind, present_ids, task.decode(target[present]), task.decode(prediction)
            )
        elif task.kind == "tags":
            evaluations[task.name] = TaskEvaluation.of_tags(
                present_ids,
                target[present],
                torch.from_numpy(prediction).double().sigmoid().numpy(),
                task.classes,
            )
        else:
            probabilities = torch.from_numpy(prediction).double().softmax(dim=1).numpy()
            evaluations[task.name] = TaskEvaluation(
                task.kind,
                present_ids,
                target[present].astype(np.intp),
                prediction.argmax(axis=1),
                task.classes,
                probabilities,
            )
    return Evaluation(evaluations)


class Scorer:
    """Predicts the parts of a run, and scores what was predicted.

    Args:
        prepared: what is trained.
    """

    def __init__(self, prepared: Prepared) -> None:
        self._prepared = prepared
        self._reference: dict[str, float] | None = None

    def predict(
        self, part: str, processes: Processes = SINGLE
    ) -> tuple[dict[str, Tensor], Tensor, NDArray[np.intp]]:
        """Return task -> predictions, targets `[tracks, columns]` and track indices of a part."""
        prepared = self._prepared
        return collect_predictions(
            prepared.network,
            prepared.batches[part],
            prepared.tasks,
            prepared.device,
            prepared.training.precision,
            processes,
        )

    def evaluate(self, part: str) -> Evaluation:
        """Evaluate the network on a part."""
        predictions, targets, indices = self.predict(part)
        return to_evaluation(predictions, targets, self._prepared.tracks, indices)

    @torch.no_grad()
    def score(
        self, part: str, predictions: Mapping[str, Tensor], targets: Tensor, indices: NDArray[np.intp]
    ) -> dict[str, float]:
        """Return a part's losses, computed on the part as a whole, and its metrics."""
        on_device = {name: prediction.to(self._prepared.device) for name, prediction in predictions.items()}
        losses = {
            name: float(loss) for name, loss in self._prepared.objective(on_device, targets, indices).items()
        }
        record = {f"{part}/loss": sum(losses.values())}
        evaluation = to_evaluation(predictions, targets, self._prepared.tracks, indices)
        for name, task in evaluation.tasks.items():
            if name in losses:
                record[f"{part}/{name}/loss"] = losses[name]
                record |= {
                    f"{part}/{name}/{metric}": task.metric(metric) for metric in EPOCH_METRICS[task.kind]
                }
        return record

    def validate(self) -> dict[str, float]:
        """Return the scores of the validation part, with several tasks their mean improvement too; else nothing."""
        if "val" not in self._prepared.batches:
            return {}
        prepared = self._prepared
        predictions, targets, indices = self.predict("val", prepared.processes)
        record = self.score("val", predictions, targets, indices)
        if len(prepared.tasks) > 1:
            if self._reference is None:
                labels = prepared.tracks.targets[prepared.split.parts["train"]]
                self._reference = mean_predictor_losses(
                    self._prepared.objective, labels, targets, indices, prepared.device
                )
            record[MEAN_IMPROVEMENT] = mean_improvement(record, self._reference)
        return record
