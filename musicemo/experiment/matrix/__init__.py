"""The table ``[matrix]``: one file for every combination of some axes, each an experiment of its own."""

from musicemo.experiment.matrix.variants import expand, select

__all__ = ["expand", "select"]
