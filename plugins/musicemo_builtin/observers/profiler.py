"""A profile of some training steps."""

from __future__ import annotations

import logging
from typing import TYPE_CHECKING, Annotated, Any

from pydantic import Field

from musicemo.hookspecs import hookimpl

if TYPE_CHECKING:
    from musicemo.training import Run

__all__ = ["Profiler"]

_log = logging.getLogger(__name__)

#: Operations in the table.
_ROWS = 30


class Profiler:
    """Profiles some training steps of an epoch with torch.profiler.

    It writes two files into the run directory: `profile.txt`, a table of the operations that take the most time, which
    TensorBoard shows under TEXT; and the trace `profile.pt.trace.json`, for Perfetto (ui.perfetto.dev) or the profiler
    plugin of TensorBoard. The steps that are profiled are slower than others. The results of the run are the same.

    Args:
        epoch: Epoch of the steps, counted from 1.
        skip: Number of steps of the epoch before the first that is profiled.
        steps: Number of steps to profile.
        memory: Whether to record memory.
        stacks: Whether to record the lines of the source code.
    """

    opt_in = True

    def __init__(
        self,
        *,
        epoch: Annotated[int, Field(ge=1)] = 1,
        skip: Annotated[int, Field(ge=1)] = 3,
        steps: Annotated[int, Field(ge=1)] = 5,
        memory: bool = False,
        stacks: bool = False,
    ) -> None:
        self._epoch, self._skip, self._steps = epoch, skip, steps
        self._memory, self._stacks = memory, stacks
        self._profile: Any = None
        self._written = self._begun = False

    @hookimpl
    def musicemo_run_started(self) -> None:
        """Forget the run before."""
        self._begun = False

    @hookimpl
    def musicemo_epoch_started(self, run: Run, epoch: int) -> None:
        """Begin in the epoch."""
        import torch

        if epoch != self._epoch:
            return
        schedule = torch.profiler.schedule(wait=self._skip - 1, warmup=1, active=self._steps, repeat=1)
        self._written, self._begun = False, True
        self._profile = torch.profiler.profile(
            schedule=schedule,
            on_trace_ready=lambda profile: self._write(run, profile),
            profile_memory=self._memory,
            with_stack=self._stacks,
        )
        self._profile.start()

    @hookimpl
    def musicemo_batch_finished(self) -> None:
        """End a step."""
        if self._profile is not None:
            self._profile.step()
            if self._written:
                self._stop()

    @hookimpl
    def musicemo_epoch_finished(self, run: Run) -> None:
        """End, also if the epoch had fewer steps."""
        if self._profile is not None:
            self._stop()
            if not self._written:
                _log.warning(
                    f"profiler: epoch {self._epoch} has no step after the first {self._skip}. Reduce skip"
                )

    @hookimpl
    def musicemo_run_finished(self, run: Run) -> None:
        """Warn if the epoch was not trained, neither now nor before a resumption."""
        if not self._begun and not (run.directory / "profile.txt").exists():
            _log.warning(f"profiler: epoch {self._epoch} was not trained, so there is no profile. Reduce epoch")

    @hookimpl
    def musicemo_run_failed(self) -> None:
        """End."""
        self._stop()

    def _stop(self) -> None:
        profile, self._profile = self._profile, None
        if profile is not None:
            profile.stop()

    def _write(self, run: Run, profile: Any) -> None:
        from torch.utils.tensorboard import SummaryWriter

        self._written = True
        key = "self_cuda_time_total" if run.device.type == "cuda" else "self_cpu_time_total"
        table = profile.key_averages().table(sort_by=key, row_limit=_ROWS)
        (run.directory / "profile.txt").write_text(table, encoding="utf-8")
        profile.export_chrome_trace(str(run.directory / "profile.pt.trace.json"))
        with SummaryWriter(str(run.directory), filename_suffix=".profile") as writer:
            lines = "\n".join(f"    {line}" for line in table.splitlines())
            writer.add_text("profile", lines, self._epoch)
