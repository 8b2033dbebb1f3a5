"""Contract of models."""

from __future__ import annotations

import io
import math
from collections.abc import Callable, Mapping, Sequence
from typing import Any

import torch
from torch import Tensor, nn

from musicemo.contracts import Estimator
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
from musicemo.testing._estimators import TARGETS, check_fitted
from musicemo.training.randomness import seed_everything

__all__ = ["check_model"]

_TOLERANCE = 1e-4
"""Of embeddings that are computed in another order: float32 has seven digits."""


def check_model(
    model: Any,
    parameters: Mapping[str, Any] | None = None,
    *,
    input_sizes: Sequence[int] = (12, 140),
    lengths: Sequence[int] = (23, 40, 7, 1),
) -> None:
    """Check that a model meets `musicemo.contracts.Model`, or `Estimator` if it is one.

    Parameters are unchanged after conversion to TOML and back. Embeddings are `[batch, embedding_size]`,
    finite, equal for single tracks and in a padded batch, in the order of the batch, deterministic in
    evaluation mode, and reproducible with a seed in training. Gradients are finite and reach every parameter.
    The state is saved and restored strictly, without executing code. The model can be pickled, its tensors
    follow it to a device, and it does not change its input. A `sequence` has one embedding per time step, for which
    the same holds. For an estimator, the same holds for the
    predictions of every task, after a fit to tracks some of which lack a target.

    Args:
        model: the class, a function that returns a model, or the installed name.
        parameters: its TOML table, without ``type``.
        input_sizes: numbers of feature rows to try; 12 is chroma, 128 mel and 140 both.
        lengths: lengths of the tracks to try, in frames; a dataset can have tracks of one frame.

    Raises:
        ContractError: with one sentence for each violated clause.
        InputError: no model of this name is installed.
    """
    __tracebackhide__ = True
    with Contract("model", model, parameters) as contract, muted():
        component = contract.configured()
        for size in input_sizes:

            def make(seed: int = 0, size: int = size) -> nn.Module:
                streams = {"features": slice(0, size)}
                backbone: nn.Module = built(
                    contract, component, seed, input_size=size, targets=TARGETS, streams=streams
                )
                return backbone

            _check(contract, make, size, lengths)


def _check(contract: Contract, make: Callable[[int], nn.Module], size: int, lengths: Sequence[int]) -> None:
    tracks = _tracks(lengths, size)
    with contract.clause("construction", "constructing it", essential=True):
        backbone = make(0)
    if isinstance(backbone, Estimator):
        check_fitted(contract, make, size, lengths)  # type: ignore[arg-type]  # what it makes is an estimator
        return
    with contract.clause("construction", "asking for its embedding's size", essential=True):
        width = getattr(backbone, "embedding_size", None)
        require(
            isinstance(width, int) and not isinstance(width, bool) and width > 0,
            f"its embedding_size is {width!r}; a model has an integer above 0, the size of its embedding",
        )
    x, frames = _padded(tracks)
    with contract.clause("shape", f"embedding a batch of shape {list(x.shape)}", essential=True):
        embedding = _embed(backbone.eval(), x, frames)
        require(
            isinstance(embedding, Tensor) and embedding.is_floating_point(),
            f"it returns {type(embedding).__name__}; a model returns one floating-point tensor",
        )
        require(
            list(embedding.shape) == [len(tracks), width],
            f"{len(tracks)} tracks give shape {list(embedding.shape)}; a model returns [batch, embedding_size], "
            f"here [{len(tracks)}, {width}]",
        )
    _check_evaluation(contract, make, tracks)
    if hasattr(backbone, "sequence_size"):
        _check_sequence(contract, make, tracks)
    _check_training(contract, make, tracks)
    _check_state(contract, make, tracks)
    check_tensors(contract, backbone)


def _check_evaluation(contract: Contract, make: Callable[[int], nn.Module], tracks: Sequence[Tensor]) -> None:
    """Check embeddings in evaluation mode after a training step: a fresh network could hide the effects of training."""
    model = _trained(make, tracks)
    x, lengths = _padded(tracks)
    with contract.clause("finite", "embedding tracks of zeros"):
        for name, value in (("tracks", x), ("tracks of zeros", torch.zeros_like(x))):
            require(
                _embed(model, value, lengths).isfinite().all(),
                f"{name} have an embedding that is not finite; every finite input has a finite one",
            )
    with contract.clause("input", "embedding a batch", essential=True):
        kept = x.clone(), lengths.clone()
        _embed(model, x, lengths)
        require(
            torch.equal(x, kept[0]) and torch.equal(lengths, kept[1]),
            "it changes its input in place; batches belong to the core",
        )
    with contract.clause("evaluation", "embedding a batch twice", essential=True):
        before = {name: value.clone() for name, value in model.state_dict().items()}
        first, second = (_embed(model, x, lengths) for _ in range(2))
        require(
            same(first, second),
            "the same batch has two embeddings in evaluation mode; nothing is left to chance there (is dropout on?)",
        )
        for name, value in model.state_dict().items():
            require(same(value, before[name]), f"evaluation changes {name!r}; only training changes a model")
    with contract.clause("padding", "embedding tracks one by one"):
        together = _embed(model, torch.nn.functional.pad(x, (0, 0, 0, 9)), lengths)
        for index, track in enumerate(tracks):
            alone = _embed(model, *_padded([track]))[0]
            apart = _apart(contract, together[index], alone)
            require(
                apart <= _TOLERANCE * max(1.0, float(alone.abs().max())),
                f"a track of {len(track)} frames has another embedding alone than in a padded batch, by {apart:.2g}; "
                "padding must not change an embedding in evaluation mode",
            )
    with contract.clause("order", "embedding a batch backwards"):
        apart = _apart(contract, _embed(model, x.flip(0), lengths.flip(0)), _embed(model, x, lengths).flip(0))
        require(
            apart <= _TOLERANCE * max(1.0, float(_embed(model, x, lengths).abs().max())),
            f"tracks in another order have other embeddings, by {apart:.2g}; a track gives the same one in any batch",
        )


def _check_sequence(contract: Contract, make: Callable[[int], nn.Module], tracks: Sequence[Tensor]) -> None:
    model: Any = _trained(make, tracks)
    x, lengths = _padded([track + 0.5 for track in tracks])
    with contract.clause("sequence", "embedding the steps of a batch"), torch.no_grad():
        steps = model.sequence(x, lengths)
        expected = [*x.shape[:2], model.sequence_size]
        require(
            isinstance(steps, Tensor) and list(steps.shape) == expected,
            f"its sequence has shape {list(getattr(steps, 'shape', ()))}; it must be [batch, time, "
            f"sequence_size], here {expected}",
        )
        require(steps.isfinite().all(), "its sequence is not finite; every finite input has a finite one")
        together = model.sequence(torch.nn.functional.pad(x, (0, 0, 0, 9)), lengths)
        for index, length in enumerate(lengths.tolist()):
            require(
                not together[index, length:].any(), "its sequence must be zero beyond the length of a track"
            )
            alone = model.sequence(x[index : index + 1, :length], lengths[index : index + 1])[0]
            apart = difference(together[index, :length], alone)
            require(
                apart <= _TOLERANCE * max(1.0, float(alone.abs().max())),
                f"a track of {length} frames has another sequence alone than in a padded batch, by {apart:.2g}; "
                "padding must not change it in evaluation mode",
            )
    with contract.clause("sequence", "training on the sequence of a batch"):
        leaf = x.clone().requires_grad_()
        make(3).train().sequence(leaf, lengths).square().sum().backward()  # type: ignore[operator]  # has been checked
        require(
            leaf.grad is not None and leaf.grad.isfinite().all() and leaf.grad.any(),
            "its sequence does not depend on the features, or their gradient is not finite",
        )


def _check_training(contract: Contract, make: Callable[[int], nn.Module], tracks: Sequence[Tensor]) -> None:
    x, lengths = _padded(tracks)
    results: list[dict[str, Tensor | None]] = []
    reported = "finite" in contract.problems  # what follows from it is no problem of its own
    with contract.clause("gradients", "training on a batch", essential=True):
        for _ in range(2):
            model = make(3).train()
            seed_everything(5)
            leaf = x.clone().requires_grad_()
            embedding = model(leaf, lengths)
            require(
                embedding.requires_grad,
                "its embedding needs no gradient in training, so that nothing can be learnt through it",
            )
            embedding.square().sum().backward()
            results.append(
                {"the embedding": embedding.detach()}
                | {name: value.grad for name, value in model.named_parameters() if value.requires_grad}
            )
            for name, value in results[-1].items():
                require(value is not None, f"no gradient reaches the parameter {name!r}: is it used?")
                require(
                    reported or (value is not None and value.isfinite().all()),
                    f"{name} is not finite after a step of training; gradients are finite for every finite input",
                )
            require(
                leaf.grad is not None and (reported or leaf.grad.isfinite().all()) and leaf.grad.any(),
                "the embedding does not depend on the features, or their gradient is not finite",
            )
    with contract.clause("seed", "training on a batch twice"):
        first, second = results
        for name, value in first.items():
            other = second[name]
            require(
                value is not None and other is not None and same(value, other),
                f"{name} differs between two runs with one seed; chance comes from the generators of torch, numpy "
                "and random, which the core seeds",
            )


def _check_state(contract: Contract, make: Callable[[int], nn.Module], tracks: Sequence[Tensor]) -> None:
    model = _trained(make, tracks)
    x, lengths = _padded(tracks)
    expected = _embed(model, x, lengths)
    with contract.clause("state", "restoring its state_dict"):
        file = io.BytesIO()
        torch.save(model.state_dict(), file)
        file.seek(0)
        state = torch.load(file, weights_only=True)
        fresh = make(1).eval()
        fresh.load_state_dict(state, strict=True)
        require(
            same(_embed(fresh, x, lengths), expected),
            "another with its state_dict has other embeddings; all that is learnt is in the state_dict",
        )
    arrived = check_pickle(contract, model)
    if arrived is not None:
        with contract.clause("pickle", "embedding after pickling"):
            require(same(_embed(arrived, x, lengths), expected), "once pickled it has other embeddings")


def _apart(contract: Contract, left: Tensor, right: Tensor) -> float:
    """Return the difference of two embeddings; none if one is not finite, which is reported elsewhere."""
    distance = difference(left, right)
    return 0.0 if math.isinf(distance) and "finite" in contract.problems else distance


def _trained(make: Callable[[int], nn.Module], tracks: Sequence[Tensor]) -> nn.Module:
    """Return a model in evaluation mode after one batch of training."""
    model = make(0).train()
    _embed(model, *_padded([2 * track + 0.5 for track in tracks]))
    return model.eval()


@torch.no_grad()
def _embed(model: nn.Module, x: Tensor, lengths: Tensor) -> Tensor:
    embedding: Tensor = model(x, lengths)
    return embedding


def _tracks(lengths: Sequence[int], size: int) -> list[Tensor]:
    generator = torch.Generator().manual_seed(0)
    return [torch.randn(length, size, generator=generator) for length in lengths]


def _padded(tracks: Sequence[Tensor]) -> tuple[Tensor, Tensor]:
    lengths = torch.tensor([len(track) for track in tracks])
    return nn.utils.rnn.pad_sequence(list(tracks), batch_first=True), lengths
