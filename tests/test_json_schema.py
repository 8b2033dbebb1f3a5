"""The JSON Schema of experiment files, against files that are right and wrong."""

from __future__ import annotations

import tomllib
from pathlib import Path

import fakes as fakes_module
import jsonschema
import pytest
from complaints import warns

from musicemo.components import registry
from musicemo.components.documentation import parameter_docs, summary
from musicemo.errors import InputError
from musicemo.experiment import load_experiment
from musicemo.experiment.json_schema import component_schema, experiment_schema, in_words
from musicemo.settings import Settings

EXPERIMENTS = sorted((Path(__file__).parents[1] / "experiments").glob("**/*.toml"))


@pytest.fixture(scope="module")
def installed():
    """Return the validator of what is installed."""
    schema = experiment_schema()
    jsonschema.Draft202012Validator.check_schema(schema)
    return jsonschema.Draft202012Validator(schema)


@pytest.fixture
def problems(fakes):
    """Return what the schema of the fakes says of a text."""
    validator = jsonschema.Draft202012Validator(experiment_schema())
    return lambda text: [error.message for error in validator.iter_errors(tomllib.loads(text))]


@pytest.mark.slow
@pytest.mark.parametrize("path", EXPERIMENTS, ids=lambda path: f"{path.parent.name}-{path.stem}")
def test_every_experiment_fits(path, installed):
    assert not [error.message for error in installed.iter_errors(tomllib.loads(path.read_text()))]


@pytest.mark.slow
def test_every_key_is_described(installed):
    def walk(schema, place):
        if isinstance(schema, dict):
            for name, key in schema.get("properties", {}).items():
                told = name == "type" or "description" in key or "then" in place
                assert told, f"{place}.{name}: describe it in a docstring below it, or under Args"
            for name, inner in schema.items():
                walk(inner, f"{place}.{name}")
        elif isinstance(schema, list):
            for inner in schema:
                walk(inner, place)

    walk(installed.schema, "")


def test_a_right_file_fits(problems):
    assert problems(fakes_module.EXPERIMENT) == []


@pytest.mark.slow
@pytest.mark.parametrize(
    ("old", "new"),
    [
        ("seed = 0", "sede = 0"),
        ("seed = 0", "seed = -1"),
        ("epochs = 3", "epochs = 0"),
        ("epochs = 3", 'epochs = "3"'),
        ('type = "adam"', 'type = "adamant"'),
        ("lr = 1e-2", "lr = 0"),
        ('type = "memory"', 'type = "memories"'),
        ('type = "memory"', 'type = "memory"\ntracks = 0'),
        ('type = "memory"', 'type = "memory"\ntrack = 9'),
        ('type = "memory"', "tracks = 9"),
        ('type = "memory"', 'type = "memory"\nproportion = 1'),
        ('[dataset]\ntype = "memory"', '[[dataset]]\ntype = "memory"\nproportion = 0'),
        ('[dataset]\ntype = "memory"', '[[dataset]]\ntype = "memory"\nsplit = { method = "kfold" }'),
        ('type = "means"', 'type = "means"\nhidden = 1.5'),
        ('type = "means"', 'type = "means"\ninput_size = 140'),
        ('type = "squared-error"', 'type = "squared-error", weight = 0'),
        ('type = "squared-error"', 'type = "squared-eror"'),
        ('loss = { type = "squared-error" }', "loss = []"),
        ("[tasks.genre]", "[tasks.genre]\nclasses = { jazz = true }"),
        ('[model]\ntype = "means"', ""),
        ("[training]", '[losses]\nregression = [{ type = "squared-eror" }]\n[training]'),
        ("[training]", "[matrix]\nseed = 3\n[training]"),
        ("[training]", "[matrix]\na.b = 3\n[training]"),
        ("[training]", "[matrix]\na.b = {}\nexclude = [{}]\n[training]"),
        ("[training]", "[search]\ntrials = 0\n[search.space]\n'model.hidden' = [4]\n[training]"),
        ("[training]", "[search.space]\n'model.hidden' = { low = 4, hihg = 8 }\n[training]"),
        ("[training]", "[search.space]\n'model.hidden' = []\n[training]"),
        ("[training]", "[search]\nsampler = 'random'\n[training]"),
    ],
)
def test_what_musicemo_refuses_does_not_fit(old, new, problems, experiment_file):
    text = fakes_module.EXPERIMENT.replace(old, new)
    assert text != fakes_module.EXPERIMENT
    experiment_file.write_text(text)
    with pytest.raises(InputError):
        load_experiment(experiment_file)
    assert problems(text)


@pytest.mark.slow
@pytest.mark.parametrize(
    "text",
    [
        'extends = "base.toml"',
        'extends = "base.toml"\n[model]\nhidden = 3',
        fakes_module.EXPERIMENT.replace('type = "squared-error"', 'type = "squared-error", weight = 2'),
        fakes_module.EXPERIMENT.replace(
            '{ type = "squared-error" }', '[{ type = "squared-error" }, { type = "mse" }]'
        ),
        fakes_module.EXPERIMENT.replace(
            "[dataset]",
            '[[dataset]]\ntype = "memory"\ntracks = 9\nname = "a"\nproportion = 2\nsplit = { test = 0.1 }\n[[dataset]]'
            '\nname = "b"\nproportion = 1',
        ),
        fakes_module.EXPERIMENT.replace("epochs = 3", "early_stopping = { patience = false }"),
        fakes_module.EXPERIMENT
        + '[losses]\nregression.type = "mse"\n[matrix]\n"split.seed" = [1, 2]\na.b.model = {}',
        '[search]\ntrials = 9\n[search.space]\n"model.type" = { means = { "model.hidden" = { low = 1, high = 4 } } }',
        '[matrix]\n"dataset.type" = ["memory"]\noverride = [{ where = { type = "memory" }, set = { tasks.a = {} } }]',
    ],
)
def test_what_musicemo_takes_fits(text, problems):
    assert problems(text) == []


def test_a_component_that_cannot_be_imported_is_left_out_with_a_warning(fakes):
    fakes("model", "rotten", "no_such_module:Model")
    with warns("'rotten'.*It is ignored"):
        schema = experiment_schema()
    assert "model:means" in schema["$defs"]
    assert "model:rotten" not in schema["$defs"]


class Documented(Settings):
    """A table
    in two lines.
    """

    first: int = 0
    """First number,
    in two lines."""
    second: int = 0
    third: int = 0
    """Third number."""


class Child(Documented):
    """Another."""

    second: int = 1
    """Changed."""


class Component:
    """One line.

    Args:
        width: Of the layer,
            in units: many.
        depth (int): Number of layers.

    Shape: `[batch]`.
    """

    def __init__(self, width: int, depth: int, other: int = 0) -> None:
        """Make one.

        Args:
            other: Something else.
        """


class Narrow(Component):
    """Another line.

    Args:
        width: A narrower one.
    """


@pytest.mark.parametrize(
    "name", ["deam", "emomusic", "emopia", "emotify", "fma", "magnatagatune", "mtg-jamendo", "musav", "pmemo"]
)
def test_datasets_in_published_layouts_say_what_they_share(name):
    found = component_schema("dataset", name, registry.load("dataset", name))
    assert {"root", "on_error"} < set(found["properties"])
    assert found["required"] == ["type", "root"]
    assert all("description" in value for key, value in found["properties"].items() if key != "type")


def test_what_the_code_says_of_itself():
    described = {name: key.get("description") for name, key in Child.model_json_schema()["properties"].items()}
    assert described == {
        "first": "First number,\nin two lines.",
        "second": "Changed.",
        "third": "Third number.",
    }
    assert summary(Documented) == "A table in two lines."
    assert parameter_docs(Component) == {
        "width": "Of the layer, in units: many.",
        "depth": "Number of layers.",
        "other": "Something else.",
    }
    found = component_schema("model", "documented", Component)
    assert found["properties"]["width"]["description"] == "Of the layer, in units: many."
    assert found["required"] == ["type", "width", "depth"]
    assert parameter_docs(Narrow) == {**parameter_docs(Component), "width": "A narrower one."}


def test_a_type_that_contains_itself_is_put_into_words():
    node = {"anyOf": [{"type": "string"}, {"type": "array", "items": {"$ref": "#/$defs/node"}}]}
    assert in_words({"$ref": "#/$defs/node"}, {"node": node}) == "string or array of value"
    schema = experiment_schema()
    for table in schema["properties"].values():
        assert in_words(table, schema["$defs"])
