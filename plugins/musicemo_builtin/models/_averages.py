"""Averages of targets, and the layout of the columns in which estimators store their predictions."""

from __future__ import annotations

from collections.abc import Mapping, Sequence

import torch
from torch import Tensor

from musicemo.contracts import Target

__all__ = ["averages", "by_task"]


def averages(targets: Sequence[Target], values: Mapping[str, Tensor]) -> Tensor:
    """Return the averages of all targets in one row, as `by_task` reads them.

    The average of ratings is their mean. The average of classes is log((n[c] + 1) / (n + m)) for n[c] of n tracks in
    class c of m: the logarithm of the class frequency, smoothed to be finite. That of a tag is its smoothed logit,
    log((n[1] + 1) / (n[0] + 1)) for n[1] tracks with the tag and n[0] without it.

    Args:
        targets: the targets.
        values: target -> `[tracks]`, `[tracks, tags]`, or `[tracks, time]` of a series; NaN where missing. The average
            of a rating without any value is 0.5.
    """
    parts = []
    for target in targets:
        if target.kind == "tags":
            having, without = ((values[target.name] == value).sum(0) for value in (1, 0))
            parts.append(((having + 1) / (without + 1)).log())
            continue
        present = values[target.name][values[target.name].isfinite()]
        if target.kind in ("regression", "series"):
            parts.append(present.mean().reshape(1) if len(present) else torch.full((1,), 0.5))
        else:
            counts = torch.bincount(present.long(), minlength=len(target.classes))
            parts.append(((counts + 1) / (len(present) + len(target.classes))).log())
    return torch.cat(parts)


def by_task(outputs: Tensor, targets: Sequence[Target]) -> dict[str, Tensor]:
    """Split columns `[batch, columns]` into ratings `[batch]`, and logits `[batch, classes]` of classes or tags."""
    parts = torch.split(outputs, [len(target.classes) or 1 for target in targets], dim=1)
    return {
        target.name: part if target.classes else part.squeeze(1)
        for target, part in zip(targets, parts, strict=True)
    }
