"""Metrics on whole sets, their intervals, and predictions in the targets' units."""

from musicemo.evaluation.averaging import average_evaluations
from musicemo.evaluation.calibration import CALIBRATED, Calibration, calibration_report, fit_calibration
from musicemo.evaluation.controlled import controlled_scores, group_means
from musicemo.evaluation.evaluation import Evaluation, TaskEvaluation, finite
from musicemo.evaluation.intervals import EvaluationSettings
from musicemo.evaluation.metrics import (
    CLASSIFICATION,
    EPOCH_METRICS,
    LEADING,
    METRICS,
    PAIRS,
    REGRESSION,
    SCORES,
    SERIES,
    SHORT_TITLES,
    SPREAD,
    TAGS,
    TITLES,
    TargetKind,
    bounds,
    higher_is_better,
    ranks,
)
from musicemo.evaluation.pairs import connected, pair_id, pair_members
from musicemo.evaluation.reliability import (
    RELIABLE,
    Reliability,
    rating_reliability,
    series_reliability,
)
from musicemo.evaluation.series import MomentError, moment_error, padded, song_metrics
from musicemo.evaluation.spread import SHARES, Spread
from musicemo.evaluation.tags import DEFAULT_THRESHOLD, choose_thresholds

__all__ = [
    "CALIBRATED",
    "CLASSIFICATION",
    "DEFAULT_THRESHOLD",
    "EPOCH_METRICS",
    "LEADING",
    "METRICS",
    "PAIRS",
    "REGRESSION",
    "RELIABLE",
    "SCORES",
    "SERIES",
    "SHARES",
    "SHORT_TITLES",
    "SPREAD",
    "TAGS",
    "TITLES",
    "Calibration",
    "Evaluation",
    "EvaluationSettings",
    "MomentError",
    "Reliability",
    "Spread",
    "TargetKind",
    "TaskEvaluation",
    "average_evaluations",
    "bounds",
    "calibration_report",
    "choose_thresholds",
    "connected",
    "controlled_scores",
    "finite",
    "fit_calibration",
    "group_means",
    "higher_is_better",
    "moment_error",
    "padded",
    "pair_id",
    "pair_members",
    "ranks",
    "rating_reliability",
    "series_reliability",
    "song_metrics",
]
