"""Extraction from many songs: what is done, skipped, and failed, and what interruptions leave."""

import errno
import os
import shutil
import signal
import subprocess
import sys
import time
from pathlib import Path

import numpy as np
import pytest
import signals
import soundfile
from references import GOLDEN, assert_same_but_for_the_machine, song_of, stored
from threadpoolctl import threadpool_info, threadpool_limits

from musicemo import features as audio
from musicemo.errors import InputError, RunError
from musicemo.features import Recipe, analyse, describe, extract, read_features
from musicemo.features.melchroma import _chroma
from musicemo.files import read_csv

RECIPE = Recipe(duration=1.0)


def write_song(path, seed=0):
    soundfile.write(path, signals.song(1.0, seed=seed), signals.RATE)


@pytest.fixture
def songs(tmp_path):
    """Three songs, and where their features are to go."""
    pairs = {}
    for index in range(3):
        song = tmp_path / f"{index}.wav"
        write_song(song, index)
        pairs[song] = tmp_path / "out" / "sub" / f"{index}.npz"
    return pairs


@pytest.fixture
def bad(tmp_path):
    """Songs that cannot be analysed, and the beginning of the reason."""
    whole = tmp_path / "whole.flac"
    soundfile.write(whole, signals.song(2.0), signals.RATE)
    (tmp_path / "cut.flac").write_bytes(whole.read_bytes()[:9000])
    (tmp_path / "text.mp3").write_text("these are no samples\n" * 50)
    (tmp_path / "empty.mp3").touch()
    soundfile.write(tmp_path / "silent.wav", np.zeros(22050), 22050)
    soundfile.write(tmp_path / "short.wav", signals.song(1000.5 / 22050), 22050)
    whole.unlink()
    return {
        tmp_path / "cut.flac": "is damaged or truncated",
        tmp_path / "empty.mp3": "is empty",
        tmp_path / "none.wav": "there is no such file",
        tmp_path / "short.wav": "is too short: 1000 samples",
        tmp_path / "silent.wav": "is silent: all samples are 0",
        tmp_path / "text.mp3": "is not audio",
    }


def times(pairs):
    return {target.name: target.stat().st_mtime_ns for target in pairs.values()}


def counts(report):
    return report.done, report.skipped, len(report.failures)


def leftovers(folder):
    return [path.name for path in folder.rglob(".*")]


@pytest.mark.slow
@pytest.mark.parametrize("jobs", [0, 1])
def test_features_are_those_of_analyse(songs, jobs):
    report = extract(songs, RECIPE, jobs=jobs)
    assert counts(report) == (3, 0, 0)
    assert report.seconds > 0
    for song, target in songs.items():
        found, expected = read_features(target), analyse(song, RECIPE)
        np.testing.assert_array_equal(found.frame, expected.frame)
        np.testing.assert_array_equal(found.beat, expected.beat)
        np.testing.assert_array_equal(found.beat_frames, expected.beat_frames)
        assert found.info.source == audio.Source.of(song)


@pytest.mark.slow
@pytest.mark.skipif(not GOLDEN, reason="the reference features are not here")
def test_features_are_those_of_the_study(tmp_path):
    pairs = {song_of(golden): tmp_path / golden.name for golden in GOLDEN[::4]}
    assert counts(extract(pairs.items(), jobs=1)) == (len(pairs), 0, 0)
    for golden in GOLDEN[::4]:
        assert_same_but_for_the_machine(read_features(tmp_path / golden.name), stored(golden))


def test_what_is_done_is_not_done_again(songs):
    extract(songs, RECIPE, jobs=0)
    before = times(songs)
    extra = next(iter(songs)).with_name("extra.wav")
    write_song(extra, 9)
    songs[extra] = extra.with_suffix(".npz")
    calls = []
    report = extract(songs, RECIPE, jobs=0, progress=lambda *state: calls.append(state))
    assert counts(report) == (1, 3, 0)
    assert calls == [(0, 1), (1, 1)]
    assert before.items() <= times(songs).items()
    calls.clear()
    assert counts(extract(songs, RECIPE, progress=lambda *state: calls.append(state))) == (0, 4, 0)
    assert calls == []


def test_a_changed_recipe_is_noticed(songs):
    extract(songs, RECIPE, jobs=0)
    assert counts(extract(songs, Recipe(duration=1.0, hop=256), jobs=0)) == (3, 0, 0)
    assert {describe(target).recipe["hop"] for target in songs.values()} == {256}


def test_a_changed_song_is_noticed(songs):
    extract(songs, RECIPE, jobs=0)
    first, second, third = songs
    write_song(first, 7)  # as long as before
    soundfile.write(second, signals.song(1.5), signals.RATE)
    os.utime(third, (1, 1))  # copied, not changed
    assert counts(extract(songs, RECIPE, jobs=0)) == (2, 1, 0)
    assert counts(extract(songs, RECIPE, jobs=0)) == (0, 3, 0)
    np.testing.assert_array_equal(read_features(songs[first]).frame, analyse(first, RECIPE).frame)


@pytest.mark.slow
def test_another_song_of_the_same_name_size_and_time_is_noticed(songs, tmp_path):
    """As files are that were unpacked from an archive."""
    others = {}
    for index, (song, target) in enumerate(songs.items()):
        other = tmp_path / "others" / song.name
        other.parent.mkdir(exist_ok=True)
        write_song(other, index + 5)
        for path in (song, other):
            os.utime(path, (1, 1))
        others[other] = target
    extract(songs, RECIPE, jobs=0)
    assert counts(extract(others, RECIPE, jobs=0)) == (3, 0, 0)
    for other, target in others.items():
        np.testing.assert_array_equal(read_features(target).frame, analyse(other, RECIPE).frame)

    first, target = next(iter(songs.items()))  # at the same place, too
    extract({first: target}, RECIPE, jobs=0)
    shutil.copy2(tmp_path / "others" / first.name, first)
    assert counts(extract({first: target}, RECIPE, jobs=0)) == (1, 0, 0)

    link = tmp_path / "link"
    link.symlink_to(tmp_path)
    extract({link / first.name: target}, RECIPE, jobs=0)
    link.unlink()
    link.symlink_to(tmp_path / "others")
    write_song(tmp_path / "others" / first.name, 9)
    os.utime(tmp_path / "others" / first.name, (1, 1))
    assert counts(extract({link / first.name: target}, RECIPE, jobs=0)) == (1, 0, 0)


def test_the_same_songs_elsewhere_are_not_done_again(songs, tmp_path):
    extract(songs, RECIPE, jobs=0)
    moved = tmp_path / "moved"
    moved.mkdir()
    pairs = {song.rename(moved / song.name): target for song, target in songs.items()}
    before = times(pairs)
    assert counts(extract(pairs, RECIPE, jobs=0)) == (0, 3, 0)
    assert times(pairs) == before


def test_a_song_that_changes_meanwhile_is_done_again(songs, monkeypatch):
    song, target = next(iter(songs.items()))

    def analyse_and_change(path, recipe):
        analysis = analyse(path, recipe)
        write_song(song, 8)
        return analysis

    monkeypatch.setattr("musicemo.features._batch.analyse", analyse_and_change)
    extract({song: target}, RECIPE, jobs=0)
    monkeypatch.undo()
    assert counts(extract({song: target}, RECIPE, jobs=0)) == (1, 0, 0)
    np.testing.assert_array_equal(read_features(target).frame, analyse(song, RECIPE).frame)


@pytest.mark.slow
@pytest.mark.parametrize("jobs", [0, 1])
def test_damaged_feature_files_are_made_again(songs, jobs):
    extract(songs, RECIPE, jobs=0)
    first, second, third = songs.values()
    content = first.read_bytes()
    first.write_bytes(content[:-10])
    second.write_text("something else")
    third.write_bytes(content)  # of another song
    assert counts(extract(songs, RECIPE, jobs=jobs)) == (3, 0, 0)
    assert first.read_bytes() == content
    for place in (len(content) // 3, len(content) * 4 // 5, content.rindex(b"meta.npy") - 38):
        damaged = bytearray(content)
        damaged[place] ^= 1  # a value, another one, and the flag that says encrypted
        first.write_bytes(damaged)
        assert counts(extract(songs, RECIPE, jobs=jobs)) == (1, 2, 0)
        assert first.read_bytes() == content


@pytest.mark.slow
def test_features_are_the_same_to_the_bit_in_this_process_and_in_others(tmp_path, monkeypatch):
    """Where BLAS has several threads it may round in another order; that it has not is looked at, too."""
    threads = []

    def chromagram(*args):
        threads.extend(pool["num_threads"] for pool in threadpool_info() if pool["user_api"] == "blas")
        return real(*args)

    real = _chroma.chromagram
    monkeypatch.setattr(_chroma, "chromagram", chromagram)
    songs = []
    for index, seconds in enumerate((1.37, 2.9, 4.03)):
        songs.append(tmp_path / f"{index}.wav")
        soundfile.write(songs[-1], signals.song(seconds, seed=index), signals.RATE)
    with threadpool_limits(limits=4, user_api="blas"):
        before = [pool["num_threads"] for pool in threadpool_info()]
        extract({song: song.with_suffix(".here") for song in songs}, jobs=0)
        assert [pool["num_threads"] for pool in threadpool_info()] == before
    assert threads
    assert set(threads) == {1}
    extract({song: song.with_suffix(".there") for song in songs}, jobs=2)
    for song in songs:
        assert song.with_suffix(".here").read_bytes() == song.with_suffix(".there").read_bytes()


@pytest.mark.slow
@pytest.mark.parametrize("jobs", [0, 1])
def test_bad_songs_do_not_stop_the_others(songs, bad, tmp_path, jobs):
    pairs = {song: tmp_path / "out" / f"{song.name}.npz" for song in [*bad, *songs]}
    calls = []
    report = extract(pairs, RECIPE, jobs=jobs, progress=lambda *state: calls.append(state))
    assert counts(report) == (3, 0, 6)
    assert calls == [(done, 9) for done in range(10)]
    assert [failure.path for failure in report.failures] == sorted(bad)
    for failure in report.failures:
        assert failure.reason.startswith(bad[failure.path])
    assert sorted(path.name for path in (tmp_path / "out").iterdir()) == ["0.wav.npz", "1.wav.npz", "2.wav.npz"]


@pytest.mark.slow
def test_failures_are_written_however_it_ends(songs, bad, tmp_path, monkeypatch):
    def failures():
        return [(Path(row["path"]), row["reason"]) for row in read_csv(tmp_path / "sub" / "failures.csv")]

    path = tmp_path / "sub" / "failures.csv"
    pairs = {song: tmp_path / "out" / f"{song.name}.npz" for song in [*bad, *songs]}
    report = extract(pairs, RECIPE, jobs=0, failures=path)
    assert failures() == [(failure.path, failure.reason) for failure in report.failures]
    content = path.read_bytes()
    extract(dict(reversed(pairs.items())), RECIPE, jobs=2, failures=path)
    assert path.read_bytes() == content, "the order of the work shows"

    extract(songs, RECIPE, jobs=0, failures=path)
    assert path.read_text() == "path,reason\n"

    text = tmp_path / "text.mp3"
    with pytest.raises(InputError):
        extract({text: tmp_path / "text.npz"} | songs, RECIPE, jobs=0, strict=True, failures=path)
    assert [song for song, _ in failures()] == [text]

    def interrupt(*_):
        raise KeyboardInterrupt

    monkeypatch.setattr("musicemo.features._batch.analyse", interrupt)
    empty, (song, target) = tmp_path / "empty.mp3", next(iter(songs.items()))
    with pytest.raises(KeyboardInterrupt):
        extract([(empty, tmp_path / "empty.npz"), (song, target.with_name("x"))], RECIPE, jobs=0, failures=path)
    assert [song for song, _ in failures()] == [empty]


def test_failures_of_songs_with_odd_names(tmp_path):
    folder = tmp_path / os.fsdecode(b"M\xfcsli")
    names = [os.fsdecode("\u6f22.mp3".encode()), "a\x1b[2Jb.mp3", "line\nbreak.mp3", "=1+1.mp3"]
    try:
        folder.mkdir()
        for name in names:
            (folder / name).touch()
    except OSError:
        pytest.skip("this file system refuses such names")
    extract(
        {folder / name: tmp_path / f"{i}.npz" for i, name in enumerate(names)}, jobs=0, failures=tmp_path / "f"
    )
    assert {Path(row["path"]).name for row in read_csv(tmp_path / "f")} == {
        "\u6f22.mp3",
        r"a\x1b[2Jb.mp3",
        r"line\nbreak.mp3",
        "=1+1.mp3",
    }
    assert r"/M\xfcsli/" in (tmp_path / "f").read_text(encoding="utf-8")


def test_reasons_name_no_place_in_memory(songs, monkeypatch):
    def fail(path, recipe):
        raise InputError(f"{path} is not audio: [mp3 @ 0x55e3c5a4f2c0] Header missing, {object()!r}")

    monkeypatch.setattr("musicemo.features._batch.analyse", fail)
    (failure, *_) = extract(songs, RECIPE, jobs=0).failures
    assert failure.reason == "is not audio: [mp3] Header missing, <object object>"


def test_strict_stops(songs, bad, tmp_path):
    text = tmp_path / "text.mp3"
    pairs = {text: tmp_path / "text.npz"} | songs
    with pytest.raises(InputError, match=r"text\.mp3: is not audio"):
        extract(pairs, RECIPE, jobs=0, strict=True)
    assert not any(target.exists() for target in songs.values())


def test_two_songs_with_one_feature_file(songs, tmp_path):
    first, second, _ = songs
    target = tmp_path / "x.npz"
    with pytest.raises(InputError, match=r"x\.npz: is the feature file of two songs, .*0\.wav and .*1\.wav"):
        extract([(first, target), (second, target)], RECIPE, jobs=0)
    assert counts(extract([(first, target), (first, target)], RECIPE, jobs=0)) == (1, 0, 0)


@pytest.mark.slow
@pytest.mark.parametrize("jobs", [0, 1])
def test_a_folder_that_cannot_be_made_is_nobodys_fault(songs, tmp_path, jobs):
    (tmp_path / "out").write_text("in the way")
    with pytest.raises(RunError, match="cannot be created"):
        extract(songs, RECIPE, jobs=jobs)


@pytest.mark.parametrize(
    ("error", "reason"),
    [
        (MemoryError(), "needs more memory than is available"),
        (ValueError("so odd"), "cannot be analyzed: ValueError: so odd"),
        (OSError(errno.EIO, "Input/output error"), "cannot be analyzed: Input/output error"),
        (UnicodeDecodeError("utf-8", b"\xff", 0, 1, "bad"), "cannot be analyzed: UnicodeDecodeError: "),
        (RecursionError("deep"), "cannot be analyzed: RecursionError: deep"),
    ],
)
def test_an_error_of_any_type_is_that_songs_failure(songs, monkeypatch, error, reason):
    unlucky = [*songs][1]

    def fail(path, recipe):
        if path == unlucky:
            raise error
        return analyse(path, recipe)

    monkeypatch.setattr("musicemo.features._batch.analyse", fail)
    report = extract(songs, RECIPE, jobs=0)
    assert counts(report) == (2, 0, 1)
    assert report.failures[0].path == unlucky
    assert report.failures[0].reason.startswith(reason)


def test_a_feature_file_whose_place_is_taken_is_that_songs_failure(songs):
    first = next(iter(songs.values()))
    (first / "sub").mkdir(parents=True)
    report = extract(songs, RECIPE, jobs=0)
    assert counts(report) == (2, 0, 1)
    assert report.failures[0].reason.startswith(f"its features cannot be kept: {first}: cannot be written: ")


def test_a_full_disk_stops_all(songs, monkeypatch):
    def fail(path, analysis, source):
        try:
            raise OSError(errno.ENOSPC, "No space left on device")
        except OSError as error:
            raise RunError(f"{path}: cannot be written: {error.strerror}") from error

    monkeypatch.setattr("musicemo.features._batch.write_features", fail)
    with pytest.raises(RunError, match=r"0\.npz: cannot be written: No space left"):
        extract(songs, RECIPE, jobs=0)


def test_what_killed_processes_left_is_removed(songs):
    extract(songs, RECIPE, jobs=0)
    folder = next(iter(songs.values())).parent
    for name in (".0.npz.abandoned", ".1.npz.recent12", ".other.npz.abandon"):
        (folder / name).write_text("half")
        if "abandon" in name:
            os.utime(folder / name, (1, 1))
    extract(songs, Recipe(duration=0.5), jobs=0)
    assert sorted(leftovers(folder)) == [".1.npz.recent12", ".other.npz.abandon"]


SCRIPT = """
import sys
from pathlib import Path
from musicemo.features import Recipe, extract

songs, out = map(Path, sys.argv[1:])
print(extract({song: out / f"{song.stem}.npz" for song in songs.iterdir()}, Recipe(), jobs=2))
"""


@pytest.mark.slow
@pytest.mark.parametrize("how", [signal.SIGKILL, signal.SIGINT])
def test_an_interruption_leaves_whole_files(tmp_path, how):
    songs, out = tmp_path / "songs", tmp_path / "out"
    songs.mkdir()
    soundfile.write(songs / "0.wav", signals.song(12.0), signals.RATE)
    for index in range(1, 60):
        os.link(songs / "0.wav", songs / f"{index}.wav")
    command = [sys.executable, "-c", SCRIPT, str(songs), str(out)]
    program = subprocess.Popen(command, stdout=subprocess.PIPE, stderr=subprocess.DEVNULL)
    end = time.monotonic() + 240
    while len(list(out.glob("*.npz"))) < 3:
        assert time.monotonic() < end
        time.sleep(0.01)
    program.send_signal(how)
    program.communicate(timeout=240)
    time.sleep(0.5)
    found = list(out.glob("*.npz"))
    assert 3 <= len(found) < 60
    for path in found:
        read_features(path)
    assert leftovers(out) == []
    pairs = {songs / f"{path.stem}.wav": path for path in found}
    assert counts(extract(pairs)) == (0, len(found), 0)
