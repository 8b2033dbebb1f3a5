"""Songs heard with a trained run: a local page with players, spectrograms, and predictions with their errors."""

from musicemo.listening.analysis import Heard, Listener
from musicemo.listening.server import make_app, serving
from musicemo.listening.songs import SongList
from musicemo.listening.uncertainty import HeldOut, RatingError, read_held_out

__all__ = ["Heard", "HeldOut", "Listener", "RatingError", "SongList", "make_app", "read_held_out", "serving"]
