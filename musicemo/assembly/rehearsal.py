"""What would fail once training has begun, found before."""

from __future__ import annotations

import dataclasses

import torch
from torch import nn

from musicemo._local import line_of
from musicemo.contracts import Weighting
from musicemo.data import Batch
from musicemo.errors import InputError, describe
from musicemo.experiment import Experiment
from musicemo.training import Network, Objective
from musicemo.training.checkpoint import unreadable

__all__ = ["check_signs", "check_storable", "rehearse"]


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
def rehearse(experiment: Experiment, network: Network, objective: Objective, batch: Batch) -> None:
    """Take a small batch through the network and the losses, to see that shapes are what they should be.

    Raises:
        InputError: the model or a loss fails, or padding changes an embedding.
    """
    with experiment.source.blaming("model"):
        embedding = _embed(network, batch)
        _check_padding(network, batch, embedding)
    predictions = {name: head(embedding) for name, head in network.heads.items()}
    with experiment.source.blaming("tasks"):
        try:
            objective(predictions, batch.targets)
        except InputError:
            raise
        except Exception as error:  # a stranger's loss may raise anything
            raise InputError(
                f"a loss fails on {len(batch.x)} tracks: {describe(error, where=line_of(error))}"
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
    return embedding
