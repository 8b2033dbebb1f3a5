"""What a trained network expects and predicts, as a checkpoint carries it."""

from __future__ import annotations

import dataclasses
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from typing import Any, Literal

import numpy as np

from musicemo.audio import Recipe
from musicemo.data.features import Features, rows_numbers
from musicemo.data.splits import Split
from musicemo.data.tasks import Task
from musicemo.data.tracks import Tracks
from musicemo.errors import InputError

__all__ = ["Description", "describe"]


@dataclass(frozen=True)
class Description:
    """With the experiment, all that a prediction needs to know; the dataset need not be there."""

    tasks: Sequence[Task]
    input_size: int
    #: Rows of a feature array that are used, see `normalize_rows`.
    rows: slice
    #: What a column of the features is, and what they were made with; None where the dataset does not say.
    sync: Literal["beat", "frame"] | None
    recipe: Recipe | None
    #: Columns of the training tracks: the fewest, the median, the most.
    lengths: tuple[int, int, int]

    def to_state(self) -> dict[str, Any]:
        """Return it as text, numbers, lists and dictionaries."""
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
        """Return what `to_state` was called on.

        Raises:
            InputError: it is not what `to_state` returns.
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
    """Describe what is trained on the training part of some tracks."""
    lengths = features.lengths[split.parts["train"]]
    return Description(
        tasks=tracks.tasks,
        input_size=features.size,
        rows=tracks.rows,
        sync=tracks.sync,
        recipe=tracks.recipe,
        lengths=(int(lengths.min()), round(float(np.median(lengths))), int(lengths.max())),
    )
