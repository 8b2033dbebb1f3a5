import datetime
import tomllib
from pathlib import Path

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from musicemo import _toml
from musicemo.errors import InputError


@pytest.fixture
def toml(tmp_path):
    def write(text: str, name: str = "e.toml") -> Path:
        path = tmp_path / name
        path.parent.mkdir(parents=True, exist_ok=True)
        path.write_text(text, encoding="utf-8")
        return path

    return write


def lines(source: _toml.Source) -> dict[str, int]:
    return {_toml.dotted(key): origin.line for key, origin in source.origins.items()}


def test_lines_of_plain_keys_headers_and_comments(toml):
    source = _toml.read(toml('# first\nname = "x"\n\n[training]\n# why\nepochs = 3  # few\n'), [])
    assert lines(source) == {"name": 2, "training": 4, "training.epochs": 6}


def test_lines_of_dotted_keys_and_inline_tables(toml):
    text = 'training.optimizer.lr = 1\ntraining.epochs = 2\n[model]\nhead = { type = "a", deep = { x = 1 } }\n'
    assert lines(_toml.read(toml(text), [])) == {
        "training": 1,
        "training.optimizer": 1,
        "training.optimizer.lr": 1,
        "training.epochs": 2,
        "model": 3,
        "model.head": 4,
        "model.head.type": 4,
        "model.head.deep": 4,
        "model.head.deep.x": 4,
    }


def test_an_array_over_several_lines_stands_where_it_begins(toml):
    text = '[tasks.valence]\nloss = [\n  { type = "mse" },\n  { type = "ccc" },\n]\ntarget = """\na\nb"""\nhead = 1\n'
    found = lines(_toml.read(toml(text), []))
    assert found["tasks.valence.loss"] == found["tasks.valence.loss[1].type"] == 2
    assert found["tasks.valence.target"] == 6
    assert found["tasks.valence.head"] == 9


def test_lines_of_an_array_of_tables(toml):
    text = '[[tasks.valence.loss]]\ntype = "mse"\n\n[[tasks.valence.loss]]\ntype = "ccc"\nweight = 2\n'
    found = lines(_toml.read(toml(text), []))
    assert found["tasks"] == found["tasks.valence"] == found["tasks.valence.loss"] == 1
    assert found["tasks.valence.loss[0]"] == 1
    assert found["tasks.valence.loss[0].type"] == 2
    assert found["tasks.valence.loss[1]"] == 4
    assert found["tasks.valence.loss[1].weight"] == 6


def test_only_line_feeds_end_a_line(toml):
    source = _toml.read(toml('name = "a\u2028b\x85c"  # \u2029\nseed = 1\n'), [])
    assert lines(source) == {"name": 1, "seed": 2}


def test_windows_files(tmp_path):
    path = tmp_path / "e.toml"
    path.write_bytes(b'\xef\xbb\xbfname = "x"\r\nseed = 1\r\n')
    source = _toml.read(path, [])
    assert source.table == {"name": "x", "seed": 1}
    assert lines(source) == {"name": 1, "seed": 2}


def test_origin_of_what_was_not_given_is_that_of_the_table_above(toml):
    path = toml("a = 1\n[training]\nepochs = 1\n")
    source = _toml.read(path, [])
    assert source.error(("training", "optimizer", "lr"), "no") == f"{path}:2: training.optimizer.lr: no"
    assert source.error(("nothing",), "no") == f"{path}:1: nothing: no"
    assert source.error((), "no") == f"{path}:1: no"


def test_blaming_names_the_place_of_every_problem(toml):
    path = toml("[split]\nmethod = 'random'\n")
    source = _toml.read(path, [])
    with pytest.raises(InputError) as caught, source.blaming("split", "method"):
        raise InputError("one", "two")
    assert caught.value.problems == (f"{path}:2: split.method: one", f"{path}:2: split.method: two")


# Inheritance.


def test_extends_is_relative_and_nested(toml):
    toml("seed = 1\nname = 'base'\n[training]\nepochs = 1\nbatch_size = 1\n", "deep/base.toml")
    toml("extends = 'deep/base.toml'\n[training]\nepochs = 2\n", "middle.toml")
    source = _toml.read(toml("extends = '../middle.toml'\n[training]\nlr = 3\n", "top/e.toml"), [])
    assert source.table == {"seed": 1, "name": "base", "training": {"epochs": 2, "batch_size": 1, "lr": 3}}
    assert source.origin(("name",)).file.name == "base.toml"
    assert source.origin(("training", "epochs")).file.name == "middle.toml"
    assert source.origin(("training", "lr")).file.name == "e.toml"
    assert source.origin(("name",)).folder.name == "deep"


def test_extends_the_parent_of_a_folder_of_the_same_name(toml):
    toml("seed = 1\n", "e.toml")
    assert _toml.read(toml("extends = '../e.toml'\n", "sub/e.toml"), []).table == {"seed": 1}


def test_a_circle_is_an_error(toml):
    first = toml("seed = 1\nextends = 'b.toml'\n", "a.toml")
    toml("extends = './a.toml'\n", "b.toml")
    with pytest.raises(InputError, match=r"b\.toml:1: extends: goes round in a circle: .*a\.toml <- .*b\.toml"):
        _toml.read(first, [])
    with pytest.raises(InputError, match="circle"):
        _toml.read(toml("extends = 'c.toml'\n", "c.toml"), [])


def test_a_missing_base_is_an_error(toml):
    with pytest.raises(InputError, match=r"e\.toml:2: extends: there is no file .*base\.toml"):
        _toml.read(toml("seed = 1\nextends = 'base.toml'\n"), [])


@pytest.mark.parametrize("value", ["3", "['a.toml']", "{ a = 1 }", "false", "0", "[]"])
def test_a_base_that_is_no_name_is_an_error(toml, value):
    with pytest.raises(InputError, match=r"e\.toml:1: extends: must be the name of a file, not "):
        _toml.read(toml(f"extends = {value}\n"), [])


@pytest.mark.parametrize("value", ["''", "'.'"])
def test_a_base_that_is_a_folder_is_an_error(toml, value):
    with pytest.raises(InputError, match=r"e\.toml:1: extends: there is no file "):
        _toml.read(toml(f"extends = {value}\n"), [])


def test_broken_base_is_named(toml):
    toml("seed =\n", "base.toml")
    with pytest.raises(InputError, match=r"base\.toml: is not valid TOML: .*line 1"):
        _toml.read(toml("extends = 'base.toml'\n"), [])


def test_files_that_cannot_be_read(tmp_path):
    with pytest.raises(InputError, match=r"none\.toml: cannot be read: No such file"):
        _toml.read(tmp_path / "none.toml", [])
    with pytest.raises(InputError, match="cannot be read: Is a directory"):
        _toml.read(tmp_path, [])
    latin = tmp_path / "latin.toml"
    latin.write_bytes('name = "é"'.encode("latin-1"))
    with pytest.raises(InputError, match=r"latin\.toml: is not UTF-8 text"):
        _toml.read(latin, [])


# Merging.


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


# Overrides.


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


# Writing.

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


@settings(deadline=None, max_examples=60)
@given(resolved())
def test_what_is_written_reads_back_equal(table):
    assert tomllib.loads(_toml.write(table)) == table
    assert tomllib.loads(_toml.write(table, _toml.Source(Path("e.toml")))) == table


def test_layout(toml):
    table = {
        "name": "x",
        "training": {"epochs": 1, "optimizer": {"type": "adam"}},
        "tasks": {"v": {"loss": [{"type": "mse", "weight": 1.0}], "head": {"hidden": []}}},
    }
    assert _toml.write(table) == (
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


def test_comments_tell_where_a_value_came_from(toml):
    base = toml(
        "[model]\ntype = 'a'\nhidden = 3\nsize = 1\n[training]\noptimizer = { type = 'sgd', lr = 1 }\n",
        "base.toml",
    )
    top = toml("extends = 'base.toml'\nname = 'top'\n[model]\ntype = 'b'\n")
    source = _toml.read(top, ["training.optimizer.lr=2", "split.method=random"])
    table = {
        "name": "top",
        "model": {"type": "b", "hidden": 7},
        "training": {"epochs": 1, "optimizer": {"type": "sgd", "lr": 2}},
        "split": {"method": "random"},
    }
    text = _toml.write(table, source)
    assert tomllib.loads(text) == table
    assert comments(text) == {
        "name": f"{top}:2",
        "type": f"{top}:4",
        "hidden": "default",
        "epochs": "default",
        "optimizer": f"{base}:6, --set training.optimizer.lr=2",
        "method": "--set split.method=random",
    }


def test_the_comment_of_seeds_is_that_of_the_seed(toml):
    path = toml("name = 'x'\nseed = 4\n")
    assert comments(_toml.write({"seeds": [4]}, _toml.read(path, []))) == {"seeds": f"{path}:2"}
    assert comments(_toml.write({"seeds": [4]}, _toml.read(path, ["seeds=[4]"]))) == {
        "seeds": "--set seeds=[4]"
    }
    assert comments(_toml.write({"seeds": [0]}, _toml.read(toml(""), []))) == {"seeds": "default"}


def test_the_comment_of_several_lines_is_their_range(toml):
    path = toml("[tasks.genre.classes]\nRock = 'Pop'\nFolk = 'Pop'\n")
    table = {"tasks": {"genre": {"classes": {"Rock": "Pop", "Folk": "Pop"}, "head": {"hidden": []}}}}
    assert comments(_toml.write(table, _toml.read(path, []))) == {"classes": f"{path}:1-3", "head": "default"}
    source = _toml.read(path, ["tasks.genre.classes.Jazz=Pop", "head.hidden=[]"])
    assert comments(_toml.write(table, source)) == {
        "classes": f"{path}:1-3, --set tasks.genre.classes.Jazz=Pop",
        "head": "--set head.hidden=[]",
    }


def test_a_comment_stays_in_its_line(toml):
    source = _toml.read(toml(""), ["description=a\nname = 'injected'\x00"])
    table = {"description": source.table["description"]}
    assert tomllib.loads(_toml.write(table, source)) == table
