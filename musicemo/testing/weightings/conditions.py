"""Checks of steps under special conditions."""

from __future__ import annotations

import math

import torch

from musicemo.testing._contract import difference, require
from musicemo.testing.weightings.toy import START, TASKS, Make, Toy
from musicemo.training.randomness import seed_everything

__all__ = ["check_frozen", "check_missing", "check_precision", "check_zero"]


def check_missing(make: Make) -> None:
    """Check steps without some tasks, as in batches without their labels."""
    toy = Toy(make())
    for number, tasks in enumerate([TASKS[1:], TASKS, TASKS[:1], (TASKS[2], TASKS[0]), TASKS[1:2], TASKS]):
        toy.step(tasks=tasks)
        require(
            toy.shared.isfinite().all(), f"after batches without some tasks' labels ({number + 1}) it is lost"
        )
        for task in set(TASKS) - set(tasks):
            gradient = toy.heads[task].grad
            require(gradient is None or gradient == 0, f"the head of {task!r} is trained without a label")
    toy.weighting.epoch_finished({TASKS[0]: 1.0})
    toy.weighting.epoch_finished({TASKS[1]: 1.0})
    toy.step()
    require(toy.shared.isfinite().all(), "after an epoch without any label of a task it is lost")


def check_zero(make: Make) -> None:
    """Check steps whose gradients and losses are zero."""
    toy = Toy(make())
    with torch.no_grad():
        toy.shared.copy_(toy.optima[TASKS[1]])
    for _ in range(2):
        toy.direction()
    toy = Toy(make(), torch.tensor([START] * len(TASKS), dtype=torch.float64))
    require(not toy.direction().any(), "where every task's gradient is zero the shared parameters move")
    toy.shift = 0.0
    with torch.no_grad():
        for head in toy.heads.values():
            head.fill_(1.0)
    toy.direction()
    toy.step()
    require(toy.shared.isfinite().all(), "losses of zero are not survived")


def check_frozen(make: Make) -> None:
    """Check steps without shared parameters."""
    toy = Toy(make())
    toy.frozen = True
    for _ in range(2):
        toy.step()
    heads = torch.stack([head.detach() for head in toy.heads.values()])
    require(
        heads.isfinite().all() and (heads != 2.0).any(),
        "with a frozen backbone the heads are not trained any more",
    )


def check_precision(make: Make) -> None:
    """Check steps with scaled losses, as in mixed precision, up to an overflow."""
    found = []
    for factor in (1.0, 1024.0):
        toy = Toy(make())
        toy.factor = factor
        for _ in range(3):
            seed_everything(4)
            toy.step()
        own = [parameter.detach().flatten() for parameter in toy.weighting.parameters()]
        heads = [head.detach().flatten() for head in toy.heads.values()]
        found.append(torch.cat([toy.shared.detach().flatten(), *heads, *own]))
    require(
        difference(*found) < 1e-4,
        "mixed precision changes the steps: step.scale belongs to every gradient, and to nothing else",
    )
    toy.factor = math.inf
    toy.backward()
    require(
        toy.shared.grad is not None and not toy.shared.grad.isfinite().all(),
        "an overflow of mixed precision is hidden, so that the step would be taken; a gradient must tell",
    )
