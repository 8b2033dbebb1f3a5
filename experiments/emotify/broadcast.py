"""The study's mistake, to see what it does: predictions `[batch, 1]` against targets `[batch]`."""

from torch import Tensor, nn

__all__ = ["BroadcastMSE"]


class BroadcastMSE(nn.Module):
    """The mean over every pair of a prediction and a target: ``mean_ij (p_i - y_j)^2``.

    It is var(p) + var(y) + (mean(p) - mean(y))^2, and least where every prediction is the mean of the targets.
    """

    kind = "regression"

    def forward(self, prediction: Tensor, target: Tensor) -> Tensor:
        """Return the loss of a batch."""
        return ((prediction[:, None] - target) ** 2).mean()
