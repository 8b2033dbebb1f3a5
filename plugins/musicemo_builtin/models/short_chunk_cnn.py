"""The `short-chunk-cnn` model."""

from __future__ import annotations

from typing import Annotated

import torch
from pydantic import Field
from torch import Tensor, nn

from musicemo_builtin.models._masking import MaskedBatchNorm2d, valid_steps

__all__ = ["ShortChunkCNN"]

Size = Annotated[int, Field(gt=0)]


class ShortChunkCNN(nn.Module):
    """Residual convolutions on short chunks of a track: a random one in training, the mean over all in evaluation.

    With F blocks of two 3x3 convolutions with batch normalization, ReLU, a shortcut, and 2x2 max pooling (odd sizes
    round up), and z[k] the largest value of each channel over what they leave of chunk k of K:

        training: z of a chunk that begins anywhere     evaluation: (1 / K) sum_k z[k]

    Chunks of `chunk` steps follow each other; the last one ends with the track. A track that is no longer than one is
    its only chunk. So a song gives many training examples, and is judged by all of it.

    Shapes: `x` `[batch, time, input_size]`, `lengths` `[batch]` -> `[batch, embedding_size]`, where `embedding_size` is
    the last of `channels`.

    M. Won, A. Ferraro, D. Bogdanov, X. Serra, "Evaluation of CNN-based Automatic Music Tagging Models", SMC 2020.
    Deviations: fewer blocks and channels, as for a few hundred songs.

    Args:
        input_size: Number of feature rows.
        channels: Channels of each block.
        chunk: Steps of a chunk: 3 s of frames, or 30 s of beats at 120 a minute.
        dropout: Probability with which an element of the embedding is zeroed in training.
    """

    def __init__(
        self,
        *,
        input_size: int,
        channels: Annotated[list[Size], Field(min_length=1)] = [16, 32, 64, 128, 128],  # noqa: B006  # never changed
        chunk: Size = 128,
        dropout: Annotated[float, Field(ge=0, lt=1)] = 0.5,
    ) -> None:
        super().__init__()
        self.chunk = chunk
        self.embedding_size = channels[-1]
        self.blocks = nn.ModuleList(
            _Residual(inputs, outputs) for inputs, outputs in zip([1, *channels], channels, strict=False)
        )
        self.dropout = nn.Dropout(dropout)

    def forward(self, x: Tensor, lengths: Tensor) -> Tensor:
        """Return the embedding `[batch, embedding_size]` of `x` `[batch, time, feature]`."""
        chunks, owners = [], []
        for index, length in enumerate(lengths.tolist()):
            for start in self._starts(length):
                chunks.append(x[index, start : min(start + self.chunk, length)])
                owners.append(index)
        h = nn.utils.rnn.pad_sequence(chunks, batch_first=True).unsqueeze(1)
        steps = torch.tensor([len(chunk) for chunk in chunks], device=x.device)
        for block in self.blocks:
            h = block(h, valid_steps(steps, h.shape[2], x.device))
            steps = (steps + 1) // 2
        summit = h.amax((2, 3))  # what lies beyond a chunk's end is zero, and nothing is less
        owner = torch.tensor(owners, device=x.device)
        total = summit.new_zeros(len(x), self.embedding_size).index_add(0, owner, summit)
        embedding: Tensor = self.dropout(total / torch.bincount(owner, minlength=len(x))[:, None])
        return embedding

    def _starts(self, length: int) -> list[int]:
        last = max(length - self.chunk, 0)
        if self.training:
            return [int(torch.randint(last + 1, ()))]
        return sorted({*range(0, last, self.chunk), last})


class _Residual(nn.Module):
    """relu(bn(conv(relu(bn(conv(x))))) + shortcut(x)), then 2x2 max pooling."""

    def __init__(self, inputs: int, outputs: int) -> None:
        super().__init__()
        self.first = nn.Conv2d(inputs, outputs, 3, padding=1, bias=False)
        self.first_norm = MaskedBatchNorm2d(outputs)
        self.second = nn.Conv2d(outputs, outputs, 3, padding=1, bias=False)
        self.second_norm = MaskedBatchNorm2d(outputs)
        self.shortcut = nn.Conv2d(inputs, outputs, 1, bias=False) if inputs != outputs else None

    def forward(self, x: Tensor, valid: Tensor) -> Tensor:
        h = self.first_norm(self.first(x), valid).relu()
        h = self.second_norm(self.second(h), valid)
        h = (h + (x if self.shortcut is None else self.shortcut(x))).relu()
        return nn.functional.max_pool2d(h, 2, ceil_mode=True)
