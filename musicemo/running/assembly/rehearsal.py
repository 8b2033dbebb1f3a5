"""What would fail once training has begun, found before."""

from __future__ import annotations

import copy
import dataclasses
from collections.abc import Iterator, Mapping
from contextlib import contextmanager

import torch
from torch import nn
from torch.nn.parameter import is_lazy

from musicemo.components.local import line_of
from musicemo.contracts import Weighting
from musicemo.data import Batch
from musicemo.errors import InputError, describe
from musicemo.experiment import Experiment
from musicemo.training import Network, Objective
from musicemo.training.checkpoint import unreadable
from musicemo.training.precision import autocast
from musicemo.training.randomness import random_state, restore_random_state

__all__ = ["check_signs", "check_storable", "initialize", "rehearse", "rehearse_training"]


def check_signs(experiment: Experiment, objective: Objective, weighting: Weighting) -> None:
    """Refuse losses that may be negative if the weighting is defined for positive ones alone.

    Raises:
        InputError: with each such loss.
    """
    if not weighting.positive_losses:
        return
    problems = [
        experiment.source.error(
            ("tasks", name, "loss"),
            f"{type(term.loss).__name__} may be negative here, and the weighting "
            f"{experiment.weighting.name!r} is defined for positive losses alone; use a term that is never "
            'negative (such as soft-spearman in its default form), or the weighting "constant"',
        )
        for name, terms in objective.terms.items()
        for term in terms
        if getattr(term.loss, "may_be_negative", False)
    ]
    if problems:
        raise InputError(*problems)


def check_storable(module: nn.Module) -> None:
    """Refuse a state that a checkpoint cannot give back, such as an extra state with arrays of numpy.

    Raises:
        InputError: with the name and the type of the value.
    """
    if value := unreadable(module.state_dict()):
        raise InputError(
            f"its state_dict holds {value}, which a checkpoint cannot give back: use tensors, numbers, text, lists "
            "and dictionaries"
        )


@torch.no_grad()
def initialize(network: Network, batch: Batch) -> None:
    """Give lazy layers, which take their sizes from their first batch, their parameters.

    Raises:
        InputError: the model fails.
    """
    if any(is_lazy(parameter) for parameter in (*network.parameters(), *network.buffers())):
        _embed(network, batch)


@torch.no_grad()
def rehearse(experiment: Experiment, network: Network, objective: Objective, batch: Batch) -> None:
    """Take a small batch through the network and the losses, to see that shapes are what they should be.

    Nothing of it is left: the network is a copy, and random numbers go on as before.

    Raises:
        InputError: the model or a loss fails, or padding changes an embedding.
    """
    with _without_trace(network, objective) as (copied, losses):
        with experiment.source.blaming("model"):
            embedding = _embed(copied, batch)
            _check_padding(copied, batch, embedding)
        predictions = {name: head(embedding) for name, head in copied.heads.items()}
        _losses(experiment, losses, predictions, batch)


def rehearse_training(
    experiment: Experiment, network: Network, objective: Objective, batch: Batch, precision: str
) -> None:
    """Take a batch forward and backward as in training, in the run's precision; nothing of it is left.

    Raises:
        InputError: the model or a loss fails, or the losses of a single track are not finite.
    """
    size = len(batch.x)
    with _without_trace(network, objective) as (copied, measure):
        copied.train()
        with experiment.source.blaming("model"):
            try:
                with autocast(batch.x.device, precision):
                    _, predictions = copied(batch.x, batch.lengths)
            except Exception as error:  # a stranger's model may raise anything
                raise InputError(
                    f"fails in training, in {precision}, on a batch of shape {list(batch.x.shape)}: "
                    f"{describe(error, where=line_of(error))}"
                ) from error
        predictions = {name: prediction.float() for name, prediction in predictions.items()}
        losses = list(_losses(experiment, measure, predictions, batch).values())
        if size == 1 and not all(bool(loss.isfinite()) for loss in losses):
            raise InputError(experiment.source.error(("tasks",), "a loss of a single track is not finite"))
        if not (losses := [loss for loss in losses if loss.requires_grad]):
            return
        with experiment.source.blaming("model"):
            try:
                torch.stack(losses).sum().backward()  # type: ignore[no-untyped-call]  # torch leaves it untyped
            except Exception as error:  # likewise
                raise InputError(
                    f"its backward pass fails in {precision}: {describe(error, where=line_of(error))}"
                ) from error


@contextmanager
def _without_trace(network: Network, objective: Objective) -> Iterator[tuple[Network, Objective]]:
    """Yield copies of the network and the losses, and let random numbers go on as before.

    Those that cannot be copied are yielded themselves; the network's buffers are kept and its gradients removed.
    """
    before = random_state()
    buffers = [(buffer, buffer.clone()) for buffer in network.buffers()]
    try:
        copies = copy.deepcopy((network, objective))
    except Exception:  # a stranger's model may hold what cannot be copied, such as a file
        copies = network, objective
    try:
        yield copies
    finally:
        restore_random_state(before)
        network.zero_grad()
        with torch.no_grad():
            for buffer, kept in buffers:
                buffer.copy_(kept)


def _losses(
    experiment: Experiment, objective: Objective, predictions: Mapping[str, torch.Tensor], batch: Batch
) -> dict[str, torch.Tensor]:
    with experiment.source.blaming("tasks"):
        try:
            return objective(predictions, batch.targets)  # type: ignore[no-any-return]  # torch's calls are untyped
        except InputError:
            raise
        except Exception as error:  # a stranger's loss may raise anything
            raise InputError(
                f"a loss fails on {len(batch.x)} track{'s' * (len(batch.x) > 1)}: "
                f"{describe(error, where=line_of(error))}"
            ) from error


def _check_padding(network: Network, batch: Batch, embedding: torch.Tensor) -> None:
    longer = torch.nn.functional.pad(batch.x, (0, 0, 0, max(8, batch.x.shape[1] // 4)))
    found = _embed(network, dataclasses.replace(batch, x=longer))
    apart = float((found - embedding).abs().max())
    if apart > 1e-3 * max(float(embedding.abs().max()), 1.0):
        raise InputError(
            f"padding changes its embedding, by {apart:.2g}: what lies beyond a track's length must be left out, "
            "or a track's prediction depends on the others in its batch"
        )


def _embed(network: Network, batch: Batch) -> torch.Tensor:
    network.eval()
    expected = [len(batch.x), network.backbone.embedding_size]
    try:
        embedding = network.backbone(batch.x, batch.lengths)
    except Exception as error:  # a stranger's model may raise anything
        hint = "; it is called with x and lengths" if isinstance(error, TypeError) else ""
        raise InputError(
            f"fails on a batch of shape {list(batch.x.shape)}: {describe(error, where=line_of(error))}{hint}"
        ) from error
    if not isinstance(embedding, torch.Tensor) or list(embedding.shape) != expected:
        found = list(embedding.shape) if isinstance(embedding, torch.Tensor) else type(embedding).__name__
        raise InputError(f"the embedding has shape {found}, where {expected} is expected")
    if not embedding.is_floating_point():
        raise InputError(f"the embedding is of type {embedding.dtype}; it must be floating point")
    return embedding.float()
