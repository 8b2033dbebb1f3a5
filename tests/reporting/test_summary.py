"""The results in words."""

import numpy as np
import pytest
from recorded import SETTINGS

from musicemo.evaluation import Evaluation, TaskEvaluation
from musicemo.reporting.sections.summary import summary

IDS = [f"track{place:02}" for place in range(60)]
TARGET = np.random.default_rng(0).normal(size=60)
NOISE = np.random.default_rng(1).normal(size=60)


def ratings(quality):
    return TaskEvaluation("regression", IDS, TARGET, quality * TARGET + NOISE)


def texts(tasks, results=None):
    evaluation = Evaluation(tasks)
    return [block.text for block in summary(evaluation.to_json(SETTINGS), evaluation, results or {}, "test")]


def test_a_correlation_whose_interval_includes_zero_is_not_told_from_chance():
    (better, unknown) = texts({"valence": ratings(2.0), "arousal": ratings(0.0)})
    assert better.startswith("Valence is predicted better than by chance: Spearman's rho 0.8")
    assert unknown.startswith("Arousal cannot be told from chance: the interval of its Spearman's rho (")
    assert unknown.endswith(") includes 0, the value of no correlation.")


def test_a_correlation_below_zero_is_worse_than_chance():
    (text,) = texts({"valence": ratings(-2.0)})
    assert text.startswith("Valence is predicted worse than by chance: Spearman's rho -0.9")


def test_many_tasks_are_summed_up():
    (text,) = texts(
        {name: ratings(quality) for name, quality in zip("abcd", (1.0, 4.0, 2.0, 3.0), strict=True)}
    )
    assert text.startswith(
        "All 4 regression tasks are predicted better than by chance: Spearman's rho from a 0."
    )
    assert "to b 0.9" in text


def test_classes_are_compared_with_the_most_frequent_one():
    target = np.repeat([0, 1], [45, 15])
    always = TaskEvaluation("classification", IDS, target, np.zeros(60, dtype=int), ("folk", "jazz"))
    right = TaskEvaluation("classification", IDS, target, target, ("folk", "jazz"))
    assert always.chance == 0.75
    better, unknown = texts({"genre": right, "style": always})
    assert better == (
        "Genre is predicted better than by chance: accuracy 1.00, against 0.75, the share of the most frequent class."
    )
    assert unknown == (
        "Style cannot be told from chance: the interval of its accuracy (0.75) includes 0.75, the share of the most "
        "frequent class."
    )


def test_chance_of_tags_is_their_mean_frequency():
    target = np.zeros((60, 3))
    target[:15, 0] = target[:30, 1] = 1
    task = TaskEvaluation.of_tags(IDS, target, np.full((60, 3), 0.5), ("a", "b", "never"))
    assert task.chance == pytest.approx((0.25 + 0.5) / 2)
    assert task.metric("pr_auc") == pytest.approx(task.chance)


def test_the_share_of_the_noise_ceiling():
    reached = {"spearman": {"reached": {"test": {"value": 0.61}}}}
    text = texts({"valence": ratings(2.0)}, {"reliability": {"valence": reached}})[-1]
    assert text == (
        "Share of the noise ceiling, which a perfect model of these listeners' ratings would reach: valence 61 %."
    )
