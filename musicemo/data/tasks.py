"""Tasks: the targets of an experiment, in the units of the network and of the dataset."""

from __future__ import annotations

import math
from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass, field, replace
from numbers import Real
from typing import Annotated, Any, Literal

import numpy as np
from numpy.typing import ArrayLike, NDArray
from pydantic import Field, field_validator

from musicemo.contracts import Target, Track
from musicemo.errors import InputError, nearest
from musicemo.settings import Settings

__all__ = ["HeadSettings", "Task", "TaskSettings", "make_task"]


class HeadSettings(Settings):
    """The dense layers between the embedding and a task's prediction."""

    hidden: list[Annotated[int, Field(gt=0)]] = Field(default_factory=lambda: [50])
    """Number of units of each hidden layer. ``[]`` is a linear head."""
    dropout: float = Field(default=0.2, ge=0, lt=1)
    """Dropout probability."""
    output: Literal["linear", "sigmoid"] = "linear"
    """Output activation of regression tasks. ``sigmoid`` keeps predictions inside the target's range."""


class TaskSettings(Settings):
    """A table ``[tasks.NAME]``."""

    target: str | dict[str, str] | None = None
    """Target of the dataset. The default is the task's name. For several datasets: a table from dataset to target;
    datasets that it does not name are not used for the task.
    """
    range: tuple[float, float] | None = None
    """Range of the predictions if the datasets have different rating scales. The default is [0, 1]."""
    loss: dict[str, Any] | Annotated[list[dict[str, Any]], Field(min_length=1)] | None = None
    """Terms of the loss. Each is a component with its parameters and a ``weight``."""
    classes: dict[str, Annotated[str, Field(min_length=1)] | Literal[False]] = Field(default_factory=dict)
    """Classification: class -> class that it is merged into, or ``false`` to drop its tracks."""
    head: HeadSettings | None = None
    """Head of this task, instead of ``[head]``."""

    @field_validator("range")
    @classmethod
    def _not_empty(cls, ends: tuple[float, float] | None) -> tuple[float, float] | None:
        if ends is not None and not ends[0] < ends[1]:
            raise ValueError(f"must be [low, high] with low below high, not [{ends[0]:g}, {ends[1]:g}]")
        return ends

    def under(self, name: str) -> TaskSettings:
        """Return the settings for joined datasets, whose target for a task has the task's name."""
        return self.model_copy(update={"target": name, "range": None})


@dataclass(frozen=True)
class Task:
    """A target in the network's units: [0, 1] for regression, a class index for classification."""

    name: str
    target: str
    kind: Literal["regression", "classification"]
    range: tuple[float, float] = (0.0, 1.0)
    #: Classes after merging and dropping, in alphabetical order: the order of the logits.
    classes: tuple[str, ...] = ()
    #: Class of the dataset -> class of the task, or None where it is dropped.
    merged: Mapping[str, str | None] = field(default_factory=dict)

    @property
    def outcome(self) -> Target:
        """The target in the network's units: ratings in [0, 1], or the classes of the logits."""
        return Target(self.name, self.kind, classes=self.classes)

    def encode(self, track: Track) -> float:
        """Return the track's target in the network's units; NaN if it is missing or dropped.

        Raises:
            InputError: a rating is outside its range or not finite, or a class is not declared by the dataset.
        """
        value = track.targets.get(self.target)
        if value is None:
            return math.nan
        if self.kind == "classification":
            if not isinstance(value, str) or value not in self.merged:
                known = ", ".join(sorted(self.merged))
                raise InputError(
                    f"track {track.id!r}: {self.target} is {value!r}, which is not a class (classes: {known})"
                )
            name = self.merged[value]
            return math.nan if name is None else float(self.classes.index(name))
        low, high = self.range
        if isinstance(value, bool) or not isinstance(value, Real):
            raise InputError(f"track {track.id!r}: {self.target} is {value!r}, not a number")
        rating = float(value)
        if not low <= rating <= high:
            raise InputError(f"track {track.id!r}: {self.target} is {rating!r}, outside [{low:g}, {high:g}]")
        return (rating - low) / (high - low)

    def check_ratings(self, track: Track) -> None:
        """Check the single listeners' ratings of a track.

        Raises:
            InputError: One is not finite, or outside the range.
        """
        ratings = track.ratings.get(self.target)
        if self.kind != "regression" or ratings is None or not len(ratings):
            return
        low, high = self.range
        slack = 1e-6 * (
            high - low
        )  # of ratings in single precision, or brought to the range of several datasets
        values = np.asarray(ratings)
        if values.dtype.kind in "fiu" and (values >= low - slack).all() and (values <= high + slack).all():
            return
        for rating in ratings:
            if isinstance(rating, bool) or not isinstance(rating, Real):
                raise InputError(
                    f"track {track.id!r}: a listener's rating of {self.target} is {rating!r}, not a number"
                )
            if not low - slack <= rating <= high + slack:
                raise InputError(
                    f"track {track.id!r}: a listener's rating of {self.target} is {float(rating)!r}, outside "
                    f"[{low:g}, {high:g}]. Omit missing ratings"
                )

    def to_json(self) -> dict[str, Any]:
        """Return the task as in `results.json`: its kind, and its range in the dataset's units or its classes."""
        known = {"classes": list(self.classes)} if self.classes else {"range": list(self.range)}
        return {"kind": self.kind, "target": self.target, **known}

    def restricted(self, labels: Iterable[float | str | None]) -> Task:
        """Return the task with the classes that occur among a dataset's labels; a regression is unchanged.

        Raises:
            InputError: fewer than two classes occur.
        """
        if self.kind == "regression":
            return self
        found = {self.merged.get(str(label)) for label in labels if label is not None}
        classes = tuple(name for name in self.classes if name in found)
        if len(classes) < 2:
            listed = ", ".join(classes) or "none"
            raise InputError(f"task {self.name!r}: at least 2 classes must have tracks (found: {listed})")
        return replace(self, classes=classes)

    def decode(self, values: ArrayLike) -> NDArray[np.float64]:
        """Return values in [0, 1] in the dataset's units."""
        low, high = self.range
        return np.asarray(values, dtype=np.float64) * (high - low) + low


def make_task(name: str, settings: TaskSettings, targets: Sequence[Target]) -> Task:
    """Return the task for a target of the dataset.

    Raises:
        InputError: the target or a class does not exist, or a regression has `classes`.
    """
    for key in ("target", "range"):
        if not isinstance(getattr(settings, key), str | None):
            raise InputError(
                f"{key}: can be set only with several datasets ([[dataset]]), not with one ([dataset])"
            )
    wanted = str(settings.target or name)
    by_name = {target.name: target for target in targets}
    if wanted not in by_name:
        known = ", ".join(by_name)
        raise InputError(
            f"the dataset declares no target {wanted!r}{nearest(wanted, by_name)} (targets: {known})"
        )
    target = by_name[wanted]
    if target.kind not in ("regression", "classification"):
        raise InputError(
            f"the dataset declares {wanted!r} as a {target.kind!r}, but a target must be a regression or a "
            "classification"
        )
    if target.kind == "regression":
        if settings.classes:
            raise InputError(f"{wanted!r} is a regression target, which has no classes to merge or drop")
        low, high = (float(end) for end in target.range)
        if not -math.inf < low < high < math.inf:
            raise InputError(
                f"the dataset declares the range [{low:g}, {high:g}] of {wanted!r}, which is empty or infinite"
            )
        return Task(name, wanted, target.kind, range=(low, high))
    for old in settings.classes:
        if old not in target.classes:
            listed = ", ".join(sorted(target.classes))
            raise InputError(
                f"{wanted!r} has no class {old!r}{nearest(old, target.classes)} (classes: {listed})"
            )
    merged = {old: settings.classes.get(old, old) or None for old in target.classes}
    kept = tuple(sorted({new for new in merged.values() if new}))
    if len(kept) < 2:
        if not target.classes:
            raise InputError(f"the dataset declares no classes of {wanted!r}; at least 2 are needed")
        plural = "" if len(kept) == 1 else "es"
        raise InputError(
            f"{wanted!r} keeps {len(kept)} class{plural} after merging and dropping; at least 2 are needed"
        )
    return Task(name, wanted, target.kind, classes=kept, merged=merged)
