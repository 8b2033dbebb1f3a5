import itertools
import json

import numpy as np
import pytest
from scipy import stats

from musicemo.evaluation import EvaluationSettings, rating_reliability
from musicemo.evaluation.reliability import _halves

SETTINGS = EvaluationSettings(resamples=200)


def ratings(tracks: int, raters: int, *, truth: float = 1.0, noise: float = 1.0, seed: int = 0) -> np.ndarray:
    """Return `[tracks, raters]`: a track's own value, and each listener's error."""
    random = np.random.default_rng(seed)
    return truth * random.normal(size=(tracks, 1)) + noise * random.normal(size=(tracks, raters))


@pytest.mark.slow
@pytest.mark.parametrize(("raters", "noise"), [(2, 1.0), (8, 1.0), (8, 3.0), (20, 2.0)])
def test_it_is_the_share_of_the_variance_that_is_the_tracks_own(raters, noise):
    """Of k listeners with error variance s^2, the mean's reliability is t^2 / (t^2 + s^2 / k)."""
    found = rating_reliability(ratings(4000, raters, noise=noise).tolist(), SETTINGS)
    expected = 1 / (1 + noise**2 / raters)
    assert found.values["pearson"][0] == pytest.approx(expected, abs=0.03)
    assert found.ceiling("pearson") == pytest.approx(expected**0.5, abs=0.02)


def test_the_ceiling_is_what_the_truth_itself_reaches():
    given = ratings(4000, 6, noise=2)
    truth = np.random.default_rng(0).normal(size=4000)  # the first that `ratings` draws
    found = rating_reliability(given.tolist(), SETTINGS)
    for metric, correlate in (("pearson", stats.pearsonr), ("spearman", stats.spearmanr)):
        reached = correlate(truth, given.mean(axis=1)).statistic
        assert found.ceiling(metric) == pytest.approx(reached, abs=0.03)


def test_the_reliability_is_what_other_listeners_reach():
    given = ratings(4000, 12, noise=2)
    found = rating_reliability(given[:, :6].tolist(), SETTINGS)
    other = stats.pearsonr(given[:, :6].mean(axis=1), given[:, 6:].mean(axis=1)).statistic
    assert found.values["pearson"][0] == pytest.approx(other, abs=0.03)


def test_equals_all_halves_of_four_listeners():
    """Of four listeners there are three ways to halve them; random halves are among these."""
    given = ratings(30, 4)
    correlations = [
        stats.pearsonr(
            given[:, list(half)].mean(axis=1), np.delete(given, list(half), axis=1).mean(axis=1)
        ).statistic
        for half in itertools.combinations(range(4), 2)
    ]
    # Halves are drawn anew for each track, so that the correlation is that of no single way, but alike on average.
    expected = 2 * np.mean(correlations) / (1 + np.mean(correlations))
    assert rating_reliability(given.tolist(), SETTINGS).values["pearson"][0] == pytest.approx(
        expected, abs=0.05
    )


def test_halves_are_halves():
    given = [[1.0, 2.0, 4.0, 8.0], [1.0, 2.0, 4.0], [5.0, 7.0]]
    first, second = _halves(given, seed=0)
    assert np.array_equal(first[:, 0] * 2 + second[:, 0] * 2, np.full(len(first), 15))
    assert set(first[:, 1]) | set(second[:, 1]) == {1.0, 2.0, 4.0}  # one listener each, one left out
    assert (first[:, 1] != second[:, 1]).all()
    assert (first[:, 2] + second[:, 2] == 12).all()
    assert len(set(first[:, 0])) == 6


def test_interval_and_repeatability():
    given = ratings(80, 5).tolist()
    found = rating_reliability(given, SETTINGS)
    assert found == rating_reliability(given, SETTINGS)
    for value, low, high in found.values.values():
        assert low < value < high


@pytest.mark.slow
def test_the_interval_covers():
    settings = EvaluationSettings(resamples=200, confidence=0.8)
    found = [
        rating_reliability(ratings(80, 6, seed=seed).tolist(), settings).values["pearson"] for seed in range(60)
    ]
    assert 0.6 < np.mean([low <= 1 / (1 + 1 / 6) <= high for _, low, high in found]) < 0.95


def test_listeners_who_do_not_agree_leave_no_ceiling():
    found = rating_reliability(ratings(60, 6, truth=0.0, seed=3).tolist(), SETTINGS)
    value = found.values["pearson"][0]
    assert (found.to_json()["pearson"]["ceiling"] is None) == (value <= 0)
    assert value < 0.5


def test_tracks_of_one_listener_do_not_count():
    given = [*ratings(20, 4).tolist(), [1.0], []]
    found = rating_reliability(given, SETTINGS)
    assert (found.tracks, found.raters) == (20, (4, 4.0, 4))


@pytest.mark.parametrize("given", [[], [[1.0, 2.0]] * 9, [[1.0]] * 50])
def test_too_little(given):
    assert rating_reliability(given, SETTINGS) is None


def test_constant_ratings_are_null():
    shape = rating_reliability([[1.0, 1.0, 1.0]] * 20, SETTINGS).to_json()
    assert json.loads(json.dumps(shape, allow_nan=False)) == shape
    assert shape["spearman"]["ceiling"] is None
