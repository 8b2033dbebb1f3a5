"""A hyperparameter search: its trials, the best of them, and what each parameter contributed."""

from __future__ import annotations

from collections.abc import Iterator, Mapping, Sequence
from pathlib import Path
from typing import Any

from musicemo import toml
from musicemo.progress import duration
from musicemo.reporting.blocks import Block, Facts, Notice, Text
from musicemo.reporting.words import plural
from musicemo.runs.search import SearchRecord, StudyRecord, TrialRecord

__all__ = ["finished_blocks", "started_line", "trial_line"]

#: Failed trials that are named one by one.
_FAILED = 5


def started_line(name: str, record: SearchRecord, jobs: int) -> Text:
    """Return a line on the trials of a search that is about to be run or continued."""
    study = record.studies[0]
    total = int(study.about["trials"])
    done = sum(len(one.finished) for one in record.studies)
    parts = [f"{plural(total, 'trial')} of {plural(int(study.about['runs']), 'run')}"]
    if len(record.studies) > 1:
        parts.append(f"for each of {len(record.studies)} outer folds")
    if done:
        parts.append(f"{done} done before")
    if jobs > 1:
        parts.append(f"{jobs} at a time")
    return Text(f": {', '.join(parts)}; {study.metric} is {_aim(study)}", lead=name)


def _aim(study: StudyRecord) -> str:
    return "maximized" if study.maximizes else "minimized"


def trial_line(trial: TrialRecord, study: StudyRecord) -> Text:
    """Return a line on a finished trial: its result, its overrides, and the best trial so far."""
    fold = "" if study.fold is None else f"fold {study.fold}, "
    if trial.status == "failed":
        result = f"failed: {trial.error}"
    elif trial.value is None:
        result = trial.status
    else:
        pruned = f", pruned after {plural(len(trial.epochs), 'epoch')}"
        result = f"{trial.value:.4f}{pruned * (trial.status == 'pruned')}"
    if trial.duplicate_of is not None:
        result += f" (same as trial {trial.duplicate_of})"
    elif trial.seconds:
        result += f", {duration(trial.seconds)}"
    best = "" if study.best is None else f"; best {study.best.value:.4f} (trial {study.best.number})"
    return Text(f": {result}; {_overrides(trial.overrides)}{best}", lead=f"{fold}trial {trial.number}")


def _overrides(overrides: Mapping[str, Any]) -> str:
    return ", ".join(f"{key} = {toml.inline(value)}" for key, value in overrides.items())


def finished_blocks(record: SearchRecord, best: Sequence[Path]) -> Iterator[Block]:
    """Yield the result of a search: the best overrides as TOML, the failed trials, and how often each set was used."""
    running = sum(len(study.of("running")) for study in record.studies)
    if running:
        yield Text(
            f"Other processes are training {plural(running, 'trial')}. Run the same command again when they are done."
        )
    for study, path in zip(record.studies, best, strict=not running):
        if study.best is None:
            continue
        fold = "" if study.fold is None else f", fold {study.fold}"
        yield Text(
            f"{fold}: trial {study.best.number}, {study.metric} {study.best.value:.4f}", lead="Best trial"
        )
        yield Text("\n" + best_toml(study.best))
        yield Facts([("Experiment", str(path))])
    yield from failed_notices(record)
    yield looks(record)


def best_toml(trial: TrialRecord) -> str:
    """Return the overrides of a trial as tables of an experiment file."""
    tables: dict[str, Any] = {}
    for key, value in trial.overrides.items():
        _merge(tables, toml.nested(key, value))
    return toml.write(tables)


def _merge(tables: dict[str, Any], others: Mapping[str, Any]) -> None:
    for name, value in others.items():
        if isinstance(value, Mapping) and isinstance(tables.get(name), dict):
            _merge(tables[name], value)
        else:
            tables[name] = value


def failed_notices(record: SearchRecord) -> Iterator[Notice]:
    """Yield a notice on the failed trials."""
    failed = [(study, trial) for study in record.studies for trial in study.of("failed")]
    if not failed:
        return
    lines = [
        f"trial {trial.number}" + ("" if study.fold is None else f" of fold {study.fold}") + f": {trial.error}"
        for study, trial in failed[:_FAILED]
    ]
    more = [f"and {len(failed) - _FAILED} more"] if len(failed) > _FAILED else []
    total = sum(len(study.trials) for study in record.studies)
    text = "\n  ".join([f"{len(failed)} of {plural(total, 'trial')} failed:", *lines, *more])
    yield Notice(text, "warning")


def looks(record: SearchRecord) -> Text:
    """Return a sentence on how often the validation set and the test set were used."""
    trials = [trial for study in record.studies for trial in study.trials]
    distinct = len(
        {(study.fold, trial.hash) for study in record.studies for trial in study.trials if trial.hash}
    )
    nested = record.studies[0].about.get("inner_folds")
    sets = "inner folds" if nested else "validation set"
    text = f"The search looked at the {sets} {_times(distinct)}, once for each of its distinct trials"
    if distinct < len(trials):
        text += f" ({len(trials)} with duplicates)"
    tested = max(len(study.tested) for study in record.studies)
    if tested == 1:
        text += ". The test set was evaluated once, for the best trial"
        text += " of each outer fold" if len(record.studies) > 1 else ""
    elif tested:
        numbers = ", ".join(map(str, max((study.tested for study in record.studies), key=len)))
        text += (
            f". The test set was evaluated {_times(tested)}, for the trials {numbers}: the search was extended after "
            "the first evaluation"
        )
    if not nested:
        text += ". The validation value of the best trial is optimistic, because it is the best of several"
    return Text(text + ".")


def _times(count: int) -> str:
    return {0: "never", 1: "once", 2: "twice"}.get(count, f"{count} times")
