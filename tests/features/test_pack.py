"""Packs: views of the same values, refused when damaged."""

import os
import pickle
import struct
import subprocess
import sys
import zlib
from pathlib import Path

import numpy as np
import pytest

from musicemo.errors import InputError, RunError
from musicemo.features import Pack
from musicemo.features._pack import _HEADER, _VALUES


def make(count=7, rows=5, seed=0):
    rng = np.random.default_rng(seed)
    return {
        f"genre/{index}": rng.standard_normal((rows, int(rng.integers(1, 40))), dtype=np.float32)
        for index in range(count)
    }


@pytest.fixture
def arrays():
    return make()


@pytest.fixture
def pack(tmp_path, arrays):
    return Pack.build(tmp_path / "features.pack", arrays.items())


def test_what_is_packed_is_found(pack, arrays):
    assert pack.names == tuple(pack) == tuple(arrays)
    assert len(pack) == len(arrays)
    assert pack.rows == 5
    assert "genre/3" in pack
    assert "genre/9" not in pack
    for name in reversed(arrays):
        assert pack[name].dtype == np.float32
        np.testing.assert_array_equal(pack[name], arrays[name])
        assert pack.frames(name) == arrays[name].shape[1]
    assert repr(pack).endswith("features.pack': 7 tracks of 5 rows)")
    with pytest.raises(KeyError, match="genre/9"):
        pack["genre/9"]


def test_pages_are_given_back_and_mapped_again(pack, arrays, monkeypatch):
    monkeypatch.setattr("musicemo.features._pack._MAPPED", 100)
    views = {name: pack[name] for name in (*arrays, *arrays)}
    for name, view in views.items():
        np.testing.assert_array_equal(view, arrays[name])


def test_an_array_is_a_view_that_a_network_can_take(pack):
    array = pack["genre/1"]
    assert not array.flags.owndata
    assert not array.flags.writeable
    assert array.T.flags.c_contiguous
    assert array.__array_interface__["data"][0] % 64 == 0
    again = pack["genre/1"]
    assert np.shares_memory(array, again)
    kept = array.copy()
    del pack, again
    np.testing.assert_array_equal(array, kept)


def test_other_types_and_orders_become_float32(tmp_path):
    values = np.arange(12.0).reshape(3, 4)
    given = {"double": values, "fortran": np.asfortranarray(values, np.float32), "part": values[:, ::2]}
    pack = Pack.build(tmp_path / "p", given.items())
    for name, array in given.items():
        np.testing.assert_array_equal(pack[name], array)
        assert pack[name].dtype == np.float32


def test_names_may_be_anything(tmp_path):
    names = ["", "a" * 5000, "雨/é", os.fsdecode(b"caf\xe9"), "line\nbreak"]
    pack = Pack.build(tmp_path / "p", ((name, np.full((1, 2), i)) for i, name in enumerate(names)))
    assert list(pack) == names
    assert [pack[name][0, 0] for name in names] == [0, 1, 2, 3, 4]


def test_a_pickled_pack_opens_the_file_again(pack, arrays, monkeypatch, tmp_path):
    monkeypatch.chdir(tmp_path)
    pickled = pickle.dumps(Pack("features.pack"))
    assert len(pickled) < 500
    monkeypatch.chdir("/")
    again = pickle.loads(pickled)  # noqa: S301  # made above
    np.testing.assert_array_equal(again["genre/2"], arrays["genre/2"])


def test_one_open_file_and_no_values_read(pack):
    if not Path("/proc/self/fd").exists():
        pytest.skip("this system does not tell which files are open")
    links = Path("/proc/self/fd").iterdir()
    files = [link for link in links if link.exists() and link.resolve() == pack.path]
    views = [pack[name] for name in pack]
    assert len(views) == 7
    assert len(files) == 1


def test_a_pack_may_be_replaced_while_it_is_read(pack, arrays):
    before = pack["genre/0"]
    other = make(seed=1)
    Pack.build(pack.path, other.items())
    np.testing.assert_array_equal(before, arrays["genre/0"])
    np.testing.assert_array_equal(Pack(pack.path)["genre/0"], other["genre/0"])


@pytest.mark.slow
def test_building_takes_arrays_one_by_one(tmp_path):
    code = """if True:
        import resource, sys
        import numpy as np
        from musicemo.features import Pack
        before = resource.getrusage(resource.RUSAGE_SELF).ru_maxrss
        items = ((str(i), np.full((140, 7000), i, np.float32)) for i in range(60))  # 235 MB
        Pack.build(sys.argv[1], items)
        print((resource.getrusage(resource.RUSAGE_SELF).ru_maxrss - before) * 1024)
    """
    command = [sys.executable, "-c", code, str(tmp_path / "p")]
    done = subprocess.run(command, capture_output=True, text=True, check=True)
    assert int(done.stdout) < 50e6


@pytest.mark.parametrize(
    ("items", "said"),
    [
        ([], "there is no track to be packed"),
        ([("a", np.ones((2, 3))), ("a", np.ones((2, 3)))], "'a' is to be packed twice"),
        ([("a", np.ones((2, 3))), ("b", np.ones((3, 3)))], r"'b' has .*\[3, 3\], and \[2, frames\] is needed"),
        ([("a", np.ones(3))], r"'a' has features of shape \[3\]"),
        ([("a", np.ones((2, 0)))], r"'a' has features of shape \[2, 0\]"),
    ],
)
def test_what_cannot_be_packed(tmp_path, items, said):
    with pytest.raises(InputError, match=said):
        Pack.build(tmp_path / "p", items)
    assert not list(tmp_path.iterdir())


def test_building_that_fails_leaves_the_pack_as_it_was(pack, arrays):
    def items():
        yield "a", np.ones((5, 2))
        raise KeyboardInterrupt

    with pytest.raises(KeyboardInterrupt):
        Pack.build(pack.path, items())
    assert [path.name for path in pack.path.parent.iterdir()] == ["features.pack"]
    assert len(Pack(pack.path)) == len(arrays)
    with pytest.raises(RunError, match="cannot be written"):
        Pack.build(pack.path.parent / "nowhere" / "p", arrays.items())


def test_missing_and_foreign_files(tmp_path):
    with pytest.raises(InputError, match="none: there is no such file"):
        Pack(tmp_path / "none")
    with pytest.raises(InputError, match="cannot be read as a pack"):
        Pack(tmp_path)
    for content in (b"", b"musicemo", b"RIFF" + bytes(500)):
        (tmp_path / "p").write_bytes(content)
        with pytest.raises(InputError, match=r"p: (is not a pack|cannot be read as a pack)"):
            Pack(tmp_path / "p")


def test_a_pack_that_was_cut_off_or_grew(pack):
    content = pack.path.read_bytes()
    cut = pack.path.with_name("cut")
    for size in (20, 63, 64, 100, len(content) // 2, len(content) - 1):
        cut.write_bytes(content[:size])
        with pytest.raises(InputError, match="is damaged"):
            Pack(cut)
    cut.write_bytes(content + b"\0")
    with pytest.raises(InputError, match=rf"is damaged: it has {len(content) + 1} of {len(content)} bytes"):
        Pack(cut)


def test_a_pack_of_another_format(pack, monkeypatch, tmp_path):
    monkeypatch.delitem(_VALUES, 1)
    with pytest.raises(InputError, match="is a pack of format 1, this version reads 2"):
        Pack(pack.path)


def test_damage_is_found_wherever_it_is(tmp_path):
    """Opening finds damage of header and index, `verify` that of values; all but padding is one of these."""
    arrays = make(count=2, rows=2)
    path, damaged = Pack.build(tmp_path / "p", arrays.items()).path, tmp_path / "damaged"
    content = bytearray(path.read_bytes())
    unnoticed = []
    for place in range(len(content)):
        content[place] ^= 0xFF
        damaged.write_bytes(content)
        content[place] ^= 0xFF
        try:
            Pack(damaged).verify()
        except InputError:
            continue
        unnoticed.append(content[place])
    assert unnoticed == [0] * (8 + -arrays["genre/0"].nbytes % 64)  # after the header, and between the arrays
    Pack(path).verify()


def damage(pack, name):
    """Return a copy of a pack in which one bit of a track is another."""
    content = bytearray(pack.path.read_bytes())
    content[content.index(np.ascontiguousarray(pack[name].T).tobytes())] ^= 1
    pack.path.with_name("damaged").write_bytes(content)
    return Pack(pack.path.with_name("damaged"))


def test_verifying_names_the_tracks(pack):
    with pytest.raises(InputError, match="1 of 7 tracks are damaged: 'genre/4'"):
        damage(pack, "genre/4").verify()


def test_a_damaged_track_is_refused_when_it_is_asked_for(pack, arrays):
    damaged = damage(pack, "genre/4")
    np.testing.assert_array_equal(damaged["genre/3"], arrays["genre/3"])
    for _ in range(2):
        with pytest.raises(InputError, match=r"damaged: track 'genre/4' is damaged: its features"):
            damaged["genre/4"]
    assert damaged.damaged(["genre/3", "genre/2"]) == []
    assert damaged.damaged() == ["genre/4"]


def test_a_track_is_compared_with_its_checksum_once(pack, monkeypatch):
    assert pack.damaged() == []
    monkeypatch.setattr("musicemo.features._pack.zlib", None)
    assert pack.damaged() == []
    assert pack["genre/1"].shape[0] == 5


def test_equal_packs_have_equal_fingerprints(pack, tmp_path):
    again = Pack.build(tmp_path / "again", ((name, pack[name]) for name in pack))
    assert again.fingerprint == pack.fingerprint
    names = [*pack][::-1]
    others = [Pack.build(tmp_path / "order", ((name, pack[name]) for name in names))]
    others.append(Pack.build(tmp_path / "values", ((name, pack[name] + 1) for name in pack)))
    assert len({pack.fingerprint, *(other.fingerprint for other in others)}) == 3


@pytest.mark.parametrize(("place", "value"), [(0, 1 << 63), (0, 2**64 - 1), (8, 1 << 62), (8, 0xFFFFFFFF)])
def test_an_index_that_points_beyond_the_file(pack, place, value):
    """Its checksum is right: it was written so on purpose."""
    content = bytearray(pack.path.read_bytes())
    fields = list(_HEADER.unpack(content[: _HEADER.size]))
    begin = fields[4]
    content[begin + place : begin + place + 8] = value.to_bytes(8, "little")
    fields[6] = zlib.crc32(content[begin:])
    head = _HEADER.pack(*fields)[:-4]
    content[: _HEADER.size] = head + struct.pack("<I", zlib.crc32(head))
    pack.path.with_name("odd").write_bytes(content)
    with pytest.raises(InputError, match="is damaged"):
        Pack(pack.path.with_name("odd")).verify()
