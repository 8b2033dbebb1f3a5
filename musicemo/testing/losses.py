"""Contract of losses."""

from __future__ import annotations

import math
from collections.abc import Callable, Iterator, Mapping
from typing import Any

import torch
from torch import Tensor, nn

from musicemo.components.spec import check_declared
from musicemo.contracts import kinds_of
from musicemo.messages import muted
from musicemo.testing._contract import (
    Contract,
    built,
    check_pickle,
    check_tensors,
    require,
    same,
    told,
)
from musicemo.training.randomness import seed_everything

__all__ = ["check_loss"]

_COUNTS = {"jazz": 9, "pop": 30, "rock": 1}
"""Classes of a task, and their training tracks."""

_TAG_COUNTS = {"happy": (12, 28), "film": (3, 30), "calm": (1, 39)}
"""Tags of a task, and the training tracks with and without each."""


def check_loss(loss: Any, parameters: Mapping[str, Any] | None = None) -> None:
    """Check that a loss meets `musicemo.contracts.Loss`.

    Parameters are unchanged after conversion to TOML and back. The loss declares its kind. It is a scalar,
    finite in value and gradient for ties, constant predictions, constant targets, far outliers and batches of
    one, and non-negative unless declared. It depends on the prediction. It is reproducible with a seed. It has
    no trained parameters and no state. It can be pickled, its tensors follow it to a device, and it does not
    change its input.

    Args:
        loss: the class, a function that returns a loss, or the installed name.
        parameters: its TOML table, without ``type`` and ``weight``.

    Raises:
        ContractError: with one sentence for each violated clause.
        InputError: no loss of this name is installed.
    """
    __tracebackhide__ = True
    with Contract("loss", loss, parameters) as contract, muted():
        component = contract.configured()
        with contract.clause("kind", "looking at its kind", essential=True), told():
            check_declared("loss", contract.name, contract.given)
        kinds = kinds_of(contract.given)
        with contract.clause("construction", "constructing it", essential=True):
            loss_module = built(
                contract,
                component,
                class_counts=_COUNTS if "classification" in kinds else {},
                tag_counts=_TAG_COUNTS if "tags" in kinds else {},
            )
        learned = getattr(loss_module, "distribution", None)
        for kind in kinds:
            examples = dict(_distributed(learned.outputs) if learned else _EXAMPLES[kind]())
            _check_values(contract, loss_module, examples)
            _check_repeats(contract, loss_module, *examples["random"])
        with contract.clause("state", "reading its state_dict"):
            learnt = [name for name, _ in loss_module.named_parameters()]
            require(
                not learnt,
                f"it has parameters ({', '.join(learnt)}); a loss is not trained: what learns is a weighting",
            )
            kept = sorted(loss_module.state_dict())
            require(
                not kept,
                f"it has {', '.join(kept)} in its state_dict; a loss is in no checkpoint: register its buffers with "
                "persistent=False",
            )
        check_pickle(contract, loss_module)
        check_tensors(contract, loss_module)


def _check_values(contract: Contract, loss: nn.Module, examples: Mapping[str, tuple[Tensor, Tensor]]) -> None:
    with contract.clause("scalar", "computing it", essential=True):
        for name, (prediction, target) in examples.items():
            value = loss(prediction, target)
            shape = list(value.shape) if isinstance(value, Tensor) else type(value).__name__
            require(
                isinstance(value, Tensor) and value.dim() == 0 and value.is_floating_point(),
                f"{name}: it returns {shape} for predictions {list(prediction.shape)}; a loss returns a scalar tensor",
            )
    with contract.clause("finite", "computing its gradient"):
        for name, example in examples.items():
            value, gradient = _differentiated(loss, *example)
            require(value.isfinite(), f"{name}: it is {value.item()}; a loss is finite for every finite input")
            require(gradient.isfinite().all(), f"{name}: its gradient is not finite, though its input is")
    with contract.clause("gradient", "computing its gradient"):
        _, gradient = _differentiated(loss, *examples["random"])
        require(
            gradient.any(), "its gradient is zero for random predictions, so that nothing can be learnt from it"
        )
    with contract.clause("sign", "computing it"):
        for name, (prediction, target) in examples.items():
            value = float(loss(prediction, target))
            require(
                not math.isfinite(value) or value >= -1e-6 or getattr(loss, "may_be_negative", False),
                f"{name}: it is {value:.3g}; a loss is not negative, unless its class has may_be_negative = True. "
                "Weightings that require positive losses then refuse it before anything is trained, "
                "instead of failing on the way",
            )
    tell: Any = getattr(loss, "diagnostics", None)
    if tell is not None:
        with contract.clause("diagnostics", "asking for its diagnostics"):
            diagnostics = tell(*examples["random"])
            require(
                isinstance(diagnostics, dict)
                and all(isinstance(value, float | int) for value in diagnostics.values()),
                f"its diagnostics are {diagnostics!r}; they are a dict of names to numbers",
            )


def _check_repeats(contract: Contract, loss: nn.Module, prediction: Tensor, target: Tensor) -> None:
    kept = prediction.clone(), target.clone()
    with contract.clause("seed", "computing it twice"):
        results = []
        for _ in range(2):
            seed_everything(3)
            results.append(_differentiated(loss, prediction, target))
        require(
            all(same(first, second) for first, second in zip(*results, strict=True)),
            "the same batch has two losses or gradients under one seed; chance comes from the generators of torch, "
            "numpy and random, which the core seeds",
        )
    with contract.clause("input", "computing it"):
        require(
            torch.equal(prediction, kept[0]) and torch.equal(target, kept[1]),
            "it changes its input in place; predictions and targets belong to the core",
        )


def _differentiated(loss: nn.Module, prediction: Tensor, target: Tensor) -> tuple[Tensor, Tensor]:
    """Return the loss and its gradient with respect to the prediction."""
    leaf = prediction.detach().requires_grad_()
    value = loss(leaf, target)
    require(
        value.requires_grad,
        "it cannot be differentiated: its value does not depend on the prediction in torch's graph",
    )
    (gradient,) = torch.autograd.grad(value, leaf, materialize_grads=True)
    return value.detach(), gradient


def _ratings() -> Iterator[tuple[str, tuple[Tensor, Tensor]]]:
    generator = torch.Generator().manual_seed(0)
    prediction, target = (torch.rand(32, generator=generator) for _ in range(2))
    constant, tied = torch.full((4,), 0.3), torch.tensor([0.0, 0.0, 1.0, 1.0])
    varied = torch.tensor([0.1, 0.4, 0.4, 0.9])
    yield "random", (prediction, target)
    yield "predictions that are right", (target.clone(), target)
    yield "constant predictions", (constant, varied)
    yield "constant targets", (varied, constant)
    yield "constant predictions of constant targets", (constant, constant.clone())
    yield "tied predictions", (tied, varied)
    yield "tied targets", (varied, tied)
    yield "far outliers", (varied * 1e4, varied)
    yield "predictions that hardly differ", (varied * 1e-20, varied)
    yield "a batch of one", (torch.tensor([0.7]), torch.tensor([0.2]))
    yield "a batch of one that is right", (torch.tensor([0.7]), torch.tensor([0.7]))


def _labels() -> Iterator[tuple[str, tuple[Tensor, Tensor]]]:
    generator = torch.Generator().manual_seed(0)
    classes = len(_COUNTS)
    target = torch.randint(classes, (32,), generator=generator)
    sure = 40 * nn.functional.one_hot(target, classes).float()
    yield "random", (torch.randn(32, classes, generator=generator), target)
    yield "predictions that are right", (sure, target)
    yield "predictions that are wrong", (-sure, target)
    yield "constant predictions", (torch.zeros(32, classes), target)
    yield "far outliers", (1e4 * torch.randn(32, classes, generator=generator), target)
    yield (
        "a batch of one class",
        (torch.randn(4, classes, generator=generator), torch.ones(4, dtype=torch.int64)),
    )
    yield "a batch of one", (torch.randn(1, classes, generator=generator), torch.tensor([2]))


def _tagged() -> Iterator[tuple[str, tuple[Tensor, Tensor]]]:
    generator = torch.Generator().manual_seed(0)
    tags = len(_TAG_COUNTS)
    target = torch.randint(2, (32, tags), generator=generator).float()
    partly = target.masked_fill(torch.rand(32, tags, generator=generator) < 0.3, torch.nan)
    partly[:, 0] = target[:, 0]
    sure = 40 * (2 * target - 1)
    yield "random", (torch.randn(32, tags, generator=generator), target)
    yield "targets that are partly unknown", (torch.randn(32, tags, generator=generator), partly)
    yield "predictions that are right", (sure, target)
    yield "predictions that are wrong", (-sure, target)
    yield "constant predictions", (torch.zeros(32, tags), target)
    yield "far outliers", (1e4 * torch.randn(32, tags, generator=generator), target)
    yield "a batch without any tag", (torch.randn(4, tags, generator=generator), torch.zeros(4, tags))
    yield "a batch of one", (torch.randn(1, tags, generator=generator), torch.tensor([[1.0, 0.0, torch.nan]]))


def _distributed(outputs: int) -> Iterator[tuple[str, tuple[Tensor, Tensor]]]:
    generator = torch.Generator().manual_seed(0)
    prediction, target = (
        torch.randn(32, outputs, generator=generator),
        torch.rand(32, 5, generator=generator),
    )
    fewer = target.masked_fill(torch.arange(5) > torch.arange(32)[:, None] % 5, torch.nan)
    yield "random", (prediction, target)
    yield "numbers of listeners that differ", (prediction, fewer)
    yield "constant predictions", (torch.zeros(32, outputs), target)
    yield "listeners that agree", (prediction, target[:, :1].expand(-1, 5).clone())
    yield "ratings at the ends", (prediction, target.round())
    yield "far outliers", (1e3 * prediction, target)
    yield "a batch of one", (prediction[:1], target[:1, :1])


def _judged() -> Iterator[tuple[str, tuple[Tensor, Tensor]]]:
    generator = torch.Generator().manual_seed(0)
    scores = torch.randn(32, 2, generator=generator)
    listeners = torch.randint(1, 9, (32, 2), generator=generator).float()
    unanimous = torch.tensor([[1.0, 0.0], [0.0, 1.0]])
    yield "random", (scores, listeners)
    yield "predictions that are right", (40 * unanimous, unanimous)
    yield "predictions that are wrong", (-40 * unanimous, unanimous)
    yield "constant predictions", (torch.zeros(32, 2), listeners)
    yield "far outliers", (1e4 * scores, listeners)
    yield "tied judgements", (scores, torch.full((32, 2), 0.5))
    yield "a batch of one", (scores[:1], torch.tensor([[1.0, 0.0]]))


def _over_time() -> Iterator[tuple[str, tuple[Tensor, Tensor]]]:
    generator = torch.Generator().manual_seed(0)
    prediction, target = (torch.rand(6, 20, generator=generator) for _ in range(2))
    partly = target.masked_fill(torch.rand(6, 20, generator=generator) < 0.3, torch.nan)
    padded = target.clone()
    padded[1:, 5:] = torch.nan
    yield "random", (prediction, target)
    yield "times that are partly not rated", (prediction, partly)
    yield "songs of different lengths", (prediction, padded)
    yield "predictions that are right", (target.clone(), target)
    yield "constant predictions", (torch.full((6, 20), 0.3), target)
    yield "constant targets", (prediction, torch.full((6, 20), 0.3))
    yield "far outliers", (1e4 * prediction, target)
    yield "a batch of one rating", (prediction[:1, :1], target[:1, :1])


_EXAMPLES: Mapping[str, Callable[[], Iterator[tuple[str, tuple[Tensor, Tensor]]]]] = {
    "regression": _ratings,
    "classification": _labels,
    "tags": _tagged,
    "pairs": _judged,
    "series": _over_time,
}
