from pathlib import Path

import numpy as np
import pytest
from dataset_conformance import assert_conforms
from musicemo_builtin.datasets.table import Table

from musicemo.errors import InputError

TEXT = """\
id,features,valence,arousal,genre,artist,split
a1,f/a1.npy,6.5,3.25,Jazz,Nina,train
a2,f/a2.npy,2,,Rock,The Posts,validation

"a,3",f/a3.npy,1,9,,,test
"""
RANGES = {"valence": [1, 9], "arousal": [1.0, 9.0]}


@pytest.fixture
def folder(tmp_path: Path) -> Path:
    (tmp_path / "f").mkdir()
    for index, frames in enumerate((4, 9, 2), start=1):
        np.save(tmp_path / "f" / f"a{index}.npy", np.zeros((140, frames), "float32"))
    return tmp_path


def write(folder: Path, text: str = TEXT, name: str = "songs.csv") -> Path:
    (folder / name).write_text(text, encoding="utf-8")
    return folder / name


def problems(folder: Path, text: str = TEXT, **config) -> list[str]:
    with pytest.raises(InputError) as caught:
        Table(path=write(folder, text), **({"regression": RANGES, "classification": ["genre"]} | config))
    return list(caught.value.problems)


def test_reads_targets_group_and_part(folder):
    dataset = Table(
        path=write(folder),
        regression=RANGES,
        classification=["genre"],
        group="artist",
        part="split",
        features="mel",
    )
    tracks = assert_conforms(dataset)
    assert dataset.rows == slice(0, 128)
    assert [(t.name, t.kind, t.range, t.classes) for t in dataset.targets] == [
        ("valence", "regression", (1.0, 9.0), ()),
        ("arousal", "regression", (1.0, 9.0), ()),
        ("genre", "classification", (0.0, 1.0), ("Jazz", "Rock")),
    ]
    assert [(t.id, dict(t.targets), t.group, t.part) for t in tracks] == [
        ("a1", {"valence": 6.5, "arousal": 3.25, "genre": "Jazz"}, "Nina", "train"),
        ("a2", {"valence": 2.0, "arousal": None, "genre": "Rock"}, "The Posts", "val"),
        ("a,3", {"valence": 1.0, "arousal": 9.0, "genre": None}, None, "test"),
    ]
    assert tracks[0].features == folder / "f" / "a1.npy"


@pytest.mark.parametrize(("delimiter", "name"), [("\t", "songs.tsv"), ("\t", "songs.txt"), (";", "songs.csv")])
def test_delimiters(folder, delimiter, name):
    text = TEXT.replace('"a,3"', "a3").replace(",", delimiter)
    assert len(assert_conforms(Table(path=write(folder, text, name), regression=RANGES))) == 3


def test_byte_order_mark_and_windows_lines(folder):
    path = folder / "songs.csv"
    path.write_bytes(b"\xef\xbb\xbf" + TEXT.replace("\n", "\r\n").encode())
    assert len(assert_conforms(Table(path=path, regression=RANGES))) == 3


def test_renamed_columns(folder):
    text = TEXT.replace("id,features,valence", "song,spectrogram,val_mean")
    dataset = Table(
        path=write(folder, text),
        regression=RANGES,
        columns={"valence": "val_mean"},
        id="song",
        file="spectrogram",
    )
    assert assert_conforms(dataset)[0].targets["valence"] == 6.5


def test_features_of_any_height(folder):
    for path in (folder / "f").iterdir():
        np.save(path, np.zeros((33, 3)))
    assert Table(path=write(folder), regression=RANGES).rows == slice(0, 33)
    assert_conforms(Table(path=write(folder), regression=RANGES))
    found = problems(folder, features="mel")
    assert len(found) == 3
    assert "songs.csv:2: column 'features': " in found[0]
    assert "has shape [33, 3], expected [140, frames]" in found[0]


def test_declared_classes_keep_their_order_and_catch_misspellings(folder):
    allowed = {"genre": ["Rock", "Jazz", "Blues"]}
    assert Table(path=write(folder), classification=allowed).targets[0].classes == ("Rock", "Jazz", "Blues")
    (found,) = problems(folder, TEXT.replace("Jazz", "Jaz"), classification=allowed)
    assert "songs.csv:2: column 'genre': 'Jaz' is no class of genre" in found
    assert "did you mean 'Jazz'?" in found


def test_every_problem_is_reported_with_line_and_column(folder):
    np.save(folder / "f" / "low.npy", np.zeros((12, 3), "float32"))
    text = TEXT + (
        "a1,f/a1.npy,5,5,Rock,x,train\n"  # twice; line 6
        ",f/a1.npy,5,5,Rock,x,train\n"  # no id
        "b1,,5,5,Rock,x,train\n"  # no file
        "b2,f/none.npy,5,5,Rock,x,train\n"  # no such file
        "b3,f/low.npy,5,5,Rock,x,train\n"  # other rows
        "b4,f/a1.npy,0.5,inf,Rock,x,tset\n"  # outside, not finite, no part
        "b5,f/a1.npy,high,5,Rock,x,train\n"  # no number
        "b6,f/a1.npy,5\n"  # short
    )
    found = problems(folder, text, part="split")
    for where, what in (
        (":6: ", "track 'a1' is in line 2 already"),
        (":7: column 'id'", "is empty"),
        (":8: column 'features'", "is empty"),
        (":9: column 'features'", "none.npy: no such file"),
        (":10: column 'features'", "has 12 rows, the array of line 2 has 140"),
        (":11: column 'valence'", "0.5 is outside [1, 9]"),
        (":11: column 'arousal'", "'inf' is not a finite number"),
        (":11: column 'split'", "did you mean 'test'?"),
        (":12: column 'valence'", "'high' is not a number"),
        (":13: malformed row", "expected 7 cells, got 3"),
    ):
        assert any(f"songs.csv{where}" in line and what in line for line in found), (where, what, found)
    assert len(found) == 10


def test_missing_columns_name_the_header_and_the_nearest(folder):
    found = problems(folder, TEXT.replace("valence", "valance").replace("split", "genre"), group="artsit")
    assert len(found) == 3
    assert "songs.csv:1: no column 'artsit' (for group)" in found[0]
    assert "did you mean 'artist'?" in found[0]
    assert "no column 'valence'" in found[1]
    assert "did you mean 'valance'?" in found[1]
    assert "2 columns 'genre'" in found[2]


@pytest.mark.parametrize(
    ("text", "message"), [("", "is empty"), ("\n \n", "is empty"), (TEXT[:45] + "\n", "no track")]
)
def test_tables_without_tracks(folder, text, message):
    (found,) = problems(folder, text, classification=None)
    assert message in found


def test_a_quote_that_never_ends(folder):
    (found,) = problems(folder, TEXT + '"a4,f/a1.npy\n')
    assert "songs.csv:6: malformed row" in found


def test_missing_table(tmp_path):
    with pytest.raises(InputError, match=r"none\.csv: no such file"):
        Table(path=tmp_path / "none.csv", classification=["genre"])


@pytest.mark.parametrize(
    ("config", "message"),
    [
        ({}, "name at least one target"),
        ({"regression": {"x": [1, 1]}}, r"regression\.x = \[1, 1\]: the lowest value is to be below"),
        ({"regression": {"x": [0, 1]}, "classification": ["x"]}, "'x' is under both"),
        ({"regression": {"valence": [0, 1]}, "columns": {"valense": "v"}}, "did you mean 'valence'?"),
    ],
)
def test_wrong_declarations(folder, config, message):
    with pytest.raises(InputError, match=message):
        Table(path=write(folder), **config)
