"""Time grids, and pooling onto them, against numpy."""

from itertools import pairwise

import numpy as np
import pytest

from musicemo.contracts import Output
from musicemo.features._grid import Pooler, grid_edges, pooled_rows

STATISTICS = {
    "mean": lambda steps: steps.mean(axis=0),
    "median": lambda steps: np.median(steps, axis=0),
    "max": lambda steps: steps.max(axis=0),
    "min": lambda steps: steps.min(axis=0),
    "std": lambda steps: steps.std(axis=0),
    "mean-std": lambda steps: np.concatenate([steps.mean(axis=0), steps.std(axis=0)]),
}


def output(steps=40, rows=3, step=0.25, seed=0):
    values = np.random.default_rng(seed).normal(size=(steps, rows)).astype(np.float32)
    return Output.regular(values, step)


def pooled(whole, edges, pooling="mean", cuts=()):
    """Return an output on a grid, added in the parts between `cuts`."""
    pooler = Pooler(np.asarray(edges, np.float64), pooling)
    bounds = [0, *cuts, len(whole.values)]
    for begin, end in pairwise(bounds):
        pooler.add(Output(whole.values[begin:end], whole.edges[begin : end + 1]))
    return pooler.result()


@pytest.mark.parametrize(
    ("seconds", "edges"),
    [
        (9.0, [0, 3, 6, 9]),
        (10.4, [0, 3, 6, 10.4]),
        (10.6, [0, 3, 6, 9, 10.6]),
        (4.4, [0, 4.4]),
        (3.0, [0, 3]),
        (0.2, [0, 1.5]),  # a short clip's only step has half the length at least, in streams of any sample rate
    ],
)
def test_segments(seconds, edges):
    np.testing.assert_allclose(grid_edges("segment", seconds, segment=3.0), edges)


def test_streams_of_several_sample_rates_have_as_many_segments():
    for seconds in (10.5, 1.5, 30.0, 13.5):
        counts = {
            len(grid_edges("segment", round(seconds * rate) / rate, segment=3.0))
            for rate in (16000, 22050, 44100)
        }
        assert len(counts) == 1


def test_beats_and_tracks():
    beats = np.array([-0.1, 0.0, 0.5, 1.0, 3.0, 4.0])
    np.testing.assert_array_equal(grid_edges("beat", 3.0, beats=beats), [0, 0.5, 1, 3])
    np.testing.assert_array_equal(grid_edges("beat", 3.0, beats=np.array([])), [0, 3])
    np.testing.assert_array_equal(grid_edges("track", 3.0), [0, 3])


@pytest.mark.parametrize("pooling", STATISTICS)
@pytest.mark.parametrize("cuts", [(), (1,), (7, 8, 20), tuple(range(1, 40))])
def test_a_step_pools_the_steps_whose_middles_it_contains(pooling, cuts):
    whole = output()
    edges = [0, 1.0, 1.3, 4.1, 10]
    middles = whole.edges[:-1] + 0.125
    expected = [
        STATISTICS[pooling](whole.values[(middles >= low) & (middles < high)].astype(np.float64))
        for low, high in pairwise(edges)
    ]
    found = pooled(whole, edges, pooling, cuts)
    assert found.dtype == np.float32
    assert found.shape[1] == pooled_rows(3, pooling)
    np.testing.assert_allclose(found, expected, rtol=1e-5, atol=1e-6)


@pytest.mark.parametrize("cuts", [(), (2,)])
def test_steps_that_are_longer_than_those_of_the_grid_are_repeated(cuts):
    whole = output(steps=3, step=3.0)
    found = pooled(whole, np.arange(10.0), cuts=cuts)
    np.testing.assert_allclose(found, np.repeat(whole.values, 3, axis=0), rtol=1e-6)
    deviations = pooled(whole, np.arange(10.0), "std", cuts)
    np.testing.assert_array_equal(deviations, np.zeros_like(found))


def test_the_last_step_covers_what_lies_beyond_the_end():
    whole = output(steps=5, step=1.0)
    np.testing.assert_allclose(pooled(whole, [0, 2, 4]), [whole.values[:2].mean(0), whole.values[2:].mean(0)])
    np.testing.assert_allclose(pooled(whole, [0, 5, 8])[1], whole.values[-1], rtol=1e-6)


def test_deviations_of_large_values_are_accurate():
    whole = output(steps=4000)
    large = Output(whole.values + np.float32(1000), whole.edges)
    exact = large.values.astype(np.float64).std(axis=0)
    found = pooled(large, [0, 1000], "std", cuts=range(1, 4000, 7))
    np.testing.assert_allclose(found[0], exact, rtol=1e-6)
