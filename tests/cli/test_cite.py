"""``musicemo data --cite``."""

from pathlib import Path

import pytest
from typer.testing import CliRunner

from musicemo.cli._app import make_app
from musicemo.components import registry
from musicemo.errors import InputError

ROOT = Path(__file__).parents[2]
OF_OTHERS = (
    "deam",
    "emomusic",
    "emopia",
    "emotify",
    "fma",
    "lab",
    "magnatagatune",
    "mirdata",
    "mtg-jamendo",
    "pmemo",
)


def cite(what: str | Path) -> str:
    found = CliRunner().invoke(make_app(), ["data", "--cite", str(what)], catch_exceptions=False)
    assert found.exit_code == 0
    return found.stdout


@pytest.mark.parametrize("name", OF_OTHERS)
def test_a_dataset_of_others_has_a_citation_and_a_licence(name):
    text = cite(name)
    assert registry.load("dataset", name).citation in text
    assert "\nLicense: " in text
    assert any(f" {year}" in text for year in range(2009, 2022)) or name == "mirdata"


def test_an_experiments_dataset():
    assert cite(ROOT / "experiments/emotify/multitask.toml") == cite("emotify")


def test_an_experiments_several_datasets_are_cited_once_each(tmp_path):
    text = '[model]\ntype = "cnn"\n[tasks.valence]\n'
    for name, kind in (("a", "lab"), ("b", "deam"), ("c", "lab")):
        text += f'[[dataset]]\ntype = "{kind}"\nname = "{name}"\nroot = "{tmp_path}"\n'
    path = tmp_path / "several.toml"
    path.write_text(text)
    assert cite(path) == cite("lab") + cite("deam")


def test_a_dataset_without_a_citation():
    assert cite("table") == "The dataset 'table' has no citation. Cite the authors of your data.\n"


def test_an_unknown_name():
    with pytest.raises(InputError, match="no dataset has the name 'emotfy'; did you mean 'emotify'"):
        cite("emotfy")
