"""The plugin `history` of earlier versions."""

from __future__ import annotations

__all__ = ["History"]


class History:
    """A plugin without hooks: the training loop writes `history.jsonl`, from which a run is resumed.

    Its name stays registered, so that commands and scripts that name it, as in ``--without history``, still work.
    """
