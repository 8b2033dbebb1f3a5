"""MLflow: a run for each seed, fold and trial, below a parent run for each experiment."""

from __future__ import annotations

import importlib.util
import logging
import os
import re
import time
from collections.abc import Mapping
from pathlib import Path
from typing import TYPE_CHECKING
from urllib.parse import urlsplit

from musicemo.errors import InputError
from musicemo.tracking import Tracker, final_metrics, flat_settings, group_of, label_of, runs_of

if TYPE_CHECKING:
    from mlflow.entities import Run as MLflowRun
    from mlflow.tracking import MlflowClient

    from musicemo.tracking import RunRecord

__all__ = ["MLflow"]

#: Tags by which runs are recognized.
_KIND, _RUN, _EXPERIMENT, _EPOCH = "musicemo.kind", "musicemo.run", "musicemo.experiment", "musicemo.epoch"
_PARENT = "mlflow.parentRunId"
#: A server that cannot be reached is given up after some seconds, and no usage data is sent.
_ENVIRONMENT = {
    "MLFLOW_HTTP_REQUEST_MAX_RETRIES": "2",
    "MLFLOW_HTTP_REQUEST_TIMEOUT": "20",
    "MLFLOW_DISABLE_TELEMETRY": "true",
}
_STATUS = {"done": "FINISHED", "failed": "FAILED", "interrupted": "KILLED"}
#: Characters that names in MLflow cannot have; longest value of a parameter; entries of one request.
_ILLEGAL = re.compile(r"[^/\w.\- :]")
_LONGEST, _AT_ONCE = 6000, 100


class MLflow(Tracker):
    """Logs parameters, the metrics of every epoch, the final metrics and files to MLflow.

    The runs of an experiment, such as its seeds and folds, are children of one parent run, which is closed with the
    last of them. A run that is resumed or imported continues its MLflow run.

    Args:
        tracking_uri: Address of the server or database, such as ``http://localhost:5000`` or ``sqlite:///mlflow.db``.
            The default is the environment variable ``MLFLOW_TRACKING_URI``, or else ``mlflow.db`` in the folder of
            runs.
        experiment: MLflow experiment that contains the runs. It is created if it does not exist.
        artifacts: Files of the run directory to upload, as patterns. ``checkpoints/best.pt`` adds the weights.

    Raises:
        InputError: MLflow is not installed, or the address contains a password.
    """

    def __init__(
        self,
        *,
        tracking_uri: str | None = None,
        experiment: str = "musicemo",
        artifacts: tuple[str, ...] = ("*.toml", "*.json", "*.jsonl", "*.csv", "report.html"),
    ) -> None:
        if importlib.util.find_spec("mlflow") is None:
            raise InputError("needs MLflow: pip install 'musicemo[mlflow]'")
        if tracking_uri and urlsplit(tracking_uri).password:
            raise InputError(
                "tracking_uri contains a password, which would be recorded with every run. Set the environment "
                "variables MLFLOW_TRACKING_USERNAME and MLFLOW_TRACKING_PASSWORD instead"
            )
        self._uri, self._experiment, self._artifacts = tracking_uri, experiment, artifacts
        self._client: MlflowClient | None = None
        #: Ids of the MLflow experiment, of the parent run and of the run.
        self._folder = self._parent = self._id = ""
        #: Beginning and end of an imported run, and its number of epochs; None while it is trained.
        self._times: tuple[int, int, int] | None = None

    def start_run(self, run: RunRecord) -> int:
        """Open a run below the parent run of its experiment, and log the parameters."""
        self._times = None if run.status == "running" else _times(run)
        started = self._times[0] if self._times else None
        group = group_of(run)
        tags = {"mlflow.source.name": "musicemo", _EXPERIMENT: group}
        label = f"{run.name}/{run.directory.name}"
        with self.exclusive(run):
            client = self._client = _connect(self._uri, runs_of(run))
            folder = _experiment_id(client, self._experiment)
            parent = _find(client, folder, {_EXPERIMENT: group, _KIND: "experiment"})
            if parent is None:
                parent = client.create_run(folder, started, {**tags, _KIND: "experiment"}, group)
            self._folder, self._parent = folder, parent.info.run_id
            child = _find(client, folder, {_RUN: label, _PARENT: self._parent})
            if child is None:
                tags |= {_KIND: "run", _RUN: label, _PARENT: self._parent}
                child = client.create_run(folder, started, tags, label_of(run))
            self._id = child.info.run_id
            if self._times is None:
                for one in (self._parent, self._id):
                    client.update_run(one, "RUNNING")
            self._log_parameters(client, run, child)
        return int(child.data.tags.get(_EPOCH, 0))

    def _log_parameters(self, client: MlflowClient, run: RunRecord, child: MLflowRun) -> None:
        from mlflow.entities import Param, RunTag

        settings = {_legal(key): str(value)[:_LONGEST] for key, value in flat_settings(run.experiment).items()}
        new = [Param(key, value) for key, value in settings.items() if key not in child.data.params]
        for first in range(0, len(new), _AT_ONCE):
            client.log_batch(self._id, params=new[first : first + _AT_ONCE])
        axes = {f"variant.{axis}": value for axis, value in (run.results.get("variant") or {}).items()}
        facts = {"fingerprint": run.results.get("fingerprint"), "directory": run.directory.resolve(), **axes}
        tags = [RunTag(f"musicemo.{_legal(key)}", str(value)) for key, value in facts.items()]
        client.log_batch(self._id, tags=tags)

    def log_metrics(self, metrics: Mapping[str, float], epoch: int) -> None:
        """Log the metrics of an epoch, with the epoch as step."""
        self._log_batch(metrics, epoch, self._time_of(epoch), epoch)

    def _log_batch(
        self, metrics: Mapping[str, float], step: int, time_ms: int, epoch: int | None = None
    ) -> None:
        from mlflow.entities import Metric, RunTag

        assert self._client is not None
        entries = [Metric(_legal(key), value, time_ms, step) for key, value in metrics.items()]
        for first in range(0, len(entries), _AT_ONCE):
            self._client.log_batch(self._id, metrics=entries[first : first + _AT_ONCE])
        if epoch is not None:
            self._client.log_batch(self._id, tags=[RunTag(_EPOCH, str(epoch))])

    def _time_of(self, epoch: int) -> int:
        """Return the time of an epoch in milliseconds since 1970; of an imported run, the epochs are equally long."""
        if self._times is None:
            return int(time.time() * 1000)
        begin, end, epochs = self._times
        return begin + (end - begin) * epoch // max(epochs, epoch, 1)

    def end_run(self, run: RunRecord, status: str) -> None:
        """Log final metrics and files, and close the run; close the parent run with its last child."""
        client = self._client
        assert client is not None
        end = self._times[1] if self._times else None
        data = client.get_run(self._id).data
        final = {
            key: value
            for key, value in final_metrics(run.results).items()
            if data.metrics.get(_legal(key)) != value
        }
        self._log_batch(final, 0, end or self._time_of(0))  # with step 0, MLflow shows bars and no curve
        for file in sorted({file for pattern in self._artifacts for file in run.directory.glob(pattern)}):
            folder = str(file.parent.relative_to(run.directory))
            client.log_artifact(self._id, str(file), None if folder == "." else folder)
        for key in ("best_epoch", "error", "stopped"):
            if value := run.results.get(key):
                client.set_tag(self._id, f"musicemo.{key}", str(value)[:_LONGEST])
            elif f"musicemo.{key}" in data.tags:  # of the run before it was resumed
                client.delete_tag(self._id, f"musicemo.{key}")
        client.set_terminated(self._id, _STATUS[status], end)
        with self.exclusive(run):
            children = f"tags.`{_PARENT}` = '{self._parent}'"
            states = {
                state
                for state in ("RUNNING", "FAILED", "KILLED")
                if client.search_runs(
                    [self._folder], f"{children} and attributes.status = '{state}'", max_results=1
                )
            }
            if "RUNNING" not in states:
                state = "FAILED" if "FAILED" in states else "KILLED" if states else "FINISHED"
                client.set_terminated(self._parent, state, end)


def _connect(uri: str | None, runs: Path) -> MlflowClient:
    """Return a client of a tracking server or database."""
    for name, value in _ENVIRONMENT.items():
        os.environ.setdefault(name, value)
    from mlflow.tracking import MlflowClient

    logging.getLogger("alembic").setLevel(logging.WARNING)  # the steps by which a new database is set up
    logging.getLogger("mlflow.store.db.utils").setLevel(logging.WARNING)
    address = uri or os.environ.get("MLFLOW_TRACKING_URI") or f"sqlite:///{runs.resolve() / 'mlflow.db'}"
    return MlflowClient(tracking_uri=address)


def _experiment_id(client: MlflowClient, name: str) -> str:
    """Return the id of an MLflow experiment, which is created if it does not exist."""
    from mlflow.exceptions import MlflowException

    if experiment := client.get_experiment_by_name(name):
        return str(experiment.experiment_id)
    address = client.tracking_uri
    database = address.removeprefix("sqlite:///")
    place = None if database == address else (Path(database).resolve().parent / "mlflow-artifacts").as_uri()
    try:
        return str(client.create_experiment(name, place, {"mlflow.experimentKind": "custom_model_development"}))
    except MlflowException:
        if experiment := client.get_experiment_by_name(name):  # another process was faster
            return str(experiment.experiment_id)
        raise


def _find(client: MlflowClient, folder: str, tags: Mapping[str, str]) -> MLflowRun | None:
    """Return the run with some tags."""
    condition = " and ".join(f"tags.`{key}` = '{value}'" for key, value in tags.items())
    runs = client.search_runs([folder], condition, max_results=1)
    return client.get_run(runs[0].info.run_id) if runs else None


def _times(run: RunRecord) -> tuple[int, int, int]:
    """Return when a run started and ended, in milliseconds since 1970, and its number of epochs."""
    started = run.started.timestamp() if run.started else 0.0
    seconds = sum((run.results.get("durations") or {}).values())
    return int(started * 1000), int((started + seconds) * 1000), len(run.history)


def _legal(name: str) -> str:
    """Return a name without the characters that MLflow does not allow."""
    return _ILLEGAL.sub("_", name)[:250]
