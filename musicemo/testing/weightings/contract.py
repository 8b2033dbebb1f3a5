"""Every clause of the contract of a weighting."""

from __future__ import annotations

from collections.abc import Callable, Mapping, Sequence
from typing import Any

from musicemo.contracts import Weighting
from musicemo.testing._contract import Contract, built, check_tensors, quiet
from musicemo.testing.weightings import conditions, directions, memory
from musicemo.testing.weightings.toy import TASKS, Make
from musicemo.training.randomness import seed_everything

__all__ = ["check_weighting"]


def check_weighting(weighting: Any, parameters: Mapping[str, Any] | None = None) -> None:
    """Hold a weighting to `musicemo.contracts.Weighting`, and to what its class declares of itself.

    Its parameters come from TOML and go back to it. On quadratic losses of two and three tasks it reaches the
    Pareto front; a task's scale changes the way of the shared parameters, or does not, as declared by
    `scale_invariant`; no step opposes a task, if `conflict_free`; losses below zero are refused by an `InputError`,
    if `positive_losses`, and survived otherwise; chance is used if `stochastic` alone, and repeats under a seed.
    Tasks in another order have the same weights; with one task alone the way is its gradient's; a task without a
    label leaves its head alone; gradients that are zero, or not finite, and a backbone that is frozen are survived;
    mixed precision's scale is in every gradient. A run that is resumed from its `state_dict`, read back without
    executing anything, goes on to the bit. It records finite numbers, ``weight/<task>`` of tasks that there are.

    Args:
        weighting: the class, a function that makes one, or the name that it is installed under.
        parameters: its TOML table, without ``type``, for the tasks valence, energy and genre, or any of these alone.

    Raises:
        ContractError: with a sentence for every clause that is broken.
        InputError: nothing of that name is installed.
    """
    __tracebackhide__ = True
    with Contract("weighting", weighting, parameters) as contract, quiet():
        component = contract.configured()

        def make(tasks: Sequence[str] = TASKS) -> Weighting:
            found: Weighting = built(contract, component, tasks=list(tasks))
            return found.double()

        with contract.clause("construction", "constructing it", essential=True):
            made = built(contract, component, tasks=list(TASKS))
        with contract.clause("step", "taking a step", essential=True):
            directions.check_step(make)
        checks: dict[str, Callable[[Make], None]] = {
            "front": directions.check_front,
            "scale": directions.check_scale,
            "conflict": directions.check_conflict,
            "sign": directions.check_sign,
            "chance": memory.check_chance,
            "order": directions.check_order,
            "one task": directions.check_one_task,
            "missing labels": conditions.check_missing,
            "zero gradients": conditions.check_zero,
            "frozen backbone": conditions.check_frozen,
            "mixed precision": conditions.check_precision,
            "resumption": memory.check_resumption,
            "record": memory.check_record,
        }
        for name, check in checks.items():
            with contract.clause(name, "training with it"):
                seed_everything(0)
                check(make)
        check_tensors(contract, made)
