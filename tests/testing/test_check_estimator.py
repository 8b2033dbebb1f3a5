"""What is said of an estimator that breaks its contract."""

import pytest
import torch

from musicemo.contracts import Estimator
from musicemo.testing import ContractError, check_model


class Means(Estimator):
    """The first rows' means."""

    def __init__(self, *, targets) -> None:
        super().__init__()
        self.targets = targets
        self.register_buffer("offset", torch.zeros(0))

    def fit(self, tracks, targets):
        self.offset = torch.stack([track.mean(0) for track in tracks]).mean(0)

    def describe(self, x, lengths):
        return x.sum(1) / lengths[:, None] - self.offset

    def forward(self, x, lengths, labels):
        found = self.describe(x, lengths)
        return {
            target.name: found[:, : len(target.classes)] if target.classes else found[:, index]
            for index, target in enumerate(self.targets)
        }


class Forgetful(Means):
    """Keeps what it learns where no checkpoint looks."""

    def fit(self, tracks, targets):
        super().fit(tracks, targets)
        self.more = float(self.offset.abs().sum())

    def describe(self, x, lengths):
        return super().describe(x, lengths) + getattr(self, "more", 0.0)


class Padded(Means):
    """Averages over the padding as well."""

    def describe(self, x, lengths):
        return x.mean(1) - self.offset


class Careless(Means):
    """Divides by what may be missing."""

    def fit(self, tracks, targets):
        super().fit(tracks, targets)
        self.offset = self.offset * targets["valence"].mean()


class Partial(Means):
    """Predicts one task."""

    def forward(self, x, lengths, labels):
        return {"valence": super().forward(x, lengths, labels)["valence"]}


class Trained(Means):
    """Has a parameter that nothing trains."""

    def __init__(self, *, targets) -> None:
        super().__init__(targets=targets)
        self.weight = torch.nn.Parameter(torch.ones(()))


class Grabbing(Means):
    """Scales the tracks where they are."""

    def fit(self, tracks, targets):
        super().fit((track.mul_(2) for track in tracks), targets)


class Asking(Means):
    """Wants a label of nothing."""

    given = ("tempo",)


def test_one_that_holds_it_passes():
    check_model(Means)


@pytest.mark.parametrize(
    ("broken", "clause", "sentence"),
    [
        (Forgetful, "state", "all that is learnt is in the state_dict"),
        (Padded, "padding", "padding must not change a prediction"),
        (Careless, "shape", "a prediction of valence is not a finite floating-point number"),
        (Partial, "shape", r"it predicts \['valence'\]; an estimator predicts every task"),
        (Trained, "fit", r"\['weight'\] need a gradient"),
        (Grabbing, "fit", "changes the tracks or targets in place"),
        (Asking, "given", r"the labels of \['tempo'\], which are no tasks"),
    ],
)
def test_a_broken_clause_is_told(broken, clause, sentence):
    with pytest.raises(ContractError, match=sentence) as caught:
        check_model(broken)
    assert clause in caught.value.problems
