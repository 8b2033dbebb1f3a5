"""``musicemo listen``."""

from __future__ import annotations

import base64
import os
import re
import signal
import socket
import tempfile
import time
from pathlib import Path

import pytest
from browser import Browser, find_chromium
from songs import write_song

CHROMIUM = find_chromium()

pytest.importorskip("uvicorn", reason="needs pip install 'musicemo[listen]'")

#: Gives the page a file as if it were dropped.
DROP = """
(async () => {
    const data = Uint8Array.from(atob(%r), c => c.charCodeAt(0));
    const transfer = new DataTransfer();
    transfer.items.add(new File([data], %r));
    document.dispatchEvent(new DragEvent("drop", {dataTransfer: transfer, bubbles: true, cancelable: true}));
})()
"""


def until(check, seconds=240):
    deadline = time.monotonic() + seconds
    while not (result := check()):
        assert time.monotonic() < deadline
        time.sleep(0.1)
    return result


def drop(browser, path: Path) -> None:
    browser.evaluate(DROP % (base64.b64encode(path.read_bytes()).decode(), path.name))


@pytest.mark.slow
@pytest.mark.skipif(CHROMIUM is None, reason="needs Chromium (apt-get install chromium)")
def test_a_dropped_song_is_heard_and_seen_and_deleted_at_the_end(trained, tmp_path):
    launcher, temporary = trained.launcher, Path(tempfile.gettempdir())
    before = set(temporary.glob("musicemo-listen-*"))
    broken, song = tmp_path / "broken.wav", write_song(tmp_path / "dropped.flac", seconds=12)
    broken.write_bytes(b"not music")
    listed = write_song(tmp_path / "listed.wav")
    process = launcher.start(
        *("listen", trained.replicates, listed, "--no-browser"),
        folder=tmp_path,
        path=trained.path,
    )
    address = until(lambda: re.search(r"http://127\.0\.0\.1:\d+/", process.read()))[0]
    with Browser(str(CHROMIUM)) as browser:
        browser.open(address, width=1300)
        drop(browser, broken)
        until(
            lambda: (
                "broken.wav: is not audio" in browser.evaluate("document.getElementById('message').innerText")
            )
        )
        drop(browser, song)
        until(lambda: browser.evaluate("document.querySelector('.heard h2')?.textContent") == "dropped.flac")
        text = browser.evaluate("document.querySelector('.heard').innerText")
        assert "valence" in text
        assert re.search(r"In the test set, \d+ of \d+ tracks \(\d+\s%\) were within", text)
        until(lambda: browser.evaluate("document.querySelector('audio').readyState >= 2"))
        browser.evaluate("document.querySelector('audio').currentTime = 6")
        moved = "document.querySelector('.spectrogram .cursor').getBoundingClientRect().x"
        middle = browser.evaluate(
            "(b => b.x + b.width / 2)(document.querySelector('.picture').getBoundingClientRect())"
        )
        until(lambda: abs(browser.evaluate(moved) - middle) < 3)
        assert browser.evaluate("document.documentElement.scrollWidth") == 1300
        assert browser.messages == []
        assert all(one.startswith((address, "data:")) for one in browser.requests)
    uploads = temporary.glob("musicemo-listen-*/*/upload.flac")
    (upload,) = (
        one for one in uploads if one.parents[1] not in before and one.read_bytes() == song.read_bytes()
    )
    os.kill(process.pid, signal.SIGINT)
    finished = process.wait()
    assert (finished.code, finished.err) == (0, "")
    assert not upload.parents[1].exists()


def test_what_cannot_be_heard_is_the_users_mistake(command, trained, tmp_path):
    finished = command("listen", trained.first, tmp_path / "nowhere.mp3")
    assert finished.code == 2
    assert "nowhere.mp3: there is no such song" in finished.err
    with socket.create_server(("127.0.0.1", 0)) as taken:
        finished = command("listen", trained.first, "--port", taken.getsockname()[1], "--no-browser")
    assert finished.code == 2
    assert "--port 0" in finished.err
    assert command("listen", trained.first, "--window", "0").code == 2
