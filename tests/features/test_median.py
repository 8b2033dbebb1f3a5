"""The running median is scipy's, bit for bit."""

import numpy as np
import pytest
import scipy.ndimage
from hypothesis import given, settings
from hypothesis import strategies as st
from hypothesis.extra import numpy as nps

from musicemo.features.melchroma._median import _network, reflect, running_median

SIZES = st.integers(0, 24).map(lambda half: 2 * half + 1)
VALUES = st.one_of(
    st.sampled_from([0.0, 0.25, 1.0, 3.0]),  # ties
    st.floats(0, 2.0**100, width=32, allow_subnormal=False),
    st.floats(-100, 100, width=32, allow_subnormal=False),
)


def filtered(x, size):
    return running_median(x, reflect(-(size // 2), len(x) + size // 2, len(x)), size)


def of_scipy(x, size):
    """Filter a mirrored copy: by itself scipy 1.17 misplaces edges when the window is many times the array."""
    half = size // 2
    mirrored = np.pad(x, ((half, half), (0, 0)), mode="symmetric")
    expected = scipy.ndimage.median_filter(mirrored, size=(size, 1))[half : half + len(x)]
    if size <= 4 * len(x):
        direct = scipy.ndimage.median_filter(x, size=(size, 1), mode="reflect")
        np.testing.assert_array_equal(direct, expected)
    return expected


@pytest.mark.slow
@settings(max_examples=150, deadline=None)
@given(nps.arrays(np.float32, nps.array_shapes(min_dims=2, max_dims=2, max_side=40), elements=VALUES), SIZES)
def test_it_is_the_median_filter_of_scipy(x, size):
    np.testing.assert_array_equal(filtered(x, size), of_scipy(x, size))


@pytest.mark.parametrize("shape", [(1, 1), (1, 200), (2, 65), (31, 64), (700, 3), (129, 129)])
@pytest.mark.parametrize("size", [1, 3, 31, 63, 101])
def test_any_shape_and_size(shape, size):
    x = np.random.default_rng(1).random(shape).astype(np.float32)
    np.testing.assert_array_equal(filtered(x, size), of_scipy(x, size))


def test_rows_may_be_any_part_of_the_sequence():
    x = np.random.default_rng(2).random((90, 7)).astype(np.float32)
    whole = filtered(x, 31)
    part = running_median(x[25:], reflect(40 - 15, 55 + 15, 90) - 25, 31)
    np.testing.assert_array_equal(part, whole[40:55])


def test_reflection_repeats_when_the_window_is_longer_than_the_sequence():
    assert reflect(-7, 8, 3).tolist() == [0, 0, 1, 2, 2, 1, 0, 0, 1, 2, 2, 1, 0, 0, 1]


def test_a_comparator_never_writes_where_it_reads():
    for size in range(1, 70, 2):
        for a, b, low, high in _network(size).steps.tolist():
            assert len({a, b, low, high}) == 4


def test_a_window_of_31_takes_22_comparators():
    network = _network(31)
    assert len(network.steps) / len(network.medians) < 22.1
