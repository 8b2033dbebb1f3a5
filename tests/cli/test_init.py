"""``musicemo init``: odd tables and folders, and what is written for them."""

from __future__ import annotations

import csv
import errno
import tempfile
import tomllib
from pathlib import Path

import numpy as np
import pytest
from complaints import any_warnings, warns
from typer.testing import CliRunner

from musicemo.authoring import draft
from musicemo.cli._app import make_app
from musicemo.errors import InputError
from musicemo.experiment import load_experiments
from musicemo.running.preview import check_experiment

COUNT = 40


def call(*arguments):
    found = CliRunner().invoke(make_app(), ["init", *map(str, arguments)], catch_exceptions=False)
    assert found.exit_code == 0, found.output
    return found.stdout


@pytest.fixture(autouse=True)
def folder(tmp_path, monkeypatch):
    """Return the working directory, with feature files of forty tracks."""
    monkeypatch.chdir(tmp_path)
    (tmp_path / "features").mkdir()
    for number in range(COUNT):
        array = np.random.default_rng(number).normal(size=(6, 9)).astype(np.float32)
        np.save(tmp_path / "features" / f"{number}.npy", array)
    return tmp_path


def table(folder, name="songs.csv", delimiter=",", rows=COUNT, **columns):
    """Write a table: column -> what the row's number makes."""
    made = {name.replace("__", " "): make for name, make in columns.items()}
    path = folder / name
    path.parent.mkdir(exist_ok=True)
    with path.open("w", encoding="utf-8", newline="") as file:
        writer = csv.writer(file, delimiter=delimiter)
        writer.writerow(made)
        writer.writerows([make(number) for make in made.values()] for number in range(rows))
    return path


def file(number):
    return f"features/{number}.npy"


def rating(number):
    return f"{1.5 + number % 30 / 4:.2f}"


def read(path):
    """Return the first variant of an experiment."""
    return load_experiments(path)[0]


def written(path="songs.toml"):
    return tomllib.loads(Path(path).read_text())


@pytest.mark.slow
def test_what_is_written_validates_and_says_what_is_next(folder):
    path = table(
        folder,
        id=lambda n: f"s{n}",
        features=file,
        valence=rating,
        genre=lambda n: ("Jazz", "Rock", "Folk")[n % 3],
        artist=lambda n: f"artist {n // 4}",
    )
    text = call(path)
    assert "musicemo validate songs.toml" in text
    assert "musicemo run songs.toml" in text
    found = written()
    assert found["dataset"] == {
        "type": "table",
        "path": "songs.csv",
        "id": "id",
        "file": "features",
        "regression": {"valence": [1, 9]},
        "classification": ["genre"],
        "group": "artist",
        "rows": 9,
    }
    assert found["split"] == {"method": "kfold", "folds": 5, "grouped": True, "stratify": "genre"}
    assert set(found["tasks"]) == {"valence", "genre"}
    assert found["matrix"]["model"] == {name: {"model": {"type": name}} for name in ("mean", "ridge", "svr")}
    assert not found.keys() & {"model", "training", "weighting"}
    assert (
        "replace them by the true ones: valence has values 1.5 to 8.75" in (folder / "songs.toml").read_text()
    )
    for experiment in load_experiments(folder / "songs.toml"):
        checked = check_experiment(experiment)
        assert (sum(checked.tracks.values()), checked.tracks["val"]) == (COUNT, 0)
    sizes = ", ".join(f"{count} {part}" for part, count in checked.tracks.items() if count)
    assert f"Split: 5-fold cross-validation, each group in only one of them; {sizes} in the first fold" in text
    assert "95 % confidence interval of a correlation near 0 is about ±0.31" in text


def test_nothing_is_overwritten(folder):
    path = table(folder, features=file, valence=rating)
    (folder / "songs.toml").write_text("mine")
    with pytest.raises(InputError, match=r"songs\.toml: already exists.*--output"):
        call(path)
    assert (folder / "songs.toml").read_text() == "mine"
    call(path, "--output", "other.toml")
    assert "valence" in written("other.toml")["tasks"]
    with pytest.raises(InputError, match=r"the folder .* does not exist"):
        call(path, "--output", "no/other.toml")


def test_paths_are_relative_to_the_experiment(folder):
    path = table(folder, "data/songs.tsv", "\t", clip=lambda n: f"{n}.npy", valence=rating)
    (folder / "experiments").mkdir()
    (folder / "features").rename(folder / "data" / "features")
    call(path, "--output", "experiments/mine.toml")
    dataset = written("experiments/mine.toml")["dataset"]
    assert dataset["path"] == "../data/songs.tsv"
    assert dataset["root"] == "../data/features"
    assert dataset["id"] == "clip"
    check_experiment(read(folder / "experiments" / "mine.toml"))


@pytest.mark.parametrize("delimiter", [",", ";", "\t"])
def test_names_that_no_task_can_have_are_changed(delimiter, folder):
    call(
        table(folder, delimiter=delimiter, features=file, **{"Valence (mean), 1-9": rating, "aRousal": rating})
    )
    found = written()
    assert set(found["tasks"]) == {"valence_mean_1-9", "aRousal"}
    assert found["dataset"]["columns"] == {"valence_mean_1-9": "Valence (mean), 1-9"}
    check_experiment(read(folder / "songs.toml"))


@pytest.mark.parametrize(
    ("make", "scale"),
    [
        (lambda n: n / 50, [0, 1]),
        (lambda n: n / 22 - 0.9, [-1, 1]),
        (lambda n: 1 + n % 5, [1, 5]),
        (lambda n: n % 6, [0, 5]),
        (lambda n: 1.2 + n % 7, [1, 9]),
        (lambda n: 0.5 + n / 5, [0, 10]),
        (lambda n: 2.4 * n, [0, 100]),
        (lambda n: 3 * (n * 7 % 40) - 60, [-100, 100]),
        (lambda n: 1000 + 7.5 * n, [1000, 1300]),
        (lambda n: 0.1 + n % 4, [0, 5]),
    ],
)
def test_the_scale_is_the_narrowest_common_one(make, scale, folder):
    call(table(folder, features=file, energy=make))
    assert written()["dataset"]["regression"]["energy"] == scale


@pytest.mark.parametrize(
    ("name", "make", "why"),
    [
        ("loudness", lambda n: 3, "has the same value for every track"),
        ("loudness", lambda n: "", "is empty"),
        ("number", lambda n: n, "numbers the tracks"),
        ("", lambda n: n, None),
        ("Unnamed: 0", lambda n: n / 2, "numbers the tracks"),
        ("listener_id", lambda n: n % 7, "identifies the tracks"),
        ("year", lambda n: 1960 + n % 30, "is metadata"),
        ("valence_std", lambda n: n % 9 / 9, "the disagreement of raters"),
        ("SD Valenz", lambda n: n % 9 / 9, "the disagreement of raters"),
        ("Valenz StAbw", lambda n: n % 9 / 9, "the disagreement of raters"),
        ("Anzahl Hörer", lambda n: n % 7, "is metadata"),
        ("review", lambda n: f"text {n}", "has a different value for every track"),
        ("review", lambda n: f"text {n // 2}", "too many for classes"),
        ("quality", lambda n: "1_0" if n % 9 == 0 else n / 40, "cells that are not numbers ('1_0')"),
        ("quality", lambda n: f"1.{100 + n},5", "numbers that have a thousands separator ('1.100,5'"),
        ("quality", lambda n: f"{n},5", "numbers that have a decimal comma ('0,5'"),
        ("quality", lambda n: "3,5" if n == 7 else n / 40, "cells that have a decimal comma ('3,5')"),
        ("album", lambda n: f"album {n % 9}", "contains names of artists"),
        ("Jahr", lambda n: 1960 + n % 30, "contains years"),
        ("Punkte", lambda n: f"{n} %", "numbers and cells with more than a number ('0 %'"),
        ("url", lambda n: ("a.org", "b.org")[n % 2], "is metadata"),
        ("mood text", lambda n: ("la " * 30, "da " * 30)[n % 2], "contains free text"),
    ],
)
def test_what_cannot_be_learnt_is_left_out_with_the_reason(name, make, why, folder):
    text = call(
        table(
            folder,
            features=file,
            valence=rating,
            artist=lambda n: f"artist {n // 4}",
            **({name: make} if name else {"": make}),
        )
    )
    assert list(written()["tasks"]) == ["valence"]
    assert (f"Ignored: column {name!r} " in text and why in text) if why else "Ignored" not in text
    if why:
        assert f"# Ignored: column {name!r}" in (folder / "songs.toml").read_text()


def test_numbers_of_two_values_are_classes_and_whole_ratings_are_ratings(folder):
    call(table(folder, features=file, happy=lambda n: n % 2, energy=lambda n: 1 + n % 5))
    dataset = written()["dataset"]
    assert dataset["classification"] == ["happy"]
    assert list(dataset["regression"]) == ["energy"]
    check_experiment(read(folder / "songs.toml"))


def test_missing_cells_are_no_hindrance(folder):
    call(
        table(
            folder,
            features=file,
            valence=lambda n: "" if n % 3 == 0 else rating(n),
            mood=lambda n: "ab"[n % 2] * (n % 5 > 0),
        )
    )
    assert sum(check_experiment(read(folder / "songs.toml")).tracks.values()) == COUNT - 3


def test_rare_classes_are_dropped(folder):
    call(table(folder, features=file, genre=lambda n: "Zydeco" if n == 5 else ("Jazz", "Rock")[n % 2]))
    assert written()["tasks"]["genre"]["classes"] == {"Zydeco": False}
    checked = check_experiment(read(folder / "songs.toml"))
    assert sum(checked.tracks.values()) == COUNT - 1


def test_the_tables_own_split_goes_before(folder):
    parts = ("train", "train", "train", "validation", "test")
    call(table(folder, features=file, valence=rating, split=lambda n: parts[n % 5], artist=lambda n: n % 9))
    found = written()
    assert found["dataset"]["part"] == "split"
    assert found["split"]["method"] == "official"
    assert check_experiment(read(folder / "songs.toml")).tracks == {"train": 24, "val": 8, "test": 8}


def test_groups_that_leave_a_class_without_training_are_not_split_by(folder):
    genres = ("Jazz", "Rock", "Folk", "Soul", "Pop")
    call(table(folder, features=file, genre=lambda n: genres[n % 5], artist=lambda n: f"a{n % 5}"))
    assert written()["split"] == {"method": "kfold", "folds": 5}
    check_experiment(read(folder / "songs.toml"))


def test_tasks_are_chosen(folder):
    path = table(folder, features=file, valence=rating, arousal=rating, grit=rating)
    text = call(path)
    assert list(written()["tasks"]) == ["valence", "arousal", "grit"]
    assert "Other possible targets" not in text
    call(path, "--task", "grit", "--output", "grit.toml")
    found = written("grit.toml")
    assert list(found["tasks"]) == ["grit"]
    assert "weighting" not in found
    with pytest.raises(InputError, match="no target 'valnce'; did you mean 'valence'"):
        call(path, "--task", "valnce", "--output", "none.toml")


def test_many_numbers_are_features_and_those_called_as_an_emotion_are_learnt(folder):
    extracted = {f"mfcc{n}": (lambda k: lambda n: (n * k % 37) / 7)(n) for n in range(1, 60)}
    call(table(folder, features=file, **extracted, valence=rating))
    assert list(written()["tasks"]) == ["valence"]
    assert len(written()["dataset"]["regression"]) <= 24


@pytest.mark.parametrize(
    ("columns", "message"),
    [
        ({"valence": rating}, "no column names audio or feature files.*Columns: valence"),
        (
            {"features": lambda n: f"song {n}.mp3", "valence": rating},
            "'features' names files that do not exist.*'song 0.mp3'.*40 files there, such as",
        ),
        (
            {"features": lambda n: file(n // 20), "time": lambda n: n % 20 / 2, "valence": rating},
            "column 'time' has times.*dataset.series = \"songs.csv\"",
        ),
        ({"features": file}, "no column can be a target"),
        (
            {"features": file, "review": lambda n: f"text {n}"},
            "no column can be a target.*'review' has a different value",
        ),
    ],
)
def test_tables_that_cannot_be_used_say_what_would_help(columns, message, folder):
    with pytest.raises(InputError, match=f"(?s){message}"):
        call(table(folder, **columns))
    assert not (folder / "songs.toml").exists()


def test_a_few_tracks_are_too_few(folder):
    with pytest.raises(InputError, match="has 9 tracks, but a split needs at least 12"):
        call(table(folder, rows=9, features=file, valence=rating))
    call(table(folder, rows=12, features=file, valence=rating))
    text = (folder / "songs.toml").read_text()
    assert (
        "# Note: with 12 tracks, the 95 % confidence interval of a correlation near 0 is about ±0.59: weaker"
        in text
    )
    checked = check_experiment(read(folder / "songs.toml"))
    assert (checked.tracks["train"], checked.tracks["test"]) == (9, 3)


def test_extractors_with_weights_are_those_that_need_no_parameter(fakes):
    class Pretrained:
        pretrained_on = ("msd",)

    class Plain:
        pass

    class Needy(Pretrained):
        def __init__(self, *, model):
            pass

    class Missing(Pretrained):
        def __init__(self):
            raise OSError("no weights")

    for extractor in (Pretrained, Plain, Needy, Missing):
        fakes("features", extractor.__name__.lower(), extractor)
    assert draft._pretrained() == ["pretrained"]


@pytest.mark.slow
def test_many_tracks_are_for_a_network(folder, monkeypatch):
    monkeypatch.setattr(draft, "_FEW", COUNT)
    path = table(
        folder, features=file, valence=rating, mood=lambda n: "ab"[n % 2], artist=lambda n: f"artist {n // 4}"
    )
    text = call(path)
    assert "Models: cnn" in text
    assert "confidence interval" not in text
    found = written()
    assert (found["model"], found["split"]) == ({"type": "cnn"}, {"method": "grouped", "stratify": "mood"})
    assert found["tasks"]["mood"]["loss"] == {"type": "cross-entropy", "class_weights": "balanced"}
    assert found["weighting"] == {"type": "uncertainty"}
    assert found["training"]["batch_size"] == 16
    checked = check_experiment(read(folder / "songs.toml"))
    sizes = ", ".join(f"{count} {part}" for part, count in checked.tracks.items())
    assert f"Split: grouped: {sizes}" in text


def test_what_the_dataset_refuses_leaves_nothing_behind(folder):
    path = table(folder, features=file, valence=rating)
    path.write_text(path.read_text() + "features/3.npy\n")
    with pytest.raises(InputError, match=r"songs\.csv:42: malformed row"):
        call(path)
    assert not (folder / "songs.toml").exists()


def test_a_folder_that_cannot_be_written_to_is_an_input_error(folder, monkeypatch):
    path = table(folder, features=file, valence=rating)

    def refuse(*arguments, **keywords):
        raise OSError(errno.EROFS, "Read-only file system")

    monkeypatch.setattr(tempfile, "mkstemp", refuse)
    monkeypatch.setattr(Path, "unlink", refuse)
    with pytest.raises(InputError, match=r"songs\.toml: cannot be written: Read-only file system.*--output"):
        call(path)


def test_names_that_toml_cannot_hold_are_an_input_error(folder):
    try:
        (folder / "features").rename(folder / "f\udce4")
    except OSError:
        pytest.skip("this file system takes UTF-8 names only")
    path = table(folder, features=lambda n: f"{n}.npy", valence=rating)
    with pytest.raises(InputError, match=r"cannot be written because a name is not valid UTF-8: .*f\\udce4"):
        call(path)
    assert not (folder / "songs.toml").exists()


@pytest.mark.parametrize("encoding", ["utf-8", "utf-8-sig", "utf-16"])
@pytest.mark.parametrize("before", ["", "\n", "sep=;\n"])
def test_a_german_table(folder, encoding, before):
    rows = (
        f"Lied {n};{file(n)};{rating(n).replace('.', ',')};{('fröhlich', 'trüb', 'k.A.', 'NA')[n % 4]}"
        for n in range(COUNT)
    )
    path = folder / "songs.csv"
    path.write_bytes((before + "\r\n".join(["Titel;Datei;Valenz (Ø);Gefühl", *rows])).encode(encoding))
    call(path)
    dataset = written()["dataset"]
    assert (dataset["decimal"], dataset["missing"]) == (",", ["NA"])
    assert dataset["regression"] == {"valenz": [1, 9]}
    checked = check_experiment(read(folder / "songs.toml"))
    assert sum(checked.tracks.values()) == COUNT


def european(folder, *, names, artists=20, encoding="utf-8-sig", columns=None):
    """Write a table as Excel does in most of Europe, of files whose names are `names`."""
    (folder / "features").rename(folder / "Lieder")
    header = "Datei;Künstler;Valenz;Arousal;Genre"
    rows = [
        f"{names(n)};Sängerin {n % artists};{rating(n)};{rating(n * 7)};{('Jazz', 'Rock', 'Folk')[n % 3]}".replace(
            ".", ","
        )
        for n in range(COUNT)
    ]
    path = folder / "songs.csv"
    path.write_bytes("\r\n".join([columns or header, *rows]).encode(encoding))
    return path


@pytest.mark.parametrize("encoding", ["utf-8-sig", "windows-1252"])
@pytest.mark.parametrize("columns", [None, "a;b;c;d;e"])
def test_a_european_spreadsheet(folder, encoding, columns):
    text = call(european(folder, names=lambda n: f"{n:03d}", encoding=encoding, columns=columns))
    dataset = written()["dataset"]
    file, artist, valence, arousal, genre = (columns or "Datei;Künstler;Valenz;Arousal;Genre").split(";")
    assert dataset.pop("encoding", "utf-8-sig") == encoding
    assert dataset == {
        "type": "table",
        "path": "songs.csv",
        "id": file,
        "file": file,
        "root": "Lieder",
        "match": "stem",
        "decimal": ",",
        "regression": {valence: [1, 9], arousal: [1, 9]},
        "classification": [genre],
        "group": artist,
        "rows": 9,
    }
    assert list(written()["tasks"]) == [valence, arousal, genre]
    assert f"Note: column {file!r}: 40 of 40 names are matched without extension, case and separators" in text
    if columns:
        assert "Note: column 'b' is used as the group (20 values for 40 tracks are many for classes)" in text
        assert "Are these artists" in (folder / "songs.toml").read_text()
    assert sum(check_experiment(read(folder / "songs.toml")).tracks.values()) == COUNT


def test_groups_and_classes_are_told_apart_by_their_cells(folder):
    classes = ("x", "y")
    path = table(
        folder, features=file, q=lambda n: f"q{n % 8}", r=lambda n: classes[n % 2], s=lambda n: "stu"[n % 3]
    )
    call(path)
    dataset = written()["dataset"]
    assert (dataset["group"], dataset["classification"]) == ("q", ["r", "s"]), "each q is within one class of r"
    call(path, "--task", "q", "--output", "q.toml")
    assert "group" not in written("q.toml")["dataset"]
    assert list(written("q.toml")["tasks"]) == ["q"]


def test_ratings_that_cannot_be_read_are_an_error_and_not_a_classifier(folder):
    path = table(folder, features=file, Valenz=lambda n: f"{n} Punkte", Genre=lambda n: ("Jazz", "Rock")[n % 2])
    with pytest.raises(
        InputError, match=r"(?s)1 of 1 columns with numbers cannot be read. Without them, only Genre .*'Valenz'"
    ):
        call(path)
    call(path, "--task", "Genre")
    assert list(written()["tasks"]) == ["Genre"]


def test_features_only(folder):
    extracted = {f"x{n}": (lambda k: lambda n: (n * k % 37) / 7)(n) for n in range(1, 30)}
    path = table(folder, features=file, **extracted)
    with pytest.raises(InputError, match=r"has 29 columns of numbers.*--task x1"):
        call(path)
    call(path, "--task", "x28")
    assert list(written()["tasks"]) == ["x28"]


def test_columns_that_are_no_ratings_are_learned_on_request(folder):
    path = table(folder, features=file, valence=rating, year=lambda n: 1960 + n % 30)
    assert "column 'year' is metadata, not a rating; --task year learns it" in call(path)
    call(path, "--task", "year", "--output", "year.toml")
    assert list(written("year.toml")["tasks"]) == ["year"]


def workbook(path, **sheets):
    openpyxl = pytest.importorskip("openpyxl")
    book = openpyxl.Workbook()
    book.remove(book.active)
    for name, rows in sheets.items():
        sheet = book.create_sheet(name)
        for row in rows:
            sheet.append(row)
    book.save(path)


@pytest.mark.slow
def test_a_workbook(folder):
    rows = [["Titel", "Valenz", "Jahr"], *([str(n), float(rating(n)), 1960 + n % 30] for n in range(COUNT))]
    workbook(folder / "songs.xlsx", Notizen=[["von mir"]], Lieder=rows)
    text = call("songs.xlsx")
    assert "the sheet 'Lieder' is read, which has the most rows; other sheets: Notizen" in text
    dataset = written()["dataset"]
    assert (dataset["sheet"], dataset["regression"], dataset["match"]) == ("Lieder", {"Valenz": [1, 9]}, "stem")
    assert sum(check_experiment(read(folder / "songs.toml")).tracks.values()) == COUNT


@pytest.mark.parametrize(
    ("shape", "rows", "remark"),
    [
        (lambda n: (20 + n % 3, 8), None, "[time, rows], with 8 rows"),
        (lambda n: (8, 20 + n % 3), None, "[rows, time], with 8 rows"),
        (lambda n: (3, 8), 8, "[3, 8] in every track, read as [time, rows] with 8 rows. If the other axis has"),
        (lambda n: (8, 3), 8, "[8, 3] in every track, read as [rows, time] with 8 rows. If the other axis has"),
        (lambda n: (1, 8), 8, "[1, 8], one vector of 8 numbers per track"),
        (lambda n: (8,), None, "one vector of 8 numbers per track"),
        (
            lambda n: (7, 512),
            512,
            "[7, 512] in every track, read as 7 layers of 512 numbers, one vector per track",
        ),
        (lambda n: (25, 512), 512, "[25, 512] in every track, read as [time, rows] with 512 rows. If"),
    ],
)
def test_the_form_of_arrays_is_recognized_once(folder, shape, rows, remark):
    for number in range(COUNT):
        np.save(folder / "features" / f"{number}.npy", np.ones(shape(number), "float32"))
    text = call(table(folder, features=file, valence=rating))
    assert text.count("the arrays are") == 1
    assert f"Note: the arrays are {remark}" in text
    layers = {"type": "arrays", "layout": "layers"} if "layers" in remark else None
    assert (written()["dataset"].get("rows"), written().get("features")) == (rows, layers)
    check_experiment(read(folder / "songs.toml"))


def test_archives(folder):
    for number in range(COUNT):
        path = folder / "features" / f"{number}.npy"
        array = np.load(path)[:, : 4 + number % 3]
        np.savez(path.with_suffix(".npz"), edges=np.arange(8.0), last=array, first=array)
        path.unlink()
    text = call(table(folder, features=lambda n: f"features/{n}.npz", valence=rating))
    assert (
        "[rows, time], with 6 rows; of the arrays last, first in each file, features.keys selects 'last'"
        in text
    )
    assert written()["features"] == {"type": "arrays", "keys": ["last"], "layout": "rows-time"}
    check_experiment(read(folder / "songs.toml"))


def test_files_in_another_folder(folder):
    place = folder / "far"
    place.mkdir()
    path = table(place, clip=lambda n: f"{n}.mp3", valence=rating)
    with pytest.raises(InputError, match=r"no audio or feature file there.*--files FOLDER"):
        call(path)
    with pytest.raises(InputError, match="--files no: there is no such folder"):
        call(path, "--files", "no")
    call(path, "--files", "features")
    assert written()["dataset"]["root"] == "features"


@pytest.mark.slow
def test_a_table_beside_folders_of_songs_is_used(folder):
    for name in ("songs", "new"):
        (folder / name).mkdir()
        for number in range(COUNT):
            (folder / name / f"{name} {number}.mp3").touch()
            (folder / "features" / f"{number}.npy").unlink(missing_ok=True)
    path = table(folder, "ratings.csv", track=lambda n: f"Songs_{n}", valence=rating)
    with any_warnings():
        call(folder, "--output", "mine.toml")
    assert written("mine.toml")["dataset"]["root"] == "songs"
    path.write_text(path.read_text().replace("Songs_", "Lied "))
    with pytest.raises(
        InputError,
        match=r"(?s)table \(ratings.csv\), which cannot be used, and folders of songs \(new, "
        r"songs\).*--task class.*no column names audio",
    ):
        call(folder, "--output", "other.toml")
    with any_warnings():
        call(folder, "--output", "other.toml", "--task", "class")
    assert list(written("other.toml")["tasks"]) == ["class"]


def test_a_table_beside_the_folder_is_named(folder):
    table(folder, "ratings.csv", features=file, valence=rating)
    with pytest.raises(InputError, match=r"features: contains songs, but no table.*such as .*ratings\.csv"):
        call(folder / "features")


def test_unicode_text_of_a_spreadsheet_program(folder):
    path = table(folder, "songs.txt", "\t", features=file, valence=rating)
    path.write_bytes(path.read_text().encode("utf-16"))
    call(path)
    assert written()["dataset"]["path"] == "songs.txt"
    check_experiment(read(folder / "songs.toml"))


def test_names_of_several_files(folder):
    for name in ("new", "old"):
        (folder / name).mkdir()
        for number in range(COUNT):
            (folder / name / f"a{number}.mp3").touch()
    path = table(folder, track=lambda n: f"A{n}", valence=rating)
    with pytest.raises(
        InputError, match=r"40 names match several files.*'A0' \(new/a0.mp3 and old/a0.mp3\).*37 more.*--files"
    ):
        call(path)
    with any_warnings():
        call(path, "--files", "old")
    assert written()["dataset"]["root"] == "old"


def test_rows_that_repeat_a_track(folder):
    path = table(folder, features=file, valence=rating)
    path.write_text(path.read_text() + f"{file(3)},{rating(3)}\n")
    with warns(r"1 row is ignored because of an identical earlier row \(line 42 like line 5\)"):
        call(path)
    path.write_text(path.read_text() + f"{file(4)},8\n")
    with pytest.raises(
        InputError, match=r"'features/4.npy' in lines 6 and 43, with '2.50' and '8' in column 'valence'"
    ):
        call(path, "--output", "other.toml")


def heard(folder, header, listeners=6, cell=None, **others):
    """Write a table with a row for each listener and track: the listener, the file, two ratings, the class and age."""
    columns = [
        lambda n: cell(n) if cell else f"p{n // COUNT:02d}",
        lambda n: file(n % COUNT),
        lambda n: 1 + (n * 5 + n // COUNT) % 7,
        lambda n: "" if n == 5 else 1 + (n * 3) % 5,
        lambda n: ("Jazz", "Rock", "NA", "Folk")[n % 4],
        lambda n: 20 + n // COUNT,
        lambda n: 1 + n % COUNT,
    ]
    path = table(folder, rows=COUNT * listeners, **dict(zip(header, columns, strict=True)) | others)
    return path, path.read_text().splitlines()


@pytest.mark.parametrize(
    "header", [list("abcdefg"), ["Hörer", "Datei", "Valenz", "Erregung", "Genre", "Alter", "Platz"]]
)
def test_a_row_for_each_listener(folder, header):
    path, lines = heard(folder, header)
    text = call(path)
    listener, name, valence, arousal, genre, age, number = header
    found = written()["dataset"]
    assert found == {
        "type": "table",
        "path": "songs.csv",
        "id": name,
        "listener": listener,
        "file": name,
        "missing": ["NA"],
        "regression": {valence: [1, 7], arousal: [1, 7]},
        "classification": [genre],
        "rows": 9,
    }
    assert f"{COUNT} tracks, read by table" in text.replace("from ", "")
    assert "Note: 240 rows of 6 listeners: 40 tracks, 6 ratings each\n" in text
    assert "Note: the rating scale is a guess (1 to 7 for" in text
    assert f"Ignored: column {age!r} describes the listeners" in text
    assert f"Ignored: column {number!r} numbers the tracks" in text
    dataset = read(folder / "songs.toml").build_dataset()
    first = next(iter(dataset.tracks()))
    assert first.ratings[valence] == [float(line.split(",")[2]) for line in lines[1::COUNT]]
    assert first.targets[valence] == np.mean(first.ratings[valence])


def test_rows_of_unnamed_listeners(folder):
    path, _ = heard(
        folder, list("abcdefg"), cell=lambda n: f"p{n % 5}", c=lambda n: n // COUNT % 2, f=lambda n: n % 3
    )
    path.write_text(path.read_text().replace("Jazz", "jazz", 1))
    with pytest.raises(
        InputError,
        match="'e' differs within 1 of 40 tracks, for example 'jazz' in line 2 and 'Jazz' in line 42",
    ):
        call(path)
    text = call(path, *(f"--task={name}" for name in "cd"))
    assert written()["dataset"]["listener"] is True
    assert written()["dataset"]["regression"]["c"] == [0, 1]
    assert "Note: 240 rows: 40 tracks, 6 ratings each. Every row is taken for another listener" in text


@pytest.mark.parametrize(
    ("name", "pattern", "target"),
    [
        ("Valenz_p{:02d}", "Valenz_p*", "Valenz"),
        ("VP{} Valenz", "VP* Valenz", "Valenz"),
        ("Valenz{}", "Valenz*", "Valenz"),
    ],
)
def test_a_column_for_each_listener(folder, name, pattern, target):
    columns = {
        name.replace("Valenz", emotion).format(n): lambda row, n=n + step: 1 + (row * 5 + n) % 7
        for step, emotion in enumerate(("Valenz", "Erregung"))
        for n in range(1, 6)
    }
    text = call(table(folder, features=file, **columns, mfcc_1=lambda n: n / 7, mfcc_2=lambda n: n / 9))
    other = pattern.replace("Valenz", "Erregung")
    found = written()["dataset"]
    assert found["columns"] == {target: pattern, "Erregung": other}
    assert found["regression"] == {target: [1, 7], "Erregung": [1, 7], "mfcc_1": [0, 10], "mfcc_2": [0, 10]}
    assert (
        f"Note: the columns {pattern!r} (5), {other!r} (5) are read as the ratings of single listeners" in text
    )
    first = next(iter(read(folder / "songs.toml").build_dataset().tracks()))
    assert first.ratings[target] == [2, 3, 4, 5, 6]


@pytest.mark.parametrize(
    ("before", "after", "message"),
    [
        (
            "",
            "Mean;4.1;3.9",
            r"'file': 1 row does not name a file: line 42 \('Mean'\). Delete rows that are not tracks",
        ),
        ("", ";160;150", r"'file': 1 row does not name a file: line 42 \(empty\)"),
        ("file;valence;arousal\n;1 to 9;1 to 9", "", r"'file': 1 row does not name a file: line 2 \(empty\)"),
        (
            "My study;;\nfile;valence;arousal",
            "",
            r":1: the first row has names for 1 of 3 columns.*delete titles",
        ),
        (";Ratings;\nfile;valence;arousal", "", r":1: the first row has names for 1 of 3 columns"),
        ("My study\nfile;valence;arousal", "", "If 'My study' is a title, delete it"),
    ],
)
def test_rows_that_are_no_tracks(folder, before, after, message):
    rows = (f"{file(n)};{rating(n)};{rating(n + 3)}" for n in range(COUNT))
    path = folder / "songs.csv"
    path.write_text("\n".join([before or "file;valence;arousal", *rows, after]))
    with pytest.raises(InputError, match=message):
        call(path)


def test_rows_and_files_that_are_counted_from_other_numbers(folder):
    path = table(folder, id=lambda n: n + 1, valence=rating)
    with pytest.raises(
        InputError, match="counts from 1 to 40, and the files probably from 0: '40' has no file"
    ):
        call(path)
    call(table(folder, id=lambda n: n, valence=rating))


def test_rows_and_columns_are_exchanged(folder):
    path = folder / "songs.csv"
    lines = (["song", *map(file, range(COUNT))], ["valence", *map(rating, range(COUNT))])
    path.write_text("\n".join(map(",".join, lines)))
    with pytest.raises(InputError, match=r"the header has the names of files.*exchange its rows and columns"):
        call(path)


def test_numbers_far_from_the_others_mark_missing_ratings(folder):
    columns = {"valence": lambda n: 99 if n % 8 == 0 else 1 + n % 7, "arousal": lambda n: 1 + n % 5 + n // 38}
    text = call(table(folder, features=file, **columns))
    assert "Note: 99 in column 'valence' is read as missing (5 cells far from the others)" in text
    assert written()["dataset"]["missing"] == ["99"]
    assert written()["dataset"]["regression"] == {"valence": [1, 7], "arousal": [1, 7]}
    dataset = read(folder / "songs.toml").build_dataset()
    assert [track.targets["valence"] for track in dataset.tracks()][:3] == [None, 2.0, 3.0]
    call(table(folder, features=file, **columns, loudness=lambda n: 60 + n), "--output", "other.toml")
    assert "missing" not in written("other.toml")["dataset"]


def test_a_questionnaire_has_one_scale(folder):
    scores = {
        "valence": lambda n: 1.2 + n % 7,
        "liking": lambda n: 1 + n % 5,
        "tension": lambda n: (n % 40 - 20) / 10,
        "power": lambda n: (n % 30 - 15) / 6,
        "energy": lambda n: n % 40 / 40,
    }
    text = call(table(folder, features=file, **scores, Datum=lambda n: f"{1 + n % 2}.3.2024"))
    assert written()["dataset"]["regression"] == {
        **{"valence": [1, 9], "liking": [1, 9], "tension": [-3, 3], "power": [-3, 3]},
        "energy": [0, 1],
    }
    assert "guesses (1 to 9 for valence, liking; -3 to 3 for tension, power; 0 to 1 for energy)" in text
    assert "Ignored: column 'Datum' contains dates" in text


def test_missing_markers_are_no_classes_and_no_parts(folder):
    markers = ("NA", "nan", "None")
    call(
        table(
            folder,
            features=file,
            valence=lambda n: "nan" if n % 5 == 0 else rating(n),
            mood=lambda n: markers[n % 3] if n % 5 == 1 else ("calm", "wild")[n % 2],
            artist=lambda n: "None" if n % 9 == 0 else f"artist {n // 2}",
        )
    )
    found = written()
    assert found["dataset"]["missing"] == ["NA", "None", "nan"]
    assert "grouped" not in found["split"], "a grouped split needs a group of each track"
    assert set(found["tasks"]) == {"valence", "mood"}
    experiment = read(folder / "songs.toml")
    assert experiment.build_dataset().targets[1].classes == ("calm", "wild")


@pytest.mark.slow
def test_a_table_of_many_columns_is_read_and_reported_in_short(folder):
    names = [f"x{n}" for n in range(10_000)]
    rows = [["features", "valence", *names], *([file(n), rating(n), *["7"] * len(names)] for n in range(12))]
    (folder / "wide.csv").write_text("\n".join(map(",".join, rows)))
    text = call("wide.csv")
    assert (
        "Ignored: 10000 columns ('x0', 'x1', 'x2' and others): each has the same value for every track" in text
    )
    assert len(text) < 2000
    with pytest.raises(InputError) as caught:
        call("wide.csv", "--task", "nothing", "--output", "other.toml")
    assert len(str(caught.value)) < 5000


def test_folders_whose_names_are_formulas_or_markers(folder):
    for number in range(COUNT):
        place = folder / "music" / ("=calm", "-wild", "None", "__MACOSX")[number % 4]
        place.mkdir(parents=True, exist_ok=True)
        (folder / "features" / f"{number}.npy").rename(place / f"{number}.npy")
        (place / f"._{number}.npy").write_bytes(b"\0\5\x16\7")
    with warns("column 'class': 10 cells are read as missing values"):
        call("music")
    assert "'=calm/0.npy,'=calm" in (folder / "music.csv").read_text()
    with warns("missing values"):
        dataset = read(folder / "music.toml").build_dataset()
    assert dataset.targets[0].classes == ("-wild", "=calm")
    assert len(list(dataset.tracks())) == 30


@pytest.mark.slow
def test_no_table_at_all(folder):
    with pytest.raises(InputError, match="there is no such file"):
        call("absent.csv")
    (folder / "notes.txt").write_text("hello")
    with pytest.raises(InputError, match="is not data of a supported kind"):
        call("notes.txt")
    (folder / "header.csv").write_text("features,valence\n")
    with pytest.raises(InputError, match="has no track"):
        call("header.csv")
    (folder / "empty.csv").touch()
    with pytest.raises(InputError, match="is empty"):
        call("empty.csv")
    (folder / "latin.csv").write_bytes(b"features,stimmung\nx,fr\x81hlich\n")
    with pytest.raises(InputError, match="is not UTF-8"):
        call("latin.csv")
    with pytest.raises(InputError, match="'synth' does not support"):
        call("notes.txt", "--dataset", "synth")


def test_a_folder_with_a_table(folder):
    table(folder, features=file, valence=rating)
    call(folder, "--output", "mine.toml")
    assert written("mine.toml")["dataset"]["path"] == "songs.csv"
    table(folder, "more.csv", features=file, valence=rating)
    with pytest.raises(InputError, match=r"more than one table \(more\.csv, songs\.csv\)"):
        call(folder, "--output", "other.toml")


def test_folders_by_class_get_a_table(folder):
    for number in range(COUNT):
        place = folder / "music" / ("calm", "wild", "rare")[2 if number == 3 else number % 2]
        place.mkdir(parents=True, exist_ok=True)
        (folder / "features" / f"{number}.npy").rename(place / f"{number}.npy")
    text = call("music")
    assert "Also wrote music.csv" in text
    found = written("music.toml")
    assert found["dataset"] == {
        "type": "table",
        "path": "music.csv",
        "root": "music",
        "id": "file",
        "file": "file",
        "classification": ["class"],
        "rows": 9,
    }
    assert found["tasks"]["class"]["classes"] == {"rare": False}
    assert sum(check_experiment(read(folder / "music.toml")).tracks.values()) == COUNT - 1
    (folder / "music.toml").unlink()
    with pytest.raises(InputError, match=r"music\.csv: already exists"):
        call("music")


def test_songs_that_are_not_there_are_skipped(folder):
    songs = folder / "songs"
    songs.mkdir()
    for number in range(COUNT - 4):
        (songs / f"{number}.mp3").touch()
    with any_warnings():
        call(table(folder, file=lambda n: f"songs/{n}.mp3", tempo__feel=rating, valence=rating))
    found = written()
    assert found["dataset"]["audio"] == "file"
    assert found["features"] == {"type": "mel-chroma", "grid": "frame"}
    assert found["matrix"]["model"]["multi-kernel"]["scaling"] == {"method": "none"}
    assert found["dataset"]["on_error"] == "skip"
    assert "4 of 40 tracks have no file" in (folder / "songs.toml").read_text()


def test_a_plugins_dataset_may_know_its_own_folder(fakes, folder):
    import fakes as fakes_module

    from musicemo.contracts import Proposal

    class Known(fakes_module.MemoryDataset):
        @classmethod
        def propose(cls, path):
            if not (path / "known.txt").exists():
                return None
            made = cls()
            return Proposal({"tracks": 60}, list(made.tracks()), made.targets[:1], made.targets[1:])

    class Other(Known):
        pass

    fakes("dataset", "known", Known)
    fakes("model", "cnn", fakes_module.MeanModel)
    fakes("loss", "soft-spearman", fakes_module.SquaredError)
    (folder / "known.txt").touch()
    call(folder, "--output", "mine.toml")
    found = written("mine.toml")
    assert found["dataset"] == {"type": "known", "tracks": 60}
    assert found["split"]["method"] == "official"
    assert list(found["tasks"]) == ["valence"]
    fakes("dataset", "other", Other)
    with pytest.raises(InputError, match=r"could be known or other\. Choose one with --dataset"):
        call(folder, "--output", "more.toml")
    call(folder, "--output", "more.toml", "--dataset", "other")
    assert written("more.toml")["dataset"]["type"] == "other"


@pytest.mark.slow
def test_a_column_with_lists_is_proposed_as_tags(folder):
    moods = ("happy", "sad", "calm")
    table(
        folder,
        id=lambda n: f"s{n}",
        features=file,
        tags=lambda n: "|".join(mood for place, mood in enumerate(moods) if n >> place & 1) or "|",
        names=lambda n: f"Miller, Bob; {n}",
    )
    call("songs.csv")
    found = written()
    assert found["dataset"]["tags"] == ["tags"]
    assert found["dataset"]["separator"] == "|"
    assert found["tasks"]["tags"] == {}
    preview = check_experiment(read("songs.toml"))
    assert [(task.task.kind, set(task.classes)) for task in preview.tasks] == [("tags", set(moods))]
