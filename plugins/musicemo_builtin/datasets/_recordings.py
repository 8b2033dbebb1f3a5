"""Audio files of a dataset's tracks, and the features that are made of them when they are first asked for.

What is made is kept below the cache folder in `<dataset>/<folder's name>-<16 hexadecimal digits>`, the digits standing
for where the audio is and for the recipe::

    about.json     where the audio is, and the recipe
    songs/         a feature file a track, under its id
    beat.pack      the same in one file, to train from; frame.pack likewise
    beat.json      track -> the audio file's path, size and time of change
"""

from __future__ import annotations

import dataclasses
import hashlib
import re
import warnings
from collections.abc import Iterator, Mapping, Sequence
from pathlib import Path
from typing import Annotated, Literal

import numpy as np
from numpy.typing import NDArray
from pydantic import Field

from musicemo.audio import Pack, Recipe, cache_folder, extract, read_array
from musicemo.contracts import FEATURE_ROWS, Proposal, Target, Track
from musicemo.errors import InputError, RunError
from musicemo.files import read_json, write_json
from musicemo.progress import Progress
from musicemo_builtin.datasets._problems import Problems

__all__ = ["SYNC_COMMENT", "Duration", "Features", "Offset", "OnError", "Recordings", "Sync"]

Features = Literal["mel", "chroma", "fused"]
Sync = Literal["beat", "frame"]
Offset = Annotated[float, Field(ge=0.0)]
Duration = Annotated[float, Field(gt=0.0)] | None
OnError = Literal["raise", "skip"]

#: An audio file's path, size in bytes, and time of change in nanoseconds: what tells whether it has changed.
_Identity = list[str | int]

#: Fewer songs than this are analysed in this process: starting others would take longer.
_WORTH_STARTING = 6
_NAMED = 3
#: What an experiment that is written for somebody says of the parameter.
SYNC_COMMENT = "beat: a column of the features a beat | frame: a column each 23 ms"
_HINT = 'on_error = "skip" leaves out what is named here'


class Recordings:
    """Tracks whose `features` is an audio file, until `tracks` yields them with their arrays.

    Args:
        dataset: Its name, which is that of its folder in the cache.
        source: Where its files are: a folder, or a table.
        features: Rows to use.
        sync: Columns: one a beat or one a frame.
        offset: Where the excerpt begins, in seconds.
        duration: Its length in seconds; None is the rest of the song.
        cache: Folder for the features; None is `musicemo.audio.cache_folder`.
        on_error: ``raise`` an error that names every song that is missing or cannot be analysed, or ``skip`` them
            with a warning.
    """

    def __init__(
        self,
        dataset: str,
        source: Path,
        features: Features,
        sync: Sync,
        offset: float,
        duration: float | None,
        cache: Path | None,
        on_error: OnError,
    ) -> None:
        self.rows = FEATURE_ROWS[features]
        self.sync: Sync = sync
        self.recipe = Recipe(offset=float(offset), duration=duration)
        self._source, self._on_error = source.resolve(), on_error
        text = f"{self._source}\n{self.recipe.fingerprint}"
        key = hashlib.sha256(text.encode(errors="surrogateescape")).hexdigest()[:16]
        self.folder = (cache or cache_folder()).expanduser() / dataset / f"{_safe(source.stem)[:40]}-{key}"
        self._tracks: list[Track] = []
        self._missing: list[str] = []

    def add(self, where: str, track: Track) -> None:
        """Add a track whose `features` is an audio file; `where` tells the file and line that name it."""
        assert isinstance(track.features, Path)
        if track.features.is_file():
            self._tracks.append(track)
        else:
            self.leave_out(f"{where}: track {track.id!r}: {track.features}: no such file")

    def leave_out(self, message: str) -> None:
        """Note a track without an audio file, with where it is and the reason; see `on_error`."""
        self._missing.append(message)

    def check(self, problems: Problems, advice: str = "") -> None:
        """Raise what was gathered, missing files and, where all are missing, `advice` included.

        Raises:
            InputError: There is a problem.
        """
        advice = advice and f"; {advice}"
        if not self._tracks and self._missing:
            raise InputError(f"{self._missing[0]}, nor is any of the other tracks there{advice}")
        if self._missing and self._on_error == "raise":
            problems.add(f"{self._source}: {_count(self._missing)} without a file; {_HINT}")
            for message in self._missing:
                problems.add(message)
        problems.raise_if_any()
        if self._missing:
            self._warn("without a file", self._missing)

    def proposal(self, targets: Sequence[Target], learn: int, **parameters: object) -> Proposal:
        """Return what ``musicemo init`` is to write, for a folder that is the dataset's own.

        The first `learn` targets are those to learn.
        """
        return Proposal(
            {**parameters, "sync": self.sync},
            list(self._tracks),
            targets[:learn],
            targets[learn:],
            comments={"sync": SYNC_COMMENT},
        )

    def tracks(self) -> Iterator[Track]:
        """Yield the tracks with their features, `[rows, frames]`; analyse those that the cache has not.

        Raises:
            InputError: A song cannot be analysed.
            RunError: The cache cannot be written to.
        """
        wanted = {track.id: _identity(track.features) for track in self._tracks}
        pack, known = self._open()
        stale = [track for track in self._tracks if known.get(track.id) != wanted[track.id]]
        failed: set[str] = set()
        if stale or pack is None:
            try:
                failed = self._analyse(stale)
                if pack is None or len(failed) < len(stale):
                    found = {name: identity for name, identity in wanted.items() if name not in failed}
                    pack = self._pack(pack, known, found)
            except RunError as error:
                raise RunError(
                    f"{error}; name another folder with dataset.cache or the environment variable MUSICEMO_CACHE"
                ) from error
        for track in self._tracks:
            if track.id not in failed:
                yield dataclasses.replace(track, features=pack[track.id])

    def _open(self) -> tuple[Pack | None, Mapping[str, _Identity]]:
        """Return the pack and what it was made of; nothing where it is absent or damaged."""
        try:
            pack = Pack(self.folder / f"{self.sync}.pack")
            known: dict[str, _Identity] = read_json(self.folder / f"{self.sync}.json")
            return pack, {name: identity for name, identity in known.items() if name in pack}
        except (InputError, OSError, ValueError, AttributeError):
            return None, {}

    def _analyse(self, stale: Sequence[Track]) -> set[str]:
        """Write the feature files of some tracks; return those that cannot be analysed."""
        try:
            self.folder.mkdir(parents=True, exist_ok=True)
        except OSError as error:
            raise RunError(f"{self.folder}: cannot be made: {error.strerror or error}") from error
        about = {"source": str(self._source), "recipe": dataclasses.asdict(self.recipe)}
        write_json(self.folder / "about.json", about)
        songs = {track.id: (Path(str(track.features)), self._file(track.id)) for track in stale}
        with Progress(f"Analysing songs into {self.folder}", "songs") as progress:
            report = extract(
                songs.values(),
                self.recipe,
                jobs=None if len(songs) >= _WORTH_STARTING else 0,
                progress=progress.update,
            )
        reasons = {failure.path: failure.reason for failure in report.failures}
        failed = {name: source for name, (source, _) in songs.items() if source in reasons}
        messages = [f"track {name!r}: {source}: {reasons[source]}" for name, source in failed.items()]
        if len(messages) == len(self._tracks):
            raise InputError(f"none of the {len(messages)} songs can be analysed; {messages[0]}")
        if messages and self._on_error == "raise":
            problems = Problems()
            problems.add(f"{self._source}: {_count(messages)} that cannot be analysed; {_HINT}")
            for message in messages:
                problems.add(message)
            problems.raise_if_any()
        if messages:
            self._warn("that cannot be analysed", messages)
        return set(failed)

    def _pack(self, old: Pack | None, known: Mapping[str, _Identity], wanted: Mapping[str, _Identity]) -> Pack:
        """Pack what is wanted, and keep what else was packed: another subset may want it."""
        every = {**known, **wanted}
        pack = Pack.build(self.folder / f"{self.sync}.pack", self._arrays(old, known, every))
        write_json(self.folder / f"{self.sync}.json", every)
        return pack

    def _arrays(
        self, old: Pack | None, known: Mapping[str, _Identity], every: Mapping[str, _Identity]
    ) -> Iterator[tuple[str, NDArray[np.float32]]]:
        for name, identity in every.items():
            packed = old is not None and known.get(name) == identity
            yield name, old[name] if packed and old else read_array(self._file(name), self.sync)

    def _file(self, name: str) -> Path:
        return self.folder / "songs" / f"{_safe(name)}.npz"

    def _warn(self, what: str, messages: Sequence[str]) -> None:
        """Say which tracks are left out, the first few with the reason."""
        shown = "; ".join(messages[:_NAMED])
        more = f"; and {len(messages) - _NAMED} more" if len(messages) > _NAMED else ""
        warnings.warn(f"{self._source}: {_count(messages)} {what} left out: {shown}{more}", stacklevel=3)


def _count(messages: Sequence[str]) -> str:
    return f"{len(messages)} track{'s' if len(messages) > 1 else ''}"


def _identity(path: object) -> _Identity:
    status = Path(str(path)).stat()
    return [str(path), status.st_size, status.st_mtime_ns]


def _safe(name: str) -> str:
    """Return a name that any file system takes: the track's id where it is one, else one like it and a hash."""
    parts = name.split("/")
    if len(name) <= 100 and name == name.lower() and all(re.fullmatch(r"[\w-][\w.-]*", part) for part in parts):
        return name
    digest = hashlib.sha256(name.encode(errors="surrogateescape")).hexdigest()[:8]
    return f"{re.sub(r'[^A-Za-z0-9_-]+', '_', name)[:60]}-{digest}"
