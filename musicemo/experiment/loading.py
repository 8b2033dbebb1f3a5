"""From an experiment file to its experiments, and every error in it."""

from __future__ import annotations

from collections.abc import Sequence
from pathlib import Path
from typing import Any

from pydantic import ValidationError

from musicemo import toml
from musicemo.components.local import Policy
from musicemo.components.lookup import Components, describe_problem
from musicemo.components.spec import Component
from musicemo.errors import InputError
from musicemo.experiment.datasets import JointDataset, find_members
from musicemo.experiment.experiment import Experiment
from musicemo.experiment.matrix import expand, in_variants
from musicemo.experiment.schema import DEFAULT_LOSSES, DEFAULT_OPTIMIZER, DEFAULT_WEIGHTING, ExperimentTable
from musicemo.settings import validate

__all__ = ["load_experiment", "load_experiments", "validate_experiment"]


def load_experiments(
    file: Path, overrides: Sequence[str] = (), only: Sequence[str] = (), *, local_code: Policy = "execute"
) -> list[Experiment]:
    """Read, merge and validate an experiment file: an experiment, or each variant of its matrix.

    Args:
        file: the experiment file.
        overrides: ``KEY=VALUE``, laid over every variant.
        only: ``AXIS=VALUE``, which variants to return.
        local_code: what is done with files of code that it names; ``read`` gives an experiment only to look at.

    Raises:
        InputError: with every error, each with its file, line and key.
    """
    variants = expand(toml.read(file, []), overrides, file.stem, only)
    loaded: list[Experiment] = []
    #: Problem -> the variants that have it.
    problems: dict[str, list[str]] = {}
    for source in variants:
        try:
            loaded.append(validate_experiment(source, local_code=local_code))
        except InputError as error:
            for problem in dict.fromkeys(error.problems):
                problems.setdefault(problem, []).append(str(source.table["name"]))
    if problems:
        raise InputError(*(in_variants(text, names, len(variants)) for text, names in problems.items()))
    return loaded


def load_experiment(
    file: Path, overrides: Sequence[str] = (), only: Sequence[str] = (), *, local_code: Policy = "execute"
) -> Experiment:
    """Read, merge and validate the file of one experiment; see `load_experiments`.

    Raises:
        InputError: with every error, each with its file, line and key; or more than one variant is left.
    """
    first, *others = load_experiments(file, overrides, only, local_code=local_code)
    if others:
        raise InputError(
            f"{file}: its matrix has {1 + len(others)} variants, {first.name} to {others[-1].name}; choose one with "
            + " ".join(f"--only {axis}=VALUE" for axis in first.variant)
        )
    return first


def validate_experiment(source: toml.Source, *, local_code: Policy = "execute") -> Experiment:
    """Return the experiment of one variant's tables, which is what another process is sent of an experiment.

    Raises:
        InputError: with every error, each with its file, line and key.
    """
    source.table.setdefault("name", source.file.stem)
    training = source.table.get("training")
    optimizer = training.get("optimizer") if isinstance(training, dict) else None
    if isinstance(optimizer, dict):
        optimizer.setdefault("type", DEFAULT_OPTIMIZER)
    problems: list[str] = []
    schema: ExperimentTable | None = None
    try:
        schema = validate(ExperimentTable, source.table)  # type: ignore[assignment]  # of the class given
    except ValidationError as error:
        own = ["extends", "matrix"]
        problems += [describe_problem(source, (), ExperimentTable, details, own) for details in error.errors()]
    components = Components(source, problems, local_code=local_code)
    dataset: Component | JointDataset | None
    if schema is not None and isinstance(schema.dataset, list):
        dataset = find_members(components, source, problems, schema.split)
    else:
        dataset = components.find("dataset", ("dataset",))
    model = components.find("model", ("model",))
    weighting = components.find("weighting", ("weighting",), DEFAULT_WEIGHTING)
    losses = {
        name: list(components.losses(("tasks", name, "loss"))) for name in _tables(source.table.get("tasks"))
    }
    kinds = source.table.get("losses")
    default_losses = {
        kind: list(components.losses(("losses", kind), kind))
        for kind in DEFAULT_LOSSES
        if isinstance(kinds, dict) and kind in kinds
    }
    if problems or schema is None or dataset is None or model is None or weighting is None:
        raise InputError(*dict.fromkeys(problems))
    return Experiment(
        name=schema.name,
        description=schema.description,
        seeds=schema.seeds or [schema.seed or 0],
        dataset=dataset,
        split=schema.split,
        scaling=schema.scaling,
        model=model,
        tasks=schema.tasks,
        heads={name: task.head or schema.head for name, task in schema.tasks.items()},
        losses=losses,
        default_losses=default_losses,
        weighting=weighting,
        training=schema.training,
        transfer=schema.transfer,
        evaluation=schema.evaluation,
        source=source,
        code=tuple(components.code),
    )


def _tables(value: Any) -> list[str]:
    """Return the names of the tables in a table; anything else is the schema's to report."""
    return [name for name, table in value.items() if isinstance(table, dict)] if isinstance(value, dict) else []
