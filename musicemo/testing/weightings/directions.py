"""Checks of the update direction."""

from __future__ import annotations

import itertools
from collections.abc import Sequence

import torch
from torch import Tensor

from musicemo.errors import InputError
from musicemo.testing._contract import difference, require
from musicemo.testing.weightings.toy import ON_A_LINE, TASKS, Make, Toy
from musicemo.training.randomness import seed_everything

__all__ = [
    "check_conflict",
    "check_front",
    "check_one_task",
    "check_order",
    "check_scale",
    "check_sign",
    "check_step",
]

_STEPS, _RATE, _DECAY = 80, 0.5, 0.95
_DRAWS = 200


def check_step(make: Make) -> None:
    """Check that a step gives gradients to the shared parameters and to each head."""
    toy = Toy(make())
    toy.direction()
    found = [head.grad for head in toy.heads.values()]
    for task, gradient in zip(toy.heads, found, strict=True):
        require(
            gradient is not None and gradient.isfinite().all(),
            f"the head of {task!r} has the gradient {gradient}; each head is trained for its own task",
        )
    require(any(found), "no head gets a gradient; each is trained for its own task")


def check_front(make: Make) -> None:
    """Check that a descent between two optima on a line reaches the Pareto set, which lies between them."""
    toy = Toy(make(), ON_A_LINE)
    farthest = 0.0
    for number in range(_STEPS):
        toy.step(_RATE * _DECAY**number)
        if number % 10 == 9:
            toy.epoch()
        require(toy.shared.isfinite().all(), f"after {number + 1} steps the parameters are not finite")
        beyond = (toy.shared[0, :1].abs() - 1).clamp_min(0)
        farthest = float(torch.cat([beyond, toy.shared[0, 1:]]).detach().norm())
    require(
        farthest < 0.05,
        f"after {_STEPS} steps of gradient descent on quadratic losses it is {farthest:.3g} away from their Pareto "
        "front, which began 1.5 away",
    )


def check_scale(make: Make) -> None:
    """Check the declared effect of multiplying a loss by a constant."""
    seed_everything(1)
    plain = Toy(make()).direction()
    least, worst = 1.0, ""
    for task, scale in itertools.product(TASKS, (0.3, 3.0)):
        seed_everything(1)
        cosine = _cosine(plain, Toy(make(), scales={task: scale}).direction())
        if cosine < least:
            least, worst = cosine, f"{task!r} times {scale:g}"
    declared = make().scale_invariant
    require(
        not declared or least > 0.995,
        f"with the loss of {worst} the shared parameters go another way (cosine {least:.3f}), though its class has "
        "scale_invariant = True",
    )
    require(
        declared or least < 0.9999,
        "the shared parameters go the same way whatever a task's scale, though its class has scale_invariant = False",
    )


def check_conflict(make: Make) -> None:
    """Check a step with one loss five times as large as the others, so that the sum of the gradients opposes a task."""
    for loud in TASKS[:2]:
        toy = Toy(make(), scales={loud: 5.0})
        rows, way = toy.gradients(), toy.direction()
        require((rows @ rows.sum(dim=0)).min() < 0, "the plain sum opposes no task in this check itself")
        worst = float((rows @ way / rows.norm(dim=1)).min() / way.norm())
        require(
            not toy.weighting.conflict_free or worst > -1e-2,
            f"a step opposes a task (cosine {worst:.3g}), though its class has conflict_free = True",
        )


def check_sign(make: Make) -> None:
    """Check the declared treatment of negative losses."""
    toy = Toy(make())
    toy.shift = -30.0
    if not toy.weighting.positive_losses:
        toy.direction()
        return
    try:
        toy.step()
        toy.epoch()
    except InputError as error:
        require(
            any(task in str(error) for task in TASKS),
            f"the error about a negative loss names no task: {error}",
        )
        return
    require(False, "a negative loss is accepted, though its class has positive_losses = True")


def check_order(make: Make) -> None:
    """Check that the order of the tasks has no effect."""

    def steps(tasks: Sequence[str]) -> tuple[Tensor, dict[str, float]]:
        toy = Toy(make(tasks))
        stochastic = toy.weighting.stochastic
        found = []
        for number in range(_DRAWS if stochastic else 4):
            if not stochastic:
                toy.step()
            found.append(toy.direction() if stochastic else toy.shared.detach().flatten().clone())
            if number == 1:
                toy.epoch()
        return torch.stack(found).mean(dim=0), toy.weighting.scalars()

    (way, weights), (other_way, other_weights) = steps(TASKS), steps(TASKS[::-1])
    tolerance = 0.1 if make().stochastic else 1e-3
    require(
        difference(way, other_way) <= tolerance * max(1.0, float(way.abs().max())),
        "tasks in another order move the shared parameters elsewhere",
    )
    require(weights.keys() == other_weights.keys(), "tasks in another order have other names recorded")
    for name, value in weights.items():
        require(
            abs(value - other_weights[name]) <= tolerance * max(1.0, abs(value)),
            f"{name} is {value:.4g}, and {other_weights[name]:.4g} with the tasks in another order",
        )


def check_one_task(make: Make) -> None:
    """Check that the update for a single task is its gradient."""
    try:
        weighting = make(TASKS[:1])
    except Exception:  # a weighting may say that it needs more tasks
        return
    toy = Toy(weighting)
    for _ in range(3):
        cosine = _cosine(toy.gradients()[0], toy.direction())
        require(cosine > 0.999, f"with one task the way has a cosine of {cosine:.3f} with its gradient")
        toy.step()


def _cosine(a: Tensor, b: Tensor) -> float:
    return float(torch.nn.functional.cosine_similarity(a, b, dim=0))
