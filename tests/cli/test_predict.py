"""``musicemo predict``."""

from __future__ import annotations

import csv
import io
import json
import os
import shutil

import numpy as np
import pytest
import soundfile
from rich.console import Console
from signals import RATE, song

from musicemo.cli._predict import _print
from musicemo.prediction import SongPrediction, TaskPrediction


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
    _print(console, [predicted(9.4)], 1)
    assert "Beyond the range of the ratings: valence. A prediction is not cut to it" in capsys.readouterr().out
    _print(console, [predicted(9.0)], 1)
    assert "Beyond" not in capsys.readouterr().out


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


def test_csv_in_a_file(command, trained, music, tmp_path):
    finished = command(
        "predict", trained.first, music / "short.wav", "--format", "csv", "--output", tmp_path / "out.csv"
    )
    assert (finished.code, finished.out) == (0, "")
    rows = list(csv.DictReader(io.StringIO((tmp_path / "out.csv").read_text())))
    assert {row["task"] for row in rows} == {"valence", "genre"}


def test_a_table_in_a_file(command, trained, music, tmp_path):
    arguments = ["predict", trained.replicates, music / "short.wav"]
    finished = command(*arguments, "--output", tmp_path / "out.txt")
    assert (finished.code, finished.out) == (0, "")
    assert (tmp_path / "out.txt").read_text() == command(*arguments).out


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


def test_only_failures(command, trained, tmp_path):
    finished = command("predict", trained.first, tmp_path / "missing.wav")
    assert (finished.code, finished.out) == (2, "")
    assert finished.err == f"error: {tmp_path / 'missing.wav'}: there is no such file\n"


def test_a_song_that_is_given_twice_is_predicted_once(command, trained, music):
    path = music / "short.wav"
    finished = command("predict", trained.first, path, path, f"{music}/*.wav", "--format", "json")
    assert [one["song"] for one in json.loads(finished.out)["songs"]] == [str(path)]


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


def test_songs_of_one_name_have_pictures_of_their_own(command, trained, music, tmp_path):
    shutil.copy(music / "short.wav", music / "inner" / "short.wav")
    assert command("predict", trained.first, music, "--plot", tmp_path / "plots").code == 0
    assert sorted(path.stem for path in (tmp_path / "plots").iterdir()) == ["lóng [x]", "short", "short-2"]


def test_windows(command, trained, music):
    finished = command(
        "predict", trained.first, music / "short.wav", "--window", "2", "--hop", "0.5", "--format", "json"
    )
    assert len(json.loads(finished.out)["songs"][0]["windows"]) == 3


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
    assert "say it with --sync beat or --sync frame" in finished.err
    assert command("predict", folder, music / "short.wav", "--sync", "beat").code == 0


@pytest.mark.parametrize(
    ("arguments", "message"),
    [
        (["runs/nowhere", "SONG"], "runs/nowhere: there is no such run directory"),
        (["runs", "SONG"], "runs: is no run directory; it holds those of songs"),
        (["runs/songs", "SONG", "--window", "-1"], "--window -1: must be above 0 seconds"),
        (["runs/songs", "SONG", "--hop", "1"], "give --window too"),
        (["runs/songs", "SONG", "--sync", "frame"], "was trained on beat-wise features"),
        (["runs/songs", "SONG", "--output", "nowhere/x.csv"], "there is no folder nowhere"),
        (["runs/songs", "SONG", "--output", "runs"], "--output runs: is a folder"),
        (["runs/songs", "SONG", "songs.toml", "--plot", "x.png"], "is one picture, and there are 2 songs"),
        (["runs/songs", "SONG", "--plot", "songs.toml"], "--plot songs.toml: the folder cannot be made"),
        (["runs/songs", "runs"], "runs: there is no song in this folder"),
        (["runs/songs", "SONG", "--device", "tpu"], "no 'tpu' device"),
    ],
)
def test_what_is_wrong_is_told(command, trained, music, arguments, message):
    finished = command("predict", *(music / "short.wav" if word == "SONG" else word for word in arguments))
    assert (finished.code, finished.out) == (2, "")
    assert message in finished.err
    assert "Traceback" not in finished.err


def test_a_component_that_is_not_installed_is_told(trained, music):
    finished = trained.run("predict", trained.first, music / "short.wav", plugin=False)
    assert finished.code == 2
    assert "experiment.toml:" in finished.err
    assert "no dataset is called 'clips'" in finished.err
