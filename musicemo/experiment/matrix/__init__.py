"""The table ``[matrix]``: one file for every combination of some axes, each an experiment of its own."""

from musicemo.experiment.matrix.variants import expand, in_variants

__all__ = ["expand", "in_variants"]
