"""``musicemo bench``."""

from __future__ import annotations

from collections.abc import Sequence
from pathlib import Path
from typing import TYPE_CHECKING, Annotated

import typer

from musicemo.cli._completion import complete_component, complete_launcher
from musicemo.cli._options import Only, Overrides
from musicemo.cli._output import emit, emit_blocks
from musicemo.errors import InputError
from musicemo.terminal import say

if TYPE_CHECKING:
    from musicemo.experiment import Experiment

__all__ = ["add_commands"]

_LIST = "list"


def add_commands(app: typer.Typer) -> None:
    """Add ``bench``."""
    app.command()(bench)


def _complete_protocol(incomplete: str) -> list[str]:
    return [*complete_component(incomplete, "protocol"), *([_LIST] if _LIST.startswith(incomplete) else [])]


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
    experiment: Annotated[
        Path | None,
        typer.Argument(
            metavar="[EXPERIMENT]",
            show_default=False,
            help="TOML file of an experiment that follows the protocol. Default: the protocol's own experiment.",
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
    runs: Annotated[Path, typer.Option(metavar="DIR", help="Folder of run directories.")] = Path("runs"),
    jobs: Annotated[
        int | None,
        typer.Option(
            min=1, metavar="N", help="Maximum number of runs at a time (launcher.jobs). Default: one per core."
        ),
    ] = None,
    launcher: Annotated[
        str | None,
        typer.Option(
            metavar="NAME",
            autocompletion=complete_launcher,
            help="Where the runs are executed. Overrides launcher.type. Default: local.",
            show_default=False,
        ),
    ] = None,
    resume: Annotated[
        bool | None,
        typer.Option(
            "--resume/--no-resume",
            help="Continue unfinished runs and skip finished ones. On by default for a matrix.",
            show_default=False,
        ),
    ] = None,
    device: Annotated[
        str | None,
        typer.Option(metavar="NAME", help="Device: auto, cpu, cuda, cuda:N or mps. Overrides training.device."),
    ] = None,
    show: Annotated[
        bool, typer.Option("--show", help="Print the protocol and its published results without training.")
    ] = False,
) -> None:
    """Run an experiment under a published protocol and print its results beside the published ones.

    The protocol fixes the dataset, the split, the targets and the metrics. You choose the model and the features.
    Results that are not comparable with the published ones are marked with the reason.
    """
    from musicemo.components import registry
    from musicemo.experiment import load_protocol
    from musicemo.reporting.sections.protocol import list_blocks, show_blocks

    if protocol == _LIST:
        protocols = []
        for name in dict.fromkeys(claim.name for claim in registry.claims("protocol")):
            try:
                protocols.append(load_protocol(name))
            except InputError as error:  # of one package, which is no reason to hide the others
                say("warning", "yellow", str(error))
        emit_blocks(list_blocks(protocols))
        return
    if show:
        emit_blocks(show_blocks(load_protocol(protocol)))
        return
    written = {"model.type": model, "features.type": features, "dataset.root": root}
    keys = [f"{key}={value}" for key, value in written.items() if value is not None]
    loaded = _load(protocol, experiment, [*keys, *(overrides or [])], only or [])
    from musicemo.cli._run import train

    results = train(loaded, runs, hooks=context.obj, resume=resume, device=device, jobs=jobs, launcher=launcher)
    outcomes = [(one.name, [outcome.directory for outcome in results.of(one)]) for one in loaded]
    _print([(name, directories) for name, directories in outcomes if directories])
    results.raise_failures()


def _load(name: str, file: Path | None, overrides: Sequence[str], only: Sequence[str]) -> list[Experiment]:
    """Return the experiments: those of a file, which must follow the protocol, or the protocol's own."""
    from musicemo.experiment import load_benchmark, load_experiments, load_protocol

    if file is None:
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
    experiments = load_experiments(file, overrides, only)
    followed = {one.protocol.name if one.protocol else None for one in experiments}
    if followed == {None}:
        return load_experiments(file, [*overrides, f"protocol={name}"], only)
    if others := sorted(other or "none" for other in followed - {name}):
        raise InputError(
            f"{file}: protocol is {', '.join(others)}, not {name}. Use musicemo bench {others[0]} {file}"
        )
    return experiments


def _print(experiments: Sequence[tuple[str, Sequence[Path]]]) -> None:
    """Print the results of experiments, each a name and its run directories, beside the published ones."""
    from musicemo.reporting.sections.protocol import result_blocks
    from musicemo.runs import open_run

    if experiments:
        emit("\n")
        emit_blocks(result_blocks([(name, list(map(open_run, paths))) for name, paths in experiments]))
