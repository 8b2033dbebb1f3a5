"""Every run of some experiments: one after the other, or side by side in processes of their own."""

from musicemo.running.sweep.failures import Failure, InProgress
from musicemo.running.sweep.sweep import Replicate, Sweep

__all__ = ["Failure", "InProgress", "Replicate", "Sweep"]
