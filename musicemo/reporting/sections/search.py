"""A hyperparameter search: its trials, the best of them, and what each parameter contributed."""

from __future__ import annotations

import logging
import math
from collections import Counter
from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from musicemo import toml
from musicemo.comparison import Comparison
from musicemo.errors import InputError
from musicemo.progress import duration
from musicemo.reporting.blocks import (
    Block,
    Cell,
    Charts,
    Code,
    Column,
    Facts,
    Notice,
    Number,
    Section,
    Table,
    Text,
)
from musicemo.reporting.charts import MUTED, Axis, Chart, Line, Mark, Points, categories, spanning
from musicemo.reporting.words import plural
from musicemo.runs.search import SearchRecord, StudyRecord, TrialRecord, importances, read_search

__all__ = [
    "find_search",
    "finished_blocks",
    "looks",
    "search_facts",
    "search_sections",
    "searches_of",
    "started_line",
    "trial_line",
]

_log = logging.getLogger(__name__)

#: Failed trials that are named one by one.
_FAILED = 5

#: Parts of the complete trials whose lines stand out among parallel coordinates: the best tenth.
_BEST = 0.1

_STATUSES = ("complete", "pruned", "failed", "running")


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
    tested: Sequence[int] = max((study.tested for study in record.studies), key=lambda numbers: len(numbers))
    if len(tested) == 1:
        text += ". The test set was evaluated once, for the best trial"
        text += " of each outer fold" if len(record.studies) > 1 else ""
    elif tested:
        text += (
            f". The test set was evaluated {_times(len(tested))}, for the trials {', '.join(map(str, tested))}: the "
            "search was extended after the first evaluation"
        )
    if not nested:
        text += ". The validation value of the best trial is optimistic, because it is the best of several"
    return Text(text + ".")


def _times(count: int) -> str:
    return {0: "never", 1: "once", 2: "twice"}.get(count, f"{count} times")


def search_facts(record: SearchRecord) -> list[tuple[str, str]]:
    """Return the facts on a search."""
    study = record.studies[0]
    trials = [trial for one in record.studies for trial in one.trials]
    counts = {status: sum(trial.status == status for trial in trials) for status in _STATUSES}
    duplicates = sum(trial.duplicate_of is not None for trial in trials)
    about = study.about
    rows = [
        ("trials", ", ".join(f"{count} {status}" for status, count in counts.items() if count)),
        ("metric", f"{study.metric}, {_aim(study)}"),
        ("value of a trial", f"mean over {plural(int(about.get('runs', 1)), 'run')}"),
        ("sampler", str(about.get("sampler", "unknown"))),
        ("pruner", str(about.get("pruner", "unknown"))),
    ]
    if duplicates:
        rows.insert(1, ("read instead of trained", plural(duplicates, "trial") + " with earlier overrides"))
    if about.get("inner_folds"):
        rows.append(("nested cross-validation", f"{about['inner_folds']} inner folds"))
    return rows


def search_sections(record: SearchRecord, name: str = "") -> list[Section]:
    """Return the sections on a search: its result, charts of the trials, and all trials.

    Args:
        record: the search.
        name: name of the experiment, if the page shows several.
    """
    before = f"{name}: " if name else ""
    overview: list[Block] = [Facts(search_facts(record)), looks(record), *failed_notices(record)]
    tables: list[Table] = []
    sections: list[Section] = []
    for study in record.studies:
        fold = "" if study.fold is None else f", fold {study.fold}"
        if study.best:
            lead = f": trial {study.best.number}, {study.metric} {study.best.value:.4f}"
            overview.append(Text(lead, lead=f"Best trial{fold}"))
            overview.append(Code("Overrides of the best trial", best_toml(study.best)))
        charts = [*_history(study), *_importance(record, study), *_parallel(study)]
        blocks: list[Block] = [Charts(charts, note=_ranges(study))] if charts else []
        if slices := list(_slices(study)):
            blocks.append(Charts(slices, "Slices", "Value of each complete trial by one parameter."))
        sections.append(Section(f"{before}Trials{fold}", blocks))
        tables.append(_trials(study, f"Trials{fold}"))
    return [
        Section(f"{before}Search", overview),
        *(section for section in sections if section.blocks),
        Section(f"{before}All trials", tables),
    ]


def find_search(folder: Path) -> SearchRecord | None:
    """Return the search of an experiment's folder; None if it has none, or with a warning if it cannot be read."""
    try:
        return read_search(folder)
    except InputError as error:
        _log.warning(f"{folder}: its search is not shown: {error}")
        return None


def searches_of(comparison: Comparison) -> dict[str, SearchRecord]:
    """Return the searches of the compared experiments whose folders have one, by the experiments' names."""
    searches = {}
    for experiment in comparison.experiments:
        record = experiment.records[0]
        if record.results.get("search") and (search := find_search(record.directory.parent)):
            searches[experiment.name] = search
    return searches


def _complete(study: StudyRecord) -> list[TrialRecord]:
    return [trial for trial in study.of("complete") if trial.value is not None]


def _names(study: StudyRecord) -> dict[str, str]:
    """Return the name of each parameter -> a short name: the last part of its key, and the choice it depends on.

    Parameters of which all trials have the same value are left out.
    """
    values: dict[str, set[Any]] = {}
    for trial in study.trials:
        for name, value in trial.parameters.items():
            values.setdefault(name, set()).add(value)
    names = [name for name, some in values.items() if len(some) > 1]
    short = {}
    for name in names:
        key, _, condition = name.partition(" (")
        choice = condition.rpartition(" = ")[2].rstrip(")")
        short[name] = key.rpartition(".")[2] + (f" ({choice})" if choice else "")
    counts = Counter(short.values())
    return {name: one if counts[one] == 1 else name for name, one in short.items()}


def _history(study: StudyRecord) -> Iterator[Chart]:
    """Yield the value of every trial, and the best value so far."""
    trials = _complete(study)
    if not trials:
        return
    best = max if study.maximizes else min
    values = [trial.value or 0.0 for trial in trials]
    so_far = [best(values[: place + 1]) for place in range(len(values))]
    numbers = [float(trial.number) for trial in trials]
    pruned = [trial for trial in study.of("pruned") if trial.value is not None]
    marks: list[Mark] = [
        Points(numbers, values, "complete", titles=[_title(trial) for trial in trials]),
        Line(numbers, so_far, "best so far", colour=1),
    ]
    if pruned:
        of_pruned = [trial.value for trial in pruned]
        titles = [_title(trial) for trial in pruned]
        marks.append(Points([float(one.number) for one in pruned], of_pruned, "pruned", MUTED, titles=titles))
    every = [*values, *(trial.value or 0.0 for trial in pruned)]
    yield Chart(
        "History",
        Axis(-0.5, max(len(study.trials) - 0.5, 0.5), "trial", whole=True),
        spanning(every, study.metric),
        marks,
        f"{study.metric} of {len(trials)} trials; the best is {so_far[-1]:.4f}",
    )


def _title(trial: TrialRecord) -> str:
    return f"trial {trial.number}: {trial.value:.4f}; {_overrides(trial.overrides)}"


def _importance(record: SearchRecord, study: StudyRecord) -> Iterator[Chart]:
    """Yield the share of each parameter in the variance of the values."""
    shares = importances(record, study)
    if not shares:
        return
    names = _names(study)
    ordered = sorted(set(shares) & set(names), key=lambda name: (-shares[name], name))
    places = [float(place) for place in range(len(ordered))]
    bars = [
        Line([0.0, shares[name]], [place, place], colour=0) for place, name in zip(places, ordered, strict=True)
    ]
    ends = Points(
        [shares[name] for name in ordered], places, titles=[f"{shares[name]:.0%}" for name in ordered]
    )
    yield Chart(
        "Importance",
        Axis(0.0, 1.0, "share of the variance"),
        categories([names[name] for name in ordered]),
        [*bars, ends],
        ", ".join(f"{names[name]} {shares[name]:.0%}" for name in ordered),
        downwards=True,
    )


def _parallel(study: StudyRecord) -> Iterator[Chart]:
    """Yield the trials as lines through their values of all parameters."""
    trials, names = [trial for trial in study.ranked if trial.status == "complete"], _names(study)
    if len(trials) < 2 or len(names) < 2:
        return
    scales = {name: _Scale.of([trial.parameters.get(name) for trial in trials]) for name in names}
    values = _Scale.of([trial.value for trial in trials])
    count = max(1, round(_BEST * len(trials)))
    x = [float(place) for place in range(len(names) + 1)]
    lines = []
    for rank, trial in reversed(list(enumerate(trials))):
        places = [
            *(scales[name].place(trial.parameters.get(name)) for name in names),
            values.place(trial.value),
        ]
        points = [(at, one) for at, one in zip(x, places, strict=True) if one is not None]  # of the keys it has
        best = rank < count
        label = "others" if rank == count else ""
        if rank == 0:
            label = "best" if count == 1 else f"best {count}"
        at, heights = zip(*points, strict=True)
        lines.append(Line(at, heights, label, 1 if best else MUTED, faint=not best))
    yield Chart(
        "Parallel coordinates",
        categories([*names.values(), study.metric.removeprefix("val/")]),
        Axis(-0.05, 1.05, named=[(0.0, "low"), (1.0, "high")]),
        lines,
        f"{len(trials)} trials by the values of {len(names)} parameters",
    )


@dataclass(frozen=True)
class _Scale:
    """Places of the values of a parameter between 0 and 1: numbers by size, texts in their order."""

    low: float = 0.0
    high: float = 1.0
    log: bool = False
    texts: Sequence[str] = ()

    @classmethod
    def of(cls, values: Sequence[Any]) -> _Scale:
        present = [value for value in values if value is not None]
        if any(isinstance(value, str) for value in present):
            return cls(texts=sorted({str(value) for value in present}, key=_by_size))
        axis = spanning(present, log=True)
        return cls(min(present), max(present), axis.log)

    def place(self, value: Any) -> float | None:
        """Return the place of a value; None for the value of a parameter that a trial does not have."""
        if value is None:
            return None
        if self.texts:
            return self.texts.index(str(value)) / max(len(self.texts) - 1, 1)
        if self.low == self.high:
            return 0.5
        return Axis(self.low, self.high, log=self.log).place(float(value))

    def __str__(self) -> str:
        return ", ".join(self.texts) if self.texts else f"{self.low:g} to {self.high:g}" + " (log)" * self.log


def _by_size(text: str) -> tuple[float, str]:
    """Return a sort key of texts of which some are numbers."""
    try:
        return float(text), text
    except ValueError:
        return math.inf, text


def _ranges(study: StudyRecord) -> str:
    """Return what low and high mean for each parameter."""
    trials = _complete(study)
    if len(trials) < 2:
        return ""
    parts = [
        f"{name}: {_Scale.of([trial.parameters.get(name) for trial in trials])}"
        for name in _names(study)
        if any(name in trial.parameters for trial in trials)
    ]
    return (
        "Importance is the share of the values' variance that a parameter explains (functional analysis of variance); "
        "parameters of only some choices are left out. Parallel coordinates, from low to high: "
        + "; ".join(parts)
    )


def _slices(study: StudyRecord) -> Iterator[Chart]:
    """Yield the values of the trials by each parameter."""
    for name, short in _names(study).items():
        trials = [trial for trial in _complete(study) if name in trial.parameters]
        if not trials:
            continue
        values = [trial.parameters[name] for trial in trials]
        scale = _Scale.of(values)
        if scale.texts:
            x = categories(scale.texts)
            places = [float(scale.texts.index(str(value))) for value in values]
        else:
            x, places = spanning(values, name, log=True), [float(value) for value in values]
        of_trials = [trial.value for trial in trials]
        points = Points(places, of_trials, titles=[_title(trial) for trial in trials])
        yield Chart(short, x, spanning(of_trials, study.metric), [points], name=f"slice {name}")


def _trials(study: StudyRecord, title: str) -> Table:
    """Return the table of all trials, the best first."""
    names = _names(study)
    rows: list[list[Cell]] = []
    for trial in study.ranked:
        status = (
            trial.status if trial.duplicate_of is None else f"{trial.status}, as trial {trial.duplicate_of}"
        )
        seconds = "" if trial.seconds is None else duration(trial.seconds)
        cells = [_cell(trial.parameters.get(name)) for name in names]
        rows.append([str(trial.number), status, Number(trial.value, format=".4f"), seconds, *cells])
    columns: list[str | Column] = ["trial", Column("status", text=True), study.metric, "time", *names.values()]
    return Table(columns, rows, title, detail=True)


def _cell(value: Any) -> str:
    return "" if value is None else value if isinstance(value, str) else f"{value:.4g}"
