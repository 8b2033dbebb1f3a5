"""From a validated experiment to what is trained: tracks, split, features, network, losses, batches."""

from musicemo.assembly.assembly import Assembly
from musicemo.assembly.batches import make_batches
from musicemo.assembly.tracks import match_tasks, read_tracks, split_tracks, warn_of_leaks

__all__ = ["Assembly", "make_batches", "match_tasks", "read_tracks", "split_tracks", "warn_of_leaks"]
