"""The progress display: live on a terminal, plain lines elsewhere."""

from __future__ import annotations

from typing import TYPE_CHECKING

from musicemo.hookspecs import hookimpl

if TYPE_CHECKING:
    from musicemo.training import Run
    from musicemo_builtin.observers._display import Display

__all__ = ["Progress"]


class Progress:
    """Shows epoch, losses, the best epoch so far and the remaining time."""

    def __init__(self) -> None:
        self._display: Display | None = None

    @hookimpl
    def musicemo_run_started(self, run: Run) -> None:
        """Say what is trained, and begin to show it."""
        from musicemo_builtin.observers._display import Display

        self._display = Display(run)

    @hookimpl
    def musicemo_epoch_finished(self, record: dict[str, float]) -> None:
        """Show the epoch."""
        if self._display:
            self._display.show(record)

    @hookimpl
    def musicemo_run_finished(self) -> None:
        """Leave the terminal as it was."""
        self._stop()

    @hookimpl
    def musicemo_run_failed(self) -> None:
        """Leave the terminal as it was."""
        self._stop()

    def _stop(self) -> None:
        if self._display:
            self._display.stop()
            self._display = None
