"""Windows of a clip, and the time steps of a model's outputs for them."""

from __future__ import annotations

import itertools
from collections.abc import Iterable, Iterator, Mapping, Sequence
from dataclasses import dataclass

import numpy as np
from numpy.typing import NDArray

from musicemo.contracts import Extraction, Output

__all__ = ["Window", "cut", "in_batches", "merged"]


@dataclass(frozen=True, slots=True)
class Window:
    """A part of a clip that a model sees at once; positions in samples from the start of the clip.

    Attributes:
        start: First sample of the window; negative if zeros precede the clip.
        stop: Sample after the last one, at most the clip's length.
        begin: Start of the time steps that are kept; those before it are taken from the window before.
        end: End of the time steps that are kept.
    """

    start: int
    stop: int
    begin: int
    end: int

    def samples(self, clip: NDArray[np.float32], shortest: int = 1) -> NDArray[np.float32]:
        """Return the samples of the window, with zeros before the clip, and after it up to `shortest` samples."""
        part = clip[max(self.start, 0) : self.stop]
        before = max(-self.start, 0)
        after = max(shortest - before - len(part), 0)
        return np.pad(part, (before, after)) if before or after else part

    def steps(self, count: int, step: float) -> tuple[slice, NDArray[np.float64]]:
        """Return which of `count` time steps of `step` samples are kept, and the starts of those.

        A step belongs to the window that its center is kept of. The first one that is kept starts at `begin`. At least
        one is kept. Steps after the end of the clip are not.
        """
        starts = self.start + np.arange(count, dtype=np.float64) * step
        centers = starts + step / 2
        first = min(int(np.searchsorted(centers, self.begin)), count - 1)
        last = int(np.searchsorted(starts if self.end == self.stop else centers, self.end))
        kept = slice(first, max(last, first + 1))
        starts = starts[kept]
        starts[0] = self.begin
        return kept, starts


def cut(samples: int, length: int, hop: int, *, pad: int = 0, shortest: int = 1) -> list[Window]:
    """Return the windows that cover a clip.

    Each window begins `hop` samples after the one before. Of two that overlap, the first is kept up to the middle of
    the overlap, and the second from there, so that every time step has context on both sides.

    Args:
        samples: Number of samples of the clip.
        length: Number of samples of a window; the last one ends with the clip.
        hop: Number of samples between the starts of two windows, at most `length`.
        pad: Number of zeros before and after the clip.
        shortest: Number of samples below which the rest of a clip is no window of its own. The last time step before it
            then lasts until the end of the clip.
    """
    margin = (length - hop) // 2
    starts = [-pad]
    while starts[-1] + length - pad < samples and samples - starts[-1] - hop >= shortest:
        starts.append(starts[-1] + hop)
    begins = [0, *(start + margin for start in starts[1:])]
    return [
        Window(start, min(start + length, samples), begin, end)
        for start, begin, end in zip(starts, begins, [*begins[1:], samples], strict=True)
    ]


def in_batches(windows: Iterable[Window], size: int) -> Iterator[list[Window]]:
    """Yield batches of at most `size` consecutive windows of equal length."""
    for _, equal in itertools.groupby(windows, lambda window: window.stop - window.start):
        while batch := list(itertools.islice(equal, size)):
            yield batch


def merged(
    windows: Sequence[Window],
    values: Mapping[str, NDArray[np.float32]],
    steps: Mapping[str, float],
    rate: int,
) -> Extraction:
    """Return the kept time steps of consecutive windows as one extraction.

    Args:
        windows: The windows of a batch.
        values: Output -> `[windows, time, rows]`.
        steps: Output -> duration of a time step in samples.
        rate: Sample rate in Hz.
    """
    outputs = {}
    for name, arrays in values.items():
        parts = [window.steps(arrays.shape[1], steps[name]) for window in windows]
        kept = [array[part] for array, (part, _) in zip(arrays, parts, strict=True)]
        edges = np.concatenate([*(starts for _, starts in parts), [windows[-1].end]]) / rate
        outputs[name] = Output(np.concatenate(kept), edges)
    return Extraction(outputs)
