"""CPU kernels of the soft sort, with the same arguments and the same `order` as those of the soft rank."""

from __future__ import annotations

import math
from typing import Any

import numpy as np

from musicemo._jit import compiled
from musicemo.ops._radix import WIDE, argsort_row

__all__ = ["sort_rows", "sort_vjp_rows"]


@compiled
def _pool_sorted_l2(x: Any, order: Any, valid: int, sign: float, step: float, starts: Any, sums: Any) -> int:
    """Blocks of the soft sort: a non-decreasing fit of ``k - step * key_k``. Return their number."""
    base = sign * x[order[0]]
    top, start, total = 0, 0, 0.0
    for k in range(1, valid):
        value = k - step * (sign * x[order[k]] - base)
        if value * (k - start) > total:
            starts[top], sums[top] = start, total
            top += 1
            start, total = k, value
            continue
        total += value
        while top > 0 and sums[top - 1] * (k + 1 - start) >= total * (start - starts[top - 1]):
            top -= 1
            total += sums[top]
            start = starts[top]
    starts[top], sums[top] = start, total
    return top + 1


@compiled
def _log_geometric(count: float, step: float) -> float:
    """``log(1 + q + ... + q^(count - 1))`` with ``q = exp(-1 / step)``."""
    return math.log(math.expm1(-count / step) / math.expm1(-1.0 / step))


@compiled
def _pool_sorted_kl(x: Any, order: Any, valid: int, sign: float, step: float, starts: Any, sums: Any) -> int:
    """Blocks of the entropic soft sort; ``sums`` holds ``sum exp(key_start - key)``. Return their number."""
    top, start, total = 0, 0, 1.0
    for k in range(1, valid + 1):
        if k < valid:
            starts[top], sums[top] = start, total
            top += 1
            start, total = k, 1.0
        while top > 0 and k < valid:
            before = starts[top - 1]
            gap = sign * x[order[start]] - sign * x[order[before]]
            fit = _log_geometric(start - before, step) - math.log(sums[top - 1])
            if (start - before) / step + fit > gap + _log_geometric(k + 1 - start, step) - math.log(total):
                break
            top -= 1
            total = sums[top] + total * math.exp(-gap)
            start = before
    starts[top], sums[top] = start, total
    return top + 1


@compiled
def sort_rows(
    x: Any, mask: Any, out: Any, order: Any, first: int, stop: int, step: float, kl: bool, down: bool
) -> int:
    """Soft sorted rows into `out`, zeros after the valid entries; return a bad row, or -1."""
    n = x.shape[1]
    items, spare = np.empty(n, np.uint64), np.empty(n, np.uint64)
    counts = np.empty(6144 if n >= WIDE else 1024, np.int32)
    starts, sums = np.empty(n + 1, np.int32), np.empty(n, np.float64)
    sign = -1.0 if down else 1.0
    for r in range(first, stop):
        row, result, turn = x[r], out[r], order[r]
        valid = argsort_row(row, mask[r], down, turn, items, spare, counts)
        if valid < 0:
            return r
        result[valid:] = 0.0
        if valid == 0:
            continue
        if kl:
            blocks = _pool_sorted_kl(row, turn, valid, sign, step, starts, sums)
        else:
            blocks = _pool_sorted_l2(row, turn, valid, sign, step, starts, sums)
        starts[blocks] = valid
        for b in range(blocks):
            start, end = starts[b], starts[b + 1]
            if end == start + 1:
                result[start] = row[turn[start]]
            elif kl:
                level = _log_geometric(end - start, step) - math.log(sums[b]) + sign * row[turn[start]]
                for k in range(start, end):
                    result[k] = sign * (level + (k - start) / step)
            else:
                base, total = np.float64(row[turn[start]]), 0.0
                for k in range(start, end):
                    total += row[turn[k]] - base
                level = base + total / (end - start)
                for k in range(start, end):
                    result[k] = level + sign * (k - 0.5 * (start + end - 1)) / step
            turn[start] = ~turn[start]
    return -1


@compiled
def sort_vjp_rows(order: Any, grad: Any, x: Any, out: Any, first: int, stop: int, kl: bool, down: bool) -> int:
    """Product of `grad` with the Jacobian of the soft sort: the block's sum, shared out by weight."""
    n = order.shape[1]
    sign = -1.0 if down else 1.0
    for r in range(first, stop):
        turn, g, product = order[r], grad[r], out[r]
        start = 0
        while start < n:
            head = ~turn[start]
            end = start + 1
            total, weight = np.float64(g[start]), 1.0
            while end < n and turn[end] >= 0:
                total += g[end]
                if kl:
                    weight += math.exp(sign * (x[r, head] - x[r, turn[end]]))
                end += 1
            if not kl:
                weight = float(end - start)
            product[head] = total / weight
            for k in range(start + 1, end):
                share = math.exp(sign * (x[r, head] - x[r, turn[k]])) if kl else 1.0
                product[turn[k]] = total / weight * share
            start = end
    return -1
