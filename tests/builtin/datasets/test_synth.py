import os
import pickle

import numpy as np
import pytest
from dataset_conformance import assert_conforms
from musicemo_builtin.datasets import synth as module
from musicemo_builtin.datasets._synthesis import catalogue, factory
from musicemo_builtin.datasets._synthesis.listeners import perceive
from musicemo_builtin.datasets._synthesis.store import Store
from musicemo_builtin.datasets.synth import Clip, Synth, render
from threadpoolctl import threadpool_info, threadpool_limits

from musicemo.contracts import Signal
from musicemo.errors import RunError
from musicemo.workers import Outcome, WorkerDied

TINY = {"tracks": 3, "duration": 4.0}


@pytest.fixture(scope="module")
def cache(tmp_path_factory):
    folder = tmp_path_factory.mktemp("cache")
    list(Synth(**TINY, cache=folder).tracks())
    return folder


@pytest.fixture
def own_cache(cache, tmp_path):
    """A copy of the cache, to be damaged."""
    for file in cache.glob("synth/*/*"):
        copy = tmp_path / file.relative_to(cache)
        copy.parent.mkdir(parents=True, exist_ok=True)
        copy.write_bytes(file.read_bytes())
    return tmp_path


def contents(cache):
    return {path.name: path.read_bytes() for path in cache.glob("synth/*/*")}


def times(cache):
    return {path.name: path.stat().st_mtime_ns for path in cache.glob("synth/*/*")}


@pytest.mark.slow
def test_conforms(cache):
    tracks = assert_conforms(Synth(**TINY, cache=cache))
    assert [track.id for track in tracks] == ["synth-00000", "synth-00001", "synth-00002"]
    assert [track.targets["genre"] for track in tracks] == ["Blues", "Classical", "Electronic"]
    assert [track.group for track in tracks] == ["blues-1", "classical-1", "electronic-1"]


def test_its_audio_is_what_was_played(cache):
    clips = [track.audio for track in Synth(**TINY, cache=cache).tracks()]
    for index, clip in enumerate(clips):
        assert isinstance(clip, Signal)
        samples, rate = pickle.loads(pickle.dumps(clip)).samples()  # noqa: S301  # its own
        assert rate == 22050
        np.testing.assert_array_equal(samples, render(0, index, 4.0))
    others = [Clip(0, 0, 5.0), Clip(1, 0, 4.0)]
    assert len({clip.identity for clip in (*clips, *others)}) == 5


def test_making_it_leaves_nothing_else_behind(cache):
    assert sorted(contents(cache).keys() - {".lock"}) == [f"0000{i}.json" for i in range(3)]


def test_targets_are_the_means_of_the_ratings(cache):
    for track in Synth(**TINY, cache=cache, raters=5).tracks():
        assert set(track.ratings) == {"valence", "energy", "danceability"}
        for name, given in track.ratings.items():
            assert len(given) == 5
            assert track.targets[name] == pytest.approx(np.mean(given), abs=1e-6)


def test_the_same_seed_gives_the_same_bytes(cache, tmp_path):
    list(Synth(tracks=2, duration=4.0, cache=tmp_path).tracks())
    made = contents(tmp_path)
    assert len(made) == 2 + 1
    assert made == {name: content for name, content in contents(cache).items() if name in made}


@pytest.mark.slow
def test_a_track_depends_on_the_seed_and_its_number_alone():
    np.testing.assert_array_equal(render(3, 14, 3.0), render(3, 14, 3.0))
    assert not np.array_equal(render(3, 14, 3.0), render(4, 14, 3.0))
    assert not np.array_equal(render(3, 14, 3.0), render(3, 24, 3.0))


def test_the_cache_is_used_again(cache):
    before = times(cache)
    first = [dict(track.targets) for track in Synth(**TINY, cache=cache).tracks()]
    assert first == [dict(track.targets) for track in Synth(**TINY, cache=cache).tracks()]
    list(Synth(**TINY, cache=cache, noise=0.3, raters=2, missing=0.5).tracks())
    list(Synth(tracks=1, duration=4.0, cache=cache).tracks())
    assert times(cache) == before


def test_what_changes_the_music_changes_the_folder(cache, monkeypatch):
    folders = {Synth(duration=4, seed=0, cache=cache).store.folder}
    assert folders == {Synth(duration=4.0, tracks=9, noise=0.4, cache=cache).store.folder}
    folders.add(Synth(duration=4, seed=1, cache=cache).store.folder)
    folders.add(Synth(duration=5, seed=0, cache=cache).store.folder)
    monkeypatch.setattr(module, "VERSION", -1)
    folders.add(Synth(duration=4, seed=0, cache=cache).store.folder)
    assert len(folders) == 4


@pytest.mark.parametrize(
    "damage",
    [
        lambda content: content[:40],
        lambda content: content.replace(b'"mode"', b'"mood"'),
        lambda content: b"[]",
        lambda content: b"[" * 100_000,
        lambda content: content.replace(b'"number": 1', b'"number": 2'),
    ],
)
def test_a_damaged_record_is_made_again(cache, own_cache, damage):
    before = times(own_cache)
    (path,) = own_cache.glob("synth/*/00001.json")
    path.write_bytes(damage(path.read_bytes()))
    list(Synth(**TINY, cache=own_cache).tracks())
    assert contents(own_cache) == contents(cache)
    after = times(own_cache)
    assert {name for name in before.keys() - {".lock"} if before[name] != after[name]} == {"00001.json"}


@pytest.mark.slow
def test_records_of_another_seed_are_not_taken(cache, own_cache):
    list(Synth(**TINY, cache=own_cache, seed=5).tracks())
    one, other = (Synth(**TINY, cache=own_cache, seed=seed).store.folder for seed in (0, 5))
    for path in one.glob("0*"):
        (other / path.name).write_bytes(path.read_bytes())
    list(Synth(**TINY, cache=own_cache, seed=5).tracks())
    assert not set(contents(cache).values()) & {path.read_bytes() for path in other.glob("0*")}


def test_clips_are_made_with_one_thread(tmp_path, monkeypatch):
    """With several, the loudness would differ from that in other processes, in the last bits."""
    threads = []

    def play(*args):
        threads.extend(pool["num_threads"] for pool in threadpool_info() if pool["user_api"] == "blas")
        return real(*args)

    real = catalogue.play
    monkeypatch.setattr(catalogue, "play", play)
    with threadpool_limits(limits=3, user_api="blas"):
        Synth(**TINY, cache=tmp_path).store.folder.mkdir(parents=True)
        Synth(**TINY, cache=tmp_path).store.write(0)
    assert set(threads) == {1}


@pytest.mark.slow
def test_an_interrupted_making_goes_on(cache, tmp_path, monkeypatch):
    write = Store.write

    def interrupted(store, index):
        if index == 1:
            raise KeyboardInterrupt
        write(store, index)

    monkeypatch.setattr(Store, "write", interrupted)
    with pytest.raises(KeyboardInterrupt):
        list(Synth(**TINY, cache=tmp_path).tracks())
    monkeypatch.setattr(Store, "write", write)
    before = times(tmp_path)
    assert sorted(before.keys() - {".lock"}) == ["00000.json"]
    assert len(list(Synth(**TINY, cache=tmp_path).tracks())) == 3
    assert contents(tmp_path) == contents(cache)
    assert before.items() <= times(tmp_path).items()


@pytest.mark.slow
def test_making_it_in_parallel_gives_the_same(cache, tmp_path, capfd):
    dataset = Synth(tracks=6, duration=4.0, cache=tmp_path)
    assert len(factory.fill(dataset.store, 6, workers=2)) == 6
    assert contents(cache).items() <= contents(tmp_path).items()
    out, err = capfd.readouterr()
    assert out == ""
    first, *_, last = err.splitlines()  # a slow machine tells how far it is in between
    assert first == "Composing clips: 6 clips"
    assert last.startswith("Composing clips: 6 clips in ")


def test_a_process_that_dies_is_told(tmp_path, monkeypatch):
    def die(function, tasks, jobs):
        yield Outcome(0, None)
        yield Outcome(1, error=WorkerDied("SIGKILL, as when memory runs out"))

    monkeypatch.setattr(factory, "run_tasks", die)
    with pytest.raises(RunError, match=r"the process that composed clip 1 died: SIGKILL.*continues from there"):
        list(Synth(**TINY, cache=tmp_path).tracks())


def test_a_cache_that_cannot_be_written(tmp_path):
    (tmp_path / "file").write_text("in the way")
    with pytest.raises(RunError, match=r"file.*cannot be created.*MUSICEMO_CACHE"):
        list(Synth(**TINY, cache=tmp_path / "file").tracks())


def test_a_full_disk(tmp_path, monkeypatch):
    def full(*args, **kwargs):
        raise OSError(28, "No space left on device")

    monkeypatch.setattr(os, "fsync", full)
    with pytest.raises(RunError, match=r"cannot be written: No space left on device. Set .* MUSICEMO_CACHE"):
        list(Synth(**TINY, cache=tmp_path).tracks())
    assert contents(tmp_path) == {".lock": b""}


def test_where_the_cache_is(tmp_path, monkeypatch):
    monkeypatch.setenv("XDG_CACHE_HOME", str(tmp_path / "xdg"))
    monkeypatch.delenv("MUSICEMO_CACHE", raising=False)
    assert Synth().store.folder.is_relative_to(tmp_path / "xdg" / "musicemo" / "synth")
    monkeypatch.delenv("XDG_CACHE_HOME")
    monkeypatch.setenv("HOME", str(tmp_path / "home"))
    assert Synth().store.folder.is_relative_to(tmp_path / "home" / ".cache" / "musicemo")
    monkeypatch.setenv("MUSICEMO_CACHE", str(tmp_path / "mine"))
    assert Synth().store.folder.is_relative_to(tmp_path / "mine" / "synth")
    assert Synth(cache=tmp_path / "his").store.folder.is_relative_to(tmp_path / "his" / "synth")


def test_constructing_it_makes_nothing(tmp_path):
    Synth(cache=tmp_path / "none")
    assert not (tmp_path / "none").exists()


def test_without_noise_listeners_agree_with_the_formula(cache):
    dataset = Synth(**TINY, cache=cache, noise=0.0)
    for index, track in enumerate(dataset.tracks()):
        (passage,) = dataset.store.read(index)
        for name, value in perceive(passage.cues).items():
            assert set(track.ratings[name]) == {round(value, 2)}


def test_missing_targets(cache):
    tracks = assert_conforms(Synth(**TINY, cache=cache, missing=0.5))
    missing = [name for track in tracks for name, value in track.targets.items() if value is None]
    assert 0 < len(missing) < 15
    assert all(track.targets[name] is not None for track in tracks for name in track.ratings)
    whole = list(Synth(**TINY, cache=cache).tracks())
    for track, full in zip(tracks, whole, strict=True):
        assert all(value in (None, full.targets[name]) for name, value in track.targets.items())
