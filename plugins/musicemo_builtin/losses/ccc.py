"""The `ccc` loss."""

from __future__ import annotations

from torch import Tensor, nn

from musicemo import ops
from musicemo_builtin.losses._pairs import one_minus

__all__ = ["CCC"]


class CCC(nn.Module):
    """One minus the concordance correlation coefficient of predictions and targets in a batch.

        1 - 2 cov(p, y) / (var(p) + var(y) + (mean(p) - mean(y))^2)

    with p -> `prediction`, y -> `target`: 0 if they are equal, at most 2. Unlike `pearson`, it also
    measures differences in mean and scale. A constant prediction, a constant target and a batch of one have loss 1
    and a zero gradient. A prediction that is not finite gives NaN, which stops the run.

    Shapes: `prediction` and `target` `[batch]` -> scalar.

    L. I. Lin, "A Concordance Correlation Coefficient to Evaluate Reproducibility", Biometrics, 1989; as a loss:
    F. Weninger, F. Ringeval, E. Marchi and B. Schuller, "Discriminatively Trained Recurrent Neural Networks for
    Continuous Dimensional Emotion Recognition from Audio", IJCAI 2016.

    Raises:
        ValueError: in the call, where the shapes are not both `[batch]`, or a target is not finite.
    """

    kind = "regression"
    per = "song"

    def forward(self, prediction: Tensor, target: Tensor) -> Tensor:
        """Return the loss of a batch."""
        return one_minus(ops.ccc, prediction, target)
