"""Experiment trackers: lifecycle plugins that send runs to a service, during training or afterwards."""

from __future__ import annotations

import json
import logging
import math
import warnings
from abc import ABC, abstractmethod
from collections.abc import Callable, Iterator, Mapping
from contextlib import contextmanager
from typing import TYPE_CHECKING, Any, ClassVar

from musicemo.errors import InputError, MusicemoError, RunError, nearest
from musicemo.hookspecs import hookimpl
from musicemo.settings import plain_message

if TYPE_CHECKING:
    from pathlib import Path

    from musicemo.runs import RunRecord as RunRecord
    from musicemo.training import Run

__all__ = [
    "Tracker",
    "final_metrics",
    "flat_settings",
    "group_of",
    "label_of",
    "make_tracker",
    "runs_of",
    "tensorboard_plugins",
]

_log = logging.getLogger(__name__)


class Tracker(ABC):
    """Base class of experiment trackers.

    Override the three methods. The hooks of this class call them during a run, and ``musicemo import`` calls them for a
    run that was recorded before. A method reads everything about the run from its record. If a method raises an
    exception, musicemo warns, and the run continues without the tracker. A tracker is active in experiments that have a
    table ``[plugins.NAME]``.
    """

    opt_in: ClassVar[bool] = True
    #: Whether an error of the tracker is raised, as in tests, instead of a warning.
    raises = False

    _run: Path | None = None
    _epoch = 0

    @abstractmethod
    def start_run(self, run: RunRecord) -> int:
        """Open a run, or reopen it if it was tracked before.

        Returns:
            The last epoch of which the tracker has metrics; 0 for a new run.
        """

    @abstractmethod
    def log_metrics(self, metrics: Mapping[str, float], epoch: int) -> None:
        """Log finite metrics of an epoch. Epochs are in order, and each is logged once."""

    @abstractmethod
    def end_run(self, run: RunRecord, status: str) -> None:
        """Log final metrics and files, and close the run.

        Args:
            run: The run.
            status: ``done``, ``failed`` or ``interrupted``.
        """

    def import_run(self, run: RunRecord) -> None:
        """Track a run that was recorded before. A run that is imported twice is there once.

        Raises:
            InputError: The run is still in progress.
            RunError: The tracker fails, such as one whose server cannot be reached.
        """
        if run.in_use:
            raise InputError(f"{run.directory}: is in progress. Import it when it is finished")
        try:
            with _quiet():
                self._start(run, run.history)
                self._end(run)
        except MusicemoError:
            raise
        except Exception as error:  # such as a server that cannot be reached
            if self.raises:
                raise
            raise RunError(
                f"{run.directory}: cannot be imported completely: {type(self).__name__}: {_reason(error)}. Repeat the "
                "command to complete it"
            ) from error

    @staticmethod
    @contextmanager
    def exclusive(run: RunRecord) -> Iterator[None]:
        """Let one process at a time work on what the runs of an experiment have in common."""
        from musicemo.runs.directory import exclusive

        with exclusive(runs_of(run) / group_of(run)):
            yield

    def _start(self, run: RunRecord, history: Any) -> None:
        self._epoch = self.start_run(run)
        self._run = run.directory
        for record in history:
            self._log(record)

    def _log(self, record: Mapping[str, float | None]) -> None:
        epoch = int(record["epoch"] or 0)
        if epoch > self._epoch:
            finite = {
                name: float(value)
                for name, value in record.items()
                if name != "epoch" and value is not None and math.isfinite(value)
            }
            self.log_metrics(finite, epoch)
            self._epoch = epoch

    def _end(self, run: RunRecord) -> None:
        self._run = None
        status = run.status
        self.end_run(run, status if status in ("done", "failed") else "interrupted")

    def _attempt(self, directory: Path, function: Callable[..., None], *arguments: Any) -> None:
        """Call a function; if it fails, warn and do not track the rest of this run."""
        try:
            with _quiet():
                function(*arguments)
        except Exception as error:  # such as a server that cannot be reached
            self._run = None
            if self.raises:
                raise
            _log.warning(
                f"{type(self).__name__}: {_reason(error)}. {directory} is not tracked further; `musicemo import` "
                "can complete it later"
            )

    @hookimpl
    def musicemo_run_started(self, run: Run) -> None:
        """Open the run, and log the epochs before a resumption."""
        from musicemo.runs import open_run

        self._run = None
        self._attempt(run.directory, lambda: self._start(open_run(run.directory), run.history))

    @hookimpl(trylast=True)
    def musicemo_epoch_finished(self, run: Run, record: dict[str, float]) -> None:
        """Log the metrics of an epoch, including those that other plugins added."""
        if self._run == run.directory:
            self._attempt(run.directory, self._log, record)

    @hookimpl
    def musicemo_run_recorded(self, run: Run) -> None:
        """Log final metrics and files, and close the run."""
        from musicemo.runs import open_run

        if self._run == run.directory:
            self._attempt(run.directory, lambda: self._end(open_run(run.directory)))


@contextmanager
def _quiet() -> Iterator[None]:
    """Ignore Python's warnings: those of a tracker's package are not about the run."""
    with warnings.catch_warnings():
        warnings.simplefilter("ignore")
        yield


def group_of(run: RunRecord) -> str:
    """Return the name of the experiment of a run, or of the search of a trial."""
    return str((run.results.get("search") or {}).get("name") or run.name)


def label_of(run: RunRecord) -> str:
    """Return what distinguishes a run in its group: ``trial 3, seed 0, fold 1``, or ``best trial 3, seed 0``."""
    trial = (run.results.get("search") or {}).get("trial")
    parts = {
        "trial" if _is_trial(run) else "best trial": trial,
        "seed": run.seed,
        "fold": run.fold,
        "inner fold": run.results.get("inner_fold"),
    }
    return ", ".join(f"{name} {value}" for name, value in parts.items() if value is not None)


def runs_of(run: RunRecord) -> Path:
    """Return the folder of runs that contains the folder of an experiment or search."""
    return run.directory.resolve().parents[3 if _is_trial(run) else 1]


def _is_trial(run: RunRecord) -> bool:
    """Return whether a run is one of a trial, and not of the best trial's evaluation on the test set."""
    search = run.results.get("search") or {}
    return bool(search) and search.get("name") != run.name


def flat_settings(experiment: Mapping[str, Any]) -> dict[str, bool | int | float | str]:
    """Return the resolved experiment of a run by dotted key, without name, description and plugins.

    Lists are JSON text.
    """
    kept = {key: value for key, value in experiment.items() if key not in ("name", "description", "plugins")}
    return dict(_flat(kept))


def _flat(table: Mapping[str, Any], prefix: str = "") -> Iterator[tuple[str, bool | int | float | str]]:
    for name, value in table.items():
        if isinstance(value, Mapping):
            yield from _flat(value, f"{prefix}{name}.")
        elif isinstance(value, bool | int | float | str):
            yield f"{prefix}{name}", value
        else:
            yield f"{prefix}{name}", json.dumps(value, ensure_ascii=False, default=str)


def final_metrics(results: Mapping[str, Any]) -> dict[str, float]:
    """Return the metrics of the validation and test set in the best epoch: ``final/<set>/<task>/<metric>`` -> value."""
    return {
        f"final/{part}/{task}/{name}": float(metric["value"])
        for part, tasks in (results.get("metrics") or {}).items()
        if part != "train"
        for task, values in tasks.items()
        for name, metric in values.items()
        if isinstance(metric, dict) and metric.get("value") is not None
    }


def tensorboard_plugins() -> list[Any]:
    """Return TensorBoard's plugins, with a tab HPARAMS for the runs of several experiments.

    TensorBoard itself shows the settings and metrics that one of the runs lists. Here, it shows those of all runs.
    The first settings are those that differ among the runs of one experiment, such as the seed, and those that differ
    between the variants of a matrix, which are marked in the lists.
    """
    from tensorboard import default
    from tensorboard.plugins.hparams import api_pb2, backend_context, metadata
    from tensorboard.plugins.hparams.hparams_plugin import HParamsPlugin

    class Context(backend_context.Context):  # type: ignore[misc]  # TensorBoard has no types
        def _find_experiment_tag(
            self, contents: Mapping[str, Mapping[str, bytes]], include_metrics: bool
        ) -> api_pb2.Experiment | None:
            tags = [
                tags[metadata.EXPERIMENT_TAG] for tags in contents.values() if metadata.EXPERIMENT_TAG in tags
            ]
            listed = [metadata.parse_experiment_plugin_data(tag) for tag in tags]
            if not listed:
                return None
            together: dict[str, dict[str, Mapping[str, bytes]]] = {}
            for run, content in contents.items():
                together.setdefault(run.rpartition("/")[0], {})[run] = content
            infos = [
                *(info for one in together.values() for info in self._compute_hparam_infos(one)),
                *(info for one in listed for info in one.hparam_infos),
            ]
            differing = {info.name for info in infos if info.differs}
            merged = api_pb2.Experiment(hparam_infos=self._compute_hparam_infos(contents))
            for info in merged.hparam_infos:
                info.differs = info.name in differing
            if include_metrics:
                metrics = {one.name.tag: one for experiment in listed for one in experiment.metric_infos}
                merged.metric_infos.extend(metrics.values())
            return merged

    class HParams(HParamsPlugin):  # type: ignore[misc]  # untyped in tensorboard
        def __init__(self, context: Any) -> None:
            super().__init__(context)
            self._context = Context(context)

    return [HParams if one is HParamsPlugin else one for one in default.get_plugins()]


def make_tracker(name: str, settings: Mapping[str, Any]) -> Tracker:
    """Construct an installed tracker.

    Args:
        name: Name of the plugin.
        settings: Its table ``[plugins.NAME]``.

    Raises:
        InputError: No tracker has this name, or the settings do not match its signature.
    """
    from pydantic import ValidationError

    from musicemo import toml
    from musicemo.components import registry
    from musicemo.components.spec import make_component

    trackers: dict[str, Any] = {}
    for claim in registry.claims("plugin"):
        try:
            plugin = claim.load()
        except MusicemoError as error:
            _log.warning(f"{error}. The plugin is ignored")
            continue
        if isinstance(plugin, type) and issubclass(plugin, Tracker):
            trackers[claim.name] = plugin
    if name not in trackers:
        raise InputError(
            f"no tracker has the name {name!r}{nearest(name, trackers)} (installed: {', '.join(trackers) or 'none'})"
        )
    factory = registry.load("plugin", name)
    try:
        tracker: Tracker = make_component("plugin", name, factory, settings).build()
    except ValidationError as error:
        allowed = sorted(settings_of(factory))
        listed = ", ".join(allowed) or "none"
        problems = []
        for one in error.errors():
            text = plain_message(one)
            if one["type"] == "extra_forbidden":
                text = f"unknown key{nearest(str(one['loc'][-1]), allowed)} (allowed: {listed})"
            problems.append(f"plugins.{name}.{toml.dotted(one['loc'])}: {text}")
        raise InputError(*problems) from error
    return tracker


def _reason(error: Exception) -> str:
    """Return the type and the beginning of the text of an error, in one line."""
    return f"{type(error).__name__}: {' '.join(str(error).split())}"[:300]


def settings_of(factory: Any) -> set[str]:
    """Return the keys of a plugin's table."""
    from musicemo.components.spec import table_schema

    return set(table_schema(factory, "plugin").model_fields)
