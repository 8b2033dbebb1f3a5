"""The history file, which the training loop writes since it is resumed from it."""

from __future__ import annotations

__all__ = ["History"]


class History:
    """The name under which earlier versions wrote `history.jsonl`; the training loop does so now."""
