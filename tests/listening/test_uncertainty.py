"""The error of predictions of held-out tracks."""

import numpy as np
import pytest
from recorded_runs import write_run

from musicemo.evaluation import Evaluation, TaskEvaluation
from musicemo.listening import HeldOut, read_held_out
from musicemo.runs import open_replicates, open_run


def ratings(target, prediction):
    ids = [f"t{place}" for place in range(len(target))]
    return TaskEvaluation("regression", ids, np.array(target, float), np.array(prediction, float))


def test_four_of_five_and_one_more_are_within_the_error():
    errors = np.array([1, -2, 3, -4, 5, -6, 7, -8, 9])
    held_out = HeldOut("in the test set", {"valence": [ratings(np.zeros(9), errors)]})
    error = held_out.rating_error("valence")
    assert (error.within, error.count, error.tracks, error.constant) == (8, 8, 9, 0)  # 0.8 x 10 = 8
    assert HeldOut("", {"valence": [ratings([0] * 3, [1] * 3)]}).rating_error("valence") is None
    assert held_out.rating_error("arousal") is None


def test_a_new_song_is_within_the_error_as_often_as_is_claimed():
    random = np.random.default_rng(0)
    drawn = np.abs(random.standard_t(3, size=(800, 20)))
    inside = []
    for errors in drawn:
        held_out = HeldOut("", {"v": [ratings(np.zeros(19), errors[1:])]})
        inside.append(errors[0] <= held_out.rating_error("v").within)
    assert np.mean(inside) == pytest.approx(0.8, abs=0.05)


def test_seeds_are_averaged_and_a_constant_is_compared():
    several = [ratings([0, 10, 0, 10], [2, 8, 2, 8]), ratings([0, 10, 0, 10], [0, 10, 0, 10])]
    error = HeldOut("", {"valence": several}).rating_error("valence")
    assert (error.within, error.constant) == (1, 5)


def test_a_song_rated_over_time_has_the_error_of_its_mean():
    times = [np.arange(3.0)] * 4
    target = [np.array([1.0, 2.0, 3.0])] * 4
    prediction = [np.array([3.0, 2.0, 1.0]) + shift for shift in (0, 1, 2, 3)]
    series = TaskEvaluation.of_series(list("abcd"), times, target, prediction)
    held_out = HeldOut("", {"valence": [series]})
    assert held_out.rating_error("valence").within == pytest.approx(3)
    assert held_out.span("valence") == (2, 2)


def test_the_error_of_a_moment_is_that_of_80_percent_of_all_rated_moments():
    times = [np.arange(5.0)] * 4
    target = [np.zeros(5)] * 3 + [np.array([np.nan, 5, 5, 5, 5])]
    errors = np.arange(20.0).reshape(4, 5)
    plus, minus = (
        TaskEvaluation.of_series(list("abcd"), times, target, list(np.array(target) + side))
        for side in (errors + 1, errors - 1)
    )
    error = HeldOut("in the test set", {"valence": [plus, minus]}).moment_error("valence")
    assert (error.moments, error.songs) == (19, 4)
    rated = np.delete(errors.ravel(), 15)
    assert error.within == sorted(rated)[15]  # 16 of 19 is the smallest share of at least 80 %
    assert error.constant == pytest.approx(5 - 20 / 19)  # only 15 of 19 are rated 0
    assert HeldOut("", {"valence": [ratings([0] * 9, [1] * 9)]}).moment_error("valence") is None
    few = TaskEvaluation.of_series(list("abc"), times[:3], target[:3], target[:3])
    assert HeldOut("", {"valence": [few]}).moment_error("valence") is None


def test_the_precision_of_a_class_and_of_a_tag():
    classes = TaskEvaluation(
        "classification", list("abcd"), np.array([0, 1, 1, 0]), np.array([0, 0, 1, 0]), classes=("folk", "rock")
    )
    labels = np.array([[1, np.nan], [0, 1], [1, 0]])
    tags = TaskEvaluation.of_tags(
        list("abc"), labels, np.array([[0.9, 0.9], [0.8, 0.1], [0.1, 0.1]]), ("x", "y")
    )
    held_out = HeldOut("", {"genre": [classes, classes], "tags": [tags]})
    assert held_out.precision("genre", 0) == (4, 6)
    assert held_out.precision("tags", 0) == (1, 2)
    assert held_out.precision("tags", 1) == (0, 0)
    assert (held_out.score("genre"), held_out.chance("genre")) == (0.75, 0.5)


def test_the_folds_of_an_experiment_are_pooled(tmp_path):
    for fold in (0, 1):
        parts = {"test": Evaluation({"valence": replaced(fold)})}
        write_run(tmp_path / "runs" / "mine", f"20260102-030405-seed0-fold{fold}", fold=fold, parts=parts)
    held_out = read_held_out(open_replicates(tmp_path / "runs" / "mine"))
    assert held_out.source == "in cross-validation"
    assert held_out.rating_error("valence").tracks == 8
    single = read_held_out([open_run(sorted((tmp_path / "runs" / "mine").iterdir())[0])])
    assert (single.source, single.rating_error("valence").tracks) == ("in the test set", 4)


def replaced(fold):
    ids = [f"{fold}-{place}" for place in range(4)]
    return TaskEvaluation("regression", ids, np.arange(4.0) + 1, np.arange(4.0) + 1.5)


def test_without_a_test_set_the_validation_set_is_named(tmp_path):
    record = open_run(write_run(tmp_path, parts={"val": Evaluation({"valence": replaced(0)})}))
    assert read_held_out([record]).source.startswith("in the validation set")
