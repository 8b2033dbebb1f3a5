"""Lines of keys, and files that extend others."""

import cProfile
import io
import tomllib

import pytest

from musicemo import toml
from musicemo.errors import InputError


def lines(source: toml.Source) -> dict[str, int]:
    return {toml.dotted(key): origin.line for key, origin in source.origins.items()}


def test_lines_of_plain_keys_headers_and_comments(toml_file):
    source = toml.read(toml_file('# first\nname = "x"\n\n[training]\n# why\nepochs = 3  # few\n'), [])
    assert lines(source) == {"name": 2, "training": 4, "training.epochs": 6}


def test_lines_of_dotted_keys_and_inline_tables(toml_file):
    text = 'training.optimizer.lr = 1\ntraining.epochs = 2\n[model]\nhead = { type = "a", deep = { x = 1 } }\n'
    assert lines(toml.read(toml_file(text), [])) == {
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


def test_an_array_over_several_lines_stands_where_it_begins(toml_file):
    text = '[tasks.valence]\nloss = [\n  { type = "mse" },\n  { type = "ccc" },\n]\ntarget = """\na\nb"""\nhead = 1\n'
    found = lines(toml.read(toml_file(text), []))
    assert found["tasks.valence.loss"] == found["tasks.valence.loss[1].type"] == 2
    assert found["tasks.valence.target"] == 6
    assert found["tasks.valence.head"] == 9


def test_lines_of_an_array_of_tables(toml_file):
    text = '[[tasks.valence.loss]]\ntype = "mse"\n\n[[tasks.valence.loss]]\ntype = "ccc"\nweight = 2\n'
    found = lines(toml.read(toml_file(text), []))
    assert found["tasks"] == found["tasks.valence"] == found["tasks.valence.loss"] == 1
    assert found["tasks.valence.loss[0]"] == 1
    assert found["tasks.valence.loss[0].type"] == 2
    assert found["tasks.valence.loss[1]"] == 4
    assert found["tasks.valence.loss[1].weight"] == 6


def test_only_line_feeds_end_a_line(toml_file):
    source = toml.read(toml_file('name = "a\u2028b\x85c"  # \u2029\nseed = 1\n'), [])
    assert lines(source) == {"name": 1, "seed": 2}


def test_windows_files(tmp_path):
    path = tmp_path / "e.toml"
    path.write_bytes(b'\xef\xbb\xbfname = "x"\r\nseed = 1\r\n')
    source = toml.read(path, [])
    assert source.table == {"name": "x", "seed": 1}
    assert lines(source) == {"name": 1, "seed": 2}


def test_origin_of_what_was_not_given_is_that_of_the_table_above(toml_file):
    path = toml_file("a = 1\n[training]\nepochs = 1\n")
    source = toml.read(path, [])
    assert source.error(("training", "optimizer", "lr"), "no") == f"{path}:2: training.optimizer.lr: no"
    assert source.error(("nothing",), "no") == f"{path}:1: nothing: no"
    assert source.error((), "no") == f"{path}:1: no"


def test_blaming_names_the_place_of_every_problem(toml_file):
    path = toml_file("[split]\nmethod = 'random'\n")
    source = toml.read(path, [])
    with pytest.raises(InputError) as caught, source.blaming("split", "method"):
        raise InputError("one", "two")
    assert caught.value.problems == (f"{path}:2: split.method: one", f"{path}:2: split.method: two")


def test_extends_is_relative_and_nested(toml_file):
    toml_file("seed = 1\nname = 'base'\n[training]\nepochs = 1\nbatch_size = 1\n", "deep/base.toml")
    toml_file("extends = 'deep/base.toml'\n[training]\nepochs = 2\n", "middle.toml")
    source = toml.read(toml_file("extends = '../middle.toml'\n[training]\nlr = 3\n", "top/e.toml"), [])
    assert source.table == {"seed": 1, "name": "base", "training": {"epochs": 2, "batch_size": 1, "lr": 3}}
    assert source.origin(("name",)).file.name == "base.toml"
    assert source.origin(("training", "epochs")).file.name == "middle.toml"
    assert source.origin(("training", "lr")).file.name == "e.toml"
    assert source.origin(("name",)).folder.name == "deep"


def test_extends_the_parent_of_a_folder_of_the_same_name(toml_file):
    toml_file("seed = 1\n", "e.toml")
    assert toml.read(toml_file("extends = '../e.toml'\n", "sub/e.toml"), []).table == {"seed": 1}


def test_a_circle_is_an_error(toml_file):
    first = toml_file("seed = 1\nextends = 'b.toml'\n", "a.toml")
    toml_file("extends = './a.toml'\n", "b.toml")
    with pytest.raises(InputError, match=r"b\.toml:1: extends: extends itself: .*a\.toml <- .*b\.toml"):
        toml.read(first, [])
    with pytest.raises(InputError, match="circle"):
        toml.read(toml_file("extends = 'c.toml'\n", "c.toml"), [])


def test_a_missing_base_is_an_error(toml_file):
    with pytest.raises(InputError, match=r"e\.toml:2: extends: there is no file .*base\.toml"):
        toml.read(toml_file("seed = 1\nextends = 'base.toml'\n"), [])


@pytest.mark.parametrize("value", ["3", "['a.toml']", "{ a = 1 }", "false", "0", "[]"])
def test_a_base_that_is_no_name_is_an_error(toml_file, value):
    with pytest.raises(InputError, match=r"e\.toml:1: extends: must be the name of a file, not "):
        toml.read(toml_file(f"extends = {value}\n"), [])


@pytest.mark.parametrize("value", ["''", "'.'"])
def test_a_base_that_is_a_folder_is_an_error(toml_file, value):
    with pytest.raises(InputError, match=r"e\.toml:1: extends: there is no file "):
        toml.read(toml_file(f"extends = {value}\n"), [])


def test_broken_base_is_named(toml_file):
    toml_file("seed =\n", "base.toml")
    with pytest.raises(InputError, match=r"base\.toml: is not valid TOML: .*line 1"):
        toml.read(toml_file("extends = 'base.toml'\n"), [])


def test_files_that_cannot_be_read(tmp_path):
    with pytest.raises(InputError, match=r"none\.toml: cannot be read: No such file"):
        toml.read(tmp_path / "none.toml", [])
    with pytest.raises(InputError, match="cannot be read: Is a directory"):
        toml.read(tmp_path, [])
    latin = tmp_path / "latin.toml"
    latin.write_bytes('name = "é"'.encode("latin-1"))
    with pytest.raises(InputError, match=r"latin\.toml: is not UTF-8 text"):
        toml.read(latin, [])


HARD = """a = 1 # [ x
b."c d".'e.f' = [ # ]
 1, # "
 "]", \'\'\'a\']\'\'\',
]
[ "q r" . s ] # hi
x = { y = [ { z = 1 } ], "a=b" = 2 }
[[p.q]]
u = "\\"]["
[p.q.sub]
v = \'\'\'
[fake]
k = 1\'\'\'\'\'
[[p.q]]
[[p.q.r]]
w = 1979-05-27T07:32:00Z
[[p.q.r]]
w = '#'
[p.q.r.deep.er]
k = 1
[p.other]
z.z.z = 1
"""


def test_lines_are_those_on_which_a_prefix_of_the_file_begins_to_hold_the_key(toml_file):
    """The reference parses the file line by line, each time from its beginning."""
    expected = {}
    start, text = 1, ""
    for number, line in enumerate(io.StringIO(HARD), start=1):
        text += line
        try:
            table = tomllib.loads(text)
        except tomllib.TOMLDecodeError:
            continue
        for key in toml.keys_within(table):
            expected.setdefault(toml.dotted(key), start)
        start = number + 1
    assert lines(toml.read(toml_file(HARD), [])) == expected


def test_a_line_is_read_as_often_in_a_long_file_as_in_a_short_one(toml_file):
    def calls(count: int) -> int:
        text = "[tasks.genre.classes]\n" + "".join(f'"class {n}" = "x"\n' for n in range(count))
        toml_file(text, "base.toml")
        file = toml_file("extends = 'base.toml'\n" + text)
        profile = cProfile.Profile()
        profile.runcall(toml.read, file, [])
        return sum(entry.callcount for entry in profile.getstats())

    assert calls(800) < 5 * calls(200)  # 16 times if every line were read again for each


@pytest.mark.parametrize(
    ("text", "line"),
    [
        ("a = " + "[" * 1000 + "]" * 1000, 1),
        ("b = 1\na = " + "{ a = " * 1000 + "1" + "}" * 1000, 2),
        ("b = 1\n\n" + ".".join("a" * 1000) + " = 1", 3),
        ("b = 1\n[" + ".".join("a" * 1000) + "]", 2),
        ("a = [\n" + "[\n" * 80 + "]" * 81, 1),
    ],
)
def test_deep_nesting_is_an_error_with_its_line(toml_file, text, line):
    with pytest.raises(InputError, match=rf"e\.toml:{line}: is nested more than 64 levels deep$"):
        toml.read(toml_file(text), [])


def test_an_integer_of_too_many_digits_is_an_error(toml_file):
    with pytest.raises(InputError, match=r"e\.toml: is not valid TOML"):
        toml.read(toml_file("a = " + "1" * 5000), [])
