"""The experiment, its data and its environment: sections of every run, however it ended."""

from __future__ import annotations

import shlex
from collections.abc import Iterator, Mapping, Sequence
from datetime import UTC
from typing import Any

from musicemo.progress import duration
from musicemo.reporting.blocks import Block, Cell, Code, Column, Facts, Label, Notice, Section, Table
from musicemo.reporting.words import SETS, plural, scale
from musicemo.runs import RunRecord

#: Settings that have no effect on a model that is fitted in one go.
_OF_NETWORKS = ("sharing", "weighting", "optimizer", "batch size", "maximum epochs", "best epoch by")

__all__ = ["environment", "headline", "notices", "setup", "value_text"]


def headline(runs: Sequence[RunRecord]) -> list[tuple[str, str]]:
    """Return the facts at the top of the page."""
    first = runs[0]
    results = first.results
    facts = []
    if len(runs) == 1:
        if first.started:
            facts.append(("started", first.started.astimezone(UTC).strftime("%Y-%m-%d %H:%M UTC")))
        facts.append(("seed", str(results.get("seed", "unknown"))))
        if results.get("fold") is not None:
            facts.append(("fold", str(results["fold"])))
        if "best_epoch" in results and not first.fitted:
            facts.append(("best epoch", f"{results['best_epoch']} of {results.get('epochs', 'unknown')}"))
        elif first.history:
            facts.append(("epochs so far", str(first.history[-1].get("epoch", len(first.history)))))
    else:
        seeds = sorted({run.seed for run in runs})
        folds = {run.fold for run in runs} - {None}
        facts.append(
            (
                "seed" if len(seeds) == 1 else "seeds",
                ", ".join(map(str, seeds)) if len(seeds) <= 8 else str(len(seeds)),
            )
        )
        if folds:
            facts.append(("folds", str(len(folds))))
    values: dict[str, dict[str, None]] = {}  # of several: outer folds of a search, each with its best trial
    for run in runs:
        for axis, value in (run.results.get("variant") or {}).items():
            values.setdefault(str(axis), {})[str(value)] = None
    facts += [(axis, ", ".join(some)) for axis, some in values.items()]
    if parameters := results.get("parameters"):
        facts.append(("parameters", f"{parameters:,}"))
    seconds = [(run.results.get("durations") or {}).get("training") for run in runs]
    durations = [value for value in seconds if value is not None]
    if durations:
        facts.append(("training time" if len(runs) == 1 else "training time in all", duration(sum(durations))))
    if device := first.environment.get("device"):
        facts.append(("device", str(device)))
    return facts


def notices(runs: Sequence[RunRecord]) -> Iterator[Notice]:
    """Yield the errors and warnings of the runs."""
    for run in runs:
        of = f"{run.directory.name}: " if len(runs) > 1 else ""
        error = str(run.results.get("error") or "")
        if run.status == "failed":
            yield Notice(f"{of}the run failed: {error or 'no reason was recorded'}", "error", _traceback(run))
        elif stopped := run.results.get("stopped"):
            yield Notice(
                f"{of}a plugin stopped the training after epoch {stopped['epoch']}: {stopped['reason']}; musicemo run "
                "--resume continues it",
                "warning",
            )
        elif run.status.startswith("interrupted"):
            how = ": its process ended without recording a reason" if run.status != "interrupted" else ""
            yield Notice(f"{of}the run was interrupted{how}; musicemo run --resume continues it", "warning")
        elif run.status != "done":
            yield Notice(
                f"{of}the run is not finished (status: {run.status}); this page shows the results so far",
                "warning",
            )
        if overfit := run.results.get("overfit_batches"):
            yield Notice(
                f"{of}a check that the network can memorize {plural(overfit, 'batch')}: training and evaluation used "
                "the same tracks",
                "warning",
            )
        for problem in run.problems:
            yield Notice(f"{of}{problem}", "warning")
    for text, names in _warnings(runs).items():
        of = f" ({', '.join(names)})" if len(names) < len(runs) else ""
        yield Notice(f"{text}{of}", "warning")


def _traceback(run: RunRecord) -> str:
    try:
        return (run.directory / "error.txt").read_text(encoding="utf-8", errors="replace")
    except OSError:
        return ""


def _warnings(runs: Sequence[RunRecord]) -> dict[str, list[str]]:
    texts: dict[str, list[str]] = {}
    for run in runs:
        for text in run.results.get("warnings") or ():
            texts.setdefault(str(text), []).append(run.directory.name)
    return texts


def setup(runs: Sequence[RunRecord]) -> Section:
    """Return the section on the experiment: data, split, tasks, and the file."""
    run = runs[0]
    experiment = run.experiment
    fitted = run.fitted or "ensemble" in run.results
    rows = [row for row in _choices(experiment) if row[1] and not (fitted and row[0] in _OF_NETWORKS)]
    blocks: list[Block] = [Facts(rows)] if rows else []
    if run.tasks:
        tasks = [[name, *_task(name, task, experiment)] for name, task in run.tasks.items()]
        columns = ["task", "kind", "target", "scale or classes", "loss"]
        if fitted:  # by a criterion of the model's own
            columns, tasks = columns[:-1], [row[:-1] for row in tasks]
        blocks.append(Table([Column(name, text=True) for name in columns], tasks))
    blocks += _members(run)
    blocks += _split(runs)
    if run.toml:
        blocks.append(Code("The resolved experiment: `musicemo run` with this file repeats the run", run.toml))
    return Section("Experiment", blocks)


def _members(run: RunRecord) -> Iterator[Block]:
    """Yield the members of an ensemble, with the sum of the weights of their runs."""
    members = (run.results.get("ensemble") or {}).get("members", [])
    names = dict.fromkeys(member["name"] for member in members)
    total = sum(member["weight"] for member in members)
    rows = []
    for name in names:
        runs = [member for member in members if member["name"] == name]
        share = sum(member["weight"] for member in runs) / total
        rows.append([name, ", ".join(str(member["seed"]) for member in runs), f"{share:.3f}"])
    if rows:
        title = "Members of the ensemble, and their shares of the mean"
        yield Table([Column("member", text=True), "seeds", "share"], rows, title)


def _choices(experiment: Mapping[str, Any]) -> Iterator[tuple[str, str]]:
    tables = {
        name: experiment.get(name) or {}
        for name in ("dataset", "model", "sharing", "weighting", "split", "training")
    }
    streams = experiment.get("features")
    for name, table in [
        ("dataset", tables["dataset"]),
        *(("features", stream) for stream in (streams if isinstance(streams, list) else [streams])),
        ("model", tables["model"]),
        ("sharing", tables["sharing"]),
        ("weighting", tables["weighting"]),
    ]:
        yield name, _listed(table if isinstance(table, dict) else {})
    for table in experiment.get("augment") or ():
        yield "augment", _listed(table)
    if (transfer := experiment.get("transfer")) and isinstance(transfer, dict):
        yield "transfer", _listed(transfer)
    if (pretraining := experiment.get("pretraining")) and isinstance(pretraining, dict):
        yield "pretraining", _listed(pretraining)
    split, training = tables["split"], tables["training"]
    yield "split", str(split.get("method", ""))
    yield "optimizer", _listed(training.get("optimizer") or {})
    yield "batch size", str(training.get("batch_size", ""))
    yield "maximum epochs", str(training.get("epochs", ""))
    stopping = training.get("early_stopping") or {}
    yield "best epoch by", str(stopping.get("monitor", ""))


def _listed(table: Mapping[str, Any]) -> str:
    """Return a component's name, then its parameters."""
    shown = {key: value_text(value) for key, value in table.items() if key != "type"}
    rest = [f"{key} {text}" for key, text in shown.items() if text]
    return "; ".join([str(table["type"]), *rest] if "type" in table else rest)


def value_text(value: Any) -> str:
    """Return a value of a TOML file in words: no brackets or quotation marks but of nested lists."""
    if isinstance(value, dict):
        return ", ".join(f"{name} {value_text(inner)}" for name, inner in value.items() if inner is not None)
    if isinstance(value, list):
        return ", ".join(
            f"({value_text(one)})" if isinstance(one, list | dict) else value_text(one) for one in value
        )
    if isinstance(value, bool):
        return "yes" if value else "no"
    return "" if value is None else f"{value:g}" if isinstance(value, float) else str(value)


def _task(name: str, task: Mapping[str, Any], experiment: Mapping[str, Any]) -> list[str]:
    table = (experiment.get("tasks") or {}).get(name) or {}
    losses = table.get("loss") or []
    terms = []
    for loss in losses if isinstance(losses, list) else [losses]:
        weight = loss.get("weight", 1)
        terms.append(f"{loss.get('type')}" if weight == 1 else f"{weight:g} {loss.get('type')}")
    what = ", ".join(task.get("classes") or ()) or scale(task)
    return [str(task["kind"]), str(task.get("target") or name), what, " + ".join(terms)]


def _split(runs: Sequence[RunRecord]) -> Iterator[Block]:
    by_fold = {run.results.get("fold"): run for run in reversed(runs) if run.split}
    parts = [part for part in SETS if any(run.split.get(part) for run in by_fold.values())]
    rows: list[list[Cell]] = []
    for fold, run in sorted(by_fold.items(), key=lambda item: -1 if item[0] is None else item[0]):
        hashes = run.split.get("hash") or {}
        sets = [Label(str(len(run.split.get(part, []))), note=str(hashes.get(part, ""))[:12]) for part in parts]
        rows.append(["tracks" if fold is None else f"fold {fold}", *sets])
    if parts:
        method = (runs[0].experiment.get("split") or {}).get("method", "")
        title = f"Split: {method}" if method else "Split"
        note = "Below the numbers of tracks: hashes of the tracks' ids. Runs with equal hashes have the same split."
        yield Table(["", *(SETS[part] for part in parts)], rows, title, note)


def environment(runs: Sequence[RunRecord]) -> Section:
    """Return the section on the run directories, versions and devices."""
    recorded: Mapping[str, Any] = next((run.environment for run in runs if run.environment), {})
    if isinstance(command := recorded.get("command"), list):
        recorded = {**recorded, "command": shlex.join(map(str, command))}
    rows = [
        (name.replace("_", " "), text)
        for name, value in recorded.items()
        if name != "started" and (text := value_text(value))  # each run has its time, in its name
    ]
    columns: list[str | Column] = [
        "run",
        "seed",
        "fold",
        Column("status", text=True),
        "training",
        "epochs",
        "best",
    ]
    cells = [_row(run) for run in runs]
    if all(run.fitted for run in runs):
        columns, cells = columns[:-2], [row[:-2] for row in cells]
    return Section("Environment", [Table(columns, cells, "Run directories"), Facts(rows)], folded=True)


def _row(run: RunRecord) -> list[str]:
    results = run.results
    seconds = (results.get("durations") or {}).get("training")
    fold = results.get("fold")
    return [
        run.directory.name,
        str(results.get("seed", "")),
        "" if fold is None else str(fold),
        run.status,
        "" if seconds is None else duration(seconds),
        str(results.get("epochs", len(run.history))),
        str(results.get("best_epoch", "")),
    ]
