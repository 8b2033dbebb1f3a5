"""Contract of weightings, on losses whose Pareto front is known."""

from musicemo.testing.weightings.contract import check_weighting

__all__ = ["check_weighting"]
