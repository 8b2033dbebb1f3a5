"""The table ``[search]``: a hyperparameter search, and the experiments of its trials."""

from __future__ import annotations

import hashlib
import itertools
import json
import math
from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass, field
from typing import Annotated, Any, Literal, Protocol

from pydantic import Field, ValidationError, model_validator
from typing_extensions import TypeAliasType

from musicemo import toml
from musicemo.components.lookup import describe_problem
from musicemo.contracts import TargetKind
from musicemo.errors import InputError, nearest
from musicemo.evaluation import METRICS, SCORES, higher_is_better
from musicemo.settings import Settings, validate

__all__ = [
    "MEAN_SCORE",
    "Choice",
    "Range",
    "Search",
    "SearchSettings",
    "Values",
    "lay_overrides",
    "parse_search",
    "score",
    "trial_hash",
]

_TABLE = "search"

#: Parts of the place of a key that depends on no other: ``search.space.KEY``.
_TOP = 3

#: The mean over the tasks of the metric by which a task is judged: the rank correlation of ratings.
MEAN_SCORE = "val/mean_rank"

#: Quantities of the validation set that an epoch records for all tasks together.
_OVERALL = ("val/loss", "val/mean_improvement")

#: Keys that a search cannot vary, and why.
_FIXED = {
    **dict.fromkeys(
        ("seed", "seeds"),
        "the best of many seeds is luck, not a better model. Set seeds = [...] outside of the search: a trial is the "
        "mean over them",
    ),
    "split": "trials are compared on the same validation set",
    **dict.fromkeys(
        ("evaluation", "launcher", "plugins", "name", "description"), "it does not change the model"
    ),
    **dict.fromkeys(("matrix", "search", "extends"), "it is not a part of an experiment"),
}

#: Number of trials of a search that is not a grid, by default.
_TRIALS = 50

#: Significant digits of a number that is drawn from a range.
_DIGITS = 4

#: Maximum number of combinations of a grid.
_MOST = 100_000


class RangeSettings(Settings):
    """A range of numbers: of integers if both ends are integers."""

    low: int | float
    """Lowest value."""
    high: int | float
    """Highest value."""
    log: bool = False
    """Whether the logarithm of the value is uniformly distributed."""
    step: int | float | None = Field(default=None, gt=0)
    """Distance of the values from each other, counted from ``low``."""

    @model_validator(mode="after")
    def _consistent(self) -> RangeSettings:
        if self.low >= self.high:
            raise ValueError(f"low must be below high, not {self.low!r} and {self.high!r}")
        if self.log and self.low <= 0:
            raise ValueError(f"a logarithmic range must begin above 0, not at {self.low!r}")
        if self.log and self.step is not None:
            raise ValueError("log and step cannot both be set")
        if self.step is not None and self.step > self.high - self.low:
            raise ValueError(f"step must be at most high - low, not {self.step!r}")
        if self.whole and isinstance(self.step, float):
            raise ValueError(f"step of a range of integers must be an integer, not {self.step!r}")
        return self

    @property
    def whole(self) -> bool:
        """Whether the values are integers."""
        return isinstance(self.low, int) and isinstance(self.high, int)


Constant = str | int | float | bool

#: The values of a key: a range, a list, or a table of choices, each with a table of further keys. In such a table, a
#: single value is a constant.
Values = TypeAliasType(
    "Values",
    "RangeSettings | Annotated[list[Any], Field(min_length=1)] | dict[str, dict[str, Values | Constant]]",
)


class SearchSettings(Settings):
    """The table ``[search]``."""

    trials: int | None = Field(default=None, ge=1)
    """Number of trials, those of an earlier, interrupted search included. The default is 50, or all combinations of a
    grid.
    """
    metric: str = MEAN_SCORE
    """Quantity of the validation set to optimize, in the epoch whose weights are kept: ``val/mean_rank``, the mean over
    the tasks of their rank correlation (of classes: the accuracy; of tags: the PR-AUC; and so on); or one that an epoch
    records, such as ``val/loss`` or ``val/<task>/ccc``.
    """
    direction: Literal["auto", "min", "max"] = "auto"
    """Whether the lowest or the highest value is the best. ``auto`` decides by the metric."""
    sampler: Literal["tpe", "random", "grid", "gp"] = "tpe"
    """How the values of a trial are chosen."""
    pruner: Literal["none", "median", "halving", "hyperband"] = "none"
    """Which trials are stopped early, by their values after each epoch."""
    startup_trials: int = Field(default=5, ge=0)
    """Number of trials before any is pruned."""
    warmup_epochs: int = Field(default=0, ge=0)
    """Number of epochs before a trial is pruned."""
    seed: int = Field(default=0, ge=0, lt=2**31)
    """Seed of the sampler."""
    inner_folds: int | None = Field(default=None, ge=2)
    """Nested cross-validation: number of inner folds of the tracks outside of the test set, on which trials are
    compared. With ``split.method = "kfold"``, every outer fold has its own search.
    """
    space: dict[str, Any] = Field(min_length=1)
    """Dotted key of the experiment -> its values: a range ``{ low, high, log, step }``, a list, or a table of choices,
    each a table of further keys for this choice.
    """


@dataclass(frozen=True)
class Range:
    """A key whose value is drawn from a range."""

    #: The key, and its place in the file.
    key: str
    place: toml.Key
    #: Unique name: of a conditional key with its condition.
    name: str
    settings: RangeSettings

    @property
    def values(self) -> list[Any] | None:
        """All values in order; None if there is no limit to their number."""
        low, high, step = self.settings.low, self.settings.high, self.settings.step
        if self.settings.log or (step is None and not self.settings.whole):
            return None
        width = step or 1
        return [
            self.rounded(low + index * width) for index in range(math.floor((high - low) / width + 1e-9) + 1)
        ]

    @property
    def probes(self) -> list[Any]:
        """Values to validate: the ends."""
        return [
            self.rounded(end if self.settings.whole else float(end))
            for end in (self.settings.low, self.settings.high)
        ]

    def rounded(self, value: float) -> int | float:
        """Return a drawn value with few digits, within the range."""
        if self.settings.whole:
            return int(value)
        # With a step, only the rounding error of low + n * step is removed.
        digits = _DIGITS if self.settings.step is None else 12
        value = float(f"{value:.{digits}g}")
        return min(max(value, float(self.settings.low)), float(self.settings.high))


@dataclass(frozen=True)
class Choice:
    """A key whose value is one of some, each with the keys that depend on it."""

    key: str
    place: toml.Key
    name: str
    #: Text of the value -> value, and the parameters that depend on it.
    options: Mapping[str, tuple[Any, Sequence[Range | Choice]]]

    @property
    def values(self) -> list[Any]:
        """The texts of all values."""
        return list(self.options)

    @property
    def probes(self) -> list[Any]:
        """The texts of all values, each of which is validated."""
        return list(self.options)


Parameter = Range | Choice


class Chooser(Protocol):
    """Chooses the value of a parameter: a number of a range, or the text of one of the choices."""

    def __call__(self, parameter: Parameter) -> Any:
        """Return the value."""


@dataclass(frozen=True)
class Search:
    """A validated search."""

    settings: SearchSettings
    parameters: Sequence[Parameter] = field(default_factory=tuple)

    @property
    def maximizes(self) -> bool:
        """Whether the highest value is the best."""
        if self.settings.direction == "auto":
            return _is_higher_better(self.settings.metric)
        return self.settings.direction == "max"

    def choose(self, chooser: Chooser) -> tuple[dict[str, Any], dict[str, Any]]:
        """Return the overrides of a trial, dotted key -> value; and the values by the names of the parameters."""
        overrides: dict[str, Any] = {}
        values: dict[str, Any] = {}
        left = list(self.parameters)
        while left:
            parameter = left.pop(0)
            value = chooser(parameter)
            values[parameter.name] = value
            if isinstance(parameter, Choice):
                overrides[parameter.key], inner = parameter.options[value]
                left[:0] = inner
            else:
                overrides[parameter.key] = parameter.rounded(value)
        return overrides, values

    def combinations(self) -> Iterator[dict[str, Any]]:
        """Yield the values of every combination of a grid by the names of the parameters, the last one fastest."""

        def expand(parameters: Sequence[Parameter]) -> Iterator[dict[str, Any]]:
            for parts in itertools.product(*(list(expand_one(one)) for one in parameters)):
                yield {name: value for part in parts for name, value in part.items()}

        def expand_one(parameter: Parameter) -> Iterator[dict[str, Any]]:
            for value in parameter.values or []:
                inner = parameter.options[value][1] if isinstance(parameter, Choice) else []
                for rest in expand(inner):
                    yield {parameter.name: value, **rest}

        return expand(self.parameters)

    @property
    def trials(self) -> int:
        """Number of trials: of a grid, at most one per combination."""
        if self.settings.sampler != "grid":
            return self.settings.trials or _TRIALS
        count = sum(1 for _ in self.combinations())
        return min(self.settings.trials or count, count)

    def probes(self) -> Iterator[dict[str, Any]]:
        """Yield overrides that use every choice and both ends of every range at least once, the first choices first."""
        forced: dict[str, Any] = {}

        def chooser(parameter: Parameter) -> Any:
            return forced.get(parameter.name, parameter.probes[0])

        def walk(parameters: Sequence[Parameter]) -> Iterator[dict[str, Any]]:
            for parameter in parameters:
                for value in parameter.probes:
                    forced[parameter.name] = value
                    yield self.choose(chooser)[0]
                    if isinstance(parameter, Choice):
                        yield from walk(parameter.options[value][1])
                del forced[parameter.name]

        yield from walk(self.parameters)

    @property
    def places(self) -> dict[str, toml.Key]:
        """Dotted key -> its place in the file, of every parameter; of a key in several tables, the last."""
        return {parameter.key: parameter.place for parameter in _all(self.parameters)}

    def to_table(self) -> dict[str, Any]:
        """Return the table with its defaults filled in."""
        return {"trials": self.trials, **self.settings.model_dump(exclude_none=True)}


def _all(parameters: Sequence[Parameter]) -> Iterator[Parameter]:
    """Yield parameters, and after each those that depend on it."""
    for parameter in parameters:
        yield parameter
        if isinstance(parameter, Choice):
            for _, inner in parameter.options.values():
                yield from _all(inner)


def _normalized(key: str) -> toml.Key:
    """Return the parts of a dotted key.

    Raises:
        InputError: it is not a key.
    """
    *_, normalized = toml.keys_within(toml.nested(key, 0))
    return normalized


def parse_search(source: toml.Source, tasks: Sequence[str]) -> Search:
    """Return the search of an experiment file.

    Args:
        source: the merged tables of the file.
        tasks: the names of its tasks.

    Raises:
        InputError: with everything that is wrong with the table, each with its line and key.
    """
    table = source.table[_TABLE]
    if not isinstance(table, dict):
        raise InputError(source.error((_TABLE,), f"must be a table, not {table!r}"))
    try:
        settings = validate(SearchSettings, table)
    except ValidationError as error:
        raise InputError(
            *(describe_problem(source, (_TABLE,), SearchSettings, details) for details in error.errors())
        ) from error
    problems: list[str] = []
    parameters = _Reader(source, problems).read(settings.space)
    problems += _check_metric(source, settings, tasks)
    if settings.sampler == "grid" and not problems:
        problems += _check_grid(source, parameters)
    if problems:
        raise InputError(*problems)
    return Search(settings, parameters)


def _is_higher_better(metric: str) -> bool:
    return metric == MEAN_SCORE or higher_is_better(metric.rpartition("/")[2])


def _check_metric(source: toml.Source, settings: SearchSettings, tasks: Sequence[str]) -> Iterator[str]:
    """Yield the problems of the metric and the direction, as far as the tasks' kinds do not decide."""
    metric = settings.metric
    key = (_TABLE, "metric")
    parts = metric.split("/")
    quantities = ["loss", *SCORES]
    if metric.startswith("test/"):
        yield source.error(
            key, f"{metric!r} is of the test set, which is evaluated once, for the best trial. Use val/..."
        )
    elif parts[0] == "train":
        yield source.error(
            key, f"{metric!r} is of the training set, on which the largest model wins. Use val/..."
        )
    elif metric not in (MEAN_SCORE, *_OVERALL) and (
        len(parts) != 3 or parts[0] != "val" or parts[1] not in tasks or parts[2] not in quantities
    ):
        names = [MEAN_SCORE, *_OVERALL, *(f"val/{task}/{one}" for task in tasks for one in quantities)]
        listed = f"{MEAN_SCORE}, {', '.join(_OVERALL)}, val/<task>/<metric>"
        yield source.error(key, f"unknown quantity {metric!r}{nearest(metric, names)} (allowed: {listed})")
    elif settings.direction != "auto" and (settings.direction == "max") != _is_higher_better(metric):
        better = "max" if _is_higher_better(metric) else "min"
        higher = "higher" if better == "max" else "lower"
        yield source.error(
            (_TABLE, "direction"),
            f"{settings.direction!r} does not fit {metric}, of which {higher} values are better. Use {better!r}, or "
            "leave it out",
        )


def _check_grid(source: toml.Source, parameters: Sequence[Parameter]) -> Iterator[str]:
    """Yield the parameters of which a grid cannot have all values."""
    count = 1
    for parameter in _all(parameters):
        if parameter.values is None:
            yield source.error(
                parameter.place,
                "a grid needs a list of values, or a range of integers or with step. Use another sampler",
            )
        else:
            count *= len(parameter.values)
    if count > _MOST:
        yield source.error(
            (_TABLE, "space"), f"a grid of it has more than {_MOST:,} combinations. Use another sampler"
        )


class _Reader:
    """Reads the space, gathering what is wrong with it."""

    def __init__(self, source: toml.Source, problems: list[str]) -> None:
        self._source = source
        self._problems = problems

    def read(self, space: Mapping[str, Any]) -> list[Parameter]:
        """Return the parameters of the whole space."""
        return self._parameters(space, (_TABLE, "space"), "")

    def _parameters(
        self, space: Mapping[str, Any], place: toml.Key, condition: str, outer: Sequence[toml.Key] = ()
    ) -> list[Parameter]:
        """Return the parameters of a table of keys.

        Args:
            space: key -> values.
            place: the place of the table in the file.
            condition: ending of the names of conditional parameters.
            outer: the keys that this table depends on, in their normal form.
        """
        parameters: list[Parameter] = []
        used = list(outer)
        for key, values in space.items():
            where = (*place, key)
            normalized = self._check_key(key, values, where)
            if normalized is None:
                continue
            if parameter := self._parameter(key, values, where, f"{key}{condition}", [*outer, normalized]):
                keys = {_normalized(one.key) for one in _all([parameter])}
                if twice := keys.intersection(used):
                    self._wrong(f"{toml.dotted(min(twice))} is given twice", where)
                used += keys
                parameters.append(parameter)
        return parameters

    def _check_key(self, key: str, values: Any, where: toml.Key) -> toml.Key | None:
        """Return a key in its normal form, or None if it cannot be varied."""
        try:
            normalized = _normalized(key)
        except InputError as error:
            self._wrong(str(error), where)
            return None
        first = str(normalized[0])
        if first in _FIXED:
            self._wrong(f"cannot be searched: {_FIXED[first]}", where)
            return None
        if len(normalized) == 1:
            inner = next(iter(values), "key") if isinstance(values, dict) else "key"
            self._wrong(f'must be the dotted key of a value, in quotes: "{key}.{inner}" = ...', where)
            return None
        return normalized

    def _parameter(
        self, key: str, values: Any, where: toml.Key, name: str, outer: Sequence[toml.Key]
    ) -> Parameter | None:
        options: list[tuple[Any, Mapping[str, Any], toml.Key]]
        if isinstance(values, list) and values:
            options = [(one, {}, (*where, index)) for index, one in enumerate(values)]
            return self._choice(key, options, where, name, outer)
        if isinstance(values, dict) and values and all(isinstance(inner, dict) for inner in values.values()):
            options = [(toml.parse_value(text), inner, (*where, text)) for text, inner in values.items()]
            return self._choice(key, options, where, name, outer)
        if isinstance(values, dict):
            try:
                return Range(key, where, name, validate(RangeSettings, values))
            except ValidationError as error:
                self._problems += [
                    describe_problem(self._source, where, RangeSettings, details) for details in error.errors()
                ]
            return None
        if len(where) > _TOP and isinstance(values, str | int | float):
            return self._choice(key, [(values, {}, where)], where, name, outer)
        self._wrong(
            "must be a list of values, a range { low = ..., high = ... }, or a table of choices, each a table of "
            f"further keys, not {values!r}",
            where,
        )
        return None

    def _choice(
        self,
        key: str,
        values: Sequence[tuple[Any, Mapping[str, Any], toml.Key]],
        where: toml.Key,
        name: str,
        outer: Sequence[toml.Key],
    ) -> Choice:
        options: dict[str, tuple[Any, Sequence[Parameter]]] = {}
        for value, inner, place in values:
            text = value if isinstance(value, str) else toml.inline(value)
            if text in options:
                self._wrong(f"{text} is given twice", place)
                continue
            condition = f" ({key} = {text}){name.removeprefix(key)}"
            options[text] = value, self._parameters(inner, place, condition, outer)
        return Choice(key, where, name, options)

    def _wrong(self, message: str, place: toml.Key) -> None:
        self._problems.append(self._source.error(place, message))


def trial_hash(overrides: Mapping[str, Any]) -> str:
    """Return the name of a trial's directory: the hash of its overrides."""
    return hashlib.sha256(json.dumps(overrides, sort_keys=True).encode()).hexdigest()[:10]


def lay_overrides(
    source: toml.Source,
    overrides: Mapping[str, Any],
    places: Mapping[str, toml.Key],
    *,
    absent_only: bool = False,
) -> toml.Source:
    """Return the tables of a file with the overrides of a trial laid over them.

    Args:
        source: the merged tables of the file.
        overrides: dotted key -> value.
        places: dotted key -> its place in the file.
        absent_only: lay only values of keys that the tables do not have.
    """
    trial = source.copy()
    layers = []
    for key, value in overrides.items():
        table = toml.nested(key, value)
        if absent_only and _holds(trial.table, table):
            continue
        origin = source.origin(places[key])
        layers.append((table, lambda _, origin=origin: origin))
    trial.lay_together(layers)
    return trial


def _holds(table: Any, keys: Mapping[str, Any]) -> bool:
    """Return whether tables have all keys of other tables."""
    return isinstance(table, Mapping) and all(
        name in table and (not isinstance(inner, Mapping) or not inner or _holds(table[name], inner))
        for name, inner in keys.items()
    )


def score(metric: str, record: Mapping[str, float], kinds: Mapping[str, TargetKind]) -> float:
    """Return the value of a search's metric in the record of an epoch; NaN if it is not defined.

    Args:
        metric: name of the metric.
        record: the record.
        kinds: task -> kind of its target.
    """
    names = (
        [f"val/{task}/{METRICS[kind][0]}" for task, kind in kinds.items()] if metric == MEAN_SCORE else [metric]
    )
    values = [record.get(name) for name in names]
    return sum(math.nan if value is None else value for value in values) / len(values)
