"""Tasks: the targets of an experiment, in the units of the network and of the dataset."""

from __future__ import annotations

import math
from collections.abc import Collection, Iterable, Mapping, Sequence
from dataclasses import dataclass, field, replace
from functools import cached_property
from numbers import Real
from typing import Annotated, Any, Literal

import numpy as np
from numpy.typing import ArrayLike, NDArray
from pydantic import Field, field_validator

from musicemo.contracts import TARGET_KINDS, Label, Series, Target, TargetKind, Track
from musicemo.data.pairs import check_judgements
from musicemo.errors import InputError, nearest
from musicemo.evaluation import EPOCH_METRICS, SPREAD
from musicemo.ops import Distribution
from musicemo.settings import Settings

__all__ = ["HeadSettings", "Task", "TaskSettings", "columns", "labelled", "make_task", "tags_of"]

#: Kind of target -> minimum number of classes or tags.
_FEWEST = {"classification": 2, "tags": 1}

#: Share of a range by which ratings may exceed it: in single precision, or brought to the range of several datasets.
_SLACK = 1e-6


class HeadSettings(Settings):
    """The dense layers between the embedding and a task's prediction."""

    hidden: list[Annotated[int, Field(gt=0)]] = Field(default_factory=lambda: [50])
    """Number of units of each hidden layer. ``[]`` is a linear head."""
    dropout: float = Field(default=0.2, ge=0, lt=1)
    """Dropout probability."""
    output: Literal["linear", "sigmoid", "standardized"] = "linear"
    """Output of regression tasks. ``sigmoid`` keeps predictions inside the target's range. ``standardized`` multiplies
    the linear output by the standard deviation of the training set's ratings, and adds their mean, so that all tasks
    begin at the mean and learn at the same pace.
    """


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
    """Classification: class -> class that it is merged into, or ``false`` to drop its tracks. Tags: tag -> tag that it
    is merged into, or ``false`` to drop it.
    """
    weights: Literal["listeners"] | None = None
    """Regression: weight of each track in the loss. ``listeners`` is the number of listeners who rated it. The default
    is the same weight for all.
    """
    smoothing: float | None = Field(default=None, gt=0)
    """Series: length in seconds of the moving average that predictions are smoothed with."""
    labeled: float | None = Field(default=None, gt=0, le=1)
    """Share of the training tracks whose labels are used, drawn with the seed of the run. The labels of the others are
    treated as missing. The validation and test sets keep theirs. The default is all.
    """
    head: HeadSettings | None = None
    """Head of this task, instead of ``[head]``."""

    @field_validator("loss", mode="before")
    @classmethod
    def _no_name(cls, loss: Any) -> Any:
        if isinstance(loss, str):
            raise ValueError('must be a table such as { type = "mse" }, or an array of such tables')
        return loss

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
    """A target in the network's units: [0, 1] for ratings, a class index, or 0 and 1 for each tag.

    Pairs are no target of a single track; see `musicemo.data.Pairs`.
    """

    name: str
    target: str
    kind: TargetKind
    range: tuple[float, float] = (0.0, 1.0)
    #: Classes or tags after merging and dropping, in alphabetical order: the order of the logits.
    classes: tuple[str, ...] = ()
    #: Class of the dataset -> class of the task, or None where it is dropped.
    merged: Mapping[str, str | None] = field(default_factory=dict)
    #: Series: seconds of the moving average of the predictions; None leaves them as they are.
    smoothing: float | None = None
    #: Regression: the distribution of the listeners' ratings that is predicted; None for the rating alone.
    distribution: Distribution | None = None
    #: Regression: whether a track's weight in the loss is its number of listeners.
    weighted: bool = False

    @property
    def rated(self) -> bool:
        """Whether its targets are ratings in a range: a rating of each track, or ratings over time."""
        return self.kind in ("regression", "series")

    @property
    def outcome(self) -> Target:
        """The target in the network's units: ratings in [0, 1], or the classes of the logits."""
        return Target(self.name, self.kind, classes=self.classes)

    @property
    def width(self) -> int:
        """Number of columns of its targets: one for each tag, none for a series or pairs, otherwise one."""
        return {"tags": len(self.classes), "series": 0, "pairs": 0}.get(self.kind, 1)

    @property
    def outputs(self) -> int:
        """Number of outputs of a head."""
        return len(self.classes) or (self.distribution.outputs if self.distribution else 1)

    @property
    def metrics(self) -> tuple[str, ...]:
        """The names of its metrics in each epoch."""
        return (*EPOCH_METRICS[self.kind], *(SPREAD if self.distribution else ()))

    def listeners(self, track: Track) -> list[float]:
        """Return the listeners' ratings of a track in [0, 1]; its rating if no single ratings are there."""
        low, high = self.range
        ratings = track.ratings.get(self.target)
        if ratings is None or not len(ratings):
            value = track.targets.get(self.target)
            ratings = [float(value)] if isinstance(value, Real) else []
        scaled = (np.asarray(ratings, dtype=np.float64) - low) / (high - low)
        return list(np.clip(scaled, 0.0, 1.0).tolist())

    @cached_property
    def _sources(self) -> Sequence[Sequence[str]]:
        """The dataset's tags that become each tag of the task."""
        return [[old for old, new in self.merged.items() if new == name] for name in self.classes]

    def encode(self, track: Track) -> list[float]:
        """Return the track's target in the network's units, `[width]`; NaN where it is missing or dropped.

        A tag that several tags are merged into applies if one of them does. A series has no columns; see
        `encode_series`.

        Raises:
            InputError: a rating is outside its range or not finite, or a class or tag is not declared by the dataset.
        """
        if self.kind == "series":
            return []
        value = track.targets.get(self.target)
        if value is None:
            return [math.nan] * self.width
        if self.kind == "tags":
            return self._encode_tags(track, value)
        if self.kind == "pairs":
            check_judgements(track, self.target)
            return []
        return [self._encode_one(track, value)]

    def encode_series(self, track: Track) -> Series | None:
        """Return the track's ratings over time in [0, 1]; None if none is rated, or the task is not a series.

        Raises:
            InputError: the value is not a `Series`, has no times, or a rating is outside its range.
        """
        value = track.targets.get(self.target) if self.kind == "series" else None
        return None if value is None else self._scaled(track, value, self.target)

    def _scaled(self, track: Track, value: Any, name: str) -> Series | None:
        """Return a checked series in [0, 1]; None if none of its values is a rating."""
        where = f"track {track.id!r}: {name}"
        if not isinstance(value, Series):
            raise InputError(f"{where} is a {type(value).__name__}, but must be a musicemo.contracts.Series")
        values = np.asarray(value.values)
        if values.ndim != 1 or values.dtype.kind not in "fiu":
            raise InputError(
                f"{where}: its values are {values.dtype} {list(values.shape)}, but must be numbers [ratings]"
            )
        for key, number in (("start", value.start), ("rate", value.rate)):
            valid = isinstance(number, Real) and not isinstance(number, bool) and math.isfinite(number)
            if not valid or (key == "rate" and not number > 0):
                least = (
                    "a finite number of seconds" if key == "start" else "a number of ratings per second above 0"
                )
                raise InputError(f"{where}: its {key} is {number!r}, but must be {least}")
        low, high = self.range
        slack = _SLACK * (high - low)
        if (
            outside := np.flatnonzero(~np.isnan(values) & ~((values >= low - slack) & (values <= high + slack)))
        ).size:
            first = int(outside[0])
            raise InputError(
                f"{where} is {float(values[first])!r} at {value.times[first]:g} s, outside [{low:g}, {high:g}]. A time "
                "that is not rated is NaN"
            )
        if np.isnan(values).all():
            return None
        scaled = np.clip((values.astype(np.float64) - low) / (high - low), 0.0, 1.0)
        return Series(scaled, float(value.start), float(value.rate))

    def _encode_tags(self, track: Track, value: Label) -> list[float]:
        if isinstance(value, str) or not isinstance(value, Collection):
            raise InputError(
                f"track {track.id!r}: {self.target} is {value!r}, but must be a list of tags, or a mapping from tag to "
                "True, False or None"
            )
        if unknown := [name for name in value if name not in self.merged]:
            listed = ", ".join(sorted(self.merged))
            raise InputError(
                f"track {track.id!r}: {self.target} has {unknown[0]!r}, which is not a tag"
                f"{nearest(str(unknown[0]), self.merged)} (tags: {listed})"
            )
        if isinstance(value, Mapping):
            for name, applies in value.items():
                if not isinstance(applies, bool | np.bool_ | None):
                    raise InputError(
                        f"track {track.id!r}: {self.target}: {name} is {applies!r}, but must be True, False or None"
                    )
            states: Mapping[str, float] = {
                name: float(applies) for name, applies in value.items() if applies is not None
            }
        else:
            states = dict.fromkeys(self.merged, 0.0) | dict.fromkeys(map(str, value), 1.0)
        encoded = []
        for names in self._sources:
            here = [states.get(name, math.nan) for name in names]
            encoded.append(1.0 if 1.0 in here else 0.0 if here and not any(map(math.isnan, here)) else math.nan)
        return encoded

    def _encode_one(self, track: Track, value: Label) -> float:
        if self.kind == "classification":
            if not isinstance(value, str) or value not in self.merged:
                names = ", ".join(sorted(self.merged))
                raise InputError(
                    f"track {track.id!r}: {self.target} is {value!r}, which is not a class (classes: {names})"
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
        ratings: Sequence[Any] | None = track.ratings.get(self.target)
        if not self.rated or ratings is None or not len(ratings):
            return
        if self.kind == "series":
            for rating in ratings:
                self._scaled(track, rating, f"a listener's {self.target}")
            return
        low, high = self.range
        slack = _SLACK * (high - low)
        values = np.asarray(ratings)
        if values.dtype.kind in "fiu" and (values >= low - slack).all() and (values <= high + slack).all():
            return
        for rating in ratings:
            if isinstance(rating, bool) or not isinstance(rating, Real):
                raise InputError(
                    f"track {track.id!r}: a listener's rating of {self.target} is {rating!r}, not a number"
                )
            if not low - slack <= float(rating) <= high + slack:
                raise InputError(
                    f"track {track.id!r}: a listener's rating of {self.target} is {float(rating)!r}, outside "
                    f"[{low:g}, {high:g}]. Omit missing ratings"
                )

    def to_json(self) -> dict[str, Any]:
        """Return the task as in `results.json`: its kind, and its range in the dataset's units or its classes."""
        labels: dict[str, Any] = (
            {"classes": list(self.classes)} if self.classes else {"range": list(self.range)}
        )
        if self.smoothing is not None:
            labels["smoothing"] = self.smoothing
        if self.distribution is not None:
            labels["distribution"] = self.distribution.to_json()
        if self.weighted:
            labels["weights"] = "listeners"
        return {"kind": self.kind, "target": self.target, **({} if self.kind == "pairs" else labels)}

    def restricted(self, labels: Iterable[Label | None]) -> Task:
        """Return the task with the classes or tags that occur among a dataset's labels; other kinds are unchanged.

        Raises:
            InputError: fewer than two classes occur, or no tag.
        """
        if not self.classes:
            return self
        if self.kind == "tags":
            names = {name for label in labels for name in tags_of(label)}
        else:
            names = {str(label) for label in labels if label is not None}
        occurring = {self.merged.get(name) for name in names}
        classes = tuple(name for name in self.classes if name in occurring)
        if len(classes) < _FEWEST[self.kind]:
            listed = ", ".join(classes) or "none"
            least = "at least 2 classes" if self.kind == "classification" else "at least 1 tag"
            raise InputError(f"task {self.name!r}: {least} must have tracks (found: {listed})")
        return replace(self, classes=classes)

    def decode(self, values: ArrayLike) -> NDArray[np.float64]:
        """Return values in [0, 1] in the dataset's units."""
        low, high = self.range
        return np.asarray(values, dtype=np.float64) * (high - low) + low


def columns(tasks: Sequence[Task]) -> dict[str, int | slice]:
    """Return task -> its column among the encoded targets of all tasks, or the slice of its columns if it has tags.

    Series and pairs have no columns; see `Tracks.series` and `Tracks.pairs`.
    """
    places: dict[str, int | slice] = {}
    start = 0
    for task in tasks:
        if not task.width:
            continue
        places[task.name] = slice(start, start + task.width) if task.kind == "tags" else start
        start += task.width
    return places


def labelled(values: NDArray[np.floating]) -> NDArray[np.bool_]:
    """Return which tracks have a label, from a task's targets `[tracks]` or `[tracks, tags]`."""
    finite = np.isfinite(values)
    return np.asarray(finite.any(axis=1) if finite.ndim > 1 else finite)


def tags_of(label: Label | None) -> list[str]:
    """Return the tags that apply to a track, from its value of a target with tags."""
    if isinstance(label, Mapping):
        return [name for name, applies in label.items() if applies]
    return [str(name) for name in label] if isinstance(label, Collection) else []


def make_task(name: str, settings: TaskSettings, targets: Sequence[Target]) -> Task:
    """Return the task for a target of the dataset.

    Raises:
        InputError: the target or a class does not exist, or the kind of the target does not have a setting.
    """
    for key in ("target", "range"):
        if not isinstance(getattr(settings, key), str | None):
            raise InputError(
                f"{key}: can be set only with several datasets ([[dataset]]), not with one ([dataset])"
            )
    wanted = str(settings.target or name)
    by_name = {target.name: target for target in targets}
    if wanted not in by_name:
        names = ", ".join(by_name)
        raise InputError(
            f"the dataset declares no target {wanted!r}{nearest(wanted, by_name)} (targets: {names})"
        )
    target = by_name[wanted]
    if target.kind not in TARGET_KINDS:
        raise InputError(
            f"the dataset declares {wanted!r} as a {target.kind!r}, but the kind of a target must be one of "
            f"{', '.join(TARGET_KINDS)}"
        )
    if settings.weights is not None and target.kind != "regression":
        raise InputError(f"weights: is for regression, and {wanted!r} is a {target.kind} target")
    if settings.labeled is not None and target.kind == "pairs":
        raise InputError(f"labeled: is for labels of tracks, and {wanted!r} is a target of pairs")
    if settings.smoothing is not None and target.kind != "series":
        raise InputError(f"smoothing: is for series, and {wanted!r} is a {target.kind} target")
    if target.kind in ("regression", "series"):
        if settings.classes:
            raise InputError(f"{wanted!r} is a {target.kind} target, which has no classes to merge or drop")
        low, high = (float(end) for end in target.range)
        if not -math.inf < low < high < math.inf:
            raise InputError(
                f"the dataset declares the range [{low:g}, {high:g}] of {wanted!r}, which is empty or infinite"
            )
        return Task(
            name,
            wanted,
            target.kind,
            range=(low, high),
            smoothing=settings.smoothing,
            weighted=settings.weights is not None,
        )
    if target.kind == "pairs":
        if settings.classes:
            raise InputError(f"{wanted!r} is a target of pairs, which has no classes to merge or drop")
        return Task(name, wanted, target.kind)
    noun, nouns = ("tag", "tags") if target.kind == "tags" else ("class", "classes")
    for old in settings.classes:
        if old not in target.classes:
            listed = ", ".join(sorted(target.classes))
            raise InputError(
                f"{wanted!r} has no {noun} {old!r}{nearest(old, target.classes)} ({nouns}: {listed})"
            )
    merged = {old: settings.classes.get(old, old) or None for old in target.classes}
    kept = tuple(sorted({new for new in merged.values() if new}))
    least = _FEWEST[target.kind]
    if len(kept) < least:
        verb = "is" if least == 1 else "are"
        if not target.classes:
            raise InputError(f"the dataset declares no {nouns} of {wanted!r}; at least {least} {verb} needed")
        raise InputError(
            f"{wanted!r} keeps {len(kept)} {noun if len(kept) == 1 else nouns} after merging and dropping; at least "
            f"{least} {verb} needed"
        )
    return Task(name, wanted, target.kind, classes=kept, merged=merged)
