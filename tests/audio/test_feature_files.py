"""Feature files: what is written is read, and what is damaged is refused."""

import contextlib
import dataclasses
import hashlib
import json
import os

import numpy as np
import pytest
import signals
import soundfile

from musicemo.audio import (
    Recipe,
    Source,
    analyse_signal,
    describe,
    read_array,
    read_features,
    write_features,
)
from musicemo.errors import InputError, RunError

RECIPE = Recipe(duration=3.0)


@pytest.fixture(scope="module")
def analysis():
    return analyse_signal(signals.song(3.0), RECIPE)


@pytest.fixture
def song(tmp_path):
    path = tmp_path / "Äther – 雨.wav"
    soundfile.write(path, signals.song(3.0), signals.RATE)
    return path


@pytest.fixture
def file(tmp_path, analysis, song):
    path = tmp_path / "song.npz"
    write_features(path, analysis, song)
    return path


def rewrite(path, **changes):
    """Replace arrays of a feature file, or take them out."""
    with np.load(path) as stored:
        arrays = {**stored, **changes}
    np.savez(path, **{name: array for name, array in arrays.items() if array is not None})


def rewrite_meta(path, **changes):
    with np.load(path) as stored:
        meta = json.loads(str(stored["meta"]))
    rewrite(path, meta=np.array(json.dumps(meta | changes)))


def test_what_is_written_is_read(file, analysis, song):
    found = read_features(file)
    for name in ("frame", "beat", "beat_frames"):
        array = getattr(found, name)
        np.testing.assert_array_equal(array, getattr(analysis, name))
        assert array.dtype == getattr(analysis, name).dtype
        assert array.flags.c_contiguous
    assert found.info == describe(file)
    assert found.info.recipe == dataclasses.asdict(RECIPE)
    assert found.info.fingerprint == RECIPE.fingerprint
    status = song.stat()
    digest = hashlib.sha256(song.read_bytes()).hexdigest()
    assert found.info.source == Source(song.name, digest, status.st_size, status.st_mtime_ns)
    for sync in ("frame", "beat"):
        np.testing.assert_array_equal(read_array(file, sync), getattr(analysis, sync))


def test_numpy_reads_it_without_pickle(file, analysis):
    with np.load(file, allow_pickle=False) as stored:
        assert sorted(stored) == ["beat", "beat_frames", "frame", "meta"]
        assert json.loads(str(stored["meta"]))["fingerprint"] == RECIPE.fingerprint
        np.testing.assert_array_equal(stored["beat"], analysis.beat)


def test_it_is_the_same_bytes_each_time(file, analysis, song, tmp_path):
    again = tmp_path / "again.npz"
    write_features(again, analysis, song)
    assert again.read_bytes() == file.read_bytes()


def test_a_signal_has_no_source(tmp_path, analysis):
    write_features(tmp_path / "signal.npz", analysis, None)
    assert read_features(tmp_path / "signal.npz").info.source is None


def test_a_name_that_is_no_text(tmp_path, analysis):
    path = tmp_path / os.fsdecode(b"caf\xe9.wav")
    path.write_bytes(b"x")
    write_features(tmp_path / "song.npz", analysis, path)
    source = describe(tmp_path / "song.npz").source
    assert source is not None
    assert os.fsencode(source.name) == b"caf\xe9.wav"


@pytest.mark.parametrize("read", [describe, read_features, lambda path: read_array(path, "beat")])
def test_a_missing_file(tmp_path, read):
    with pytest.raises(InputError, match=r"none\.npz: there is no such file"):
        read(tmp_path / "none.npz")
    with pytest.raises(InputError, match="cannot be read: Is a directory"):
        read(tmp_path)


@pytest.mark.parametrize("part", [0.0, 0.001, 0.5, 0.99, 0.9999])
@pytest.mark.parametrize("read", [describe, read_features, lambda path: read_array(path, "beat")])
def test_a_file_that_was_cut_off(file, read, part):
    content = file.read_bytes()
    file.write_bytes(content[: int(part * len(content))])
    with pytest.raises(InputError, match=r"song\.npz: is damaged, or no feature file"):
        read(file)


def test_any_damaged_byte_is_found_or_harmless(file, analysis):
    """Beside the arrays themselves, a zip archive has fields that say the same twice."""
    content = bytearray(file.read_bytes())
    rng = np.random.default_rng(0)
    for place in rng.choice(len(content), 150, replace=False).tolist():
        content[place] ^= 0xFF
        file.write_bytes(content)
        content[place] ^= 0xFF
        with contextlib.suppress(InputError):
            found = read_features(file)
            np.testing.assert_array_equal(found.frame, analysis.frame)
            np.testing.assert_array_equal(found.beat, analysis.beat)


@pytest.mark.parametrize(
    ("changes", "said"),
    [
        ({"meta": None}, "is no feature file: it has no 'meta'"),
        ({"frame": None}, "is damaged, or no feature file.*frame"),
        ({"meta": np.array("{")}, "is damaged, or no feature file"),
        ({"meta": np.array("[1]")}, "is damaged, or no feature file"),
        ({"frame": np.zeros((140, 5))}, r"'frame' is float64 \[140, 5\], not float32 \[140, frames\]"),
        ({"beat": np.zeros((12, 5), np.float32)}, r"'beat' is float32 \[12, 5\]"),
        ({"beat": np.zeros((140, 0), np.float32)}, r"'beat' is float32 \[140, 0\]"),
        ({"frame": np.zeros(140, np.float32)}, r"'frame' is float32 \[140\]"),
        ({"beat_frames": np.zeros(3)}, "its arrays do not belong together"),
    ],
)
def test_files_of_other_contents(file, changes, said):
    rewrite(file, **changes)
    with pytest.raises(InputError, match=said):
        read_features(file)


@pytest.mark.parametrize(
    ("changes", "said"),
    [
        ({"format": 2}, "is a feature file of format 2, this version reads 1"),
        ({"recipe": {"bands": 3}}, "is damaged, or no feature file.*bands"),
        ({"recipe": {"mels": -3}}, "mels"),
        ({"source": {"name": "x"}}, "is damaged, or no feature file"),
    ],
)
def test_files_that_say_something_else(file, changes, said):
    rewrite_meta(file, **changes)
    with pytest.raises(InputError, match=said):
        describe(file)


def test_pickles_are_not_loaded(file):
    rewrite(file, frame=np.array([print], dtype=object))
    with pytest.raises(InputError, match="is damaged, or no feature file"):
        read_features(file)


def test_a_folder_that_is_not_there(tmp_path, analysis):
    with pytest.raises(RunError, match="cannot be written: No such file"):
        write_features(tmp_path / "nowhere" / "song.npz", analysis, None)


def test_a_source_that_is_not_there(tmp_path, analysis):
    with pytest.raises(FileNotFoundError):
        write_features(tmp_path / "song.npz", analysis, tmp_path / "none.wav")
    assert not list(tmp_path.iterdir())
