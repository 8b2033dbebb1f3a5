"""The `cross-entropy` loss."""

from __future__ import annotations

from typing import Annotated, Literal

import torch
from pydantic import Field
from torch import Tensor, nn

from musicemo.errors import InputError, nearest
from musicemo_builtin.losses._pairs import single

__all__ = ["CrossEntropy"]


class CrossEntropy(nn.Module):
    """Cross-entropy of logits with classes, with class weights and label smoothing.

        sum_i l_i / sum_i w[y_i],   l_i = - sum_c w[c] * q_i[c] * log softmax(p_i)[c]
        q_i[c] = (1 - s) * [c = y_i] + s / k

    with p -> `prediction`, y -> `target`, w -> `class_weights`, s -> `label_smoothing`, k the number of classes:
    `torch.nn.functional.cross_entropy`. The weights are normalized within the batch, so they act
    between the tracks of a batch. In a batch with one class they have no effect (without smoothing).

    "balanced" weights are n / (m * count[c]) for n training tracks of m classes, as scikit-learn's
    ``compute_class_weight`` gives them; a class without training tracks has weight 1, as has a class that is
    missing from a table of weights.

    Shapes: `prediction` `[batch, classes]`, `target` `[batch]`, int64 -> scalar.

    Label smoothing: C. Szegedy, V. Vanhoucke, S. Ioffe, J. Shlens and Z. Wojna, "Rethinking the Inception
    Architecture for Computer Vision", CVPR 2016.

    Args:
        class_counts: Class -> training tracks, in the order of the logits.
        class_weights: "balanced", a table class -> weight, or none.
        label_smoothing: Share of the target that is spread evenly over all classes.

    Raises:
        InputError: `class_weights` names an unknown class.
        ValueError: in the call, where the shapes are not those above.
    """

    kind = "classification"

    def __init__(
        self,
        *,
        class_counts: dict[str, int],
        class_weights: Literal["balanced"]
        | dict[str, Annotated[float, Field(gt=0, allow_inf_nan=False)]]
        | None = None,
        label_smoothing: Annotated[float, Field(ge=0, lt=1)] = 0.0,
    ) -> None:
        super().__init__()
        self.classes = tuple(class_counts)
        self.label_smoothing = label_smoothing
        if class_weights is None:
            weights = None
        elif class_weights == "balanced":
            weights = _balanced(class_counts)
        else:
            weights = _given(class_weights, self.classes)
        self.weights: Tensor | None
        # Follows from the training part and the experiment: nothing that a checkpoint must hold.
        self.register_buffer("weights", weights, persistent=False)

    def forward(self, prediction: Tensor, target: Tensor) -> Tensor:
        """Return the loss of a batch."""
        if len(target) == 0 or prediction.shape != (len(target), len(self.classes)) or target.dim() != 1:
            raise ValueError(
                f"prediction {list(prediction.shape)} and target {list(target.shape)} must be "
                f"[batch, {len(self.classes)}] and [batch], batch > 0"
            )
        prediction = single(prediction)
        weights = None if self.weights is None else self.weights.to(prediction.dtype)
        return nn.functional.cross_entropy(prediction, target, weights, label_smoothing=self.label_smoothing)

    def extra_repr(self) -> str:
        """Describe the weights and the smoothing."""
        weights = None if self.weights is None else dict(zip(self.classes, self.weights.tolist(), strict=True))
        return f"class_weights={weights}, label_smoothing={self.label_smoothing}"


def _balanced(counts: dict[str, int]) -> Tensor:
    present = sum(count > 0 for count in counts.values())
    tracks = sum(counts.values())
    weights = [tracks / (present * count) if count else 1.0 for count in counts.values()]
    return torch.tensor(weights)


def _given(weights: dict[str, float], classes: tuple[str, ...]) -> Tensor:
    problems = [
        f"class_weights: there is no class {name!r}{nearest(name, classes)} (classes: {', '.join(classes)})"
        for name in weights
        if name not in classes
    ]
    if problems:
        raise InputError(*problems)
    return torch.tensor([weights.get(name, 1.0) for name in classes])
