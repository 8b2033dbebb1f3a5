import csv
import sys
from pathlib import Path

import numpy as np
import pytest
from complaints import any_warnings, warns
from dataset_conformance import assert_conforms
from musicemo_builtin.datasets._rows import read_rows
from musicemo_builtin.datasets.table import Table

from musicemo.contracts import ArrayFile, Judgement
from musicemo.errors import InputError
from musicemo.features import Pack, StoredArray

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
    assert tracks[0].features == ArrayFile(folder / "f" / "a1.npy", "rows-time")


def test_corpora_that_the_songs_come_from(folder):
    options = {"path": write(folder), "regression": RANGES}
    assert Table(**options, drawn_from=["fma", "jamendo"]).drawn_from == ("fma", "jamendo")
    assert Table(**options).drawn_from == ()
    assert Table(**options, id_space="deam").id_space == "deam"
    assert Table(**options).id_space is None


def test_merged_cells_of_a_workbook(folder):
    openpyxl = pytest.importorskip("openpyxl")
    book = openpyxl.Workbook()
    for row in (["features", "valence", "genre"], ["f/a1.npy", 6, "Jazz"], ["f/a2.npy", 2], ["f/a3.npy", 3]):
        book.active.append(row)
    book.active.merge_cells("C2:C3")
    book.save(folder / "songs.xlsx")
    dataset = Table(path=folder / "songs.xlsx", id="features", classification=["genre"])
    assert [track.targets["genre"] for track in dataset.tracks()] == ["Jazz", "Jazz", None]


@pytest.mark.parametrize(("delimiter", "name"), [("\t", "songs.tsv"), ("\t", "songs.txt"), (";", "songs.csv")])
def test_delimiters(folder, delimiter, name):
    text = TEXT.replace('"a,3"', "a3").replace(",", delimiter)
    assert len(assert_conforms(Table(path=write(folder, text, name), regression=RANGES))) == 3


def test_byte_order_mark_and_windows_lines(folder):
    path = folder / "songs.csv"
    path.write_bytes(b"\xef\xbb\xbf" + TEXT.replace("\n", "\r\n").encode())
    assert len(assert_conforms(Table(path=path, regression=RANGES))) == 3


def as_rows(text: str = TEXT) -> list[list[str]]:
    return [row for row in csv.reader(text.splitlines()) if row]


def labels(dataset: Table) -> list[tuple]:
    return [(track.id, dict(track.targets), track.group, track.part) for track in dataset.tracks()]


OPTIONS = {"regression": RANGES, "classification": ["genre"], "group": "artist", "part": "split"}


def test_workbooks(folder):
    openpyxl = pytest.importorskip("openpyxl")
    book = openpyxl.Workbook()
    for line, row in enumerate(as_rows(), start=3):
        for column, cell in enumerate(row, start=1):
            book.active.cell(line, column, float(cell) if cell.replace(".", "").isdigit() else cell or None)
    book.create_sheet("empty")
    book.save(folder / "songs.xlsx")
    dataset = Table(path=folder / "songs.xlsx", **OPTIONS)
    assert labels(dataset) == labels(Table(path=write(folder), **OPTIONS))
    book.active["C4"] = "high"
    book.create_sheet("More").append(["id", True, 2.0])
    book.save(folder / "songs.xlsx")
    with pytest.raises(InputError, match=r"several sheets \(Sheet, More\)"):
        Table(path=folder / "songs.xlsx", **OPTIONS)
    with pytest.raises(InputError, match=r"no sheet 'Shet'; did you mean 'Sheet'"):
        Table(path=folder / "songs.xlsx", sheet="Shet", **OPTIONS)
    with pytest.raises(InputError, match=r"songs.xlsx:4: column 'valence': 'high' is not a number"):
        Table(path=folder / "songs.xlsx", sheet="Sheet", **OPTIONS)
    with pytest.raises(InputError, match=r"songs.csv: sheet = 'Sheet' requires a workbook"):
        Table(path=folder / "songs.csv", sheet="Sheet", **OPTIONS)
    assert read_rows(folder / "songs.xlsx", sheet="More") == [(1, ["id", "1", "2"])]
    book["More"].append(["=1+1"])
    book.save(folder / "songs.xlsx")
    with pytest.raises(InputError, match=r"songs.xlsx:2: the formula '=1\+1' has no computed value"):
        read_rows(folder / "songs.xlsx", sheet="More")


def test_parquet(folder):
    pyarrow = pytest.importorskip("pyarrow")
    parquet = pytest.importorskip("pyarrow.parquet")
    header, *rows = as_rows()
    columns = dict(zip(header, zip(*rows, strict=True), strict=True))
    for name in RANGES:
        values = [0.9 * float(cell) + 0.1 if cell else None for cell in columns[name]]
        columns[name] = pyarrow.array(values, pyarrow.float32())
    columns["mood"] = pyarrow.array([["a", "b"], [], None])
    parquet.write_table(pyarrow.table(columns), folder / "songs.parquet")
    first, *_ = Table(path=folder / "songs.parquet", tags=["mood"], **OPTIONS).tracks()
    assert first.targets == {"valence": 5.95, "arousal": 3.025, "genre": "Jazz", "mood": ("a", "b")}
    (folder / "songs.parquet").write_bytes(b"id,valence")
    with pytest.raises(InputError, match="not a readable Parquet file"):
        Table(path=folder / "songs.parquet", **OPTIONS)


@pytest.mark.parametrize(
    ("suffix", "message"),
    [
        (".xlsx", "is not a readable workbook"),
        (".ods", r"\.ods files are not supported\. Save the table as \.xlsx or \.csv"),
    ],
)
def test_files_that_are_no_workbooks(folder, suffix, message):
    pytest.importorskip("openpyxl")
    with pytest.raises(InputError, match=message):
        Table(path=write(folder, name=f"songs{suffix}"), regression=RANGES)


@pytest.mark.parametrize(("suffix", "package"), [(".xlsx", "openpyxl"), (".parquet", "pyarrow")])
def test_packages_that_are_missing(folder, monkeypatch, suffix, package):
    monkeypatch.setitem(sys.modules, package, None)
    with pytest.raises(InputError, match=rf"need {package}: pip install 'musicemo\[tables\]'"):
        Table(path=write(folder, name=f"songs{suffix}"), regression=RANGES)


def test_another_encoding(folder):
    path = folder / "songs.csv"
    path.write_bytes(TEXT.replace("Jazz", "Süß").encode("windows-1252"))
    with pytest.raises(InputError, match=r"songs.csv:2: is not UTF-8.*encoding = \"windows-1252\""):
        Table(path=path, classification=["genre"])
    targets = Table(path=path, classification=["genre"], encoding="windows-1252").targets
    assert targets[0].classes == ("Rock", "Süß")
    with pytest.raises(InputError, match="encoding = 'latin-x' is not an encoding"):
        Table(path=path, classification=["genre"], encoding="latin-x")


def test_names_without_extension_case_and_separators(folder):
    text = "id,features,valence\na1,A1,6.5\na2,x\\A2.MP3,2\na3,f/a3.npy,1\n"
    path = write(folder, text)
    with pytest.raises(InputError) as caught:
        Table(path=path, regression={"valence": [1, 9]})
    assert 'set dataset.match = "stem": 2 of the missing files exist' in caught.value.problems[-1]
    dataset = Table(path=path, regression={"valence": [1, 9]}, match="stem")
    assert [track.features.path.name for track in dataset.tracks()] == ["a1.npy", "a2.npy", "a3.npy"]
    (folder / "g").mkdir()
    np.save(folder / "g" / "A 1.npy", np.zeros((140, 4), "float32"))
    np.save(folder / "g" / "a1.npy", np.zeros((140, 4), "float32"))
    with pytest.raises(InputError, match=r"'A1' is the name of 2 files in .* \(f/a1.npy and g/a1.npy\)"):
        Table(path=path, regression={"valence": [1, 9]}, match="stem")


def test_missing_songs_are_one_message(folder):
    rows = "".join(f"s{number},{name}.mp3,5\n" for number, name in enumerate("abcdefghijklmnopqrstuvwxyz"))
    found = problems(
        folder,
        f"id,audio,valence\na1,f/a1.npy,5\n{rows}",
        audio="audio",
        regression={"valence": [1, 9]},
        classification=None,
    )
    assert len(found) == 2
    assert "26 tracks without a file" in found[0]
    assert "... and 23 more of this kind (26 in all)" in found[1]


def test_identical_rows_are_one_track(folder):
    row = "a1,f/a1.npy,6.5,3.25,Jazz,Nina,train\n"
    with warns(
        r"2 rows are ignored because of an identical earlier row \(line 6 like line 2, line 7 like line 2\)"
    ):
        assert len(labels(Table(path=write(folder, TEXT + row + row), **OPTIONS))) == 3
    (problem,) = problems(folder, TEXT + row.replace("6.5", "5"))
    assert (
        "songs.csv:6: track 'a1' is already in line 2, with '6.5' instead of '5' in column 'valence'" in problem
    )


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


def shapes(dataset: Table) -> list[tuple[int, int]]:
    return [StoredArray(track.features).shape for track in dataset.tracks()]


def test_features_of_any_height(folder):
    for path in (folder / "f").iterdir():
        np.save(path, np.zeros((33, 40)))
    dataset = Table(path=write(folder), regression=RANGES)
    assert shapes(dataset) == [(40, 33)] * 3
    assert not hasattr(dataset, "rows")
    assert_conforms(dataset)
    found = problems(folder, features="mel")
    assert len(found) == 3
    assert "songs.csv:2: column 'features': " in found[0]
    assert "a1.npy: has 33 rows, but 140 are needed" in found[0]


def test_declared_classes_keep_their_order_and_catch_misspellings(folder):
    allowed = {"genre": ["Rock", "Jazz", "Blues"]}
    assert Table(path=write(folder), classification=allowed).targets[0].classes == ("Rock", "Jazz", "Blues")
    (found,) = problems(folder, TEXT.replace("Jazz", "Jaz"), classification=allowed)
    assert "songs.csv:2: column 'genre': 'Jaz' is not a class of genre" in found
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
        (":6: ", "track 'a1' is already in line 2"),
        (":7: column 'id'", "is empty"),
        (":8: column 'features'", "is empty"),
        (":9: column 'features'", "none.npy: no such file"),
        (":10: column 'features'", "has 12 rows, but the array of line 2 has 140"),
        (":11: column 'valence'", "0.5 is outside [1, 9]"),
        (":11: column 'arousal'", "'inf' is not a finite number"),
        (":11: column 'split'", "did you mean 'test'?"),
        (":12: column 'valence'", "'high' is not a number"),
        (":13: malformed row", "expected 7 cells, got 3"),
    ):
        assert any(f"songs.csv{where}" in line and what in line for line in found), (where, what, found)
    assert len(found) == 10


def test_a_table_of_audio_files_without_the_parameter_audio(folder):
    (problem,) = problems(folder, TEXT.replace("id,features", "id,song"))
    assert "no column 'features' (for file, the feature files; for audio files, set audio instead)" in problem


def test_missing_columns_name_the_header_and_the_nearest(folder):
    found = problems(folder, TEXT.replace("valence", "valance").replace("split", "genre"), group="artsit")
    assert len(found) == 3
    assert "songs.csv:1: no column 'artsit' (for group)" in found[0]
    assert "did you mean 'artist'?" in found[0]
    assert "no column 'valence'" in found[1]
    assert "did you mean 'valance'?" in found[1]
    assert "2 columns 'genre'" in found[2]


@pytest.mark.parametrize(
    ("text", "message"), [("", "is empty"), ("\n \n", "is empty"), (TEXT[:45] + "\n", "no rows")]
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
        ({}, "at least one target is required"),
        ({"regression": {"x": [1, 1]}}, r"regression\.x = \[1, 1\]: the lowest value must be below"),
        ({"regression": {"x": [0, 1]}, "classification": ["x"]}, "'x' must not be in both"),
        ({"regression": {"valence": [0, 1]}, "columns": {"valense": "v"}}, "did you mean 'valence'?"),
    ],
)
def test_wrong_declarations(folder, config, message):
    with pytest.raises(InputError, match=message):
        Table(path=write(folder), **config)


MARKERS = ["nan", "NaN", "NA", "N/A", "None", "null", "NULL", "-", "#N/A", "?", "<NA>", "\\N", "n.a.", "\u2014"]


@pytest.mark.parametrize("marker", MARKERS)
def test_missing_markers_are_missing_values_with_one_warning_a_column(folder, marker):
    text = (
        TEXT.replace("6.5,3.25,Jazz,Nina,train", ",".join([marker] * 5)) + "a4,f/a1.npy,2,2,Jazz,Nina,train\n"
    )
    config = {"regression": RANGES, "classification": ["genre"], "group": "artist", "part": "split"}
    with any_warnings() as caught:
        dataset = Table(path=write(folder, text), **config)
    first = next(iter(dataset.tracks()))
    assert (dict(first.targets), first.group, first.part) == (
        dict.fromkeys(("valence", "arousal", "genre")),
        None,
        None,
    )
    assert dataset.targets[2].classes == ("Jazz", "Rock")
    assert len(caught) == 5
    assert f"songs.csv: column 'valence': 1 cell is read as a missing value ({marker!r} in line 2)" in caught[0]


def test_markers_can_be_named_and_a_class_can_be_called_none(folder):
    text = TEXT.replace("Jazz", "None").replace("Nina", "NA").replace("3.25", "999")
    dataset = Table(
        path=write(folder, text), regression=RANGES, classification=["genre"], group="artist", missing=["999"]
    )
    first = next(iter(dataset.tracks()))
    assert (first.targets["genre"], first.targets["arousal"], first.group) == ("None", None, "NA")
    allowed = Table(path=write(folder, text.replace("999", "3")), classification={"genre": ["None", "Rock"]})
    assert next(iter(allowed.tracks())).targets["genre"] == "None"


@pytest.mark.parametrize(
    ("cell", "message"),
    [
        ("1_0", "'1_0' is not a number"),
        ("0x1F", "'0x1F' is not a number"),
        ("infinity", "'infinity' is not a finite number"),
        ("-inf", "is not a finite number"),
        ("1e400", "'1e400' is not a finite number"),
        ("\u0661\u0662", "it contains '\u0661' (U+0661)"),
        ("\uff15", "it contains '\uff15' (U+FF15)"),
        ("\u22125", "it contains '\u2212' (U+2212)"),
        ('"5,5"', "'5,5' has a decimal comma. Set decimal = \",\" to read it"),
        ('"1,234.5"', "'1,234.5' is not a number"),
        ("5 %", "'5 %' is not a number"),
        ("True", "'True' is not a number"),
        ("5f", "'5f' is not a number"),
    ],
)
def test_only_plain_decimal_numbers_are_numbers(folder, cell, message):
    (found,) = problems(folder, TEXT.replace("6.5", cell))
    assert "songs.csv:2: column 'valence': " in found
    assert message in found


@pytest.mark.parametrize(("cell", "value"), [("+5", 5), (".5e1", 5), ("5.", 5), ("5E-0", 5), (" 5 ", 5)])
def test_numbers_as_programs_write_them(folder, cell, value):
    dataset = Table(path=write(folder, TEXT.replace("6.5", cell)), regression=RANGES)
    assert next(iter(dataset.tracks())).targets["valence"] == value


def test_decimal_commas(folder):
    text = TEXT.replace('"a,3"', "a3").replace(",", ";").replace("6.5", "6,5").replace("3.25", "3,25")
    (found,) = problems(folder, text)[:1]
    assert "songs.csv:2: column 'valence': '6,5' has a decimal comma. Set decimal = \",\" to read it" in found
    dataset = Table(path=write(folder, text), regression=RANGES, decimal=",")
    assert dict(next(iter(dataset.tracks())).targets) == {"valence": 6.5, "arousal": 3.25}
    (found,) = problems(folder, text.replace("6,5", "6.5"), decimal=",")
    assert "'6.5' has a decimal point, but decimal is ','" in found


def test_a_systematic_mistake_is_one_message_with_three_examples(folder):
    text = TEXT + "".join(
        f"b{n},f/a1.npy,{n + 10},5,Rock,x,train\nc{n},f/no{n}.npy,5,5,Rock,x,train\n" for n in range(50)
    )
    outside, absent = problems(folder, text)
    assert outside.count("\n") == absent.count("\n") == 3
    assert "songs.csv:6: column 'valence': 10 is outside [1, 9]\n" in outside
    assert outside.endswith("... and 47 more of this kind (50 in all)")
    assert "no0.npy: no such file" in absent


@pytest.mark.parametrize("before", ["\n", " \n\n", ";;;\n", "sep=;\n", '"sep=;"\r\n', "SEP=;\n\n"])
def test_what_stands_before_the_header(folder, before):
    text = TEXT.replace('"a,3"', "a3").replace(",", ";")
    dataset = Table(path=write(folder, before + text), regression=RANGES)
    assert [track.id for track in dataset.tracks()] == ["a1", "a2", "a3"]
    line = before.count("\n") + 2
    (found,) = problems(folder, before + text.replace("6.5", "high"))
    assert f"songs.csv:{line}: column 'valence'" in found


@pytest.mark.parametrize("delimiter", [";", "\t", ","])
@pytest.mark.parametrize("name", ['"genre, style, mood; other, more, yet"', "genre/style"])
def test_the_delimiter_is_that_of_the_rows(folder, delimiter, name):
    text = TEXT.replace('"a,3"', "a3").replace("genre", "GENRE").replace(",", delimiter).replace("GENRE", name)
    dataset = Table(
        path=write(folder, text),
        regression=RANGES,
        columns={"genre": name.strip('"')},
        classification=["genre"],
    )
    assert dataset.targets[-1].classes == ("Jazz", "Rock")


def test_commas_in_an_unquoted_header_of_semicolons(folder):
    text = (
        TEXT.replace('"a,3"', "a3")
        .replace(",", ";")
        .replace("artist", "artist, band, group, or choir, solo, duo")
    )
    assert len(list(Table(path=write(folder, text), regression=RANGES).tracks())) == 3


@pytest.mark.parametrize("encoding", ["utf-8-sig", "utf-16", "utf-32"])
@pytest.mark.parametrize("end", ["\n", "\r\n", "\r"])
def test_encodings_with_a_mark_and_any_line_ends(folder, encoding, end):
    path = folder / "songs.csv"
    path.write_bytes(TEXT.replace("Nina", "N\xefna \u6b4c").replace("\n", end).encode(encoding))
    tracks = list(Table(path=path, regression=RANGES, group="artist").tracks())
    assert [track.id for track in tracks] == ["a1", "a2", "a,3"]
    assert tracks[0].group == "N\xefna \u6b4c"


@pytest.mark.parametrize(
    ("content", "message"),
    [
        (TEXT.replace("Nina", "N\xefna").encode("latin-1"), r"songs\.csv:2: is not UTF-8 text \(byte 0xEF\)"),
        (TEXT.encode("utf-16-le"), r"songs\.csv:1: contains NUL characters"),
        (TEXT.replace("Nina", "N\0").encode(), r"songs\.csv:2: contains NUL characters"),
        (TEXT.encode("utf-16")[:-1], r"songs\.csv: is damaged UTF-16 text"),
        (
            TEXT.replace("a1,", '"a\r1",', 1).encode(),
            r"songs\.csv:2: column 'id': 'a\\r1' contains the control character",
        ),
    ],
)
def test_text_that_cannot_be_read(folder, content, message):
    (folder / "songs.csv").write_bytes(content)
    with pytest.raises(InputError, match=message):
        Table(path=folder / "songs.csv", regression=RANGES)


def test_delimiters_at_the_end_of_rows_and_quoted_line_breaks(folder):
    head, *rows = TEXT.splitlines()
    ids = ["a1", "a2", "a,3"]
    for text in (
        "\n".join([head, *(f"{row}," for row in rows if row)]),
        "\n".join([f"{head},,", *(f"{row}" for row in rows if row)]),
        "\n".join([f"{head},", *(f"{row},a note" for row in rows if row)]),
        TEXT.replace("The Posts", '"The\nPosts"'),
    ):
        assert [track.id for track in Table(path=write(folder, text), regression=RANGES).tracks()] == ids
    (found,) = problems(folder, "\n".join([head, *(f"{row},a note" for row in rows if row)]))[:1]
    assert "expected 7 cells, got 8" in found


def test_cells_of_any_length(folder):
    text = TEXT.replace("The Posts", "la " * 100_000)
    assert len(list(Table(path=write(folder, text), regression=RANGES).tracks())) == 3


def test_a_cell_that_musicemo_wrote_as_no_formula_comes_back(folder):
    dataset = Table(
        path=write(folder, TEXT.replace("Jazz", "'=Jazz").replace("Rock", "'Rock")), classification=["genre"]
    )
    assert dataset.targets[0].classes == ("'Rock", "=Jazz")


def save(folder: Path, *shapes: tuple[int, ...]) -> None:
    for index, shape in enumerate(shapes, start=1):
        np.save(folder / "f" / f"a{index}.npy", np.zeros(shape, "float32"))


@pytest.mark.parametrize(
    ("arrays", "rows", "steps"),
    [
        ([(140, 1292)] * 3, None, [1292] * 3),
        ([(140, 20)] * 3, None, [20] * 3),
        ([(12, 30)] * 3, None, [30] * 3),
        ([(13, 30), (13, 31), (13, 32)], None, [30, 31, 32]),
        ([(30, 13), (31, 13), (32, 13)], None, [30, 31, 32]),
        ([(30, 13)] * 3, 13, [30] * 3),
        ([(1, 13)] * 3, None, [1] * 3),
        ([(13, 1)] * 3, None, [1] * 3),
        ([(1292, 140)] * 3, 1292, [140] * 3),
    ],
)
def test_the_axis_of_the_rows_is_found(folder, arrays, rows, steps):
    save(folder, *arrays)
    dataset = Table(path=write(folder), regression=RANGES, rows=rows)
    height = rows or next(size for size in (140, 13, 12) if size in arrays[0])
    assert shapes(dataset) == [(count, height) for count in steps]


def test_arrays_whose_axes_could_be_either_cause_a_warning(folder):
    save(folder, *[(30, 13)] * 3)
    with warns(r"every array has the shape \[30, 13\].*read as \[rows, time\].* If .* set rows = 13"):
        dataset = Table(path=write(folder), regression=RANGES)
    assert shapes(dataset) == [(13, 30)] * 3
    save(folder, *[(1292, 140)] * 3)  # 140 rows are those of the original study
    with warns(r"read as \[time, rows\], with 140 rows: set rows = 140 to confirm it"):
        dataset = Table(path=write(folder), regression=RANGES)
    assert shapes(dataset) == [(1292, 140)] * 3


def test_vectors_are_one_time_step(folder):
    save(folder, *[(140,)] * 3)
    assert shapes(Table(path=write(folder), regression=RANGES)) == [(1, 140)] * 3
    save(folder, (140,), (141,), (140,))
    (found,) = problems(folder)
    assert "songs.csv:3: column 'features'" in found
    assert "a2.npy: has 141 rows, but the array of line 2 has 140" in found


def test_arrays_that_differ_from_most_in_their_rows(folder):
    save(folder, (13, 30), (31, 14), (13, 32))
    (found,) = problems(folder)
    assert "songs.csv:3: column 'features'" in found
    assert "has 31 rows, but the array of line 2 has 13" in found
    save(folder, (13, 30), (13,), (13, 32))
    (found,) = problems(folder)
    assert "a2.npy: has shape [13], but the array of line 2 has 13" in found
    (first, *_) = problems(folder, rows=12)
    assert "a1.npy: has 13 rows, but 12 are needed" in first


def test_archives_are_left_to_the_arrays_features(folder):
    np.savez(folder / "f" / "a1.npz", first=np.zeros((3, 5)), second=np.zeros((3, 2)))
    text = "id,features,valence\na1,f/a1.npz,5\n"
    (track,) = Table(path=write(folder, text), regression={"valence": [1, 9]}).tracks()
    assert track.features == folder / "f" / "a1.npz"


def test_rows_that_contradict_the_features(folder):
    with pytest.raises(InputError, match=r'features = "mel" requires arrays of 140 rows, but rows is 12'):
        Table(path=write(folder), regression=RANGES, features="mel", rows=12)
    with pytest.raises(InputError, match="rows can be set only for feature files"):
        Table(path=write(folder), regression=RANGES, audio="features", rows=12)


@pytest.mark.parametrize("other", ["rock ", "ROCK", "Ro\u200bck", "\uff32ock"])
def test_labels_that_look_alike(folder, other):
    text = TEXT.replace("Jazz", other).replace("Nina", "the  posts")
    with warns("spellings of one label") as caught:
        Table(path=write(folder, text), regression=RANGES, classification=["genre"], group="artist")
    first, second = caught
    assert "column 'genre': spellings of one label" in first
    assert "column 'artist': spellings of one label count as different labels ('The Posts' and" in second


def test_classes_that_are_listed_may_look_alike(folder):
    text = TEXT.replace("Jazz", "rock")
    Table(path=write(folder, text), regression=RANGES, classification={"genre": ["Rock", "rock"]})


TAGGED = """\
id,features,mood,happy,film
a1,f/a1.npy,happy; film,1,0
a2,f/a2.npy,;,0,
a3,f/a3.npy,,,
"""


def test_a_column_of_lists_of_tags(folder):
    dataset = Table(path=write(folder, TAGGED), tags=["mood"])
    tracks = assert_conforms(dataset)
    (target,) = dataset.targets
    assert (target.name, target.kind, target.classes) == ("mood", "tags", ("film", "happy"))
    assert [track.targets["mood"] for track in tracks] == [("happy", "film"), (), None]


def test_another_separator_and_declared_tags(folder):
    text = TAGGED.replace("happy; film", "happy|film").replace(";", "|")
    dataset = Table(path=write(folder, text), tags={"mood": ["happy", "sad", "film"]}, separator="|")
    assert dataset.targets[0].classes == ("happy", "sad", "film")
    found = problems(folder, text, regression={}, classification={}, tags={"mood": ["hapy"]}, separator="|")
    assert found == [
        f"{folder / 'songs.csv'}:2: column 'mood': 'happy' is not a tag of mood; did you mean 'hapy'? (allowed: hapy)",
        f"{folder / 'songs.csv'}:2: column 'mood': 'film' is not a tag of mood (allowed: hapy)",
    ]


def test_a_column_for_each_tag(folder):
    dataset = Table(path=write(folder, TAGGED), tag_columns={"feel": ["happy", "film"]}, tags=["mood"])
    tracks = assert_conforms(dataset)
    assert [(target.name, target.classes) for target in dataset.targets] == [
        ("mood", ("film", "happy")),
        ("feel", ("happy", "film")),
    ]
    assert [track.targets["feel"] for track in tracks] == [
        {"happy": True, "film": False},
        {"happy": False, "film": None},
        None,
    ]
    wrong = problems(
        folder,
        TAGGED.replace("1,0", "yes,0"),
        regression={},
        classification={},
        tag_columns={"feel": ["happy"]},
    )
    assert wrong == [f"{folder / 'songs.csv'}:2: column 'happy': 'yes' must be one of 0, 1"]


def test_wrong_declarations_of_tags(folder):
    with pytest.raises(InputError, match="'mood' must not be in both tags and tag_columns"):
        Table(path=write(folder, TAGGED), tags=["mood"], tag_columns={"mood": ["happy"]})
    with pytest.raises(InputError, match=r"columns\.feel: the columns of its tags are those in tag_columns"):
        Table(path=write(folder, TAGGED), tag_columns={"feel": ["happy"]}, columns={"feel": "mood"})


JUDGED = """\
a,b,valence_pairs,arousal_pairs,listeners
a1,a2,a,b,7
a1,"a,3",tie,,1
a2,a1,a2,tie,2
"""
PAIRED = {"pair_targets": ["valence_pairs", "arousal_pairs"], "pair_weight": "listeners"}


def test_reads_judged_pairs(folder):
    pairs = write(folder, JUDGED, "pairs.csv")
    dataset = Table(path=write(folder), regression=RANGES, pairs=pairs, **PAIRED)
    tracks = assert_conforms(dataset)
    assert [(target.name, target.kind) for target in dataset.targets][2:] == [
        ("valence_pairs", "pairs"),
        ("arousal_pairs", "pairs"),
    ]
    assert [{name: track.targets.get(name) for name in PAIRED["pair_targets"]} for track in tracks] == [
        {
            "valence_pairs": [Judgement("a2", 7.0, 0.0), Judgement("a,3", 0.5, 0.5)],
            "arousal_pairs": [Judgement("a2", 0.0, 7.0)],
        },
        {"valence_pairs": [Judgement("a1", 2.0, 0.0)], "arousal_pairs": [Judgement("a1", 1.0, 1.0)]},
        {"valence_pairs": None, "arousal_pairs": None},
    ]


def test_a_table_can_have_pairs_only_and_other_names_of_columns(folder):
    text = JUDGED.replace("a,b,", "one;two;", 1).replace(",", ";").replace('"a;3"', "a,3").replace("tie", "one")
    dataset = Table(
        path=write(folder),
        pairs=write(folder, text.replace(";a;", ";one;").replace(";b;", ";two;"), "pairs.csv"),
        pair_ids=["one", "two"],
        **PAIRED,
    )
    assert next(dataset.tracks()).targets["arousal_pairs"] == [Judgement("a2", 0.0, 7.0)]


def test_wrong_pairs_are_reported_with_their_lines(folder):
    text = JUDGED + "a1,a9,a,b,1\na2,a2,a,a,1\na1,a2,c,a,0\n"
    found = problems(folder, pairs=write(folder, text, "pairs.csv"), **PAIRED)
    assert [problem.rpartition("pairs.csv:")[2] for problem in found] == [
        "5: column 'b': 'a9' is not the id of a track; did you mean 'a2'?",
        "6: column 'b': compares 'a2' with itself",
        "7: column 'listeners': is 0, but must be above 0",
    ]
    found = problems(folder, pairs=write(folder, JUDGED.replace("tie", "Tie"), "pairs.csv"), **PAIRED)
    assert "'Tie' is not a judgement; allowed: a1, a,3, a, b, tie; did you mean 'tie'?" in found[0]
    found = problems(folder, pairs=write(folder, JUDGED.splitlines()[0] + "\n", "pairs.csv"), **PAIRED)
    assert [problem.rpartition("pairs.csv: ")[2] for problem in found] == ["has a header but no rows"]


@pytest.mark.parametrize(
    ("config", "message"),
    [
        ({"pair_targets": ["x"]}, "pairs, the table of judged pairs, and pair_targets"),
        ({"pair_weight": "n"}, "pair_ids and pair_weight need pairs"),
        ({"pair_targets": ["valence"]}, "'valence' must not be in both regression and pair_targets"),
    ],
)
def test_parameters_of_pairs_need_each_other(folder, config, message):
    assert message in problems(folder, **config)[0]


@pytest.fixture
def packed(folder):
    arrays = {f"a{number}": np.full((6, 3 + number), number, "float32") for number in range(3)}
    Pack.build(folder / "features.pack", arrays.items())
    return folder


@pytest.mark.parametrize(
    ("header", "options"),
    [("id,valence", {}), ("name,valence", {"id": "name"}), ("x,valence,id", {"file": "x"})],
)
def test_arrays_in_a_pack(packed, header, options):
    rows = [f"a{number},{number + 1},t{number}"[: None if "x" in header else -3] for number in range(3)]
    path = write(packed, "\n".join([header, *rows]))
    dataset = Table(path=path, pack=packed / "features.pack", regression={"valence": [1, 9]}, **options)
    tracks = assert_conforms(dataset)
    assert [track.features.shape for track in tracks] == [(3, 6), (4, 6), (5, 6)]
    np.testing.assert_array_equal(tracks[2].features.read(), np.full((5, 6), 2))


def test_an_array_that_a_pack_lacks(packed):
    (message,) = problems(
        packed,
        "id,valence,genre\na1,1,x\na4,2,y\n",
        pack=packed / "features.pack",
        regression={"valence": [1, 9]},
    )
    assert message.startswith(
        f"{packed}/songs.csv:3: column 'id': {packed}/features.pack: has no array 'a4'; did you mean 'a"
    )


def test_a_pack_replaces_audio_and_rows(packed):
    for options in ({"audio": "id"}, {"rows": 6}):
        with pytest.raises(InputError, match="pack replaces audio and rows"):
            Table(path=write(packed), pack=packed / "features.pack", regression={"valence": [1, 9]}, **options)
