"""The contracts of models: backbones that are trained by gradients, and estimators."""

from __future__ import annotations

from collections.abc import Collection, Iterable, Mapping, Sequence
from typing import Any, Protocol, runtime_checkable

from torch import Tensor, nn

from musicemo.contracts.dataset import TargetKind

__all__ = ["Estimator", "Fitted", "Model"]


@runtime_checkable
class Model(Protocol):
    """A backbone: an `nn.Module` that maps `x` `[batch, time, feature]` and `lengths` `[batch]` to an embedding.

    `x` is zero beyond the length of each track. In evaluation mode, padding must not change an embedding: a track
    has the same embedding alone and in any batch. The core adds one head per task. See `Estimator` for models that
    are not trained by gradients.

    A model that has an embedding per time step has two more attributes, for targets over time:

    - ``sequence_size``: the size of that embedding, an int;
    - ``sequence(x, lengths)``: returns it for every step of `x`, `[batch, time, sequence_size]`, zero beyond the length
      of each track. Padding must not change it. A model that pools time repeats an embedding over the steps that it
      stands for (`musicemo.ops.repeat_steps`).
    """

    embedding_size: int

    def __call__(self, x: Tensor, lengths: Tensor) -> Tensor:
        """Return the embedding `[batch, embedding_size]`."""
        ...


class Fitted(nn.Module):
    """A module with fitted buffers, which take the shapes of a loaded state."""

    def _load_from_state_dict(self, state_dict: Mapping[str, Any], prefix: str, *rest: Any) -> None:
        for name, buffer in self._buffers.items():
            if buffer is not None and isinstance(stored := state_dict.get(prefix + name), Tensor):
                self._buffers[name] = buffer.new_empty(stored.shape)
        super()._load_from_state_dict(state_dict, prefix, *rest)


class Estimator(Fitted):
    """A model that is fitted in one go, without gradients, and predicts every task without heads.

    Store everything that is learned in buffers of the estimator or of a `Fitted` submodule. Buffers are saved in
    checkpoints, and their shapes may depend on the data. Losses and weighting are not used, and there is one epoch.
    """

    #: Kinds of targets that it can be fitted to. Experiments with others are refused.
    kinds: Collection[TargetKind] = ("regression", "classification", "tags")
    #: Tasks whose true labels are inputs of the model. Tracks without them get no prediction.
    given: Sequence[str] = ()

    def fit(self, tracks: Iterable[Tensor], targets: Mapping[str, Tensor]) -> None:
        """Fit the model to the training set.

        Args:
            tracks: features of each track, `[time, feature]`, on the CPU, read lazily, each time they are iterated.
            targets: task -> `[tracks]`: ratings in [0, 1] or class indices; or `[tracks, tags]`: 1 if the tag applies,
                otherwise 0; or `[tracks, time]`: ratings over time, if `kinds` has "series". NaN where missing.
        """
        raise NotImplementedError(f"{type(self).__name__} does not override fit")

    def forward(self, x: Tensor, lengths: Tensor, labels: Mapping[str, Tensor]) -> dict[str, Tensor]:
        """Return task -> ratings in [0, 1] `[batch]`, over time `[batch, time]`, or logits `[batch, classes]`.

        Args:
            x: `[batch, time, feature]`, zero beyond the length of each track. Padding must not change a prediction.
            lengths: `[batch]`.
            labels: task -> `[batch]` or `[batch, tags]`, for the tasks in `given`, as in `fit`.
        """
        raise NotImplementedError(f"{type(self).__name__} does not override forward")
