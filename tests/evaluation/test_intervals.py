import numpy as np
import pytest
from pydantic import ValidationError
from scipy import stats

from musicemo.evaluation import EvaluationSettings, TaskEvaluation, intervals
from musicemo.evaluation.metrics import CLASSIFICATION, REGRESSION, classification, regression

SETTINGS = EvaluationSettings(resamples=200)


def regression_intervals(prediction, target, settings):
    ids = [str(index) for index in range(len(target))]
    return TaskEvaluation("regression", ids, target, prediction).intervals(settings)


def classification_intervals(prediction, target, classes, settings):
    ids = [str(index) for index in range(len(target))]
    return TaskEvaluation("classification", ids, target, prediction, "abcd"[:classes]).intervals(settings)


def ratings(count: int = 80, seed: int = 0):
    random = np.random.default_rng(seed)
    target = random.uniform(size=count)
    return target + 0.3 * random.normal(size=count), target


def labels(count: int = 80, classes: int = 4, seed: int = 0):
    random = np.random.default_rng(seed)
    target = random.integers(classes, size=count)
    return np.where(random.uniform(size=count) < 0.3, (target + 1) % classes, target), target


def test_regression_intervals_hold_the_value_and_are_repeatable():
    found = regression_intervals(*ratings(), SETTINGS)
    assert found == regression_intervals(*ratings(), SETTINGS)
    assert tuple(found) == REGRESSION
    for name, value in regression(*ratings()).items():
        low, high = found[name]
        assert low < value < high


def test_classification_intervals_hold_the_value_and_are_repeatable():
    found = classification_intervals(*labels(), 4, SETTINGS)
    assert found == classification_intervals(*labels(), 4, SETTINGS)
    assert tuple(found) == CLASSIFICATION
    single = classification(*labels(), list("abcd"))
    for name in CLASSIFICATION:
        low, high = found[name]
        assert low < single[name] < high


def test_they_do_not_depend_on_global_randomness():
    first = regression_intervals(*ratings(), SETTINGS)
    np.random.seed(3)  # noqa: NPY002  # the point
    assert regression_intervals(*ratings(), SETTINGS) == first


@pytest.mark.parametrize("at_once", [1, 80, 1000, 80 * 7])
def test_chunks_do_not_change_them(monkeypatch, at_once):
    def both() -> np.ndarray:
        found = {
            **regression_intervals(*ratings(), SETTINGS),
            **classification_intervals(*labels(), 4, SETTINGS),
        }
        return np.array(list(found.values()))

    whole = both()
    monkeypatch.setattr(intervals, "_AT_ONCE", at_once)
    assert np.allclose(both(), whole, rtol=0, atol=1e-12)


def test_equals_scipys_percentile_bootstrap_of_the_mean_error():
    """The mean absolute error is a mean, for which scipy's bootstrap is an independent reference."""
    prediction, target = ratings(400)
    low, high = regression_intervals(prediction, target, EvaluationSettings(resamples=4000))["mae"]
    expected = stats.bootstrap(
        (np.abs(prediction - target),), np.mean, n_resamples=4000, method="percentile", rng=0
    ).confidence_interval
    width = expected.high - expected.low
    assert low == pytest.approx(expected.low, abs=0.06 * width)
    assert high == pytest.approx(expected.high, abs=0.06 * width)


def test_coverage():
    """About as many intervals as they claim hold the true mean absolute error."""
    true = 0.3 * np.sqrt(2 / np.pi)
    settings = EvaluationSettings(resamples=200, confidence=0.8)
    found = [regression_intervals(*ratings(60, seed), settings)["mae"] for seed in range(60)]
    assert 0.62 < np.mean([low <= true <= high for low, high in found]) < 0.95


def test_more_confidence_is_wider():
    narrow, wide = (
        regression_intervals(*ratings(), EvaluationSettings(resamples=200, confidence=c))["spearman"]
        for c in (0.5, 0.99)
    )
    assert wide[0] < narrow[0] < narrow[1] < wide[1]


def test_resamples_in_which_a_metric_is_not_defined_are_left_out():
    """Of two tracks, half of the resamples hold one of them twice: a constant target."""
    found = regression_intervals(np.array([1.0, 2.0]), np.array([1.0, 3.0]), SETTINGS)
    assert found["pearson"] == pytest.approx((1, 1))
    assert found["mae"] == pytest.approx((0, 1))


def test_where_it_never_is_defined():
    found = regression_intervals(np.arange(4.0), np.ones(4), SETTINGS)
    assert np.isnan(found["spearman"]).all()
    assert np.isfinite(found["rmse"]).all()


@pytest.mark.parametrize(
    "wrong", [{"resamples": 99}, {"confidence": 1.0}, {"confidence": 0.0}, {"resample": 100}]
)
def test_settings(wrong):
    with pytest.raises(ValidationError):
        EvaluationSettings(**wrong)
