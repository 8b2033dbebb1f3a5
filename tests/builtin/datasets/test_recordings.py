"""The one mechanism behind every dataset of audio, through the table."""

import json
import os
import shutil
import time
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path

import numpy as np
import pytest
from complaints import any_warnings, warns
from dataset_conformance import assert_conforms
from musicemo_builtin.datasets import _recordings
from musicemo_builtin.datasets.table import Table
from songs import write_song, write_text

from musicemo.errors import InputError, RunError
from musicemo.features import Pack, Recipe, analyse
from musicemo.files import exclusive

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
    where = f"Extracting features into {folder / 'cache' / 'table' / 'songs-'}"
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
    assert files == {".lock", "about.json", "beat.pack", "beat.json", "songs/one.npz", "songs/rock/3.npz", two}
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
    assert count.endswith('2 tracks that cannot be analyzed. on_error = "skip" ignores these tracks')
    assert tracks[0].startswith(f"track 'one': {folder}/audio/one.wav: ")
    assert tracks[1].startswith("track 'Two': ")
    assert "too short" in tracks[1]


def test_songs_that_cannot_be_analysed_are_left_out_with_a_warning(folder, analysed, capsys):
    write_text(folder / "audio" / "one.wav", "no music")
    for said in (": 3 songs\n", ": 1 song\n"):
        with warns("1 track that cannot be analyzed ignored: track 'one'"):
            tracks = list(table(folder, on_error="skip").tracks())
        assert [track.id for track in tracks] == ["Two", "rock/3"]
        assert said in capsys.readouterr().err
    assert analysed == ["one", "Two", "3", "one"]  # perhaps it can be read by now
    write_song(folder / "audio" / "one.wav")
    assert len(list(table(folder, on_error="skip").tracks())) == 3


@pytest.mark.slow
def test_no_song_that_can_be_analysed(folder):
    for name in SONGS:
        write_text(folder / "audio" / f"{name}.wav", "no music")
    with pytest.raises(InputError, match="none of the 3 songs can be analyzed: track 'one'"):
        list(table(folder, on_error="skip").tracks())


def test_songs_that_are_missing(folder):
    (folder / "audio" / "Two.wav").unlink()
    with pytest.raises(InputError) as caught:
        table(folder)
    count, track = caught.value.problems
    assert '1 track without a file. on_error = "skip"' in count
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
    with pytest.raises(InputError, match=r"require audio files\. Set the column of audio files with audio"):
        table(folder, audio=None, file="song")


def test_a_cache_that_cannot_be_written(folder):
    write_text(folder / "cache", "a file")
    with pytest.raises(
        RunError, match=r"cannot be created.*dataset\.cache or the environment variable MUSICEMO_CACHE"
    ):
        list(table(folder).tracks())


@pytest.mark.slow
def test_many_songs_are_analysed_by_several_processes(tmp_path, monkeypatch):
    monkeypatch.setattr(_recordings, "_WORTH_STARTING", 2)
    write_text(tmp_path / "songs.csv", "id,song,energy\na,a.wav,1\nb,b.wav,2\n")
    for number, name in enumerate("ab"):
        write_song(tmp_path / f"{name}.wav", number)
    assert len(list(table(tmp_path).tracks())) == 2


def assert_right(tracks, folder, **recipe):
    for track in tracks:
        expected = analyse(folder / f"{track.id}.wav", Recipe(**recipe))
        np.testing.assert_array_equal(track.features, expected.beat)


@pytest.fixture
def twins(tmp_path):
    """Two folders whose songs have the same names, sizes and times, as from two archives, and a table of them."""
    for number, root in enumerate(("clean", "remix")):
        for index in range(3):
            song = tmp_path / root / f"{index}.wav"
            write_song(song, 10 * number + index)
            os.utime(song, (1704067200, 1704067200))
    write_text(tmp_path / "songs.csv", "id,song,energy\n0,0.wav,1\n1,1.wav,2\n2,2.wav,3\n")
    return tmp_path


@pytest.mark.slow
def test_another_folder_gives_the_features_of_its_own_songs(twins):
    for root in ("clean", "remix", "clean"):
        assert_right(table(twins, root=twins / root).tracks(), twins / root)


def test_a_link_that_points_elsewhere_gives_other_features(twins):
    link = twins / "music"
    for root in ("clean", "remix"):
        link.unlink(missing_ok=True)
        link.symlink_to(root)
        assert_right(table(twins, root=link).tracks(), twins / root)


def test_a_table_that_is_changed_gives_other_features(twins):
    assert_right(table(twins, root=twins / "clean").tracks(), twins / "clean")
    write_text(twins / "songs.csv", "id,song,energy\n0,1.wav,1\n1,0.wav,2\n2,2.wav,3\n")
    first, second, third = table(twins, root=twins / "clean").tracks()
    for track, name in ((first, 1), (second, 0), (third, 2)):
        np.testing.assert_array_equal(track.features, analyse(twins / "clean" / f"{name}.wav").beat)


def test_a_song_that_is_replaced_by_one_of_the_same_size_and_time(twins):
    assert_right(table(twins, root=twins / "clean").tracks(), twins / "clean")
    shutil.copy2(twins / "remix" / "1.wav", twins / "clean" / "1.wav")
    assert_right(table(twins, root=twins / "clean").tracks(), twins / "clean")


def test_the_same_songs_elsewhere_are_not_analysed_again(twins, analysed):
    list(table(twins, root=twins / "clean").tracks())
    (twins / "clean").rename(twins / "moved")
    (pack,) = (twins / "cache" / "table").glob("*/beat.pack")
    before = pack.stat().st_mtime_ns
    assert_right(table(twins, root=twins / "moved").tracks(), twins / "moved")
    assert len(analysed) == 3
    assert pack.stat().st_mtime_ns == before
    index = json.loads(pack.with_suffix(".json").read_text())
    assert {entry["path"] for entry in index["tracks"].values()} == {
        str((twins / "moved" / f"{index}.wav").resolve()) for index in range(3)
    }


def test_a_pack_whose_record_is_of_another_time_is_not_believed(twins, analysed):
    """A process can be killed between the two."""
    list(table(twins, root=twins / "clean").tracks())
    (record,) = (twins / "cache" / "table").glob("*/beat.json")
    old = record.read_text()
    list(table(twins, root=twins / "remix").tracks())
    record.write_text(old)
    assert_right(table(twins, root=twins / "clean").tracks(), twins / "clean")


@pytest.mark.parametrize("kept", ["songs", "pack"])
def test_damaged_features_are_made_again(twins, kept):
    """In a feature file, or in the pack; of tracks that are wanted, or of others in the pack."""
    dataset = table(twins, root=twins / "clean")
    list(dataset.tracks())
    (folder,) = (twins / "cache" / "table").iterdir()
    for name in ("songs/1.npz", "beat.pack"):
        content = bytearray((folder / name).read_bytes())
        content[len(content) // 2] ^= 1
        (folder / name).write_bytes(content)
    if kept == "songs":
        (folder / "beat.pack").unlink()
    assert_right(dataset.tracks(), twins / "clean")
    Pack(folder / "beat.pack").verify()


def test_damage_of_tracks_that_are_not_wanted_is_not_packed_again(twins):
    list(table(twins, root=twins / "clean").tracks())
    (folder,) = (twins / "cache" / "table").iterdir()
    content = bytearray((folder / "beat.pack").read_bytes())
    content[content.index(np.ascontiguousarray(Pack(folder / "beat.pack")["2"].T).tobytes())] ^= 1
    (folder / "beat.pack").write_bytes(content)
    write_text(twins / "songs.csv", "id,song,energy\n0,0.wav,1\n3,1.wav,2\n")
    assert len(list(table(twins, root=twins / "clean").tracks())) == 2
    pack = Pack(folder / "beat.pack")
    pack.verify()
    assert set(pack) == {"0", "1", "3"}


def test_a_song_that_vanishes_is_that_songs_failure(twins):
    dataset = table(twins, root=twins / "clean", on_error="skip")
    list(dataset.tracks())
    (twins / "clean" / "1.wav").unlink()
    with warns(r"track '1': .*1\.wav: there is no such file"):
        assert [track.id for track in dataset.tracks()] == ["0", "2"]


def test_a_folder_whose_name_is_not_utf_8(twins):
    folder = twins / os.fsdecode(b"M\xfcsik")
    try:
        (twins / "clean").rename(folder)
    except OSError:
        pytest.skip("this file system refuses such names")
    shutil.move(twins / "songs.csv", folder)
    for _ in range(2):
        dataset = Table(
            path=folder / "songs.csv", audio="song", cache=twins / "cache", regression={"energy": [0.0, 9.0]}
        )
        assert_right(dataset.tracks(), folder)


def test_a_complete_cache_can_be_read_only(twins, monkeypatch):
    list(table(twins, root=twins / "clean").tracks())

    def refuse(path, write):
        raise RunError(f"{path}: cannot be written: Read-only file system")

    monkeypatch.setattr("musicemo.files.write_atomically", refuse)
    (twins / "clean").rename(twins / "moved")
    assert_right(table(twins, root=twins / "moved").tracks(), twins / "moved")


def test_a_cache_that_another_process_fills_is_waited_for(twins, analysed):
    dataset = table(twins, root=twins / "clean")
    list(dataset.tracks())
    (folder,) = (twins / "cache" / "table").iterdir()
    shutil.copytree(folder, twins / "full")
    for path in folder.glob("beat.*"):
        path.unlink()
    with any_warnings() as caught, ThreadPoolExecutor(1) as threads:
        with exclusive(folder):
            tracks = threads.submit(lambda: list(dataset.tracks()))
            while not caught:
                time.sleep(0.01)
            for path in (twins / "full").glob("beat.*"):
                shutil.copy2(path, folder)
        assert_right(tracks.result(), twins / "clean")
    assert caught[0] == f"{folder}: waiting for another process that works in this folder"
    assert len(analysed) == 3


def test_features_that_another_process_replaces_are_not_packed(twins, monkeypatch):
    """Where a file system has no locks."""

    def extract(sources, *args, **kwargs):
        pairs = list(sources)
        report = real(pairs, *args, **kwargs)
        real([(twins / "remix" / song.name, target) for song, target in pairs], *args, **kwargs)
        return report

    real = _recordings.extract
    monkeypatch.setattr(_recordings, "extract", extract)
    with pytest.raises(RunError, match=r"track '0': .*clean/0\.wav changed during the analysis"):
        list(table(twins, root=twins / "clean").tracks())
    monkeypatch.undo()
    assert_right(table(twins, root=twins / "clean").tracks(), twins / "clean")


@pytest.mark.parametrize(
    "name", ["../up", "a/../b", "", "/root", "con sole", "ü" * 200, "漢" * 90, "A", "a.npz/", ".x", "a//b"]
)
def test_names_of_files_stay_in_the_folder(name, tmp_path):
    path = (tmp_path / f"{_recordings._safe(name)}.npz").resolve()
    assert path.is_relative_to(tmp_path)
    assert len(path.name.encode()) < 255


def test_names_of_files_are_distinct():
    names = [
        "a",
        "A",
        "é",
        "e\u0301",
        "a.npz",
        "a.npz/b",
        "a/b",
        "a_b",
        "漢",
        "字",
        os.fsdecode(b"\xe9"),
        "x" * 300,
        "x" * 301,
    ]
    assert len({_recordings._safe(name) for name in names}) == len(names)
    assert not _recordings._safe("a.npz/b").startswith("a.npz/")  # the feature file of track a


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
