"""A differentiable Spearman's rho as a loss."""

from __future__ import annotations

import math
from collections.abc import Callable
from typing import Annotated, Literal

from pydantic import Field
from torch import Tensor, nn

from musicemo import ops
from musicemo.errors import InputError
from musicemo_builtin.losses._pairs import single

__all__ = ["SoftSpearman"]


class SoftSpearman(nn.Module):
    """One minus Spearman's rho of a batch with soft ranks: 0 for the correct order, 2 for the reverse order.

    ``form = "hard"`` (default): ``1 - corr(softrank(p), rank(y))``, tied targets sharing their mean rank.
    ``form = "soft"``: ``1 - corr(softrank(p), softrank(y))``.
    ``form = "study"``: ``-corr(softrank(p) / n, y)`` with the raw targets. As a term of weight 0.1 beside
    `mse` this is the loss of the original study, whose strength was 0.01. It is negative for any prediction
    better than chance, so a weighting that learns a scale can decrease it without bound.

    ``corr`` is Pearson's correlation over the batch; p -> `prediction`, y -> `target`, n the batch size. A
    constant prediction, a constant target and a batch of one have correlation 0 and a zero gradient. A
    prediction that is not finite gives NaN, which stops the run.

    Args:
        strength: Strength of the regularization, in units of the predictions. Predictions whose neighbors in the
            order are further away get no gradient. Above about the range of the predictions over the batch size, the
            gradient is that of Pearson's correlation. The default suits batches of 32 in [0, 1]; docs/soft-ranks.md
            explains how to choose it.
        regularization: Regularization of the soft ranks: "l2" (Euclidean) or "kl" (entropic).
        form: Form of the loss, see above.
        backend: "musicemo", or "fast-soft-sort", the implementation of the authors, for comparison (slow, CPU only).

    Shape: `prediction` and `target` ``[batch]``; the loss is a scalar, float32 at least.

    Raises:
        InputError: The backend is not installed; the shapes differ; a target is not finite.

    Reference: M. Blondel, O. Teboul, Q. Berthet, J. Djolonga, "Fast Differentiable Sorting and Ranking",
    ICML 2020.
    """

    kind = "regression"
    per = "step"

    def __init__(
        self,
        *,
        strength: Annotated[float, Field(gt=0, allow_inf_nan=False)] = 0.03,
        regularization: Literal["l2", "kl"] = "l2",
        form: Literal["hard", "soft", "study"] = "hard",
        backend: Literal["musicemo", "fast-soft-sort"] = "musicemo",
    ) -> None:
        super().__init__()
        self.strength = strength
        self.regularization = regularization
        self.form = form
        self.backend = backend
        #: Whether the loss can be below zero.
        self.may_be_negative = form == "study"
        self._rank = _fast_soft_sort(strength, regularization) if backend == "fast-soft-sort" else None

    def forward(self, prediction: Tensor, target: Tensor) -> Tensor:
        """Return the loss of a batch."""
        try:
            rho = self._rho(prediction, target)
        except InputError:
            if not bool(prediction.isfinite().all()):
                return single(prediction).sum() * math.nan
            raise
        return -rho if self.form == "study" else 1.0 - rho

    def diagnostics(self, prediction: Tensor, target: Tensor) -> dict[str, float]:
        """Return the share of predictions that the loss does not move (`musicemo.ops.zero_gradient_share`)."""
        if not bool(prediction.isfinite().all()):
            return {"zero_rank_gradient": math.nan}
        share = ops.zero_gradient_share(prediction, strength=self.strength, regularization=self.regularization)
        return {"zero_rank_gradient": share.item()}

    def extra_repr(self) -> str:
        """Describe the constructor's arguments."""
        names = ("strength", "regularization", "form", "backend")
        return ", ".join(f"{name}={getattr(self, name)!r}" for name in names)

    def _rho(self, prediction: Tensor, target: Tensor) -> Tensor:
        prediction, target = single(prediction), single(target)
        if self._rank is None:
            ranks: Literal["hard", "soft", "none"] = "none" if self.form == "study" else self.form
            return ops.spearman(
                prediction,
                target,
                strength=self.strength,
                regularization=self.regularization,
                target_ranks=ranks,
            )
        if self.form == "hard":
            target = ops.hard_rank(target)
        elif self.form == "soft":
            target = self._rank(target)
        return ops.pearson(self._rank(prediction), target)


def _fast_soft_sort(strength: float, regularization: str) -> Callable[[Tensor], Tensor]:
    try:
        from fast_soft_sort.pytorch_ops import soft_rank
    except ImportError as error:
        raise InputError(
            'backend = "fast-soft-sort" needs the package of that name, which cannot be imported '
            f"({error}): pip install git+https://github.com/google-research/fast-soft-sort, "
            'or use backend = "musicemo"'
        ) from error

    def rank(values: Tensor) -> Tensor:
        if not bool(values.isfinite().all()):
            raise InputError("the values to rank must be finite")
        rows: Tensor = soft_rank(
            values.cpu().unsqueeze(0), regularization_strength=strength, regularization=regularization
        )
        return rows.squeeze(0).to(values)

    return rank
