import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st

from musicemo.prediction.windows import cut_by_columns, cut_by_seconds


@pytest.mark.parametrize(
    ("columns", "length", "expected"),
    [
        (10, 4, [[0, 4], [2, 6], [4, 8], [6, 10]]),
        (11, 4, [[0, 4], [2, 6], [4, 8], [6, 10], [7, 11]]),
        (4, 4, [[0, 4]]),
        (3, 4, [[0, 3]]),
        (3, 1, [[0, 1], [1, 2], [2, 3]]),
        (1, 1, [[0, 1]]),
    ],
)
def test_windows_of_columns_overlap_by_half(columns, length, expected):
    assert cut_by_columns(columns, length).tolist() == expected


@pytest.mark.slow
@given(st.integers(1, 300), st.integers(1, 80))
def test_every_column_is_in_a_window_of_the_length(columns, length):
    windows = cut_by_columns(columns, length)
    assert set(np.concatenate([np.arange(*window) for window in windows])) == set(range(columns))
    assert {stop - start for start, stop in windows.tolist()} == {min(length, columns)}


def test_windows_of_seconds_over_even_columns():
    edges = np.arange(11) / 2
    assert cut_by_seconds(edges, 2.0, 1.0).tolist() == [[0, 4], [2, 6], [4, 8], [6, 10]]
    assert cut_by_seconds(edges, 2.0, 1.6).tolist() == [[0, 4], [3, 8], [6, 10]]
    assert cut_by_seconds(edges, 60.0, 1.0).tolist() == [[0, 10]]


def test_a_hop_above_the_window_leaves_gaps():
    assert cut_by_seconds(np.arange(11.0), 2.0, 5.0).tolist() == [[0, 2], [5, 7], [8, 10]]


@given(st.lists(st.floats(0.05, 3), min_size=1, max_size=60), st.floats(0.01, 20), st.floats(0.01, 20))
def test_windows_of_seconds_lie_in_the_song_and_cover_it(gaps, window, hop):
    edges = np.concatenate([[0], np.cumsum(gaps)])
    windows = cut_by_seconds(edges, window, min(hop, window))
    assert (windows[:, 0] < windows[:, 1]).all()
    assert set(np.concatenate([np.arange(*found) for found in windows])) == set(range(len(gaps)))
    assert len(np.unique(windows, axis=0)) == len(windows)
