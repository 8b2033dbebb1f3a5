"""What a comparison holds."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass

from musicemo.comparison.replicates import Replicates
from musicemo.evaluation import EvaluationSettings, higher_is_better

__all__ = ["Comparison", "Difference", "Improvement", "Row", "Score"]


@dataclass(frozen=True)
class Difference:
    """An experiment's mean less the baseline's."""

    baseline: str
    value: float
    #: t interval of the settings' confidence.
    low: float
    high: float
    #: Two-sided, of the difference being 0; and corrected by Holm's method for the tests of its family.
    p: float
    corrected: float
    #: Whether both were tested on the same tracks, which are then resampled together.
    paired: bool


@dataclass(frozen=True)
class Score:
    """One experiment in one row."""

    experiment: str
    #: One a seed.
    values: Sequence[float]
    mean: float
    #: Standard deviation over seeds; NaN of one seed.
    deviation: float
    #: t interval of the mean for other tracks and other seeds; of one seed, for other tracks alone.
    low: float
    high: float
    #: t interval over the seeds alone, on these very tracks; NaN of one seed.
    seeds_low: float
    seeds_high: float
    #: k-fold: each fold's own metric, the mean over seeds; `mean` is of all folds' predictions as one.
    folds: Sequence[float]
    tracks: int
    #: None for the baseline, and where there is none.
    difference: Difference | None = None


@dataclass(frozen=True)
class Row:
    """One task and metric, every experiment that has the task."""

    #: The task; empty for the mean over `tasks`.
    task: str
    tasks: Sequence[str]
    metric: str
    #: What the scores are compared with; empty where only one experiment has the task.
    baseline: str
    scores: Sequence[Score]

    @property
    def higher_is_better(self) -> bool:
        """The metric's direction."""
        return higher_is_better(self.metric)


@dataclass(frozen=True)
class Improvement:
    """Relative improvement over the baselines, the mean over tasks, of the leading metrics: 0.05 is 5 %.

    Delta-m = mean_t s_t (M_t - B_t) / |B_t|, with s_t = 1 where more is better and -1 elsewhere, M_t the experiment's
    mean over seeds and B_t the baseline's. K.-K. Maninis, I. Radosavovic, I. Kokkinos, "Attentive Single-Tasking of
    Multiple Tasks", CVPR 2019.
    """

    experiment: str
    tasks: Sequence[str]
    value: float
    low: float
    high: float
    #: Tasks whose baseline is no better than 0, of which there is no share to speak of.
    left_out: Sequence[str]


@dataclass(frozen=True)
class Comparison:
    """What `compare` returns: all that a table, a figure or a report of several experiments is made of."""

    part: str
    settings: EvaluationSettings
    experiments: Sequence[Replicates]
    #: By task, then metric; the experiments are in their own order in each.
    rows: Sequence[Row]
    #: The leading metrics' means over the tasks that all experiments have; empty where those are fewer than two.
    averages: Sequence[Row]
    #: Of every experiment that is compared with baselines on two tasks or more.
    improvements: Sequence[Improvement]
