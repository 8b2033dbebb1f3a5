"""Predictions, losses and metrics of a network on the sets of a run."""

from __future__ import annotations

import math
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, replace

import numpy as np
import torch
from numpy.typing import NDArray
from torch import Tensor

from musicemo.data import Batch, Batches, Task, Tracks, at_times, columns, labelled, smoothed
from musicemo.evaluation import EPOCH_METRICS, SHARES, SPREAD, Evaluation, Spread, TaskEvaluation, pair_id
from musicemo.training.criteria import MEAN_IMPROVEMENT, mean_improvement, mean_predictor_losses
from musicemo.training.network import Network
from musicemo.training.precision import autocast
from musicemo.training.processes import SINGLE, Processes
from musicemo.training.run import Prepared

__all__ = ["Collected", "Predictions", "Scorer", "collect_predictions", "to_evaluation"]


@dataclass(frozen=True)
class Predictions:
    """Predictions and targets of some tracks, in the order of the tracks, on the CPU."""

    #: Task -> ratings `[tracks]`, over time `[tracks, time]`, or logits `[tracks, classes]`.
    values: Mapping[str, Tensor]
    #: `[tracks, columns]`, see `Tracks.targets`.
    targets: Tensor
    #: Task with ratings over time -> `[tracks, time]`, NaN where not rated.
    series: Mapping[str, Tensor]
    #: Index of each track among the experiment's tracks.
    indices: NDArray[np.intp]


class Collected:
    """Predictions of a part, gathered batch by batch, and brought into the part's order."""

    def __init__(self) -> None:
        self._predictions: dict[str, list[Tensor]] = {}
        self._batches: list[Batch] = []

    def add(self, predictions: Mapping[str, Tensor], batch: Batch) -> None:
        """Take in the predictions of a batch, whose features are not kept."""
        for name, prediction in predictions.items():
            self._predictions.setdefault(name, []).append(prediction.detach())
        self._batches.append(replace(batch, x=batch.x.new_empty(0), more=()))

    def merge(self, processes: Processes) -> None:
        """Take in the batches of all processes."""
        if processes.size == 1:
            return
        kept = {name: [one.cpu() for one in every] for name, every in self._predictions.items()}
        gathered = processes.all((kept, self._batches))
        self._batches = [batch for _, batches in gathered for batch in batches]
        names = {name for predictions, _ in gathered for name in predictions}
        self._predictions = {
            name: [one for predictions, _ in gathered for one in predictions.get(name, ())] for name in names
        }

    def finish(self) -> Predictions:
        """Return the predictions of all batches."""
        indices = np.concatenate([batch.indices for batch in self._batches])
        order = np.argsort(indices, kind="stable")
        place = torch.from_numpy(order)
        series = {
            name: _joined([batch.series[name] for batch in self._batches], math.nan)[place].cpu()
            for name in self._batches[0].series
        }
        predictions = {
            name: (_joined(batches, 0.0) if name in series else torch.cat(batches)).float().cpu()[place]
            for name, batches in self._predictions.items()
        }
        targets = torch.cat([batch.targets for batch in self._batches]).cpu()[place]
        return Predictions(predictions, targets, series, indices[order])


def _joined(batches: Sequence[Tensor], filling: float) -> Tensor:
    """Return batches `[batch, time]` as one, filled up to the longest."""
    steps = max(batch.shape[1] for batch in batches)
    return torch.cat(
        [torch.nn.functional.pad(batch, (0, steps - batch.shape[1]), value=filling) for batch in batches]
    )


@torch.no_grad()
def collect_predictions(
    network: Network,
    batches: Batches,
    tasks: Sequence[Task],
    device: torch.device,
    precision: str,
    processes: Processes = SINGLE,
) -> Predictions:
    """Run the network in evaluation mode over a part.

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
        moved = batch.to(device)
        with autocast(device, precision):
            labels = network.known_labels(moved.targets, tasks)
            _, predictions = network(moved.x, moved.lengths, labels)
        collected.add(predictions, batch)
    collected.merge(processes)
    return collected.finish()


def to_evaluation(predicted: Predictions, tracks: Tracks) -> Evaluation:
    """Bring predictions into the targets' own units and leave out tracks whose target is missing.

    Those of a series are smoothed, if the task says so, and taken to the times of the ratings.
    """
    evaluations = {}
    places = columns(tracks.tasks)
    ids = tracks.ids
    for task in tracks.tasks:
        if task.kind == "series":
            evaluations[task.name] = _over_time(task, predicted, tracks)
            continue
        if task.kind == "pairs":
            pairs = tracks.pairs[task.name].within(predicted.indices)
            scores = predicted.values[task.name].double().numpy()[pairs.members]
            names = [
                pair_id(*(ids[predicted.indices[place]] for place in both)) for both in pairs.members.tolist()
            ]
            evaluations[task.name] = TaskEvaluation(task.kind, names, pairs.listeners, scores)
            continue
        target = predicted.targets[:, places[task.name]].numpy()
        present = labelled(target)
        prediction = predicted.values[task.name].numpy()[present]
        present_ids = [ids[index] for index in predicted.indices[present]]
        if task.kind == "regression":
            spread = None
            if task.distribution:
                outputs = torch.from_numpy(prediction)
                spread = score_spread(task, outputs, tracks.listeners[task.name][predicted.indices[present]])
                prediction = task.distribution.mean(outputs.double()).numpy()
            evaluations[task.name] = TaskEvaluation(
                task.kind, present_ids, task.decode(target[present]), task.decode(prediction), spread=spread
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


def _over_time(task: Task, predicted: Predictions, tracks: Tracks) -> TaskEvaluation:
    ids, times, target, prediction = [], [], [], []
    for row, index in zip(predicted.values[task.name].numpy(), predicted.indices.tolist(), strict=True):
        rated = tracks.series[task.name][index]
        if rated is None:
            continue
        steps = smoothed(row[: len(rated.steps)].astype(np.float64), rated.edges, task.smoothing)
        ids.append(tracks.tracks[index].id)
        times.append(rated.times)
        target.append(task.decode(rated.values))
        prediction.append(task.decode(at_times(steps, rated.edges, rated.times)))
    return TaskEvaluation.of_series(ids, times, target, prediction)


def score_spread(task: Task, outputs: Tensor, ratings: NDArray[np.float32]) -> Spread:
    """Score predicted distributions of ratings, in the units of the ratings.

    Args:
        task: a task that learns a distribution.
        outputs: `[tracks, outputs]`, of a head.
        ratings: `[tracks, listeners]` in [0, 1], NaN where there are fewer.
    """
    assert task.distribution is not None
    outputs, listeners = outputs.double(), torch.from_numpy(ratings).double()
    low, high = task.range
    return Spread(
        deviation=task.distribution.deviation(outputs).numpy() * (high - low),
        crps=task.distribution.crps(outputs, listeners).numpy() * (high - low),
        nll=task.distribution.nll(outputs, listeners).numpy() + math.log(high - low),
        coverage=task.distribution.coverage(outputs, listeners, SHARES).numpy(),
    )


class Scorer:
    """Predicts the parts of a run, and scores what was predicted.

    Args:
        prepared: what is trained.
    """

    def __init__(self, prepared: Prepared) -> None:
        self._prepared = prepared
        self._reference: dict[str, float] | None = None

    def predict(self, part: str, processes: Processes = SINGLE) -> Predictions:
        """Return the predictions of a part."""
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
        return to_evaluation(self.predict(part), self._prepared.tracks)

    @torch.no_grad()
    def score(self, part: str, predicted: Predictions) -> dict[str, float]:
        """Return a part's losses, computed on the part as a whole, and its metrics."""
        on_device = {name: values.to(self._prepared.device) for name, values in predicted.values.items()}
        objective = self._prepared.objective(on_device, predicted.targets, predicted.indices, predicted.series)
        losses = {name: float(loss) for name, loss in objective.items()}
        record = {f"{part}/loss": sum(losses.values())}
        evaluation = to_evaluation(predicted, self._prepared.tracks)
        for name, task in evaluation.tasks.items():
            if name in losses:
                record[f"{part}/{name}/loss"] = losses[name]
                names = (*EPOCH_METRICS[task.kind], *(SPREAD if task.spread else ()))
                record |= {f"{part}/{name}/{metric}": task.metric(metric) for metric in names}
        return record

    def validate(self) -> dict[str, float]:
        """Return the scores of the validation part, with several tasks their mean improvement too; else nothing."""
        if "val" not in self._prepared.batches:
            return {}
        prepared = self._prepared
        predicted = self.predict("val", prepared.processes)
        record = self.score("val", predicted)
        if len(prepared.tasks) > 1:
            if self._reference is None:
                train, tracks = prepared.split.parts["train"], prepared.tracks
                steps = {
                    name: np.concatenate([one.steps for index in train if (one := series[index]) is not None])
                    for name, series in tracks.series.items()
                }
                self._reference = mean_predictor_losses(
                    prepared.objective,
                    tracks.targets[train],
                    predicted.targets,
                    predicted.indices,
                    prepared.device,
                    predicted.series,
                    {name: float(np.nanmean(values)) for name, values in steps.items()},
                    {name: ratings[train] for name, ratings in tracks.listeners.items()},
                )
            record[MEAN_IMPROVEMENT] = mean_improvement(record, self._reference)
        return record
