"""Recording of a run's status and warnings in `results.json`."""

from __future__ import annotations

import contextlib
import traceback
import warnings
from collections.abc import Iterator, Mapping
from contextlib import contextmanager
from pathlib import Path
from typing import TYPE_CHECKING, Any

from musicemo.components.local import line_of
from musicemo.errors import MusicemoError, RunError
from musicemo.files import write_text
from musicemo.runs.claiming import Claim

if TYPE_CHECKING:
    from musicemo.components.hooks import Hooks
    from musicemo.training import Run

__all__ = ["gathered", "recorded", "unforeseen"]


@contextmanager
def recorded(claim: Claim, run: Run, hooks: Hooks, known: Mapping[str, Any]) -> Iterator[dict[str, Any]]:
    """Record the status of the enclosed run in `results.json` (running, done, failed, interrupted), and its warnings.

    Raises:
        RunError: an unexpected error occurred.
    """
    directory = claim.directory
    earlier = claim.earlier.results.get("warnings") if claim.earlier else None
    texts = list(dict.fromkeys([*(earlier or []), *known.get("warnings", [])]))
    process = claim.results["process"]
    known = {"status": "running", "started": claim.results["started"], **known, "warnings": texts}
    results: dict[str, Any] = {**known, "process": process}
    (directory.path / "error.txt").unlink(missing_ok=True)
    with gathered(texts):
        try:
            yield results
            results.pop("process", None)
            directory.write_results(results)
        except BaseException as error:
            results.pop("process", None)
            ending = {
                "status": "interrupted" if isinstance(error, KeyboardInterrupt) else "failed",
                "error": str(error),
            }
            results |= ending
            hooks("run_failed", run=run, error=error)
            try:
                directory.write_results(results)
            except RunError:  # a value that cannot be written, or a full disk, of which `error` is
                with contextlib.suppress(RunError):
                    directory.write_results({**known, **ending})
            if isinstance(error, MusicemoError) or not isinstance(error, Exception):
                raise
            raise unforeseen(error, directory.path / "error.txt") from error


@contextmanager
def gathered(texts: list[str], told: set[str] | None = None) -> Iterator[None]:
    """Gather what is warned of inside; show each text once.

    What Python was warned of before, in another run of this process, it is warned of again.

    Args:
        texts: the warnings' texts, each once; it grows.
        told: those that were shown already, and are not again; it grows.
    """
    known = set() if told is None else told
    with warnings.catch_warnings():
        show = warnings.showwarning

        def gather(message: Warning | str, *details: Any, **more: Any) -> None:
            text = str(message)
            if text not in texts:
                texts.append(text)
            if text not in known:  # what warns once a batch or an epoch need not be read as often
                known.add(text)
                show(message, *details, **more)

        warnings.showwarning = gather
        yield


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
