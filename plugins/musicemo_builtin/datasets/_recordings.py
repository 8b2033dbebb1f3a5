"""Audio files of a dataset's tracks, and their features, which are computed when they are first needed.

The features are in the cache folder `<dataset>/<name of the folder>-<16 hexadecimal digits>`. The digits are a hash of
the location of the audio and of the recipe::

    about.json     location of the audio, and the recipe
    songs/         one feature file per track, named by its id
    beat.pack      the same features in one file, for training; frame.pack likewise
    beat.json      the pack's fingerprint, and the identity of each track's audio file: hash, path, size, times
"""

from __future__ import annotations

import contextlib
import dataclasses
import hashlib
import logging
import os
import re
from collections.abc import Iterator, Mapping, Sequence
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path
from typing import Annotated, Literal

import numpy as np
from numpy.typing import NDArray
from pydantic import Field

from musicemo.contracts import FEATURE_ROWS, Proposal, Target, Track
from musicemo.errors import InputError, RunError
from musicemo.features import Pack, Recipe, Source, cache_folder, extract, read_with_info
from musicemo.files import exclusive, expanded, read_json, write_json
from musicemo.progress import Progress
from musicemo.workers import cores
from musicemo_builtin.datasets._problems import Problems

__all__ = ["SYNC_COMMENT", "Duration", "Features", "Offset", "OnError", "Recordings", "Sync"]

_log = logging.getLogger(__name__)

Features = Literal["mel", "chroma", "fused"]
Sync = Literal["beat", "frame"]
Offset = Annotated[float, Field(ge=0.0)]
Duration = Annotated[float, Field(gt=0.0)] | None
OnError = Literal["raise", "skip"]

#: Part of a track's id that every file system takes as a name; letters of other scripts depend on the locale.
_PLAIN = re.compile(r"[a-z0-9_-][a-z0-9_.-]*")

#: Fewer songs than this are analysed in this process: starting others would take longer.
_WORTH_STARTING = 6
_NAMED = 3
#: What an experiment that is written for somebody says of the parameter.
SYNC_COMMENT = "time grid of the features: beat (one step per beat) or frame (one step every 23 ms)"
_HINT = 'on_error = "skip" ignores these tracks'


class Recordings:
    """Tracks whose `features` are an audio file; `tracks` yields them with their arrays.

    Args:
        dataset: Name of the dataset, and of its folder in the cache.
        source: Location of its files: a folder or a table.
        features: Feature rows.
        sync: Feature columns: one per beat or one per frame.
        offset: Start of the excerpt, in seconds.
        duration: Length of the excerpt in seconds; by default the rest of the song.
        cache: Folder of the features; by default `musicemo.features.cache_folder`.
        on_error: ``raise`` one error that lists all songs that are missing or cannot be analyzed, or ``skip`` them
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
        self.folder = expanded(cache or cache_folder()) / dataset / f"{_safe(source.stem)[:40]}-{key}"
        self._tracks: list[Track] = []
        self._missing: list[str] = []

    def add(self, where: str, track: Track) -> None:
        """Add a track whose `features` are an audio file; `where` is the file and line that name it."""
        assert isinstance(track.features, Path)
        if os.path.isfile(track.features):  # noqa: PTH113  # a folder that cannot be read is no error here
            self._tracks.append(track)
        else:
            self.leave_out(f"{where}: track {track.id!r}: {track.features}: no such file")

    def leave_out(self, message: str) -> None:
        """Record a track without an audio file, with its place and the reason; see `on_error`."""
        self._missing.append(message)

    def check(self, problems: Problems, advice: str = "") -> None:
        """Raise the collected problems and missing files, with `advice` if all files are missing.

        Raises:
            InputError: There is a problem.
        """
        advice = advice and f"; {advice}"
        if not self._tracks and self._missing:
            raise InputError(f"{self._missing[0]}, and the files of all other tracks are missing too{advice}")
        if self._missing and self._on_error == "raise":
            problems.add(f"{self._source}: {_count(self._missing)} without a file. {_HINT}")
            for message in self._missing:
                problems.add(message)
        problems.raise_if_any()
        if self._missing:
            self._warn("without a file", self._missing)

    def proposal(self, targets: Sequence[Target], learn: int, **parameters: object) -> Proposal:
        """Return the proposal for ``musicemo init``, for a folder of the dataset.

        The first `learn` targets are the recommended tasks.
        """
        return Proposal(
            {**parameters, "sync": self.sync},
            list(self._tracks),
            targets[:learn],
            targets[learn:],
            comments={"sync": SYNC_COMMENT},
        )

    def tracks(self) -> Iterator[Track]:
        """Yield the tracks with their features, `[rows, frames]`. Analyze those that are not in the cache.

        Raises:
            InputError: A song cannot be analyzed.
            RunError: The cache cannot be written.
        """
        pack, sources, stale = self._look()
        failed: set[str] = set()
        if stale or pack is None:
            try:
                try:
                    self.folder.mkdir(parents=True, exist_ok=True)
                except OSError as error:
                    raise RunError(f"{self.folder}: cannot be created: {error.strerror or error}") from error
                with exclusive(self.folder):
                    pack, sources, stale = self._look()  # what another process has done in the meantime
                    if stale or pack is None:
                        failed = self._analyse(stale)
                        added = [track for track in stale if track.id not in failed]
                        if added or pack is None:
                            pack = self._pack(pack, sources, added)
            except RunError as error:
                raise RunError(
                    f"{error}. Set another folder with dataset.cache or the environment variable MUSICEMO_CACHE"
                ) from error
        for track in self._tracks:
            if track.id not in failed:
                yield dataclasses.replace(track, features=pack[track.id])

    def _look(self) -> tuple[Pack | None, dict[str, Source], list[Track]]:
        """Return the pack, the songs whose features it has undamaged, and the tracks whose features it has not."""
        pack, sources = self._open()
        if pack is None:
            return None, {}, self._tracks

        paths = {track.id: Path(str(track.features)) for track in self._tracks if track.id in sources}
        current = {name: sources[name] for name, path in paths.items() if _is_at(sources[name], path)}
        moved = [name for name in paths if name not in current]
        with ThreadPoolExecutor(cores()) as threads:  # hashing leaves other threads free to work
            renewed = zip(
                moved, threads.map(lambda name: _renewed(sources[name], paths[name]), moved), strict=True
            )
            renewals = {name: source for name, source in renewed if source}
        if renewals:
            sources |= renewals
            with contextlib.suppress(
                RunError
            ):  # in a cache that is read only, they are hashed again the next time
                self._record(pack, sources)
        current |= renewals
        for name in pack.damaged(current):
            del current[name]
        stale = [track for track in self._tracks if track.id not in current]
        gone = {track.id for track in stale}
        return pack, {name: source for name, source in sources.items() if name not in gone}, stale

    def _open(self) -> tuple[Pack | None, dict[str, Source]]:
        """Return the pack and the songs that it was made of; nothing if either is missing, damaged or of another."""
        try:
            pack = Pack(self.folder / f"{self.sync}.pack")
            index = read_json(self.folder / f"{self.sync}.json")
            if index["pack"] != pack.fingerprint:  # the process that wrote them was killed in between
                return None, {}
            return pack, {name: Source.parse(value) for name, value in index["tracks"].items() if name in pack}
        except (InputError, OSError, ValueError, AttributeError, TypeError, KeyError, RecursionError):
            return None, {}

    def _analyse(self, stale: Sequence[Track]) -> set[str]:
        """Write the feature files of some tracks; return those that cannot be analysed."""
        about = {"source": str(self._source), "recipe": dataclasses.asdict(self.recipe)}
        write_json(self.folder / "about.json", about)
        songs = {track.id: (Path(str(track.features)), self._file(track.id)) for track in stale}
        with Progress(f"Extracting features into {self.folder}", "songs") as progress:
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
            raise InputError(f"none of the {len(messages)} songs can be analyzed: {messages[0]}")
        if messages and self._on_error == "raise":
            problems = Problems()
            problems.add(f"{self._source}: {_count(messages)} that cannot be analyzed. {_HINT}")
            for message in messages:
                problems.add(message)
            problems.raise_if_any()
        if messages:
            self._warn("that cannot be analyzed", messages)
        return set(failed)

    def _pack(self, old: Pack | None, kept: dict[str, Source], added: Sequence[Track]) -> Pack:
        """Pack the tracks that are added, and keep what else was packed: another subset may want it."""
        damaged = set(old.damaged(kept)) if old else set()
        sources = {name: source for name, source in kept.items() if name not in damaged}

        def arrays() -> Iterator[tuple[str, NDArray[np.float32]]]:
            for name in [*sources]:
                assert old is not None
                yield name, old[name]
            for track in added:
                info, array = read_with_info(self._file(track.id), self.sync)
                path = Path(str(track.features))
                source = info.source.renewed(path) if info.source else None
                if source is None or info.fingerprint != self.recipe.fingerprint:
                    raise RunError(f"track {track.id!r}: {path} changed during the analysis. Try again")
                sources[track.id] = source
                yield track.id, array

        pack = Pack.build(self.folder / f"{self.sync}.pack", arrays())
        self._record(pack, sources)
        return pack

    def _record(self, pack: Pack, sources: Mapping[str, Source]) -> None:
        tracks = {name: dataclasses.asdict(source) for name, source in sources.items()}
        write_json(self.folder / f"{self.sync}.json", {"pack": pack.fingerprint, "tracks": tracks})

    def _file(self, name: str) -> Path:
        return self.folder / "songs" / f"{_safe(name)}.npz"

    def _warn(self, what: str, messages: Sequence[str]) -> None:
        """Warn about ignored tracks, with the reason of the first few."""
        shown = "; ".join(messages[:_NAMED])
        more = f"; and {len(messages) - _NAMED} more" if len(messages) > _NAMED else ""
        _log.warning(f"{self._source}: {_count(messages)} {what} ignored: {shown}{more}")


def _is_at(source: Source, path: Path) -> bool:
    with contextlib.suppress(OSError):
        return source.is_at(path)
    return False


def _renewed(source: Source, path: Path) -> Source | None:
    with contextlib.suppress(OSError):  # `extract` reports the error
        return source.renewed(path)
    return None


def _count(messages: Sequence[str]) -> str:
    return f"{len(messages)} track{'s' if len(messages) > 1 else ''}"


def _safe(name: str) -> str:
    """Return a name that any file system takes: the track's id where it is one, else one like it and a hash."""
    *folders, _ = parts = name.split("/")
    plain = len(name) <= 100 and name == name.lower() and all(_PLAIN.fullmatch(part) for part in parts)
    if plain and not any(
        folder.endswith(".npz") for folder in folders
    ):  # which may be the file of another track
        return name
    digest = hashlib.sha256(name.encode(errors="surrogateescape")).hexdigest()[:8]
    return f"{re.sub(r'[^A-Za-z0-9_-]+', '_', name)[:60]}-{digest}"
