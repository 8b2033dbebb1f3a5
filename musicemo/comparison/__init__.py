"""Runs beside one another: replicates as one, differences that are tested, relative improvement."""

from musicemo.comparison.analyses import analyse_replicates
from musicemo.comparison.compare import compare
from musicemo.comparison.markup import comparison_latex, comparison_markdown
from musicemo.comparison.replicates import Replicate, Replicates, read_experiments, read_replicates
from musicemo.comparison.results import Comparison, Difference, Improvement, Row, Score
from musicemo.comparison.serialization import comparison_csv, comparison_json
from musicemo.comparison.tables import Table, interval_text, mean_text, tables
from musicemo.comparison.words import notes, verdicts

__all__ = [
    "Comparison",
    "Difference",
    "Improvement",
    "Replicate",
    "Replicates",
    "Row",
    "Score",
    "Table",
    "analyse_replicates",
    "compare",
    "comparison_csv",
    "comparison_json",
    "comparison_latex",
    "comparison_markdown",
    "interval_text",
    "mean_text",
    "notes",
    "read_experiments",
    "read_replicates",
    "tables",
    "verdicts",
]
