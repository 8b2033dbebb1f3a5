"""The record of a hyperparameter search: Optuna's journal in the folder of an experiment."""

from __future__ import annotations

import fcntl
import math
import os
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field
from pathlib import Path
from typing import TYPE_CHECKING, Any

from musicemo.errors import InputError

if TYPE_CHECKING:
    import optuna

__all__ = [
    "JOURNAL",
    "TRIALS",
    "SearchRecord",
    "StudyRecord",
    "TrialRecord",
    "importances",
    "open_journal",
    "read_search",
]

#: Names in the folder of a search's experiment: the journal, and the folder of the trials' runs.
JOURNAL, TRIALS = "search.jsonl", "trials"

_STATUSES = ("complete", "pruned", "failed", "running")

#: Decimals in which two values must differ for one to be better.
_DIGITS = 9

#: Keys of the attributes of a study and of a trial that musicemo sets.
ABOUT, TESTED = "about", "tested"
OVERRIDES, HASH, SLOT, VALUES, RUNS, SECONDS, ERROR, DUPLICATE = (
    *("overrides", "hash", "slot", "values", "runs", "seconds"),
    *("error", "duplicate_of"),
)


@dataclass(frozen=True)
class TrialRecord:
    """One trial of a search."""

    number: int
    #: complete, pruned, failed or running.
    status: str
    #: Mean over the replicates; of a pruned or running trial the last value of an epoch, or None.
    value: float | None
    #: Dotted key -> value.
    overrides: Mapping[str, Any]
    #: Name of a parameter, which for a conditional key has its condition -> value.
    parameters: Mapping[str, Any]
    #: Step -> value after each epoch; the epochs of all replicates are counted.
    epochs: Mapping[int, float]
    #: Value of each replicate.
    values: Sequence[float] = ()
    #: Run directories, relative to the folder of the search.
    runs: Sequence[str] = ()
    #: Duration of training and evaluation; None if it is not finished.
    seconds: float | None = None
    error: str = ""
    #: Hash of the overrides, which names the folder of its runs.
    hash: str = ""
    #: Number of the trial with the same overrides that was read instead of training.
    duplicate_of: int | None = None

    @property
    def finished(self) -> bool:
        """Whether the trial is complete, pruned or failed."""
        return self.status != "running"


@dataclass(frozen=True)
class StudyRecord:
    """The trials of a search; with nested cross-validation, of one outer fold."""

    name: str
    fold: int | None
    trials: Sequence[TrialRecord]
    #: What the search optimizes and how: ``metric``, ``trials``, ``sampler``, ``pruner``, ``inner_folds``, ``runs`` per
    #: trial.
    about: Mapping[str, Any]
    maximizes: bool
    #: Numbers of the trials whose overrides were evaluated on the test set.
    tested: Sequence[int] = ()

    @property
    def metric(self) -> str:
        """Name of the metric."""
        return str(self.about.get("metric", "value"))

    @property
    def finished(self) -> list[TrialRecord]:
        """The trials that are complete, pruned or failed."""
        return [trial for trial in self.trials if trial.finished]

    def of(self, status: str) -> list[TrialRecord]:
        """Return the trials with a status."""
        return [trial for trial in self.trials if trial.status == status]

    @property
    def best(self) -> TrialRecord | None:
        """The complete trial with the best value, of equal ones the first; None if there is none."""
        return next((trial for trial in self.ranked if trial.status == "complete"), None)

    @property
    def ranked(self) -> list[TrialRecord]:
        """The trials, the best first; those that are not complete come last."""
        sign = -1 if self.maximizes else 1

        def key(trial: TrialRecord) -> tuple[int, float, int]:
            value = math.inf if trial.value is None else sign * round(trial.value, _DIGITS)
            return _STATUSES.index(trial.status), value, trial.number

        return sorted(self.trials, key=key)


@dataclass(frozen=True)
class SearchRecord:
    """The search of an experiment's folder, as it was run last."""

    folder: Path
    #: One, or with nested cross-validation one per outer fold.
    studies: Sequence[StudyRecord] = field(default_factory=tuple)


class _Lock:
    """A lock of the journal that the system releases when the process ends, however it ends."""

    def __init__(self, path: Path) -> None:
        self._path = path
        self._descriptor: int | None = None

    def acquire(self) -> bool:
        """Wait for the lock, and remove a last line that a killed process did not complete."""
        self._descriptor = os.open(self._path, os.O_RDWR | os.O_CREAT | os.O_CLOEXEC, 0o666)
        fcntl.flock(self._descriptor, fcntl.LOCK_EX)
        size = os.fstat(self._descriptor).st_size
        if size and os.pread(self._descriptor, 1, size - 1) != b"\n":
            content = self._path.read_bytes()
            os.ftruncate(self._descriptor, content.rfind(b"\n") + 1)
        return True

    def release(self) -> None:
        """Release the lock."""
        if self._descriptor is not None:
            os.close(self._descriptor)
            self._descriptor = None


def open_journal(folder: Path) -> optuna.storages.JournalStorage:
    """Open the journal of a search, which any number of processes may read and write at the same time.

    Raises:
        InputError: Optuna is not installed, or the journal cannot be read.
    """
    try:
        import optuna
        from optuna.storages.journal import JournalFileBackend
    except ImportError as error:
        raise InputError(
            f"a search requires the library optuna: pip install 'musicemo[search]' ({error})"
        ) from error
    optuna.logging.set_verbosity(optuna.logging.ERROR)
    path = folder / JOURNAL
    lock: Any = _Lock(path)  # without the base class, which would import Optuna
    try:
        return optuna.storages.JournalStorage(JournalFileBackend(str(path), lock))
    except (OSError, ValueError, LookupError) as error:
        raise InputError(f"{path}: cannot be read as the journal of a search: {error}") from error


def read_search(folder: Path, key: str | None = None) -> SearchRecord | None:
    """Return the search of an experiment's folder that was run last; None if the folder has none.

    Args:
        folder: the folder, ``runs/<name>``.
        key: the key of another search.

    Raises:
        InputError: Optuna is not installed, or the journal cannot be read.
    """
    if not (folder / JOURNAL).is_file():
        return None
    journal = open_journal(folder)
    studies = [study for study in journal.get_all_studies() if study.user_attrs.get(ABOUT)]
    if not studies:
        return None
    last = max(studies, key=lambda study: float(study.user_attrs[ABOUT]["begun"]))
    key = key or last.user_attrs[ABOUT]["key"]
    return SearchRecord(
        folder, [_study(journal, study) for study in studies if study.user_attrs[ABOUT]["key"] == key]
    )


def importances(record: SearchRecord, study: StudyRecord) -> dict[str, float]:
    """Return the share of each parameter in the variance of a study's values, by functional analysis of variance.

    Parameters that only some trials have are left out. Empty if there are fewer than two values.

    F. Hutter, H. Hoos, K. Leyton-Brown, "An Efficient Approach for Assessing Hyperparameter Importance", ICML 2014.

    Raises:
        InputError: Optuna is not installed, or the journal cannot be read.
    """
    if len({trial.value for trial in study.of("complete")}) < 2:
        return {}
    journal = open_journal(record.folder)
    import optuna

    loaded = optuna.load_study(study_name=study.name, storage=journal)
    evaluator = optuna.importance.FanovaImportanceEvaluator(seed=0)
    return dict(optuna.importance.get_param_importances(loaded, evaluator=evaluator))


def _study(journal: optuna.storages.JournalStorage, study: Any) -> StudyRecord:
    """Return the content of a study of a journal.

    Args:
        journal: the journal.
        study: Optuna's summary of the study.
    """
    from optuna.study import StudyDirection

    about = dict(study.user_attrs.get(ABOUT) or {})
    return StudyRecord(
        name=study.study_name,
        fold=about.get("fold"),
        trials=[_trial(one) for one in journal.get_all_trials(study._study_id, deepcopy=False)],
        about=about,
        maximizes=study.directions[0] == StudyDirection.MAXIMIZE,
        tested=list(study.user_attrs.get(TESTED) or []),
    )


def _trial(trial: Any) -> TrialRecord:
    attributes = trial.user_attrs
    epochs = {int(step): float(value) for step, value in trial.intermediate_values.items()}
    status = {"COMPLETE": "complete", "PRUNED": "pruned", "FAIL": "failed"}.get(trial.state.name, "running")
    value = trial.value if status == "complete" else epochs[max(epochs)] if epochs else None
    return TrialRecord(
        number=trial.number,
        status=status,
        value=value if value is not None and math.isfinite(value) else None,
        overrides=attributes.get(OVERRIDES) or {},
        parameters=trial.params,
        epochs=epochs,
        values=attributes.get(VALUES) or (),
        runs=attributes.get(RUNS) or (),
        seconds=attributes.get(SECONDS),
        error=attributes.get(ERROR) or "",
        hash=attributes.get(HASH) or "",
        duplicate_of=attributes.get(DUPLICATE),
    )
