"""Tables as text, with where each value came from."""

import tomllib
from pathlib import Path

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from musicemo import toml

KEYS = st.text(st.characters(exclude_categories=["Cs", "Cc"]), min_size=1, max_size=8)
SCALARS = (
    st.booleans()
    | st.integers(-(2**63), 2**63 - 1)
    | st.floats(allow_nan=False)
    | st.text(st.characters(exclude_categories=["Cs"]), max_size=20)
)
VALUES = st.recursive(
    SCALARS, lambda inner: st.lists(inner, max_size=3) | st.dictionaries(KEYS, inner, max_size=3), max_leaves=8
)
TASK_NAMES = st.from_regex(r"\A[A-Za-z0-9][A-Za-z0-9_-]{0,6}\Z")


@st.composite
def resolved(draw):
    """Something like a resolved experiment: plain values, then tables, then tasks."""
    plain = draw(st.dictionaries(KEYS, SCALARS | st.lists(SCALARS, max_size=3), max_size=3))
    tables = draw(st.dictionaries(KEYS, st.dictionaries(KEYS, VALUES, max_size=3), max_size=3))
    tasks = draw(st.dictionaries(TASK_NAMES, st.dictionaries(KEYS, VALUES, max_size=3), min_size=1, max_size=2))
    return {**{k: v for k, v in plain.items() if k not in tables}, **tables, "tasks": tasks}


@pytest.mark.slow
@settings(deadline=None, max_examples=60)
@given(resolved())
def test_what_is_written_reads_back_equal(table):
    assert tomllib.loads(toml.write(table)) == table
    assert tomllib.loads(toml.write(table, toml.Source(Path("e.toml")))) == table


def test_layout(toml_file):
    table = {
        "name": "x",
        "training": {"epochs": 1, "optimizer": {"type": "adam"}},
        "tasks": {"v": {"loss": [{"type": "mse", "weight": 1.0}], "head": {"hidden": []}}},
    }
    assert toml.write(table) == (
        'name = "x"\n\n[training]\nepochs = 1\noptimizer = {type = "adam"}\n\n'
        '[tasks.v]\nloss = [{type = "mse", weight = 1.0}]\nhead = {hidden = []}\n'
    )


def comments(text: str) -> dict[str, str]:
    found = {}
    for line in text.splitlines():
        if " = " in line:
            content, _, comment = line.rpartition(" # ")
            found[content.partition(" = ")[0]] = comment
    return found


def test_comments_tell_where_a_value_came_from(toml_file):
    base = toml_file(
        "[model]\ntype = 'a'\nhidden = 3\nsize = 1\n[training]\noptimizer = { type = 'sgd', lr = 1 }\n",
        "base.toml",
    )
    top = toml_file("extends = 'base.toml'\nname = 'top'\n[model]\ntype = 'b'\n")
    source = toml.read(top, ["training.optimizer.lr=2", "split.method=random"])
    table = {
        "name": "top",
        "model": {"type": "b", "hidden": 7},
        "training": {"epochs": 1, "optimizer": {"type": "sgd", "lr": 2}},
        "split": {"method": "random"},
    }
    text = toml.write(table, source)
    assert tomllib.loads(text) == table
    assert comments(text) == {
        "name": f"{top}:2",
        "type": f"{top}:4",
        "hidden": "default",
        "epochs": "default",
        "optimizer": f"{base}:6, --set training.optimizer.lr=2",
        "method": "--set split.method=random",
    }


def test_the_comment_of_seeds_is_that_of_the_seed(toml_file):
    path = toml_file("name = 'x'\nseed = 4\n")
    assert comments(toml.write({"seeds": [4]}, toml.read(path, []))) == {"seeds": f"{path}:2"}
    assert comments(toml.write({"seeds": [4]}, toml.read(path, ["seeds=[4]"]))) == {"seeds": "--set seeds=[4]"}
    assert comments(toml.write({"seeds": [0]}, toml.read(toml_file(""), []))) == {"seeds": "default"}


def test_the_comment_of_several_lines_is_their_range(toml_file):
    path = toml_file("[tasks.genre.classes]\nRock = 'Pop'\nFolk = 'Pop'\n")
    table = {"tasks": {"genre": {"classes": {"Rock": "Pop", "Folk": "Pop"}, "head": {"hidden": []}}}}
    assert comments(toml.write(table, toml.read(path, []))) == {"classes": f"{path}:1-3", "head": "default"}
    source = toml.read(path, ["tasks.genre.classes.Jazz=Pop", "head.hidden=[]"])
    assert comments(toml.write(table, source)) == {
        "classes": f"{path}:1-3, --set tasks.genre.classes.Jazz=Pop",
        "head": "--set head.hidden=[]",
    }


def test_a_comment_stays_in_its_line(toml_file):
    source = toml.read(toml_file(""), ["description=a\nname = 'injected'\x00"])
    table = {"description": source.table["description"]}
    assert tomllib.loads(toml.write(table, source)) == table
