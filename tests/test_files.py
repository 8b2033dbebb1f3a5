import csv
import errno
import io
import os
import stat
import subprocess
import sys
import time
from pathlib import Path

import pytest

from musicemo.errors import RunError
from musicemo.files import (
    csv_line,
    csv_text,
    exclusive,
    printable,
    read_csv,
    read_json,
    shortened,
    write_atomically,
    write_bytes,
    write_json,
    write_text,
)


def failing(error: Exception):
    def write(file):
        file.write(b"half")
        raise error

    return write


@pytest.mark.parametrize("error", [OSError(errno.ENOSPC, "No space left on device"), OSError("odd")])
def test_a_full_disk_leaves_the_old_file(tmp_path, error):
    path = tmp_path / "results.json"
    path.write_text("old")
    with pytest.raises(
        RunError, match=r"results\.json: cannot be written: (No space left on device|odd)"
    ) as caught:
        write_atomically(path, failing(error))
    assert caught.value.exit_code == 1
    assert path.read_text() == "old"
    assert list(tmp_path.iterdir()) == [path]


def test_a_disk_that_fills_up_as_buffers_are_flushed(tmp_path, monkeypatch):
    def full(descriptor):
        raise OSError(errno.ENOSPC, "No space left on device")

    monkeypatch.setattr(os, "fsync", full)
    with pytest.raises(RunError, match="No space left on device"):
        write_text(tmp_path / "a", "text")
    assert list(tmp_path.iterdir()) == []


@pytest.mark.skipif(not Path("/dev/full").exists(), reason="no /dev/full here")
def test_a_device_without_room(tmp_path, monkeypatch):
    """A real ENOSPC from the system, at the first write that reaches it."""

    def full(dir, prefix):
        path = tmp_path / "temporary"
        path.write_bytes(b"")
        return os.open("/dev/full", os.O_WRONLY), str(path)

    monkeypatch.setattr("tempfile.mkstemp", full)
    with pytest.raises(RunError, match="No space left on device"):
        write_atomically(tmp_path / "a", lambda file: file.write(b"x" * 100))
    assert list(tmp_path.iterdir()) == []


@pytest.mark.parametrize("error", [ValueError("a bug"), KeyboardInterrupt()])
def test_other_errors_pass_and_leave_nothing(tmp_path, error):
    path = tmp_path / "a"
    path.write_text("old")
    with pytest.raises(type(error)):
        write_atomically(path, failing(error))
    assert path.read_text() == "old"
    assert list(tmp_path.iterdir()) == [path]


def test_a_folder_that_is_missing(tmp_path):
    with pytest.raises(RunError, match=r"none/a: cannot be written: No such file"):
        write_text(tmp_path / "none" / "a", "text")


def test_a_folder_in_the_way(tmp_path):
    (tmp_path / "a").mkdir()
    with pytest.raises(RunError, match="a: cannot be written: Is a directory"):
        write_text(tmp_path / "a", "text")
    assert list(tmp_path.iterdir()) == [tmp_path / "a"]


@pytest.mark.parametrize("value", [float("nan"), float("inf"), {"a": [1, float("-inf")]}])
def test_json_has_no_name_for_what_is_not_finite(tmp_path, value):
    write_json(tmp_path / "a", 1)
    with pytest.raises(ValueError, match="not JSON compliant"):
        write_json(tmp_path / "a", value)
    assert read_json(tmp_path / "a") == 1
    assert len(list(tmp_path.iterdir())) == 1


def test_text_and_json_round_trip(tmp_path):
    write_text(tmp_path / "a", "Spearman's ρ\r\n")
    assert (tmp_path / "a").read_bytes() == "Spearman's ρ\r\n".encode()
    value = {"ρ": [1, 0.1, None, True], "a": {"b": "c"}}
    write_json(tmp_path / "b", value)
    assert read_json(tmp_path / "b") == value
    assert "ρ" in (tmp_path / "b").read_text(encoding="utf-8")


@pytest.mark.parametrize(("mask", "mode"), [(0o022, 0o644), (0o077, 0o600), (0o002, 0o664)])
def test_permissions_honour_the_umask(tmp_path, mask, mode):
    old = os.umask(mask)
    try:
        write_text(tmp_path / "a", "text")
        assert os.umask(mask) == mask
    finally:
        os.umask(old)
    assert stat.S_IMODE((tmp_path / "a").stat().st_mode) == mode


FORMULAS = ["=1+1", "+x", "-song.mp3", "@A1", "\tx", "\rx", "\nx", "\uff1dx", "'=x", "''-x"]
PLAIN = [
    "-1.5", "+3", "-.5e-7", "-inf", "nan", "a-b", "'Round Midnight", "'", "", "a,b", 'd "e"', "l\nm", "l\rm",
]  # fmt: skip


def test_csv_cells_come_back_exactly_and_are_no_formulas(tmp_path):
    text = csv_text([("a", "=b"), *((cell, cell) for cell in FORMULAS + PLAIN)])
    (tmp_path / "a.csv").write_bytes(text.encode())
    assert list(read_csv(tmp_path / "a.csv")) == [{"a": cell, "=b": cell} for cell in FORMULAS + PLAIN]
    raw = list(csv.reader(io.StringIO(text, newline="")))[1:]
    assert [row[0] for row in raw[: len(FORMULAS)]] == [f"'{cell}" for cell in FORMULAS]
    assert [row[0] for row in raw[len(FORMULAS) :]] == PLAIN, "numbers and harmless text stay as they are"
    assert csv_line([""]) == '""\n'


@pytest.mark.parametrize("text", ["a,b\n1\n", 'a,b\n"1,2\n', "a,b\n1,2,3\n"])
def test_damaged_csv_is_a_value_error(tmp_path, text):
    (tmp_path / "a.csv").write_text(text)
    with pytest.raises(ValueError, match="line 2"):
        list(read_csv(tmp_path / "a.csv"))


def test_json_holds_names_that_are_not_utf8(tmp_path):
    value = {"path": "M\udcfcsik", "title": "\u6b4c"}
    write_json(tmp_path / "a.json", value)
    assert read_json(tmp_path / "a.json") == value


@pytest.mark.parametrize(
    ("name", "shown"),
    [
        ("plain name.mp3", "plain name.mp3"),
        ("\u6f22\u5b57 \U0001f3b5", "\u6f22\u5b57 \U0001f3b5"),
        (os.fsdecode(b"caf\xe9"), r"caf\xe9"),
        ("a\x1b[2Jb\tc\nd\r", r"a\x1b[2Jb\tc\nd\x0d"),
        ("\u202egpj", r"\u202egpj"),
        ("\ud800", r"\ud800"),
        (Path("a/b"), "a/b"),
    ],
)
def test_names_that_can_be_shown_anywhere(name, shown):
    assert printable(name) == shown
    printable(name).encode("utf-8")


def test_a_long_name_is_cut_and_stays_distinct():
    assert shortened("x" * 251, ".npz") == "x" * 251 + ".npz"
    names = ["x" * 252, "x" * 253, "\u6f22" * 90, "\u6f22" * 91, "e\u0301" * 99, "\u00e9" * 149]
    cut = [shortened(os.fsdecode(name.encode()), ".npz") for name in names]
    assert len(set(cut)) == len(names)
    for name in cut:
        assert name.endswith(".npz")
        assert len(os.fsencode(name)) <= 255


def test_a_file_with_the_longest_name_is_written(tmp_path):
    path = tmp_path / ("x" * 255)
    try:
        path.touch()
    except OSError:
        pytest.skip("this file system has no names of 255 bytes")
    write_bytes(path, b"content")
    assert path.read_bytes() == b"content"
    assert [one.name for one in tmp_path.iterdir()] == [path.name]


@pytest.mark.slow
def test_one_process_at_a_time(tmp_path):
    code = """if True:
        import sys
        from pathlib import Path
        from musicemo.files import exclusive
        print("ready", flush=True)
        with exclusive(Path(sys.argv[1])):
            print((Path(sys.argv[1]) / "done").exists())
    """
    with exclusive(tmp_path):
        other = subprocess.Popen([sys.executable, "-c", code, str(tmp_path)], stdout=subprocess.PIPE, text=True)
        assert other.stdout.readline() == "ready\n"
        time.sleep(0.1)
        assert other.poll() is None
        (tmp_path / "done").touch()
    assert other.communicate(timeout=60)[0] == "True\n"


def test_a_lock_that_is_a_link_is_not_followed(tmp_path):
    (tmp_path / "precious").write_text("text")
    (tmp_path / ".lock").symlink_to("precious")
    with exclusive(tmp_path):
        pass
    assert (tmp_path / "precious").read_text() == "text"


def test_json_that_is_nested_too_deeply_is_no_recursion_error(tmp_path):
    (tmp_path / "a").write_text("[" * 200_000 + "]" * 200_000)
    with pytest.raises(ValueError, match="nested too deeply"):
        read_json(tmp_path / "a")
