"""`check_augmentation`: what it lets pass, and which clause each kind of mistake breaks."""

import dataclasses

import pytest
import torch

from musicemo.contracts import Examples
from musicemo.testing import ContractError, check_augmentation


class Louder:
    """Right."""

    changes = ("loudness",)

    def __init__(self, *, factor: float = 2.0) -> None:
        self.factor = factor

    def __call__(self, examples, random):
        return dataclasses.replace(examples, x=examples.x * (1 + random.random() * self.factor))


class NotCallable:
    pass


class OneName(Louder):
    changes = "tempo"


class Fewer(Louder):
    def __call__(self, examples, random):
        return examples.select(torch.arange(1))


class Beyond(Louder):
    def __call__(self, examples, random):
        return dataclasses.replace(examples, x=examples.x + 1)


class Undeclared(Louder):
    def __call__(self, examples, random):
        return Examples(examples.x[:, :1], examples.lengths.clamp(max=1), examples.labels)


class GlobalChance(Louder):
    def __call__(self, examples, random):
        return dataclasses.replace(examples, x=examples.x * torch.rand(()))


class InPlace(Louder):
    def __call__(self, examples, random):
        examples.x.mul_(2)
        return examples


class Excerpts(Louder):
    excerpts = 5


def test_a_right_one_passes():
    check_augmentation(Louder)
    check_augmentation(Louder, {"factor": 0.5})


@pytest.mark.parametrize(
    ("component", "clause"),
    [
        (NotCallable, "construction"),
        (OneName, "declarations"),
        (Excerpts, "declarations"),
        (Fewer, "result"),
        (Beyond, "result"),
        (Undeclared, "result"),
        (GlobalChance, "chance"),
        (InPlace, "input"),
    ],
)
def test_a_mistake_breaks_its_clause(component, clause):
    with pytest.raises(ContractError) as caught:
        check_augmentation(component)
    assert list(caught.value.problems) == [clause]
