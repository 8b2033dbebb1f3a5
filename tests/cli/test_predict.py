"""``musicemo predict``."""

from __future__ import annotations

import csv
import io
import json
import os
import shutil
from pathlib import Path

import numpy as np
import pytest
import soundfile
from rich.console import Console
from signals import RATE, song

from musicemo.errors import InputError
from musicemo.prediction import SongPrediction, TaskPrediction
from musicemo.reporting.sections.songs import song_blocks
from musicemo.reporting.terminal import show


@pytest.fixture
def music(tmp_path):
    """Return a folder with a short song, a long one, and a text that is called a song."""
    folder = tmp_path / "music"
    (folder / "inner").mkdir(parents=True)
    soundfile.write(folder / "short.wav", song(3.0, bpm=120), RATE)
    soundfile.write(folder / "inner" / "lóng [x].wav", song(12.0, bpm=140), RATE)
    return folder


def columns(line):
    return line.split()


@pytest.mark.slow
def test_a_table(trained, music):
    finished = trained.run("predict", trained.first, music / "short.wav")
    assert (finished.code, finished.err) == (0, "")
    lines = finished.out.splitlines()
    assert lines[0].startswith(f"{music / 'short.wav'}: 3.0 s")
    assert columns(lines[1]) == ["emotion", "rating", "range"]
    assert columns(lines[2])[0] == "valence"
    assert lines[2].endswith("1 to 9")
    assert columns(lines[3]) == ["class", "probability"]
    assert [line.split(":")[0] for line in lines[4:7]] == ["genre"] * 3
    assert "\x1b" not in finished.out


def test_ratings_beyond_the_range_are_told(capsys):
    def predicted(value):
        tasks = {
            "valence": TaskPrediction("regression", (1.0, 9.0), (), np.full((1, 1), value)),
            "genre": TaskPrediction("classification", (0.0, 1.0), ("a", "b"), np.full((1, 1, 2), 0.5)),
        }
        return SongPrediction("song.wav", 3.0, np.array([[0.0, 3.0]]), tasks)

    console = Console(width=80, soft_wrap=True)
    show(console, song_blocks(predicted(9.4)))
    assert "Outside the range of the ratings: valence. Predictions are not clipped" in capsys.readouterr().out
    show(console, song_blocks(predicted(9.0)))
    assert "Outside" not in capsys.readouterr().out


@pytest.mark.slow
def test_json_of_replicates_and_a_folder(command, trained, music):
    finished = command("predict", trained.replicates, music, "--format", "json")
    assert finished.code == 0
    assert "2 songs" in finished.err
    found = json.loads(finished.out)
    assert found["runs"] == [str(trained.first), str(trained.second)]
    assert [one["song"] for one in found["songs"]] == [
        str(music / "inner" / "lóng [x].wav"),
        str(music / "short.wav"),
    ]
    assert len(found["songs"][0]["windows"]) > 1
    assert found["songs"][1]["tasks"]["valence"]["deviation"] > 0


@pytest.mark.slow
def test_csv_in_a_file(command, trained, music, tmp_path):
    finished = command(
        "predict", trained.first, music / "short.wav", "--format", "csv", "--output", tmp_path / "out.csv"
    )
    assert (finished.code, finished.out) == (0, "")
    rows = list(csv.DictReader(io.StringIO((tmp_path / "out.csv").read_text())))
    assert {row["task"] for row in rows} == {"valence", "genre"}


@pytest.mark.slow
def test_a_table_in_a_file(command, trained, music, tmp_path):
    arguments = ["predict", trained.replicates, music / "short.wav"]
    finished = command(*arguments, "--output", tmp_path / "out.txt")
    assert (finished.code, finished.out) == (0, "")
    assert (tmp_path / "out.txt").read_text() == command(*arguments).out


@pytest.mark.slow
def test_songs_that_fail_are_told_and_the_others_go_on(command, trained, music, tmp_path):
    (music / "text.mp3").write_text("no audio")
    songs = [music / "text.mp3", music / "missing.wav", music / "short.wav"]
    finished = command("predict", trained.first, *songs, "--format", "json")
    assert finished.code == 2
    found = json.loads(finished.out)["songs"]
    assert [sorted(one) for one in found[:2]] == [["error", "song"]] * 2
    assert found[1]["error"] == "there is no such file"
    assert "tasks" in found[2]
    errors = [line for line in finished.err.splitlines() if line.startswith("error: ")]
    assert [line.split(": ")[1] for line in errors] == [str(path) for path in songs[:2]]
    assert "Traceback" not in finished.err


@pytest.fixture
def album(tmp_path, monkeypatch):
    """Return what replaces the analysis of songs: given name -> error, the songs of these names raise it."""
    from clips import song_features

    from musicemo.prediction import Predictor

    folder = tmp_path / "album"
    folder.mkdir()
    for name in ("1", "2", "3"):
        (folder / f"{name}.wav").touch()

    def replace(errors):
        def extract(self, song):
            if song.stem in errors:
                raise errors[song.stem]
            return song_features(8)

        monkeypatch.setattr(Predictor, "extract", extract)
        return folder

    return replace


@pytest.mark.parametrize(
    ("error", "reason"),
    [
        (InputError("album/2.wav: is silent"), "is silent"),
        (MemoryError("Unable to allocate 7 TiB"), "needs more memory than is available"),
        (RuntimeError("the decoder died"), "cannot be predicted: RuntimeError: the decoder died"),
        (RecursionError("too deep"), "cannot be predicted: RecursionError: too deep"),
        (ValueError("negative dimensions"), "cannot be predicted: ValueError: negative dimensions"),
        (SystemExit(3), "cannot be predicted: SystemExit: 3"),
    ],
    ids=lambda value: type(value).__name__ if isinstance(value, BaseException) else "",
)
def test_an_error_of_any_type_is_that_of_one_song(command, trained, album, error, reason):
    folder = album({"2": error})
    finished = command("predict", trained.first, "album", "--format", "json", folder=folder.parent)
    assert finished.code == 2
    songs = json.loads(finished.out)["songs"]
    assert ["tasks" in song for song in songs] == [True, False, True]
    assert songs[1] == {"song": "album/2.wav", "error": reason}
    assert f"error: album/2.wav: {reason}" in finished.err.splitlines()


@pytest.mark.parametrize("form", ["table", "csv", "json"])
@pytest.mark.parametrize("to_file", [False, True], ids=["output", "file"])
def test_an_interruption_keeps_the_songs_before_it(command, trained, album, tmp_path, form, to_file):
    folder = album({"1": MemoryError(), "3": KeyboardInterrupt()})
    arguments = ["--output", tmp_path / "out"] if to_file else []
    finished = command("predict", trained.first, folder, "--format", form, *arguments)
    assert finished.code == 130
    assert f"error: {folder / '1.wav'}: needs more memory than is available" in finished.err.splitlines()
    text = (tmp_path / "out").read_text() if to_file else finished.out
    if form == "json":
        assert [sorted(song) for song in json.loads(text)["songs"]] == [
            ["error", "song"],
            ["duration", "song", "tasks", "windows"],
        ]
    elif form == "csv":
        assert {row["song"] for row in csv.DictReader(io.StringIO(text))} == {str(folder / "2.wav")}
    else:
        assert text.startswith(f"{folder / '2.wav'}: ")


def test_a_file_is_complete_after_each_song(trained, album, command, tmp_path, monkeypatch):
    """A process that is killed has no time to complete it."""
    from musicemo.prediction import Predictor

    folder, seen = album({}), []
    extract = Predictor.extract

    def watched(self, song):
        seen.append(json.loads((tmp_path / "out.json").read_text())["songs"])
        return extract(self, song)

    monkeypatch.setattr(Predictor, "extract", watched)
    arguments = ["--format", "json", "--output", tmp_path / "out.json"]
    assert command("predict", trained.first, folder, *arguments).code == 0
    final = json.loads((tmp_path / "out.json").read_text())["songs"]
    assert [len(songs) for songs in (*seen, final)] == [0, 1, 2, 3]
    assert seen[2] == final[:2]
    in_one_piece = command("predict", trained.first, folder, "--format", "json").out
    assert in_one_piece == (tmp_path / "out.json").read_text()
    assert in_one_piece == json.dumps(json.loads(in_one_piece), indent=2) + "\n"


@pytest.mark.slow
def test_a_picture_that_cannot_be_drawn_leaves_the_prediction(command, trained, album, tmp_path, monkeypatch):
    from clips import columns

    from musicemo.features import Analysis, Recipe

    folder, beat = album({}), columns(8)
    analysis = Analysis(np.repeat(beat, 21, axis=1), beat, np.arange(1, 8) * 21, Recipe())
    monkeypatch.setattr("musicemo.features.analyse", lambda song: analysis)
    (tmp_path / "plots" / "2.png").mkdir(parents=True)
    finished = command("predict", trained.first, folder, "--plot", tmp_path / "plots", "--format", "json")
    assert finished.code == 2
    assert f"error: {folder / '2.wav'}: the figure cannot be drawn: " in finished.err
    assert ["tasks" in song for song in json.loads(finished.out)["songs"]] == [True] * 3
    assert (tmp_path / "plots" / "3.png").is_file()


def test_a_full_disk_is_reported(command, trained, album):
    if not Path("/dev/full").exists():
        pytest.skip("this system has no /dev/full")
    finished = command("predict", trained.first, album({}), "--format", "csv", "--output", "/dev/full")
    assert (finished.code, finished.out) == (1, "")
    assert "error: /dev/full: cannot be written: No space left on device" in finished.err
    assert "Traceback" not in finished.err


def test_only_failures(command, trained, tmp_path):
    finished = command("predict", trained.first, tmp_path / "missing.wav")
    assert (finished.code, finished.out) == (2, "")
    assert finished.err == f"error: {tmp_path / 'missing.wav'}: there is no such file\n"


def test_the_message_of_a_failure_is_one_line(command, trained, tmp_path):
    finished = command("predict", trained.first, tmp_path / "a\nerror: b.wav")
    assert finished.err == f"error: {tmp_path}/a\\nerror: b.wav: there is no such file\n"


def test_a_song_that_is_given_twice_is_predicted_once(command, trained, music):
    path = music / "short.wav"
    finished = command("predict", trained.first, path, path, f"{music}/*.wav", "--format", "json")
    assert [one["song"] for one in json.loads(finished.out)["songs"]] == [str(path)]


@pytest.mark.slow
def test_odd_names(command, trained, music, tmp_path):
    folder = tmp_path / "odd"
    folder.mkdir()
    names = [b"-dash.wav", b"[bold]x[red].wav", b"br\xff\xfeken.wav", b"new\nline.wav", b"$a_1$.wav"]
    for name in names:
        shutil.copy(os.fsencode(music / "short.wav"), os.fsencode(folder) + b"/" + name)
    for form in ("table", "csv", "json"):
        finished = command("predict", trained.first, folder, "--format", form, "--output", tmp_path / form)
        assert (finished.code, finished.out) == (0, "")
    assert b"[bold]x[red].wav: 3.0 s" in (tmp_path / "table").read_bytes()
    assert b"br\xff\xfeken.wav" in (tmp_path / "csv").read_bytes()
    songs = [one["song"] for one in json.loads((tmp_path / "json").read_text())["songs"]]
    assert os.fsdecode(os.fsencode(folder) + b"/" + names[2]) in songs
    (broken,) = folder.glob("br*.wav")
    assert command("predict", trained.first, broken, "--plot", tmp_path / "plots").code == 0
    assert len(list((tmp_path / "plots").iterdir())) == 1


@pytest.mark.slow
def test_pictures(command, trained, music, tmp_path):
    finished = command(
        "predict", trained.replicates, music, music / "missing.wav", "--plot", "deep/plots", folder=tmp_path
    )
    assert finished.code == 2
    names = sorted(path.name for path in (tmp_path / "deep" / "plots").iterdir())
    assert names == ["lóng [x].png", "short.png"]
    finished = command("predict", trained.first, music / "short.wav", "--plot", tmp_path / "one.png")
    assert finished.code == 0
    assert (tmp_path / "one.png").read_bytes().startswith(b"\x89PNG")


@pytest.mark.slow
def test_songs_of_one_name_have_pictures_of_their_own(command, trained, music, tmp_path):
    shutil.copy(music / "short.wav", music / "inner" / "short.wav")
    assert command("predict", trained.first, music, "--plot", tmp_path / "plots").code == 0
    assert sorted(path.stem for path in (tmp_path / "plots").iterdir()) == ["lóng [x]", "short", "short-2"]


def test_windows(command, trained, music):
    finished = command(
        "predict", trained.first, music / "short.wav", "--window", "2", "--hop", "0.5", "--format", "json"
    )
    assert len(json.loads(finished.out)["songs"][0]["windows"]) == 3


@pytest.mark.slow
def test_a_dataset_that_does_not_say_its_sync(command, trained, music, tmp_path):
    made = trained.run(
        "run",
        trained.folder / "songs.toml",
        "--set",
        'dataset.sync="untold"',
        "--set",
        "seed=0",
        folder=tmp_path,
    )
    assert made.code == 0
    folder = tmp_path / "runs" / "songs"
    finished = command("predict", folder, music / "short.wav")
    assert (finished.code, finished.out) == (2, "")
    assert "Specify it with --sync beat or --sync frame" in finished.err
    assert command("predict", folder, music / "short.wav", "--sync", "beat").code == 0


@pytest.mark.slow
@pytest.mark.parametrize(
    ("arguments", "message"),
    [
        (["runs/nowhere", "SONG"], "runs/nowhere: there is no such run directory"),
        (["runs", "SONG"], "runs: is not a run directory; it holds those of songs"),
        (["runs/songs", "SONG", "--window", "-1"], "--window -1: must be above 0 seconds"),
        (["runs/songs", "SONG", "--hop", "1"], "requires --window"),
        (["runs/songs", "SONG", "--sync", "frame"], "was trained on features with the grid"),
        (["runs/songs", "SONG", "--output", "nowhere/x.csv"], "the folder nowhere does not exist"),
        (["runs/songs", "SONG", "--output", "runs"], "--output runs: is a folder"),
        (
            ["runs/songs", "SONG", "songs.toml", "--plot", "x.png"],
            "must be a folder to draw 2 songs, not a single file",
        ),
        (["runs/songs", "SONG", "--plot", "songs.toml"], "--plot songs.toml: the folder cannot be created"),
        (["runs/songs", "runs"], "runs: this folder contains no songs"),
        (["runs/songs", "SONG", "--device", "tpu"], "no 'tpu' device"),
    ],
)
def test_what_is_wrong_is_told(command, trained, music, arguments, message):
    finished = command("predict", *(music / "short.wav" if word == "SONG" else word for word in arguments))
    assert (finished.code, finished.out) == (2, "")
    assert message in finished.err
    assert "Traceback" not in finished.err


@pytest.mark.slow
def test_the_package_of_the_dataset_is_not_needed(trained, music):
    finished = trained.run("predict", trained.first, music / "short.wav", plugin=False)
    assert (finished.code, finished.err) == (0, "")
    assert finished.out == trained.run("predict", trained.first, music / "short.wav").out
