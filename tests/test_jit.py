"""Compiled loops need no place for their machine code."""

import os
import stat
import subprocess
import sys

import numba
import numpy as np
import pytest

from musicemo._jit import compiled


@pytest.mark.slow
@pytest.mark.parametrize("error", [RuntimeError, OSError, PermissionError, ValueError])
def test_no_directory_for_the_cache(monkeypatch, error):
    real = numba.njit

    def without_locator(*arguments, cache=False, **options):
        if cache:
            raise error("cannot cache function: no locator available")
        return real(*arguments, **options)

    monkeypatch.setattr(numba, "njit", without_locator)
    assert compiled(lambda x: x + 1)(2) == 3


def test_a_cache_that_fails_at_the_first_call(monkeypatch):
    from numba.core import caching

    def fails(*arguments, **options):
        raise OSError("no space left on device")

    monkeypatch.setattr(caching.IndexDataCacheFile, "load", fails)
    monkeypatch.setattr(caching.IndexDataCacheFile, "save", fails)
    assert compiled(lambda x: x + 2)(2) == 4


def run(code, **environment):
    kept = {k: v for k, v in os.environ.items() if k not in ("HOME", "NUMBA_CACHE_DIR", "XDG_CACHE_HOME")}
    return subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, env=kept | environment)


@pytest.mark.slow
@pytest.mark.parametrize("damage", [b"", b"no pickle", b"\x80\x04."])
def test_a_damaged_entry_is_compiled_again(tmp_path, damage):
    module = tmp_path / "loop.py"
    module.write_text("from musicemo._jit import compiled\n@compiled\ndef twice(x):\n    return 2 * x\n")
    code = f"import sys; sys.path.insert(0, {str(tmp_path)!r}); import loop; print(loop.twice(4))"
    assert run(code).stdout == "8\n"
    entries = [path for path in tmp_path.rglob("*.nb?") if path.is_file()]
    assert {path.suffix for path in entries} == {".nbc", ".nbi"}
    for path in entries:
        path.chmod(path.stat().st_mode | stat.S_IWUSR)
        path.write_bytes(damage)
    done = run(code)
    assert (done.stdout, done.returncode) == ("8\n", 0), done.stderr


@pytest.mark.slow
def test_a_read_only_installation_without_a_home(tmp_path):
    (tmp_path / "file").touch()
    nowhere = str(tmp_path / "file" / "below")
    code = """if True:
        import numba.core.caching as caching
        class Nowhere(caching.InTreeCacheLocator):
            def ensure_cache_path(self):
                raise OSError("read-only file system")
        caching.InTreeCacheLocator = Nowhere
        caching.CacheImpl._locator_classes = [caching.UserProvidedCacheLocator, Nowhere, caching.UserWideCacheLocator]
        import numpy as np
        from musicemo.features.melchroma._spectrum import decibels
        from musicemo.features.melchroma._median import running_median
        print(running_median(np.eye(3, dtype=np.float32), np.arange(3), 3).sum())
    """
    done = run(code, HOME=nowhere, NUMBA_CACHE_DIR=nowhere, XDG_CACHE_HOME=nowhere)
    assert done.returncode == 0, done.stderr
    assert np.isfinite(float(done.stdout))
