"""``musicemo evaluate``."""

from __future__ import annotations

from enum import StrEnum
from typing import Annotated

import typer

from musicemo.cli._options import Device, Format, FormatOption, Output, Overrides, TrainedRuns, TrustLocalCode
from musicemo.cli._output import prints_data

__all__ = ["add_commands"]


class EvaluatedSet(StrEnum):
    """Tracks to evaluate on."""

    train = "train"
    val = "val"
    test = "test"
    all = "all"


def add_commands(app: typer.Typer) -> None:
    """Add ``evaluate``."""
    app.command()(evaluate)


@prints_data
def evaluate(
    run: TrainedRuns,
    part: Annotated[
        EvaluatedSet | None,
        typer.Option(
            help="Tracks to evaluate on. Default: test, or all labeled tracks if --set names another dataset."
        ),
    ] = None,
    overrides: Overrides = None,
    form: FormatOption = Format.table,
    output: Output = None,
    device: Device = "auto",
    trust: TrustLocalCode = False,
) -> None:
    """Evaluate a trained run again, or on another dataset.

    The best checkpoint is evaluated. To evaluate on other data, use --set dataset.root=FOLDER for a folder of the same
    dataset type, --set dataset.type=NAME with the keys of that type for another dataset, and
    --set tasks.TASK.target=NAME if a target has another name there.
    """
    from musicemo.cli._output import check_output, emit, emit_blocks, emit_json
    from musicemo.prediction import TrainedEnsemble, evaluate_ensemble, evaluate_run, find_trained
    from musicemo.reporting.sections.songs import evaluation_blocks
    from musicemo.reporting.tabular import evaluations_csv, evaluations_json
    from musicemo.training import choose_device

    check_output(output)
    name = part.value if part else None
    evaluations = [
        evaluate_ensemble(one, overrides=overrides or [], part=name)
        if isinstance(one, TrainedEnsemble)
        else evaluate_run(one, overrides=overrides or [], part=name)
        for one in find_trained(run, choose_device(device), trust_local_code=trust)
    ]
    if form == Format.json:
        emit_json(evaluations_json(evaluations), output)
    elif form == Format.csv:
        emit(evaluations_csv(evaluations), output)
    else:
        emit_blocks(evaluation_blocks(evaluations), output)
