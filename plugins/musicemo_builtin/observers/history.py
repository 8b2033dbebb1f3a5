"""The history file: a line an epoch."""

from __future__ import annotations

import json
import math
from typing import TYPE_CHECKING

from musicemo.files import write_text
from musicemo.hookspecs import hookimpl

if TYPE_CHECKING:
    from musicemo.training import Run

__all__ = ["History"]


class History:
    """Writes `history.jsonl`: everything recorded, a line an epoch; what is not defined is null.

    The whole file is written each time, from the record that the checkpoint carries too: a run that was killed
    and resumed has the same history as one that was not.
    """

    @hookimpl
    def musicemo_run_started(self, run: Run) -> None:
        """Write the epochs before a resumption."""
        self._write(run)

    @hookimpl
    def musicemo_epoch_finished(self, run: Run) -> None:
        """Write every epoch so far."""
        self._write(run)

    @staticmethod
    def _write(run: Run) -> None:
        lines = (
            json.dumps({name: value if math.isfinite(value) else None for name, value in record.items()})
            for record in run.history
        )
        write_text(run.directory / "history.jsonl", "".join(f"{line}\n" for line in lines))
