"""The `mlp` model."""

from __future__ import annotations

from collections.abc import Callable
from typing import Annotated, Literal

import torch
from pydantic import Field
from torch import Tensor, nn

from musicemo.ops import AttentionPool, masked_mean, masked_std, valid_steps

__all__ = ["MLP"]

_NORMS: dict[str, Callable[[int], nn.Module]] = {"layer": nn.LayerNorm, "batch": nn.BatchNorm1d}
_ACTIVATIONS: dict[str, Callable[[], nn.Module]] = {"relu": nn.ReLU, "gelu": nn.GELU, "tanh": nn.Tanh}


class MLP(nn.Module):
    """Dense layers on features that are pooled over time: the usual probe of pretrained embeddings.

    With x[t] the features at step t of a track, p its pooled features, and W, b those of each hidden layer:

    - ``pooling = "mean"``: p is the mean of x over the track's steps;
    - ``pooling = "mean-std"``: p is the mean and the standard deviation;
    - ``pooling = "attention"``: p = sum_t a[t] x[t], a = softmax_t(v . tanh(W x[t] + b)): `musicemo.ops.AttentionPool`;
    - ``pooling = "late"``: the layers are applied to each x[t], and the embedding is the mean over the steps. With
      linear heads, the prediction of a track is the mean of the predictions of its steps.

    A hidden layer is dropout(activation(norm(W h + b))), with h = p in the first one. Without hidden layers, p is the
    embedding. The embedding of a time step is that of a track which consists of this step.

    Shapes: `x` `[batch, time, input_size]`, `lengths` `[batch]` -> `[batch, embedding_size]`, where `embedding_size` is
    the last of `hidden`.

    The defaults are those of the probe of R. Yuan and others, "MARBLE: Music Audio Representation Benchmark for
    Universal Evaluation", NeurIPS 2023.

    Args:
        input_size: Number of feature rows.
        hidden: Number of units of each hidden layer.
        pooling: Pooling of the features over time.
        norm: Normalization in each hidden layer: over the units of a track, or over the tracks of a batch.
        activation: Activation function.
        dropout: Dropout probability after each hidden layer.
    """

    def __init__(
        self,
        *,
        input_size: int,
        hidden: list[Annotated[int, Field(gt=0)]] = [512],  # noqa: B006  # never changed; a list is what TOML has
        pooling: Literal["mean", "mean-std", "attention", "late"] = "mean",
        norm: Literal["none", "layer", "batch"] = "none",
        activation: Literal["relu", "gelu", "tanh"] = "relu",
        dropout: Annotated[float, Field(ge=0, lt=1)] = 0.2,
    ) -> None:
        super().__init__()
        self.pooling = pooling
        self.attention = AttentionPool(input_size) if pooling == "attention" else None
        sizes = [input_size * (2 if pooling == "mean-std" else 1), *hidden]
        self.layers = nn.Sequential()
        for inputs, outputs in zip(sizes, hidden, strict=False):
            self.layers.append(nn.Linear(inputs, outputs))
            if norm != "none":
                self.layers.append(_NORMS[norm](outputs))
            self.layers.append(_ACTIVATIONS[activation]())
            self.layers.append(nn.Dropout(dropout))
        self.embedding_size = self.sequence_size = sizes[-1]

    def forward(self, x: Tensor, lengths: Tensor) -> Tensor:
        """Return the embedding `[batch, embedding_size]` of `x` `[batch, time, feature]`."""
        valid = valid_steps(lengths.to(x.device), x.shape[1])
        if self.pooling == "late":
            return masked_mean(self.sequence(x, lengths), valid)
        if self.attention is not None:
            pooled = self.attention(x, valid)
        else:
            pooled = masked_mean(x, valid)
            if self.pooling == "mean-std":
                pooled = torch.cat([pooled, masked_std(x, valid)], 1)
        return self.layers(pooled)  # type: ignore[no-any-return]  # torch leaves Module calls untyped

    def sequence(self, x: Tensor, lengths: Tensor) -> Tensor:
        """Return an embedding per time step, `[batch, time, sequence_size]`."""
        valid = valid_steps(lengths.to(x.device), x.shape[1])
        steps = x[valid]  # padding is not normalized
        if self.pooling == "mean-std":
            steps = torch.cat([steps, torch.zeros_like(steps)], 1)
        embeddings: Tensor = self.layers(steps)
        padded = embeddings.new_zeros(*valid.shape, self.sequence_size)
        return padded.index_put(valid.nonzero(as_tuple=True), embeddings)
