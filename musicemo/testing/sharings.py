"""Contract of sharing architectures."""

from __future__ import annotations

import io
from collections.abc import Callable, Mapping, Sequence
from typing import Any

import torch
from torch import Tensor

from musicemo.contracts import Sharing
from musicemo.messages import muted
from musicemo.testing._contract import (
    Contract,
    built,
    check_pickle,
    check_tensors,
    difference,
    require,
    same,
)

__all__ = ["check_sharing"]

_SIZE = 6
_TOLERANCE = 1e-5
"""Of representations that are computed in another order."""


def check_sharing(
    sharing: Any,
    parameters: Mapping[str, Any] | None = None,
    *,
    tasks: Sequence[str] = ("valence", "pop", "genre"),
) -> None:
    """Check that a sharing architecture meets `musicemo.contracts.Sharing`.

    Parameters are unchanged after conversion to TOML and back. There is a representation `[..., size]` of every
    task, of embeddings of tracks and of time steps, also for a single task. It is finite, the same for single
    tracks and in a batch, deterministic in evaluation mode, and depends on the embedding. Each parameter is
    used by some task, and `users` names the tasks that use it. The state is saved and restored strictly,
    without executing code, and parameters of single tasks have the names of their tasks. The architecture can
    be pickled, and its tensors follow it to a device.

    Args:
        sharing: the class, a function that returns an architecture, or the installed name.
        parameters: its TOML table, without ``type``.
        tasks: the names of the tasks.

    Raises:
        ContractError: with one sentence for each violated clause.
        InputError: no sharing architecture of this name is installed.
    """
    __tracebackhide__ = True
    with Contract("sharing", sharing, parameters) as contract, muted():
        component = contract.configured()

        def make(seed: int = 0, names: Sequence[str] = tasks) -> Sharing:
            module: Sharing = built(contract, component, seed, tasks=list(names), embedding_size=_SIZE)
            return module

        _check(contract, make, tasks)


def _check(contract: Contract, make: Callable[..., Sharing], tasks: Sequence[str]) -> None:
    with contract.clause("construction", "constructing it", essential=True):
        module = make()
        size = getattr(module, "size", None)
        require(
            isinstance(size, int) and not isinstance(size, bool) and size > 0,
            f"its size is {size!r}; it must be an integer above 0, the size of the representations",
        )
    for shape in ((5, _SIZE), (5, 7, _SIZE)):
        for names in (tasks, tasks[:1]):
            doing = f"representing embeddings {list(shape)} for {len(names)} tasks"
            with contract.clause("shape", doing, essential=True):
                represented = make(0, names)(_embedding(shape))
                require(
                    isinstance(represented, dict) and list(represented) == list(names),
                    f"it returns {_keys(represented)}; it must return the representation of each of {list(names)}",
                )
                for task, one in represented.items():
                    expected = [*shape[:-1], size]
                    require(
                        isinstance(one, Tensor) and list(one.shape) == expected,
                        f"the representation of {task!r} has shape {list(getattr(one, 'shape', ()))}; it must be "
                        f"[..., size], here {expected}",
                    )
    _check_evaluation(contract, make().eval(), tasks)
    _check_training(contract, make)
    _check_state(contract, make, tasks)
    check_tensors(contract, module)


def _check_evaluation(contract: Contract, module: Sharing, tasks: Sequence[str]) -> None:
    embedding = _embedding((5, 7, _SIZE))
    with contract.clause("finite", "representing zeros"), torch.no_grad():
        for value in (embedding, torch.zeros_like(embedding)):
            for task, one in module(value).items():
                require(
                    one.isfinite().all(), f"the representation of {task!r} is not finite for a finite embedding"
                )
    with contract.clause("evaluation", "representing a batch twice"), torch.no_grad():
        kept = embedding.clone()
        first, second = module(embedding), module(embedding)
        require(torch.equal(embedding, kept), "it changes its input in place")
        for task in tasks:
            require(
                same(first[task], second[task]),
                f"the representation of {task!r} differs between two calls in evaluation mode (is dropout on?)",
            )
    with contract.clause("rows", "representing single tracks and steps"), torch.no_grad():
        for task, one in module(embedding).items():
            for place in (slice(1, 2), (slice(1, 2), slice(3, 4))):
                apart = difference(one[place], module(embedding[place])[task])
                require(
                    apart <= _TOLERANCE * max(1.0, float(one.abs().max())),
                    f"the representation of {task!r} depends on other rows of the embedding, by {apart:.2g}",
                )
    with contract.clause("gradients", "differentiating the representations"):
        for task in tasks:
            leaf = embedding.clone().requires_grad_()
            module(leaf)[task].square().sum().backward()
            require(
                leaf.grad is not None and leaf.grad.isfinite().all() and leaf.grad.any(),
                f"the representation of {task!r} does not depend on the embedding, or its gradient is not finite",
            )


def _check_training(contract: Contract, make: Callable[..., Sharing]) -> None:
    with contract.clause("users", "differentiating the representations of each task"):
        module = make(3).train()
        declared = module.users()
        parameters = {name: one for name, one in module.named_parameters() if one.requires_grad}
        require(
            declared.keys() == parameters.keys(),
            "users must name each trained parameter; it differs in "
            f"{sorted(declared.keys() ^ parameters.keys())}",
        )
        reached: dict[str, list[str]] = {name: [] for name in parameters}
        for task, one in module(_embedding((5, _SIZE))).items():
            if parameters and one.requires_grad:
                gradients = torch.autograd.grad(
                    one.square().sum(), list(parameters.values()), retain_graph=True, allow_unused=True
                )
                for name, gradient in zip(parameters, gradients, strict=True):
                    reached[name] += [task] * (gradient is not None)
        for name, names in reached.items():
            require(names, f"no task uses the parameter {name!r}")
            require(
                set(names) <= set(declared[name]),
                f"the parameter {name!r} is used by {', '.join(names)}, and users names "
                f"{', '.join(declared[name]) or 'no task'}",
            )


def _check_state(contract: Contract, make: Callable[..., Sharing], tasks: Sequence[str]) -> None:
    module, embedding = make().eval(), _embedding((5, _SIZE))
    with contract.clause("state", "restoring its state_dict"), torch.no_grad():
        file = io.BytesIO()
        torch.save(module.state_dict(), file)
        file.seek(0)
        other = make(1).eval()
        other.load_state_dict(torch.load(file, weights_only=True), strict=True)
        expected, restored = module(embedding), other(embedding)
        for task in tasks:
            require(
                same(expected[task], restored[task]),
                "another one with its state_dict has other representations; all that is learned is in the state_dict",
            )
    with contract.clause("names", "comparing the state_dicts of several tasks and of one"):
        for name, users in module.users().items():
            if len(users) == 1:
                require(
                    set(users) & set(name.split(".")),
                    f"only {users[0]!r} uses the parameter {name!r}; its name must contain the task, so that a "
                    "transfer to other tasks finds it: keep modules of tasks in TaskModules",
                )
    arrived = check_pickle(contract, module)
    if arrived is not None:
        with contract.clause("pickle", "representing after pickling"), torch.no_grad():
            represented, again = module(embedding), arrived(embedding)
            require(
                all(same(represented[task], again[task]) for task in tasks),
                "once pickled it has other representations",
            )


def _keys(represented: object) -> str:
    return f"{list(represented)}" if isinstance(represented, dict) else type(represented).__name__


def _embedding(shape: Sequence[int]) -> Tensor:
    return torch.randn(*shape, generator=torch.Generator().manual_seed(0))
