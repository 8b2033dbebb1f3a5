"""The table ``[distillation]``: a teacher whose predictions a network learns beside the labels."""

from __future__ import annotations

from typing import Any

from pydantic import Field

from musicemo import toml
from musicemo.errors import InputError, nearest
from musicemo.settings import Settings

__all__ = ["TEACHER_TABLES", "DistillationSettings", "inline_teacher", "teacher_source"]

#: Tables in which a teacher may differ from the network that learns from it.
TEACHER_TABLES = ("features", "scaling", "model")
#: Keys of the network's experiment that do not concern a model which is fitted in one go.
_OF_NETWORKS = (
    *("seed", "seeds", "augment", "head", "losses", "sharing", "weighting", "training", "transfer"),
    *("distillation", "ensemble", "plugins", "pretraining", "protocol"),
)
_KEY = ("distillation", "teacher")


class DistillationSettings(Settings):
    """The table ``[distillation]``."""

    teacher: str | dict[str, Any]
    """Experiment file, relative to this one, whose model, features and scaling the teacher has; or a table with the
    tables ``model``, ``features`` and ``scaling``. Tables that are missing are those of this experiment.
    """
    weight: float = Field(default=0.5, ge=0, le=1)
    """Share of the teacher's predictions in the loss of each task. The labels have the rest."""
    folds: int = Field(default=5, ge=2)
    """Number of inner folds of the training set: each track is predicted by a teacher that was not fitted to it."""


def inline_teacher(source: toml.Source) -> None:
    """Replace the file of a teacher by the tables in it.

    Raises:
        InputError: the file does not exist, cannot be read, or has several experiments.
    """
    table = source.table.get("distillation")
    if not isinstance(table, dict) or not isinstance(name := table.get("teacher"), str):
        return
    path = source.origin(_KEY).folder / name
    if not path.is_file():
        raise InputError(source.error(_KEY, f"there is no file {path}"))
    teacher = toml.read(path, [])
    if several := [key for key in ("matrix", "search") if key in teacher.table]:
        raise InputError(source.error(_KEY, f"{path} has [{several[0]}], but must be a single experiment"))
    tables = {key: teacher.table[key] for key in TEACHER_TABLES if key in teacher.table}
    written = source.origin(_KEY)
    source.lay(
        {"distillation": {"teacher": tables}},
        lambda key: teacher.origin(key[2:]) if len(key) > 2 else written,
    )


def teacher_source(source: toml.Source) -> toml.Source:
    """Return the tables of the teacher of an experiment: the same with another model, and other features and scaling.

    Raises:
        InputError: the teacher is not a table, has no model, or has a key that a teacher cannot have.
    """
    teacher = source.table["distillation"]["teacher"]
    if unknown := [key for key in teacher if key not in TEACHER_TABLES]:
        listed = ", ".join(TEACHER_TABLES)
        text = f"unknown key{nearest(unknown[0], TEACHER_TABLES)} (allowed: {listed})"
        raise InputError(source.error((*_KEY, unknown[0]), text))
    if "model" not in teacher:
        raise InputError(source.error(_KEY, "has no model"))
    merged = source.copy()
    for name in (*_OF_NETWORKS, *teacher):
        merged.drop(name)
    merged.lay(teacher, lambda key: source.origin((*_KEY, *key)))
    for task in merged.table.get("tasks", {}).values():
        if isinstance(task, dict):
            for name in ("loss", "head"):
                task.pop(name, None)
    return merged
