"""The JSON Schema of an experiment file, with which editors complete and check one as it is written."""

from __future__ import annotations

import json
import logging
from collections.abc import Iterator, Sequence
from types import GenericAlias
from typing import Annotated, Any, Literal, Union

from pydantic import BaseModel, ConfigDict, Field, TypeAdapter, create_model
from pydantic.json_schema import GenerateJsonSchema
from typing_extensions import TypeAliasType

from musicemo.components import registry
from musicemo.components.documentation import summary
from musicemo.components.spec import (
    AugmentSettings,
    PluginSettings,
    component_table,
    load_factory,
    table_schema,
)
from musicemo.contracts import TargetKind
from musicemo.data import JoiningSettings, TaskSettings
from musicemo.errors import InputError
from musicemo.experiment.schema import ExperimentTable, TaskName
from musicemo.experiment.search import SearchSettings, Values
from musicemo.features import FeatureSettings
from musicemo.settings import Settings

__all__ = ["component_schema", "experiment_schema", "in_words"]

_log = logging.getLogger(__name__)

Json = dict[str, Any]

_Values = Annotated[dict[str, Any], Field(min_length=1)]
_Axis = (
    Annotated[list[str | int | float | bool], Field(min_length=1)]
    | Annotated[dict[str, dict[str, Any]], Field(min_length=1)]
)


class _Local(BaseModel, extra="allow"):
    """A class in a local file, relative to this one: ``./my_model.py:MyModel``."""

    type: Annotated[str, Field(pattern=r"\.py:[A-Za-z_][A-Za-z0-9_]*$")]


class _Untyped(BaseModel):
    """Keys of a component whose type another file or a variant sets."""

    model_config = ConfigDict(extra="allow", json_schema_extra={"not": {"required": ["type"]}})


class _Override(Settings):
    """Keys for some combinations."""

    where: _Values
    """Combinations to change: AXIS = VALUE, or a list of values. All must match."""
    set: dict[str, Any]
    """Keys and their values."""


class _Matrix(Settings):
    """Axes whose combinations are experiments.

    An axis is a dotted key in quotes with a list of values, or a name with a table of variants, each a table of keys.
    """

    model_config = ConfigDict(json_schema_extra={"additionalProperties": TypeAdapter(_Axis).json_schema()})

    exclude: list[_Values] = Field(default_factory=list)
    """Combinations to leave out: AXIS = VALUE, or a list of values."""
    override: list[_Override] = Field(default_factory=list)
    """Further keys for the combinations that match `where`."""


class _Search(SearchSettings):
    """A hyperparameter search."""

    space: dict[str, Values] = Field(min_length=1)
    """Dotted key of the experiment -> its values: a range, a list, or a table of choices, each a table of further keys
    for this choice.
    """


class _File(ExperimentTable):
    """An experiment file."""

    extends: str | None = None
    """Experiment file that this one extends, relative to this one."""
    matrix: _Matrix | None = None
    """Axes whose combinations are experiments."""
    search: _Search | None = None
    """Hyperparameter search."""


def experiment_schema() -> Json:
    """Return the schema of an experiment file, including the parameters of every installed component.

    A file that extends another may omit required keys, as may one with a matrix or a search. A component that cannot be
    imported is left out with a warning.
    """
    dataset, model, sharing, weighting, launcher = (
        _union(kind, _tables(kind)) for kind in ("dataset", "model", "sharing", "weighting", "launcher")
    )
    features = _union("features", _tables("features", FeatureSettings))
    joined = _union("joined", _tables("dataset", JoiningSettings))
    term = _union("loss", _tables("loss"))
    loss = _one_or_several(term, term)
    task_fields: Any = {"loss": (loss | None, TaskSettings.model_fields["loss"])}
    task = create_model("TaskSettings", __base__=TaskSettings, **task_fields)
    types = {
        "dataset": _one_or_several(dataset, joined),
        "features": _one_or_several(features, features) | None,
        "model": model,
        "losses": dict[TargetKind, loss],  # type: ignore[valid-type]  # made at run time
        "tasks": dict[TaskName, task],  # type: ignore[valid-type]
        "sharing": sharing,
        "weighting": weighting,
        "launcher": launcher,
        "augment": GenericAlias(list, (_union("augmentation", _tables("augmentation", AugmentSettings)),)),
        "plugins": _plugins(),
    }
    fields: Any = {key: (hint, ExperimentTable.model_fields[key]) for key, hint in types.items()}
    schema = create_model("Experiment", __base__=_File, __doc__=_File.__doc__, **fields).model_json_schema(
        schema_generator=_Generator
    )
    required = [key for key in schema.pop("required") if key != "name"]
    typed = {kind: {"required": ["type"]} for kind in ("dataset", "model")}
    return {
        "$schema": "https://json-schema.org/draft/2020-12/schema",
        "title": "musicemo experiment",
        **schema,
        "if": {"not": {"anyOf": [{"required": [key]} for key in ("extends", "matrix", "search", "ensemble")]}},
        "then": {"required": required, "properties": typed},
    }


def component_schema(kind: str, name: str, component: Any) -> Json:
    """Return the schema of one component's table.

    Raises:
        InputError: Its signature cannot be read.
    """
    return component_table(kind, name, component).model_json_schema(schema_generator=_Generator)


def in_words(schema: Json, definitions: Json, within: Sequence[str] = ()) -> str:
    """Return a JSON Schema as text: ``integer > 0``, ``"l2" or "kl"``, ``array of number, or absent``.

    Args:
        schema: the schema of a value.
        definitions: the schemas that it refers to, by name.
        within: the definitions that it is a part of; one that contains itself is a value of any kind.
    """
    if "$ref" in schema:
        name = schema["$ref"].rpartition("/")[2]
        return "value" if name in within else in_words(definitions[name], definitions, (*within, name))
    if "const" in schema:
        return json.dumps(schema["const"])
    if "enum" in schema:
        return " or ".join(json.dumps(value) for value in schema["enum"])
    if "anyOf" in schema:
        branches = [
            "absent" if branch.get("type") == "null" else in_words(branch, definitions, within)
            for branch in schema["anyOf"]
        ]
        return " or ".join(dict.fromkeys(branches))
    kind = schema.get("type", "anything")
    if isinstance(kind, list):
        return " or ".join(kind)
    if kind == "string" and schema.get("format") == "path":
        return "path"
    if kind == "array" and isinstance(schema.get("items"), dict):
        return f"array of {in_words(schema['items'], definitions, within)}"
    if kind == "object":
        inner = schema.get("additionalProperties")
        return f"table of {in_words(inner, definitions, within)}" if isinstance(inner, dict) else "table"
    signs = {"exclusiveMinimum": ">", "minimum": ">=", "exclusiveMaximum": "<", "maximum": "<="}
    return " ".join([kind, *(f"{sign} {schema[name]}" for name, sign in signs.items() if name in schema)])


def _tables(kind: str, base: type[BaseModel] | None = None) -> list[type[BaseModel]]:
    """Return the models of the tables of every installed component of a kind that can be imported."""
    return [component_table(kind, name, component, base) for name, component in _components(kind)]


def _plugins() -> type[BaseModel]:
    """Return the model of the tables ``[plugins.NAME]``: NAME is an installed plugin, or ``type`` is one or local."""
    tables = {name: component_table("plugin", name, one, PluginSettings) for name, one in _components("plugin")}
    named: dict[str, Any] = {}
    for name, table in tables.items():
        optional: Any = {"type": (Literal[name], name)}
        model = create_model(f"plugins.{name}", __base__=table, __doc__=table.__doc__, **optional)
        named[name] = (model | None, Field(default=None, description=summary(table) or None))
    others = GenericAlias(dict, (str, _union("plugin", [*tables.values()])))
    annotations = {"__pydantic_extra__": others}
    base = type("_Plugins", (BaseModel,), {"__annotations__": annotations, "model_config": {"extra": "allow"}})
    return create_model("Plugins", __base__=base, **named)


def _components(kind: str) -> Iterator[tuple[str, Any]]:
    for name in sorted({claim.name for claim in registry.claims(kind)}):
        try:
            component = load_factory(kind, name)
            table_schema(component, kind)
        except InputError as error:
            _log.warning(f"{error}. It is ignored")
        else:
            yield name, component


def _union(name: str, models: list[type[BaseModel]]) -> Any:
    """Return a type that is a definition of this name in the JSON Schema: one of the tables."""
    return TypeAliasType(name, Union[(*models, _Local, _Untyped)])


def _one_or_several(one: Any, item: Any) -> Any:
    """Return the type of a table, or of a list of tables that is not empty."""
    return one | Annotated[list[item], Field(min_length=1)]


class _Generator(GenerateJsonSchema):
    """A generator that sets no titles and keeps the colon of ``model:cnn`` in names of definitions."""

    def field_title_should_be_set(self, schema: Any) -> bool:
        return False

    def normalize_name(self, name: str) -> str:
        return name if ":" in name else super().normalize_name(name)

    def model_schema(self, schema: Any) -> Json:
        table = super().model_schema(schema)
        table.pop("title", None)
        return table
