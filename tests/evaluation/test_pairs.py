"""Metrics of judged pairs, and their resamples."""

import numpy as np
import pytest

from musicemo.evaluation import PAIRS, EvaluationSettings, TaskEvaluation, connected, pair_id, pair_members


def evaluation(scores, listeners, members=None):
    members = members or [(2 * pair, 2 * pair + 1) for pair in range(len(scores))]
    ids = [pair_id(f"t{first:03d}", f"t{second:03d}") for first, second in members]
    return TaskEvaluation("pairs", ids, np.array(listeners, float), np.array(scores, float))


def test_closed_form():
    task = evaluation([[1, 0], [0, 1], [2, 2], [0, 5]], [[3, 1], [4, 0], [1, 2], [2, 2]])
    assert task.metric("pair_accuracy") == pytest.approx((1 + 0 + 0.5) / 3)  # the last pair has no majority
    assert task.metric("vote_accuracy") == pytest.approx((3 + 0 + 1.5 + 2) / 15)
    assert task.metrics()["agreement"] == pytest.approx((3 + 4 + 2 + 2) / 15)


def test_the_order_of_a_pair_does_not_matter():
    random = np.random.default_rng(0)
    scores, listeners = random.normal(size=(30, 2)), random.integers(1, 4, size=(30, 2))
    first, second = evaluation(scores, listeners), evaluation(scores[:, ::-1], listeners[:, ::-1])
    assert first.metrics() == pytest.approx(second.metrics())


def test_without_a_majority_the_pairwise_accuracy_is_not_defined():
    task = evaluation([[1, 0]], [[2, 2]])
    assert np.isnan(task.metric("pair_accuracy"))
    assert task.metric("vote_accuracy") == 0.5
    assert task.to_json(EvaluationSettings(resamples=100))["pair_accuracy"] == {
        "value": None,
        "low": None,
        "high": None,
    }


def test_scores_that_are_not_finite_have_no_metrics():
    task = evaluation([[1, np.nan], [1, 0]], [[1, 0], [1, 0]])
    assert all(np.isnan(task.metric(name)) for name in PAIRS)


def test_of_separate_pairs_the_interval_is_that_of_a_share():
    right = np.arange(400) % 4 > 0
    task = evaluation(np.stack([right, ~right], axis=1), [[1, 0]] * 400)
    low, high = task.intervals(EvaluationSettings(resamples=2000))["pair_accuracy"]
    deviation = np.sqrt(0.75 * 0.25 / 400)
    assert (low, high) == (
        pytest.approx(0.75 - 1.96 * deviation, abs=5e-3),
        pytest.approx(0.75 + 1.96 * deviation, abs=5e-3),
    )


def test_pairs_that_share_tracks_are_drawn_together():
    members = [
        pair
        for group in range(0, 120, 3)
        for pair in ((group, group + 1), (group, group + 2), (group + 1, group + 2))
    ]
    right = np.repeat(np.arange(40) % 2 > 0, 3)
    task = evaluation(np.stack([right, ~right], axis=1), [[1, 0]] * 120, members)
    assert task.units == 40
    separate = evaluation(np.stack([right, ~right], axis=1), [[1, 0]] * 120)
    settings = EvaluationSettings(resamples=1000)
    wide, narrow = (np.ptp(one.intervals(settings)["pair_accuracy"]) for one in (task, separate))
    assert wide == pytest.approx(np.sqrt(3) * narrow, rel=0.15)


def test_of_few_connected_groups_single_pairs_are_drawn():
    assert evaluation([[1, 0]] * 30, [[1, 0]] * 30, [(pair, pair + 1) for pair in range(30)]).units == 30


def test_connected_groups():
    links = np.array([[0, 3], [5, 4], [3, 5], [7, 8]])
    assert connected(links, 9).tolist() == [0, 1, 2, 0, 0, 0, 6, 7, 7]
    assert connected(np.empty((0, 2), int), 3).tolist() == [0, 1, 2]
    chain = np.stack([np.arange(999), np.arange(1, 1000)], axis=1)
    assert not connected(chain[::-1], 1000).any()


def test_ids_of_pairs():
    assert pair_members(pair_id("ä/1", 'b"2')) == ("ä/1", 'b"2')
    for wrong in ("x", "[1]", "3"):
        with pytest.raises(ValueError, match="is not a JSON list of two ids"):
            pair_members(wrong)
