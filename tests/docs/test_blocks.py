"""Every block of every page is what it says it is; those of the tutorials are run, in test_tutorials.py."""

from __future__ import annotations

import ast
import importlib.util
import json
import tomllib

import jsonschema
import pytest
from markdown import PAGES, blocks

from musicemo.json_schema import experiment_schema

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


@of("toml")
def test_toml_is_an_experiment_or_a_piece_of_one(block, schema):
    table = tomllib.loads(block.text)
    if block.title in OTHER_TOML:
        return
    problems = [
        f"{'.'.join(map(str, error.absolute_path))}: {error.message[:300]}"
        for error in schema.iter_errors({"extends": "what else it needs", **table})
    ]
    assert not problems, f"{block}: {problems}"


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
