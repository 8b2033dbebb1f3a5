"""``musicemo bench``."""

from __future__ import annotations

from collections.abc import Sequence
from enum import StrEnum
from pathlib import Path
from typing import TYPE_CHECKING, Annotated

import typer

from musicemo.cli._completion import complete_component, complete_experiment, complete_run
from musicemo.cli._options import Jobs, LauncherName, Only, Overrides, Resume, RunDevice, RunsFolder
from musicemo.cli._output import emit, emit_blocks
from musicemo.errors import InputError
from musicemo.terminal import say

if TYPE_CHECKING:
    from musicemo.experiment import Experiment
    from musicemo.reporting.blocks import Block
    from musicemo.runs import RunRecord

__all__ = ["add_commands"]

_LIST = "list"


class Form(StrEnum):
    """Output format of a protocol's table."""

    table = "table"
    markdown = "markdown"
    latex = "latex"


def add_commands(app: typer.Typer) -> None:
    """Add ``bench``."""
    app.command()(bench)


def _complete_protocol(incomplete: str) -> list[str]:
    return [*complete_component(incomplete, "protocol"), *([_LIST] if _LIST.startswith(incomplete) else [])]


def _complete_experiment_or_run(incomplete: str) -> list[str]:
    return [*complete_experiment(incomplete), *complete_run(incomplete)]


def _complete_model(incomplete: str) -> list[str]:
    return complete_component(incomplete, "model")


def _complete_features(incomplete: str) -> list[str]:
    return complete_component(incomplete, "features")


def bench(
    context: typer.Context,
    protocol: Annotated[
        str,
        typer.Argument(
            metavar="PROTOCOL",
            show_default=False,
            autocompletion=_complete_protocol,
            help="Name of a protocol, or `list` for a table of all.",
        ),
    ],
    experiments: Annotated[
        list[Path] | None,
        typer.Argument(
            metavar="[EXPERIMENT...]",
            show_default=False,
            autocompletion=_complete_experiment_or_run,
            help="TOML files of experiments that follow the protocol, or run directories and experiments' folders, "
            "whose results are printed without training. Default: the protocol's own experiment.",
        ),
    ] = None,
    model: Annotated[
        str | None,
        typer.Option(
            metavar="NAME", autocompletion=_complete_model, help="Model: model.type.", show_default=False
        ),
    ] = None,
    features: Annotated[
        str | None,
        typer.Option(
            metavar="NAME",
            autocompletion=_complete_features,
            help="Feature extractor: features.type. Default: mel-chroma.",
            show_default=False,
        ),
    ] = None,
    root: Annotated[
        Path | None,
        typer.Option(metavar="DIR", help="Folder of the dataset: dataset.root.", show_default=False),
    ] = None,
    overrides: Overrides = None,
    only: Only = None,
    runs: RunsFolder = Path("runs"),
    jobs: Jobs = None,
    launcher: LauncherName = None,
    resume: Resume = None,
    device: RunDevice = None,
    show: Annotated[
        bool, typer.Option("--show", help="Print the protocol and its published results without training.")
    ] = False,
    dry_run: Annotated[
        bool,
        typer.Option("--dry-run", help="Check the protocol and list the runs, without training."),
    ] = False,
    form: Annotated[
        Form, typer.Option("--format", help="Output format, with --show, `list` or finished runs.")
    ] = Form.table,
) -> None:
    """Run an experiment under a published protocol.

    Its results are printed beside the published ones.
    The protocol fixes the dataset, the split, the targets and the metrics. You choose the model and the features.
    Results that are not comparable with the published ones are marked with the reason.
    """
    from musicemo.components import registry
    from musicemo.experiment import load_protocol
    from musicemo.reporting.sections.protocol import list_blocks, result_blocks, show_blocks

    folders = [path for path in experiments or [] if path.is_dir()]
    if protocol == _LIST:
        protocols = []
        for name in dict.fromkeys(claim.name for claim in registry.claims("protocol")):
            try:
                protocols.append(load_protocol(name))
            except InputError as error:  # of one package, which is no reason to hide the others
                say("warning", "yellow", str(error))
        _emit(list_blocks(protocols), form)
    elif show:
        _emit(show_blocks(load_protocol(protocol)), form)
    elif folders:
        if others := [path for path in experiments or [] if path not in folders]:
            raise InputError(
                f"{others[0]}: is not a folder of runs, as {folders[0]} is. Print one kind at a time"
            )
        _emit(result_blocks(_read(protocol, folders)), form)
    else:
        if form != Form.table:
            raise InputError(
                f"--format {form}: is for results without training. Train first, then use musicemo bench {protocol} "
                f"RUN --format {form}"
            )
        written = {"model.type": model, "features.type": features, "dataset.root": root}
        keys = [f"{key}={value}" for key, value in written.items() if value is not None]
        loaded = _load(protocol, experiments or [], [*keys, *(overrides or [])], only or [])
        from musicemo.cli._run import preview, train
        from musicemo.runs import open_run

        if dry_run:
            preview(loaded, runs, device, 0, jobs, launcher)
            return

        results = train(
            loaded, runs, hooks=context.obj, resume=resume, device=device, jobs=jobs, launcher=launcher
        )
        finished: dict[Path, list[RunRecord]] = {}
        for outcome in results:  # those of a search are of the experiment that it chose
            finished.setdefault(outcome.directory.parent, []).append(open_run(outcome.directory))
        if finished:
            emit("\n")
            emit_blocks(result_blocks([(records[0].name, records) for records in finished.values()]))
        results.raise_failures()


def _emit(blocks: Sequence[Block], form: Form) -> None:
    from musicemo.reporting import latex, markdown

    if form == Form.table:
        emit_blocks(blocks)
    else:
        emit((markdown if form == Form.markdown else latex).render(blocks))


def _read(name: str, folders: Sequence[Path]) -> Sequence[tuple[str, Sequence[RunRecord]]]:
    """Return the name and the finished runs of each experiment, which must have followed the protocol."""
    from musicemo.runs import open_replicates

    experiments = []
    for folder in folders:
        records = open_replicates(folder)
        for record in records:
            if (followed := (record.results.get("protocol") or {}).get("name")) != name:
                text = (
                    f"followed the protocol {followed!r}, not" if followed else "does not follow the protocol"
                )
                raise InputError(f"{record.directory}: the run {text} {name!r}")
        experiments.append((records[0].name, records))
    return experiments


def _load(name: str, files: Sequence[Path], overrides: Sequence[str], only: Sequence[str]) -> list[Experiment]:
    """Return the experiments: those of files, which must follow the protocol, or the protocol's own."""
    from musicemo.experiment import load_benchmark, load_experiments, load_protocol

    if not files:
        try:
            return load_benchmark(name, overrides, only)
        except InputError as error:
            if not any(problem.endswith("dataset.root: is required") for problem in error.problems):
                raise
            dataset = load_protocol(name).dataset
            raise InputError(
                f"--root DIR is required: the folder of the dataset {dataset!r}. `musicemo data --cite {dataset}` "
                "prints its source"
            ) from error
    loaded: list[Experiment] = []
    for file in files:
        variants = load_experiments(file, overrides, only)
        followed = {one.protocol.name if one.protocol else None for one in variants}
        if followed == {None}:
            variants = load_experiments(file, [*overrides, f"protocol={name}"], only)
        elif others := sorted(other or "none" for other in followed - {name}):
            raise InputError(
                f"{file}: protocol is {', '.join(others)}, not {name}. Use musicemo bench {others[0]} {file}"
            )
        loaded += variants
    return loaded
