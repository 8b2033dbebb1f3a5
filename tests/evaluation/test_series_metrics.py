import math
from math import nan

import numpy as np
import pytest

from musicemo.evaluation import EvaluationSettings, TaskEvaluation, series_reliability, song_metrics
from musicemo.evaluation.metrics import SERIES, bounds, higher_is_better, regression
from musicemo.evaluation.series import SeriesResampler, padded

SETTINGS = EvaluationSettings(resamples=300)


def songs(seed=0, lengths=(12, 30, 7, 20), level=0.0):
    random = np.random.default_rng(seed)
    target = [level + random.normal(size=length).cumsum() for length in lengths]
    prediction = [0.6 * rated + random.normal(size=len(rated)) + 0.3 for rated in target]
    return prediction, target


def evaluation(prediction, target):
    ids = [f"song{place}" for place in range(len(target))]
    return TaskEvaluation.of_series(ids, [np.arange(len(rated)) / 2 for rated in target], target, prediction)


def test_rows_are_filled_up_with_nan():
    np.testing.assert_array_equal(padded([np.array([1.0]), np.array([2.0, 3.0])]), [[1, nan], [2, 3]])
    assert padded([]).shape == (0, 0)


@pytest.mark.parametrize("level", [0.0, 1e4])
def test_metrics_are_those_of_regression_within_songs_and_of_all_ratings(level):
    prediction, target = songs(level=level)
    each = [regression(*pair) for pair in zip(prediction, target, strict=True)]
    together = regression(np.concatenate(prediction), np.concatenate(target))
    found = evaluation(prediction, target).metrics()
    for metric in ("pearson", "rmse", "ccc"):
        values = np.array([float(one[metric]) for one in each])
        assert found[f"song_{metric}"] == pytest.approx(values.mean(), rel=1e-6)
        assert found["deviations"][f"song_{metric}"] == pytest.approx(values.std(ddof=1), rel=1e-6)
        assert found[f"pooled_{metric}"] == pytest.approx(float(together[metric]), rel=1e-6)


def test_ratings_within_a_song_that_are_not_rated_do_not_count():
    prediction, target = songs()
    gappy = [np.insert(rated, 3, nan) for rated in target]
    filled = [np.insert(values, 3, 99.0) for values in prediction]
    found = SeriesResampler(padded(filled), padded(gappy))(np.ones((1, 4)))
    expected = evaluation(prediction, target).metrics()
    for name in SERIES:
        assert found[name][0] == pytest.approx(expected[name])


def test_resamples_are_the_metrics_of_the_drawn_songs():
    prediction, target = songs()
    resampler = SeriesResampler(padded(prediction), padded(target))
    for drawn in ([0, 0, 1, 3], [2, 2, 2, 1], [3, 1, 0, 2]):
        counts = np.bincount(drawn, minlength=4)[None].astype(float)
        again = evaluation([prediction[place] for place in drawn], [target[place] for place in drawn]).metrics()
        found = resampler(counts)
        assert list(found) == list(SERIES)
        for name in SERIES:
            assert found[name][0] == pytest.approx(again[name], rel=1e-9)


def test_a_constant_prediction_correlates_with_nothing():
    _, target = songs()
    found = evaluation([np.full(len(rated), 0.5) for rated in target], target).metrics()
    for name in ("song_pearson", "song_ccc", "pooled_pearson", "pooled_ccc"):
        assert found[name] == 0.0
    assert found["song_rmse"] > 0


def test_songs_with_constant_ratings_have_no_correlation_and_are_left_out_of_its_mean():
    prediction, target = songs()
    flat = [*target[:3], np.full(20, 0.1)]
    scores = song_metrics(padded(prediction), padded(flat))
    assert math.isnan(scores["pearson"][3])
    assert math.isnan(scores["ccc"][3])
    assert math.isfinite(scores["rmse"][3])
    found = evaluation(prediction, flat).metrics()
    assert found["song_pearson"] == pytest.approx(scores["pearson"][:3].mean())
    assert found["song_rmse"] == pytest.approx(scores["rmse"].mean())
    alone = evaluation(prediction[3:], flat[3:]).metrics()
    assert math.isnan(alone["song_pearson"])
    assert math.isnan(alone["pooled_pearson"])
    assert alone["deviations"] == {"song_pearson": None, "song_rmse": None, "song_ccc": None}


def test_a_prediction_that_is_not_finite_leaves_nothing_defined():
    prediction, target = songs()
    prediction[1][4] = nan
    found = evaluation(prediction, target).metrics()
    assert all(math.isnan(found[name]) for name in SERIES)
    counts = np.array([[1.0, 0.0, 2.0, 1.0]])
    found = SeriesResampler(padded(prediction), padded(target))(counts)
    again = evaluation(*([rows[place] for place in (0, 2, 2, 3)] for rows in (prediction, target))).metrics()
    for name in SERIES:
        assert found[name][0] == pytest.approx(again[name])


def test_intervals_are_over_songs():
    prediction, target = songs(lengths=[10] * 30)
    task = evaluation(prediction, target)
    content = task.to_json(SETTINGS)
    assert content["tracks"] == 30
    for name in SERIES:
        assert content[name]["low"] < content[name]["value"] < content[name]["high"]
    # Ratings of a song depend on each other: the same ratings as songs of one rating each would be surer.
    width = content["pooled_rmse"]["high"] - content["pooled_rmse"]["low"]
    ratings = TaskEvaluation("regression", [""] * 300, np.concatenate(target), np.concatenate(prediction))
    low, high = ratings.intervals(SETTINGS)["rmse"]
    assert high - low < width


def test_errors_are_better_if_they_are_lower():
    assert [name for name in SERIES if not higher_is_better(name)] == ["song_rmse", "pooled_rmse"]
    assert bounds("song_pearson") == bounds("pooled_ccc") == (-1.0, 1.0)
    assert bounds("song_rmse") == (0.0, math.inf)


def panel(noise, songs=40, listeners=8, times=30, seed=0):
    random = np.random.default_rng(seed)
    truth = random.normal(size=(songs, times)).cumsum(axis=1) / 4
    return [curve + noise * random.normal(size=(listeners, times)) for curve in truth]


def test_listeners_who_agree_are_reliable():
    found = series_reliability(panel(0.0), SETTINGS)
    assert found.values["song_pearson"][0] == pytest.approx(1.0)
    assert found.values["pooled_pearson"][0] == pytest.approx(1.0)
    assert (found.tracks, found.raters) == (40, (8, 8.0, 8))


def test_the_reliability_is_the_agreement_with_another_panel():
    """Its square root bounds the correlation with the mean opinion of all listeners."""
    ratings = panel(2.0)
    other = panel(2.0, listeners=16)
    same = [np.concatenate([one, two[8:]]) for one, two in zip(ratings, other, strict=True)]
    found = series_reliability(ratings, SETTINGS)
    value, low, high = found.values["pooled_pearson"]
    random = np.random.default_rng(0)
    truth = random.normal(size=(40, 30)).cumsum(axis=1) / 4
    means = np.array([one.mean(axis=0) for one in ratings])
    reached = np.corrcoef(means.ravel(), truth.ravel())[0, 1]
    assert low < value < high
    assert math.sqrt(value) == pytest.approx(reached, abs=0.03)
    assert series_reliability(same, SETTINGS).values["pooled_pearson"][0] > value


def test_reliability_needs_listeners_and_ratings_that_overlap():
    assert series_reliability(panel(0.5, songs=9), SETTINGS) is None
    assert series_reliability(panel(0.5, listeners=1), SETTINGS) is None
    gappy = panel(0.5)
    for one in gappy:
        one[:, :5] = nan
        one[0, 10:12] = nan
    found = series_reliability(gappy, SETTINGS)
    assert 0.5 < found.values["song_pearson"][0] < 1
    nobody = [np.full((4, 6), nan) for _ in range(12)]
    assert math.isnan(series_reliability(nobody, SETTINGS).values["song_pearson"][0])
