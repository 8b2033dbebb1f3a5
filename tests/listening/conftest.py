"""A listener that needs no trained run, and the page with it."""

from __future__ import annotations

import threading
from dataclasses import replace
from pathlib import Path
from types import SimpleNamespace

import numpy as np
import pytest
import soundfile

from musicemo.errors import InputError
from musicemo.listening import Heard, HeldOut, SongList, make_app
from musicemo.listening.analysis import Ranking, Rating

HOST = "127.0.0.1:8000"


class FakeListener:
    """Analyzes a song when it is let."""

    def __init__(self) -> None:
        self.tracks = {"rock/1": Path("nowhere.mp3"), "jazz/2": SimpleNamespace(samples=computed)}
        self.silence: list[str] = []
        record = SimpleNamespace(name="<b>mine</b>", experiment={})
        self.runs = [SimpleNamespace(record=record, members=[None])]
        self.held_out = HeldOut("", {})
        self.let = threading.Event()
        self.let.set()
        #: Titles in the order of their analyses, and the largest number at a time.
        self.titles: list[str] = []
        self.most = self._now = 0

    def identify(self, song: Path) -> str | None:
        return None

    def listen(self, song, title, folder, track, progress) -> Heard:
        self._now += 1
        self.most = max(self.most, self._now)
        self.titles.append(title)
        progress("predicting")
        assert self.let.wait(60)
        self._now -= 1
        content = song.read_bytes()
        if content.startswith(b"bad"):
            raise InputError(f"{song}: is not audio")
        soundfile.write(folder / "audio.wav", np.zeros(4410), 44100)
        (folder / "spectrogram.png").write_bytes(b"\x89PNG")
        rating = Rating(
            "valence",
            "regression",
            0.62,
            (0.0, 1.0),
            "80 %",
            (0.5, 0.74),
            np.array([1.0, 3.0]),
            np.array([0.6, 0.7]),
        )
        energy = replace(
            rating, name="energy", times=np.array([0.0, 4.0]), curve=np.array([0.0, 1.0]), label=0.25
        )
        ranking = Ranking("genre", "classification", [("rock & roll", 0.9, True)], "right")
        return Heard(title, 4.0, [1.0, 2.0], [(0.5, "1,000")], [rating, energy], [ranking], ["a note"])


def computed():
    return np.zeros(4410, np.float32), 44100


@pytest.fixture
def listener() -> FakeListener:
    return FakeListener()


@pytest.fixture
def songs(listener, tmp_path):
    songs = SongList(listener, tmp_path)
    assert songs.ready.wait(60)
    yield songs
    listener.let.set()
    songs.close()


@pytest.fixture
def client(songs):
    testclient = pytest.importorskip(
        "starlette.testclient", reason="needs pip install 'musicemo[listen]' httpx2"
    )
    return testclient.TestClient(make_app(songs, [HOST]), base_url=f"http://{HOST}")
