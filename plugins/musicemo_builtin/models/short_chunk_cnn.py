"""The `short-chunk-cnn` model."""

from __future__ import annotations

from typing import Annotated

import torch
from pydantic import Field
from torch import Tensor, nn

from musicemo.ops import DropPath, MaskedBatchNorm2d, valid_steps

__all__ = ["ShortChunkCNN"]

Size = Annotated[int, Field(gt=0)]


class ShortChunkCNN(nn.Module):
    """Residual convolutions on short chunks of a track: a random chunk in training, the mean over all in evaluation.

    The network has blocks of two 3x3 convolutions with batch normalization, ReLU, a shortcut, and 2x2 max pooling (odd
    sizes round up). With z[k] the maximum of each channel over the output for chunk k of K:

        training: z of a chunk at a random position     evaluation: (1 / K) sum_k z[k]

    In evaluation, chunks of `chunk` steps follow each other, and the last one ends with the track. A track that is not
    longer than a chunk is its only chunk. Thus a song gives many training examples, and its prediction uses all of it.

    Shapes: `x` `[batch, time, input_size]`, `lengths` `[batch]` -> `[batch, embedding_size]`, where `embedding_size` is
    the last of `channels`.

    M. Won, A. Ferraro, D. Bogdanov, X. Serra, "Evaluation of CNN-based Automatic Music Tagging Models", SMC 2020.
    Deviations: fewer blocks and channels, suited to a few hundred songs.

    Args:
        input_size: Number of feature rows.
        channels: Output channels of each block.
        chunk: Number of steps of a chunk: 128 are 3 s of frames, or about 60 s of beats at 120 per minute.
        dropout: Dropout probability of the embedding.
        drop_path: Probability of dropping the convolutions of the last block for a track in training, so that only the
            shortcut remains. That of block l of n is l / n times this one (stochastic depth).
    """

    def __init__(
        self,
        *,
        input_size: int,
        channels: Annotated[list[Size], Field(min_length=1)] = [16, 32, 64, 128, 128],  # noqa: B006  # never changed
        chunk: Size = 128,
        dropout: Annotated[float, Field(ge=0, lt=1)] = 0.5,
        drop_path: Annotated[float, Field(ge=0, lt=1)] = 0.0,
    ) -> None:
        super().__init__()
        self.chunk = chunk
        self.embedding_size = channels[-1]
        self.blocks = nn.ModuleList(
            _Residual(inputs, outputs, drop_path * number / len(channels))
            for number, (inputs, outputs) in enumerate(zip([1, *channels], channels, strict=False), start=1)
        )
        self.dropout = nn.Dropout(dropout)

    def forward(self, x: Tensor, lengths: Tensor) -> Tensor:
        """Return the embedding `[batch, embedding_size]` of `x` `[batch, time, feature]`."""
        starts, used = self._starts(lengths.to(x.device))
        track, place = used.nonzero(as_tuple=True)
        start, length = starts[track, place], lengths.to(x.device)[track]
        steps = length.clamp(max=self.chunk)
        h = _pieces(x, track, start, steps, self.chunk).unsqueeze(1)
        for block in self.blocks:
            h = block(h, valid_steps(steps, h.shape[2]))
            steps = (steps + 1) // 2
        summit = h.amax((2, 3))  # what lies beyond a chunk's end is zero, and nothing is less
        each = summit.new_zeros(*used.shape, self.embedding_size).index_put((track, place), summit)
        embedding: Tensor = self.dropout(each.sum(1) / used.sum(1, keepdim=True))
        return embedding

    def _starts(self, lengths: Tensor) -> tuple[Tensor, Tensor]:
        """Return where the chunks of each track begin, and whether there is such a chunk: `[batch, chunks]`."""
        last = (lengths - self.chunk).clamp(min=0)
        if self.training:
            drawn = [[int(torch.randint(end + 1, ()))] for end in last.tolist()]
            starts = torch.tensor(drawn, device=lengths.device)
            return starts, torch.ones_like(starts, dtype=torch.bool)
        count = (last + self.chunk - 1) // self.chunk + 1
        places = torch.arange(count.max(), device=lengths.device)  # type: ignore[call-overload]  # traced as a tensor
        return torch.minimum(places * self.chunk, last[:, None]), places < count[:, None]


def _pieces(x: Tensor, track: Tensor, start: Tensor, steps: Tensor, chunk: int) -> Tensor:
    """Cut pieces `[pieces, chunk or fewer steps, feature]` of tracks, zero from each one's number of steps on."""
    offsets = torch.arange(chunk, device=x.device)[: x.shape[1]]
    inside = offsets < steps[:, None]
    index = torch.where(inside, start[:, None] + offsets, 0)
    return x[track[:, None], index].masked_fill(~inside[:, :, None], 0)


class _Residual(nn.Module):
    """relu(drop_path(bn(conv(relu(bn(conv(x)))))) + shortcut(x)), then 2x2 max pooling."""

    def __init__(self, inputs: int, outputs: int, drop_path: float) -> None:
        super().__init__()
        self.first = nn.Conv2d(inputs, outputs, 3, padding=1, bias=False)
        self.first_norm = MaskedBatchNorm2d(outputs)
        self.second = nn.Conv2d(outputs, outputs, 3, padding=1, bias=False)
        self.second_norm = MaskedBatchNorm2d(outputs)
        self.shortcut = nn.Conv2d(inputs, outputs, 1, bias=False) if inputs != outputs else None
        self.drop_path = DropPath(drop_path)

    def forward(self, x: Tensor, valid: Tensor) -> Tensor:
        h = self.first_norm(self.first(x), valid).relu()
        h = self.drop_path(self.second_norm(self.second(h), valid))
        h = (h + (x if self.shortcut is None else self.shortcut(x))).relu()
        return nn.functional.max_pool2d(h, 2, ceil_mode=True)
