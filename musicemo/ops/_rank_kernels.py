"""CPU kernels of the soft rank: a row's argsort, then pool-adjacent-violators (PAV), then the ranks.

A kernel works on the rows ``first <= r < stop`` of ``[rows, n]`` arrays, so that threads can share a call.
`mask` is ``[rows, n]``, or ``[rows, 0]`` where every entry counts. `order` holds all that a backward pass
needs: ``order[r]`` lists the row's positions by ascending key, the valid ones first, and the first position
of every pooled block is stored as its complement ``~i``. Masked positions follow as blocks of one.
"""

from __future__ import annotations

import math
from typing import Any

import numpy as np

from musicemo._jit import compiled
from musicemo.ops._radix import WIDE, argsort_row

__all__ = ["rank_rows", "rank_vjp_rows"]


@compiled
def _pool_l2(x: Any, order: Any, valid: int, sign: float, step: float, y: Any, starts: Any, sums: Any) -> int:
    """Non-decreasing least squares fit of ``y_k = s_k - k``, ``s_k = (key_k - base) / step``, by PAV.

    Keys at least ``valid * step`` apart never share a block, so `base` restarts there: `y` keeps its digits
    at any strength. With `step` 0, blocks are the ties. Return the number of blocks.
    """
    inverse = 1.0 / step if step > 0.0 else 0.0
    reach = valid * step
    base = last = sign * x[order[0]]
    y[0] = 0.0
    top, floor = 0, 0  # blocks below `floor` can no longer be pooled
    start, total, count = 0, 0.0, 1.0
    for k in range(1, valid):
        key = sign * x[order[k]]
        apart = key - last > reach
        last = key
        if apart:
            base = key
        value = (key - base) * inverse - k
        y[k] = value
        if apart or value * count > total:
            starts[top], sums[top] = start, total
            top += 1
            start, total, count = k, value, 1.0
            if apart:
                floor = top
            continue
        total += value
        count += 1.0
        while top > floor and sums[top - 1] * count >= total * (start - starts[top - 1]):
            top -= 1
            total += sums[top]
            start = starts[top]
            count = float(k + 1 - start)
    starts[top], sums[top] = start, total
    return top + 1


@compiled
def _pool_kl(x: Any, order: Any, valid: int, sign: float, step: float, s: Any, starts: Any, sums: Any) -> int:
    """Like `_pool_l2` for the entropic projection: a block's fit is ``log(sum exp s) - log(sum of ranks)``.

    ``sums`` holds the sum of ``exp(s)`` relative to the block's last, largest, element.
    """
    inverse = 1.0 / step
    reach = (math.log(float(valid)) + 1.0) * step
    base = last = sign * x[order[0]]
    s[0] = 0.0
    top, floor = 0, 0
    start, total = 0, 1.0
    weight = 1.0  # the sum of the ranks start + 1, ..., k + 1
    for k in range(1, valid):
        key = sign * x[order[k]]
        apart = key - last > reach
        last = key
        if apart:
            base = key
        s[k] = (key - base) * inverse
        if not apart:
            scaled = total * math.exp(s[k - 1] - s[k])
        if apart or scaled * (k + 1) < weight:
            starts[top], sums[top] = start, total
            top += 1
            start, total, weight = k, 1.0, k + 1.0
            if apart:
                floor = top
            continue
        total = scaled + 1.0
        weight += k + 1.0
        while top > floor:
            before = sums[top - 1] * math.exp(s[start - 1] - s[k])
            span = 0.5 * (start - starts[top - 1]) * (start + starts[top - 1] + 1.0)
            if before * weight < total * span:
                break
            top -= 1
            total += before
            weight += span
            start = starts[top]
    starts[top], sums[top] = start, total
    return top + 1


@compiled
def rank_rows(
    x: Any, mask: Any, out: Any, order: Any, first: int, stop: int, step: float, kl: bool, down: bool, mid: bool
) -> int:
    """Soft ranks of the rows into `out`, less their mean where `mid`; return a bad row, or -1."""
    n = x.shape[1]
    items, spare = np.empty(n, np.uint64), np.empty(n, np.uint64)
    counts = np.empty(6144 if n >= WIDE else 1024, np.int32)
    starts, sums = np.empty(n + 1, np.int32), np.empty(n, np.float64)
    fit = spare.view(np.float64)
    sign = -1.0 if down else 1.0
    for r in range(first, stop):
        row, rank, turn = x[r], out[r], order[r]
        valid = argsort_row(row, mask[r], down, turn, items, spare, counts)
        if valid < 0:
            return r
        if valid < n:
            rank[:] = 0.0
        if valid == 0:
            continue
        if kl:
            blocks = _pool_kl(row, turn, valid, sign, step, fit, starts, sums)
        else:
            blocks = _pool_l2(row, turn, valid, sign, step, fit, starts, sums)
        shift = 1.0 - 0.5 * (valid + 1.0) if mid else 1.0
        starts[blocks] = valid
        for b in range(blocks):
            start, end = starts[b], starts[b + 1]
            size = end - start
            if size == 1:
                rank[turn[start]] = start + shift
            elif kl:
                scale = 0.5 * size * (start + end + 1.0) / sums[b]
                for k in range(start, end):
                    rank[turn[k]] = math.exp(fit[k] - fit[end - 1]) * scale
            else:
                level = sums[b] / size
                for k in range(start, end):
                    rank[turn[k]] = (fit[k] + k - level) + shift
            turn[start] = ~turn[start]
    return -1


@compiled
def rank_vjp_rows(
    order: Any, grad: Any, rank: Any, out: Any, first: int, stop: int, scale: float, kl: bool
) -> int:
    """Product of `grad` with the Jacobian of the soft ranks: within a block, ``(g_i - mean g) * scale``.

    For the entropic projection the mean is weighted by the ranks, and so is the product.
    """
    n = order.shape[1]
    for r in range(first, stop):
        turn, g, product = order[r], grad[r], out[r]
        start = 0
        while start < n:
            head = ~turn[start]
            end = start + 1
            while end < n and turn[end] >= 0:
                end += 1
            if end == start + 1:
                product[head] = 0.0
            elif kl:
                mean = np.float64(g[head]) * rank[r, head]
                for k in range(start + 1, end):
                    mean += np.float64(g[turn[k]]) * rank[r, turn[k]]
                mean /= 0.5 * (end - start) * (start + end + 1.0)
                product[head] = (g[head] - mean) * scale * rank[r, head]
                for k in range(start + 1, end):
                    product[turn[k]] = (g[turn[k]] - mean) * scale * rank[r, turn[k]]
            else:
                mean = np.float64(g[head])
                for k in range(start + 1, end):
                    mean += g[turn[k]]
                mean /= end - start
                product[head] = (g[head] - mean) * scale
                for k in range(start + 1, end):
                    product[turn[k]] = (g[turn[k]] - mean) * scale
            start = end
    return -1
