import math

import pytest
from pydantic import ValidationError

from musicemo import registry
from musicemo.data import Task
from musicemo.errors import InputError
from musicemo.training import Stopping, check_monitor
from musicemo.training.settings import EarlyStoppingSettings

NAN = math.nan
TASKS = [
    Task("valence", "valence", "regression"),
    Task("genre", "genre", "classification", classes=("jazz", "rock"), merged={}),
]


def stopping(**table):
    return Stopping(registry.validate(EarlyStoppingSettings, table))


def follow(values, **table):
    """Return the best epoch and the epoch after which training ends."""
    made = stopping(**table)
    for epoch, value in enumerate(values, start=1):
        made.update(epoch, value)
        if made.stop(epoch):
            return made.best_epoch, epoch
    return made.best_epoch, None


def test_the_lowest_value_is_the_best_and_patience_counts_from_it():
    assert follow([5, 3, 4, 4, 4, 1], patience=3) == (2, 5)
    assert follow([5, 3, 4, 4, 2, 4], patience=3) == (5, None)


def test_the_highest_value_is_the_best():
    assert follow([0.1, 0.5, 0.3, 0.5], mode="max", patience=2) == (2, 4)


def test_an_equal_value_is_no_better():
    assert follow([1, 1, 1], patience=2) == (1, 3)


@pytest.mark.parametrize(
    ("monitor", "mode"),
    [
        ("val/loss", "min"),
        ("train/loss", "min"),
        ("val/valence/loss", "min"),
        ("val/valence/rmse", "min"),
        ("val/valence/mae", "min"),
        ("val/valence/spearman", "max"),
        ("val/valence/pearson", "max"),
        ("val/valence/ccc", "max"),
        ("val/valence/r2", "max"),
        ("val/genre/accuracy", "max"),
        ("train/genre/macro_f1", "max"),
        ("val/genre/weighted_f1", "max"),
        ("weight/valence", "min"),
        ("learning_rate", "min"),
    ],
)
def test_auto_knows_whether_more_is_better(monitor, mode):
    assert stopping(monitor=monitor).mode == mode
    assert stopping(monitor=monitor, mode="max").mode == "max"


def test_an_improvement_must_exceed_min_delta():
    assert follow([1.0, 0.9, 0.8, 0.7], min_delta=0.25, patience=9) == (4, None)
    assert follow([1.0, 1.1, 1.2, 1.3], min_delta=0.25, mode="max", patience=9) == (4, None)
    assert follow([1.0, 0.9, 0.8, 0.8], min_delta=0.25, patience=3) == (1, 4)


def test_patience_false_trains_every_epoch():
    assert follow([1.0] + [2.0] * 500, patience=False) == (1, None)


@pytest.mark.parametrize("mode", ["min", "max"])
def test_a_value_that_is_not_defined_is_never_the_best(mode):
    assert follow([0.5, NAN, NAN], mode=mode, patience=9) == (1, None)
    assert follow([NAN, NAN, 0.5, NAN], mode=mode, patience=9) == (3, None)
    assert follow([math.inf, -math.inf, 0.5, math.inf, -math.inf], mode=mode, patience=9) == (3, None)


def test_a_quantity_that_is_never_defined_uses_up_the_patience():
    assert follow([NAN] * 9, patience=4) == (1, 5)


@pytest.mark.parametrize("value", [0, -1, 0.0, 2.5, True, "10"])
def test_patience_is_a_number_of_epochs_or_false(value):
    with pytest.raises(ValidationError, match="must be a number of epochs, 1 or more, or false"):
        stopping(patience=value)


def test_the_state_continues():
    values = [3, 2, 4, 4, 1, 4, 4, 4]
    whole, first = stopping(patience=3), stopping(patience=3)
    for epoch, value in enumerate(values, start=1):
        whole.update(epoch, value)
    for epoch, value in enumerate(values[:3], start=1):
        first.update(epoch, value)
    second = stopping(patience=3)
    second.load_state_dict(first.state_dict())
    for epoch, value in enumerate(values[3:], start=4):
        second.update(epoch, value)
    assert second.state_dict() == whole.state_dict() == {"best_epoch": 5, "best_value": 1}


def test_a_misspelt_monitor_names_the_nearest():
    made = stopping(monitor="train/valance/loss")
    with pytest.raises(InputError, match="did you mean 'train/valence/loss'") as caught:
        made.value({"epoch": 1, "train/valence/loss": 0.5, "train/loss": 0.5})
    assert "recorded: train/loss, train/valence/loss)" in str(caught.value)


@pytest.mark.parametrize(
    "monitor", ["val/loss", "val/valence/ccc", "val/genre/loss", "val/genre/macro_f1", "train/anything"]
)
def test_what_will_be_recorded_can_be_monitored(monitor):
    check_monitor(monitor, TASKS, ["train", "val"])


@pytest.mark.parametrize(
    ("monitor", "nearest"),
    [
        ("val/valance/ccc", "val/valence/ccc"),
        ("val/valence/spearmann", "val/valence/spearman"),
        ("val/los", "val/loss"),
        ("val/genre/spearman", "val/valence/spearman"),
    ],
)
def test_what_will_not_be_recorded_is_refused_before_training(monitor, nearest):
    with pytest.raises(InputError, match=f"did you mean '{nearest}'"):
        check_monitor(monitor, TASKS, ["train", "val"])


def test_the_validation_part_cannot_be_monitored_where_it_is_empty():
    with pytest.raises(InputError, match=r"the validation part is empty.*train/loss"):
        check_monitor("val/loss", TASKS, ["train", "test"])
    check_monitor("train/loss", TASKS, ["train"])
