"""Extracted features on disk: computed once, for the audio and the extractor that they are of."""

import json
import os
import shutil
import time
from collections.abc import Mapping
from concurrent.futures import ThreadPoolExecutor
from dataclasses import dataclass, replace
from functools import partial
from pathlib import Path

import numpy as np
import pytest
from complaints import any_warnings, warns
from musicemo_builtin.features.arrays import Arrays
from musicemo_builtin.features.mel_chroma import MelChroma
from songs import write_song, write_text

from musicemo.contracts import ArrayFile, Extraction, Output, Track
from musicemo.errors import InputError, RunError
from musicemo.features import FeatureSettings, FeatureStore, Recipe, Stream, analyse, load, with_features
from musicemo.features import _store as module
from musicemo.files import exclusive

SONGS = ("one", "Two", "rock/3")
WINDOW = 1000


class Levels:
    """Statistics of windows of a tenth of a second."""

    sample_rate = 10 * WINDOW
    fingerprint = "1"
    neutral = ("device",)

    def __init__(self, gain=1.0, device="cpu"):
        self.gain = gain
        self.outputs = {"mean": 2, "highest": 1, "lowest": 1}

    def extract(self, samples, outputs):
        calls.append(tuple(outputs))
        samples = self.gain * np.pad(samples, (0, -len(samples) % WINDOW)).reshape(-1, WINDOW)
        values = {
            "mean": np.stack([samples.mean(axis=1), np.abs(samples).mean(axis=1)], axis=1),
            "highest": samples.max(axis=1, keepdims=True),
            "lowest": samples.min(axis=1, keepdims=True),
        }
        return Extraction({name: Output.regular(values[name].astype(np.float32), 0.1) for name in outputs})


calls: list[tuple[str, ...]] = []
"""The outputs that were requested of each clip that `Levels` computed."""


@pytest.fixture(autouse=True)
def no_calls(monkeypatch, tmp_path):
    calls.clear()
    monkeypatch.setenv("MUSICEMO_CACHE", str(tmp_path / "cache"))


def stream(extractor=Levels, **settings) -> Stream:
    parameters = {name: settings.pop(name) for name in ("gain", "device") if name in settings}
    name = {Levels: "levels", MelChroma: "mel-chroma"}.get(extractor, "other")
    return Stream(name, parameters, partial(extractor, **parameters), FeatureSettings(**settings))


def read(songs: Mapping[str, Path], one: Stream | None = None, **kwargs) -> dict[str, np.ndarray]:
    """Return the features of songs by their names, through the cache."""
    found = FeatureStore(one or stream(), "songs").read(songs, {name: name for name in songs}, **kwargs)
    return {name: np.array(array.read()) for name, array in found.items()}


def computed(songs: Mapping[str, Path], one: Stream | None = None) -> dict[str, np.ndarray]:
    """Return the same without the cache."""
    one = one or stream()
    return {
        name: np.concatenate(list(one.compute(song).values.values()), axis=1) for name, song in songs.items()
    }


def assert_same(found, expected):
    assert list(found) == list(expected)
    for name in found:
        np.testing.assert_array_equal(found[name], expected[name])


@pytest.fixture
def songs(tmp_path: Path) -> dict[str, Path]:
    return {name: write_song(tmp_path / "audio" / f"{name}.wav", number) for number, name in enumerate(SONGS)}


@pytest.fixture
def folder(songs, tmp_path) -> Path:
    """The folder of the songs' features, which were extracted."""
    read(songs)
    calls.clear()
    return FeatureStore(stream(), "songs").folder


# What is read


@pytest.mark.parametrize("grid", ["beat", "frame"])
def test_gives_the_features_of_its_songs(songs, grid):
    arrays = FeatureStore(stream(MelChroma, grid=grid), "songs").read(songs, {name: name for name in songs})
    assert list(arrays) == list(SONGS)
    for name, array in arrays.items():
        expected = getattr(analyse(songs[name]), grid).T
        assert array.shape == expected.shape
        np.testing.assert_array_equal(array.read(), expected)
        assert len(array.edges) == len(expected) + 1


def test_nothing_is_computed_twice(songs, capsys):
    store = FeatureStore(stream(), "songs")
    assert not store.folder.exists()
    first = read(songs)
    lines = capsys.readouterr().err.splitlines()
    assert all(line.startswith(f"Extracting levels into {store.folder}: ") for line in lines)
    said = [line.partition(f"{store.folder}: ")[2] for line in lines]
    assert said[0] == "3 songs"
    assert said[1].startswith("3 songs in ")
    assert_same(read(songs), first)
    assert_same(first, computed(songs))
    assert len(calls) == 3 + 3
    assert capsys.readouterr().err == ""


def test_much_room_on_the_disk_is_announced(songs, capsys, monkeypatch):
    monkeypatch.setattr(module, "_MUCH", 0)
    read(songs)
    assert ": needs about 0.0 GB on the disk; " in capsys.readouterr().err


def test_the_cache_is_named_after_what_is_in_it(folder, tmp_path):
    assert folder.parent == tmp_path / "cache" / "songs"
    assert folder.name == f"levels-{stream().key}"
    outputs = ("mean", "highest", "lowest", "+steps")
    assert {path.name for path in folder.iterdir()} == {
        ".lock",
        "about.json",
        "0000.json",
        *(f"0000.{output}.pack" for output in outputs),
    }
    about = json.loads((folder / "about.json").read_text())
    assert about["features"]["type"] == "levels"
    assert about["features"]["grid"] == "frame"


def test_the_cache_can_be_moved(songs, folder, tmp_path, monkeypatch):
    (tmp_path / "cache").rename(tmp_path / "elsewhere")
    read(songs, stream(cache=tmp_path / "elsewhere"))
    monkeypatch.setenv("MUSICEMO_CACHE", str(tmp_path / "elsewhere"))
    read(songs)
    assert calls == []


# Which songs are extracted again


def test_a_song_that_changes_is_extracted_again(songs, folder):
    before = read(songs)
    write_song(songs["one"], 5, seconds=0.7)
    after = read(songs)
    assert len(calls) == 1
    assert before["one"].shape != after["one"].shape
    assert_same(after, computed(songs))


def test_a_song_that_is_only_touched_is_not(songs, folder):
    os.utime(songs["one"], (1704067200, 1704067200))
    assert_same(read(songs), computed(songs))
    assert len(calls) == 3  # of `computed`
    recorded = json.loads((folder / "0000.json").read_text())["songs"][str(songs["one"])]
    assert recorded["modified_ns"] == 1704067200 * 10**9, "otherwise it would be hashed each time"


def test_songs_that_are_added_join_the_others(songs):
    some = {name: songs[name] for name in SONGS[:2]}
    for wanted in (some, songs, some):
        assert list(read(wanted)) == list(wanted)
    assert len(calls) == 3


@pytest.fixture
def twins(tmp_path):
    """Two folders whose songs have the same names, sizes and times, as from two archives."""
    for number, root in enumerate(("clean", "remix")):
        for index in range(3):
            song = tmp_path / root / f"{index}.wav"
            write_song(song, 10 * number + index)
            os.utime(song, (1704067200, 1704067200))
    return tmp_path


def songs_in(folder: Path) -> dict[str, Path]:
    return {str(index): folder / f"{index}.wav" for index in range(3)}


def test_another_folder_gives_the_features_of_its_own_songs(twins):
    for root in ("clean", "remix", "clean"):
        assert_same(read(songs_in(twins / root)), computed(songs_in(twins / root)))


def test_a_link_that_points_elsewhere_gives_other_features(twins):
    link = twins / "music"
    for root in ("clean", "remix"):
        link.unlink(missing_ok=True)
        link.symlink_to(root)
        assert_same(read(songs_in(link)), computed(songs_in(twins / root)))


def test_a_song_that_is_replaced_by_one_of_the_same_size_and_time(twins):
    songs = songs_in(twins / "clean")
    read(songs)
    shutil.copy2(twins / "remix" / "1.wav", songs["1"])
    assert_same(read(songs), computed(songs))


def test_names_that_change_places_give_other_features(twins):
    first, second, third = songs_in(twins / "clean").values()
    read({"0": first, "1": second, "2": third})
    turned = {"0": second, "1": first, "2": third}
    assert_same(read(turned), computed(turned))
    assert len(calls) == 3 + 3


def test_songs_that_change_places_are_not_extracted_again(twins):
    first, second, _ = songs_in(twins / "clean").values()
    read(songs_in(twins / "clean"))
    for one, other in ((first, twins / "other"), (second, first), (twins / "other", second)):
        one.rename(other)
    assert_same(read(songs_in(twins / "clean")), computed(songs_in(twins / "clean")))
    assert len(calls) == 3 + 3


def test_the_same_songs_elsewhere_are_not_extracted_again(twins, monkeypatch):
    read(songs_in(twins / "clean"))
    folder = FeatureStore(stream(), "songs").folder
    before = {path: path.stat().st_mtime_ns for path in folder.glob("*.pack")}
    (twins / "clean").rename(twins / "moved")
    assert_same(read(songs_in(twins / "moved")), computed(songs_in(twins / "moved")))
    assert len(calls) == 3 + 3
    assert {path: path.stat().st_mtime_ns for path in folder.glob("*.pack")} == before
    monkeypatch.setattr(module.Source, "of", lambda path: pytest.fail("it is hashed again"))
    read(songs_in(twins / "moved"))


def test_a_song_that_is_restored_is_not_extracted_again(songs, folder):
    content = songs["one"].read_bytes()
    write_song(songs["one"], 5)
    read(songs)
    songs["one"].write_bytes(content)
    assert_same(read(songs), computed(songs))
    assert len(calls) == 1 + 3


def test_a_folder_whose_name_is_not_utf_8(twins):
    folder = twins / os.fsdecode(b"M\xfcsik")
    try:
        (twins / "clean").rename(folder)
    except OSError:
        pytest.skip("this file system refuses such names")
    for _ in range(2):
        assert_same(read(songs_in(folder)), computed(songs_in(folder)))
    assert len(calls) == 3 + 2 * 3


# Damage


@pytest.mark.parametrize("damage", ["0000.mean.pack", "0000.+steps.pack", "0000.json"])
def test_a_file_that_was_cut_off_is_written_again(songs, folder, damage):
    (folder / damage).write_bytes((folder / damage).read_bytes()[:-3])
    assert_same(read(songs), computed(songs))
    assert len(calls) == 3 + 3
    read(songs)
    assert len(calls) == 3 + 3


def test_only_the_songs_that_are_damaged_are_extracted_again(songs, folder):
    values = np.ascontiguousarray(computed(songs)["Two"][:, :2])
    path = folder / "0000.mean.pack"
    content = bytearray(path.read_bytes())
    content[content.index(values.tobytes())] ^= 1
    path.write_bytes(content)
    calls.clear()
    read({name: songs[name] for name in ("one", "rock/3")})
    assert calls == [], "the damage is in none of these"
    assert_same(read(songs), computed(songs))
    assert len(calls) == 1 + 3


def test_a_pack_of_another_block_is_not_believed(twins, songs):
    """A process can be killed between the two, and files can be copied."""
    read(songs_in(twins / "clean"))
    folder = FeatureStore(stream(), "songs").folder
    old = {path: path.read_bytes() for path in folder.glob("0000.*.pack")}
    shutil.rmtree(folder)
    read(songs_in(twins / "remix"))
    for path, content in old.items():
        path.write_bytes(content)
    assert_same(read(songs_in(twins / "remix")), computed(songs_in(twins / "remix")))


class Named:
    """An extractor whose outputs have names that no file can have."""

    sample_rate, fingerprint = 1000, "1"
    outputs = dict.fromkeys(("graph/a:0", "graph_a:0", "steps", "ü" * 200), 1)

    def extract(self, samples, outputs):
        edges = np.array([0.0, len(samples) / 1000])
        return Extraction(
            {name: Output(np.full((1, 1), float(len(name)), np.float32), edges) for name in outputs}
        )


def test_outputs_of_any_name(songs):
    expected = [[len(name) for name in Named.outputs]]
    for _ in range(2):
        assert [array.tolist() for array in read(songs, stream(Named)).values()] == [expected] * 3


@pytest.fixture
def few_files():
    """Allow only a few more open files, until the test ends."""
    resource = pytest.importorskip("resource", reason="needs the limits of Unix")
    if not Path("/proc/self/fd").is_dir():
        pytest.skip("needs /proc")
    limits = resource.getrlimit(resource.RLIMIT_NOFILE)
    taken = {int(one.name) for one in Path("/proc/self/fd").iterdir()}
    free = [number for number in range(max(taken) + 32) if number not in taken]
    resource.setrlimit(resource.RLIMIT_NOFILE, (free[16], limits[1]))
    yield
    resource.setrlimit(resource.RLIMIT_NOFILE, limits)


def test_many_blocks_of_songs_are_open_at_once(songs, monkeypatch, few_files):
    monkeypatch.setattr(module, "_BLOCK_BYTES", 1.0)
    many = {f"{name} {copy}": shutil.copy(path, path.with_name(f"{path.stem}{copy}.wav"))
            for name, path in songs.items() for copy in range(4)}  # fmt: skip
    assert_same(read(many, jobs=0), computed(many))
    assert len(list(FeatureStore(stream(), "songs").folder.glob("*.json"))) > 12


def test_blocks_that_cannot_be_open_at_once_are_an_error(songs, monkeypatch, few_files):
    """They must not count as damaged, and be extracted again and again."""
    monkeypatch.setattr(module, "_BLOCK_BYTES", 1.0)
    monkeypatch.setattr(module, "_allow_open_files", lambda count: None)
    many = {f"{name} {copy}": shutil.copy(path, path.with_name(f"{path.stem}{copy}.wav"))
            for name, path in songs.items() for copy in range(4)}  # fmt: skip
    with pytest.raises(
        RunError, match=r"its \d+ blocks of songs cannot be open at the same time.*: ulimit -n \d+$"
    ):
        read(many, jobs=0)


# Interruptions


def test_an_extraction_that_is_killed_keeps_its_blocks(songs, monkeypatch):
    class Killed(Levels):
        def extract(self, samples, outputs):
            if len(calls) == 2:
                raise KeyboardInterrupt
            return super().extract(samples, outputs)

    monkeypatch.setattr(module, "_BLOCK_BYTES", 1.0)
    with pytest.raises(KeyboardInterrupt):
        read(songs, stream(Killed))
    folder = FeatureStore(stream(Killed), "songs").folder
    assert sorted(path.name for path in folder.glob("0*.json")) == ["0000.json", "0001.json"]
    (folder / "0002.mean.pack").write_bytes(b"the beginning of a block")
    calls[:] = [()]
    assert_same(read(songs, stream(Killed)), computed(songs))
    assert len(calls) == 1 + 1 + 3


def test_what_was_not_written_as_a_block_yet_is_written_in_the_end(songs):
    class Killed(Levels):
        def extract(self, samples, outputs):
            if len(calls) == 2:
                raise KeyboardInterrupt
            return super().extract(samples, outputs)

    with pytest.raises(KeyboardInterrupt):
        read(songs, stream(Killed))
    assert list(read({name: songs[name] for name in SONGS[:2]}, stream(Killed))) == list(SONGS[:2])
    assert len(calls) == 2


def test_a_complete_cache_can_be_read_only(twins, monkeypatch):
    read(songs_in(twins / "clean"))

    def refuse(path, write):
        raise RunError(f"{path}: cannot be written: Read-only file system")

    monkeypatch.setattr("musicemo.files.write_atomically", refuse)
    (twins / "clean" / "1.wav").touch()
    assert len(read(songs_in(twins / "clean"))) == 3
    assert len(calls) == 3


def test_a_cache_that_cannot_be_written(songs, tmp_path):
    write_text(tmp_path / "cache", "a file")
    with pytest.raises(
        RunError, match=r"cannot be created.*features\.cache or the environment variable MUSICEMO_CACHE"
    ):
        read(songs)


def test_a_disk_without_room_is_noticed_before_it_is_full(songs, monkeypatch):
    usage = shutil.disk_usage("/")
    monkeypatch.setattr(shutil, "disk_usage", lambda path: usage._replace(free=10))
    with pytest.raises(RunError, match=r'needs? about 0\.0 GB.*dtype = "float16".*MUSICEMO_CACHE'):
        read(songs)
    assert len(calls) == 1


def test_a_cache_that_another_process_fills_is_waited_for(songs, folder, tmp_path):
    shutil.copytree(folder, tmp_path / "full")
    for path in folder.glob("0000.*"):
        path.unlink()
    with any_warnings() as caught, ThreadPoolExecutor(1) as threads:
        with exclusive(folder):
            found = threads.submit(read, songs)
            while not caught:
                time.sleep(0.01)
            for path in (tmp_path / "full").glob("0000.*"):
                shutil.copy2(path, folder)
        assert list(found.result()) == list(songs)
    assert caught[0] == f"{folder}: waiting for another process that works in this folder"
    assert calls == []


@pytest.mark.slow
def test_many_songs_are_extracted_by_several_processes(songs):
    one = stream(MelChroma)
    assert_same(read(songs, one, jobs=2), computed(songs, one))


# Songs that cannot be used


def test_songs_that_cannot_be_analyzed_are_all_named(songs):
    write_text(songs["one"], "no music")
    write_song(songs["Two"], seconds=0.01)
    with pytest.raises(InputError) as caught:
        read(songs, stream(MelChroma))
    count, *tracks = caught.value.problems
    assert count == ('2 tracks that cannot be analyzed. features.on_error = "skip" ignores these tracks')
    assert tracks[0].startswith(f"track 'one': {songs['one']}: ")
    assert tracks[1].startswith("track 'Two': ")
    assert "too short" in tracks[1]


def test_songs_that_cannot_be_analyzed_are_left_out_with_a_warning(songs, capsys):
    write_text(songs["one"], "no music")
    one = stream(on_error="skip")
    for said in (": 3 songs\n", ": 1 song\n"):
        with warns("1 track that cannot be analyzed ignored: track 'one'"):
            assert list(read(songs, one)) == ["Two", "rock/3"]
        assert said in capsys.readouterr().err
    assert len(calls) == 2
    write_song(songs["one"])
    assert len(read(songs, one)) == 3


@pytest.mark.slow
def test_no_song_that_can_be_analyzed(songs):
    for song in songs.values():
        write_text(song, "no music")
    with pytest.raises(InputError, match="none of the 3 songs can be analyzed: track 'one'"):
        read(songs, stream(on_error="skip"))
    with pytest.raises(InputError, match="the only song cannot be analyzed: track 'one'"):
        read({"one": songs["one"]})


def test_songs_that_are_missing(songs, folder):
    songs["Two"].unlink()
    with pytest.raises(InputError) as caught:
        read(songs)
    count, track = caught.value.problems
    assert "1 track that cannot be analyzed" in count
    assert track == f"track 'Two': {songs['Two']}: no such file"
    with warns(r"track 'Two': .*Two\.wav: no such file"):
        assert list(read(songs, stream(on_error="skip"))) == ["one", "rock/3"]


def test_a_song_that_changes_while_it_is_analyzed(songs):
    class Slow(Levels):
        def extract(self, samples, outputs):
            write_song(songs["one"], len(calls) + 5)
            return super().extract(samples, outputs)

    with pytest.raises(InputError, match=r"one\.wav: changed while it was analyzed\. Try again"):
        read({"one": songs["one"], "Two": songs["Two"]}, stream(Slow))
    assert_same(read(songs), computed(songs))


def test_values_that_are_not_finite_stop_with_song_and_output(songs):
    class Broken(Levels):
        def extract(self, samples, outputs):
            extraction = super().extract(samples, outputs)
            if len(calls) == 2:
                extraction.outputs["highest"].values[3] = np.nan
            return extraction

    with pytest.raises(
        RunError, match=r"Two\.wav: features 'other': the output 'highest' is nan at time step 3, row 0"
    ):
        read(songs, stream(Broken, on_error="skip"))
    read({"one": songs["one"]}, stream(Broken))
    assert len(calls) == 2, "what was computed before is kept"


@pytest.mark.parametrize(
    ("output", "problem"),
    [
        (None, "is missing"),
        (Output.regular(np.zeros((4, 2), np.float32), 0.1), r"has shape \[4, 2\], not \[time, 1\]"),
        (Output.regular(np.zeros((0, 1), np.float32), 0.1), r"has shape \[0, 1\], not \[time, 1\]"),
        (Output(np.zeros((4, 1), np.float32), np.arange(4.0)), "has 4 time steps, but its 4 edges"),
        (Output(np.zeros((2, 1), np.float32), np.array([0.0, 1.0, 1.0])), "has 2 time steps, but its 3 edges"),
    ],
)
def test_outputs_that_break_the_contract(songs, output, problem):
    class Broken(Levels):
        def extract(self, samples, outputs):
            return Extraction({"highest": output} if output else {})

    with pytest.raises(RunError, match=f"one.wav: features 'other': the output 'highest' {problem}"):
        read(songs, stream(Broken, outputs=["highest"]))


def test_an_extractor_that_returns_an_array(songs):
    class Broken(Levels):
        def extract(self, samples, outputs):
            return np.zeros((4, 1), np.float32)

    with pytest.raises(RunError, match="features 'other': extract returned ndarray, not an Extraction"):
        read(songs, stream(Broken))


# Which settings share features


@pytest.mark.parametrize(
    "settings",
    [
        {"gain": 2.0},
        {"grid": "track"},
        {"grid": "track", "pool": "max"},
        {"grid": "segment"},
        {"grid": "segment", "segment": 1.0},
        {"excerpt": [0.0, 1.0]},
        {"dtype": "float16"},
    ],
)
def test_settings_that_change_the_values_change_the_folder(settings):
    assert stream(**settings).key != stream().key
    if "segment" in settings or "pool" in settings:
        assert stream(**settings).key != stream(grid=settings["grid"]).key


def test_settings_that_do_not_change_the_values_share_the_folder(songs, folder):
    for settings in (
        {"device": "cuda"},
        {"name": "loudness"},
        {"pool": "max"},  # of no effect on frames
        {"segment": 2.0},
        {"on_error": "skip"},
        {"outputs": ["mean", "highest"], "combine": "concatenate"},
    ):
        read(songs, stream(**settings))
    assert calls == []


def test_another_version_of_the_extractor_has_a_folder_of_its_own(songs, folder, monkeypatch):
    monkeypatch.setattr(Levels, "fingerprint", "2")
    assert FeatureStore(stream(), "songs").folder != folder
    read(songs)
    assert len(calls) == 3


def test_an_excerpt(songs):
    (found,) = read({"one": songs["one"]}, stream(MelChroma, grid="frame", excerpt=[0.1, 0.25])).values()
    expected = analyse(songs["one"], Recipe(offset=0.1, duration=0.25)).frame
    np.testing.assert_array_equal(found, expected.T)


def test_half_precision(songs):
    full, half = (
        read(songs),
        FeatureStore(stream(dtype="float16"), "songs").read(songs, {name: name for name in songs}),
    )
    for name, array in half.items():
        assert array.read().dtype == np.float16
        np.testing.assert_array_equal(array.read(), full[name].astype(np.float16))


def test_a_value_beyond_half_precision_says_what_to_change(songs):
    with pytest.raises(InputError, match='Set dtype = "float32"'):
        read(songs, stream(gain=1e9, dtype="float16"))


def test_several_outputs_share_one_extraction(songs):
    assert_same(read(songs), computed(songs))
    assert calls[:3] == [("mean", "highest", "lowest")] * 3
    calls.clear()
    some = read(songs, stream(outputs=["lowest", "mean"]))
    assert calls == []
    for name, array in read(songs).items():
        np.testing.assert_array_equal(some[name], array[:, [3, 0, 1]])


def test_an_output_is_added_later(songs):
    read(songs, stream(outputs=["mean"]))
    calls.clear()
    assert_same(read(songs), computed(songs))
    assert len(calls) == 3 + 3
    calls.clear()
    read(songs, stream(outputs=["mean"]))
    read(songs, stream(outputs=["highest"]))
    assert calls == []


# Audio that is computed


@dataclass(frozen=True)
class Tone:
    hertz: float
    seconds: float = 1.0

    @property
    def identity(self):
        return f"{self.hertz} Hz, {self.seconds} s"

    def samples(self):
        time = np.arange(round(self.seconds * 22050)) / 22050
        return (0.5 * np.sin(2 * np.pi * self.hertz * time)).astype(np.float32), 22050


def test_audio_that_is_computed(tmp_path):
    tones = {"low": Tone(110), "high": Tone(1760)}
    found = read(tones)
    assert_same(found, computed(tones))
    assert found["low"].shape == (10, 4)
    calls.clear()
    read(tones)
    read({"high": Tone(1760)})
    assert calls == []
    read({"high": Tone(1760, seconds=2.0)})
    assert len(calls) == 1
    excerpt = read(tones, stream(excerpt=[0.2, 0.5]))
    np.testing.assert_allclose(excerpt["low"], found["low"][2:7], atol=0.05)


def test_an_excerpt_that_begins_after_the_end():
    with pytest.raises(InputError, match=r"110 Hz, 1\.0 s: the excerpt begins after the end"):
        read({"low": Tone(110)}, stream(excerpt=[1.5, 2.0]))


# Grids


def test_frames_have_the_extractors_own_steps(songs):
    clip = stream().compute(songs["one"])
    np.testing.assert_allclose(clip.edges, np.arange(6) / 10)
    samples = load(songs["one"], Recipe(sample_rate=Levels.sample_rate)).reshape(-1, WINDOW)
    np.testing.assert_array_equal(clip.values["highest"][:, 0], samples.max(axis=1))
    np.testing.assert_allclose(clip.peaks, np.abs(samples).max(axis=1))


@pytest.mark.parametrize("pool", ["mean", "median", "max", "min", "std", "mean-std"])
def test_segments_and_tracks_pool_the_extractors_steps(tmp_path, pool):
    song = write_song(tmp_path / "long.wav", seconds=2.2)
    frames = stream().compute(song).values["mean"].astype(np.float64)
    pooled = {
        "mean": lambda steps: steps.mean(axis=0),
        "median": lambda steps: np.median(steps, axis=0),
        "max": lambda steps: steps.max(axis=0),
        "min": lambda steps: steps.min(axis=0),
        "std": lambda steps: steps.std(axis=0),
        "mean-std": lambda steps: np.concatenate([steps.mean(axis=0), steps.std(axis=0)]),
    }[pool]
    segments = stream(grid="segment", segment=0.5, pool=pool)
    clip = segments.compute(song)
    np.testing.assert_allclose(clip.edges, [0, 0.5, 1, 1.5, 2.2])
    parts = (frames[:5], frames[5:10], frames[10:15], frames[15:])
    expected = np.stack([pooled(part) for part in parts])
    np.testing.assert_allclose(clip.values["mean"], expected, rtol=1e-5, atol=1e-6)
    assert segments.outputs["mean"] == clip.values["mean"].shape[1]
    whole = stream(grid="track", pool=pool).compute(song)
    np.testing.assert_allclose(whole.edges, [0, 2.2])
    np.testing.assert_allclose(whole.values["mean"], pooled(frames)[None], rtol=1e-5, atol=1e-6)


def test_beats_are_those_of_the_extractor(tmp_path):
    class Beats(Levels):
        def extract(self, samples, outputs):
            return Extraction(super().extract(samples, outputs).outputs, np.array([0.3, 0.8, 7.0]))

    song = write_song(tmp_path / "long.wav", seconds=1.5)
    clip = stream(Beats, grid="beat").compute(song)
    np.testing.assert_allclose(clip.edges, [0, 0.3, 0.8, 1.5])
    frames = stream().compute(song).values["mean"]
    parts = (frames[:3], frames[3:8], frames[8:])
    expected = [part.mean(axis=0) for part in parts]
    np.testing.assert_allclose(clip.values["mean"], expected, rtol=1e-5, atol=1e-6)


@pytest.mark.slow
def test_beats_are_tracked_by_the_core_if_the_extractor_does_not(tmp_path):
    song = write_song(tmp_path / "long.wav", seconds=6.0)
    expected = analyse(song)
    beats = expected.beat_frames / expected.recipe.frame_rate
    assert len(beats) > 5
    clip = stream(grid="beat").compute(song)
    np.testing.assert_allclose(clip.edges, np.unique([0, *beats, 6.0]))


def test_parts_of_a_clip_are_the_same_as_the_whole(songs):
    class InParts(Levels):
        def extract(self, samples, outputs):
            whole = super().extract(samples, outputs).outputs
            for begin, end in ((0, 2), (2, 3), (3, 5)):
                yield Extraction(
                    {
                        name: Output(output.values[begin:end], output.edges[begin : end + 1])
                        for name, output in whole.items()
                    }
                )

    for settings in ({}, {"grid": "segment", "segment": 0.2, "pool": "median"}, {"grid": "track"}):
        whole, parts = (stream(one, **settings).compute(songs["one"]) for one in (Levels, InParts))
        np.testing.assert_array_equal(whole.edges, parts.edges)
        for name, values in whole.values.items():
            np.testing.assert_allclose(parts.values[name], values, rtol=1e-6, atol=1e-7)


def test_outputs_on_two_time_grids_need_a_common_one(songs):
    class Mixed(Levels):
        def extract(self, samples, outputs):
            whole = dict(super().extract(samples, outputs).outputs)
            if "highest" in whole:
                whole["highest"] = Output.regular(whole["highest"].values[:2], 0.25)
            return Extraction(whole)

    with pytest.raises(InputError, match=r'\(mean 5, highest 2, lowest 5\).*grid = "segment"'):
        read(songs, stream(Mixed))
    assert read(songs, stream(Mixed, grid="track"))["one"].shape == (1, 4)


def test_what_an_extractor_finishes_is_finished_after_pooling(songs):
    class Decibels(Levels):
        def finish(self, values):
            return {name: array - array.max() for name, array in values.items()}

    one = stream(Decibels, grid="segment", segment=0.2, pool="max", outputs=["highest"])
    plain = stream(grid="segment", segment=0.2, pool="max", outputs=["highest"])
    expected = plain.compute(songs["one"]).values["highest"]
    np.testing.assert_array_equal(one.compute(songs["one"]).values["highest"], expected - expected.max())
    deviations = stream(Decibels, grid="track", pool="std", outputs=["highest"]).compute(songs["one"])
    frames = stream(outputs=["highest"]).compute(songs["one"]).values["highest"]
    np.testing.assert_allclose(deviations.values["highest"], [[frames.std()]], rtol=1e-5)


# Settings that do not fit


@pytest.mark.parametrize(
    ("settings", "problem"),
    [
        ({"outputs": ["means"]}, r"outputs: 'levels' has no output 'means'; did you mean 'mean'\?"),
        ({"combine": "weighted-sum"}, r'"weighted-sum" needs outputs of one size.*mean 2, highest 1'),
    ],
)
def test_settings_that_do_not_fit_the_outputs(settings, problem):
    with pytest.raises(InputError, match=problem):
        stream(**settings)


@pytest.mark.parametrize(
    ("settings", "problem"),
    [
        ({"excerpt": [-1.0, 3.0]}, "excerpt is .start, length. in seconds"),
        ({"excerpt": [0.0, 0.0]}, "excerpt is .start, length. in seconds"),
        ({"outputs": ["mean", "mean"]}, "outputs names 'mean' twice"),
        ({"segment": 0.0}, "greater than 0"),
    ],
)
def test_settings_that_are_wrong(settings, problem):
    with pytest.raises(ValueError, match=problem):
        FeatureSettings(**settings)


# Tracks


def tracks_of(songs: Mapping[str, Path]) -> list[Track]:
    return [Track(name, targets={"valence": 1.0}, audio=song) for name, song in songs.items()]


def test_tracks_get_their_features_and_keep_the_rest(songs, tmp_path):
    tracks = [replace(track, source="joined" if track.id == "one" else None) for track in tracks_of(songs)]
    found = with_features(tracks, [stream()], "alone")
    assert [replace(track, features=None) for track in found] == tracks
    for track in found:
        np.testing.assert_array_equal(track.features.read(), computed({"a": track.audio})["a"])
    assert {path.parent.name for path in (tmp_path / "cache").glob("*/*")} == {"joined", "alone"}


def test_a_joined_dataset_uses_the_features_that_it_has_alone(songs, monkeypatch):
    alone = with_features(tracks_of(songs), [stream()], "songs")

    def extract(*_):
        raise AssertionError("they are in the cache")

    monkeypatch.setattr(FeatureStore, "_extract", extract)
    joined = [replace(track, source="first") for track in tracks_of(songs)]
    for one, other in zip(with_features(joined, [stream()], {"first": "songs"}), alone, strict=True):
        assert np.array_equal(one.features.read(), other.features.read())


def test_several_streams_are_side_by_side(songs):
    streams = [stream(outputs=["highest"]), stream(gain=2.0, name="loud", outputs=["mean", "lowest"])]
    for track in with_features(tracks_of(songs), streams, "songs"):
        first, second = (computed({"a": track.audio}, one)["a"] for one in streams)
        assert track.features.shape == (5, 4)
        np.testing.assert_array_equal(track.features.read(), np.concatenate([first, second], axis=1))


class Longer(Levels):
    more = 2

    def extract(self, samples, outputs):
        return super().extract(np.concatenate([samples, np.zeros(self.more * WINDOW)]), outputs)


def test_frames_beyond_the_end_of_another_stream_are_cut_off(songs):
    (track,) = with_features(tracks_of({"one": songs["one"]}), [stream(), stream(Longer)], "songs")
    assert track.features.read().shape == track.features.shape == (5, 8)


def test_streams_with_other_time_steps_are_an_error(songs, monkeypatch):
    monkeypatch.setattr(Longer, "more", 3)
    with pytest.raises(
        InputError,
        match=r"track 'one': the streams have different .* \(levels 5, other 8\).*grid = \"segment\"",
    ):
        with_features(tracks_of(songs), [stream(), stream(Longer)], "songs")


def test_a_track_that_one_stream_cannot_analyze_is_left_out_of_all(songs):
    class Fussy(Levels):
        def extract(self, samples, outputs):
            if len(calls) == 3 + 1:
                calls.append(())
                raise InputError("it is too quiet")
            return super().extract(samples, outputs)

    streams = [stream(on_error="skip"), stream(Fussy, on_error="skip")]
    with warns(r"track 'Two': .*Two\.wav: it is too quiet"):
        found = with_features(tracks_of(songs), streams, "songs")
    assert [track.id for track in found] == ["one", "rock/3"]


def reader(**parameters) -> Stream:
    return Stream("arrays", parameters, partial(Arrays, **parameters))


def test_ready_made_features_are_kept(tmp_path):
    tracks = [
        Track("a", np.ones((3, 2))),
        Track("b", tmp_path / "b.npy"),
        Track("c", ArrayFile(tmp_path / "c.npy")),
    ]
    with warns("'levels': not used, because the dataset has ready-made arrays and no audio"):
        assert with_features(tracks, [stream()], "songs") == tracks
    assert with_features(tracks, [], "songs") == tracks


def test_arrays_are_found_in_their_files(tmp_path):
    np.savez(tmp_path / "a.npz", first=np.ones((3, 2)), second=np.zeros((3, 1)))
    np.savez(tmp_path / "b.npz", first=np.ones((5, 2)), second=np.zeros((5, 1)))
    tracks = [Track(name, tmp_path / f"{name}.npz") for name in "ab"]
    found = with_features(tracks, [reader(keys=["second", "first"])], "songs")
    assert [track.features.shape for track in found] == [(3, 3), (5, 3)]
    np.testing.assert_array_equal(found[0].features.read(), [[0, 1, 1]] * 3)
    (one, _) = with_features(tracks, [reader(keys=["first"])], "songs")
    assert one.features == ArrayFile(tmp_path / "a.npz", key="first")


def test_ready_made_arrays_are_a_stream_alone(songs, tmp_path):
    with pytest.raises(InputError, match="ready-made arrays cannot be combined with other streams"):
        with_features([Track("a", tmp_path / "a.npy")], [reader(), stream()], "songs")
    with pytest.raises(InputError, match="track 'one' has audio, and 'arrays' reads ready-made arrays"):
        with_features(tracks_of(songs), [reader()], "songs")


def test_an_extractor_that_fails_is_reported_with_its_line(songs, monkeypatch):
    monkeypatch.setattr(Levels, "extract", lambda self, samples, outputs: 1 / 0)
    path = next(iter(songs.values()))
    with pytest.raises(
        InputError, match=r"fails: ZeroDivisionError: division by zero \(test_store\.py:\d+\)"
    ) as caught:
        stream().compute(path)
    assert str(caught.value).startswith(f"{path}: the extractor ")
