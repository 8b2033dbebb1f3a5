"""A constructor's signature as a schema."""

from pathlib import Path
from typing import TYPE_CHECKING, Annotated, Any, Literal

import fakes as components
import pytest
from pydantic import Field, ValidationError

from musicemo.components.spec import signature_schema
from musicemo.contracts import PROVIDED
from musicemo.errors import InputError
from musicemo.settings import validate

if TYPE_CHECKING:
    from nowhere import Unknown


class Everything:
    def __init__(
        self,
        whole: int,
        *,
        number: float = 0.5,
        switch: bool = False,
        name: str | None = None,
        size: Annotated[int, Field(gt=0, le=10)] = 3,
        norm: Literal["l2", "kl"] = "l2",
        folder: Path = Path("data"),
        pair: tuple[int, int] = (1, 2),
        weights: dict[str, float] | None = None,
        input_size: int = 0,
        **more: object,
    ) -> None:
        self.whole = whole


@pytest.fixture
def schema():
    return signature_schema(Everything, PROVIDED["model"])


def errors(schema, table) -> dict[tuple, str]:
    with pytest.raises(ValidationError) as caught:
        validate(schema, table)
    return {details["loc"]: details["type"] for details in caught.value.errors()}


def test_the_signature_is_the_schema(schema):
    assert list(schema.model_fields) == [
        *("whole", "number", "switch", "name", "size", "norm", "folder", "pair", "weights")
    ]
    found = validate(schema, {"whole": 1})
    assert found.model_dump() == {
        **{"whole": 1, "number": 0.5, "switch": False, "name": None, "size": 3, "norm": "l2"},
        **{"folder": Path("data"), "pair": (1, 2), "weights": None},
    }


def test_provided_parameters_are_no_keys(schema):
    assert errors(schema, {"whole": 1, "input_size": 12}) == {("input_size",): "extra_forbidden"}
    assert "input_size" in signature_schema(Everything).model_fields


def test_every_error_is_found(schema):
    assert errors(schema, {"size": 0, "norm": "l1", "extra": 1}) == {
        ("whole",): "missing",
        ("size",): "greater_than",
        ("norm",): "literal_error",
        ("extra",): "extra_forbidden",
    }


@pytest.mark.parametrize(
    ("key", "value", "expected"),
    [
        ("number", 3, 3.0),
        ("folder", "a/b", Path("a/b")),
        ("pair", [3, 4], (3, 4)),
        ("weights", {"a": 1, "b": 0.5}, {"a": 1.0, "b": 0.5}),
        ("name", "x", "x"),
    ],
)
def test_toml_types_are_taken_as_they_are_meant(schema, key, value, expected):
    found = getattr(validate(schema, {"whole": 1, key: value}), key)
    assert found == expected
    assert type(found) is type(expected)


@pytest.mark.parametrize(
    ("key", "value"),
    [
        ("whole", "3"),
        ("whole", True),
        ("whole", 3.0),
        ("number", "0.5"),
        ("number", True),
        ("switch", 1),
        ("switch", "true"),
        ("name", 3),
        ("size", 11),
        ("folder", 3),
        ("pair", [1]),
        ("pair", [1, "2"]),
        ("pair", [1, 2, 3]),
    ],
)
def test_types_are_strict(schema, key, value):
    assert [loc[0] for loc in errors(schema, {"whole": 1, key: value})] == [key]


def test_components_without_parameters():
    class Plain:
        pass

    def function() -> Plain:
        return Plain()

    for component in (Plain, function, components.SquaredError):
        assert errors(signature_schema(component), {"x": 1}) == {("x",): "extra_forbidden"}
        validate(signature_schema(component), {})


def test_a_function_may_be_a_component():
    def build(*, size: int = 3) -> object:
        return object()

    assert validate(signature_schema(build), {"size": 4}).model_dump() == {"size": 4}


def test_parameters_named_like_pydantics_own(recwarn):
    def build(*, copy: bool = False, schema: str = "a", json: int = 1, model_type: str = "x") -> object:
        return object()

    table = {"copy": True, "schema": "b", "json": 2, "model_type": "y"}
    assert validate(signature_schema(build), table).model_dump() == table
    found = validate(signature_schema(build), {})
    assert [getattr(found, name) for name in table] == [False, "a", 1, "x"]
    assert not recwarn


def test_an_annotation_that_cannot_be_resolved_is_the_components_fault():
    def build(*, size: "Unknown") -> object:
        return object()

    with pytest.raises(
        InputError, match=r"the parameters of .*test_signatures\.build cannot be read: NameError.*Unknown"
    ):
        signature_schema(build)


def test_a_parameter_without_annotation_is_refused_and_one_of_any_type_takes_anything():
    def build(size=3) -> object:
        return object()

    def anything(size: Any = 3) -> object:
        return object()

    with pytest.raises(InputError, match=r"the parameter 'size' of .*test_signatures\.build needs a type"):
        signature_schema(build)
    assert validate(signature_schema(anything), {"size": [1, "a"]}).size == [1, "a"]
    assert not signature_schema(build, {"size": "filled in"}).model_fields
