"""Results of a comparison."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass

from musicemo.comparison.replicates import Replicates
from musicemo.evaluation import EvaluationSettings, higher_is_better

__all__ = ["Comparison", "Difference", "Improvement", "Ranking", "Row", "Score"]


@dataclass(frozen=True)
class Difference:
    """Difference between an experiment's mean and the baseline's."""

    baseline: str
    value: float
    #: t interval with the confidence of the settings.
    low: float
    high: float
    #: Two-sided p-value of a difference of 0, and the same corrected by Holm's method within its family of tests.
    p: float
    corrected: float
    #: Whether both experiments were tested on the same tracks, which are then resampled together.
    paired: bool


@dataclass(frozen=True)
class Score:
    """One experiment in one row."""

    experiment: str
    #: One value per seed.
    values: Sequence[float]
    mean: float
    #: Standard deviation over seeds; NaN for one seed.
    deviation: float
    #: t interval of the mean for other tracks and other seeds; for one seed, for other tracks only.
    low: float
    high: float
    #: t interval for other seeds, on the same tracks; NaN for one seed.
    seeds_low: float
    seeds_high: float
    #: k-fold: metric of each fold, averaged over seeds; `mean` is that of all folds' predictions combined.
    folds: Sequence[float]
    tracks: int
    #: None for the baseline, or without a baseline.
    difference: Difference | None = None


@dataclass(frozen=True)
class Row:
    """One task and metric, with every experiment that has the task."""

    #: The task; empty for the mean over `tasks`.
    task: str
    tasks: Sequence[str]
    metric: str
    #: Name of the baseline; empty if only one experiment has the task.
    baseline: str
    scores: Sequence[Score]

    @property
    def higher_is_better(self) -> bool:
        """The metric's direction."""
        return higher_is_better(self.metric)


@dataclass(frozen=True)
class Improvement:
    """Relative improvement over the baselines: the mean over tasks, for the leading metrics; 0.05 is 5 %.

    A share of a score means something only if the baseline has learned something, so a task counts if the interval of
    its baseline is above chance.

    Delta-m = mean_t s_t (M_t - B_t) / |B_t|, with s_t = 1 if higher is better and -1 otherwise, M_t the experiment's
    mean over seeds and B_t the baseline's. K.-K. Maninis, I. Radosavovic, I. Kokkinos, "Attentive Single-Tasking of
    Multiple Tasks", CVPR 2019.
    """

    experiment: str
    tasks: Sequence[str]
    value: float
    low: float
    high: float
    #: Tasks that are left out because the interval of their baseline is not above chance.
    left_out: Sequence[str]


@dataclass(frozen=True)
class Ranking:
    """The experiments in the order of a leading metric, and a test of every pair."""

    metric: str
    #: The tasks of this metric that all experiments have; the metric is the mean over them.
    tasks: Sequence[str]
    #: Experiment -> its mean, best first.
    means: Mapping[str, float]
    #: Better and worse experiment -> the first's mean minus the second's. Holm's correction is over all pairs.
    pairs: Mapping[tuple[str, str], Difference]


@dataclass(frozen=True)
class Comparison:
    """The result of `compare`, from which tables, figures and reports of several experiments are built."""

    part: str
    settings: EvaluationSettings
    experiments: Sequence[Replicates]
    #: Sorted by task, then metric; each row has the experiments in the given order.
    rows: Sequence[Row]
    #: Means of the leading metrics over the tasks that all experiments have; empty for fewer than two tasks.
    averages: Sequence[Row]
    #: One for each experiment that is compared with baselines on at least two tasks.
    improvements: Sequence[Improvement]
    #: One for each leading metric, if there are at least three experiments.
    rankings: Sequence[Ranking] = ()
    #: Pairs of experiments with the same predictions on every track, for every seed and shared task.
    identical: Sequence[tuple[str, str]] = ()
