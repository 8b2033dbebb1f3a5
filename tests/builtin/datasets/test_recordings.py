"""The one mechanism behind every dataset of audio, through the table."""

from pathlib import Path

import pytest
from complaints import warns
from dataset_conformance import assert_conforms
from musicemo_builtin.datasets.table import Table
from songs import write_song, write_text

from musicemo.errors import InputError

SONGS = ("one", "Two", "rock/3")


@pytest.fixture
def folder(tmp_path: Path) -> Path:
    for number, name in enumerate(SONGS):
        write_song(tmp_path / "audio" / f"{name}.wav", number)
    rows = "".join(f"{name},audio/{name}.wav,{number}\n" for number, name in enumerate(SONGS))
    write_text(tmp_path / "songs.csv", f"id,song,energy\n{rows}")
    return tmp_path


def table(folder: Path, **parameters) -> Table:
    return Table(
        path=folder / "songs.csv", **{"regression": {"energy": [0.0, 9.0]}, "audio": "song"} | parameters
    )


def test_says_where_its_songs_are(folder):
    tracks = assert_conforms(table(folder))
    assert [track.id for track in tracks] == list(SONGS)
    assert [track.audio for track in tracks] == [folder / "audio" / f"{name}.wav" for name in SONGS]
    assert {track.features for track in tracks} == {None}


def test_songs_that_are_missing(folder):
    (folder / "audio" / "Two.wav").unlink()
    with pytest.raises(InputError) as caught:
        table(folder)
    count, track = caught.value.problems
    assert '1 track without a file. dataset.on_error = "skip"' in count
    assert track.startswith(
        f"{folder}/songs.csv:3: column 'song': track 'Two': {folder}/audio/Two.wav: no such"
    )
    with warns("1 track without a file ignored"):
        dataset = table(folder, on_error="skip")
    assert [track.id for track in dataset.tracks()] == ["one", "rock/3"]


def test_root_moves_the_songs(folder):
    (folder / "audio").rename(folder / "moved")
    with pytest.raises(InputError, match="the files of all other tracks are missing too"):
        table(folder, on_error="skip")
    write_text(folder / "songs.csv", (folder / "songs.csv").read_text().replace("audio/", ""))
    assert len(list(table(folder, root=folder / "moved").tracks())) == 3


def test_an_empty_cell(folder):
    write_text(folder / "songs.csv", (folder / "songs.csv").read_text().replace("audio/one.wav", ""))
    with pytest.raises(
        InputError, match=r"songs\.csv:2: column 'song': is empty, but every track needs an audio file"
    ):
        table(folder)


def test_what_is_for_audio_needs_audio(folder):
    with pytest.raises(
        InputError, match=r"on_error requires audio files\. Set the column of audio files with audio"
    ):
        table(folder, audio=None, file="song", on_error="skip")


def test_outputs_of_audio_are_chosen_in_the_table_of_features(folder):
    with pytest.raises(
        InputError, match=r'for audio files, use features\.outputs, such as outputs = \["mel"\]'
    ):
        table(folder, features="mel")
