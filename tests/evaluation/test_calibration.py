import json

import numpy as np
import pytest
from scipy import stats
from sklearn.isotonic import IsotonicRegression

from musicemo.evaluation import Calibration, TaskEvaluation, calibration_report, fit_calibration


def task(prediction, target) -> TaskEvaluation:
    ids = [str(index) for index in range(len(target))]
    return TaskEvaluation("regression", ids, np.asarray(target, float), np.asarray(prediction, float))


def ranks(count: int = 60, seed: int = 0) -> TaskEvaluation:
    """Return what a network trained on ranks gives: the right order, on a scale of its own."""
    random = np.random.default_rng(seed)
    target = random.uniform(1, 9, count)
    return task(-30 + 5 * (target + random.normal(size=count)), target)


def test_a_line_is_that_of_least_squares():
    found = fit_calibration(ranks(), "affine")
    slope, intercept = np.polyfit(ranks().prediction, ranks().target, 1)
    values = np.array([-100.0, -20.0, 0.0, 55.0])
    assert found(values) == pytest.approx(slope * values + intercept)


def test_steps_are_those_of_scikit_learn():
    found = fit_calibration(ranks(), "isotonic")
    reference = IsotonicRegression(out_of_bounds="clip").fit(ranks().prediction, ranks().target)
    values = np.linspace(-60, 40, 200)
    assert found(values) == pytest.approx(reference.predict(values))


@pytest.mark.parametrize("method", ["affine", "isotonic"])
def test_errors_fall_and_the_order_stays(method):
    other = ranks(seed=1)
    calibration = fit_calibration(ranks(), method)
    report = calibration_report(other, calibration)
    for name in ("rmse", "mae"):
        assert report[name]["after"] < 0.2 * report[name]["before"]
    assert report["ccc"]["after"] > report["ccc"]["before"] + 0.3
    before, after = report["spearman"].values()
    assert after == pytest.approx(before, abs=1e-12 if method == "affine" else 0.05)
    expected = stats.spearmanr(calibration(other.prediction), other.target).statistic
    assert after == pytest.approx(expected)


@pytest.mark.parametrize("method", ["affine", "isotonic"])
def test_json_and_back(method):
    found = fit_calibration(ranks(), method)
    again = Calibration.from_json(json.loads(json.dumps(found.to_json())))
    values = np.linspace(-60, 40, 50)
    assert np.array_equal(again(values), found(values))


@pytest.mark.parametrize("method", ["affine", "isotonic"])
@pytest.mark.parametrize(
    ("given", "reason"),
    [
        (task([1, 2, 3, 4], [1, 2, 3, 4]), "has 4 tracks; at least 5"),
        (task([1, 2, np.nan, 4, np.inf, 3], [1, 2, 3, 4, 5, 6]), "has 4 tracks"),
        (task([0.3] * 9, range(9)), "every prediction on the validation part is the same"),
        (task(range(9), [0.3] * 9), "do not rise"),
        (task(range(9), range(9, 0, -1)), "do not rise"),
        (task([], []), "has 0 tracks"),
    ],
)
def test_what_cannot_be_fitted_says_why(method, given, reason):
    found = fit_calibration(given, method)
    assert isinstance(found, str)
    assert reason in found


@pytest.mark.parametrize("method", ["affine", "isotonic"])
def test_predictions_that_are_not_finite_stay_so(method):
    found = fit_calibration(ranks(), method)(np.array([np.nan, 0.0]))
    assert np.isnan(found[0])
    assert np.isfinite(found[1])


@pytest.mark.parametrize(
    "value",
    [
        {"method": "cubic", "x": [0, 1], "y": [0, 1]},
        {"method": "affine", "x": [0], "y": [0]},
        {"method": "affine", "x": [0, 1], "y": [0]},
    ],
)
def test_damaged_maps_are_refused(value):
    with pytest.raises(ValueError, match="is no calibration"):
        Calibration.from_json(value)
