"""Differentiable ranking and correlation on ``[..., n]`` tensors, one row along the last axis."""

from musicemo.ops._correlation import ccc, pearson, spearman
from musicemo.ops._rank import hard_rank, soft_rank, zero_gradient_share
from musicemo.ops._soft_sort import soft_sort

__all__ = ["ccc", "hard_rank", "pearson", "soft_rank", "soft_sort", "spearman", "zero_gradient_share"]
