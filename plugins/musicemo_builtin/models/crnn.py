"""The `crnn` model."""

from __future__ import annotations

import math
from typing import Annotated, Literal

from pydantic import Field
from torch import Tensor, nn

from musicemo.errors import InputError
from musicemo.ops import MaskedBatchNorm2d, repeat_steps, valid_steps
from musicemo_builtin.models.lstm import LSTM

__all__ = ["CRNN"]

Size = Annotated[int, Field(gt=0)]


class CRNN(nn.Module):
    """Convolutions over time and feature rows, followed by a recurrent network over the remaining time steps.

    Each block is a 3x3 convolution, batch normalization, ReLU, and max pooling by 2 over feature rows and by
    its entry of `strides` over time, with odd sizes rounded up. The output of n blocks at each step has C *
    ceil(rows / 2^n) values, C being the last of `channels`. It is the input of the `lstm` model, which computes
    the embedding.

    Shapes: `x` `[batch, time, input_size]`, `lengths` `[batch]` -> `[batch, embedding_size]`, where `embedding_size` is
    `hidden`, or twice that if `bidirectional`.

    K. Choi, G. Fazekas, M. Sandler, K. Cho, "Convolutional Recurrent Neural Networks for Music Classification",
    ICASSP 2017. Deviations: ReLU instead of ELU, an LSTM instead of two layers of gated recurrent units, and
    attention over its steps.

    Args:
        input_size: Number of feature rows.
        channels: Output channels of each block.
        strides: Pooling factor of each block over time.
        hidden: Number of units of the recurrent network per direction.
        layers: Number of layers of the recurrent network.
        bidirectional: Whether the recurrent network also reads each track backward.
        pooling: Pooling of the recurrent network's outputs into an embedding, as in `lstm`.
        dropout: Dropout probability after the convolutions, and as in `lstm`.

    Raises:
        InputError: `channels` and `strides` differ in number.
    """

    def __init__(
        self,
        *,
        input_size: int,
        channels: Annotated[list[Size], Field(min_length=1)] = [16, 32, 64, 64],  # noqa: B006  # never changed
        strides: Annotated[list[Size], Field(min_length=1)] = [2, 2, 2, 1],  # noqa: B006  # never changed
        hidden: Size = 64,
        layers: Size = 1,
        bidirectional: bool = True,
        pooling: Literal["last", "mean", "attention"] = "attention",
        dropout: Annotated[float, Field(ge=0, lt=1)] = 0.2,
    ) -> None:
        super().__init__()
        if len(channels) != len(strides):
            raise InputError(
                f"`channels` has {len(channels)} entries and `strides` {len(strides)}; a block has one of each"
            )
        self.strides = strides
        self.convolutions = nn.ModuleList(
            nn.Conv2d(inputs, outputs, 3, padding=1, bias=False)
            for inputs, outputs in zip([1, *channels], channels, strict=False)
        )
        self.normalizations = nn.ModuleList(MaskedBatchNorm2d(outputs) for outputs in channels)
        self.dropout = nn.Dropout(dropout)
        rows = -(-input_size // 2 ** len(channels))
        self.recurrent = LSTM(
            input_size=channels[-1] * rows,
            layers=layers,
            hidden=hidden,
            bidirectional=bidirectional,
            dropout=dropout,
            pooling=pooling,
        )
        self.embedding_size = self.sequence_size = self.recurrent.embedding_size

    def forward(self, x: Tensor, lengths: Tensor) -> Tensor:
        """Return the embedding `[batch, embedding_size]` of `x` `[batch, time, feature]`."""
        embedding: Tensor = self.recurrent(*self._convolve(x, lengths))
        return embedding

    def sequence(self, x: Tensor, lengths: Tensor) -> Tensor:
        """Return an embedding per time step, `[batch, time, sequence_size]`: the outputs of the recurrent network.

        Each of its steps stands for as many steps of `x` as the product of `strides`.
        """
        h = self.recurrent.sequence(*self._convolve(x, lengths))
        return repeat_steps(h, math.prod(self.strides), lengths, x.shape[1])

    def _convolve(self, x: Tensor, lengths: Tensor) -> tuple[Tensor, Tensor]:
        """Return the output of the convolutions `[batch, time, feature]`, and its lengths."""
        h, lengths = x.unsqueeze(1), lengths.to(x.device)
        for convolution, normalization, stride in zip(
            self.convolutions, self.normalizations, self.strides, strict=True
        ):
            h = normalization(convolution(h), valid_steps(lengths, h.shape[2])).relu()
            h = nn.functional.max_pool2d(h, (stride, 2), ceil_mode=True)
            lengths = (lengths + stride - 1) // stride
        return self.dropout(h.transpose(1, 2).flatten(2)), lengths
