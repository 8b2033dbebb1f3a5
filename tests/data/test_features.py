import gc
import mmap
from pathlib import Path

import numpy as np
import pytest

from musicemo.contracts import Track
from musicemo.data import Features, fit_scaling, normalize_rows
from musicemo.errors import InputError
from musicemo.features import map_array

ALL = slice(None)


class Bomb:
    """Unpickling it sets a flag: whoever loads it executes it."""

    exploded = False

    def __reduce__(self):
        return (setattr, (Bomb, "exploded", True))


def arrays(count: int = 4, rows: int = 6, dtype="float32") -> list[np.ndarray]:
    random = np.random.default_rng(0)
    return [random.normal(size=(3 + index, rows)).astype(dtype) for index in range(count)]


def in_memory(found: list) -> list[Track]:
    return [Track(f"t{index}", array, {}) for index, array in enumerate(found)]


@pytest.fixture
def on_disk(tmp_path):
    def save(found: list) -> list[Track]:
        tracks = []
        for index, array in enumerate(found):
            path = tmp_path / f"t{index}.npy"
            np.save(path, array)
            tracks.append(Track(f"t{index}", path, {}))
        return tracks

    return save


def said(track: Track, rows: slice = ALL, read: bool = False) -> str:
    good = Track("good", np.zeros((2, 6), "float32"), {})
    with pytest.raises(InputError) as caught:
        Features([good, track], rows).check(np.arange(2 if read else 0))
    return str(caught.value)


@pytest.mark.parametrize("dtype", ["float16", "float32", "float64", ">f4"])
@pytest.mark.parametrize("rows", [ALL, slice(0, 3), slice(2, 6), slice(4, None)])
def test_memory_and_disk_give_identical_arrays(on_disk, dtype, rows):
    found = arrays(dtype=dtype)
    scaling = fit_scaling(
        "standard", [array[:, rows].astype("float32") for array in found], found[0][:, rows].shape[1]
    )
    made = [
        Features(tracks, rows, cache)
        for tracks in (in_memory(found), on_disk(found))
        for cache in ("memory", "disk", "auto")
    ]
    for scaled in (False, True):
        for features in made:
            assert len(features) == 4
            assert features.size == found[0][:, rows].shape[1]
            assert features.lengths.tolist() == [3, 4, 5, 6]
            for index, array in enumerate(found):
                expected = array[:, rows].astype("float32")
                if scaled:
                    expected = scaling(expected)
                for _ in range(2):
                    assert features[index].dtype == np.float32
                    assert features[index].flags.c_contiguous
                    assert np.array_equal(features[index], expected)
        if not scaled:
            for features in made:
                features.scale(scaling)


def test_scaling_reaches_what_is_read_before_and_after(on_disk):
    found = arrays()
    scaling = fit_scaling("minmax", [found[0]], 6)
    features = Features(on_disk(found), ALL, "memory")
    before = features[0].copy()
    features.scale(scaling)
    assert np.array_equal(features[0], scaling(before))
    assert np.array_equal(features[1], scaling(found[1]))


def test_files_are_memory_mapped(on_disk, monkeypatch):
    opened = []

    def watch(path):
        opened.append(map_array(path))
        return opened[-1]

    monkeypatch.setattr("musicemo.features._arrays.map_array", watch)
    features = Features(on_disk(arrays()), slice(0, 2), "disk")
    assert not opened, "the headers are enough for the shapes"
    list(features.select([0, 1, 0]))
    assert len(opened) == 3
    assert not any(array.flags.writeable for array in opened)
    assert all(isinstance(array.base, mmap.mmap) for array in opened)
    assert features[0].flags.owndata


def test_no_file_stays_open(tmp_path):
    """A track of one frame could be used as it lies in the file."""
    if not Path("/proc/self/fd").exists():
        pytest.skip("this system does not tell which files are open")
    tracks = []
    for index in range(20):
        np.save(tmp_path / f"{index}.npy", np.ones((1, 3), np.float32))
        tracks.append(Track(str(index), tmp_path / f"{index}.npy", {}))
    before = len(list(Path("/proc/self/fd").iterdir()))
    features = Features(tracks, ALL, "memory")
    assert len(list(features.select(range(20)))) == 20
    assert len(list(Path("/proc/self/fd").iterdir())) <= before


def test_memory_is_read_once(on_disk, tmp_path):
    features = Features(on_disk(arrays()), ALL, "memory")
    features.check(np.arange(4))
    for path in tmp_path.iterdir():
        path.unlink()
    assert len(list(features.select(np.arange(4)))) == 4


def test_auto_keeps_in_memory_what_takes_half_of_the_free_memory(monkeypatch):
    needed = sum(array.size for array in arrays()) * 4
    for free, keeps in ((2 * needed, True), (2 * needed - 2, False)):
        monkeypatch.setattr("musicemo.data.features.free_memory", lambda free=free: free)
        features = Features(in_memory(arrays()), ALL)
        assert (features[0] is features[0]) == keeps


def test_no_tracks():
    features = Features([], ALL)
    assert (len(features), features.size) == (0, 0)


@pytest.mark.slow
def test_files_are_closed(on_disk, tmp_path):
    features = Features(on_disk(arrays()), ALL, "disk")
    features.check(np.arange(4))
    gc.collect()
    held = [str(path.resolve()) for path in Path("/proc/self/fd").iterdir() if path.exists()]
    assert not [name for name in held if name.startswith(str(tmp_path))]


# Errors.


@pytest.mark.parametrize(
    ("array", "found"),
    [
        (np.zeros(6, "float32"), "float32 [6]"),
        (np.zeros((1, 6, 2), "float32"), "float32 [1, 6, 2]"),
        (np.zeros((), "float32"), "float32 []"),
        (np.zeros((6, 2), "int64"), "int64 [6, 2]"),
        (np.zeros((6, 2), "complex64"), "complex64 [6, 2]"),
        (np.zeros((6, 2), "bool"), "bool [6, 2]"),
        (np.zeros((6, 2), "U3"), "<U3 [6, 2]"),
    ],
)
def test_shape_and_type(on_disk, array, found):
    expected = f"must be a floating-point array [time, feature], not {found}"
    assert said(Track("bad", array, {})) == f"track 'bad': {expected}"
    (track,) = on_disk([array])
    stored = expected.replace("feature", "rows")
    if array.ndim == 1:
        stored += '. For this shape, set layout = "vector"'
    assert said(track) == f"track 't0' ({track.features}): {stored}"


@pytest.mark.parametrize("features", [None, "a.npy", [[1.0]]])
def test_what_is_no_array(features):
    assert said(Track("bad", features, {})).startswith(
        "track 'bad': must be a floating-point array [time, feature]"
    )


def test_rows(on_disk):
    (track,) = on_disk([np.zeros((2, 12), "float32")])
    assert said(track).startswith(f"track 't0' ({track.features}): has 12 rows, but track 'good' has 6; ")
    found = said(Track("bad", np.zeros((2, 4)), {}), slice(0, 6))
    assert found == "track 'bad': has shape [2, 4], but needs rows 0 to 6 and at least one time step"
    assert "slice(8, None, None), but must select at least one row" in said(
        Track("bad", np.zeros((4, 2)), {}), slice(8, None)
    )


@pytest.mark.parametrize("shape", [(6, 0), (0, 3), (0, 0)])
def test_empty_arrays(on_disk, shape):
    array = np.zeros(shape, "float32")
    assert "but needs rows 0 to 6 and at least one time step" in said(Track("bad", array, {}))
    (track,) = on_disk([array])
    assert str(track.features) in said(track)


@pytest.mark.parametrize("value", [np.nan, np.inf, -np.inf])
@pytest.mark.parametrize("cache", ["memory", "disk"])
def test_values_that_are_not_finite_are_located(on_disk, value, cache):
    array = np.zeros((9, 140))
    array[4, 131] = value
    tracks = on_disk([np.zeros((2, 140)), array])
    features = Features(tracks, slice(128, 140), cache)
    features.check(np.array([0]))
    with pytest.raises(InputError) as caught:
        features[1]
    assert str(caught.value) == f"track 't1' ({tracks[1].features}): is {value} at row 131, frame 4"
    assert np.isfinite(Features(tracks, slice(0, 128), cache)[1]).all(), "rows that are not used are not read"


def test_what_float32_cannot_hold():
    assert said(Track("bad", np.full((3, 6), 1e39), {}), read=True) == "track 'bad': is 1e+39 at row 0, frame 0"


def test_a_missing_file(tmp_path):
    track = Track("bad", tmp_path / "none.npy", {})
    assert said(track) == f"track 'bad' ({tmp_path}/none.npy): there is no such file"


def test_a_folder(tmp_path):
    assert "cannot be read as a plain .npy array" in said(Track("bad", tmp_path, {}))


@pytest.mark.parametrize("kept", [0, 5, 60, 200])
def test_a_truncated_file(on_disk, kept):
    (track,) = on_disk([np.zeros((20, 6), "float32")])
    track.features.write_bytes(track.features.read_bytes()[:kept])
    assert said(track).startswith(f"track 't0' ({track.features}): cannot be read as a plain .npy array: ")


@pytest.mark.parametrize("content", [b"a,b\n1,2\n", b"\x80\x04\x95", b"PK\x03\x04" + b"\0" * 40])
def test_another_kind_of_file(tmp_path, content):
    path = tmp_path / "a.npy"
    path.write_bytes(content)
    assert "cannot be read as a plain .npy array" in said(Track("bad", path, {}))


def test_an_archive_of_arrays(tmp_path):
    np.savez(tmp_path / "a.npz", a=np.zeros((6, 2)))
    assert "cannot be read as a plain .npy array" in said(Track("bad", tmp_path / "a.npz", {}))


def test_pickled_arrays_are_refused(tmp_path):
    path = tmp_path / "a.npy"
    array = np.empty((6, 2), dtype=object)
    array[0, 0] = Bomb()
    np.save(path, array, allow_pickle=True)
    assert "cannot be read as a plain .npy array" in said(Track("bad", path, {}))
    (tmp_path / "b.npy").write_bytes(path.read_bytes()[128:])
    assert "cannot be read as a plain .npy array" in said(Track("bad", tmp_path / "b.npy", {}))
    assert not Bomb.exploded


def test_a_file_that_vanishes_or_shrinks_after_the_headers_were_read(on_disk):
    tracks = on_disk(arrays())
    features = Features(tracks, ALL, "disk")
    tracks[0].features.unlink()
    with pytest.raises(InputError, match=r"track 't0' .*there is no such file"):
        features[0]


@pytest.mark.parametrize(
    ("rows", "expected"),
    [
        (slice(0, 12), slice(0, 12)),
        (slice(None), slice(0, 140)),
        (slice(-12, None), slice(128, 140)),
        (slice(0, -12), slice(0, 128)),
        (slice(0, 140, 2), slice(0, 139, 2)),
        (slice(5, None, 3), slice(5, 138, 3)),
        (slice(np.int64(3), np.int64(7), 1), slice(3, 7)),
        (slice(None, 999), slice(0, 999)),
    ],
)
def test_rows_are_normalized(rows, expected):
    tracks = [Track(str(frames), np.zeros((frames, 140), "float32"), {}) for frames in (3, 4)]
    assert normalize_rows(rows, tracks) == expected
    assert normalize_rows(expected, tracks) == expected


@pytest.mark.parametrize(
    ("rows", "message"),
    [
        (slice(None, None, -1), "the step must be positive"),
        (slice(0, 3, 0), "the step must be positive"),
        (slice(0.0, 3.0), "must be a slice of whole numbers"),
        ([0, 2, 4], "must be a slice of whole numbers"),
        (slice(4, 2), "must select at least one row"),
        (slice(-141, None), "has 140 rows"),
    ],
)
def test_rows_that_cannot_be_used(rows, message):
    with pytest.raises(InputError, match=message):
        normalize_rows(rows, [Track("a", np.zeros((3, 140), "float32"), {})])


def of_shapes(*shapes: tuple[int, ...]) -> list[Track]:
    return [Track(f"t{index}", np.zeros(shape, "float32"), {}) for index, shape in enumerate(shapes)]


def test_arrays_that_lie_on_their_side():
    with pytest.raises(InputError, match=r"every array has 140 time steps and 1292 rows: they are transposed"):
        Features(of_shapes((140, 1292), (140, 1292)), slice(0, 128))
    with pytest.raises(
        InputError, match=r"has 31 rows, but track 't0' has 30; every array has 13 time steps, so"
    ):
        Features(of_shapes((13, 30), (13, 31)), ALL)
    with pytest.raises(InputError, match=r"has 200 rows, but track 't0' has 13$"):
        Features(of_shapes((90, 13), (13, 200), (80, 13)), slice(0, 12))
    for shapes in (((1, 768),) * 2, ((13, 30), (14, 30)), ((30, 140),) * 2, ((140, 140),) * 2, ((30, 13),) * 2):
        assert Features(of_shapes(*shapes), ALL).size == shapes[0][1]
