"""Comparison of experiments: means over replicates, paired tests, relative improvement."""

from musicemo.comparison.analyses import analyse_replicates
from musicemo.comparison.compare import compare
from musicemo.comparison.replicates import Replicate, Replicates, read_experiments, read_replicates
from musicemo.comparison.results import Comparison, Difference, Improvement, Row, Score

__all__ = [
    "Comparison",
    "Difference",
    "Improvement",
    "Replicate",
    "Replicates",
    "Row",
    "Score",
    "analyse_replicates",
    "compare",
    "read_experiments",
    "read_replicates",
]
