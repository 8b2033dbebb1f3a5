"""Batch normalization of padded batches."""

from __future__ import annotations

from typing import Any

import torch
from torch import Tensor, nn

from musicemo.ops import collective

__all__ = ["BatchNormReLUMaxPool2d", "MaskedBatchNorm2d", "whole_batch_norm"]


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

    Args:
        channels: Number of channels.
        eps: Added to the variance.
        momentum: Share of a batch in the running statistics.
    """

    momentum: float

    def __init__(self, channels: int, eps: float = 1e-5, momentum: float = 0.1) -> None:
        super().__init__(channels, eps, momentum)

    def forward(self, x: Tensor, valid: Tensor | None = None) -> Tensor:
        """Normalize `x`; `valid` `[batch, time]` is true before each track's length, None without padding."""
        if self.training and collective.processes() > 1:
            mask = None if valid is None else valid[:, None, :, None]
            return whole_batch_norm(
                x, self.running_mean, self.running_var, self.weight, self.bias, self.momentum, self.eps, mask
            )
        steps = x.shape[0] * x.shape[2] if valid is None else int(valid.sum())
        training = self.training and steps * x.shape[3] > 1
        if valid is None or not training:
            y = nn.functional.batch_norm(
                x,
                self.running_mean,
                self.running_var,
                self.weight,
                self.bias,
                training,
                self.momentum,
                self.eps,
            )
            return y if valid is None else y.mul_(valid[:, None, :, None])
        count = steps * x.shape[3]
        normalized: tuple[Tensor, Tensor, Tensor] = _MaskedNormalization.apply(
            x, self.weight, self.bias, valid, count, self.eps
        )  # type: ignore[no-untyped-call]  # torch leaves apply untyped
        y, mean, variance = normalized
        self._remember(mean, variance, count)
        return y

    @torch.no_grad()
    def _remember(self, mean: Tensor, variance: Tensor, count: int) -> None:
        """Update the running statistics with a batch's mean and biased variance over `count` values per channel."""
        assert self.running_mean is not None
        assert self.running_var is not None
        self.running_mean.lerp_(mean, self.momentum)
        self.running_var.lerp_(variance * (count / (count - 1)), self.momentum)


class BatchNormReLUMaxPool2d(MaskedBatchNorm2d):
    """Batch normalization, ReLU and 2x2 max pooling of `[batch, channel, time, feature]`, in this order.

    It equals `MaskedBatchNorm2d`, `torch.nn.ReLU` and `torch.nn.MaxPool2d`, and is faster in training. Padding stays
    zero, and does not change a pooled value, because no value is less than zero after the ReLU.

    Normalizing a channel with a weight that is not negative keeps the order of its values, so that

        pool((x - mean(x)) / sqrt(var(x) + eps) * weight + bias) =
            pool(x - mean(x)) * weight / sqrt(var(x) + eps) + bias

    whose right side scales a quarter of the values. A negative weight is a positive weight of the negated channel. The
    same holds for the gradient: the sums run over the values that a window selects. The ReLU follows the pooling, with
    which it commutes.

    Args:
        channels: Number of channels.
        ceil_mode: Whether a last odd step or row is pooled by itself instead of being dropped.
        eps: Added to the variance.
        momentum: Share of a batch in the running statistics.
    """

    def __init__(
        self, channels: int, ceil_mode: bool = False, eps: float = 1e-5, momentum: float = 0.1
    ) -> None:
        super().__init__(channels, eps, momentum)
        self.ceil_mode = ceil_mode

    def forward(self, x: Tensor, valid: Tensor | None = None) -> Tensor:
        """Return `[batch, channel, time / 2, feature / 2]`; `valid` is as in `MaskedBatchNorm2d`."""
        count = x.numel() // x.shape[1]
        if not self.training or valid is not None or count == 1 or collective.processes() > 1:
            y = nn.functional.max_pool2d(super().forward(x, valid), 2, ceil_mode=self.ceil_mode)
            return y.relu_()
        pooled: tuple[Tensor, Tensor, Tensor] = _PooledNormalization.apply(
            x, self.weight, self.bias, self.eps, self.ceil_mode
        )  # type: ignore[no-untyped-call]  # torch leaves apply untyped
        y, mean, variance = pooled
        self._remember(mean, variance, count)
        return y.relu_()


class _MaskedNormalization(torch.autograd.Function):
    """The training step of `MaskedBatchNorm2d`; with autograd's gradient, a step of a CNN takes a quarter longer."""

    @staticmethod
    def forward(
        ctx: Any, x: Tensor, weight: Tensor, bias: Tensor, valid: Tensor, count: int, eps: float
    ) -> tuple[Tensor, Tensor, Tensor]:
        mask = valid[:, None, :, None].to(weight.dtype)
        full = x.to(weight.dtype)  # under autocast x has half precision, too little for statistics
        mean = (full.sum(-1) * mask[..., 0]).sum((0, 2)) / count
        centred = (full - _spread(mean)).mul_(mask)
        variance = centred.square().sum((0, 2, 3)) / count
        scale = torch.rsqrt(variance + eps)
        y = torch.addcmul(_spread(bias), centred, _spread(weight * scale)).mul_(mask)
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
            gradient.mul_(_spread(slope))
            .sub_(_spread(slope * bias_gradient / ctx.count))
            .addcmul_(centred, _spread(-slope * scale * weight_gradient / ctx.count))
            .mul_(mask)
        )
        return x_gradient.to(gradients[0].dtype), weight_gradient, bias_gradient, None, None, None


class _PooledNormalization(torch.autograd.Function):
    """Normalization and pooling in a training step of `BatchNormReLUMaxPool2d` without padding."""

    @staticmethod
    def forward(
        ctx: Any, x: Tensor, weight: Tensor, bias: Tensor, eps: float, ceil: bool
    ) -> tuple[Tensor, Tensor, Tensor]:
        batch, channels, time, features = x.shape
        count = batch * time * features
        sign = torch.where(weight < 0, -1.0, 1.0).to(weight.dtype)
        weight = weight * sign
        # Long rows: vector instructions gain nothing in a sum over a few channels.
        rows = x.to(weight.dtype).permute(0, 2, 3, 1).reshape(batch * time, features * channels)
        mean = rows.sum(0).view(features, channels).sum(0) / count
        # (x - mean) * sign in one pass over x
        centred = torch.addcmul((-mean * sign).repeat(features), rows, sign.repeat(features))
        variance = torch.linalg.vector_norm(centred, dim=0).square().view(features, channels).sum(0) / count
        image = centred.view(batch, time, features, channels).permute(0, 3, 1, 2)
        pooled, selected = nn.functional.max_pool2d(image, 2, ceil_mode=ceil, return_indices=True)
        scale = torch.rsqrt(variance + eps)
        ctx.save_for_backward(centred, pooled, selected, weight, scale, sign)
        ctx.shape, ctx.ceil = x.shape, ceil
        ctx.mark_non_differentiable(mean, variance)
        y = torch.addcmul(_spread(bias), pooled, _spread(weight * scale))
        return y.to(x.dtype), mean, variance

    @staticmethod
    def backward(ctx: Any, *gradients: Any) -> tuple[Tensor | None, ...]:
        centred, pooled, selected, weight, scale, sign = ctx.saved_tensors
        batch, channels, time, features = ctx.shape
        count = batch * time * features
        gradient = gradients[0].to(weight.dtype)
        bias_gradient = gradient.sum((0, 2, 3))
        weight_gradient = (gradient * pooled).sum((0, 2, 3)) * scale
        slope = weight * scale * sign
        # dx = slope * (dy - mean(dy) - normalized * mean(dy * normalized)); dy is zero except where it was selected
        constant = (-slope * bias_gradient / count).repeat(features)
        linear = (-slope * scale * weight_gradient / count).repeat(features)
        rest = (
            torch.addcmul(constant, centred, linear).view(batch, time, features, channels).permute(0, 3, 1, 2)
        )
        image = centred.view(batch, time, features, channels).permute(0, 3, 1, 2)
        through = torch.ops.aten.max_pool2d_with_indices_backward(
            gradient * _spread(slope), image, [2, 2], [2, 2], [0, 0], [1, 1], ctx.ceil, selected
        )
        x_gradient = rest.add_(through).to(gradients[0].dtype)
        return x_gradient, weight_gradient * sign, bias_gradient, None, None


def whole_batch_norm(
    input: Tensor,
    running_mean: Tensor | None,
    running_var: Tensor | None,
    weight: Tensor | None = None,
    bias: Tensor | None = None,
    momentum: float | None = 0.1,
    eps: float = 1e-5,
    valid: Tensor | None = None,
) -> Tensor:
    """Normalize in training with the statistics of the whole batch, if several processes have a share of it.

    The other arguments are those of `torch.nn.functional.batch_norm`.

    Args:
        input: `[batch, channel, ...]`, the share of this process.
        running_mean: running mean `[channel]`, which is updated.
        running_var: running variance `[channel]`, which is updated.
        weight: `[channel]`.
        bias: `[channel]`.
        momentum: share of a batch in the running statistics.
        eps: added to the variance.
        valid: mask of the positions that are not padding, which broadcasts over `input`.
    """
    axes = [0, *range(2, input.dim())]
    shape = [1, -1, *[1] * (input.dim() - 2)]
    full = input.float() if input.dtype in (torch.float16, torch.bfloat16) else input
    mask = torch.ones_like(full[:, :1]) if valid is None else valid.to(full).expand_as(full[:, :1])
    count = collective.total(mask.sum())
    mean = collective.total((full * mask).sum(axes)) / count
    centred = (full - mean.view(shape)) * mask
    variance = collective.total(centred.square().sum(axes)) / count
    y = centred * torch.rsqrt(variance + eps).view(shape)
    if weight is not None:
        y = y * weight.view(shape)
    if bias is not None:
        y = (y + bias.view(shape)) * mask
    with torch.no_grad():
        if running_mean is not None and running_var is not None and momentum is not None:
            running_mean.lerp_(mean.to(running_mean), momentum)
            running_var.lerp_((variance * count / (count - 1).clamp(min=1)).to(running_var), momentum)
    return y.to(input.dtype)


def _spread(per_channel: Tensor) -> Tensor:
    """View `[channel]` so that it broadcasts over `[batch, channel, time, feature]`."""
    return per_channel[:, None, None]
