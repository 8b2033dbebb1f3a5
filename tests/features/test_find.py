"""Songs in folders."""

import errno
import os
from pathlib import Path

import pytest
from complaints import warns

from musicemo.errors import InputError
from musicemo.features import find_songs

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


def test_linked_folders_are_searched_once(music):
    Path("elsewhere/deep").mkdir(parents=True)
    Path("elsewhere/deep/9.mp3").touch()
    for link, target in {
        "music/linked": "../elsewhere",
        "music/jazz": "rock",  # of the same folder
        "music/again": "../elsewhere/deep",  # inside another link
        "music/loop": ".",
        "elsewhere/deep/back": "../../music",
        "music/broken": "nowhere",
        "music/self": "self",
    }.items():
        Path(link).symlink_to(target)
    expected = {
        "music/a.wav": "a.npz",
        "music/again/9.mp3": "again/9.npz",
        "music/pop/live/v1.2.ogg": "pop/live/v1.2.npz",
        "music/rock/10.FLAC": "rock/10.npz",
        "music/rock/2.mp3": "rock/2.npz",
    }
    assert found("music") == expected
    for pattern in ("music/**/*.mp3", "music/**/*[3]", "music/*/*.mp3", "m*/**/**/*.mp3"):
        songs = found(pattern)
        assert songs.keys() == {name for name in expected if name.endswith(".mp3")}


def test_links_to_the_folder_itself_do_not_multiply(tmp_path):
    """Each level would double what is to be searched."""
    (tmp_path / "1.mp3").touch()
    for name in "abcd":
        (tmp_path / name).symlink_to(".")
    assert [*find_songs([tmp_path], OUT)] == [tmp_path / "1.mp3"]
    assert [*find_songs([tmp_path / "**" / "*.mp3"], OUT)] == [tmp_path / "1.mp3"]


def test_linked_songs_are_songs(music):
    Path("playlist").mkdir()
    Path("playlist/x.mp3").symlink_to("../music/rock/2.mp3")
    assert found("playlist") == {"playlist/x.mp3": "x.npz"}


def test_what_macos_adds_is_no_song(music):
    for name in ("music/rock/._2.mp3", "music/__MACOSX/rock/._2.mp3", "music/__MACOSX/rock/2.mp3"):
        Path(name).parent.mkdir(parents=True, exist_ok=True)
        Path(name).touch()
    assert found("music/*/*.mp3") == {"music/rock/2.mp3": "rock/2.npz"}
    assert "music/rock/2.mp3" in found("music")
    assert not [name for name in found("music", "music/**/*.mp3") if "__MACOSX" in name or "._" in name]
    assert found("music/__MACOSX/rock/2.mp3") == {"music/__MACOSX/rock/2.mp3": "2.npz"}


@pytest.mark.parametrize(
    ("pattern", "expected"),
    [
        ("odd/[live]/?.mp3", {"odd/[live]/1.mp3": "1.npz"}),
        ("odd/[l]ive]/*.mp3", {}),
        ("odd/[[]live]/1.mp3", {"odd/[live]/1.mp3": "[live]/1.npz"}),
        ("odd/[live]/[x] song?.mp3", {"odd/[live]/[x] song!.mp3": "[x] song!.npz"}),
        ("odd/[live]/[x]*", {"odd/[live]/x": "x.npz"}),
        ("odd/[live]/[*", {"odd/[live]/[x] song!.mp3": "[x] song!.npz"}),
        ("odd/**/[x] song!.mp3", {"odd/[live]/[x] song!.mp3": "[live]/[x] song!.npz"}),
        ("odd/[live]/[x] song!.mp3", {"odd/[live]/[x] song!.mp3": "[x] song!.npz"}),
    ],
)
def test_brackets_in_patterns(music, pattern, expected):
    """A path that exists is none; where nothing matches, brackets stand for themselves."""
    for name in ("[x] song!.mp3", "x"):
        Path("odd/[live]", name).touch()
    if expected:
        assert found(pattern) == expected
        return
    with pytest.raises(InputError, match="no song matches"):
        found(pattern)


def test_names_that_are_too_long_for_their_features(tmp_path):
    long, longer = "x" * 251, os.fsdecode(("漢" * 84).encode())
    for name in (f"{long}.wav", f"{long}1.au", f"{long}2.au", f"{longer}.au", f"{longer}x"):
        try:
            (tmp_path / name).touch()
        except OSError:
            pytest.skip("this file system refuses such names")
    songs = find_songs([tmp_path, tmp_path / f"{longer}x"], OUT)
    targets = [target.name for target in songs.values()]
    assert len(set(targets)) == len(songs) == 5
    assert targets[0] == f"{long}.npz"
    assert all(len(os.fsencode(name)) <= 255 and name.endswith(".npz") for name in targets)


def test_spellings_of_one_name_are_two_songs(tmp_path):
    for name in ("\u00e9.wav", "e\u0301.wav"):
        (tmp_path / os.fsdecode(name.encode())).touch()
    if len(list(tmp_path.iterdir())) == 2:  # some file systems take one for the other
        assert len(set(find_songs([tmp_path], OUT).values())) == 2


def test_a_folder_that_cannot_be_read_is_told(music, monkeypatch):
    def scandir(folder):
        if str(folder).endswith("rock"):
            raise PermissionError(errno.EACCES, "Permission denied")
        return real(folder)

    real = os.scandir
    monkeypatch.setattr(os, "scandir", scandir)
    with warns(r"music/rock: cannot be read \(Permission denied\); its songs are left out"):
        assert found("music").keys() == {"music/a.wav", "music/pop/live/v1.2.ogg"}


def test_a_feature_file_that_would_be_a_folder(tmp_path):
    (tmp_path / "a.npz").mkdir()
    for name in ("a.wav", "a.npz/b.wav"):
        (tmp_path / name).touch()
    with pytest.raises(
        InputError, match=r"a\.wav would have the feature file features/a\.npz, which is the folder"
    ):
        find_songs([tmp_path], OUT)


@pytest.mark.parametrize("source", ["x" * 300, "x" * 5000, "[" * 300, "?" * 300, "a\0b", "a\0*"])
def test_sources_that_no_file_system_takes(source):
    with pytest.raises(InputError, match=r"no song matches|there is no such"):
        find_songs([source], OUT)


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
