"""Tasks with a known Pareto front."""

from __future__ import annotations

from collections.abc import Callable, Mapping, Sequence

import torch
from torch import Tensor, nn

from musicemo.contracts import Step, Weighting
from musicemo.testing._contract import require

__all__ = ["ON_A_LINE", "START", "TASKS", "Make", "Toy"]

TASKS = ("valence", "energy", "genre")

#: Each task's optimum on a line: the Pareto set is what lies between the outer two, where nothing else differs.
ON_A_LINE = torch.tensor([[-1.0, 0, 0, 0], [0.3, 0, 0, 0], [1.0, 0, 0, 0]], dtype=torch.float64)
START = (0.5, 1.0, -1.0, 0.5)

#: Optima in general position, so that the tasks' gradients are independent; seen from the start, two conflict.
_APART = torch.tensor(
    [[3.0, 0.5, 0.2, 0.4], [-1.5, 0.8, -0.3, 0.1], [0.2, -2.0, 0.6, 1.0]], dtype=torch.float64
)

#: What constructs the weighting, for some of the tasks.
Make = Callable[..., Weighting]


class Toy:
    """Three quadratic losses of shared parameters, with one head each; 0.1 is added so that all are positive."""

    def __init__(
        self, weighting: Weighting, optima: Tensor = _APART, scales: Mapping[str, float] | None = None
    ) -> None:
        self.weighting = weighting
        self.optima = dict(zip(TASKS, optima, strict=True))
        self.scales = dict.fromkeys(TASKS, 1.0) | dict(scales or {})
        self.shared = nn.Parameter(torch.tensor([START], dtype=torch.float64))
        self.heads = {task: nn.Parameter(torch.tensor(2.0, dtype=torch.float64)) for task in weighting.tasks}
        self.shift = 0.1
        self.frozen = False
        self.factor = 1.0

    def forward(self, tasks: Sequence[str]) -> tuple[Tensor, dict[str, Tensor]]:
        """Return the embedding and the losses."""
        embedding = self.shared.detach() if self.frozen else self.shared * 1.0
        losses = {}
        for task in tasks:
            away = (embedding - self.optima[task]).square().sum() + (self.heads[task] - 1).square()
            losses[task] = self.scales[task] * (away / 2 + self.shift)
        return embedding, losses

    def backward(self, tasks: Sequence[str] | None = None) -> dict[str, Tensor]:
        """Compute every gradient anew and return the losses."""
        for parameter in [self.shared, *self.heads.values(), *self.weighting.parameters()]:
            parameter.grad = None
        embedding, losses = self.forward(tasks or self.weighting.tasks)
        heads = {task: [head] for task, head in self.heads.items()}
        shared = [] if self.frozen else [self.shared]
        objective = self.weighting.backward(losses, Step(embedding, shared, heads, lambda x: x * self.factor))
        require(
            isinstance(objective, Tensor) and objective.dim() == 0,
            "backward does not return the objective, a scalar tensor",
        )
        return losses

    def step(self, rate: float = 0.1, tasks: Sequence[str] | None = None) -> None:
        """Take a step of gradient descent."""
        losses = self.backward(tasks)
        with torch.no_grad():
            for parameter in [self.shared, *self.heads.values(), *self.weighting.parameters()]:
                if parameter.requires_grad and parameter.grad is not None:
                    parameter.sub_(rate * parameter.grad / self.factor)
            if self.weighting.remeasures:
                _, losses = self.forward(tuple(losses))
            self.weighting.step_finished({task: loss.detach() for task, loss in losses.items()})

    def epoch(self) -> None:
        """End an epoch."""
        with torch.no_grad():
            _, losses = self.forward(self.weighting.tasks)
            self.weighting.epoch_finished({task: float(loss) for task, loss in losses.items()})

    def direction(self) -> Tensor:
        """Return the gradient of the shared parameters `[4]` from the weighting."""
        self.backward()
        require(self.shared.grad is not None, "the shared parameters get no gradient")
        found: Tensor = self.shared.grad.flatten().clone()  # type: ignore[union-attr]
        require(found.isfinite().all(), f"the shared parameters' gradient is {found.tolist()}")
        return found

    def gradients(self) -> Tensor:
        """Return each task's gradient on the shared parameters `[tasks, 4]`."""
        _, losses = self.forward(self.weighting.tasks)
        rows = [
            torch.autograd.grad(loss, self.shared, retain_graph=True)[0].flatten() for loss in losses.values()
        ]
        return torch.stack(rows)
