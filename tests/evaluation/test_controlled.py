import json

import numpy as np
import pytest
from scipy import stats

from musicemo.evaluation import EvaluationSettings, TaskEvaluation, controlled_scores, group_means

SETTINGS = EvaluationSettings(resamples=200)
GENRES = ("folk", "jazz", "pop")


def world(count: int = 90, own: float = 1.0, genre: float = 3.0, seed: int = 0):
    """Return target, genre codes, what a track has of its own, and train: ratings are of the genre and of their own."""
    random = np.random.default_rng(seed)
    codes = np.arange(count) % 3
    effect = own * random.normal(size=count)
    target = genre * codes + effect
    train = [(GENRES[code], genre * code) for code in range(3)]
    return target, codes, effect, train


def scores(prediction, target, codes, train, settings=SETTINGS):
    ids = [f"t{index}" for index in range(len(target))]
    groups = {name: GENRES[code] for name, code in zip(ids, codes, strict=True)}
    task = TaskEvaluation("regression", ids, np.asarray(target, float), np.asarray(prediction, float))
    return controlled_scores([task], groups, group_means(groups, train), settings)


def test_a_model_that_only_hears_the_genre_is_caught():
    target, codes, _, train = world()
    noise = np.random.default_rng(1).normal(size=90)
    found = scores(codes + 0.05 * noise, target, codes, train)
    assert found["spearman"]["value"] > 0.7
    assert found["group_alone"]["value"] > 0.7
    for name in ("gain", "within", "partial"):
        assert found[name]["low"] <= 0.05, name
        assert abs(found[name]["value"]) < 0.25, name


def test_a_model_that_hears_more_is_not():
    target, codes, effect, train = world()
    found = scores(2 * codes + effect, target, codes, train)
    assert all(found[name]["low"] > 0 for name in ("gain", "within", "partial"))
    only_within = scores(effect, target, codes, train)
    assert only_within["within"]["value"] == pytest.approx(1)
    assert only_within["gain"]["value"] < 0  # it does not know the genre


def test_the_genres_mean_itself_gains_nothing():
    target, codes, _, train = world()
    found = scores(3.0 * codes, target, codes, train)
    assert found["spearman"] == found["group_alone"]
    assert [found[name]["value"] for name in ("gain", "within", "partial")] == [0, 0, 0]


def test_within_is_the_weighted_mean_of_the_genres_rhos():
    random = np.random.default_rng(0)
    codes = np.repeat([0, 1, 2], [10, 20, 40])
    target, prediction = random.normal(size=(2, 70)).round(1)
    found = scores(prediction, target, codes, [])
    rhos = [stats.spearmanr(prediction[codes == code], target[codes == code]).statistic for code in range(3)]
    assert found["within"]["value"] == pytest.approx(np.average(rhos, weights=[9, 19, 39]))
    assert [found["groups"][name]["spearman"] for name in GENRES] == pytest.approx(rhos)
    assert [found["groups"][name]["tracks"] for name in GENRES] == [10, 20, 40]


def test_partial_is_the_correlation_of_the_residuals_of_a_regression_on_the_genres():
    target, codes, effect, train = world()
    prediction = effect + np.random.default_rng(2).normal(size=90)
    dummies = np.eye(3)[codes]
    residuals = []
    for values in (prediction, target):
        ranks = stats.rankdata(values)
        residuals.append(ranks - dummies @ np.linalg.lstsq(dummies, ranks, rcond=None)[0])
    found = scores(prediction, target, codes, train)
    assert found["partial"]["value"] == pytest.approx(stats.pearsonr(*residuals).statistic)


def test_the_baseline_has_the_means_of_the_training_part_and_the_overall_one_for_what_it_has_not():
    target, codes, _, _ = world()
    train = [("folk", 2.0), ("folk", 4.0), ("jazz", 9.0)]
    baseline = np.array([3.0, 9.0, 5.0])[codes]
    found = scores(target, target, codes, train)
    assert found["group_alone"]["value"] == pytest.approx(stats.spearmanr(baseline, target).statistic)


def test_tracks_without_a_genre_and_genres_of_two_tracks_are_left_out():
    target, _, effect, train = world(30)
    task = TaskEvaluation("regression", [str(index) for index in range(30)], target, effect)
    groups = {str(index): "folk" for index in range(10)} | {"10": "jazz", "11": "jazz"}
    found = controlled_scores([task], groups, group_means(groups, train), SETTINGS)
    assert found["tracks"] == 12
    assert found["groups"]["jazz"] == {"tracks": 2, "spearman": None, "mean": 3.0}
    assert found["within"]["value"] == pytest.approx(found["groups"]["folk"]["spearman"])
    assert controlled_scores([task], {"1": "folk"}, {"1": 0.0}, SETTINGS) is None


@pytest.mark.parametrize("prediction", [np.zeros(30), np.full(30, np.nan), np.arange(30.0)])
@pytest.mark.parametrize("target", [np.zeros(30), np.arange(30) % 3, np.arange(30.0)])
def test_whatever_is_not_defined_is_null(prediction, target):
    found = scores(prediction, target, np.arange(30) % 3, [])
    assert json.loads(json.dumps(found, allow_nan=False)) == found


def test_intervals_of_the_partial_correlation_cover():
    """In a world without end, the residuals' correlation is 1 / sqrt(2)."""
    settings = EvaluationSettings(resamples=200, confidence=0.8)
    held = []
    for seed in range(60):
        target, codes, effect, train = world(120, genre=0.0, seed=seed)
        prediction = effect + np.random.default_rng(seed + 999).normal(size=120)
        found = scores(prediction, target, codes, train, settings)["partial"]
        truth = 6 / np.pi * np.arcsin(np.sqrt(0.5) / 2)  # Spearman's rho of two normals
        held.append(found["low"] <= truth <= found["high"])
    assert 0.6 < np.mean(held) < 0.95
