import warnings

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from scipy import stats
from sklearn import metrics as sk

from musicemo.evaluation.metrics import (
    CLASSIFICATION,
    REGRESSION,
    classification,
    higher_is_better,
    of_confusion,
    ranks,
    regression,
)

CORRELATIONS = ("spearman", "pearson", "ccc")


def ratings(count: int, seed: int = 0, ties: bool = False) -> tuple[np.ndarray, np.ndarray]:
    random = np.random.default_rng(seed)
    target = random.uniform(1, 9, count)
    prediction = 0.5 * target + random.normal(size=count)
    return (prediction.round(), target.round()) if ties else (prediction, target)


def reference(prediction, target) -> dict[str, float]:
    distance = (prediction.mean() - target.mean()) ** 2
    covariance = np.cov(prediction, target, bias=True)[0, 1]
    return {
        "spearman": stats.spearmanr(prediction, target).statistic,
        "pearson": stats.pearsonr(prediction, target).statistic,
        "ccc": 2 * covariance / (prediction.var() + target.var() + distance),
        "r2": sk.r2_score(target, prediction),
        "rmse": sk.root_mean_squared_error(target, prediction),
        "mae": sk.mean_absolute_error(target, prediction),
    }


@pytest.mark.parametrize("count", [3, 10, 1000])
@pytest.mark.parametrize("ties", [False, True])
@pytest.mark.parametrize("seed", range(3))
def test_regression_equals_scipy_and_scikit_learn(count, ties, seed):
    prediction, target = ratings(count, seed, ties)
    found = regression(prediction, target)
    assert tuple(found) == REGRESSION
    for name, value in reference(prediction, target).items():
        assert found[name].shape == ()
        assert found[name] == pytest.approx(value, abs=1e-12), name


@pytest.mark.parametrize("count", [1, 2, 30])
def test_ranks_equal_scipys(count):
    values = np.random.default_rng(count).normal(size=(3, 2, count)).round(1)
    values[0, 0, 0] = np.inf
    values[1] = 0.3
    np.testing.assert_array_equal(ranks(values), stats.rankdata(values, axis=-1))
    np.testing.assert_array_equal(ranks(values[0, 1]), stats.rankdata(values[0, 1]))


def test_numbers_near_the_largest_one_raise_no_warning():
    prediction, target = ratings(30)
    for found in (regression(1e307 * prediction, target), regression(prediction, 1e307 * target)):
        assert found["spearman"] == pytest.approx(float(regression(prediction, target)["spearman"]))
        assert np.isinf(found["rmse"])


@pytest.mark.parametrize("factor", [1e-200, 1e200])
def test_a_correlation_does_not_depend_on_the_unit(factor):
    prediction, target = ratings(30)
    expected = regression(prediction, target)["pearson"]
    assert regression(factor * prediction, target)["pearson"] == pytest.approx(float(expected))


@pytest.mark.parametrize("count", [0, 1, 2, 50])
def test_rows_equal_single_calls(count):
    random = np.random.default_rng(0)
    prediction, target = random.normal(size=(2, 3, 4, count)).round(1)
    prediction[0, 0], target[1, 1], target[2, 0], prediction[2, 0] = 0.3, 0.7, 0.5, 0.5
    rows = regression(prediction, target)
    for place in np.ndindex(3, 4):
        single = regression(prediction[place], target[place])
        for name in REGRESSION:
            assert rows[name].shape == (3, 4)
            assert np.allclose(rows[name][place], single[name], equal_nan=True, atol=1e-12), (name, place)


def test_perfect_and_reversed():
    target = np.array([1.0, 2.0, 4.0])
    assert regression(target, target) == pytest.approx(
        {"spearman": 1, "pearson": 1, "ccc": 1, "r2": 1, "rmse": 0, "mae": 0}
    )
    found = regression(-target, target)
    assert (found["spearman"], found["pearson"]) == pytest.approx((-1, -1))


@pytest.mark.parametrize("shift", [0.0, 1.0, -3.0])
@pytest.mark.parametrize("factor", [1.0, 0.5, -2.0])
def test_concordance_of_a_line_in_closed_form(shift, factor):
    """For p = a t + b: 2 a var / (a^2 var + var + ((a - 1) mean + b)^2); Lin (1989)."""
    target = np.random.default_rng(0).uniform(size=200)
    mean, variance = target.mean(), target.var()
    expected = 2 * factor * variance / (factor**2 * variance + variance + ((factor - 1) * mean + shift) ** 2)
    assert regression(factor * target + shift, target)["ccc"] == pytest.approx(expected)


@settings(deadline=None, max_examples=40)
@given(st.integers(0, 10_000), st.integers(3, 40), st.booleans())
def test_bounds(seed, count, ties):
    prediction, target = ratings(count, seed, ties)
    found = regression(prediction, target)
    if np.ptp(target) == 0:
        return
    assert all(-1 - 1e-9 <= found[name] <= 1 + 1e-9 for name in CORRELATIONS)
    assert abs(found["ccc"]) <= abs(found["pearson"]) + 1e-9
    assert found["r2"] <= 1
    assert 0 <= found["mae"] <= found["rmse"] + 1e-12


@pytest.mark.parametrize("value", [0.0, 0.1, 5.0, 1e-300])
def test_a_constant_prediction_ranks_nothing(value):
    target = np.array([1.0, 2.0, 6.0])
    found = regression(np.full(3, value), target)
    assert [float(found[name]) for name in CORRELATIONS] == pytest.approx([0, 0, 0])
    assert found["rmse"] == pytest.approx(sk.root_mean_squared_error(target, np.full(3, value)))
    assert found["r2"] == pytest.approx(sk.r2_score(target, np.full(3, value)))
    assert regression(np.full(3, 3.0), target)["r2"] == pytest.approx(0), "the mean explains nothing"


def test_a_constant_target_leaves_correlations_undefined():
    found = regression(np.array([1.0, 2.0, 3.0]), np.full(3, 0.1))
    assert all(np.isnan(found[name]) for name in (*CORRELATIONS, "r2"))
    assert found["mae"] == pytest.approx(1.9)
    both = regression(np.full(3, 0.1), np.full(3, 0.1))
    assert all(np.isnan(both[name]) for name in (*CORRELATIONS, "r2"))
    assert both["rmse"] == 0


def test_no_track_and_one_track():
    assert all(np.isnan(value) for value in regression(np.array([]), np.array([])).values())
    found = regression(np.array([1.0]), np.array([3.0]))
    assert all(np.isnan(found[name]) for name in (*CORRELATIONS, "r2"))
    assert (found["rmse"], found["mae"]) == (2, 2)


def test_two_tracks():
    found = regression(np.array([1.0, 2.0]), np.array([3.0, 7.0]))
    assert (found["spearman"], found["pearson"]) == pytest.approx((1, 1))
    assert found["ccc"] == pytest.approx(2 * 1.0 / (0.25 + 4 + 3.5**2))
    assert regression(np.array([2.0, 1.0]), np.array([3.0, 7.0]))["spearman"] == pytest.approx(-1)


def test_a_prediction_that_hardly_varies_makes_no_noise():
    target = np.arange(5.0)
    with warnings.catch_warnings():
        warnings.simplefilter("error")
        found = regression(1 + 1e-14 * target, target)
    assert found["spearman"] == pytest.approx(1)
    assert all(np.isfinite(value) for value in found.values())


@pytest.mark.parametrize("value", [np.nan, np.inf, -np.inf])
def test_a_prediction_that_is_not_finite_leaves_its_row_undefined(value):
    prediction, target = (np.stack([values, values]) for values in ratings(10))
    prediction[1, 3] = value
    found, good = regression(prediction, target), regression(prediction[0], target[0])
    for name in REGRESSION:
        assert found[name][0] == pytest.approx(good[name])
        assert np.isnan(found[name][1])


# Classification.


def labels(count: int, classes: int, seed: int = 0) -> tuple[np.ndarray, np.ndarray]:
    random = np.random.default_rng(seed)
    target = random.integers(classes, size=count)
    return np.where(random.uniform(size=count) < 0.4, random.integers(classes, size=count), target), target


@pytest.mark.parametrize(("count", "classes"), [(1, 2), (2, 3), (30, 20), (500, 10)])
def test_classification_equals_scikit_learn(count, classes):
    prediction, target = labels(count, classes)
    names = [f"c{index}" for index in range(classes)]
    found = classification(prediction, target, names)
    assert found["accuracy"] == sk.accuracy_score(target, prediction)
    assert found["macro_f1"] == sk.f1_score(target, prediction, average="macro", zero_division=0)
    assert found["weighted_f1"] == sk.f1_score(target, prediction, average="weighted", zero_division=0)
    report = sk.classification_report(
        target, prediction, labels=range(classes), target_names=names, output_dict=True, zero_division=0
    )
    for name in names:
        assert found["per_class"][name] == pytest.approx(
            {key.replace("f1-score", "f1"): value for key, value in report[name].items()}
        )
    assert np.array_equal(
        found["confusion_matrix"], sk.confusion_matrix(target, prediction, labels=range(classes))
    )


def test_a_confusion_matrix_has_a_row_per_true_class():
    found = classification(np.array([1, 1, 0]), np.array([0, 0, 0]), ["a", "b"])
    assert found["confusion_matrix"] == [[1, 2], [0, 0]]
    assert found["per_class"]["b"] == {"precision": 0, "recall": 0, "f1": 0, "support": 0}


def test_classes_that_do_not_occur_do_not_lower_macro_f1():
    target = np.array([0, 0, 1, 1])
    assert classification(target, target, ["a", "b", "c", "d"])["macro_f1"] == 1


def test_no_track():
    found = classification(np.array([], int), np.array([], int), ["a", "b"])
    assert set(found) == set(CLASSIFICATION)
    assert all(np.isnan(value) for value in found.values())


@pytest.mark.slow
@settings(deadline=None, max_examples=60)
@given(st.integers(1, 40), st.integers(2, 8), st.integers(0, 10_000))
def test_of_confusion_equals_scikit_learn(count, classes, seed):
    """Few tracks and several classes: some of them occur nowhere, or on one side alone."""
    prediction, target = labels(count, classes, seed)
    drawn = np.random.default_rng(seed).integers(count, size=(3, count))
    matrices = np.array([sk.confusion_matrix(target[d], prediction[d], labels=range(classes)) for d in drawn])
    found = of_confusion(matrices)
    for index, d in enumerate(drawn):
        single = classification(prediction[d], target[d], [str(name) for name in range(classes)])
        for name in CLASSIFICATION:
            assert found[name][index] == pytest.approx(single[name], abs=1e-12), name


def test_many_classes_raise_no_warning():
    """Scikit-learn takes many class indices among few tracks for a regression, and says so."""
    target = np.arange(25)
    assert classification(target, target, [f"c{index}" for index in range(25)])["accuracy"] == 1


def test_the_direction_of_every_metric():
    assert [name for name in (*REGRESSION, *CLASSIFICATION) if not higher_is_better(name)] == ["rmse", "mae"]
    assert not higher_is_better("loss")
