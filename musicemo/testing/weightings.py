"""Check that a weighting meets its contract, on quadratic losses whose Pareto front is known."""

from __future__ import annotations

import io
import itertools
import math
from collections.abc import Callable, Mapping, Sequence
from typing import Any

import torch
from torch import Tensor, nn

from musicemo.contracts import Step, Weighting
from musicemo.errors import InputError
from musicemo.messages import muted
from musicemo.testing._contract import Contract, built, check_tensors, difference, require
from musicemo.training.randomness import random_state, restore_random_state, seed_everything

__all__ = ["check_weighting"]


_TASKS = ("valence", "energy", "genre")

#: Each task's optimum on a line: the Pareto set is what lies between the outer two, where nothing else differs.
_ON_A_LINE = torch.tensor([[-1.0, 0, 0, 0], [0.3, 0, 0, 0], [1.0, 0, 0, 0]], dtype=torch.float64)
_START = (0.5, 1.0, -1.0, 0.5)

#: Optima in general position, so that the tasks' gradients are independent; seen from the start, two conflict.
_APART = torch.tensor(
    [[3.0, 0.5, 0.2, 0.4], [-1.5, 0.8, -0.3, 0.1], [0.2, -2.0, 0.6, 1.0]], dtype=torch.float64
)

#: A descent: its steps, its first step size, and the factor of the step size after each step.
_STEPS, _RATE, _DECAY = 80, 0.5, 0.95
#: Draws that are averaged where a weighting is stochastic.
_DRAWS = 200

#: What constructs the weighting, for some of the tasks.
_Make = Callable[..., Weighting]


class _Toy:
    """Three quadratic losses of shared parameters, with one head each; 0.1 is added so that all are positive."""

    def __init__(
        self, weighting: Weighting, optima: Tensor = _APART, scales: Mapping[str, float] | None = None
    ) -> None:
        self.weighting = weighting
        self.optima = dict(zip(_TASKS, optima, strict=True))
        self.scales = dict.fromkeys(_TASKS, 1.0) | dict(scales or {})
        self.shared = nn.Parameter(torch.tensor([_START], dtype=torch.float64))
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
        gradient: Tensor = self.shared.grad.flatten().clone()  # type: ignore[union-attr]
        require(gradient.isfinite().all(), f"the shared parameters' gradient is {gradient.tolist()}")
        return gradient

    def gradients(self) -> Tensor:
        """Return each task's gradient on the shared parameters `[tasks, 4]`."""
        _, losses = self.forward(self.weighting.tasks)
        rows = [
            torch.autograd.grad(loss, self.shared, retain_graph=True)[0].flatten() for loss in losses.values()
        ]
        return torch.stack(rows)


def check_weighting(weighting: Any, parameters: Mapping[str, Any] | None = None) -> None:
    """Check that a weighting meets `musicemo.contracts.Weighting` and the properties that its class declares.

    Parameters are unchanged after conversion to TOML and back. On quadratic losses of two and three tasks, the
    weighting reaches the Pareto front. The scale of a task changes the update of the shared parameters unless
    `scale_invariant` is declared. With `conflict_free`, no step opposes a task. Negative losses raise
    `InputError` with `positive_losses`, and work otherwise. Random numbers are used only with `stochastic`, and
    are reproducible with a seed.

    The order of the tasks does not change their weights. With one task, the update is its gradient. A task
    without a label does not change its head. Zero gradients, gradients that are not finite, and a frozen
    backbone are handled. The loss scale of mixed precision is in every gradient. A run that is resumed from its
    `state_dict`, which is loaded without executing code, gives the same result to the bit. Recorded values are
    finite numbers, ``weight/<task>`` of existing tasks.

    Args:
        weighting: the class, a function that returns a weighting, or the installed name.
        parameters: its TOML table, without ``type``, for the tasks valence, energy and genre, or any of them.

    Raises:
        ContractError: with one sentence for each violated clause.
        InputError: no weighting of this name is installed.
    """
    __tracebackhide__ = True
    with Contract("weighting", weighting, parameters) as contract, muted():
        component = contract.configured()

        def make(tasks: Sequence[str] = _TASKS) -> Weighting:
            instance: Weighting = built(contract, component, tasks=list(tasks))
            return instance.double()

        with contract.clause("construction", "constructing it", essential=True):
            configured = built(contract, component, tasks=list(_TASKS))
        with contract.clause("step", "taking a step", essential=True):
            _check_step(make)
        checks: dict[str, Callable[[_Make], None]] = {
            "front": _check_front,
            "scale": _check_scale,
            "conflict": _check_conflict,
            "sign": _check_sign,
            "chance": _check_chance,
            "order": _check_order,
            "one task": _check_one_task,
            "missing labels": _check_missing,
            "zero gradients": _check_zero,
            "frozen backbone": _check_frozen,
            "mixed precision": _check_precision,
            "resumption": _check_resumption,
            "record": _check_record,
        }
        for name, check in checks.items():
            with contract.clause(name, "training with it"):
                seed_everything(0)
                check(make)
        check_tensors(contract, configured)


def _check_step(make: _Make) -> None:
    """Check that a step gives gradients to the shared parameters and to each head."""
    toy = _Toy(make())
    toy.direction()
    gradients = [head.grad for head in toy.heads.values()]
    for task, gradient in zip(toy.heads, gradients, strict=True):
        require(
            gradient is not None and gradient.isfinite().all(),
            f"the head of {task!r} has the gradient {gradient}; each head is trained for its own task",
        )
    require(any(gradients), "no head gets a gradient; each is trained for its own task")


def _check_front(make: _Make) -> None:
    """Check that a descent between two optima on a line reaches the Pareto set, which lies between them."""
    toy = _Toy(make(), _ON_A_LINE)
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


def _check_scale(make: _Make) -> None:
    """Check the declared effect of multiplying a loss by a constant."""
    seed_everything(1)
    plain = _Toy(make()).direction()
    least, worst = 1.0, ""
    for task, scale in itertools.product(_TASKS, (0.3, 3.0)):
        seed_everything(1)
        cosine = _cosine(plain, _Toy(make(), scales={task: scale}).direction())
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


def _check_conflict(make: _Make) -> None:
    """Check a step with one loss five times as large as the others, so that the sum of the gradients opposes a task."""
    for loud in _TASKS[:2]:
        toy = _Toy(make(), scales={loud: 5.0})
        rows, direction = toy.gradients(), toy.direction()
        require((rows @ rows.sum(dim=0)).min() < 0, "the plain sum opposes no task in this check itself")
        worst = float((rows @ direction / rows.norm(dim=1)).min() / direction.norm())
        require(
            not toy.weighting.conflict_free or worst > -1e-2,
            f"a step opposes a task (cosine {worst:.3g}), though its class has conflict_free = True",
        )


def _check_sign(make: _Make) -> None:
    """Check the declared treatment of negative losses."""
    toy = _Toy(make())
    toy.shift = -30.0
    if not toy.weighting.positive_losses:
        toy.direction()
        return
    try:
        toy.step()
        toy.epoch()
    except InputError as error:
        require(
            any(task in str(error) for task in _TASKS),
            f"the error about a negative loss names no task: {error}",
        )
        return
    require(False, "a negative loss is accepted, though its class has positive_losses = True")


def _check_order(make: _Make) -> None:
    """Check that the order of the tasks has no effect."""

    def steps(tasks: Sequence[str]) -> tuple[Tensor, dict[str, float]]:
        toy = _Toy(make(tasks))
        stochastic = toy.weighting.stochastic
        results = []
        for number in range(_DRAWS if stochastic else 4):
            if not stochastic:
                toy.step()
            results.append(toy.direction() if stochastic else toy.shared.detach().flatten().clone())
            if number == 1:
                toy.epoch()
        return torch.stack(results).mean(dim=0), toy.weighting.scalars()

    (direction, weights), (other_direction, other_weights) = steps(_TASKS), steps(_TASKS[::-1])
    tolerance = 0.1 if make().stochastic else 1e-3
    require(
        difference(direction, other_direction) <= tolerance * max(1.0, float(direction.abs().max())),
        "tasks in another order move the shared parameters elsewhere",
    )
    require(weights.keys() == other_weights.keys(), "tasks in another order have other names recorded")
    for name, value in weights.items():
        require(
            abs(value - other_weights[name]) <= tolerance * max(1.0, abs(value)),
            f"{name} is {value:.4g}, and {other_weights[name]:.4g} with the tasks in another order",
        )


def _check_one_task(make: _Make) -> None:
    """Check that the update for a single task is its gradient."""
    try:
        weighting = make(_TASKS[:1])
    except Exception:  # a weighting may say that it needs more tasks
        return
    toy = _Toy(weighting)
    for _ in range(3):
        cosine = _cosine(toy.gradients()[0], toy.direction())
        require(cosine > 0.999, f"with one task the way has a cosine of {cosine:.3f} with its gradient")
        toy.step()


def _cosine(a: Tensor, b: Tensor) -> float:
    return float(torch.nn.functional.cosine_similarity(a, b, dim=0))


def _check_missing(make: _Make) -> None:
    """Check steps without some tasks, as in batches without their labels."""
    toy = _Toy(make())
    for number, tasks in enumerate(
        [_TASKS[1:], _TASKS, _TASKS[:1], (_TASKS[2], _TASKS[0]), _TASKS[1:2], _TASKS]
    ):
        toy.step(tasks=tasks)
        require(
            toy.shared.isfinite().all(), f"after batches without some tasks' labels ({number + 1}) it is lost"
        )
        for task in set(_TASKS) - set(tasks):
            gradient = toy.heads[task].grad
            require(gradient is None or gradient == 0, f"the head of {task!r} is trained without a label")
    toy.weighting.epoch_finished({_TASKS[0]: 1.0})
    toy.weighting.epoch_finished({_TASKS[1]: 1.0})
    toy.step()
    require(toy.shared.isfinite().all(), "after an epoch without any label of a task it is lost")


def _check_zero(make: _Make) -> None:
    """Check steps whose gradients and losses are zero."""
    toy = _Toy(make())
    with torch.no_grad():
        toy.shared.copy_(toy.optima[_TASKS[1]])
    for _ in range(2):
        toy.direction()
    toy = _Toy(make(), torch.tensor([_START] * len(_TASKS), dtype=torch.float64))
    require(not toy.direction().any(), "where every task's gradient is zero the shared parameters move")
    toy.shift = 0.0
    with torch.no_grad():
        for head in toy.heads.values():
            head.fill_(1.0)
    toy.direction()
    toy.step()
    require(toy.shared.isfinite().all(), "losses of zero are not survived")


def _check_frozen(make: _Make) -> None:
    """Check steps without shared parameters."""
    toy = _Toy(make())
    toy.frozen = True
    for _ in range(2):
        toy.step()
    heads = torch.stack([head.detach() for head in toy.heads.values()])
    require(
        heads.isfinite().all() and (heads != 2.0).any(),
        "with a frozen backbone the heads are not trained any more",
    )


def _check_precision(make: _Make) -> None:
    """Check steps with scaled losses, as in mixed precision, up to an overflow."""
    states = []
    for factor in (1.0, 1024.0):
        toy = _Toy(make())
        toy.factor = factor
        for _ in range(3):
            seed_everything(4)
            toy.step()
        parameters = [parameter.detach().flatten() for parameter in toy.weighting.parameters()]
        heads = [head.detach().flatten() for head in toy.heads.values()]
        states.append(torch.cat([toy.shared.detach().flatten(), *heads, *parameters]))
    require(
        difference(*states) < 1e-4,
        "mixed precision changes the steps: step.scale belongs to every gradient, and to nothing else",
    )
    toy.factor = math.inf
    toy.backward()
    require(
        toy.shared.grad is not None and not toy.shared.grad.isfinite().all(),
        "an overflow of mixed precision is hidden, so that the step would be taken; a gradient must tell",
    )


def _check_chance(make: _Make) -> None:
    """Check the declared use of random numbers, which must be reproducible with a seed."""
    toy, before = _Toy(make()), torch.get_rng_state()
    toy.step()
    drawn = not torch.equal(before, torch.get_rng_state())
    require(
        toy.weighting.stochastic or not drawn,
        "it draws random numbers, though its class has stochastic = False",
    )
    directions = []
    for _ in range(2):
        seed_everything(2)
        directions.append(_Toy(make()).direction())
    require(torch.equal(*directions), "the same step differs under one seed")


def _check_resumption(make: _Make) -> None:
    """Check that continuing from a saved state changes nothing."""
    toy = _Toy(make())
    for _ in range(3):
        toy.step()
    toy.epoch()
    toy.step()
    toy.epoch()
    file = io.BytesIO()
    torch.save(toy.weighting.state_dict(), file)
    file.seek(0)
    again = _Toy(make())
    again.weighting.load_state_dict(torch.load(file, weights_only=True), strict=True)
    with torch.no_grad():
        again.shared.copy_(toy.shared)
        for task, head in again.heads.items():
            head.copy_(toy.heads[task])
    state = random_state()
    for each in (toy, again):
        restore_random_state(state)
        each.weighting.trace.clear()
        for _ in range(4):
            each.step()
        each.epoch()
        each.step()
    require(
        torch.equal(toy.shared, again.shared) and toy.weighting.scalars() == again.weighting.scalars(),
        "a run that is resumed from its state_dict goes another way; all that it remembers belongs in there",
    )


def _check_record(make: _Make) -> None:
    """Check the recorded values."""
    toy = _Toy(make())
    toy.step()
    recorded = toy.weighting.scalars()
    for name, value in recorded.items():
        group, slash, task = name.partition("/")
        require(
            isinstance(value, float) and math.isfinite(value), f"{name} is {value!r}; it records finite numbers"
        )
        require(
            group != "weight" or (slash and task in _TASKS),
            f"it records {name!r}; a weight is recorded as weight/<task>",
        )
