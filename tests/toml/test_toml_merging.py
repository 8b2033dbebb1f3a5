"""Tables and overrides over tables."""

import datetime
from pathlib import Path

import pytest

from musicemo import _toml
from musicemo.errors import InputError


def merged(toml, base: str, top: str, *overrides: str) -> _toml.Source:
    toml(base, "base.toml")
    return _toml.read(toml(f"extends = 'base.toml'\n{top}"), list(overrides))


def test_tables_merge_and_lists_replace(toml):
    source = merged(
        toml,
        "seeds = [1, 2, 3]\n[model]\ntype = 'a'\nx = 1\n[tasks.v]\nloss = [{ type = 'a' }, { type = 'b', w = 1 }]\n",
        "seeds = [4]\n[model]\ny = 2\n[tasks.v]\nloss = [{ type = 'c' }]\n[tasks.w]\n",
    )
    assert source.table == {
        "seeds": [4],
        "model": {"type": "a", "x": 1, "y": 2},
        "tasks": {"v": {"loss": [{"type": "c"}]}, "w": {}},
    }
    assert ("tasks", "v", "loss", 1) not in source.origins
    assert ("tasks", "v", "loss", 1, "w") not in source.origins


def test_a_component_of_another_type_replaces(toml):
    source = merged(
        toml,
        "[model]\ntype = 'a'\nhidden = 3\n[training]\noptimizer = { type = 'sgd', momentum = 1, lr = 2 }\n",
        "[model]\ntype = 'b'\nsize = 1\n",
        "training.optimizer.type=adam",
    )
    assert source.table["model"] == {"type": "b", "size": 1}
    assert source.table["training"]["optimizer"] == {"type": "adam"}
    assert ("model", "hidden") not in source.origins
    assert ("training", "optimizer", "lr") not in source.origins


def test_a_component_of_another_type_is_blamed_where_that_is_given(toml):
    source = merged(
        toml, "[model]\ntype = 'a'\n[loss]\ntype = 'a'\n", "\n\n[model]\ntype = 'b'\n", "loss.type=c"
    )
    assert source.error(("model",), "bad").endswith("e.toml:4: model: bad")
    assert "--set" in source.error(("loss",), "bad")


def test_a_component_of_the_same_type_merges(toml):
    source = merged(toml, "[model]\ntype = 'a'\nx = 1\n", "[model]\ntype = 'a'\ny = 2\n")
    assert source.table["model"] == {"type": "a", "x": 1, "y": 2}


def test_a_task_named_type_is_no_component(toml):
    source = merged(toml, "[tasks.type]\ntarget = 'a'\n[tasks.v]\n", "[tasks.type]\ntarget = 'b'\n")
    assert source.table["tasks"] == {"type": {"target": "b"}, "v": {}}


def test_the_base_is_read_afresh(toml):
    toml("[model]\nx = 1\n", "base.toml")
    path = toml("extends = 'base.toml'\n[model]\ny = 2\n")
    assert _toml.read(path, []).table == _toml.read(path, []).table


def test_a_merged_table_keeps_the_line_where_it_was_opened(toml):
    source = merged(toml, "[model]\ntype = 'a'\n", "", "model.x=1")
    assert str(source.origin(("model", "missing"))).endswith("base.toml:1")
    assert str(source.origin(("model", "x"))) == "--set model.x=1"


@pytest.mark.parametrize(
    ("base", "top", "overrides", "expected"),
    [
        ("seeds = [1, 2]\n", "seed = 3\n", [], {"seed": 3}),
        ("seed = 3\n", "seeds = [1, 2]\n", [], {"seeds": [1, 2]}),
        ("seed = 3\n", "", ["seeds=[4]"], {"seeds": [4]}),
        ("seeds = [1, 2]\n", "", ["seed=0"], {"seed": 0}),
        ("", "seed = 1\n", ["seeds=[4]", "seed=5"], {"seed": 5}),
        # In one file it is for the schema to complain.
        ("", "seed = 1\nseeds = [2]\n", [], {"seed": 1, "seeds": [2]}),
        ("", "seeds = [2]\nseed = 1\n", [], {"seed": 1, "seeds": [2]}),
    ],
)
def test_seed_and_seeds_are_rivals(toml, base, top, overrides, expected):
    source = merged(toml, base, top, *overrides)
    assert source.table == expected
    assert {key[0] for key in source.origins} == set(expected)


@pytest.mark.parametrize(
    ("given", "expected"),
    [
        ("3", 3),
        ("3.0", 3.0),
        ("1e-4", 1e-4),
        ("-2", -2),
        ("true", True),
        ("[1, 2]", [1, 2]),
        ('["a", "b"]', ["a", "b"]),
        ("{ type = 'adam', lr = 0.1 }", {"type": "adam", "lr": 0.1}),
        ("adam", "adam"),
        ('"3"', "3"),
        ("'true'", "true"),
        ("", ""),
        ("../data/x y", "../data/x y"),
        ("a=b", "a=b"),
        ("True", "True"),
        ("[1, 2", "[1, 2"),
        ("2024-02-01", datetime.date(2024, 2, 1)),
        ("1\nb = 2", "1\nb = 2"),
    ],
)
def test_overrides_are_typed_as_toml(toml, given, expected):
    value = _toml.read(toml("x = 0\n"), [f"x={given}"]).table["x"]
    assert value == expected
    assert type(value) is type(expected)


@pytest.mark.parametrize(
    ("key", "expected"),
    [
        ("a", {"a": 1}),
        ("a.b.c", {"a": {"b": {"c": 1}}}),
        (" a . b ", {"a": {"b": 1}}),
        ('a."b.c"', {"a": {"b.c": 1}}),
        ("classes.'R&B'", {"classes": {"R&B": 1}}),
        ("classes.Hip-Hop", {"classes": {"Hip-Hop": 1}}),
    ],
)
def test_override_keys(toml, key, expected):
    assert _toml.read(toml(""), [f"{key}=1"]).table == expected


@pytest.mark.parametrize(
    "override", ["training.epochs", "", "a b=1", "=1", "loss[0].weight=1", "a.=1", ".a=1", "é=1"]
)
def test_malformed_overrides(toml, override):
    with pytest.raises(InputError, match="--set") as caught:
        _toml.read(toml(""), [override])
    assert override in str(caught.value)


def test_overrides_win_over_files_and_the_last_wins(toml):
    source = merged(toml, "a = 1\nb = 1\nc = 1\n", "b = 2\nc = 2\n", "c=3", "d=3", "c=4")
    assert source.table == {"a": 1, "b": 2, "c": 4, "d": 3}
    assert str(source.origin(("c",))) == "--set c=4"
    assert source.origin(("c",)).folder == Path.cwd()


def test_an_override_may_replace_a_table_or_make_one(toml):
    source = _toml.read(toml("[split]\nmethod = 'random'\nseed = 1\n"), ["split=3", "a.b=1"])
    assert source.table == {"split": 3, "a": {"b": 1}}
    assert ("split", "seed") not in source.origins
