"""Weights & Biases: a run for each seed, fold and trial, grouped by experiment."""

from __future__ import annotations

import hashlib
import importlib.util
import json
import os
import shutil
from collections.abc import Mapping
from pathlib import Path
from typing import TYPE_CHECKING, Any, Literal

from musicemo.errors import InputError
from musicemo.tracking import Tracker, final_metrics, flat_settings, group_of, label_of, runs_of

if TYPE_CHECKING:
    import wandb

    from musicemo.tracking import RunRecord

__all__ = ["WandB"]

#: Exit code of a run by its status; W&B shows 255 as killed.
_CODES = {"done": 0, "failed": 1, "interrupted": 255}
#: File with what an offline run has logged.
_STATE = "musicemo.json"


class WandB(Tracker):
    """Logs parameters, the metrics of every epoch, the final metrics and files to Weights & Biases.

    The runs of an experiment, such as its seeds and folds, are a group. A run that is resumed or imported continues its
    W&B run. The API key is in the environment variable ``WANDB_API_KEY`` or is set with ``wandb login``.

    Args:
        project: W&B project.
        entity: User or team that owns the project. The default is that of the API key.
        mode: ``offline`` only writes the runs to the folder; ``wandb sync`` uploads them. The default is the
            environment variable ``WANDB_MODE``, or else ``online``.
        folder: Folder in which W&B writes its folder ``wandb``. The default is the folder of runs.
        artifacts: Files of the run directory to upload, as patterns. ``checkpoints/best.pt`` adds the weights.

    Raises:
        InputError: wandb is not installed.
    """

    def __init__(
        self,
        *,
        project: str = "musicemo",
        entity: str | None = None,
        mode: Literal["online", "offline"] | None = None,
        folder: Path | None = None,
        artifacts: tuple[str, ...] = ("*.toml", "*.json", "*.jsonl", "*.csv", "report.html"),
    ) -> None:
        if importlib.util.find_spec("wandb") is None:
            raise InputError("needs wandb: pip install 'musicemo[wandb]'")
        self._project, self._entity, self._mode = project, entity, mode
        self._folder, self._artifacts = folder, artifacts
        self._wandb: wandb.Run | None = None

    def start_run(self, run: RunRecord) -> int:
        """Open a run in the group of its experiment, with the parameters as its configuration."""
        import wandb

        self._wandb = None
        label = f"{run.name}/{run.directory.name}"
        identifier = hashlib.sha256(f"{label} {run.results.get('fingerprint')}".encode()).hexdigest()[:16]
        folder = self._folder or runs_of(run)
        offline = (self._mode or os.environ.get("WANDB_MODE", "online")) != "online"
        logged = _logged(folder, identifier) if offline else {}
        if logged == {"epoch": len(run.history), "status": run.status}:
            return len(run.history)  # it was imported before
        if not offline and not wandb.api.api_key:
            raise RuntimeError(
                'there is no API key. Use `wandb login`, or set WANDB_API_KEY or mode = "offline"'
            )
        folder.mkdir(parents=True, exist_ok=True)
        axes = {f"variant.{axis}": value for axis, value in (run.results.get("variant") or {}).items()}
        self._wandb = wandb.init(
            project=self._project,
            entity=self._entity,
            id=identifier,
            name=label_of(run),
            group=group_of(run),
            dir=folder,
            mode=self._mode,
            resume="allow",
            reinit="create_new",
            config={**flat_settings(run.experiment), "fingerprint": run.results.get("fingerprint"), **axes},
            allow_val_change=True,
            settings=wandb.Settings(console="off", silent=True, init_timeout=30, x_disable_stats=True),
        )
        return int(logged.get("epoch", 0)) if offline else max(int(self._wandb.step) - 1, 0)

    def log_metrics(self, metrics: Mapping[str, float], epoch: int) -> None:
        """Log the metrics of an epoch, with the epoch as step."""
        if self._wandb is not None:
            self._wandb.log(dict(metrics), step=epoch, commit=True)
            self._write_state(epoch, "running")

    def end_run(self, run: RunRecord, status: str) -> None:
        """Log final metrics and files, and close the run."""
        if self._wandb is None:
            return
        self._wandb.summary.update({**final_metrics(run.results), "status": status})
        if stopped := run.results.get("stopped"):
            self._wandb.summary["stopped"] = stopped["reason"]
        for file in {file for pattern in self._artifacts for file in run.directory.glob(pattern)}:
            copy = Path(self._wandb.dir) / file.relative_to(
                run.directory
            )  # is uploaded, also after a move of the runs
            copy.parent.mkdir(parents=True, exist_ok=True)
            shutil.copyfile(file, copy)
        self._write_state(len(run.history), run.status)
        self._wandb.finish(exit_code=_CODES[status])
        self._wandb = None

    def _write_state(self, epoch: int, status: str) -> None:
        """Write what was logged to the folder of the run, since an offline run cannot be read back."""
        assert self._wandb is not None
        (Path(self._wandb.dir) / _STATE).write_text(
            json.dumps({"epoch": epoch, "status": status}), encoding="utf-8"
        )


def _logged(folder: Path, identifier: str) -> dict[str, Any]:
    """Return the last epoch and status that offline runs of an id have logged."""
    states = [
        json.loads(file.read_text(encoding="utf-8"))
        for file in folder.glob(f"wandb/*-{identifier}*/files/{_STATE}")
    ]
    return max(states, key=lambda state: (state["epoch"], state["status"] != "running"), default={})
