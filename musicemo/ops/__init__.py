"""Building blocks of losses and models: ranks, correlations, distributions of ratings, modules for padded batches.

Ranks and correlations are of ``[..., n]`` tensors, one row along the last axis. The modules take batches of tracks of
different lengths and a mask of the valid time steps. Padding does not change their results, as the contract of
`musicemo.contracts.Model` requires.
"""

from musicemo.ops._correlation import ccc, pearson, spearman
from musicemo.ops._distributions import Distribution, Gaussian, Levels, distribution_of
from musicemo.ops._drop_path import DropPath
from musicemo.ops._masking import AttentionPool, masked_mean, masked_std, repeat_steps, valid_steps
from musicemo.ops._normalization import BatchNormReLUMaxPool2d, MaskedBatchNorm2d, whole_batch_norm
from musicemo.ops._rank import hard_rank, soft_rank, zero_gradient_share
from musicemo.ops._soft_sort import soft_sort
from musicemo.ops._weighted_sum import WeightedSum

__all__ = [
    "AttentionPool",
    "BatchNormReLUMaxPool2d",
    "Distribution",
    "DropPath",
    "Gaussian",
    "Levels",
    "MaskedBatchNorm2d",
    "WeightedSum",
    "ccc",
    "distribution_of",
    "hard_rank",
    "masked_mean",
    "masked_std",
    "pearson",
    "repeat_steps",
    "soft_rank",
    "soft_sort",
    "spearman",
    "valid_steps",
    "whole_batch_norm",
    "zero_gradient_share",
]
