"""`check_loss`: what it lets pass, and which clause each kind of mistake breaks."""

import pytest
import torch
from fakes import CrossEntropy, SquaredError
from torch import nn

from musicemo.testing import ContractError, check_loss


class Balanced(nn.Module):
    kind = "classification"

    def __init__(self, *, class_counts: dict[str, int], power: float = 0.5) -> None:
        super().__init__()
        weights = torch.tensor([count**-power for count in class_counts.values()])
        self.register_buffer("weights", weights, persistent=False)

    def forward(self, prediction, target):
        return nn.functional.cross_entropy(prediction, target, weight=self.weights)


class Correlation(nn.Module):
    """Negative, and says so."""

    kind = "regression"
    may_be_negative = True

    def forward(self, prediction, target):
        return -(prediction * target).mean()


class NoKind(nn.Module):
    def forward(self, prediction, target):
        return ((prediction - target) ** 2).mean()


class NoModule:
    kind = "regression"


class NotReduced(SquaredError):
    def forward(self, prediction, target):
        return (prediction - target) ** 2


class Root(SquaredError):
    """Its gradient is infinite where the prediction is right."""

    def forward(self, prediction, target):
        return super().forward(prediction, target).sqrt()


class Deviation(SquaredError):
    """NaN for a batch of one."""

    def forward(self, prediction, target):
        return (prediction - target).std()


class Negative(SquaredError):
    def forward(self, prediction, target):
        return super().forward(prediction, target) - 1


class Flat(SquaredError):
    def forward(self, prediction, target):
        return (0 * prediction).sum()


class Hard(SquaredError):
    def forward(self, prediction, target):
        return (prediction.argsort() - target.argsort()).abs().float().mean()


class Learns(SquaredError):
    def __init__(self) -> None:
        super().__init__()
        self.scale = nn.Parameter(torch.ones(()))


class Noise(SquaredError):
    generator = torch.Generator()

    def forward(self, prediction, target):
        return super().forward(prediction + torch.rand(len(target), generator=self.generator), target)


class InPlace(SquaredError):
    def forward(self, prediction, target):
        return super().forward(prediction, target.mul_(0.5))


class WeightTaken(SquaredError):
    def __init__(self, *, weight: float = 1.0) -> None:
        super().__init__()


class Talkative(SquaredError):
    def diagnostics(self, prediction, target):
        return {"error": prediction - target}


class Changes(nn.Module):
    """The squared error of series, and that of their changes from step to step, where they are rated."""

    kind = "series"

    def forward(self, prediction, target):
        errors = (prediction - target)[target.isfinite()]
        changes = (prediction - target).diff(dim=1)
        changes = changes[target.diff(dim=1).isfinite()]
        return errors.square().mean() + (changes.square().mean() if len(changes) else 0.0)


class Unmasked(SquaredError):
    kind = "series"


@pytest.mark.parametrize("loss", [SquaredError, Balanced, Correlation, Changes])
def test_a_loss_that_holds_its_contract_passes(loss):
    check_loss(loss)


@pytest.mark.parametrize(
    ("loss", "clause", "words"),
    [
        (
            NoKind,
            "kind",
            "declares no kind: its class must declare the kind of target with the attribute kind =",
        ),
        (NoModule, "construction", "nn.Module"),
        (NotReduced, "scalar", "a loss returns a scalar"),
        (Root, "finite", "predictions that are right: its gradient"),
        (Deviation, "finite", "a batch of one"),
        (Unmasked, "finite", "times that are partly not rated: it is nan"),
        (Negative, "sign", "may_be_negative"),
        (Flat, "gradient", "nothing can be learnt"),
        (Hard, "finite", "cannot be differentiated"),
        (Learns, "state", "what learns is a weighting"),
        (Noise, "seed", "two losses"),
        (InPlace, "input", "in place"),
        (WeightTaken, "signature", "'weight' cannot be given"),
        (Talkative, "diagnostics", "names to numbers"),
        (CrossEntropy, "state", "weights in its state_dict"),
    ],
)
def test_each_mistake_breaks_its_clause(loss, clause, words):
    with pytest.raises(ContractError) as caught:
        check_loss(loss, {"balanced": True} if loss is CrossEntropy else None)
    assert words in caught.value.problems[clause]


class Ratio(SquaredError):
    """NaN, in random predictions too."""

    def forward(self, prediction, target):
        return super().forward(prediction, target) + (prediction.sum() * 0) / 0


def test_what_follows_from_a_value_that_is_not_finite_is_told_once():
    for loss in (Ratio, Deviation):
        with pytest.raises(ContractError) as caught:
            check_loss(loss)
        assert set(caught.value.problems) == {"finite"}
