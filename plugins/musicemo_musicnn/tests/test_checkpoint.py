"""The reader of TensorFlow's checkpoints, on files that are written here."""

from __future__ import annotations

import struct
from pathlib import Path

import numpy as np
import pytest
from musicemo_musicnn.checkpoint import read_checkpoint
from musicemo_musicnn.weights import content_hash, load_weights

from musicemo.errors import InputError

VARIABLES = {
    "conv2d/bias": np.arange(3, dtype=np.float32),
    "conv2d/kernel": np.linspace(-1, 1, 2 * 130, dtype=np.float32).reshape(2, 130, 1),
    "conv2d/kernel/Adam": np.ones((2, 130, 1), np.float32),
    "beta1_power": np.float32(0.9).reshape(()),
}


def crc(content: bytes) -> bytes:
    """Return the masked CRC-32C, computed bit by bit."""
    value = 0xFFFFFFFF
    for byte in content:
        value ^= byte
        for _ in range(8):
            value = value >> 1 ^ (0x82F63B78 if value & 1 else 0)
    value ^= 0xFFFFFFFF
    return struct.pack("<I", ((value >> 15 | value << 17) + 0xA282EAD8) & 0xFFFFFFFF)


def varint(number: int) -> bytes:
    low, rest = number & 127, number >> 7
    return bytes([low | 128]) + varint(rest) if rest else bytes([low])


def field(number: int, value: int | bytes) -> bytes:
    if isinstance(value, int):
        return varint(number << 3) + varint(value)
    return varint(number << 3 | 2) + varint(len(value)) + value


def block(entries: list[tuple[bytes, bytes]]) -> bytes:
    """Write a block whose keys share the beginning with the key before."""
    content, last = b"", b""
    for key, value in entries:
        shared = next(
            (i for i, (a, b) in enumerate(zip(last, key, strict=False)) if a != b), min(len(last), len(key))
        )
        content += varint(shared) + varint(len(key) - shared) + varint(len(value)) + key[shared:] + value
        last = key
    return content + struct.pack("<II", 0, 1)


def write_checkpoint(folder: Path, compression: int = 0) -> None:
    data, entries = b"", [(b"", field(1, 1))]
    for name, values in sorted(VARIABLES.items()):
        part = values.tobytes()
        shape = b"".join(field(2, field(1, size)) for size in values.shape)
        entry = field(1, 1) + field(2, shape) + (field(4, len(data)) if data else b"") + field(5, len(part))
        entries.append((name.encode(), entry + varint(6 << 3 | 5) + crc(part)))
        data += part
    entries.append((b"global_step", field(1, 9) + field(5, 8)))
    index = b""

    def add(entries: list[tuple[bytes, bytes]]) -> bytes:
        nonlocal index
        content = block(entries)
        handle = varint(len(index)) + varint(len(content))
        index += content + bytes([compression]) + crc(content + bytes([compression]))
        return handle

    handles = [(part[-1][0], add(part)) for part in (entries[:2], entries[2:])]
    meta = add([])
    footer = meta + add(handles)
    index += footer.ljust(40, b"\0") + struct.pack("<Q", 0xDB4775248B80FB57)
    (folder / ".index").write_bytes(index)
    (folder / ".data-00000-of-00001").write_bytes(data)


def test_variables_are_read_by_name_and_shape(tmp_path):
    write_checkpoint(tmp_path)
    variables = read_checkpoint(tmp_path)
    assert set(variables) == set(VARIABLES)
    for name, values in VARIABLES.items():
        assert variables[name].dtype == np.float32
        np.testing.assert_array_equal(variables[name], values)
        assert variables[name].shape == values.shape


def test_weights_are_without_those_of_the_optimizer(tmp_path):
    write_checkpoint(tmp_path)
    assert set(load_weights(tmp_path)) == {"conv2d/bias", "conv2d/kernel"}


def test_a_damaged_variable_is_named(tmp_path):
    write_checkpoint(tmp_path)
    data = tmp_path / ".data-00000-of-00001"
    content = bytearray(data.read_bytes())
    content[8] ^= 1
    data.write_bytes(content)
    with pytest.raises(InputError, match="conv2d/bias is damaged"):
        read_checkpoint(tmp_path)


@pytest.mark.slow
def test_a_damaged_index_is_an_error_wherever_the_damage_is(tmp_path):
    write_checkpoint(tmp_path)
    index = tmp_path / ".index"
    content = index.read_bytes()
    for place in range(len(content)):
        damaged = bytearray(content)
        damaged[place] ^= 0x55
        index.write_bytes(damaged)
        try:
            variables = read_checkpoint(tmp_path)
        except InputError as error:
            assert ".index" in str(error)  # noqa: PT017  # some bytes are read by nobody
        else:
            assert set(variables) == set(VARIABLES)
        index.write_bytes(content[:place])
        with pytest.raises(InputError, match=r"\.index: not a TensorFlow checkpoint"):
            read_checkpoint(tmp_path)


def test_a_compressed_index_is_an_error(tmp_path):
    write_checkpoint(tmp_path, compression=1)
    with pytest.raises(InputError, match="not a TensorFlow checkpoint"):
        read_checkpoint(tmp_path)


def test_a_missing_file_is_an_error(tmp_path):
    with pytest.raises(InputError, match=r"\.index: no such file"):
        load_weights(tmp_path)
    with pytest.raises(InputError, match="no such file or folder"):
        load_weights(tmp_path / "absent")


def test_a_file_that_would_be_unpickled_is_refused(tmp_path):
    np.savez(tmp_path / "pickled.npz", a=np.array([{}], dtype=object))
    with pytest.raises(InputError, match="not a file of weights"):
        load_weights(tmp_path / "pickled.npz")
    (tmp_path / "text.npz").write_text("weights")
    with pytest.raises(InputError, match="not a file of weights"):
        load_weights(tmp_path / "text.npz")


def test_the_hash_depends_on_names_shapes_and_values():
    one = {"a": np.zeros((2, 3), np.float32)}
    others = ({"b": one["a"]}, {"a": one["a"].T}, {"a": one["a"] + 1})
    assert len({content_hash(weights) for weights in (one, *others)}) == 4
