"""A model: a backbone that is trained by gradients, or an estimator."""

from __future__ import annotations

from collections.abc import Iterable, Mapping, Sequence
from typing import Any, Protocol, runtime_checkable

from torch import Tensor, nn

__all__ = ["Estimator", "Fitted", "Model"]


@runtime_checkable
class Model(Protocol):
    """A backbone: an `nn.Module` from `x` `[batch, time, feature]` and `lengths` `[batch]` to an embedding.

    `x` is zero from each track's length on. Padding must not change an embedding in evaluation mode: a track
    gives the same one alone and in any batch. The core adds one head per task. See `Estimator` for a model that is
    not trained by gradients.
    """

    embedding_size: int

    def __call__(self, x: Tensor, lengths: Tensor) -> Tensor:
        """Return the embedding `[batch, embedding_size]`."""
        ...


class Fitted(nn.Module):
    """A module whose buffers hold what was fitted, and on loading a state take the shapes that they have there."""

    def _load_from_state_dict(self, state_dict: Mapping[str, Any], prefix: str, *rest: Any) -> None:
        for name, buffer in self._buffers.items():
            if buffer is not None and isinstance(found := state_dict.get(prefix + name), Tensor):
                self._buffers[name] = buffer.new_empty(found.shape)
        super()._load_from_state_dict(state_dict, prefix, *rest)


class Estimator(Fitted):
    """A model that is fitted in one go, without gradients, and predicts every task itself: it has no heads.

    A buffer, of the estimator or of a `Fitted` within it, holds what it learns: so it is in every checkpoint, and
    its shape may depend on the data. Losses and weighting have no part in the fit, and there is one epoch.
    """

    #: Tasks whose labels the predictions rest on beside the features; where they are not known, there are none.
    given: Sequence[str] = ()

    def fit(self, tracks: Iterable[Tensor], targets: Mapping[str, Tensor]) -> None:
        """Learn from the training part.

        Args:
            tracks: the features of each, `[time, feature]`, on the CPU; read as they are asked for.
            targets: task -> `[tracks]`: ratings in [0, 1] or class indices, NaN where missing.
        """
        raise NotImplementedError(f"{type(self).__name__} does not override fit")

    def forward(self, x: Tensor, lengths: Tensor, labels: Mapping[str, Tensor]) -> dict[str, Tensor]:
        """Return task -> ratings in [0, 1] `[batch]`, or logits `[batch, classes]`.

        Args:
            x: `[batch, time, feature]`, zero from each track's length on, which must not change a prediction.
            lengths: `[batch]`.
            labels: `[batch]`, of the tasks in `given`, as in `fit`.
        """
        raise NotImplementedError(f"{type(self).__name__} does not override forward")
