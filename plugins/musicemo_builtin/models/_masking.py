"""Operations over the valid time steps of a padded batch."""

from __future__ import annotations

from typing import Any

import torch
from torch import Tensor, nn

__all__ = ["MaskedBatchNorm2d", "masked_mean", "spread", "valid_steps"]


def valid_steps(lengths: Tensor, steps: int, device: torch.device) -> Tensor:
    """Return `[batch, steps]`, true where a step lies before its track's length."""
    return torch.arange(steps, device=device) < lengths.to(device)[:, None]


def masked_mean(x: Tensor, valid: Tensor) -> Tensor:
    """Average `x` `[batch, time, ...]` over each track's steps in `valid` `[batch, time]`."""
    mask = valid.reshape(valid.shape + (1,) * (x.dim() - 2))
    mean: Tensor = x.masked_fill(~mask, 0).sum(1) / mask.sum(1)
    return mean


class MaskedBatchNorm2d(nn.BatchNorm2d):
    """Batch normalization of `[batch, channel, time, feature]` whose statistics exclude padding.

    For the set V of positions before each track's length, N = |V|, per channel:

        y = (x - mean_V(x)) / sqrt(var_V(x) + eps) * weight + bias    in V
        y = 0                                                         elsewhere

    In evaluation mode the running statistics replace mean_V and var_V. Without a mask it equals
    `torch.nn.BatchNorm2d`. A batch with a single value per channel has no variance and is normalized by the running
    statistics.

    S. Ioffe and C. Szegedy, "Batch Normalization: Accelerating Deep Network Training by Reducing Internal
    Covariate Shift", ICML 2015.
    """

    def forward(self, x: Tensor, valid: Tensor | None = None) -> Tensor:
        """Normalize `x`; `valid` `[batch, time]` is true before each track's length, None without padding."""
        steps = x.shape[0] * x.shape[2] if valid is None else int(valid.sum())
        training = self.training and steps * x.shape[3] > 1
        if valid is None or not training:
            y = nn.functional.batch_norm(
                x, self.running_mean, self.running_var, self.weight, self.bias, training, _MOMENTUM, self.eps
            )
            return y if valid is None else y.mul_(valid[:, None, :, None])
        count = steps * x.shape[3]
        normalized: tuple[Tensor, Tensor, Tensor] = _MaskedNormalization.apply(
            x, self.weight, self.bias, valid, count, self.eps
        )  # type: ignore[no-untyped-call]  # torch leaves apply untyped
        y, mean, variance = normalized
        self.remember(mean, variance, count)
        return y

    @torch.no_grad()
    def remember(self, mean: Tensor, variance: Tensor, count: int) -> None:
        """Update the running statistics with a batch's mean and biased variance over `count` values per channel."""
        assert self.running_mean is not None
        assert self.running_var is not None
        self.running_mean.lerp_(mean, _MOMENTUM)
        self.running_var.lerp_(variance * (count / (count - 1)), _MOMENTUM)


_MOMENTUM = 0.1


class _MaskedNormalization(torch.autograd.Function):
    """The training step of `MaskedBatchNorm2d`, by hand: autograd's own takes a quarter longer per CNN step."""

    @staticmethod
    def forward(
        ctx: Any, x: Tensor, weight: Tensor, bias: Tensor, valid: Tensor, count: int, eps: float
    ) -> tuple[Tensor, Tensor, Tensor]:
        mask = valid[:, None, :, None].to(weight.dtype)
        full = x.to(weight.dtype)  # under autocast x has half precision, too little for statistics
        mean = (full.sum(-1) * mask[..., 0]).sum((0, 2)) / count
        centred = (full - spread(mean)).mul_(mask)
        variance = centred.square().sum((0, 2, 3)) / count
        scale = torch.rsqrt(variance + eps)
        y = torch.addcmul(spread(bias), centred, spread(weight * scale)).mul_(mask)
        ctx.save_for_backward(centred, weight, scale, mask)
        ctx.count = count
        ctx.mark_non_differentiable(mean, variance)
        return y.to(x.dtype), mean, variance

    @staticmethod
    def backward(ctx: Any, *gradients: Any) -> tuple[Tensor | None, ...]:
        centred, weight, scale, mask = ctx.saved_tensors
        gradient = gradients[0] * mask
        bias_gradient = gradient.sum((0, 2, 3))
        weight_gradient = (gradient * centred).sum((0, 2, 3)) * scale
        slope = weight * scale
        # dx = slope * (dy - mean(dy) - normalized * mean(dy * normalized)) on the valid positions
        x_gradient = (
            gradient.mul_(spread(slope))
            .sub_(spread(slope * bias_gradient / ctx.count))
            .addcmul_(centred, spread(-slope * scale * weight_gradient / ctx.count))
            .mul_(mask)
        )
        return x_gradient.to(gradients[0].dtype), weight_gradient, bias_gradient, None, None, None


def spread(per_channel: Tensor) -> Tensor:
    """View `[channel]` so that it broadcasts over `[batch, channel, time, feature]`."""
    return per_channel[:, None, None]
