"""What a soft rank does to the gradient, as a number to watch."""

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
    """Share of valid entries whose soft rank has a zero gradient: those that are pooled with no other.

    1 says that the ranks are hard and the loss teaches nothing; 0 says that every prediction is moved.

    Args:
        prediction: ``[..., n]``, floating point.
        strength: Of the soft rank.
        regularization: Of the soft rank: "l2" or "kl".
        mask: Boolean, broadcastable to `prediction`; false marks entries that take no part.

    Returns:
        A scalar in [0, 1]; 0 where nothing is valid.

    Raises:
        InputError: As `soft_rank`.
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
