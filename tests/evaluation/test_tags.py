import numpy as np
import pytest
from sklearn import metrics as sk

from musicemo.evaluation import Evaluation, EvaluationSettings, TaskEvaluation, choose_thresholds
from musicemo.evaluation.intervals import draw_counts
from musicemo.evaluation.metrics import TAGS
from musicemo.evaluation.tags import TagResampler

NAMES = ("a", "b", "c", "d")


def example(count=60, seed=0, ties=False, unknown=0.0):
    random = np.random.default_rng(seed)
    target = (random.uniform(size=(count, 4)) < [0.1, 0.2, 0.4, 0.7]).astype(float)
    target[0], target[1] = 1, 0
    probabilities = 0.6 * random.uniform(size=target.shape) + 0.4 * target * random.uniform(size=target.shape)
    target[random.uniform(size=target.shape) < unknown] = np.nan
    return target, probabilities.round(1) if ties else probabilities


def evaluation(target, probabilities, thresholds=0.5):
    ids = [str(place) for place in range(len(target))]
    return TaskEvaluation.of_tags(ids, target, probabilities, NAMES, thresholds)


@pytest.mark.parametrize("ties", [False, True])
@pytest.mark.parametrize("seed", range(3))
def test_metrics_equal_scikit_learn(seed, ties):
    target, probabilities = example(seed=seed, ties=ties)
    found = evaluation(target, probabilities, 0.4).metrics()
    decided = probabilities >= 0.4
    expected = {
        "pr_auc": sk.average_precision_score(target, probabilities),
        "roc_auc": sk.roc_auc_score(target, probabilities),
        "micro_pr_auc": sk.average_precision_score(target, probabilities, average="micro"),
        "micro_roc_auc": sk.roc_auc_score(target, probabilities, average="micro"),
        "macro_f1": sk.f1_score(target, decided, average="macro"),
        "micro_f1": sk.f1_score(target, decided, average="micro"),
    }
    assert tuple(expected) == TAGS
    assert {name: found[name] for name in TAGS} == pytest.approx(expected, abs=1e-12)
    precision, recall, f1, support = sk.precision_recall_fscore_support(target, decided, zero_division=0)
    for place, name in enumerate(NAMES):
        of_tag = found["per_tag"][name]
        assert of_tag["f1"] == pytest.approx(f1[place])
        assert (of_tag["precision"] or 0.0) == pytest.approx(precision[place])
        assert of_tag["recall"] == pytest.approx(recall[place])
        assert (of_tag["support"], of_tag["tracks"]) == (support[place], len(target))


def test_unknown_tags_are_ignored():
    target, probabilities = example(unknown=0.3)
    found = evaluation(target, probabilities).metrics()
    known = np.isfinite(target)
    each = [
        sk.average_precision_score(target[there, place], probabilities[there, place])
        for place, there in enumerate(known.T)
    ]
    assert found["pr_auc"] == pytest.approx(np.mean(each))
    assert found["micro_roc_auc"] == pytest.approx(sk.roc_auc_score(target[known], probabilities[known]))
    assert found["micro_f1"] == pytest.approx(sk.f1_score(target[known], probabilities[known] >= 0.5))
    assert [found["per_tag"][name]["tracks"] for name in NAMES] == known.sum(axis=0).tolist()


def test_tags_that_all_or_no_tracks_have_are_left_out_of_the_means():
    target, probabilities = example()
    target[:, 0], target[:, 3] = 0, 1
    found = evaluation(target, probabilities).metrics()
    assert found["left_out"] == ["a", "d"]
    assert found["per_tag"]["a"]["pr_auc"] is None
    assert found["per_tag"]["d"]["roc_auc"] is None
    assert found["roc_auc"] == pytest.approx(sk.roc_auc_score(target[:, 1:3], probabilities[:, 1:3]))
    assert found["macro_f1"] == pytest.approx(
        sk.f1_score(target[:, 1:3], probabilities[:, 1:3] >= 0.5, average="macro")
    )
    found = evaluation(np.zeros((5, 4)), probabilities[:5]).metrics()
    assert np.isnan([found["pr_auc"], found["roc_auc"], found["macro_f1"], found["micro_pr_auc"]]).all()


def test_a_probability_that_is_not_finite_leaves_the_areas_undefined():
    target, probabilities = example()
    probabilities[3, 1] = np.nan
    found = evaluation(target, probabilities).metrics()
    assert np.isnan([found["pr_auc"], found["roc_auc"], found["micro_pr_auc"]]).all()


def test_resamples_equal_the_metrics_of_the_drawn_tracks():
    target, probabilities = example(unknown=0.2, ties=True)
    (counts,) = draw_counts(len(target), 5)
    found = TagResampler(probabilities, probabilities >= 0.5, target)(counts)
    for row, drawn in enumerate(counts.astype(int)):
        places = np.repeat(np.arange(len(target)), drawn)
        expected = evaluation(target[places], probabilities[places]).metrics()
        assert {name: found[name][row] for name in TAGS} == pytest.approx(
            {name: expected[name] for name in TAGS}
        )


def test_intervals_contain_the_value():
    task = evaluation(*example(200))
    for name, (low, high) in task.intervals(EvaluationSettings(resamples=100)).items():
        assert low < task.metric(name) < high


@pytest.mark.slow
def test_thresholds_have_the_highest_f1():
    target, probabilities = example(unknown=0.2)
    chosen = choose_thresholds(probabilities, target)
    for place, threshold in enumerate(chosen):
        known = np.isfinite(target[:, place])
        truth, scores = target[known, place], probabilities[known, place]
        every = [sk.f1_score(truth, scores >= limit) for limit in scores]
        assert sk.f1_score(truth, scores >= threshold) == pytest.approx(max(every))
        assert threshold not in scores


def test_the_threshold_of_a_tag_without_tracks_is_a_half():
    assert choose_thresholds(np.array([[0.1], [0.2]]), np.array([[0.0], [np.nan]])).tolist() == [0.5]


def test_a_threshold_below_every_probability():
    assert choose_thresholds(np.array([[0.2], [0.4]]), np.ones((2, 1))).tolist() == pytest.approx([0.1])


def test_an_evaluation_is_decided_with_thresholds():
    target, probabilities = example()
    whole = Evaluation({"mood": evaluation(target, probabilities)})
    chosen = whole.choose_thresholds()
    decided = whole.decided(chosen).tasks["mood"]
    np.testing.assert_array_equal(decided.prediction, probabilities >= list(chosen["mood"].values()))
    assert decided.metric("macro_f1") > whole.tasks["mood"].metric("macro_f1")
    assert decided.metric("pr_auc") == whole.tasks["mood"].metric("pr_auc")
