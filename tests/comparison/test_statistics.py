import math

import numpy as np
import pytest
from scipy import stats

from musicemo.comparison.statistics import Variance, estimate, holm, of_seeds, of_tracks
from musicemo.evaluation.intervals import draw_counts


def no_tracks(seeds: int) -> np.ndarray:
    """Return resamples in which every seed stays what it was: on tracks without end."""
    return np.zeros((seeds, 3))


def test_of_seeds_alone_it_is_students_test():
    values = np.array([0.1, 0.3, 0.25, 0.05])
    found = estimate(float(values.mean()), [of_seeds(values, no_tracks(4))], 0.9)
    expected = stats.ttest_1samp(values, 0)
    assert found.p == pytest.approx(expected.pvalue)
    interval = expected.confidence_interval(0.9)
    assert (found.low, found.high) == pytest.approx((interval.low, interval.high))


def test_of_two_experiments_seeds_it_is_welchs_test():
    first, second = np.array([0.1, 0.3, 0.25, 0.05]), np.array([0.4, 0.45, 0.2])
    sources = [of_seeds(first, no_tracks(4)), of_seeds(second, no_tracks(3))]
    found = estimate(float(first.mean() - second.mean()), sources, 0.95)
    expected = stats.ttest_ind(first, second, equal_var=False)
    assert found.p == pytest.approx(expected.pvalue)
    interval = expected.confidence_interval(0.95)
    assert (found.low, found.high) == pytest.approx((interval.low, interval.high))


def test_of_tracks_alone_it_is_the_paired_t_test_of_a_mean():
    """A mean's bootstrap variance is known: resampled without end, the paired t test comes out."""
    difference = np.random.default_rng(0).normal(0.3, 1, size=25)
    resampled = np.concatenate([counts @ difference / 25 for counts in draw_counts(25, 200_000)])
    found = estimate(float(difference.mean()), [of_tracks(resampled, 25)], 0.95)
    expected = stats.ttest_1samp(difference, 0)
    assert found.p == pytest.approx(expected.pvalue, rel=0.03)
    interval = expected.confidence_interval(0.95)
    assert (found.low, found.high) == pytest.approx((interval.low, interval.high), abs=0.003)


def crossed(random, tracks: int, seeds: int, of_track: float, of_seed: float, of_both: float):
    """Return `[seeds, tracks]`: effects of tracks and of seeds, and noise of each of their pairs."""
    return (
        of_track * random.normal(size=(1, tracks))
        + of_seed * random.normal(size=(seeds, 1))
        + of_both * random.normal(size=(seeds, tracks))
    )


@pytest.mark.parametrize("effects", [(1, 0, 1), (0, 0.3, 1), (1, 0.3, 1), (1, 0.3, 0)])
def test_the_variance_is_that_of_two_crossed_factors(effects):
    """A mean over seeds and tracks, whose variance is a^2 / n + b^2 / s + c^2 / ns."""
    tracks, seeds = 40, 6
    found = []
    for trial in range(150):
        values = crossed(np.random.default_rng(trial), tracks, seeds, *effects)
        resampled = np.concatenate([counts @ values.T / tracks for counts in draw_counts(tracks, 100)]).T
        of_both = [of_seeds(values.mean(axis=1), resampled), of_tracks(resampled.mean(axis=0), tracks)]
        found.append(sum(source.variance for source in of_both))
    of_track, of_seed, of_pair = effects
    expected = of_track**2 / tracks + of_seed**2 / seeds + of_pair**2 / (tracks * seeds)
    assert np.mean(found) == pytest.approx(expected, rel=0.15)


def test_one_seed_tells_nothing_of_seeds():
    assert of_seeds(np.array([0.3]), np.zeros((1, 5))) == Variance(0.0, 0.0, math.inf)


def test_seeds_that_differ_no_more_than_tracks_explain_add_nothing():
    resampled = np.random.default_rng(0).normal(size=(3, 100))
    assert of_seeds(np.array([0.1, 0.2, 0.1]), resampled).variance == 0


def test_without_variance_nothing_is_tested():
    same, other = (estimate(value, [Variance(0.0, 0.0, math.inf)], 0.95) for value in (0.0, 0.1))
    assert (same.low, same.high, same.p) == (0, 0, 1)
    assert (other.low, other.high) == (0.1, 0.1)
    assert math.isnan(other.p)


@pytest.mark.parametrize("source", [of_tracks(np.full(9, np.nan), 9), of_tracks(np.ones(9), 1)])
def test_what_is_not_defined_is_not_a_number(source):
    found = estimate(0.1, [source], 0.95)
    assert found.value == 0.1
    assert all(map(math.isnan, (found.low, found.high, found.p)))


def test_a_tiny_variance_is_no_division_by_zero():
    found = estimate(1e-200, [Variance(1e-200, 1e-200, 3), Variance(0.0, 0.0, math.inf)], 0.95)
    assert 0 <= found.p <= 1


def test_holm_by_hand():
    """The textbook's example: 0.01, 0.04, 0.03, 0.005 become 0.03, 0.06, 0.06, 0.02."""
    assert holm([0.01, 0.04, 0.03, 0.005]) == pytest.approx([0.03, 0.06, 0.06, 0.02])


def test_holm_of_nothing_one_and_not_defined():
    assert holm([]) == []
    assert holm([0.04]) == [0.04]
    assert holm([0.6, math.nan, 0.7]) == pytest.approx([1.0, math.nan, 1.0], nan_ok=True)


def test_holm_keeps_the_chance_of_a_false_one():
    """Of 400 families of ten true null hypotheses, about 5 % have a corrected p-value below 0.05."""
    random = np.random.default_rng(0)
    false = np.mean([min(holm(list(random.uniform(size=10)))) < 0.05 for _ in range(400)])
    assert 0.02 < false < 0.09
