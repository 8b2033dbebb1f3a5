"""Exact running medians: a network of comparators, applied to many windows and columns at a time.

A comparator puts two numbers in order; a fixed sequence of comparators has no branches, so it is applied to
a strip of columns at once. Windows that follow one another share most of their elements: 16 windows of 31
share 16, which are sorted once; each half of these windows shares 8 more, which are merged in; and so on
until each window stands alone. As elements are merged in, those that are too small or too large to be a
median whatever follows are dropped. A window of 31 takes 22 comparators instead of the 150 or so that it
takes alone. Sharing the sorted part of windows as in A. Adams, "Fast median filters using separable sorting
networks", ACM Transactions on Graphics 40(4), 2021; sorting as in D. E. Knuth, "The Art of Computer
Programming", volume 3, algorithm 5.2.2M.
"""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from functools import lru_cache
from typing import NamedTuple

import numpy as np
from numpy.typing import NDArray

from musicemo._jit import compiled

__all__ = ["reflect", "running_median"]

_STRIP = 64
"""Columns that pass through the network together: the rows of a strip fit the first-level cache."""


def running_median(x: NDArray[np.float32], rows: NDArray[np.int64], size: int) -> NDArray[np.float32]:
    """Compute the medians of `size` successive rows, column by column.

    Args:
        x: `[n, columns]`, without NaN.
        rows: `[count + size - 1]`: which row of `x` stands at each place, see `reflect`.
        size: Rows of a window, odd.

    Returns:
        `[count, columns]`: row i is the median of rows `rows[i]` to `rows[i + size - 1]`.
    """
    network = _network(size)
    result = np.empty((len(rows) - size + 1, x.shape[1]), x.dtype)
    _apply(x, rows, network.steps, network.medians, network.inputs, network.rows, result)
    return result


def reflect(start: int, stop: int, size: int) -> NDArray[np.int64]:
    """Indices `start` to `stop` of a sequence that is mirrored at its ends: `c b a | a b c | c b a`."""
    places = np.arange(start, stop) % (2 * size)
    return np.minimum(places, 2 * size - 1 - places)


class _Network(NamedTuple):
    """Comparators that find the medians of successive windows.

    Attributes:
        steps: `[comparators, 4]`: a, b, low, high: row low becomes min(a, b) and row high max(a, b).
        medians: `[windows]`: where the medians end up, a power of two of them.
        inputs: How many rows hold the input, the first ones.
        rows: How many rows there are.
    """

    steps: NDArray[np.int64]
    medians: NDArray[np.int64]
    inputs: int
    rows: int


@lru_cache
def _network(size: int) -> _Network:
    """Build the network for windows of `size`, an odd number."""
    windows = 1 << ((size + 1) // 2).bit_length() - 1
    inputs = size + windows - 1
    steps: list[tuple[int, int, int, int]] = []
    medians = [0] * windows

    def compare(a: int, b: int) -> tuple[int, int]:
        low = inputs + 2 * len(steps)
        steps.append((a, b, low, low + 1))
        return low, low + 1

    def arrange(rows: Sequence[int], pairs: Iterator[tuple[int, int]]) -> list[int]:
        rows = list(rows)
        for i, j in pairs:
            rows[i], rows[j] = compare(rows[i], rows[j])
        return rows

    def split(middle: Sequence[int], first: int, count: int) -> None:
        """Find the medians of `count` windows, given the `count` middle ranks of what they all share.

        Half of the windows share count / 2 further elements. With these in order, B, and `middle` cut
        into halves L <= H, the new middle is the largest half of L and the smallest half of H and B.
        """
        if count == 1:
            medians[first] = middle[0]
            return
        half = count // 2
        before = range(first + half - 1, first + count - 1)
        after = range(first + size, first + half + size)
        for begin, further in ((first, before), (first + half, after)):
            ordered = arrange(further, _merge_exchange(half))
            low = [compare(middle[half + i], ordered[-1 - i])[0] for i in range(half)]
            low = arrange(low, _bitonic(half))
            high = [compare(middle[i], low[-1 - i])[1] for i in range(half)]
            split(arrange(high, _bitonic(half)), begin, half)

    shared = arrange(range(windows - 1, size), _merge_exchange(size - windows + 1))
    centre = size // 2 + 1
    split(shared[centre - windows : centre], 0, windows)
    return _share_rows(steps, medians, inputs)


def _merge_exchange(count: int) -> Iterator[tuple[int, int]]:
    """Comparators that sort any `count` elements, by Batcher's merge exchange."""
    top = 1 << max(count - 1, 0).bit_length() >> 1
    p = top
    while p:
        q, r, distance = top, 0, p
        while True:
            yield from ((i, i + distance) for i in range(count - distance) if i & p == r)
            if q == p:
                break
            distance, q, r = q - p, q // 2, p
        p //= 2


def _bitonic(count: int) -> Iterator[tuple[int, int]]:
    """Comparators that sort a bitonic sequence of `count` elements, a power of two."""
    distance = count // 2
    while distance:
        yield from ((i, i + distance) for i in range(count) if not i & distance)
        distance //= 2


def _share_rows(steps: list[tuple[int, int, int, int]], medians: list[int], inputs: int) -> _Network:
    """Give rows that are no longer needed to later comparators; no comparator writes where it reads."""
    needed = {row: step for step, (a, b, _, _) in enumerate(steps) for row in (a, b)}
    needed |= dict.fromkeys(medians, len(steps))
    place = {row: row for row in range(inputs)}
    free: list[int] = []
    rows = inputs
    placed = []
    for step, (a, b, low, high) in enumerate(steps):
        for row in (low, high):
            if not free:
                free.append(rows)
                rows += 1
            place[row] = free.pop()
        placed.append((place[a], place[b], place[low], place[high]))
        free += [place[row] for row in (a, b, low, high) if needed.get(row, step) == step]
    return _Network(
        np.array(placed, np.int64).reshape(-1, 4),
        np.array([place[row] for row in medians], np.int64),
        inputs,
        rows,
    )


@compiled
def _apply(
    x: NDArray[np.float32],
    rows: NDArray[np.int64],
    steps: NDArray[np.int64],
    medians: NDArray[np.int64],
    inputs: int,
    working_rows: int,
    result: NDArray[np.float32],
) -> None:
    count, columns = result.shape
    work = np.zeros((working_rows, _STRIP), x.dtype)
    for column in range(0, columns, _STRIP):
        width = min(_STRIP, columns - column)
        for first in range(0, count, len(medians)):
            for i in range(min(inputs, len(rows) - first)):
                row = rows[first + i]
                for k in range(width):
                    work[i, k] = x[row, column + k]
            for step in range(len(steps)):
                a, b, low, high = steps[step, 0], steps[step, 1], steps[step, 2], steps[step, 3]
                for k in range(_STRIP):
                    p = work[a, k]
                    q = work[b, k]
                    ordered = p < q
                    work[low, k] = p if ordered else q
                    work[high, k] = q if ordered else p
            for i in range(min(len(medians), count - first)):
                row = medians[i]
                for k in range(width):
                    result[first + i, column + k] = work[row, k]
