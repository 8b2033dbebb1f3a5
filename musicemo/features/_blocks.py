"""Songs in blocks, which a launcher distributes over processes and machines."""

from __future__ import annotations

import math
from collections.abc import Callable, Generator, Sequence
from typing import TypeVar

from musicemo.contracts import Launcher, Needs
from musicemo.features._recipe import Recipe
from musicemo.features._stream import Stream
from musicemo.workers import Outcome

__all__ = ["distributes", "in_blocks"]

_T = TypeVar("_T")
_R = TypeVar("_R")

_FEWEST, _MOST = 16, 256
"""Songs of a block, unless there are fewer: enough that starting a process matters little, and few enough that one that
is lost loses little."""

_SHARE = 4
"""Blocks per process, so that all end at about the same time."""


def distributes(launcher: Launcher | None) -> bool:
    """Return whether a launcher takes blocks of songs; those of this machine take single songs."""
    return launcher is not None and getattr(launcher, "distributed", True)


def in_blocks(
    function: Callable[[list[_T]], _R], songs: Sequence[_T], recipe: Recipe | Stream, launcher: Launcher
) -> Generator[Outcome[list[_T], _R], None, None]:
    """Call a function with blocks of songs where the launcher decides, and yield the outcomes as they come.

    Args:
        function: Picklable. It is given a block again if a process is lost.
        songs: The songs.
        recipe: What is extracted.
        launcher: The launcher.
    """
    device = str(getattr(recipe.extractor, "device", "cpu")) if isinstance(recipe, Stream) else "cpu"
    needs = Needs(gpus=int(device.startswith("cuda")))
    workers = launcher.workers(math.ceil(len(songs) / _FEWEST), needs) or 1
    size = min(max(math.ceil(len(songs) / (_SHARE * workers)), _FEWEST), _MOST)
    blocks = [list(songs[begin : begin + size]) for begin in range(0, len(songs), size)]
    return launcher.run(function, blocks, needs)
