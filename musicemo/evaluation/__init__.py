"""Metrics on whole parts, their intervals, and predictions in the targets' own units."""

from musicemo.evaluation.evaluation import Evaluation, TaskEvaluation, finite
from musicemo.evaluation.figures import task_chart, task_figure, worst
from musicemo.evaluation.intervals import EvaluationSettings
from musicemo.evaluation.metrics import (
    CLASSIFICATION,
    LEADING,
    REGRESSION,
    TITLES,
    bounds,
    higher_is_better,
)

__all__ = [
    "CLASSIFICATION",
    "LEADING",
    "REGRESSION",
    "TITLES",
    "Evaluation",
    "EvaluationSettings",
    "TaskEvaluation",
    "bounds",
    "finite",
    "higher_is_better",
    "task_chart",
    "task_figure",
    "worst",
]
