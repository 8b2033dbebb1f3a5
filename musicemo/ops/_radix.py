"""The argsort of one row: a radix sort of the float's bits, whose time does not depend on the data."""

from __future__ import annotations

import math
from typing import Any

import numpy as np

from musicemo._jit import compiled

__all__ = ["WIDE", "argsort_row"]

_INSERTION = 40  # below this length an insertion sort beats the histograms
WIDE = 16384  # from here on three passes of 11 bits beat four of 8
_LOW = np.uint64(0xFFFFFFFF)
_32 = np.uint64(32)


@compiled
def _sort_high(items: Any, spare: Any, counts: Any) -> None:
    """Sort 64-bit `items` by their upper half, in place: insertion, or least-significant-digit radix."""
    size = len(items)
    if size <= _INSERTION:
        for i in range(1, size):
            item = items[i]
            j = i - 1
            while j >= 0 and items[j] > item:
                items[j + 1] = items[j]
                j -= 1
            items[j + 1] = item
        return
    bits = 11 if size >= WIDE else 8
    passes = (31 + bits) // bits
    buckets = 1 << bits
    digit = np.uint64(buckets - 1)
    counts[: passes * buckets] = 0
    for i in range(size):
        key = items[i] >> _32
        for p in range(passes):
            counts[p * buckets + np.int64(key & digit)] += 1
            key >>= np.uint64(bits)
    source, sink = items, spare
    moved = False
    for p in range(passes):
        offset = p * buckets
        shift = np.uint64(32 + p * bits)
        if counts[offset + np.int64((source[0] >> shift) & digit)] == size:
            continue  # every key has the same digit here
        total = 0
        for bucket in range(offset, offset + buckets):
            count = counts[bucket]
            counts[bucket] = total
            total += count
        for i in range(size):
            item = source[i]
            d = offset + np.int64((item >> shift) & digit)
            sink[counts[d]] = item
            counts[d] += 1
        source, sink = sink, source
        moved = not moved
    if moved:
        for i in range(size):
            items[i] = spare[i]


@compiled
def _key64(bits: Any, flip: Any) -> Any:
    """Map the bits of a double to an integer of the same order, complemented by `flip`."""
    if bits >> np.uint64(63):
        return ~bits ^ flip
    return bits ^ np.uint64(0x8000000000000000) ^ flip


@compiled
def argsort_row(x: Any, mask: Any, descending: bool, order: Any, items: Any, spare: Any, counts: Any) -> int:
    """Write a row's ascending order, valid entries first; return their number, or -1 if one is not finite."""
    n = len(x)
    masked = len(mask) > 0
    valid, bad = 0, False
    tail = n
    if x.itemsize == 4:
        bits32 = x.view(np.uint32)
        flip32 = np.uint32(0xFFFFFFFF) if descending else np.uint32(0)
        for i in range(n):
            if masked and not mask[i]:
                tail -= 1
                order[tail] = ~i
                continue
            b = bits32[i]
            bad |= (b & np.uint32(0x7F800000)) == np.uint32(0x7F800000)
            b ^= np.uint32(0xFFFFFFFF) if b >> np.uint32(31) else np.uint32(0x80000000)
            items[valid] = (np.uint64(b ^ flip32) << _32) | np.uint64(i)
            valid += 1
        if bad:
            return -1
        _sort_high(items[:valid], spare, counts)
    else:
        bits64 = x.view(np.uint64)
        flip = np.uint64(0xFFFFFFFFFFFFFFFF) if descending else np.uint64(0)
        for i in range(n):
            if masked and not mask[i]:
                tail -= 1
                order[tail] = ~i
                continue
            bad |= not math.isfinite(x[i])
            items[valid] = (_key64(bits64[i], flip) & ~_LOW) | np.uint64(i)
            valid += 1
        if bad:
            return -1
        _sort_high(items[:valid], spare, counts)
        start = 0
        for stop in range(1, valid + 1):  # runs that agree in the upper half are sorted by the lower one
            if stop < valid and items[stop] >> _32 == items[start] >> _32:
                continue
            if stop - start > 1:
                for k in range(start, stop):
                    i = items[k] & _LOW
                    items[k] = (_key64(bits64[i], flip) << _32) | i
                _sort_high(items[start:stop], spare, counts)
            start = stop
    for k in range(valid):
        order[k] = np.int32(items[k] & _LOW)
    return valid
