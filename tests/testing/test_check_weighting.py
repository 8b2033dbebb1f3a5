"""`check_weighting`: what it lets pass, and which clause each kind of mistake breaks."""

import pytest
import torch
from fakes import Learned, Sum

from musicemo.contracts import GradientWeighting, Weighting
from musicemo.testing import ContractError, check_weighting


class Rows(GradientWeighting):
    """The sum of the gradients."""

    def weigh(self, gradients, tasks):
        return torch.ones_like(gradients[:, 0])


class Sideways(Rows):
    """Turns the gradient, so that the front is never reached."""

    def aggregate(self, gradients, tasks):
        return gradients.sum(dim=0).roll(1) * torch.tensor([1, -1, 1, -1])


class NotInvariant(Rows):
    scale_invariant = True


class SecretlyInvariant(Rows):
    def weigh(self, gradients, tasks):
        return 1 / gradients.norm(dim=1).clamp_min(1e-9)


class Conflicting(Rows):
    conflict_free = True


class NotRefusing(Sum):
    positive_losses = True


class Secret(Sum):
    """Draws weights and does not say so."""

    def combine(self, losses):
        return (torch.rand(len(losses)) * torch.stack(list(losses.values()))).sum()


class FirstCountsTwice(Sum):
    def combine(self, losses):
        return super().combine(losses) + losses.get(self.tasks[0], torch.tensor(0.0))


class NeedsAll(Sum):
    def combine(self, losses):
        return torch.stack([losses[task] for task in self.tasks]).sum()


class Forgets(Sum):
    """The longer it trains the smaller the steps, counted outside its state."""

    def __init__(self, *, tasks: list[str]) -> None:
        super().__init__(tasks=tasks)
        self.count = 0

    def combine(self, losses):
        self.count += 1
        return super().combine(losses) / self.count


class Plain(Sum):
    """A tensor that does not follow it to a device."""

    def __init__(self, *, tasks: list[str]) -> None:
        super().__init__(tasks=tasks)
        self.weights = torch.ones(len(tasks))


class Divides(Rows):
    def weigh(self, gradients, tasks):
        return 1 / gradients.norm(dim=1)


class Unscaled(Weighting):
    def backward(self, losses, step):
        objective = torch.stack(list(losses.values())).sum()
        objective.backward()
        return objective


class Records(Sum):
    def scalars(self):
        return {"weight/valenec": 1.0}


class Nothing:
    pass


@pytest.mark.slow
@pytest.mark.parametrize("weighting", [Sum, Learned, Rows])
def test_passes(weighting):
    check_weighting(weighting)


@pytest.mark.slow
@pytest.mark.parametrize(
    ("weighting", "clause"),
    [
        (Nothing, "construction"),
        (Sideways, "front"),
        (NotInvariant, "scale"),
        (SecretlyInvariant, "scale"),
        (Conflicting, "conflict"),
        (NotRefusing, "sign"),
        (Secret, "chance"),
        (FirstCountsTwice, "order"),
        (NeedsAll, "missing labels"),
        (Forgets, "resumption"),
        (Plain, "device"),
        (Divides, "zero gradients"),
        (Unscaled, "mixed precision"),
        (Records, "record"),
    ],
)
def test_what_is_broken_is_named(weighting, clause):
    with pytest.raises(ContractError) as caught:
        check_weighting(weighting)
    assert clause in caught.value.problems


def test_parameters_come_from_toml():
    class Strange(Sum):
        def __init__(self, *, tasks: list[str], power: float) -> None:
            super().__init__(tasks=tasks)

    with pytest.raises(ContractError, match="do not fit its signature"):
        check_weighting(Strange, {"power": "high"})


def test_the_generators_go_on_where_they_were():
    torch.manual_seed(5)
    expected = torch.rand(3)
    torch.manual_seed(5)
    check_weighting(Sum)
    assert torch.equal(torch.rand(3), expected)
