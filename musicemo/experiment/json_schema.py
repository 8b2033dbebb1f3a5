"""The JSON Schema of an experiment file, with which editors complete and check one as it is written."""

from __future__ import annotations

import json
import warnings
from collections.abc import Iterator
from typing import Any

from pydantic.json_schema import GenerateJsonSchema

from musicemo.components import registry
from musicemo.components.documentation import parameter_docs, summary
from musicemo.components.spec import table_schema
from musicemo.contracts import PROVIDED
from musicemo.data import JoiningSettings
from musicemo.errors import InputError
from musicemo.experiment import ExperimentTable

__all__ = ["component_schema", "experiment_schema", "in_words"]

Json = dict[str, Any]

_WEIGHT = {
    "type": "number",
    "exclusiveMinimum": 0,
    "default": 1.0,
    "description": "What the term is multiplied by in the task's loss.",
}
_LOCAL = {
    "properties": {"type": {"type": "string", "pattern": r"\.py:[A-Za-z_][A-Za-z0-9_]*$"}},
    "required": ["type"],
    "description": "A class in a file of your own, relative to this one: ./my_model.py:MyModel.",
}
_EXTENDS = {
    "type": "string",
    "description": "Another experiment file, relative to this one, which this one is laid over.",
}
_RULE = {"type": "object", "minProperties": 1}
_MATRIX = {
    "type": "object",
    "description": "Axes, whose every combination is an experiment: a dotted key in quotes with a list of values, "
    "or a name with a table of variants, each of the keys that it lays over the file.",
    "properties": {
        "exclude": {
            "type": "array",
            "items": _RULE,
            "description": "Combinations to leave out: AXIS = VALUE, or a list of values.",
        },
        "override": {
            "type": "array",
            "items": {
                "type": "object",
                "properties": {
                    "where": {**_RULE, "description": "AXIS = VALUE, or a list of values; all must hold."},
                    "set": {"type": "object", "description": "The keys."},
                },
                "required": ["where", "set"],
                "additionalProperties": False,
            },
            "description": "More keys for the combinations that `where` describes.",
        },
    },
    "additionalProperties": {
        "anyOf": [
            {"type": "array", "items": {"type": ["string", "number", "boolean"]}, "minItems": 1},
            {"type": "object", "additionalProperties": {"type": "object"}, "minProperties": 1},
        ]
    },
}


def experiment_schema() -> Json:
    """Return the schema of an experiment file, the parameters of every installed component included.

    A table of a component is one of those installed, told apart by ``type``. In a file that extends another, what
    the other has may be absent, and so may, in one with a matrix, what its variants have. A component that cannot be
    imported is left out with a warning.
    """
    schema = ExperimentTable.model_json_schema(schema_generator=_Untitled)
    definitions, keys = schema["$defs"], schema["properties"]
    for kind in PROVIDED:
        definitions |= {f"{kind}:{name}": found for name, found in _components(kind)}
        chosen = [{"$ref": f"#/$defs/{key}"} for key in definitions if key.startswith(f"{kind}:")]
        definitions[kind] = {"type": "object", "oneOf": [*chosen, _LOCAL, {"not": {"required": ["type"]}}]}
    _add_joined(definitions)
    for kind in ("dataset", "model", "weighting"):
        keys[kind] = {"$ref": f"#/$defs/{kind}", "description": keys[kind]["description"]}
    several = {"type": "array", "items": {"$ref": "#/$defs/joined"}, "minItems": 1}
    keys["dataset"] = {
        "anyOf": [{"$ref": "#/$defs/dataset"}, several],
        "description": keys["dataset"]["description"],
    }
    losses = definitions["TaskSettings"]["properties"]["loss"]
    terms = {"type": "array", "items": {"$ref": "#/$defs/loss"}, "minItems": 1}
    losses["anyOf"] = [{"$ref": "#/$defs/loss"}, terms]
    keys["losses"]["additionalProperties"] = {"anyOf": losses["anyOf"]}
    keys["extends"] = _EXTENDS
    keys["matrix"] = _MATRIX
    required = schema.pop("required")
    typed = {kind: {"required": ["type"]} for kind in ("dataset", "model")}
    return {
        "$schema": "https://json-schema.org/draft/2020-12/schema",
        "title": "musicemo experiment",
        **schema,
        "if": {"not": {"anyOf": [{"required": ["extends"]}, {"required": ["matrix"]}]}},
        "then": {"required": [key for key in required if key != "name"], "properties": typed},
    }


def _add_joined(definitions: dict[str, Json]) -> None:
    """Define the tables of joined datasets: those of one, and the keys for joining."""
    joining = JoiningSettings.model_json_schema(schema_generator=_Untitled)
    definitions |= joining.pop("$defs")
    definitions["JoiningSettings"] = joining
    for key in [key for key in definitions if key.startswith("dataset:")]:
        table = definitions[key]
        properties = {**table["properties"], **joining["properties"]}
        definitions[f"joined:{key.partition(':')[2]}"] = {**table, "properties": properties}
    chosen = [{"$ref": f"#/$defs/{key}"} for key in definitions if key.startswith("joined:")]
    definitions["joined"] = {"type": "object", "oneOf": [*chosen, _LOCAL, {"not": {"required": ["type"]}}]}


def component_schema(kind: str, name: str, component: Any) -> Json:
    """Return the schema of one component's table.

    Raises:
        InputError: its signature cannot be read.
    """
    table = table_schema(component, kind)
    found = table.model_json_schema(schema_generator=_Untitled)
    keys = found.setdefault("properties", {})
    for key, text in parameter_docs(component).items():
        if key in keys:
            keys[key]["description"] = text
    found["properties"] = {"type": {"const": name}, **keys, **({"weight": _WEIGHT} if kind == "loss" else {})}
    found["required"] = ["type", *found.get("required", ())]
    found["description"] = summary(component)
    return found


def in_words(schema: Json, definitions: Json) -> str:
    """Return a JSON Schema in words: ``integer > 0``, ``"l2" or "kl"``, ``array of number, or absent``."""
    if "$ref" in schema:
        return in_words(definitions[schema["$ref"].rpartition("/")[2]], definitions)
    if "const" in schema:
        return json.dumps(schema["const"])
    if "enum" in schema:
        return " or ".join(json.dumps(value) for value in schema["enum"])
    if "anyOf" in schema:
        return " or ".join(
            "absent" if branch.get("type") == "null" else in_words(branch, definitions)
            for branch in schema["anyOf"]
        )
    kind = schema.get("type", "anything")
    if isinstance(kind, list):
        return " or ".join(kind)
    if kind == "string" and schema.get("format") == "path":
        return "path"
    if kind == "array" and isinstance(schema.get("items"), dict):
        return f"array of {in_words(schema['items'], definitions)}"
    if kind == "object":
        inner = schema.get("additionalProperties")
        return f"table of {in_words(inner, definitions)}" if isinstance(inner, dict) else "table"
    signs = {"exclusiveMinimum": ">", "minimum": ">=", "exclusiveMaximum": "<", "maximum": "<="}
    return " ".join([kind, *(f"{sign} {schema[name]}" for name, sign in signs.items() if name in schema)])


def _components(kind: str) -> Iterator[tuple[str, Json]]:
    for name in sorted({claim.name for claim in registry.claims(kind)}):
        try:
            yield name, component_schema(kind, name, registry.load(kind, name))
        except InputError as error:
            warnings.warn(f"{error}; it is left out", stacklevel=3)


class _Untitled(GenerateJsonSchema):
    """Without a title for every key that only spells the key in another way."""

    def field_title_should_be_set(self, schema: Any) -> bool:
        return False

    def model_schema(self, schema: Any) -> Json:
        found = super().model_schema(schema)
        found.pop("title", None)
        return found
