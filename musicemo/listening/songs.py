"""The songs of the page, which are analyzed one after the other."""

from __future__ import annotations

import queue
import shutil
import threading
import time
from collections.abc import Iterable, Mapping
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any, Literal

from musicemo.errors import InputError
from musicemo.features import SONG_SUFFIXES
from musicemo.listening.analysis import Heard, Listener
from musicemo.prediction import failure_of

__all__ = ["Full", "Song", "SongList"]

_WAITING = 10
"""Songs that wait for their analysis, at most."""

_KEPT = 20
"""Analyzed songs whose audio is kept, at most: those that were analyzed last."""

State = Literal["listed", "waiting", "working", "done", "failed"]


class Full(Exception):
    """Too many songs wait."""


@dataclass
class Song:
    """A song of the page, and the state of its analysis."""

    number: int
    title: str
    folder: Path
    #: The file; None for a track whose audio is computed.
    path: Path | None = None
    #: The track of the dataset that it is.
    track: str | None = None
    uploaded: bool = False
    state: State = "listed"
    #: The step of the analysis.
    step: str = ""
    error: str = ""
    heard: Heard | None = field(default=None, repr=False)
    #: When it was analyzed, in seconds of a clock.
    finished: float = 0.0

    def to_json(self) -> dict[str, Any]:
        """Return its state for the page."""
        return {
            "number": self.number,
            "title": self.title,
            "state": self.state,
            "step": self.step,
            "error": self.error,
        }


class SongList:
    """The songs, a thread that reads the dataset of the run, and one that analyzes one song at a time.

    Args:
        listener: Analyzes them.
        folder: Folder of their files. The caller deletes it.
    """

    def __init__(self, listener: Listener, folder: Path) -> None:
        self.listener = listener
        self._folder = folder
        self._songs: dict[int, Song] = {}
        self._next = 1
        self._lock = threading.Lock()
        self._queue: queue.SimpleQueue[Song | None] = queue.SimpleQueue()
        #: True as soon as the dataset has been read, which can take minutes.
        self.ready = threading.Event()
        threading.Thread(target=self._read_dataset, name="dataset", daemon=True).start()
        self._thread = threading.Thread(target=self._work, name="listening", daemon=True)
        self._thread.start()

    def close(self, seconds: float = 10.0) -> None:
        """Analyze no further song, and wait so many seconds for the one in progress."""
        with self._lock:
            self._songs.clear()
        self.ready.set()
        self._queue.put(None)
        self._thread.join(seconds)

    def states(self) -> list[dict[str, Any]]:
        """Return the state of each song for the page."""
        with self._lock:
            return [song.to_json() for song in self._songs.values()]

    def dataset(self) -> dict[str, Any]:
        """Return the state of the dataset for the page: number of tracks with audio, or why there are none."""
        ready = self.ready.is_set()
        return {
            "ready": ready,
            "tracks": len(self.listener.tracks) if ready else 0,
            "silence": " ".join(self.listener.silence),
        }

    def get(self, number: int) -> Song | None:
        """Return a song; None if it was removed."""
        return self._songs.get(number)

    def add_files(self, paths: Iterable[Path]) -> list[Song]:
        """List audio files; they are analyzed when they are opened."""
        return [self._add(path.name, path=path) for path in paths]

    def add_track(self, track: str) -> Song:
        """List a track of the dataset, once.

        Raises:
            InputError: There is no such track with audio, or the dataset has not been read yet.
        """
        if not self.ready.is_set():
            raise InputError("the run's dataset is still being read")
        audio = self.listener.tracks.get(track)
        if audio is None:
            raise InputError(f"the run's dataset has no track {track!r} with audio")
        with self._lock:
            listed = next((song for song in self._songs.values() if song.track == track), None)
        return listed or self._add(track, path=audio if isinstance(audio, Path) else None, track=track)

    def receive(self, name: str) -> Song:
        """Return a song whose file is about to be written to its path.

        Args:
            name: The file's name. Only its ending is used for the path.

        Raises:
            Full: Too many songs wait.
        """
        self._check_room()
        title = name.replace("\\", "/").rsplit("/", 1)[-1][:200] or "song"
        suffix = Path(title).suffix.lower()
        song = self._add(title, uploaded=True)
        song.path = song.folder / f"upload{suffix if suffix in SONG_SUFFIXES else ''}"
        return song

    def open(self, song: Song) -> None:
        """Have a song analyzed, unless it is, waits, or failed.

        Raises:
            Full: Too many songs wait.
        """
        if song.state != "listed":
            return
        self._check_room(song)
        song.state = "waiting"
        self._queue.put(song)

    def remove(self, song: Song) -> None:
        """Remove a song and its files."""
        with self._lock:
            self._songs.pop(song.number, None)
        if song.state != "working":  # else the thread does
            shutil.rmtree(song.folder, ignore_errors=True)

    def _check_room(self, newest: Song | None = None) -> None:
        with self._lock:
            coming = [one for one in self._songs.values() if one.uploaded and one.state == "listed"]
            waiting = [one for one in self._songs.values() if one.state == "waiting"]
            if len([one for one in coming + waiting if one is not newest]) >= _WAITING:
                raise Full(f"{_WAITING} songs are waiting. Try again when some are analyzed")

    def _add(self, title: str, **values: Any) -> Song:
        with self._lock:
            song = Song(self._next, title, self._folder / str(self._next), **values)
            self._next += 1
            song.folder.mkdir(exist_ok=True)
            self._songs[song.number] = song
            return song

    def _read_dataset(self) -> None:
        _ = self.listener.tracks
        self.ready.set()

    def _work(self) -> None:
        while (song := self._queue.get()) is not None:
            if song.number in self._songs:
                self._analyze(song)
            if song.number not in self._songs:
                shutil.rmtree(song.folder, ignore_errors=True)
            self._drop_oldest()

    def _analyze(self, song: Song) -> None:
        song.state = "working"

        def progress(step: str) -> None:
            song.step = step

        path = song.path or song.folder / "computed.wav"
        try:
            song.folder.mkdir(exist_ok=True)
            progress("waiting for the dataset")
            self.ready.wait()
            if song.path is None and song.track is not None:
                _write_signal(self.listener.tracks, song.track, path)
            if song.track is None:
                progress("looking for it in the dataset")
                song.track = self.listener.identify(path)
            song.heard = self.listener.listen(path, song.title, song.folder, song.track, progress)
            song.state, song.finished = "done", time.monotonic()
        except (Exception, SystemExit) as error:  # a model may be anybody's code
            song.error = failure_of(path, error).reason.replace(str(path), song.title)
            song.state = "failed"

    def _drop_oldest(self) -> None:
        """Delete the files of the songs that were analyzed first; those that were uploaded are removed."""
        with self._lock:
            done = [song for song in self._songs.values() if song.state == "done"]
        done.sort(key=lambda song: song.finished)
        for song in done[: max(len(done) - _KEPT, 0)]:
            if song.uploaded:
                self.remove(song)
            else:
                shutil.rmtree(song.folder, ignore_errors=True)
                song.heard, song.state = None, "listed"


def _write_signal(tracks: Mapping[str, Any], track: str, path: Path) -> None:
    """Write computed audio to a file."""
    import soundfile

    samples, rate = tracks[track].samples()
    soundfile.write(path, samples, rate, "FLOAT", format="WAV")
