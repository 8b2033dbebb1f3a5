"""The one mechanism behind every dataset of audio, through the table."""

import json
import warnings
from pathlib import Path

import numpy as np
import pytest
from dataset_conformance import assert_conforms
from musicemo_builtin.datasets import _recordings
from musicemo_builtin.datasets.table import Table
from songs import write_song, write_text

from musicemo.audio import Recipe, analyse
from musicemo.errors import InputError, RunError

SONGS = ("one", "Two", "rock/3")


@pytest.fixture
def folder(tmp_path: Path) -> Path:
    for number, name in enumerate(SONGS):
        write_song(tmp_path / "audio" / f"{name}.wav", number)
    rows = "".join(f"{name},audio/{name}.wav,{number}\n" for number, name in enumerate(SONGS))
    write_text(tmp_path / "songs.csv", f"id,song,energy\n{rows}")
    return tmp_path


def table(folder: Path, **parameters) -> Table:
    chosen = {"regression": {"energy": [0.0, 9.0]}, "audio": "song", "cache": folder / "cache"} | parameters
    return Table(path=folder / "songs.csv", **chosen)


@pytest.fixture
def analysed(monkeypatch):
    """Names of the songs that are analysed from now on."""
    names = []

    def extract(sources, *args, **kwargs):
        sources = list(sources)
        names.extend(source.stem for source, _ in sources)
        return real(sources, *args, **kwargs)

    real = _recordings.extract
    monkeypatch.setattr(_recordings, "extract", extract)
    return names


def test_gives_the_features_of_its_songs(folder):
    for sync in ("beat", "frame"):
        dataset = table(folder, sync=sync)
        tracks = assert_conforms(dataset)
        assert [track.id for track in tracks] == list(SONGS)
        assert dataset.rows == slice(0, 140)
        for track in tracks:
            expected = getattr(analyse(folder / "audio" / f"{track.id}.wav"), sync)
            np.testing.assert_array_equal(track.features, expected)


def test_nothing_is_analysed_before_it_is_needed_or_twice(folder, analysed, capsys):
    dataset = table(folder)
    assert not (folder / "cache").exists()
    first = [np.array(track.features) for track in dataset.tracks()]
    err = capsys.readouterr().err
    where = f"Analysing songs into {folder / 'cache' / 'table' / 'songs-'}"
    assert [line.partition(": ")[2].split(" in ")[0] for line in err.splitlines()] == ["3 songs", "3 songs"]
    assert all(line.startswith(where) for line in err.splitlines())
    again = [track.features for track in table(folder).tracks()]
    assert len(analysed) == 3
    assert capsys.readouterr().err == ""
    for one, other in zip(first, again, strict=True):
        np.testing.assert_array_equal(one, other)


def test_the_cache_is_named_after_what_is_in_it(folder):
    list(table(folder).tracks())
    (made,) = (folder / "cache" / "table").iterdir()
    assert made.name.startswith("songs-")
    files = {path.relative_to(made).as_posix() for path in made.rglob("*") if path.is_file()}
    (two,) = (name for name in files if "Two-" in name)
    assert files == {"about.json", "beat.pack", "beat.json", "songs/one.npz", "songs/rock/3.npz", two}
    assert json.loads((made / "about.json").read_text())["source"] == str(folder / "songs.csv")


def test_the_cache_can_be_moved(folder, analysed, monkeypatch):
    list(table(folder).tracks())
    (folder / "cache").rename(folder / "elsewhere")
    list(table(folder, cache=folder / "elsewhere").tracks())
    monkeypatch.setenv("MUSICEMO_CACHE", str(folder / "elsewhere"))
    list(table(folder, cache=None).tracks())
    assert len(analysed) == 3


def test_a_song_that_changes_is_analysed_again(folder, analysed):
    before = [np.array(track.features) for track in table(folder).tracks()]
    write_song(folder / "audio" / "one.wav", 5, seconds=0.7)
    after = [track.features for track in table(folder).tracks()]
    assert analysed[3:] == ["one"]
    assert not np.array_equal(before[0], after[0])
    np.testing.assert_array_equal(before[1], after[1])


def test_songs_that_are_added_join_the_others(folder, analysed):
    full = (folder / "songs.csv").read_text()
    write_text(folder / "songs.csv", full.rpartition("rock/3,")[0])
    assert len(list(table(folder).tracks())) == 2
    write_text(folder / "songs.csv", full)
    assert len(list(table(folder).tracks())) == 3
    write_text(folder / "songs.csv", full.rpartition("rock/3,")[0])
    assert len(list(table(folder).tracks())) == 2
    assert analysed == ["one", "Two", "3"]


@pytest.mark.parametrize("damage", ["beat.pack", "beat.json"])
def test_a_damaged_pack_is_made_again(folder, damage):
    expected = [np.array(track.features) for track in table(folder).tracks()]
    (made,) = (folder / "cache" / "table").iterdir()
    (made / damage).write_bytes((made / damage).read_bytes()[:-3])
    for track, features in zip(table(folder).tracks(), expected, strict=True):
        np.testing.assert_array_equal(track.features, features)


def test_an_excerpt_has_a_cache_of_its_own(folder):
    list(table(folder).tracks())
    (track, *_) = table(folder, offset=0.1, duration=0.25, features="mel", sync="frame").tracks()
    expected = analyse(folder / "audio" / "one.wav", Recipe(offset=0.1, duration=0.25))
    np.testing.assert_array_equal(track.features, expected.frame)
    assert len(list((folder / "cache" / "table").iterdir())) == 2


def test_songs_that_cannot_be_analysed_are_all_named(folder):
    write_text(folder / "audio" / "one.wav", "no music")
    write_song(folder / "audio" / "Two.wav", seconds=0.01)
    with pytest.raises(InputError) as caught:
        list(table(folder).tracks())
    count, *tracks = caught.value.problems
    assert count.endswith('2 tracks that cannot be analysed; on_error = "skip" leaves out what is named here')
    assert tracks[0].startswith(f"track 'one': {folder}/audio/one.wav: ")
    assert tracks[1].startswith("track 'Two': ")
    assert "too short" in tracks[1]


def test_songs_that_cannot_be_analysed_are_left_out_with_a_warning(folder, analysed, capsys):
    write_text(folder / "audio" / "one.wav", "no music")
    for said in (": 3 songs\n", ": 1 song\n"):
        with pytest.warns(UserWarning, match="1 track that cannot be analysed left out: track 'one'"):
            tracks = list(table(folder, on_error="skip").tracks())
        assert [track.id for track in tracks] == ["Two", "rock/3"]
        assert said in capsys.readouterr().err
    assert analysed == ["one", "Two", "3", "one"]  # perhaps it can be read by now
    write_song(folder / "audio" / "one.wav")
    assert len(list(table(folder, on_error="skip").tracks())) == 3


def test_no_song_that_can_be_analysed(folder):
    for name in SONGS:
        write_text(folder / "audio" / f"{name}.wav", "no music")
    with pytest.raises(InputError, match="none of the 3 songs can be analysed; track 'one'"):
        list(table(folder, on_error="skip").tracks())


def test_songs_that_are_missing(folder):
    (folder / "audio" / "Two.wav").unlink()
    with pytest.raises(InputError) as caught:
        table(folder)
    count, track = caught.value.problems
    assert '1 track without a file; on_error = "skip"' in count
    assert track.startswith(
        f"{folder}/songs.csv:3: column 'song': track 'Two': {folder}/audio/Two.wav: no such"
    )
    with pytest.warns(UserWarning, match="1 track without a file left out"):
        dataset = table(folder, on_error="skip")
    assert [track.id for track in dataset.tracks()] == ["one", "rock/3"]


def test_root_moves_the_songs(folder):
    (folder / "audio").rename(folder / "moved")
    with pytest.raises(InputError, match="nor is any of the other tracks there"):
        table(folder, on_error="skip")
    write_text(folder / "songs.csv", (folder / "songs.csv").read_text().replace("audio/", ""))
    assert len(list(table(folder, root=folder / "moved").tracks())) == 3


def test_an_empty_cell(folder):
    write_text(folder / "songs.csv", (folder / "songs.csv").read_text().replace("audio/one.wav", ""))
    with pytest.raises(
        InputError, match=r"songs\.csv:2: column 'song': is empty, every track needs an audio file"
    ):
        table(folder)


def test_what_is_for_audio_needs_audio(folder):
    with pytest.raises(InputError, match="are for audio; name its column with audio"):
        table(folder, audio=None, file="song")


def test_a_cache_that_cannot_be_written(folder):
    write_text(folder / "cache", "a file")
    with pytest.raises(
        RunError, match=r"cannot be made.*dataset\.cache or the environment variable MUSICEMO_CACHE"
    ):
        list(table(folder).tracks())


def test_many_songs_are_analysed_by_several_processes(tmp_path, monkeypatch):
    monkeypatch.setattr(_recordings, "_WORTH_STARTING", 2)
    write_text(tmp_path / "songs.csv", "id,song,energy\na,a.wav,1\nb,b.wav,2\n")
    for number, name in enumerate("ab"):
        write_song(tmp_path / f"{name}.wav", number)
    with warnings.catch_warnings():
        warnings.simplefilter("error")
        assert len(list(table(tmp_path).tracks())) == 2


@pytest.mark.parametrize(
    "name", ["../up", "a/../b", "", "/root", "con sole", "ü" * 200, "A", "a.npz/", ".x", "a//b"]
)
def test_names_of_files_stay_in_the_folder(name, tmp_path):
    path = (tmp_path / f"{_recordings._safe(name)}.npz").resolve()
    assert path.is_relative_to(tmp_path)
    assert len(path.name.encode()) < 255


def test_feature_files_can_be_removed_once_they_are_packed(folder, analysed):
    list(table(folder).tracks())
    (made,) = (folder / "cache" / "table").iterdir()
    for path in made.glob("songs/**/*.npz"):
        path.unlink()
    write_song(folder / "audio" / "one.wav", 5)
    assert len(list(table(folder).tracks())) == 3
    assert analysed == ["one", "Two", "3", "one"]
    list(table(folder, sync="frame").tracks())
    assert len(analysed) == 7  # one is there, and is not done again
