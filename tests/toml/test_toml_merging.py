"""Tables and overrides over tables."""

import datetime
from pathlib import Path

import pytest

from musicemo import toml
from musicemo.errors import InputError


def merged(toml_file, base: str, top: str, *overrides: str) -> toml.Source:
    toml_file(base, "base.toml")
    return toml.read(toml_file(f"extends = 'base.toml'\n{top}"), list(overrides))


def test_tables_merge_and_lists_replace(toml_file):
    source = merged(
        toml_file,
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


def test_a_component_of_another_type_replaces(toml_file):
    source = merged(
        toml_file,
        "[model]\ntype = 'a'\nhidden = 3\n[training]\noptimizer = { type = 'sgd', momentum = 1, lr = 2 }\n",
        "[model]\ntype = 'b'\nsize = 1\n",
        "training.optimizer.type=adam",
    )
    assert source.table["model"] == {"type": "b", "size": 1}
    assert source.table["training"]["optimizer"] == {"type": "adam"}
    assert ("model", "hidden") not in source.origins
    assert ("training", "optimizer", "lr") not in source.origins


def test_a_component_of_another_type_is_blamed_where_that_is_given(toml_file):
    source = merged(
        toml_file, "[model]\ntype = 'a'\n[loss]\ntype = 'a'\n", "\n\n[model]\ntype = 'b'\n", "loss.type=c"
    )
    assert source.error(("model",), "bad").endswith("e.toml:4: model: bad")
    assert "--set" in source.error(("loss",), "bad")


def test_a_component_of_the_same_type_merges(toml_file):
    source = merged(toml_file, "[model]\ntype = 'a'\nx = 1\n", "[model]\ntype = 'a'\ny = 2\n")
    assert source.table["model"] == {"type": "a", "x": 1, "y": 2}


def test_a_task_named_type_is_no_component(toml_file):
    source = merged(toml_file, "[tasks.type]\ntarget = 'a'\n[tasks.v]\n", "[tasks.type]\ntarget = 'b'\n")
    assert source.table["tasks"] == {"type": {"target": "b"}, "v": {}}


def test_the_base_is_read_afresh(toml_file):
    toml_file("[model]\nx = 1\n", "base.toml")
    path = toml_file("extends = 'base.toml'\n[model]\ny = 2\n")
    assert toml.read(path, []).table == toml.read(path, []).table


def test_a_merged_table_keeps_the_line_where_it_was_opened(toml_file):
    source = merged(toml_file, "[model]\ntype = 'a'\n", "", "model.x=1")
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
def test_seed_and_seeds_are_rivals(toml_file, base, top, overrides, expected):
    source = merged(toml_file, base, top, *overrides)
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
def test_overrides_are_typed_as_toml(toml_file, given, expected):
    value = toml.read(toml_file("x = 0\n"), [f"x={given}"]).table["x"]
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
def test_override_keys(toml_file, key, expected):
    assert toml.read(toml_file(""), [f"{key}=1"]).table == expected


@pytest.mark.parametrize(
    "override", ["training.epochs", "", "a b=1", "=1", "loss[0].weight=1", "a.=1", ".a=1", "é=1"]
)
def test_malformed_overrides(toml_file, override):
    with pytest.raises(InputError, match="--set") as caught:
        toml.read(toml_file(""), [override])
    assert override in str(caught.value)


def test_overrides_win_over_files_and_the_last_wins(toml_file):
    source = merged(toml_file, "a = 1\nb = 1\nc = 1\n", "b = 2\nc = 2\n", "c=3", "d=3", "c=4")
    assert source.table == {"a": 1, "b": 2, "c": 4, "d": 3}
    assert str(source.origin(("c",))) == "--set c=4"
    assert source.origin(("c",)).folder == Path.cwd()


def test_an_override_may_replace_a_table_or_make_one(toml_file):
    source = toml.read(toml_file("[split]\nmethod = 'random'\nseed = 1\n"), ["split=3", "a.b=1"])
    assert source.table == {"split": 3, "a": {"b": 1}}
    assert ("split", "seed") not in source.origins


# Overrides are one layer: a component's type replaces it first, whatever the order.


@pytest.mark.parametrize(
    ("base", "overrides", "expected"),
    [
        ("[m]\ntype = 'a'\nx = 1\ny = 1\n", ["m.x=7", "m.type=b"], {"type": "b", "x": 7}),
        ("[m]\ntype = 'a'\nx = 1\n", ["m.x=7", "m={ type = 'b', y = 2 }"], {"type": "b", "x": 7, "y": 2}),
        ("[m]\ntype = 'a'\nx = 1\n", ["m={ type = 'b', y = 2 }", "m.type=c"], {"type": "c", "y": 2}),
        ("[m.o]\ntype = 'a'\nx = 1\n", ["m.o.lr=1", "m.o.type=b"], {"o": {"type": "b", "lr": 1}}),
        # Elements of arrays, by number, by the name that they have, and by the one that they get.
        (
            "[[m]]\ntype = 'a'\nx = 1\n[[m]]\ntype = 'b'\n",
            ["m.a.y=7", "m.0.type=c", "m.c.z=1"],
            [{"type": "c", "y": 7, "z": 1}, {"type": "b"}],
        ),
        (
            "[[m]]\ntype = 'a'\n[[m]]\ntype = 'a'\nname = 'n'\nx = 1\n",
            ["m.n.y=1", "m.n.type=b", "m.1.z=2"],
            [{"type": "a"}, {"type": "b", "y": 1, "z": 2}],
        ),
        ("m = 1\n", ["m=[{ type = 'a', w = 1 }]", "m.a.w=2"], [{"type": "a", "w": 2}]),
        ("m = 1\n", ["m.x=1", "m.x=2"], {"x": 2}),
        ("[tasks.t.classes]\ntype = 'a'\nb = 'c'\n", ["tasks.t.classes.type='x'", "m=1"], 1),
    ],
)
def test_the_order_of_overrides_does_not_matter_for_types(toml_file, base, overrides, expected):
    assert toml.read(toml_file(base), overrides).table["m"] == expected


def test_classes_are_no_components(toml_file):
    source = merged(toml_file, "[tasks.t.classes]\ntype = 'a'\nb = 'c'\n", "[tasks.t.classes]\ntype = 'x'\n")
    assert source.table["tasks"]["t"]["classes"] == {"type": "x", "b": "c"}


@pytest.mark.parametrize(
    ("base", "overrides", "expected"),
    [
        ("", ["a.b=3", "a=5"], "--set a.b=3: a.b: --set a=5 replaces this value"),
        ("[[m]]\ntype = 'a'\n", ["m.a.w=2", "m=[{ type = 'b' }]"], "--set m.a.w=2: m[0].w: --set m=[{ type = "),
        (
            "[m]\ntype = 'a'\nl = [{ name = 'n' }]\n",
            ["m.l.n.w=2", "m.type=b"],
            "--set m.l.n.w=2: m.l[0]: the array is replaced, together with m, by a component of another type",
        ),
    ],
)
def test_an_override_that_takes_another_away(toml_file, base, overrides, expected):
    with pytest.raises(InputError) as caught:
        toml.read(toml_file(base), overrides)
    assert str(caught.value).startswith(expected)


@pytest.mark.parametrize(
    "override", ["#=1", "[x]#=1", "[x]\ny=1", "a\n=1", "a=\udcff", "a.'x=1", "a=" + "[" * 1000 + "]" * 1000]
)
def test_odd_overrides(toml_file, override):
    with pytest.raises(InputError, match=r"^--set "):
        toml.read(toml_file(""), [override])


def test_a_quoted_key_may_hold_an_equals_sign(toml_file):
    assert toml.read(toml_file(""), ['a."b=c"=d=e']).table == {"a": {"b=c": "d=e"}}
