"""The network, as it is now, on the parts of a run."""

from __future__ import annotations

from collections.abc import Mapping

import numpy as np
import torch
from numpy.typing import NDArray
from torch import Tensor

from musicemo.data import Batches
from musicemo.evaluation import Evaluation
from musicemo.training.evaluate import collect_predictions, to_evaluation
from musicemo.training.objective import Objective
from musicemo.training.run import Run
from musicemo.training.selection import MEAN_IMPROVEMENT, mean_improvement, mean_predictor_losses

__all__ = ["Scorer"]


class Scorer:
    """Predicts the parts of a run, and scores what was predicted.

    Args:
        run: the run.
        objective: each task's loss.
        parts: the batches of each part.
        precision: of the forward pass, as in the table ``[training]``.
    """

    def __init__(self, run: Run, objective: Objective, parts: Mapping[str, Batches], precision: str) -> None:
        self._run = run
        self._objective = objective
        self._parts = parts
        self._precision = precision
        self._reference: dict[str, float] | None = None

    def predict(self, part: str) -> tuple[dict[str, Tensor], Tensor, NDArray[np.intp]]:
        """Return task -> predictions, targets `[tracks, tasks]` and track indices of a part."""
        run = self._run
        return collect_predictions(run.network, self._parts[part], run.tasks, run.device, self._precision)

    def evaluate(self, part: str) -> Evaluation:
        """Evaluate the network on a part."""
        predictions, targets, indices = self.predict(part)
        ids = self._run.tracks.ids
        return to_evaluation(predictions, targets, [ids[index] for index in indices], self._run.tasks)

    @torch.no_grad()
    def score(self, part: str, predictions: Mapping[str, Tensor], targets: Tensor) -> dict[str, float]:
        """Return a part's losses, computed on the part as a whole, and its metrics."""
        on_device = {name: prediction.to(self._run.device) for name, prediction in predictions.items()}
        losses = {name: float(loss) for name, loss in self._objective(on_device, targets).items()}
        record = {f"{part}/loss": sum(losses.values())}
        evaluation = to_evaluation(predictions, targets, [""] * len(targets), self._run.tasks)
        for name, task in evaluation.tasks.items():
            if name in losses:
                record[f"{part}/{name}/loss"] = losses[name]
                metrics = task.metrics()
                record |= {f"{part}/{name}/{metric}": metrics[metric] for metric in task.names}
        return record

    def validate(self) -> dict[str, float]:
        """Return the scores of the validation part, with several tasks their mean improvement too; else nothing."""
        if "val" not in self._parts:
            return {}
        run = self._run
        predictions, targets, _ = self.predict("val")
        record = self.score("val", predictions, targets)
        if len(run.tasks) > 1:
            if self._reference is None:
                labels = run.tracks.targets[run.split.parts["train"]]
                self._reference = mean_predictor_losses(self._objective, labels, targets, run.device)
            record[MEAN_IMPROVEMENT] = mean_improvement(record, self._reference)
        return record
