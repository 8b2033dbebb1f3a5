"""Extraction by a launcher: blocks of songs elsewhere, which are continued, and merged in the cache."""

import pickle
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path

import numpy as np
import pytest
from songs import write_song

from musicemo.contracts import Extraction, Output
from musicemo.errors import InputError, RunError
from musicemo.features import FeatureSettings, FeatureStore, Stream, extract
from musicemo.features import _blocks as blocks_module
from musicemo.features import _store as module
from musicemo.workers import Outcome, WorkerDied, attempt

calls: list[int] = []
"""The number of samples of each clip that `Loudness` computed."""


class Loudness:
    """The mean of each tenth of a second; it works in the process that it is in."""

    sample_rate = 22050
    fingerprint = "1"
    outputs = {"mean": 1}  # noqa: RUF012  # the contract's
    device = "cpu"

    def extract(self, samples, outputs):
        calls.append(len(samples))
        values = np.abs(samples[: len(samples) // 2205 * 2205]).reshape(-1, 2205).mean(axis=1, keepdims=True)
        return Extraction({"mean": Output.regular(values.astype(np.float32), 0.1)})


class Elsewhere:
    """Executes tasks as if on another machine. A worker is lost in its first task after some songs."""

    def __init__(self, lost_after: int | None = None, attempts: int = 2) -> None:
        self.tasks: list[int] = []
        self._lost_after, self._attempts = lost_after, attempts

    def workers(self, tasks, needs):
        return min(tasks, 2)

    def run(self, function, tasks, needs):
        for task in tasks:
            self.tasks.append(len(task))
            sent = pickle.loads(pickle.dumps(function))  # noqa: S301  # pickled here
            if self._lost_after is not None:
                sent(task[: self._lost_after])
                if self._attempts == 1:
                    yield Outcome(task, error=WorkerDied("SIGKILL"))
                    continue
            yield attempt(sent, task)


@pytest.fixture(autouse=True)
def fresh(monkeypatch, tmp_path):
    calls.clear()
    monkeypatch.setenv("MUSICEMO_CACHE", str(tmp_path / "cache"))
    monkeypatch.setattr(blocks_module, "_FEWEST", 2)


@pytest.fixture
def songs(tmp_path: Path) -> dict[str, Path]:
    return {str(number): write_song(tmp_path / f"{number}.wav", number) for number in range(7)}


def stream(**settings) -> Stream:
    return Stream("loudness", {}, Loudness, FeatureSettings(**settings))


def read(songs, launcher=None, **settings):
    store = FeatureStore(stream(**settings), "songs")
    arrays = store.read(songs, {name: name for name in songs}, launcher=launcher)
    return {name: np.array(array.read()) for name, array in arrays.items()}


def assert_same(arrays, songs):
    assert list(arrays) == list(songs)
    for name, song in songs.items():
        np.testing.assert_array_equal(arrays[name], stream().compute(song).values["mean"])


def index_files():
    return sorted(path.name for path in FeatureStore(stream(), "songs").folder.glob("*.json"))[:-1]


def test_a_launcher_extracts_blocks_of_songs(songs):
    launcher = Elsewhere()
    assert_same(read(songs, launcher), songs)
    assert launcher.tasks == [2, 2, 2, 1]
    assert index_files() == ["0000.json", "0001.json", "0002.json", "0003.json"]
    calls.clear()
    assert_same(read(songs, launcher), songs)
    assert len(calls) == len(songs)  # of the comparison
    assert len(launcher.tasks) == 4


def test_a_block_whose_worker_is_lost_is_continued(songs):
    assert_same(read(songs, Elsewhere(lost_after=1)), songs)
    assert len(calls) == 2 * len(songs)  # once in the cache, and once in the comparison


def test_songs_of_a_block_that_is_lost_too_often_fail(songs):
    with pytest.raises(InputError) as caught:
        read(songs, Elsewhere(lost_after=1, attempts=1))
    assert "3 tracks that cannot be analyzed" in str(caught.value)
    assert "the process that analyzed it died: SIGKILL" in str(caught.value)
    assert_same(read(songs), songs)


def test_a_launcher_of_this_machine_is_not_called(songs):
    launcher = Elsewhere()
    launcher.distributed = False
    assert_same(read(songs, launcher), songs)
    assert not launcher.tasks


def test_an_error_that_no_song_is_to_blame_for_ends_the_extraction(songs, monkeypatch):
    def full(*_):
        raise RunError("no space left on the disk")

    monkeypatch.setattr(module, "_write_block", full)
    with pytest.raises(RunError, match="no space left"):
        read(songs, Elsewhere())


def test_processes_that_write_at_the_same_time_have_numbers_of_their_own(tmp_path):
    with ThreadPoolExecutor(4) as threads:
        paths = list(threads.map(lambda _: module._reserved(tmp_path), range(40)))
    assert sorted(path.name for path in paths) == [f"{number:04d}.json" for number in range(40)]


# Merging


@pytest.mark.parametrize("dtype", ["float32", "float16"])
def test_many_small_blocks_are_merged(songs, monkeypatch, dtype):
    monkeypatch.setattr(module, "_SMALL_BLOCKS", 4)
    for count in range(1, len(songs) + 1):
        read({name: songs[name] for name in list(songs)[:count]}, dtype=dtype)
    folder = FeatureStore(stream(dtype=dtype), "songs").folder
    assert sorted(path.name for path in folder.glob("0*")) == [
        "0008.+steps.pack",
        "0008.json",
        "0008.mean.pack",
    ]
    calls.clear()
    arrays = read(songs, dtype=dtype)
    assert not calls
    for name, song in songs.items():
        expected = stream().compute(song).values["mean"].astype(dtype)
        np.testing.assert_array_equal(arrays[name], expected)


def test_large_blocks_stay_as_they_are(songs, monkeypatch):
    monkeypatch.setattr(module, "_SMALL_BLOCKS", 2)
    monkeypatch.setattr(module, "_BLOCK_BYTES", 1.0)
    read(songs)
    assert len(index_files()) == len(songs)


def test_merging_keeps_the_features_of_a_song_before_and_after_it_changed(songs, monkeypatch):
    song = songs["0"]
    before = song.read_bytes()
    read({"0": song})
    write_song(song, 50)
    read({"0": song})
    monkeypatch.setattr(module, "_SMALL_BLOCKS", 3)
    read({"1": songs["1"]})
    assert len(index_files()) == 1
    calls.clear()
    changed = read({"0": song})["0"]
    song.write_bytes(before)
    restored = read({"0": song})["0"]
    assert not calls
    np.testing.assert_array_equal(restored, stream().compute(song).values["mean"])
    assert not np.array_equal(changed, restored)


def test_a_damaged_song_is_not_merged(songs, monkeypatch):
    read({"0": songs["0"], "1": songs["1"]})
    (pack,) = FeatureStore(stream(), "songs").folder.glob("0000.mean.pack")
    content = bytearray(pack.read_bytes())
    content[64] ^= 1
    pack.write_bytes(content)
    monkeypatch.setattr(module, "_SMALL_BLOCKS", 2)
    read({"2": songs["2"]})
    assert len(index_files()) == 1
    calls.clear()
    assert_same(read({"0": songs["0"], "1": songs["1"]}), {"0": songs["0"], "1": songs["1"]})
    assert len(calls) == 1 + 2


# Feature files


def test_feature_files_are_written_by_a_launcher(songs, tmp_path):
    songs = {**songs, "text": tmp_path / "text.wav"}
    songs["text"].write_text("no samples")
    pairs = {song: tmp_path / "out" / f"{name}.npz" for name, song in songs.items()}
    launcher, seen = Elsewhere(), []
    report = extract(
        pairs, stream(), launcher=launcher, progress=lambda done, total: seen.append((done, total))
    )
    assert (report.done, report.skipped) == (7, 0)
    assert [failure.path.name for failure in report.failures] == ["text.wav"]
    assert launcher.tasks == [2, 2, 2, 2]
    assert seen == [(0, 8), (2, 8), (4, 8), (6, 8), (8, 8)]
    assert extract(pairs, stream(), launcher=launcher).skipped == 7
    with pytest.raises(InputError, match="is not audio"):
        extract(pairs, stream(), launcher=launcher, strict=True)


def test_feature_files_of_a_lost_block_are_kept(songs, tmp_path):
    pairs = {song: tmp_path / "out" / f"{name}.npz" for name, song in songs.items()}
    report = extract(pairs, stream(), launcher=Elsewhere(lost_after=1, attempts=1))
    assert (report.done, len(report.failures)) == (4, 3)
    assert {failure.reason for failure in report.failures} == {"the process that analyzed it died: SIGKILL"}
    assert extract(pairs, stream()).done == 3
