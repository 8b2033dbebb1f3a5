"""Recording of a run's status and warnings in `results.json`."""

from __future__ import annotations

import contextlib
import traceback
from collections.abc import Iterator, Mapping
from contextlib import contextmanager
from pathlib import Path
from typing import TYPE_CHECKING, Any

from musicemo.components.local import line_of
from musicemo.errors import MusicemoError, RunError, RunStopped
from musicemo.files import write_text
from musicemo.messages import Collector
from musicemo.runs.claiming import Claim

if TYPE_CHECKING:
    from musicemo.components.hooks import Hooks
    from musicemo.training import Run

__all__ = ["recorded", "unforeseen"]


@contextmanager
def recorded(
    claim: Claim, run: Run, hooks: Hooks, head: Mapping[str, Any], messages: Collector
) -> Iterator[dict[str, Any]]:
    """Record the status of the enclosed run in `results.json` (running, done, failed, interrupted), and its warnings.

    Args:
        claim: the claimed run directory.
        run: the run.
        hooks: the lifecycle plugins.
        head: the values of `results.json` that are known before training.
        messages: collects the warnings of the run.

    Raises:
        RunError: an unexpected error occurred.
    """
    directory = claim.directory
    if claim.earlier:
        messages.precede(claim.earlier.results.get("warnings") or [])
    process = claim.results["process"]
    head = {"status": "running", "started": claim.results["started"], **head, "warnings": messages.texts}
    results: dict[str, Any] = {**head, "process": process}
    (directory.path / "error.txt").unlink(missing_ok=True)
    try:
        yield results
        results.pop("process", None)
        directory.write_results(results)
    except BaseException as error:
        results.pop("process", None)
        ending: dict[str, Any] = {
            "status": "interrupted" if isinstance(error, KeyboardInterrupt | RunStopped) else "failed",
            "error": str(error),
        }
        if run.stopped:
            ending["stopped"] = run.stopped
        results |= ending
        hooks("run_failed", run=run, error=error)
        try:
            directory.write_results(results)
        except RunError:  # a value that cannot be written, or a full disk, of which `error` is
            with contextlib.suppress(RunError):
                directory.write_results({**head, **ending})
        hooks("run_recorded", run=run)
        if isinstance(error, MusicemoError) or not isinstance(error, Exception):
            raise
        raise unforeseen(error, directory.path / "error.txt") from error
    hooks("run_recorded", run=run)


def unforeseen(error: BaseException, path: Path) -> RunError:
    """Return the message for an unexpected error, whose traceback is written to a file."""
    import torch  # reading runs back does without it

    where = line_of(error)
    what = f"{where}: " if where else ""
    what += f"{type(error).__name__}: {error}"
    if isinstance(error, torch.OutOfMemoryError):
        what += ". Try a smaller training.batch_size"
    try:
        path.parent.mkdir(parents=True, exist_ok=True)
        write_text(path, "".join(traceback.format_exception(error)))
    except (OSError, RunError):
        return RunError(what)
    return RunError(f"{what} (traceback in {path})")
