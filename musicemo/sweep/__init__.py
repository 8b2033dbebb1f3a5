"""Every run of some experiments: one after the other, or side by side in processes of their own."""

from musicemo.sweep.failures import Failure, InProgress
from musicemo.sweep.sweep import Replicate, Sweep

__all__ = ["Failure", "InProgress", "Replicate", "Sweep"]
