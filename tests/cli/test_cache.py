"""``musicemo cache``."""

import json
from pathlib import Path

import pytest
from typer.testing import CliRunner

from musicemo.cli._app import make_app
from musicemo.errors import InputError

KEY = "0123456789abcdef"
SOURCE = "/data/[emotify]" + "/folder" * 12
"""Longer than what is left of a line in a terminal, and not broken in two where it is read by a program."""


@pytest.fixture
def cache(tmp_path: Path, monkeypatch) -> Path:
    """A cache with two folders of emotify, one of synth, and what is not musicemo's."""
    for name, size in ((f"emotify/a-{KEY}", 2000), (f"emotify/b-{KEY}", 30), (f"synth/{KEY}", 5_000_000)):
        (tmp_path / name / "songs").mkdir(parents=True)
        (tmp_path / name / "songs" / "1.npz").write_bytes(bytes(size))
    (tmp_path / f"emotify/a-{KEY}/about.json").write_text(json.dumps({"source": SOURCE}))
    (tmp_path / f"emotify/b-{KEY}/about.json").write_text("[]")
    (tmp_path / "mine" / "songs").mkdir(parents=True)
    (tmp_path / "mine" / "songs" / "1.mp3").write_bytes(b"music")
    (tmp_path / "link").symlink_to(tmp_path / "synth")
    monkeypatch.setenv("MUSICEMO_CACHE", str(tmp_path))
    return tmp_path


def call(*arguments: str) -> list[str]:
    found = CliRunner().invoke(make_app(), ["cache", *arguments], catch_exceptions=False)
    assert found.exit_code == 0
    return [" ".join(line.split()) for line in found.stdout.splitlines()]


def test_lists_what_is_there_with_sizes(cache):
    assert call() == [
        str(cache),
        "name files size source",
        f"emotify/a-{KEY} 2 2.1 kB {SOURCE}",
        f"emotify/b-{KEY} 2 32 B",
        f"synth/{KEY} 1 5.0 MB",
        "all 5 5.0 MB",
    ]


def test_lists_one_dataset(cache):
    assert call("synth") == [str(cache), "name files size source", f"synth/{KEY} 1 5.0 MB"]


def test_prints_the_path_alone(cache):
    assert call("--path") == [str(cache)]


@pytest.mark.parametrize(
    ("name", "left"),
    [
        ("emotify", {f"synth/{KEY}"}),
        (f"emotify/a-{KEY}", {f"emotify/b-{KEY}", f"synth/{KEY}"}),
        (None, set()),
    ],
)
def test_clears_what_it_names_and_nothing_else(cache, name, left):
    printed = call("--clear", *([name] if name else []))
    assert printed[-1].startswith("Removed ")
    gone = {f"emotify/a-{KEY}", f"emotify/b-{KEY}", f"synth/{KEY}"} - left
    assert {line.split()[0] for line in printed[2:-1]} - {"all"} == gone
    assert {path.relative_to(cache).as_posix() for path in cache.glob("*/*")} - {f"link/{KEY}"} == {
        *left,
        "mine/songs",
    }
    assert (cache / "mine/songs/1.mp3").exists()


def test_an_unknown_name_is_an_error_that_lists_the_known(cache):
    with pytest.raises(
        InputError, match=r"the cache contains no 'emotfy'; did you mean 'emotify'\? \(contents: emotify, "
    ):
        call("--clear", "emotfy")
    assert (cache / "emotify").is_dir()


def test_no_cache_yet(tmp_path, monkeypatch):
    monkeypatch.setenv("MUSICEMO_CACHE", str(tmp_path / "none"))
    assert call() == [f"{tmp_path}/none (empty)"]
    assert call("--clear")[-1] == "Removed 0 folders, 0 B."
