"""Description of the inputs and outputs of a trained network, as stored in a checkpoint."""

from __future__ import annotations

import dataclasses
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from typing import Any, Literal

import numpy as np

from musicemo.data.features import Features, rows_numbers
from musicemo.data.splits import Split
from musicemo.data.tasks import Task
from musicemo.data.tracks import Tracks
from musicemo.errors import InputError
from musicemo.features import Recipe

__all__ = ["Description", "describe"]


@dataclass(frozen=True)
class Description:
    """Everything that a prediction needs in addition to the experiment. The dataset is not needed."""

    tasks: Sequence[Task]
    input_size: int
    #: Rows of a feature array that are used, see `normalize_rows`.
    rows: slice
    #: Kind of the feature columns, and recipe of the features; None if the dataset does not have them.
    sync: Literal["beat", "frame"] | None
    recipe: Recipe | None
    #: Number of columns of the training tracks: minimum, median, maximum.
    lengths: tuple[int, int, int]

    def to_state(self) -> dict[str, Any]:
        """Return the description as text, numbers, lists and dictionaries."""
        return {
            "tasks": [
                {
                    "name": task.name,
                    "target": task.target,
                    "kind": task.kind,
                    "range": list(task.range),
                    "classes": list(task.classes),
                    "merged": dict(task.merged),
                }
                for task in self.tasks
            ],
            "input_size": self.input_size,
            "rows": rows_numbers(self.rows),
            "sync": self.sync,
            "recipe": self.recipe and dataclasses.asdict(self.recipe),
            "lengths": list(self.lengths),
        }

    @classmethod
    def from_state(cls, state: Mapping[str, Any]) -> Description:
        """Return the description from the form of `to_state`.

        Raises:
            InputError: the state does not have this form.
        """
        try:
            tasks = [
                Task(
                    **{
                        **task,
                        "range": tuple(float(end) for end in task["range"]),
                        "classes": tuple(task["classes"]),
                    }
                )
                for task in state["tasks"]
            ]
            fewest, median, most = (int(length) for length in state["lengths"])
            return cls(
                tasks=tasks,
                input_size=int(state["input_size"]),
                rows=slice(*(int(end) for end in state["rows"])),
                sync=state["sync"],
                recipe=None if state["recipe"] is None else Recipe(**state["recipe"]),
                lengths=(fewest, median, most),
            )
        except (KeyError, TypeError, ValueError) as error:
            raise InputError(f"its description is damaged: {type(error).__name__}: {error}") from error


def describe(tracks: Tracks, split: Split, features: Features) -> Description:
    """Return the description for the training set of some tracks."""
    lengths = features.lengths[split.parts["train"]]
    return Description(
        tasks=tracks.tasks,
        input_size=features.size,
        rows=tracks.rows,
        sync=tracks.sync,
        recipe=tracks.recipe,
        lengths=(int(lengths.min()), round(float(np.median(lengths))), int(lengths.max())),
    )
