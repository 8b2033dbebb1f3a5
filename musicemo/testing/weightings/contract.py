"""The contract of weightings."""

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
