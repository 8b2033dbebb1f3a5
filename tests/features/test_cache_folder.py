"""Where features are kept, also for a user without a home."""

import os
import tempfile
from pathlib import Path

import pytest

from musicemo.errors import InputError
from musicemo.features import cache_folder
from musicemo.files import expanded


@pytest.fixture
def homeless(monkeypatch, tmp_path):
    """Be a user whose home nothing tells, with a folder for temporary files."""
    for name in ("MUSICEMO_CACHE", "XDG_CACHE_HOME", "HOME"):
        monkeypatch.delenv(name, raising=False)
    monkeypatch.setattr(os.path, "expanduser", lambda path: path)
    monkeypatch.setattr(tempfile, "tempdir", str(tmp_path))
    return monkeypatch


def test_the_variables_name_it(monkeypatch, tmp_path):
    monkeypatch.setenv("MUSICEMO_CACHE", "~/named")
    monkeypatch.setenv("HOME", str(tmp_path))
    assert cache_folder() == tmp_path / "named"
    monkeypatch.delenv("MUSICEMO_CACHE")
    monkeypatch.setenv("XDG_CACHE_HOME", str(tmp_path / "caches"))
    assert cache_folder() == tmp_path / "caches" / "musicemo"
    monkeypatch.delenv("XDG_CACHE_HOME")
    assert cache_folder() == tmp_path / ".cache" / "musicemo"
    assert not list(tmp_path.iterdir())


def test_without_a_home_it_is_private(homeless, tmp_path):
    folder = cache_folder()
    assert folder.parent == tmp_path
    assert folder.stat().st_mode & 0o777 == 0o700
    assert cache_folder() == folder


def test_a_home_that_cannot_be_written_to_serves_what_it_has(homeless, tmp_path):
    homeless.setenv("XDG_CACHE_HOME", str(tmp_path / "caches"))
    homeless.setattr(os, "access", lambda *_: False)
    assert cache_folder().name.startswith("musicemo-")
    (tmp_path / "caches" / "musicemo").mkdir(parents=True)
    assert cache_folder() == tmp_path / "caches" / "musicemo"


def test_somebody_elses_folder_is_not_used(homeless, tmp_path):
    folder = cache_folder()
    folder.chmod(0o777)
    with pytest.raises(InputError, match=r"the cache has no folder: .*Set MUSICEMO_CACHE=FOLDER"):
        cache_folder()
    folder.rmdir()
    folder.symlink_to(tmp_path)
    with pytest.raises(InputError, match="it belongs to somebody else"):
        cache_folder()


def test_a_home_that_is_not_there_is_not_expanded():
    assert expanded("~nobody-has-this-name/a") == Path("~nobody-has-this-name/a")
