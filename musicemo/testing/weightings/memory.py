"""Checks of random numbers, state and records."""

from __future__ import annotations

import io
import math

import torch

from musicemo.testing._contract import require
from musicemo.testing.weightings.toy import TASKS, Make, Toy
from musicemo.training.randomness import random_state, restore_random_state, seed_everything

__all__ = ["check_chance", "check_record", "check_resumption"]


def check_chance(make: Make) -> None:
    """Check the declared use of random numbers, which must be reproducible with a seed."""
    toy, before = Toy(make()), torch.get_rng_state()
    toy.step()
    drawn = not torch.equal(before, torch.get_rng_state())
    require(
        toy.weighting.stochastic or not drawn,
        "it draws random numbers, though its class has stochastic = False",
    )
    found = []
    for _ in range(2):
        seed_everything(2)
        found.append(Toy(make()).direction())
    require(torch.equal(*found), "the same step differs under one seed")


def check_resumption(make: Make) -> None:
    """Check that continuing from a saved state changes nothing."""
    toy = Toy(make())
    for _ in range(3):
        toy.step()
    toy.epoch()
    toy.step()
    toy.epoch()
    file = io.BytesIO()
    torch.save(toy.weighting.state_dict(), file)
    file.seek(0)
    again = Toy(make())
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


def check_record(make: Make) -> None:
    """Check the recorded values."""
    toy = Toy(make())
    toy.step()
    told = toy.weighting.scalars()
    for name, value in told.items():
        group, slash, task = name.partition("/")
        require(
            isinstance(value, float) and math.isfinite(value), f"{name} is {value!r}; it records finite numbers"
        )
        require(
            group != "weight" or (slash and task in TASKS),
            f"it records {name!r}; a weight is recorded as weight/<task>",
        )
