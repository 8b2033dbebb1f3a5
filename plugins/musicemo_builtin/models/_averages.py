"""Averages of targets, and the columns in which estimators keep what they predict."""

from __future__ import annotations

from collections.abc import Mapping, Sequence

import torch
from torch import Tensor

from musicemo.contracts import Target

__all__ = ["averages", "by_task"]


def averages(targets: Sequence[Target], values: Mapping[str, Tensor]) -> Tensor:
    """Return every target's average side by side, as `by_task` reads them.

    Of ratings it is their mean. Of classes it is log((n[c] + 1) / (n + m)) for n[c] of n tracks in class c of m: the
    logarithms of their shares, smoothed to be finite.

    Args:
        targets: what the values are of.
        values: target -> `[tracks]`, NaN where missing; a rating that is nowhere known is 0.5.
    """
    found = []
    for target in targets:
        known = values[target.name][values[target.name].isfinite()]
        if target.kind == "regression":
            found.append(known.mean().reshape(1) if len(known) else torch.full((1,), 0.5))
        else:
            counts = torch.bincount(known.long(), minlength=len(target.classes))
            found.append(((counts + 1) / (len(known) + len(target.classes))).log())
    return torch.cat(found)


def by_task(outputs: Tensor, targets: Sequence[Target]) -> dict[str, Tensor]:
    """Split columns `[batch, columns]` into ratings `[batch]` and logits `[batch, classes]` by target."""
    parts = torch.split(outputs, [len(target.classes) or 1 for target in targets], dim=1)
    return {
        target.name: part if target.classes else part.squeeze(1)
        for target, part in zip(targets, parts, strict=True)
    }
