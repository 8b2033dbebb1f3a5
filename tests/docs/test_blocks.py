"""Every block of every page is what it says it is; those of the tutorials are run, in test_tutorials.py."""

from __future__ import annotations

import ast
import importlib.util
import json
import tomllib

import jsonschema
import pytest
from documented_blocks import PAGES, ROOT, blocks
from musicemo_builtin.datasets import deam, emomusic, emotify, fma, lab, pmemo
from musicemo_builtin.datasets.synth import Synth

from musicemo.experiment.json_schema import experiment_schema
from musicemo.experiment.protocol import ProtocolTable
from musicemo.settings import validate

BLOCKS = [block for page in PAGES for block in blocks(page)]
LANGUAGES = {"console", "json", "python", "sh", "text", "toml"}
OTHER_TOML = {"pyproject.toml", ".taplo.toml"}


def of(language: str):
    return pytest.mark.parametrize("block", [one for one in BLOCKS if one.language == language], ids=str)


@pytest.mark.parametrize("block", BLOCKS, ids=str)
def test_every_block_names_its_language(block):
    assert block.language in LANGUAGES, f"{block}: so that it is coloured, and checked"


@of("json")
def test_json_is_json(block):
    json.loads(block.text)


@pytest.fixture(scope="module")
def schema():
    return jsonschema.Draft202012Validator(experiment_schema())


@pytest.mark.slow
@of("toml")
def test_toml_is_an_experiment_or_a_piece_of_one(block, schema):
    table = tomllib.loads(block.text)
    if block.title in OTHER_TOML:
        return
    if isinstance(table.get("protocol"), dict):
        validate(ProtocolTable, table["protocol"])  # its other tables name a dataset that is an example
        return
    problems = [
        f"{'.'.join(map(str, error.absolute_path))}: {error.message[:300]}"
        for error in schema.iter_errors({"extends": "what else it needs", **table})
    ]
    assert not problems, f"{block}: {problems}"


#: Built-in dataset -> the targets that it declares, whatever its folder holds.
TARGETS = {
    "synth": [target.name for target in Synth().targets],
    "lab": ["genre", *lab.EMOTIONS],
    "emotify": ["genre", *emotify.EMOTIONS],
    "deam": list(deam._TARGETS),
    "emomusic": ["genre", *emomusic._TARGETS],
    "emopia": ["quadrant", "valence_class", "arousal_class"],
    "magnatagatune": ["tags"],
    "mtg-jamendo": ["moodtheme"],
    "pmemo": list(pmemo._TARGETS),
    "fma": ["genre", *fma.ECHONEST],
}


def declared(dataset: dict) -> list[str] | None:
    """Return the targets of a table `[dataset]`; None if it does not say them."""
    if dataset.get("type") in ("table", "mirdata"):
        keys = ("regression", "classification", "tags", "tag_columns", "pair_targets", "series_targets")
        return [name for key in keys for name in dataset.get(key, ())]
    return TARGETS.get(dataset.get("type"))


def undeclared(table: dict) -> list[str]:
    """Return the targets of tasks that an experiment's datasets do not declare."""
    datasets = table.get("dataset", [])
    datasets = {
        one.get("name", one["type"]): declared(one)
        for one in ([datasets] if isinstance(datasets, dict) else datasets)
        if "type" in one
    }
    if not datasets or None in datasets.values():
        return []
    wrong = []
    for name, task in table.get("tasks", {}).items():
        target = task.get("target", name)
        if isinstance(target, dict):
            wrong += [
                f"{dataset}: {one}" for dataset, one in target.items() if one not in datasets.get(dataset, [])
            ]
        elif not any(target in names for names in datasets.values()):
            wrong.append(f"tasks.{name}: {target}")
    return wrong


COMPLETE = [
    (block.page.name, table)
    for page in [*PAGES, ROOT / "README.md"]
    for block in blocks(page)
    if block.language == "toml" and "dataset" in (table := tomllib.loads(block.text))
]


@pytest.mark.parametrize(("page", "table"), COMPLETE)
def test_tasks_of_a_block_are_targets_of_its_datasets(page, table):
    assert not undeclared(table), page


def test_a_target_that_is_not_declared_is_noticed():
    assert len(COMPLETE) > 5
    deam = {"type": "deam", "root": ""}
    assert undeclared({"dataset": deam, "tasks": {"valence_mean": {}}}) == ["tasks.valence_mean: valence_mean"]
    joined = {
        "dataset": [deam, {"type": "pmemo"}],
        "tasks": {"v": {"target": {"deam": "valence_mean", "pmemo": "valence"}}},
    }
    assert undeclared(joined) == ["deam: valence_mean"]


@pytest.mark.slow
@of("python")
def test_python_compiles_and_its_imports_are_there(block):
    tree = ast.parse(block.text, str(block))
    own = {other.title.removesuffix(".py") for other in blocks(block.page) if other.title.endswith(".py")}
    for node in ast.walk(tree):
        if isinstance(node, ast.Import):
            for alias in node.names:
                importlib.import_module(alias.name)
        elif isinstance(node, ast.ImportFrom) and node.module not in own:
            module = importlib.import_module(str(node.module))
            for alias in node.names:
                inner = hasattr(module, "__path__") and importlib.util.find_spec(f"{node.module}.{alias.name}")
                assert hasattr(module, alias.name) or inner, f"{block}: {node.module} has no {alias.name}"
