"""The `cnn` model."""

from __future__ import annotations

from typing import Annotated, Literal

import torch
from pydantic import Field
from torch import Tensor, nn

from musicemo.errors import InputError
from musicemo_builtin.models._masking import MaskedBatchNorm2d, masked_mean, valid_steps
from musicemo_builtin.models._pooling import NormalizedPool

__all__ = ["CNN"]


class CNN(nn.Module):
    """Convolutional blocks over the spectrogram, followed by a pooled or a flattened embedding.

    A block is convolution -> batch normalization -> 2x2 max pooling -> ReLU, over time and feature rows. (Max
    pooling and ReLU commute, so this equals the usual convolution -> batch normalization -> ReLU -> max
    pooling, with a quarter of the work for the ReLU.) With n blocks, C the last of `channels`, and `h[b, c, t,
    f]` the output of the last block:

    - ``pooling = "mean"``: the mean over a track's valid steps t, for each channel and pooled row. The
      embedding has C * ceil(`input_size` / 2^n) values. Convolutions are zero-padded to keep the size, and a
      last odd row or step is pooled by itself, so that any length from 1 step and the 12 rows of chroma are
      accepted. Padding is masked in every block, and changes neither an embedding nor the batch statistics in
      training.
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
        pooling: Pooling of the last block's output into an embedding.
        frames: Number of time steps of the flattened form, such as 129 for beat-synchronous clips of 30 s.
        dropout: Dropout probability of the embedding.

    Raises:
        InputError: `channels` and `kernels` differ in number; `frames` is missing with ``pooling = "flatten"``, or set
            without it; the blocks reduce time or rows to nothing.
    """

    def __init__(
        self,
        *,
        input_size: int,
        channels: Annotated[list[Annotated[int, Field(gt=0)]], Field(min_length=1)] = [4, 16, 64, 256],  # noqa: B006  # never changed; a list is what TOML has
        kernels: Annotated[list[Annotated[int, Field(gt=0)]], Field(min_length=1)] = [5, 4, 3, 3],  # noqa: B006  # likewise
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
        self.pooling = pooling
        self.frames = frames
        self.blocks = nn.ModuleList(
            _Block(inputs, outputs, kernel, same_size=frames is None)
            for inputs, outputs, kernel in zip([1, *channels], channels, kernels, strict=False)
        )
        self.dropout = nn.Dropout(dropout)
        if frames is None:
            rows = -(-input_size // 2 ** len(kernels))
            self.embedding_size = channels[-1] * rows * (2 if pooling == "mean-max" else 1)
        else:
            sizes = {"`frames`": frames, "feature rows": input_size}
            self.embedding_size = _flattened_size(channels[-1], kernels, sizes)
        # Measured on two cores, the study's blocks: a training step takes a fifth less time than without.
        self.to(memory_format=torch.channels_last)  # type: ignore[call-overload]  # missing in torch's stubs

    def forward(self, x: Tensor, lengths: Tensor) -> Tensor:
        """Return the embedding `[batch, embedding_size]` of `x` `[batch, time, feature]`."""
        if self.frames is not None:
            h = nn.functional.pad(x, (0, 0, 0, self.frames - x.shape[1])).unsqueeze(1)
            for block in self.blocks:
                h = block(h, None)
            return self.dropout(h.flatten(1))  # type: ignore[no-any-return]  # torch leaves Module calls untyped
        h = x.unsqueeze(1)
        padded = bool((lengths < x.shape[1]).any())
        for block in self.blocks:
            h = block(h, valid_steps(lengths, h.shape[2], x.device) if padded else None)
            lengths = (lengths + 1) // 2
        h = h.transpose(1, 2)
        embedding = masked_mean(h, valid_steps(lengths, h.shape[1], x.device)) if padded else h.mean(1)
        if self.pooling == "mean-max":  # what lies beyond a track's length is zero, and nothing is less
            embedding = torch.cat([embedding, h.amax(1)], 1)
        return self.dropout(embedding.flatten(1))  # type: ignore[no-any-return]  # likewise


class _Block(nn.Module):
    """Convolution, batch normalization, 2x2 max pooling, ReLU; `same_size`: padded, and odd sizes round up."""

    def __init__(self, inputs: int, outputs: int, kernel: int, *, same_size: bool) -> None:
        super().__init__()
        before, after = (kernel - 1) // 2, kernel // 2
        # An even kernel needs one more row behind than before it, which a convolution does not offer.
        self.margin = (before, after) * 2 if same_size and before != after else None
        padding = before if same_size and before == after else 0
        self.convolution = nn.Conv2d(inputs, outputs, kernel, padding=padding, bias=False)
        self.normalization = MaskedBatchNorm2d(outputs)
        self.pool = nn.MaxPool2d(2, ceil_mode=same_size)

    def forward(self, x: Tensor, valid: Tensor | None) -> Tensor:
        if self.margin is not None:
            x = nn.functional.pad(x, self.margin)
        if self.normalization.training and valid is None:  # a frozen one keeps its statistics
            return self._step(x)
        return self.pool(self.normalization(self.convolution(x), valid)).relu_()  # type: ignore[no-any-return]  # torch leaves Module calls untyped

    def _step(self, x: Tensor) -> Tensor:
        """Do the same on a batch without padding in training, where normalizing after pooling saves time."""
        norm = self.normalization
        # Normalizing with a negative weight is normalizing the negated channel with a positive one.
        sign = torch.where(norm.weight.detach() < 0, -1.0, 1.0)
        kernel = self.convolution.weight * sign[:, None, None, None]
        h = nn.functional.conv2d(x, kernel, padding=self.convolution.padding)
        count = h.numel() // h.shape[1]
        if count == 1:
            return self.pool(norm(self.convolution(x))).relu_()  # type: ignore[no-any-return]  # likewise
        ceil = bool(self.pool.ceil_mode)
        pooled, mean, variance = NormalizedPool.apply(h, norm.weight * sign, norm.bias, norm.eps, ceil)  # type: ignore[no-untyped-call]  # torch leaves apply untyped
        norm.remember(mean * sign, variance, count)
        return pooled.relu_()  # type: ignore[no-any-return]  # likewise


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
