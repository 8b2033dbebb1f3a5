"""The `transformer` model."""

from __future__ import annotations

import math
from typing import Annotated, Literal

import torch
from pydantic import Field
from torch import Tensor, nn

from musicemo.errors import InputError
from musicemo.ops import AttentionPool, DropPath, masked_mean, repeat_steps, valid_steps

__all__ = ["Transformer"]

Size = Annotated[int, Field(gt=0)]


class Transformer(nn.Module):
    """An encoder with self-attention over time, for tracks of any length.

    Token t is a linear function of `stride` consecutive steps, plus the sinusoidal encoding of t:

        z[t] = W (x[s t], ..., x[s t + s - 1]) + b + p[t],   s = stride,
        p[t, 2 i] = sin(t / 10000^(2 i / width)),   p[t, 2 i + 1] = cos(t / 10000^(2 i / width))

    Each layer is z + attention(norm(z)), then z + dense(norm(z)), with layer normalization and a dense part with
    4 * `width` hidden units and GELU. A last normalization follows the layers.

    - ``pooling = "mean"``: the embedding is the mean of z over a track's tokens;
    - ``pooling = "attention"``: it is their weighted mean, `musicemo.ops.AttentionPool`;
    - ``pooling = "cls"``: it is the output of a learned token that stands before the others.

    Tokens attend to those of the same window: a track with more than `window` tokens is cut into windows of this size,
    the last one shorter. Memory and time grow linearly with a track's length. Pooling covers all tokens; with
    ``"cls"`` each window has such a token, and the embedding is the mean of their outputs. Padding is masked.

    Shapes: `x` `[batch, time, input_size]`, `lengths` `[batch]` -> `[batch, width]`.

    A. Vaswani and others, "Attention Is All You Need", NIPS 2017; normalization before each part after R. Xiong and
    others, "On Layer Normalization in the Transformer Architecture", ICML 2020. Deviation: dropout does not apply to
    the weights of the attention, so that the attention of a window is never stored as a matrix.

    Args:
        input_size: Number of feature rows.
        width: Size of a token; an even multiple of `heads`.
        layers: Number of layers.
        heads: Number of attention heads.
        dropout: Dropout probability of the tokens and of each part's output.
        drop_path: Probability of dropping each of the two parts of the last layer, for a window in training. That of
            layer l of n is l / n times this one (stochastic depth).
        pooling: Pooling of the tokens into an embedding.
        stride: Number of time steps that one token covers.
        window: Largest number of tokens that attend to each other.

    Raises:
        InputError: `width` is odd or not a multiple of `heads`.
    """

    def __init__(
        self,
        *,
        input_size: int,
        width: Size = 128,
        layers: Size = 2,
        heads: Size = 4,
        dropout: Annotated[float, Field(ge=0, lt=1)] = 0.1,
        drop_path: Annotated[float, Field(ge=0, lt=1)] = 0.0,
        pooling: Literal["mean", "attention", "cls"] = "mean",
        stride: Size = 1,
        window: Size = 512,
    ) -> None:
        super().__init__()
        if width % heads or width % 2:
            raise InputError(f"`width` must be an even multiple of `heads`, {heads}, not {width}")
        self.pooling, self.stride, self.window = pooling, stride, window
        self.embedding_size = self.sequence_size = width
        self.project = nn.Linear(stride * input_size, width)
        self.cls = nn.Parameter(torch.randn(width) / math.sqrt(width)) if pooling == "cls" else None
        self.layers = nn.ModuleList(
            _Layer(width, heads, dropout, drop_path * number / layers) for number in range(1, layers + 1)
        )
        self.norm = nn.LayerNorm(width)
        self.attention = AttentionPool(width) if pooling == "attention" else None
        self.dropout = nn.Dropout(dropout)

    def forward(self, x: Tensor, lengths: Tensor) -> Tensor:
        """Return the embedding `[batch, width]` of `x` `[batch, time, feature]`."""
        tokens, valid, cls = self._encode(x, lengths.to(x.device))
        if cls is not None:
            return cls
        return masked_mean(tokens, valid) if self.attention is None else self.attention(tokens, valid)

    def sequence(self, x: Tensor, lengths: Tensor) -> Tensor:
        """Return an embedding per time step, `[batch, time, width]`: that of its token."""
        lengths = lengths.to(x.device)
        tokens, _, _ = self._encode(x, lengths)
        return repeat_steps(tokens, self.stride, lengths, x.shape[1])

    def _encode(self, x: Tensor, lengths: Tensor) -> tuple[Tensor, Tensor, Tensor | None]:
        """Return tokens `[batch, tokens, width]`, their mask, and with ``pooling = "cls"`` the embedding."""
        x = nn.functional.pad(x, (0, 0, 0, -x.shape[1] % self.stride))
        h = self.project(x.reshape(x.shape[0], -1, self.stride * x.shape[2]))
        h = self.dropout(h + _positions(h.shape[1], h.shape[2], x.device))
        counts = (lengths + self.stride - 1) // self.stride

        starts = torch.arange(0, h.shape[1], self.window, device=x.device)
        steps = starts[:, None] + torch.arange(self.window, device=x.device)[: h.shape[1]]
        used = starts < counts[:, None]
        track, number = used.nonzero(as_tuple=True)  # a window each, of a track that is long enough
        z = h[track[:, None], steps[number].clamp(max=h.shape[1] - 1)]
        inside = steps[number] < counts[track, None]
        if self.cls is not None:
            z = torch.cat([self.cls.to(z.dtype).expand(z.shape[0], 1, -1), z], 1)
            inside = nn.functional.pad(inside, (1, 0), value=True)
        for layer in self.layers:
            z = layer(z, inside)
        z = self.norm(z)
        embedding = None
        if self.cls is not None:
            each = z.new_zeros(*used.shape, z.shape[2]).index_put((track, number), z[:, 0])
            embedding = each.sum(1) / used.sum(1, keepdim=True)
            z = z[:, 1:]
        windows = z.new_zeros(*used.shape, *z.shape[1:]).index_put((track, number), z)
        return windows.flatten(1, 2)[:, : h.shape[1]], valid_steps(counts, h.shape[1]), embedding


class _Layer(nn.Module):
    """z + attention(norm(z)), then z + dense(norm(z)), of tokens `[windows, tokens, width]`."""

    def __init__(self, width: int, heads: int, dropout: float, drop_path: float) -> None:
        super().__init__()
        self.heads = heads
        self.attention_norm = nn.LayerNorm(width)
        self.query_key_value = nn.Linear(width, 3 * width)
        self.output = nn.Linear(width, width)
        self.dense = nn.Sequential(
            nn.LayerNorm(width),
            nn.Linear(width, 4 * width),
            nn.GELU(),
            nn.Dropout(dropout),
            nn.Linear(4 * width, width),
        )
        self.dropout = nn.Dropout(dropout)
        self.drop_path = DropPath(drop_path)

    def forward(self, z: Tensor, inside: Tensor) -> Tensor:
        projected = self.query_key_value(self.attention_norm(z))
        projected = projected.reshape(*z.shape[:2], 3, self.heads, z.shape[2] // self.heads)
        query, key, value = projected.permute(2, 0, 3, 1, 4)  # each [windows, heads, tokens, width / heads]
        attended = nn.functional.scaled_dot_product_attention(
            query, key, value, attn_mask=inside[:, None, None, :]
        )
        z = z + self.drop_path(self.dropout(self.output(attended.transpose(1, 2).flatten(2))))
        return z + self.drop_path(self.dropout(self.dense(z)))  # type: ignore[no-any-return]  # torch leaves Module calls untyped


def _positions(count: int, width: int, device: torch.device) -> Tensor:
    """Return the sinusoidal encoding `[count, width]` of the positions from 0."""
    rates = torch.exp(torch.arange(0, width, 2, device=device) * (-math.log(10000.0) / width))
    angles = torch.arange(count, device=device)[:, None] * rates
    return torch.stack([angles.sin(), angles.cos()], 2).flatten(1)
