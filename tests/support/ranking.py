"""References that share no code with the package, and the properties that every soft rank has."""

import numpy as np
import torch
from numpy.typing import NDArray
from sklearn.isotonic import isotonic_regression

from musicemo.ops import soft_rank

Array = NDArray[np.float64]


def reference_rank(x: Array, strength: float, regularization: str) -> Array:
    """Ascending soft ranks of one row through scikit-learn's isotonic regression."""
    turn = np.argsort(x, kind="stable")
    s = x[turn] / strength
    place = np.arange(1.0, len(x) + 1)
    if regularization == "l2":
        sorted_ranks = s - isotonic_regression(s - place)
    else:
        s = np.exp(s - s.max())
        sorted_ranks = s / isotonic_regression(s / place, sample_weight=place)
    ranks = np.empty_like(x)
    ranks[turn] = sorted_ranks
    return ranks


def reference_sort(x: Array, strength: float, regularization: str) -> Array:
    """One softly sorted row, ascending, through scikit-learn's isotonic regression."""
    t, along = np.sort(x), np.arange(len(x)) / strength
    if regularization == "l2":
        return along - isotonic_regression(along - t)
    weight = np.exp(-along)
    return along - np.log(isotonic_regression(np.exp(-t) / weight, sample_weight=weight))


def assert_sum(x: torch.Tensor, strength: float, regularization: str) -> None:
    n = x.shape[-1]
    ranks = soft_rank(x, strength=strength, regularization=regularization)
    torch.testing.assert_close(ranks.sum(-1), torch.full(x.shape[:-1], n * (n + 1) / 2, dtype=x.dtype))


def assert_order(x: torch.Tensor, strength: float, regularization: str) -> None:
    ranks = soft_rank(x, strength=strength, regularization=regularization)
    in_order = ranks.gather(-1, x.argsort(-1))
    assert (in_order.diff(dim=-1) >= -1e-9 * x.shape[-1]).all()
    equal = x.unsqueeze(-1) == x.unsqueeze(-2)
    apart = (ranks.unsqueeze(-1) - ranks.unsqueeze(-2)).abs()
    assert apart[equal].max() <= 1e-9 * x.shape[-1]


def assert_range(x: torch.Tensor, strength: float, regularization: str) -> None:
    ranks = soft_rank(x, strength=strength, regularization=regularization)
    lowest = 1.0 if regularization == "l2" else 0.0
    slack = 1e-9 * x.shape[-1]
    assert (ranks >= lowest - slack).all()
    assert (ranks <= x.shape[-1] + slack if regularization == "l2" else ranks.isfinite()).all()


def assert_permutation_equivariance(
    x: torch.Tensor, turn: torch.Tensor, strength: float, regularization: str
) -> None:
    def rank(values: torch.Tensor) -> torch.Tensor:
        return soft_rank(values, strength=strength, regularization=regularization)

    torch.testing.assert_close(rank(x[..., turn]), rank(x)[..., turn], rtol=1e-9, atol=1e-9)


def assert_shift_invariance(x: torch.Tensor, shift: float, strength: float, regularization: str) -> None:
    def rank(values: torch.Tensor) -> torch.Tensor:
        return soft_rank(values, strength=strength, regularization=regularization)

    rounding = 1e-15 * (x.abs().max().item() + abs(shift)) / strength
    torch.testing.assert_close(rank(x + shift), rank(x), rtol=1e-9 + rounding, atol=1e-9 + 4 * rounding)


def assert_reversal(x: torch.Tensor, strength: float) -> None:
    n = x.shape[-1]
    down = soft_rank(x, strength=strength, descending=True)
    torch.testing.assert_close(down, n + 1 - soft_rank(x, strength=strength), rtol=1e-9, atol=1e-9)


def assert_row_independence(x: torch.Tensor, strength: float, regularization: str) -> None:
    together = soft_rank(x, strength=strength, regularization=regularization)
    for row, ranks in zip(x, together, strict=True):
        alone = soft_rank(row, strength=strength, regularization=regularization)
        torch.testing.assert_close(ranks, alone, rtol=1e-12, atol=1e-12)


def assert_padding_independence(
    x: torch.Tensor, mask: torch.Tensor, strength: float, regularization: str
) -> None:
    """What stands at masked places, and how many there are, changes nothing; masked ranks are 0."""
    options = {"strength": strength, "regularization": regularization}
    padded = soft_rank(x.masked_fill(~mask, torch.nan), mask=mask, **options)
    assert (padded[~mask] == 0.0).all()
    for row, valid, ranks in zip(x, mask, padded, strict=True):
        torch.testing.assert_close(ranks[valid], soft_rank(row[valid], **options), rtol=1e-12, atol=1e-12)
