"""The folders of published datasets, as archives, links and other systems leave them."""

import os
from pathlib import Path

import pytest
from complaints import warns
from musicemo_builtin.datasets._layout import Layout, inside, song_file
from musicemo_builtin.datasets.pmemo import PMEmo
from songs import write_song, write_text

from musicemo.errors import InputError

LAYOUT = Layout("Songs", "https://example.org", "  audio/")


def pmemo(folder: Path) -> None:
    write_text(
        folder / "annotations/static_annotations.csv",
        "musicId,Arousal(mean),Valence(mean)\n1,0.5,0.25\n2,1,NA\n",
    )
    write_text(folder / "metadata.csv", "musicId,artist\n1,NA\n2,Nina\n")
    for number in (1, 2):
        write_song(folder / "chorus" / f"{number}.wav", number)


def read(root: Path) -> list[tuple[str, object, object]]:
    with warns("1 cell is read as a missing value"):
        dataset = PMEmo(root=root)
    return [(track.id, track.targets["valence"], track.group) for track in dataset._recordings._tracks]


EXPECTED = [("1", 0.25, None), ("2", None, "Nina")]


def test_what_macos_adds_is_not_the_datasets(tmp_path):
    pmemo(tmp_path / "x" / "PMEmo2019")
    for name in ("chorus/._1.wav", "metadata.csv", "annotations/static_annotations.csv"):
        write_text(tmp_path / "x" / "__MACOSX" / "PMEmo2019" / name, "\0")
    write_text(tmp_path / "x" / "PMEmo2019" / "._metadata.csv", "\0")
    assert read(tmp_path) == EXPECTED
    assert PMEmo.recognise(tmp_path) == {}


def test_linked_folders_are_followed_and_each_is_read_once(tmp_path):
    pmemo(tmp_path / "disk")
    root = tmp_path / "data"
    root.mkdir()
    (root / "PMEmo2019").symlink_to(tmp_path / "disk")
    (root / "again").symlink_to(tmp_path / "disk")
    (tmp_path / "disk" / "loop").symlink_to(root)
    assert read(root) == EXPECTED
    assert PMEmo.recognise(root) == {}


def test_names_in_another_case(tmp_path):
    pmemo(tmp_path)
    (tmp_path / "chorus").rename(tmp_path / "Chorus")
    (tmp_path / "metadata.csv").rename(tmp_path / "Metadata.CSV")
    (tmp_path / "Chorus" / "1.wav").rename(tmp_path / "Chorus" / "1.WAV")
    assert read(tmp_path) == EXPECTED


def test_a_folder_whose_name_is_not_utf8(tmp_path):
    pmemo(tmp_path / "PMEmo2019")
    try:
        (tmp_path / "PMEmo2019").rename(Path(os.fsdecode(os.fsencode(tmp_path) + b"/M\xfcsik")))
    except OSError:
        pytest.skip("this file system takes UTF-8 names only")
    assert read(tmp_path) == EXPECTED


def test_two_of_a_name_are_an_error_and_one_of_this_case_goes_before(tmp_path):
    for name in ("a/audio", "b/audio", "c/Audio"):
        (tmp_path / name).mkdir(parents=True)
    with pytest.raises(InputError, match=r"more than one audio \(.*a/audio, .*b/audio\)"):
        LAYOUT.find(tmp_path, "audio")
    (tmp_path / "a" / "audio").rmdir()
    assert LAYOUT.find(tmp_path, "audio") == tmp_path / "b" / "audio"
    with pytest.raises(InputError, match="does not contain songs"):
        LAYOUT.find(tmp_path, "songs")
    assert inside(tmp_path, "C/audio") == tmp_path / "c" / "Audio"
    assert inside(tmp_path, "C/none") == tmp_path / "c" / "none"
    assert song_file(tmp_path, "1") == tmp_path / "1.mp3"
