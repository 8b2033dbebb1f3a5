import math

import pytest

from musicemo.reporting.charts import Axis, categories, spanning


@pytest.mark.parametrize(
    ("low", "high", "texts"),
    [
        (0, 1, ["0.0", "0.2", "0.4", "0.6", "0.8", "1.0"]),
        (0, 1.2, ["0.00", "0.25", "0.50", "0.75", "1.00"]),
        (-0.1, 0.1, ["−0.10", "−0.05", "0.00", "0.05", "0.10"]),
        (1, 30, ["10", "20", "30"]),
        (0, 123_456, ["0", "25000", "50000", "75000", "100000"]),
        (1e-6, 3e-6, ["0.0000010", "0.0000015", "0.0000020", "0.0000025", "0.0000030"]),
    ],
)
def test_ticks_are_round_numbers_with_just_the_digits_that_they_need(low, high, texts):
    axis = Axis(low, high)
    assert [text for _, text in axis.ticks()] == texts
    assert all(low - 1e-9 <= value <= high + 1e-9 for value, _ in axis.ticks())


@pytest.mark.parametrize(
    ("low", "high", "texts"),
    [
        (0.01, 2, ["0.01", "0.02", "0.05", "0.1", "0.2", "0.5", "1", "2"]),
        (0.001, 10, ["0.001", "0.01", "0.1", "1", "10"]),
        (1e-12, 1e6, ["1e-12", "1e-08", "0.0001", "1", "10000"]),
    ],
)
def test_logarithmic_ticks_are_powers_and_what_lies_between(low, high, texts):
    assert [text for _, text in Axis(low, high, log=True).ticks(6)] == texts


@pytest.mark.parametrize(
    ("high", "texts"), [(2, ["1", "2"]), (12, ["5", "10"]), (40, ["10", "20", "30", "40"])]
)
def test_ticks_of_what_is_whole_are_whole(high, texts):
    assert [text for _, text in Axis(1, high, whole=True).ticks()] == texts


def test_places_are_shares_of_the_axis():
    assert Axis(2, 6).place(3) == 0.25
    assert Axis(1, 100, log=True).place(10) == pytest.approx(0.5)


def test_spanning_leaves_a_margin_but_where_an_end_is_given():
    axis = spanning([2, math.nan, None, math.inf, 4], margin=0.1)
    assert (axis.low, axis.high) == pytest.approx((1.8, 4.2))
    assert spanning([0.2, 0.4], low=0, high=1) == Axis(0, 1)
    assert spanning([-0.5, 0.4], low=0, high=1, margin=0.1) == Axis(-0.65, 1)


@pytest.mark.parametrize("values", [[], [3.0], [0.0, 0.0], [math.nan]])
def test_spanning_nothing_or_a_single_value_is_an_axis_still(values):
    axis = spanning(values)
    assert axis.low < axis.high
    assert axis.ticks()


def test_an_axis_is_logarithmic_where_that_is_wanted_possible_and_needed():
    assert spanning([0.1, 10], log=True).log
    assert not spanning([0.01, 10]).log
    assert not spanning([0.0, 10], log=True).log
    assert not spanning([1, 9], log=True).log


def test_categories_have_a_unit_each():
    axis = categories(["a", "b"])
    assert (axis.low, axis.high, axis.ticks()) == (-0.5, 1.5, [(0, "a"), (1, "b")])


@pytest.mark.parametrize("log", [False, True])
def test_values_that_are_too_large_for_a_chart_are_left_out(log):
    axis = spanning([1.0, 20.0, 1e308, -1e308, float("inf"), None], log=log)
    assert axis == spanning([1.0, 20.0], log=log)
    assert axis.ticks(5)
