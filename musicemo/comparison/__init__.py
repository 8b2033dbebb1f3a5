"""Comparison of experiments: means over replicates, paired tests, relative improvement."""

from musicemo.comparison.analyses import analyse_replicates
from musicemo.comparison.compare import compare
from musicemo.comparison.replicates import (
    Replicates,
    SeedResult,
    join_evaluations,
    read_experiments,
    read_replicates,
)
from musicemo.comparison.results import Comparison, Difference, Improvement, Ranking, Row, Score
from musicemo.comparison.sampling import fold_mean

__all__ = [
    "Comparison",
    "Difference",
    "Improvement",
    "Ranking",
    "Replicates",
    "Row",
    "Score",
    "SeedResult",
    "analyse_replicates",
    "compare",
    "fold_mean",
    "join_evaluations",
    "read_experiments",
    "read_replicates",
]
