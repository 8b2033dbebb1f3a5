"""Songs in folders."""

from pathlib import Path

import pytest

from musicemo.audio import find_songs
from musicemo.errors import InputError

OUT = Path("features")


@pytest.fixture
def music(tmp_path, monkeypatch):
    for name in (
        "music/rock/2.mp3",
        "music/rock/10.FLAC",
        "music/rock/cover.jpg",
        "music/rock/.hidden.mp3",
        "music/.trash/3.mp3",
        "music/pop/live/v1.2.ogg",
        "music/a.wav",
        "music/notes",
        "empty/readme.txt",
        "odd/[live]/1.mp3",
    ):
        path = tmp_path / name
        path.parent.mkdir(parents=True, exist_ok=True)
        path.touch()
    monkeypatch.chdir(tmp_path)


def found(*sources):
    return {str(song): str(target.relative_to(OUT)) for song, target in find_songs(sources, OUT).items()}


def test_a_folder_is_searched_for_audio_files(music):
    assert found("music") == {
        "music/a.wav": "a.npz",
        "music/pop/live/v1.2.ogg": "pop/live/v1.2.npz",
        "music/rock/10.FLAC": "rock/10.npz",
        "music/rock/2.mp3": "rock/2.npz",
    }


def test_a_file_is_taken_whatever_its_name(music):
    assert found("music/rock/cover.jpg", Path("music/notes")) == {
        "music/rock/cover.jpg": "cover.npz",
        "music/notes": "notes.npz",
    }


@pytest.mark.parametrize(
    ("pattern", "expected"),
    [
        ("music/*/*.mp3", {"music/rock/2.mp3": "rock/2.npz"}),
        ("music/rock/[0-9].mp3", {"music/rock/2.mp3": "2.npz"}),
        ("m*/**/*.ogg", {"music/pop/live/v1.2.ogg": "music/pop/live/v1.2.npz"}),
        ("music/**/?.mp3", {"music/rock/2.mp3": "rock/2.npz"}),
    ],
)
def test_a_pattern_keeps_what_its_wildcards_stand_for(music, pattern, expected):
    assert found(pattern) == expected


def test_an_absolute_pattern(music):
    (song,) = find_songs([Path.cwd() / "music" / "*" / "*.mp3"], OUT).items()
    assert song == (Path.cwd() / "music/rock/2.mp3", OUT / "rock/2.npz")


def test_a_name_that_looks_like_a_pattern(music):
    assert found("odd/[live]") == {"odd/[live]/1.mp3": "1.npz"}


def test_a_song_counts_once(music):
    assert found("music/rock/2.mp3", "music/rock", "music/rock") == {
        "music/rock/2.mp3": "2.npz",
        "music/rock/10.FLAC": "10.npz",
    }


def test_all_problems_are_told_at_once(music):
    Path("music/rock/2.wav").touch()
    with pytest.raises(InputError) as caught:
        find_songs(["nowhere", "music/*.xyz", "empty", "music/rock"], OUT)
    problems = caught.value.problems
    assert problems[:2] == ("nowhere: there is no such file or folder", "music/*.xyz: no song matches")
    assert problems[2].startswith("empty: no song in this folder; songs end with .aac, ")
    assert problems[3].startswith("music/rock/2.wav and music/rock/2.mp3 would have one feature file")


def test_many_problems_are_cut_short(music):
    with pytest.raises(InputError) as caught:
        find_songs([f"{index}.mp3" for index in range(50)], OUT)
    assert len(caught.value.problems) == 21
    assert caught.value.problems[-1] == "and 30 more"
