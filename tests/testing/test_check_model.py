"""`check_model`: what it lets pass, and which clause each kind of mistake breaks."""

import random
from typing import Annotated

import pytest
import torch
from fakes import MeanModel
from pydantic import Field
from torch import nn

from musicemo.errors import InputError
from musicemo.testing import ContractError, check_model


def masked(x, lengths):
    return x * (torch.arange(x.shape[1]) < lengths[:, None])[..., None]


class NoModule:
    embedding_size = 8

    def __init__(self, *, input_size: int) -> None:
        pass


class NoSize(nn.Module):
    def __init__(self, *, input_size: int) -> None:
        super().__init__()


class WrongSize(MeanModel):
    def __init__(self, *, input_size: int) -> None:
        super().__init__(input_size=input_size)
        self.embedding_size = 9


class Raises(MeanModel):
    def forward(self, x, lengths):
        raise RuntimeError("no idea")


class Leaky(MeanModel):
    def forward(self, x, lengths):
        return self.dense(x.mean(dim=1))


class BatchDependent(MeanModel):
    def forward(self, x, lengths):
        return super().forward(x, lengths) + torch.arange(len(x))[:, None]


class NotFinite(MeanModel):
    def forward(self, x, lengths):
        h = super().forward(x, lengths)
        return h / x.abs().sum((1, 2))[:, None]


class AlwaysDropout(MeanModel):
    def forward(self, x, lengths):
        return nn.functional.dropout(super().forward(x, lengths), training=True)


class Counts(MeanModel):
    def __init__(self, *, input_size: int) -> None:
        super().__init__(input_size=input_size)
        self.register_buffer("calls", torch.zeros(()))

    def forward(self, x, lengths):
        self.calls += 1
        return super().forward(x, lengths)


class InPlace(MeanModel):
    def forward(self, x, lengths):
        return super().forward(x.mul_(1.5), lengths)


class Unused(MeanModel):
    def __init__(self, *, input_size: int) -> None:
        super().__init__(input_size=input_size)
        self.spare = nn.Linear(2, 2)


class Detached(MeanModel):
    def forward(self, x, lengths):
        return super().forward(x, lengths).detach()


class InfiniteGradient(MeanModel):
    def forward(self, x, lengths):
        return super().forward(x, lengths) + (self.dense.weight[:, 0] * 0).sqrt()


class OwnChance(MeanModel):
    chance = random.Random(0)

    def forward(self, x, lengths):
        h = super().forward(x, lengths)
        return h + self.chance.random() if self.training else h


class HiddenState(MeanModel):
    def __init__(self, *, input_size: int) -> None:
        super().__init__(input_size=input_size)
        self.shift = 0.0

    def forward(self, x, lengths):
        if self.training:
            self.shift += 1
        return super().forward(x, lengths) + self.shift


class Plain(MeanModel):
    def __init__(self, *, input_size: int) -> None:
        super().__init__(input_size=input_size)
        self.offset = torch.ones(8)


class Unpicklable(MeanModel):
    def __init__(self, *, input_size: int) -> None:
        super().__init__(input_size=input_size)
        self.activation = lambda h: h


class BadDefault(MeanModel):
    def __init__(self, *, input_size: int, hidden: Annotated[int, Field(gt=0)] = 0) -> None:
        super().__init__(input_size=input_size)


class NoAnnotation(MeanModel):
    def __init__(self, *, input_size: int, hidden=8) -> None:
        super().__init__(input_size=input_size)


class TypeTaken(MeanModel):
    def __init__(self, *, input_size: int, type: str = "x") -> None:
        super().__init__(input_size=input_size)


class Steps(MeanModel):
    def __init__(self, *, input_size: int) -> None:
        super().__init__(input_size=input_size)
        self.sequence_size = 8

    def sequence(self, x, lengths):
        return masked(self.dense(x), lengths)


class LooseSteps(Steps):
    def sequence(self, x, lengths):
        return self.dense(x)


class LeakySteps(Steps):
    def sequence(self, x, lengths):
        return masked(self.dense(x - x.mean(1, keepdim=True)), lengths)


class PooledSteps(Steps):
    def sequence(self, x, lengths):
        return self.dense(x[:, ::2])


class DetachedSteps(Steps):
    def sequence(self, x, lengths):
        return masked(self.dense(x.detach()), lengths)


class NoSteps(MeanModel):
    def __init__(self, *, input_size: int) -> None:
        super().__init__(input_size=input_size)
        self.sequence_size = 8


@pytest.mark.parametrize("parameters", [{}, {"hidden": 3}])
def test_a_model_that_holds_its_contract_passes(parameters):
    check_model(MeanModel, parameters)


def test_a_model_with_a_sequence_passes():
    check_model(Steps)


@pytest.mark.parametrize(
    ("model", "clause", "words"),
    [
        (NoModule, "construction", "a model must be an nn.Module"),
        (NoSize, "construction", "embedding_size is None"),
        (WrongSize, "shape", "here [4, 9]"),
        (Raises, "shape", "RuntimeError: no idea"),
        (Leaky, "padding", "padding must not change"),
        (BatchDependent, "padding", "another embedding alone"),
        (NotFinite, "finite", "tracks of zeros"),
        (AlwaysDropout, "evaluation", "is dropout on?"),
        (Counts, "evaluation", "changes 'calls'"),
        (InPlace, "input", "in place"),
        (Unused, "gradients", "'spare.weight'"),
        (Detached, "gradients", "needs no gradient"),
        (InfiniteGradient, "gradients", "not finite"),
        (LooseSteps, "sequence", "zero beyond the length"),
        (LeakySteps, "sequence", "another sequence alone"),
        (PooledSteps, "sequence", "here [4, 40, 8]"),
        (DetachedSteps, "sequence", "does not depend on the features"),
        (NoSteps, "sequence", "no attribute 'sequence'"),
        (OwnChance, "seed", "differs between two runs"),
        (HiddenState, "state", "in the state_dict"),
        (Plain, "device", "'offset'"),
        (Unpicklable, "pickle", "pickling it for a worker"),
        (BadDefault, "defaults", "default of 'hidden'"),
        (NoAnnotation, "annotations", "needs a type"),
        (TypeTaken, "signature", "rename the parameter"),
    ],
)
def test_each_mistake_breaks_its_clause(model, clause, words):
    with pytest.raises(ContractError) as caught:
        check_model(model)
    assert next(iter(caught.value.problems)) == clause
    assert words in caught.value.problems[clause]
    assert f"model {model.__name__} breaks its contract:" in str(caught.value)
    assert f"  {clause}: " in str(caught.value)
    assert len(caught.value.problems) == (2 if model is BatchDependent else 1)


def test_an_error_of_the_model_is_shown_with_file_and_line():
    with pytest.raises(ContractError, match=rf"\({__file__}:\d+\)"):
        check_model(Raises)


def test_parameters_that_do_not_fit():
    with pytest.raises(ContractError, match="hidden: input should be greater than 0"):
        check_model(MeanModel, {"hidden": 0})


def test_a_name_is_looked_up(fakes):
    check_model("means")
    with pytest.raises(InputError, match="no model has the name 'maen'; did you mean 'means'"):
        check_model("maen")


def test_chance_goes_on_where_it_was():
    torch.manual_seed(3)
    expected = torch.rand(3)
    torch.manual_seed(3)
    check_model(MeanModel)
    assert torch.equal(torch.rand(3), expected)


class Relative(MeanModel):
    """NaN for tracks of one frame, which have no deviation, and in the whole batch through their mean."""

    def forward(self, x, lengths):
        deviation = torch.stack(
            [track[:length].std(0).mean() for track, length in zip(x, lengths, strict=True)]
        )
        return super().forward(x, lengths) / deviation.mean()


class RelativeAndLoose(Relative):
    def __init__(self, *, input_size: int) -> None:
        super().__init__(input_size=input_size)
        self.loose = torch.ones(1)


def test_what_follows_from_an_embedding_that_is_not_finite_is_told_once():
    with pytest.raises(ContractError) as caught:
        check_model(Relative)
    assert set(caught.value.problems) == {"finite"}


def test_what_does_not_follow_from_it_is_told_beside_it():
    with pytest.raises(ContractError) as caught:
        check_model(RelativeAndLoose)
    assert set(caught.value.problems) == {"finite", "device"}
