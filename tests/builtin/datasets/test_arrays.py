from pathlib import Path

import numpy as np
import pytest
from musicemo_builtin.datasets._arrays import array_shape

from musicemo.errors import InputError


@pytest.mark.parametrize("dtype", ["float16", "float32", "float64", ">f4"])
def test_shape(tmp_path, dtype):
    np.save(tmp_path / "a.npy", np.zeros((140, 7), dtype))
    assert array_shape(tmp_path / "a.npy", 140) == (140, 7)


def test_fortran_order_and_any_rows(tmp_path):
    np.save(tmp_path / "a.npy", np.asfortranarray(np.zeros((13, 7), "float32")))
    assert array_shape(tmp_path / "a.npy") == (13, 7)


@pytest.mark.parametrize(
    ("content", "message"),
    [
        (np.zeros((7, 140), "float32"), r"shape \[7, 140\], expected \[140, frames\]; it looks transposed"),
        (np.zeros((128, 7), "float32"), r"shape \[128, 7\], expected \[140, frames\]"),
        (np.zeros(140, "float32"), r"shape \[140\], expected \[140, frames\]"),
        (np.zeros((1, 140, 7), "float32"), r"shape \[1, 140, 7\]"),
        (np.zeros((140, 0), "float32"), r"is empty"),
        (np.zeros((140, 7), "int64"), r"type int64, expected floating-point"),
        (np.zeros((140, 7), "complex64"), r"type complex64, expected floating-point"),
    ],
)
def test_wrong_arrays(tmp_path, content, message):
    path = tmp_path / "a.npy"
    np.save(path, content)
    with pytest.raises(InputError, match=message) as caught:
        array_shape(path, 140)
    assert str(path) in str(caught.value)


def test_pickled_arrays_are_refused_without_being_loaded(tmp_path):
    class Trap:
        def __reduce__(self):
            return Path.touch, (tmp_path / "sprung",)

    np.save(tmp_path / "a.npy", np.array([[Trap()]], dtype=object), allow_pickle=True)
    with pytest.raises(InputError, match="pickled"):
        array_shape(tmp_path / "a.npy")
    assert not (tmp_path / "sprung").exists()


@pytest.mark.parametrize(
    "content", [b"", b"\x93NUM", b"PK\x03\x04 an archive", b"\x93NUMPY\x01\x00\x10\x00{'descr': "]
)
def test_files_that_are_no_arrays(tmp_path, content):
    (tmp_path / "a.npy").write_bytes(content)
    with pytest.raises(InputError, match=r"a\.npy: not a readable \.npy file"):
        array_shape(tmp_path / "a.npy")


def test_truncated_array(tmp_path):
    path = tmp_path / "a.npy"
    np.save(path, np.zeros((140, 7), "float32"))
    path.write_bytes(path.read_bytes()[:-1])
    with pytest.raises(InputError, match="is truncated: 3919 of 3920 bytes"):
        array_shape(path, 140)


def test_missing_file_and_folder(tmp_path):
    with pytest.raises(InputError, match="no such file"):
        array_shape(tmp_path / "a.npy")
    with pytest.raises(InputError, match="cannot be read"):
        array_shape(tmp_path)


def test_bytes_behind_the_array(tmp_path):
    path = tmp_path / "a.npy"
    with path.open("wb") as file:
        for _ in range(2):
            np.save(file, np.zeros((140, 7), "float32"))
    with pytest.raises(InputError, match=r"a\.npy: 4048 bytes follow its array; the file must hold one array"):
        array_shape(path, 140)
