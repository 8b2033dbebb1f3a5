"""The `cnn` model."""

from __future__ import annotations

import math
from typing import Annotated, Literal

import torch
from pydantic import Field
from torch import Tensor, nn

from musicemo.errors import InputError
from musicemo.ops import BatchNormReLUMaxPool2d, MaskedBatchNorm2d, masked_mean, repeat_steps, valid_steps

__all__ = ["CNN"]


class CNN(nn.Module):
    """Convolutional blocks over the spectrogram, followed by a pooled or a flattened embedding.

    A block is convolution -> batch normalization -> ReLU -> 2x2 max pooling, over time and feature rows. With n blocks,
    C the last of `channels`, and `h[b, c, t, f]` the output of the last block:

    - ``pooling = "mean"``: the mean over a track's valid steps t, for each channel and pooled row. The
      embedding has C * ceil(`input_size` / 2^n) values. Convolutions are zero-padded to keep the size, and a
      last odd row or step is pooled by itself, so that any length from 1 step and the 12 rows of chroma are
      accepted. Padding is masked in every block, and changes neither an embedding nor the batch statistics in
      training. `strides` replaces the pooling over time: with 1 for every block, only rows are pooled, and every time
      step has an embedding of its own (`sequence`).
    - ``pooling = "mean-max"``: the same mean, followed by the maximum over the valid steps; twice the size.
    - ``pooling = "flatten"``: the form of the original study. Every track is cropped, or padded with zeros, to `frames`
      steps; convolutions are unpadded; all of `h` is the embedding. A block reduces time and rows from s to
      floor((s - kernel + 1) / 2).

    Shapes: `x` `[batch, time, input_size]`, `lengths` `[batch]` -> `[batch, embedding_size]`.

    The blocks and their defaults are those of the study behind musicemo, based on K. Choi, G. Fazekas and M.
    Sandler, "Automatic Tagging Using Deep Convolutional Neural Networks", ISMIR 2016. Deviations from the
    study: dropout is off in evaluation, and the input gets a channel dimension, where the study reshapes time
    and feature rows into each other.

    Args:
        input_size: Number of feature rows.
        channels: Output channels of each block.
        kernels: Kernel size of each block; as many values as `channels`.
        strides: Pooling factor of each block over time; by default 2.
        pooling: Pooling of the last block's output into an embedding.
        frames: Number of time steps of the flattened form, such as 129 for beat-synchronous clips of 30 s.
        dropout: Dropout probability of the embedding.

    Raises:
        InputError: `channels` and `kernels` or `strides` differ in number; `frames` is missing with ``pooling =
            "flatten"``, or set without it; the blocks reduce time or rows to nothing.
    """

    def __init__(
        self,
        *,
        input_size: int,
        channels: Annotated[list[Annotated[int, Field(gt=0)]], Field(min_length=1)] = [4, 16, 64, 256],  # noqa: B006  # never changed; a list is what TOML has
        kernels: Annotated[list[Annotated[int, Field(gt=0)]], Field(min_length=1)] = [5, 4, 3, 3],  # noqa: B006  # likewise
        strides: Annotated[list[Annotated[int, Field(gt=0)]], Field(min_length=1)] | None = None,
        pooling: Literal["mean", "mean-max", "flatten"] = "mean",
        frames: Annotated[int, Field(gt=0)] | None = None,
        dropout: Annotated[float, Field(ge=0, lt=1)] = 0.0,
    ) -> None:
        super().__init__()
        if len(channels) != len(kernels):
            raise InputError(
                f"`channels` has {len(channels)} entries and `kernels` has {len(kernels)}: give one of each per block"
            )
        if (pooling == "flatten") != (frames is not None):
            raise InputError(
                '`frames` is required with pooling = "flatten": the number of steps to crop or pad clips to'
                if frames is None
                else f'`frames` can be set only with pooling = "flatten", not {pooling!r}'
            )
        if strides is not None and (len(strides) != len(channels) or frames is not None):
            raise InputError(
                '`strides` cannot be set with pooling = "flatten"'
                if frames is not None
                else f"`channels` has {len(channels)} entries and `strides` {len(strides)}; a block has one of each"
            )
        self.strides = strides or [2] * len(channels)
        self.pooling = pooling
        self.frames = frames
        self.blocks = nn.ModuleList(
            _Block(inputs, outputs, kernel, stride, same_size=frames is None)
            for inputs, outputs, kernel, stride in zip(
                [1, *channels], channels, kernels, self.strides, strict=False
            )
        )
        self.dropout = nn.Dropout(dropout)
        if frames is None:
            rows = -(-input_size // 2 ** len(kernels))
            self.sequence_size = channels[-1] * rows
            self.embedding_size = self.sequence_size * (2 if pooling == "mean-max" else 1)
        else:
            sizes = {"`frames`": frames, "feature rows": input_size}
            self.embedding_size = _flattened_size(channels[-1], kernels, sizes)
        # In this layout, a training step with the default blocks takes a fifth less time on a CPU.
        self.to(memory_format=torch.channels_last)  # type: ignore[call-overload]  # missing in torch's stubs

    def forward(self, x: Tensor, lengths: Tensor) -> Tensor:
        """Return the embedding `[batch, embedding_size]` of `x` `[batch, time, feature]`."""
        if self.frames is not None:
            h = nn.functional.pad(x, (0, 0, 0, self.frames - x.shape[1])).unsqueeze(1)
            for block in self.blocks:
                h = block(h)
            embedding = h.flatten(1)
        else:
            h, valid = self._convolve(x, lengths)
            embedding = masked_mean(h, valid)
            if self.pooling == "mean-max":  # padding is zero, and no value is less
                embedding = torch.cat([embedding, h.amax(1)], 1)
        return self.dropout(embedding)  # type: ignore[no-any-return]  # torch leaves Module calls untyped

    def sequence(self, x: Tensor, lengths: Tensor) -> Tensor:
        """Return an embedding per time step, `[batch, time, sequence_size]`: the last block's output before pooling.

        Each of its steps stands for the steps of `x` from which it was pooled: 2^n, or the product of `strides`.
        """
        if self.frames is not None:
            raise InputError('pooling = "flatten" has no embedding per time step. Use pooling = "mean"')
        h, _ = self._convolve(x, lengths)
        return self.dropout(repeat_steps(h, math.prod(self.strides), lengths, x.shape[1]))  # type: ignore[no-any-return]  # likewise

    def _convolve(self, x: Tensor, lengths: Tensor) -> tuple[Tensor, Tensor | None]:
        """Return the last block's output `[batch, time / 2^n, embedding]` and its valid steps, None without padding."""
        padded = bool((lengths < x.shape[1]).any())  # without padding, the blocks are faster
        h = x.unsqueeze(1)
        for block, stride in zip(self.blocks, self.strides, strict=True):
            h = block(h, valid_steps(lengths, h.shape[2]) if padded else None)
            lengths = (lengths + stride - 1) // stride
        h = h.transpose(1, 2).flatten(2)
        return h, valid_steps(lengths, h.shape[1]) if padded else None


class _Block(nn.Module):
    """Convolution, batch normalization, ReLU, max pooling; `same_size`: padded, and odd sizes round up."""

    def __init__(self, inputs: int, outputs: int, kernel: int, stride: int, *, same_size: bool) -> None:
        super().__init__()
        before, after = ((kernel - 1) // 2, kernel // 2) if same_size else (0, 0)
        # A convolution pads equally on both sides; an even kernel needs one more row after than before.
        uneven = before != after
        self.margin = nn.ZeroPad2d((before, after, before, after)) if uneven else nn.Identity()
        self.convolution = nn.Conv2d(inputs, outputs, kernel, padding=0 if uneven else before, bias=False)
        self.stride = stride
        self.normalization = (
            BatchNormReLUMaxPool2d(outputs, ceil_mode=same_size) if stride == 2 else MaskedBatchNorm2d(outputs)
        )

    def forward(self, x: Tensor, valid: Tensor | None = None) -> Tensor:
        h: Tensor = self.normalization(self.convolution(self.margin(x)), valid)
        if self.stride == 2:
            return h
        return nn.functional.max_pool2d(h.relu(), (self.stride, 2), ceil_mode=True)


def _flattened_size(channels: int, kernels: list[int], sizes: dict[str, int]) -> int:
    """Return how many values unpadded blocks leave of an input of these sizes."""
    problems = []
    size = channels
    for name, full in sizes.items():
        left = full
        for block, kernel in enumerate(kernels, 1):
            left = (left - kernel + 1) // 2
            if left < 1:
                fewer = f"fewer blocks (at most {block - 1} in `channels` and `kernels`), " if block > 1 else ""
                problems.append(
                    f"nothing is left of {full} {name} after block {block} of {len(kernels)}: use {fewer}"
                    f'smaller `kernels`, or pooling = "mean"'
                )
                break
        size *= left
    if problems:
        raise InputError(*problems)
    return size
