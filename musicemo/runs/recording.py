"""Keeping `results.json` true to what becomes of a run."""

from __future__ import annotations

import traceback
import warnings
from collections.abc import Iterator, Mapping
from contextlib import contextmanager
from typing import TYPE_CHECKING, Any

from musicemo._local import line_of
from musicemo.errors import MusicemoError, RunError
from musicemo.files import write_text
from musicemo.runs.directory import RunDirectory

if TYPE_CHECKING:
    from musicemo.registry import Hooks
    from musicemo.training import Run

__all__ = ["recorded"]


@contextmanager
def recorded(
    directory: RunDirectory, run: Run, hooks: Hooks, known: Mapping[str, Any]
) -> Iterator[dict[str, Any]]:
    """Keep `results.json` true to what happens inside: running, done, failed, interrupted; with its warnings.

    Raises:
        RunError: in place of any error that is not the user's.
    """
    told: list[str] = []
    results: dict[str, Any] = {"status": "running", **known, "warnings": directory.results.get("warnings", [])}
    show = warnings.showwarning

    def record(message: Warning | str, *details: Any, **more: Any) -> None:
        text = str(message)
        if text not in results["warnings"]:
            results["warnings"].append(text)
        if text not in told:  # what warns once a batch or an epoch need not be read as often
            told.append(text)
            show(message, *details, **more)

    warnings.showwarning = record
    (directory.path / "error.txt").unlink(missing_ok=True)
    try:
        yield results
        directory.write_results(results)
    except BaseException as error:
        results |= {
            "status": "interrupted" if isinstance(error, KeyboardInterrupt) else "failed",
            "error": str(error),
        }
        hooks("run_failed", run=run, error=error)
        directory.write_results(results)
        if isinstance(error, MusicemoError) or not isinstance(error, Exception):
            raise
        import torch  # reading runs back does without it

        write_text(directory.path / "error.txt", traceback.format_exc())
        hint = "; try a smaller training.batch_size" if isinstance(error, torch.OutOfMemoryError) else ""
        where = line_of(error)
        what = f"{where}: " if where else ""
        what += f"{type(error).__name__}: {error}{hint}"
        raise RunError(f"{what} (traceback in {directory.path / 'error.txt'})") from error
    finally:
        warnings.showwarning = show
