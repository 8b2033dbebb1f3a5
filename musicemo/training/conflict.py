"""What the tasks' gradients on the shared parameters do to one another, measured every so many steps."""

from __future__ import annotations

import itertools
from collections.abc import Mapping, Sequence
from typing import Any

import torch
from torch import Tensor

from musicemo.contracts import Step
from musicemo.contracts.gradients import TaskGradients

__all__ = ["GradientConflict"]


class GradientConflict:
    """Norms of the tasks' gradients and their cosines, pair by pair, over an epoch and over the run.

    Two tasks conflict in a step where their cosine is negative. A measured step costs a backward pass through the
    backbone per task. It changes nothing: it draws no random number and touches no ``.grad``.

    Args:
        tasks: their names, in the experiment's order.
        every: measure the first of so many steps, counted over the whole run.
    """

    def __init__(self, tasks: Sequence[str], every: int) -> None:
        self.tasks = tuple(tasks)
        self.every = every
        self._run, self._epoch = (_Totals(len(self.tasks)) for _ in range(2))

    def due(self, step: int) -> bool:
        """Tell whether a step, counted from 0, is measured."""
        return step % self.every == 0

    def measure(self, losses: Mapping[str, Tensor], step: Step) -> None:
        """Take in a step's gradients, before its backward pass; not of a backbone that is frozen, or of an overflow."""
        rows = TaskGradients(losses, step.embedding, step.shared, None, step.scale, step.sharing).rows
        if not rows.numel():
            return
        gramian = (rows @ rows.T).double().cpu()
        if gramian.isfinite().all():
            self._epoch.add([self.tasks.index(task) for task in losses], gramian)

    def finish_epoch(self) -> dict[str, float]:
        """Return the epoch's record, nothing if no step of it was measured, and begin the next.

        ``gradient/<task>/norm`` and ``gradient/<a>:<b>/cosine`` are means over the steps in which the tasks had a
        gradient; ``gradient/conflict`` is the share of steps with a negative cosine.
        """
        totals = self._epoch
        self._run = self._run + totals
        self._epoch = _Totals(len(self.tasks))
        if not totals.steps:
            return {}
        record = {f"gradient/{task}/norm": norm for task, norm in self._norms(totals).items()}
        for (a, b), (cosine, _) in self._pairs(totals).items():
            record[f"gradient/{a}:{b}/cosine"] = cosine
        return record | {"gradient/conflict": totals.conflicting / totals.steps}

    def summary(self) -> dict[str, Any]:
        """Return what ``results.json`` says of the whole run.

        ``steps`` were measured, one in ``every``; ``conflict`` is the share of them in which any two tasks conflict,
        ``conflicts[a][b]`` that in which these two do; ``norms[task]`` and ``cosines[a][b]`` are means.
        """
        totals = self._run
        cosines: dict[str, dict[str, float]] = {}
        conflicts: dict[str, dict[str, float]] = {}
        for (a, b), (cosine, share) in self._pairs(totals).items():
            for one, other in ((a, b), (b, a)):
                cosines.setdefault(one, {})[other] = cosine
                conflicts.setdefault(one, {})[other] = share
        return {
            "every": self.every,
            "steps": totals.steps,
            "conflict": totals.conflicting / totals.steps if totals.steps else None,
            "norms": self._norms(totals),
            "cosines": cosines,
            "conflicts": conflicts,
        }

    def state_dict(self) -> dict[str, Any]:
        """Return what was measured in the epochs so far."""
        return vars(self._run).copy()

    def load_state_dict(self, state: Mapping[str, Any]) -> None:
        """Continue from a state.

        Raises:
            KeyError: it lacks something.
            ValueError: it is of another number of tasks.
        """
        totals = _Totals(len(self.tasks))
        for name, empty in vars(totals).items():
            if getattr(state[name], "shape", None) != getattr(empty, "shape", None):
                raise ValueError(f"{name} is not of {len(self.tasks)} tasks")
            setattr(totals, name, state[name])
        self._run = totals

    def _norms(self, epoch_totals: _Totals) -> dict[str, float]:
        totals = zip(self.tasks, epoch_totals.norms.tolist(), epoch_totals.present.tolist(), strict=True)
        return {task: norm / steps for task, norm, steps in totals if steps}

    def _pairs(self, totals: _Totals) -> dict[tuple[str, str], tuple[float, float]]:
        """Return each pair's mean cosine and share of conflicts."""
        pairs = {}
        for i, j in itertools.combinations(range(len(self.tasks)), 2):
            if steps := int(totals.together[i, j]):
                values = float(totals.cosines[i, j]) / steps, int(totals.opposed[i, j]) / steps
                pairs[self.tasks[i], self.tasks[j]] = values
        return pairs


class _Totals:
    """Sums over steps: of norms `[tasks]`, of cosines and conflicts `[tasks, tasks]`, and of how often each was."""

    def __init__(self, tasks: int) -> None:
        self.steps, self.conflicting = 0, 0
        self.norms = torch.zeros(tasks, dtype=torch.float64)
        self.present = torch.zeros(tasks, dtype=torch.int64)
        self.cosines = torch.zeros(tasks, tasks, dtype=torch.float64)
        self.together = torch.zeros(tasks, tasks, dtype=torch.int64)
        self.opposed = torch.zeros(tasks, tasks, dtype=torch.int64)

    def __add__(self, other: _Totals) -> _Totals:
        total = _Totals(len(self.norms))
        vars(total).update({name: value + vars(other)[name] for name, value in vars(self).items()})
        return total

    def add(self, where: list[int], gramian: Tensor) -> None:
        """Take in the Gramian `[n, n]` of n tasks' gradients; a gradient of zero has a norm and no cosine."""
        norms = gramian.diagonal().sqrt()
        lengths = norms[:, None] * norms[None, :]
        defined = (lengths > 0).fill_diagonal_(False)
        cosines = torch.where(defined, gramian / lengths, 0.0).clamp(-1, 1)
        opposed = defined & (gramian < 0)
        pairs = torch.tensor(where)[:, None], torch.tensor(where)[None, :]
        self.steps += 1
        self.conflicting += int(opposed.any())
        self.norms[where] += norms
        self.present[where] += 1
        self.cosines[pairs] += cosines
        self.together[pairs] += defined
        self.opposed[pairs] += opposed
