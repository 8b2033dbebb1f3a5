"""Steps of a weighting on given gradients and losses, and what torchjd makes of the same."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any

import torch
from torch import Tensor, nn

from musicemo.contracts import Step, Weighting

TASKS = ("valence", "energy", "danceability")


def gradients(steps: int = 4, tasks: int = 3, parameters: int = 6, seed: int = 0) -> Tensor:
    """Return gradients `[steps, tasks, parameters]`, the first two tasks' in conflict."""
    found = torch.randn(steps, tasks, parameters, generator=torch.Generator().manual_seed(seed))
    if tasks > 1:
        found[:, 1] -= 1.2 * found[:, 0]
    return found.double()


def follow(weighting: Weighting, rows: Tensor, tasks: Sequence[str] | None = None) -> Tensor:
    """Take a step in which the tasks have these gradients `[tasks, parameters]`; return the direction."""
    shared = nn.Parameter(torch.zeros(1, rows.shape[1], dtype=rows.dtype))
    embedding = shared * 1.0
    names = tasks or weighting.tasks
    losses = {name: 1.0 + (embedding * row).sum() for name, row in zip(names, rows, strict=True)}
    weighting.backward(losses, Step(embedding, [shared], {name: [] for name in names}, lambda loss: loss))
    weighting.step_finished({name: loss.detach() for name, loss in losses.items()})
    assert shared.grad is not None
    return shared.grad[0]


def assert_follows(
    weighting: Weighting, aggregator: Any, rows: Tensor | None = None, *, weights: bool = True
) -> None:
    """Check that some steps go where torchjd's aggregator leads, with the weights that it gives."""
    weighting.double()
    for step in gradients() if rows is None else rows:
        weighting.trace.clear()
        torch.manual_seed(1)
        direction = follow(weighting, step)
        torch.manual_seed(1)
        torch.testing.assert_close(direction, aggregator(step), rtol=1e-9, atol=1e-12)
        told = weighting.scalars()
        if not weights:
            assert not told
            continue
        combined = sum(told[f"weight/{task}"] * row for task, row in zip(TASKS, step, strict=True))
        torch.testing.assert_close(combined, direction, rtol=1e-9, atol=1e-12)


def combined(
    weighting: Weighting, *values: float, tasks: Sequence[str] | None = None
) -> tuple[float, list[float]]:
    """Return the objective of losses with these values and its derivative by each."""
    given = torch.tensor(values, dtype=torch.float64, requires_grad=True)
    names = tasks or weighting.tasks
    objective = weighting.double().combine(dict(zip(names, given, strict=True)))
    (derivatives,) = torch.autograd.grad(objective, given)
    return objective.item(), derivatives.tolist()
