"""The report of a finished run."""

from __future__ import annotations

import logging
from typing import TYPE_CHECKING, Any

from musicemo.errors import MusicemoError
from musicemo.hookspecs import hookimpl

if TYPE_CHECKING:
    from collections.abc import Mapping, Sequence
    from pathlib import Path

    from musicemo.training import Run

__all__ = ["Report"]

_log = logging.getLogger(__name__)


class Report:
    """Writes `report.html` at the end of a run: all results on one page.

    If the report cannot be written, a warning is given and the run is not affected; ``musicemo report`` writes
    it again.
    """

    @hookimpl(trylast=True)
    def musicemo_run_finished(self, run: Run, results: dict[str, Any]) -> None:
        """Write it, after what others have to add to the results."""
        _write(run.directory, results, run.history)

    @hookimpl(trylast=True)
    def musicemo_ensemble_finished(self, directory: Path, results: dict[str, Any]) -> None:
        """Write it."""
        _write(directory, results, [])


def _write(directory: Path, results: dict[str, Any], history: Sequence[Mapping[str, float]]) -> None:
    from musicemo.reporting import report_finished

    try:
        report_finished(directory, results, history)
    except Exception as error:  # whatever it is, what was trained is worth more
        reason = str(error) if isinstance(error, MusicemoError) else f"{type(error).__name__}: {error}"
        _log.warning(f"the report could not be written: {reason}. Use `musicemo report` to try again")
