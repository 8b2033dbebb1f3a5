"""Headers and arrays of `.npy` files, compared with numpy's own reader."""

import io
import os

import numpy as np
import pytest

from musicemo.features import array_header, map_array

ARRAYS = [
    np.arange(12, dtype="<f4").reshape(3, 4),
    np.asfortranarray(np.arange(12, dtype="<f8").reshape(3, 4)),
    np.arange(12, dtype=">f2").reshape(2, 6),
    np.zeros((3, 0), np.float32),
    np.array(1.5),
    np.arange(5),
    np.array(["text", "and more"]),
    np.array([True, False]),
    np.array([(1, 2.0)], dtype=[("a", "<i4"), ("b", "<f8")]),
    np.array([np.datetime64("2020-01-01")]),
    np.zeros((1,) * 30, np.float32),
]


@pytest.mark.parametrize("array", ARRAYS, ids=lambda array: f"{array.dtype}{list(array.shape)}"[:30])
@pytest.mark.parametrize("version", [(1, 0), (2, 0)])
def test_it_reads_what_numpy_writes(tmp_path, array, version):
    path = tmp_path / "array.npy"
    with path.open("wb") as file:
        np.lib.format.write_array(file, array, version)
    header, stored = array_header(path)
    assert (header.dtype, header.shape) == (array.dtype, array.shape)
    assert stored == header.nbytes == array.nbytes
    mapped = map_array(path)
    np.testing.assert_array_equal(mapped, array)
    assert not mapped.flags.writeable


@pytest.mark.parametrize(
    "text",
    [
        "{'shape': (2L, 3L), 'fortran_order': False, 'descr': '<f4'}",  # Python 2
        '{"descr": "<f4", "fortran_order": false, "shape": [2, 3]}',
        "{'descr': '<f4', 'fortran_order': False, 'shape': (2, 3)}     \n",
    ],
)
def test_what_other_programs_write(tmp_path, text):
    values = np.arange(6, dtype="<f4").reshape(2, 3)
    content = b"\x93NUMPY\x01\x00" + len(text).to_bytes(2, "little") + text.encode() + values.tobytes()
    (tmp_path / "x.npy").write_bytes(content)
    if "false" in text:  # JSON, which numpy refuses, too
        with pytest.raises(ValueError, match="is not as numpy writes it"):
            map_array(tmp_path / "x.npy")
        return
    np.testing.assert_array_equal(map_array(tmp_path / "x.npy"), values)


def test_damage_is_a_value_error(tmp_path):
    """Of every kind; what numpy reads, too, has the values that numpy reads."""
    path = tmp_path / "x.npy"
    file = io.BytesIO()
    np.save(file, np.arange(60, dtype=np.float32).reshape(3, 20))
    content = file.getvalue()
    rng = np.random.default_rng(0)
    for place, bit in rng.integers(0, (128, 8), (400, 2)).tolist():
        damaged = bytearray(content)
        damaged[place] ^= 1 << bit
        path.write_bytes(damaged)
        try:
            array = map_array(path)
        except ValueError:
            continue
        assert array.nbytes <= len(content)
    for size in range(0, len(content), 7):
        path.write_bytes(content[:size])
        with pytest.raises(ValueError, match=r"header|is cut off"):
            map_array(path)


@pytest.mark.parametrize(
    "shape", ["(1000000000000, 140)", "(-2, -3)", "(2,)" * 3, "(99999999999999999999, 1)", "6", "(6)"]
)
def test_shapes_that_no_array_has(tmp_path, shape):
    text = f"{{'descr': '<f4', 'fortran_order': False, 'shape': {shape}, }}\n"
    content = b"\x93NUMPY\x01\x00" + len(text).to_bytes(2, "little") + text.encode() + bytes(24)
    (tmp_path / "x.npy").write_bytes(content)
    with pytest.raises(ValueError, match=r"header|cut off"):
        map_array(tmp_path / "x.npy")


def test_pickles_are_not_loaded(tmp_path):
    np.save(tmp_path / "x.npy", np.array([print], dtype=object), allow_pickle=True)
    assert array_header(tmp_path / "x.npy")[0].dtype.hasobject
    with pytest.raises(ValueError, match="holds Python objects"):
        map_array(tmp_path / "x.npy")


def test_places_without_an_array(tmp_path):
    with pytest.raises(FileNotFoundError):
        array_header(tmp_path / "none.npy")
    with pytest.raises(IsADirectoryError):
        array_header(tmp_path)
    if hasattr(os, "mkfifo"):
        os.mkfifo(tmp_path / "pipe.npy")
        with pytest.raises(ValueError, match="not a regular file"):
            map_array(tmp_path / "pipe.npy")
