"""The `gaussian-nll` loss."""

from __future__ import annotations

from typing import Annotated

import torch
from pydantic import Field
from torch import Tensor, nn

from musicemo.ops import Gaussian
from musicemo_builtin.losses._listeners import check_listeners
from musicemo_builtin.losses._pairs import weighted_mean

__all__ = ["GaussianNLL"]


class GaussianNLL(nn.Module):
    """Negative log likelihood of the listeners' ratings under a normal distribution, whose two parameters are learned.

        mean over tracks i and their listeners l of s[i]^(2 beta) ((y[i, l] - m[i])^2 / (2 s[i]^2) + log s[i] + c)

    with m -> the first output of the head, s -> `smallest` + softplus of the second one, y the ratings in [0, 1] and
    c = log(2 pi) / 2. The factor s^(2 beta) is not differentiated. The best m is the mean rating of the listeners,
    the best s the standard deviation of their ratings. Where single ratings are not known, the track's rating is taken
    for the only one, and s becomes the expected error of m.

    D. A. Nix and A. S. Weigend, "Estimating the Mean and Variance of the Target Probability Distribution", ICNN 1994.
    The factor with beta: M. Seitzer, A. Tavakoli, D. Antic and G. Martius, "On the Pitfalls of Heteroscedastic
    Uncertainty Estimation with Probabilistic Neural Networks", ICLR 2022.

    Shapes: `prediction` `[batch, 2]`, `target` `[batch, listeners]`, NaN where there are fewer -> scalar. With
    `weight` `[batch]`: the weight of each track.

    Args:
        beta: With 0, the loss is the likelihood; with 1, the mean is learned as by `mse`, without more weight on tracks
            with a small deviation.
        smallest: Smallest standard deviation, as a share of the range of the ratings.

    Raises:
        ValueError: in the call, if the shapes are not those above or a track has no rating.
    """

    kind = "regression"
    may_be_negative = True
    weighted = True

    def __init__(
        self,
        *,
        beta: Annotated[float, Field(ge=0, le=1)] = 0.0,
        smallest: Annotated[float, Field(gt=0, lt=1)] = 0.01,
    ) -> None:
        super().__init__()
        self.beta = beta
        self.distribution = Gaussian(smallest)

    def forward(self, prediction: Tensor, target: Tensor, weight: Tensor | None = None) -> Tensor:
        """Return the loss of a batch."""
        prediction, target = check_listeners(prediction, target, self.distribution.outputs)
        values = self.distribution.nll(prediction, target)
        if self.beta:
            values = values * self.distribution.deviation(prediction).detach() ** (2 * self.beta)
        return weighted_mean(values, weight)

    @torch.no_grad()
    def diagnostics(self, prediction: Tensor, target: Tensor, weight: Tensor | None = None) -> dict[str, float]:
        """Return the mean predicted standard deviation, as a share of the range of the ratings."""
        return {"predicted_deviation": float(self.distribution.deviation(prediction).mean())}

    def extra_repr(self) -> str:
        """Describe the parameters."""
        return f"beta={self.beta}, smallest={self.distribution.smallest}"
