"""Feature files: what is written is read, and what is damaged is refused."""

import dataclasses
import hashlib
import json
import os
import shutil
import tracemalloc
import zipfile
from pathlib import Path

import numpy as np
import pytest
import signals
import soundfile

from musicemo.errors import InputError, RunError
from musicemo.features import (
    Recipe,
    Source,
    analyse_signal,
    check_features,
    describe,
    read_array,
    read_features,
    write_features,
)

RECIPE = Recipe(duration=3.0)


@pytest.fixture(scope="module")
def analysis():
    return analyse_signal(signals.song(3.0), RECIPE)


@pytest.fixture
def song(tmp_path):
    path = tmp_path / os.fsdecode("Äther – 雨.wav".encode())
    with path.open("wb") as stream:
        soundfile.write(stream, signals.song(3.0), signals.RATE, format="WAV")
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
    place = os.path.realpath(song)
    times = status.st_mtime_ns, status.st_ctime_ns
    assert found.info.source == Source(song.name, digest, status.st_size, *times, place)
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
    with pytest.raises(InputError, match=r"song\.npz: is damaged, or not a feature file"):
        read(file)


def read_whatever(path):
    """Return the arrays and the description, or None for a file that is refused; nothing else may happen."""
    stored = []
    for read in (describe, check_features, read_features, lambda path: read_array(path, "beat")):
        try:
            stored.append(read(path))
        except InputError:
            stored.append(None)
    info, checked, features, beat = stored
    assert (checked is None) == (features is None), "the check and the reader disagree"
    if features is not None:
        assert info == checked == features.info
        np.testing.assert_array_equal(features.beat, beat)
    return features


@pytest.mark.slow
def test_damage_of_any_kind_is_found_or_harmless(file, analysis):
    """Beside the arrays themselves, a zip archive has fields that say the same twice."""
    content = file.read_bytes()
    rng = np.random.default_rng(0)
    begins = [content.find(b"PK\x03\x04", place) for place in range(0, len(content), len(content) // 8)]
    directory = content.rfind(b"PK\x01\x02", 0, content.rfind(b"beat.npy"))
    sizes = len(content) - directory
    bits = [(int(place), int(bit)) for place, bit in rng.integers(0, (len(content), 8), (100, 2))]
    bits += [(directory + int(place), int(bit)) for place, bit in rng.integers(0, (sizes, 8), (150, 2))]
    bits += [
        (begin + int(place), int(bit)) for begin in begins for place, bit in rng.integers(0, (160, 8), (20, 2))
    ]
    for place, bit in bits:
        damaged = bytearray(content)
        damaged[place % len(content)] ^= 1 << bit
        file.write_bytes(damaged)
        if (stored := read_whatever(file)) is not None:
            np.testing.assert_array_equal(stored.frame, analysis.frame)
            np.testing.assert_array_equal(stored.beat, analysis.beat)
            np.testing.assert_array_equal(stored.beat_frames, analysis.beat_frames)
    for size in rng.integers(0, len(content), 40).tolist():
        file.write_bytes(content[:size])
        assert read_whatever(file) is None


def npy(header, values=b""):
    text = header.encode()
    return b"\x93NUMPY\x01\x00" + len(text).to_bytes(2, "little") + text + values


def header(descr="'<f4'", shape="(140, 5)"):
    return f"{{'descr': {descr}, 'fortran_order': False, 'shape': {shape}, }}\n"


VALUES = bytes(140 * 5 * 4)


@pytest.mark.parametrize(
    ("name", "content"),
    [
        ("frame", npy(header(shape="(140, 1000000000000)"), VALUES)),
        ("frame", npy(header(shape="(140, 99999999999999999999)"), VALUES)),
        ("frame", npy(header(shape="(-140, -5)"), VALUES)),
        ("frame", npy(header(shape="(140, 5" + ", 1" * 80 + ")"), VALUES)),
        ("frame", npy(header(descr="'<U1000000000'"), VALUES)),
        ("frame", npy(header(descr="'<f400000000'"), VALUES)),
        ("frame", npy(header(descr="'|O'"), VALUES)),
        ("frame", npy(header(descr="[('a', '<f4')]"), VALUES)),
        ("frame", npy("(" * 9000, VALUES)),
        ("frame", npy("-" * 9000 + "1", VALUES)),
        ("frame", npy(header(), VALUES + b"more")),
        ("frame", npy(header(), VALUES[:-4])),
        ("frame", b"\x93NUMPY\x02\x00\xff\xff\xff\xff" + VALUES),
        ("beat_frames", npy(header("'<i8'", "(0, 5)"))),
        ("beat_frames", npy(header("'<i8'", "()"), bytes(8))),
        ("meta", npy(header("'<U1000000000'", "()"))),
        ("meta", npy(header("'<U0'", "()"))),
        ("meta", npy(header("'<U1'", "()"), b"\xff\xff\xff\xff")),
        ("meta", npy(header("'<i8'", "()"), bytes(8))),
    ],
)
def test_arrays_that_numpy_would_not_write(file, name, content):
    with zipfile.ZipFile(file) as archive:
        stored = {entry: archive.read(entry) for entry in archive.namelist()}
    with zipfile.ZipFile(file, "w") as archive:
        for entry, old in stored.items():
            archive.writestr(entry, content if entry == f"{name}.npy" else old)
    assert read_whatever(file) is None
    with pytest.raises(InputError, match="is damaged"):
        read_features(file)


@pytest.mark.parametrize(
    "meta",
    ["[" * 100_000, '{"a":' * 100_000, "null", "3", '"text"', "{}", '{"format": 1}', '{"format": []}', "NaN"]
    + [
        json.dumps({"format": 1, "recipe": {}, "fingerprint": "x", "source": None} | changes)
        for changes in (
            {"recipe": []},
            {"recipe": None},
            {"recipe": {"mels": "128"}},
            {"recipe": {"offset": []}},
            {"recipe": {"mels": 10**400}},
            {"fingerprint": 3},
            {"source": []},
            {"source": {"name": 1, "sha256": "", "size": 1, "modified_ns": 1}},
            {"source": {"name": "", "sha256": "", "size": True, "modified_ns": 1}},
            {"source": {"name": "", "sha256": "", "size": 1, "modified_ns": 1, "more": 1}},
        )
    ],
)
def test_descriptions_of_another_shape(file, meta):
    rewrite(file, meta=np.array(meta))
    assert read_whatever(file) is None


def test_compressed_arrays_are_not_expanded(file, tmp_path):
    """A few megabytes of zeros can stand for gigabytes."""
    with np.load(file) as stored:
        np.savez_compressed(tmp_path / "bomb.npz", **{**stored, "frame": np.zeros((140, 50_000), np.float32)})
    assert (tmp_path / "bomb.npz").stat().st_size < 100_000
    tracemalloc.start()
    for read in (describe, check_features, read_features):
        with pytest.raises(InputError, match=r"is damaged, or not a feature file: .* is compressed"):
            read(tmp_path / "bomb.npz")
    most = tracemalloc.get_traced_memory()[1]
    tracemalloc.stop()
    assert most < 5e6


def test_an_encrypted_entry(file):
    content = bytearray(file.read_bytes())
    place = content.rfind(b"PK\x01\x02", 0, content.rfind(b"meta.npy"))
    content[place + 8] |= 1
    file.write_bytes(content)
    with pytest.raises(InputError, match="'meta' is compressed or encrypted"):
        read_features(file)


@pytest.mark.skipif(not hasattr(os, "mkfifo"), reason="this system has no pipes with names")
def test_a_pipe_does_not_keep_the_reader_waiting(tmp_path):
    os.mkfifo(tmp_path / "song.npz")
    with pytest.raises(InputError, match=r"song\.npz: .*it is not a regular file"):
        describe(tmp_path / "song.npz")


def test_a_file_of_an_earlier_version_is_read(file):
    with np.load(file) as stored:
        meta = json.loads(str(stored["meta"]))
    for name in ("path", "changed_ns"):
        del meta["source"][name]
    rewrite(file, meta=np.array(json.dumps(meta)))
    assert describe(file).source.path == ""


def test_a_song_is_recognised_by_path_size_and_times_or_by_its_content(song, tmp_path):
    source = Source.of(song)
    assert source.is_at(song)
    link = tmp_path / "link"
    link.symlink_to(tmp_path)
    assert source.is_at(link / song.name)
    times = song.stat().st_atime_ns, song.stat().st_mtime_ns

    copy = Path(shutil.copy2(song, tmp_path / "copy.wav"))
    assert (copy.stat().st_size, copy.stat().st_mtime_ns) == (source.size, source.modified_ns)
    assert not source.is_at(copy)
    assert source.renewed(copy) == Source.of(copy)

    content = bytearray(song.read_bytes())
    content[-1] ^= 1
    for path in (copy, song):  # the same size and time of change; at `song` even the same file
        path.write_bytes(content)
        os.utime(path, ns=times)
        assert not source.is_at(path)
        assert source.renewed(path) is None

    link.unlink()
    (tmp_path / "other").mkdir()
    link.symlink_to("other")
    with pytest.raises(FileNotFoundError):
        source.is_at(link / song.name)


@pytest.mark.parametrize(
    ("changes", "said"),
    [
        ({"meta": None}, "is not a feature file: it has no 'meta'"),
        ({"frame": None}, "is damaged, or not a feature file.*frame"),
        ({"meta": np.array("{")}, "is damaged, or not a feature file"),
        ({"meta": np.array("[1]")}, "is damaged, or not a feature file"),
        ({"frame": np.zeros((140, 5))}, r"'frame' is float64 \[140, 5\], not float32 \[140, frames\]"),
        ({"beat": np.zeros((12, 5), np.float32)}, r"'beat' is float32 \[12, 5\]"),
        ({"beat": np.zeros((140, 0), np.float32)}, r"'beat' is float32 \[140, 0\]"),
        ({"frame": np.zeros(140, np.float32)}, r"'frame' is float32 \[140\]"),
        ({"beat_frames": np.zeros(3)}, r"'beat_frames' is float64 \[3\], not int64 \[beats\]"),
    ],
)
def test_files_of_other_contents(file, changes, said):
    rewrite(file, **changes)
    with pytest.raises(InputError, match=said):
        read_features(file)


@pytest.mark.parametrize(
    ("changes", "said"),
    [
        ({"format": 3}, "is a feature file of format 3, this version reads 1 and 2"),
        ({"recipe": {"bands": 3}}, "is damaged, or not a feature file.*bands"),
        ({"recipe": {"mels": -3}}, "mels"),
        ({"source": {"name": "x"}}, "is damaged, or not a feature file"),
    ],
)
def test_files_that_say_something_else(file, changes, said):
    rewrite_meta(file, **changes)
    with pytest.raises(InputError, match=said):
        describe(file)


def test_pickles_are_not_loaded(file):
    rewrite(file, frame=np.array([print], dtype=object))
    with pytest.raises(InputError, match="is damaged: 'frame' is object"):
        read_features(file)


def test_a_folder_that_is_not_there(tmp_path, analysis):
    with pytest.raises(RunError, match="cannot be written: No such file"):
        write_features(tmp_path / "nowhere" / "song.npz", analysis, None)


def test_a_source_that_is_not_there(tmp_path, analysis):
    with pytest.raises(FileNotFoundError):
        write_features(tmp_path / "song.npz", analysis, tmp_path / "none.wav")
    assert not list(tmp_path.iterdir())
