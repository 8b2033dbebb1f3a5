"""The `tdnn` model."""

from __future__ import annotations

from typing import Annotated, Literal

import torch
from pydantic import Field
from torch import Tensor, nn

from musicemo.ops import (
    AttentionPool,
    DropPath,
    MaskedBatchNorm2d,
    masked_mean,
    masked_std,
    repeat_steps,
    valid_steps,
)

__all__ = ["TDNN"]

Size = Annotated[int, Field(gt=0)]


class TDNN(nn.Module):
    """A time-delay neural network: dilated convolutions over time, and statistics pooling of all layers.

    The convolutions run over time only, with the feature rows as input channels, so that a layer costs a fraction of a
    two-dimensional one. With BN a batch normalization and C -> `channels`:

        u = BN(x)                                                            for each feature row
        h[0] = relu(BN(conv(u))),  kernel 5, one step for every `stride` steps of x
        h[i] = h[i-1] + relu(BN(conv(h[i-1]))),  kernel 3, dilation `dilations[i]`, for i = 1 ... n
        y = relu(W s + b),  s = mean and standard deviation over time of u, h[0], ..., h[n]

    Because u is one of the pooled layers, the network begins with the statistics of its input, which the models on
    descriptors use, and adds to them. ``pooling = "statistics"`` gives each step of a track the same weight, and
    ``"attentive-statistics"`` those of additive attention over h[n] (then s has no part of u):

        mean = sum_t a[t] h[t],  variance = sum_t a[t] (h[t] - mean)^2,  a = softmax_t(v . tanh(W h[n][t] + b))

    Padding is masked in every layer; it changes neither an embedding nor the batch statistics in training. The steps of
    `sequence` are h[0], ..., h[n], each for `stride` steps of `x`.

    Shapes: `x` `[batch, time, input_size]`, `lengths` `[batch]` -> `[batch, embedding]`.

    D. Snyder, D. Garcia-Romero, G. Sell, D. Povey, S. Khudanpur, "X-Vectors: Robust DNN Embeddings for Speaker
    Recognition", ICASSP 2018; K. Okabe, T. Koshinaka, K. Shinoda, "Attentive Statistics Pooling for Deep Speaker
    Embedding", Interspeech 2018; pooling of all layers as in B. Desplanques, J. Thienpondt, K. Demuynck, "ECAPA-TDNN:
    Emphasized Channel Attention, Propagation and Aggregation in TDNN Based Speaker Verification", Interspeech 2020.
    Deviations: fewer and smaller layers, suited to a few hundred songs; the input is normalized and pooled, too; no
    squeeze-excitation.

    Args:
        input_size: Number of feature rows.
        channels: Output channels of each convolution.
        dilations: Distance in steps between the values that a convolution combines, for each residual block.
        stride: Number of steps of `x` for each step of the convolutions.
        pooling: Pooling over time.
        embedding: Size of the embedding.
        dropout: Dropout probability of the pooled statistics and of the embedding.
        drop_path: Probability of dropping the convolution of the last block for a track in training, so that only the
            shortcut remains. That of block l of n is l / n times this one (stochastic depth).
    """

    def __init__(
        self,
        *,
        input_size: int,
        channels: Size = 64,
        dilations: list[Size] = [1, 2, 4],  # noqa: B006  # never changed; a list is what TOML has
        stride: Size = 4,
        pooling: Literal["statistics", "attentive-statistics"] = "statistics",
        embedding: Size = 64,
        dropout: Annotated[float, Field(ge=0, lt=1)] = 0.3,
        drop_path: Annotated[float, Field(ge=0, lt=1)] = 0.0,
    ) -> None:
        super().__init__()
        self.stride = stride
        self.input_norm = MaskedBatchNorm2d(input_size)
        self.first = nn.Conv2d(input_size, channels, (5, 1), stride=(stride, 1), padding=(2, 0), bias=False)
        self.first_norm = MaskedBatchNorm2d(channels)
        self.blocks = nn.ModuleList(
            _Block(channels, dilation, drop_path * number / len(dilations))
            for number, dilation in enumerate(dilations, start=1)
        )
        self.sequence_size = channels * (1 + len(dilations))
        self.attention = AttentionPool(channels) if pooling == "attentive-statistics" else None
        pooled = self.sequence_size + (input_size if self.attention is None else 0)
        self.dense = nn.Linear(2 * pooled, embedding)
        self.dropout = nn.Dropout(dropout)
        self.embedding_size = embedding

    def forward(self, x: Tensor, lengths: Tensor) -> Tensor:
        """Return the embedding `[batch, embedding_size]` of `x` `[batch, time, feature]`."""
        lengths = lengths.to(x.device)
        normalized, layers, valid = self._convolve(x, lengths)
        h = torch.cat(layers, 2)
        if self.attention is None:
            every = valid_steps(lengths, x.shape[1])
            statistics = [
                *(masked_mean(normalized, every), masked_mean(h, valid)),
                *(masked_std(normalized, every), masked_std(h, valid)),
            ]
        else:
            weights = self.attention.weights(layers[-1], valid)
            mean = torch.einsum("bt,bte->be", weights, h)
            variance = torch.einsum("bt,bte->be", weights, (h - mean[:, None]).square())
            statistics = [mean, variance.clamp(min=1e-8).sqrt()]  # below, the gradient is 0 instead of infinite
        return self.dropout(self.dense(self.dropout(torch.cat(statistics, 1))).relu())  # type: ignore[no-any-return]  # torch leaves Module calls untyped

    def sequence(self, x: Tensor, lengths: Tensor) -> Tensor:
        """Return an embedding per time step, `[batch, time, sequence_size]`: the outputs of all convolutions."""
        lengths = lengths.to(x.device)
        _, layers, _ = self._convolve(x, lengths)
        return self.dropout(repeat_steps(torch.cat(layers, 2), self.stride, lengths, x.shape[1]))  # type: ignore[no-any-return]  # likewise

    def _convolve(self, x: Tensor, lengths: Tensor) -> tuple[Tensor, list[Tensor], Tensor]:
        """Return the normalized input `[batch, time, feature]`; the outputs of the layers and their valid steps."""
        image = x.transpose(1, 2).unsqueeze(3)
        normalized = self.input_norm(image, valid_steps(lengths, x.shape[1]))
        h = self.first(normalized)
        valid = valid_steps((lengths + self.stride - 1) // self.stride, h.shape[2])
        h = self.first_norm(h, valid).relu()
        layers = [h]
        for block in self.blocks:
            h = block(h, valid)
            layers.append(h)
        return _over_time(normalized), [_over_time(h) for h in layers], valid


class _Block(nn.Module):
    """x + drop_path(relu(bn(conv(x)))), `[batch, channel, time, 1]`."""

    def __init__(self, channels: int, dilation: int, drop_path: float) -> None:
        super().__init__()
        self.convolution = nn.Conv2d(
            channels, channels, (3, 1), padding=(dilation, 0), dilation=(dilation, 1), bias=False
        )
        self.norm = MaskedBatchNorm2d(channels)
        self.drop_path = DropPath(drop_path)

    def forward(self, x: Tensor, valid: Tensor) -> Tensor:
        return x + self.drop_path(self.norm(self.convolution(x), valid).relu())  # type: ignore[no-any-return]  # torch leaves Module calls untyped


def _over_time(h: Tensor) -> Tensor:
    """View `[batch, channel, time, 1]` as `[batch, time, channel]`."""
    return h.squeeze(3).transpose(1, 2)
