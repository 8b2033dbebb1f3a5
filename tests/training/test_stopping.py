import math

import pytest
from pydantic import ValidationError

from musicemo.data import Task
from musicemo.errors import InputError
from musicemo.settings import validate
from musicemo.training import Stopping, check_monitor
from musicemo.training.criteria import mean_ranks
from musicemo.training.settings import EarlyStoppingSettings

NAN = math.nan
TASKS = [
    Task("valence", "valence", "regression"),
    Task("genre", "genre", "classification", classes=("jazz", "rock"), merged={}),
]


def settings(**table):
    return validate(EarlyStoppingSettings, table)


def stopping(*tasks, **table):
    return Stopping(settings(**table), tasks)


def follow(values, **table):
    """Return the best epoch and the epoch after which training ends."""
    made = stopping(**table)
    history = []
    for epoch, value in enumerate(values, start=1):
        history.append({made.monitor: value})
        made.take(history)
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
        ("val/mean_rank", "min"),
        ("val/mean_improvement", "max"),
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
    history = [{"val/loss": value} for value in values]
    whole, first = stopping(patience=3), stopping(patience=3)
    for epoch in range(len(history)):
        whole.take(history[: epoch + 1])
    for epoch in range(3):
        first.take(history[: epoch + 1])
    second = stopping(patience=3)
    second.load_state_dict(first.state_dict())
    for epoch in range(3, len(history)):
        second.take(history[: epoch + 1])
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
    check_monitor(settings(monitor=monitor), TASKS, ["train", "val"])


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
        check_monitor(settings(monitor=monitor), TASKS, ["train", "val"])


def test_the_validation_part_cannot_be_monitored_where_it_is_empty():
    with pytest.raises(InputError, match=r"the validation set is empty.*train/loss"):
        check_monitor(settings(monitor="val/loss"), TASKS, ["train", "test"])
    check_monitor(settings(monitor="train/loss"), TASKS, ["train"])


def losses(*epochs, tasks=("valence", "genre", "energy")):
    """Return a history of validation losses; None is a task without a label."""
    return [
        {f"val/{task}/loss": loss for task, loss in zip(tasks, found, strict=True) if loss is not None}
        for found in epochs
    ]


def test_the_mean_rank_is_of_each_tasks_losses():
    history = losses((1.0, 30, 5), (2.0, 20, 5), (3.0, 10, 9))
    assert mean_ranks(history, ["valence", "genre", "energy"]) == pytest.approx([5.5 / 3, 5.5 / 3, 7 / 3])
    scaled = losses((10, 0.30, 5), (20, 0.20, 5), (30, 0.10, 9))
    assert mean_ranks(scaled, ["valence", "genre", "energy"]) == mean_ranks(
        history, ["valence", "genre", "energy"]
    )


def test_the_mean_rank_of_what_is_not_known():
    history = losses((1.0, None, NAN), (2.0, None, 5), (0.5, None, 4))
    assert mean_ranks(history, ["valence", "genre", "energy"]) == [2.5, 2.5, 1.0]
    assert all(math.isnan(rank) for rank in mean_ranks(history, ["genre"]))


def take(made, history):
    """Return what the epochs are told to be, one after another."""
    return [made.take(history[: epoch + 1]) for epoch in range(len(history))]


def test_the_mean_rank_takes_what_most_tasks_prefer_to_the_best_so_far():
    made = stopping("valence", "genre", "energy", monitor="val/mean_rank", patience=2)
    history = losses((5, 5, 5), (9, 4, 4), (9, 9, 3), (1, 3, 9))
    assert [best for best, _ in take(made, history)] == [True, True, False, True]
    assert made.best_epoch == 4
    assert made.mode == "min"
    # by total loss the first two are equal and the second is none
    sums = [sum(record.values()) for record in history]
    assert sums[0] < sums[1]


def test_the_value_of_the_best_is_its_rank_among_all_so_far():
    made = stopping("valence", "genre", "energy", monitor="val/mean_rank")
    history = losses((5, 5, 5), (6, 6, 6), (7, 7, 7), (4, 9, 9))
    take(made, history)
    assert (made.best_epoch, made.best_value) == (1, pytest.approx((2 + 1 + 1) / 3))


def test_a_schedule_that_follows_the_mean_rank_sees_a_new_low_where_the_best_moves():
    made = stopping("valence", "genre", "energy", monitor="val/mean_rank")
    seen, lows = [], []
    history = losses((5, 5, 5), (9, 4, 4), (9, 9, 3), (1, 3, 9))
    for epoch in range(4):
        best, _ = made.take(history[: epoch + 1])
        lows.append(best)
        seen.append(made.followed)
    assert [value < min(seen[:index], default=math.inf) for index, value in enumerate(seen)] == lows


def test_each_task_has_its_own_best():
    made = stopping("valence", "genre", "energy", monitor="val/valence/loss", per_task=True)
    history = losses((5, 5, None), (6, 4, None), (4, 4, None), (7, 3, 1), (7, 9, NAN))
    told = take(made, history)
    assert [best for best, _ in told] == [True, False, True, False, False]
    assert [tasks for _, tasks in told] == [
        ["valence", "genre"],
        ["genre"],
        ["valence"],
        ["genre", "energy"],
        [],
    ]
    assert made.task_epochs == {"valence": 3, "genre": 4, "energy": 4}
    again = stopping("valence", "genre", "energy", monitor="val/valence/loss", per_task=True)
    take(again, history[:2])
    state = again.state_dict()
    third = stopping("valence", "genre", "energy", monitor="val/valence/loss", per_task=True)
    third.load_state_dict(state)
    for epoch in range(2, 5):
        third.take(history[: epoch + 1])
    assert third.state_dict() == made.state_dict()


def test_what_is_for_several_tasks_or_needs_validation_is_refused():
    check_monitor(settings(monitor="val/mean_rank"), TASKS, ["train", "val"])
    check_monitor(settings(monitor="val/mean_improvement"), TASKS, ["train", "val"])
    with pytest.raises(InputError, match="no quantity 'val/mean_rank' is recorded"):
        check_monitor(settings(monitor="val/mean_rank"), TASKS[:1], ["train", "val"])
    with pytest.raises(InputError, match=r"per_task selects .* but the validation set is empty"):
        check_monitor(settings(monitor="train/loss", per_task=True), TASKS, ["train", "test"])
