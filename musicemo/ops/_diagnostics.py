"""Diagnostics of soft ranks."""

from __future__ import annotations

import torch

from musicemo.ops._backend import rank_state
from musicemo.ops._checks import check_mask, check_ranking, working_dtype
from musicemo.ops._rank import Regularization
from musicemo.ops._traced import traced_rank

__all__ = ["zero_gradient_share"]


@torch.no_grad()
def zero_gradient_share(
    prediction: torch.Tensor,
    *,
    strength: float,
    regularization: Regularization = "l2",
    mask: torch.Tensor | None = None,
) -> torch.Tensor:
    """Return the share of valid entries whose soft rank has a zero gradient.

    These are the entries that are pooled with no other. At 1 the ranks are hard and the loss has no gradient;
    at 0 every prediction has a gradient.

    Args:
        prediction: ``[..., n]``, floating point.
        strength: Strength of the soft rank.
        regularization: Regularization of the soft rank: "l2" or "kl".
        mask: Boolean, broadcastable to `prediction`. Entries that are false are ignored.

    Returns:
        A scalar in [0, 1]; 0 without valid entries.

    Raises:
        InputError: As in `soft_rank`.
    """
    check_ranking(prediction, strength, regularization)
    x = prediction.detach().to(working_dtype(prediction.dtype)).contiguous()
    if x.numel() == 0:
        return x.new_zeros(())
    mask = check_mask(mask, x)
    state = traced_rank if torch.compiler.is_compiling() else rank_state
    _, order = state(x, mask, strength, regularization == "kl", False, False)
    starts = order < 0
    ends = torch.cat((starts[..., 1:], torch.ones_like(starts[..., :1])), -1)
    alone = (starts & ends).sum()
    if mask is None:
        return (alone / x.numel()).to(x.dtype)
    valid = mask.sum()
    masked = x.numel() - valid  # blocks of one as well
    return ((alone - masked) / valid.clamp(min=1)).to(x.dtype)
