"""Extracted features of many songs on disk: computed when they are first needed, on all cores, and kept.

The features of one stream (an extractor with its settings) for one dataset are in one folder of the cache,
`<dataset>/<extractor>-<16 hexadecimal digits>`; the digits are `Stream.key`. A folder holds blocks of songs, in the
order in which they were extracted. A song's features are in the last block that has its content. Many small blocks are
merged into larger ones::

    about.json          the extractor, its parameters and settings
    0000.<output>.pack  the arrays of one output, whose name is percent-encoded
    0000.+steps.pack    the times of the steps
    0000.json           the packs' fingerprints, and the identity of each song: hash, path, size, times. Written last
"""

from __future__ import annotations

import contextlib
import dataclasses
import errno
import logging
import os
import re
import shutil
import time
from collections import Counter
from collections.abc import Callable, Hashable, Iterable, Iterator, Mapping, Sequence
from concurrent.futures import ThreadPoolExecutor
from dataclasses import dataclass
from functools import partial
from pathlib import Path
from typing import Literal, TypeVar
from urllib.parse import quote

import numpy as np
from numpy.typing import NDArray

from musicemo.contracts import ArrayFile, ArrayReader, FeatureArray, Launcher, Output, Track, find_layout
from musicemo.errors import InputError, RunError, problem_kind, summarize_problems
from musicemo.features._arrays import StoredArray
from musicemo.features._batch import failure_of
from musicemo.features._blocks import distributes, in_blocks
from musicemo.features._files import Source, Stamp, cache_folder, stamp_of
from musicemo.features._grid import Pooler, Pooling, pooled_rows
from musicemo.features._pack import Pack
from musicemo.features._stream import Audio, Clip, Stream
from musicemo.files import exclusive, expanded, make_folder, read_json, shortened, write_json
from musicemo.progress import Progress
from musicemo.workers import WorkerDied, cores, run_tasks

__all__ = ["Extracted", "FeatureStore", "cache_name", "side_by_side", "with_features"]

_Key = TypeVar("_Key", bound=Hashable)

_log = logging.getLogger(__name__)

_EXAMPLES = 3

_WORTH_STARTING = 6
"""Fewer songs than this are analysed in this process: starting others would take longer."""

_BLOCK_BYTES, _BLOCK_SECONDS = 256e6, 60.0
"""A block of songs is written when it has so many bytes, or so long after the block before."""

_SMALL_BLOCKS = 16
"""So many blocks of less than half this size are merged: each is open in every process that reads it."""

_DAMAGE = (InputError, OSError, ValueError, AttributeError, TypeError, KeyError)
"""What a block that is missing, damaged or incomplete raises."""

_MUCH = 1e8
"""Bytes on the disk that are announced."""

_STEPS = "+steps"  # an encoded name has no plus sign
_HINT = 'features.on_error = "skip" ignores these tracks'
_FOLDER_HINT = "Set another folder with features.cache or the environment variable MUSICEMO_CACHE"


@dataclass(frozen=True, slots=True, eq=False)
class Extracted:
    """The features of one song in the cache; see `FeatureArray`."""

    #: The outputs, in the order in which they are concatenated.
    packs: Sequence[Pack]
    steps: Pack
    name: str

    @property
    def shape(self) -> tuple[int, int]:
        """Number of time steps and of rows."""
        return self.packs[0].frames(self.name), sum(pack.rows for pack in self.packs)

    def read(self) -> NDArray[np.floating]:
        """Return the values, `[time, rows]`; those of one output without a copy."""
        arrays = [pack[self.name].T for pack in self.packs]
        return arrays[0] if len(arrays) == 1 else np.concatenate(arrays, axis=1)

    @property
    def edges(self) -> NDArray[np.float64]:
        """The edges of the time steps in seconds, `[time + 1]`."""
        return _unpacked_edges(self.steps[self.name][0], self.shape[0])

    def __str__(self) -> str:
        return self.name


@dataclass(frozen=True, slots=True, eq=False)
class _Streams:
    """The features of one song in several streams, side by side.

    The one step of a stream with the grid "track" is repeated over the steps of the others.
    """

    streams: Sequence[FeatureArray]
    #: Whether each stream has one step for the whole track.
    whole: Sequence[bool]

    @property
    def shape(self) -> tuple[int, int]:
        shapes = [stream.shape for stream in self.streams]
        steps = [steps for (steps, _), whole in zip(shapes, self.whole, strict=True) if not whole]
        return min(steps, default=1), sum(rows for _, rows in shapes)

    def read(self) -> NDArray[np.floating]:
        return side_by_side([stream.read() for stream in self.streams], self.whole)

    @property
    def edges(self) -> NDArray[np.float64] | None:
        """The edges of the time steps in seconds, `[time + 1]`; None if a stream does not have them."""
        timed = [
            stream for stream, one in zip(self.streams, self.whole, strict=True) if not one
        ] or self.streams
        shortest = min(timed, key=lambda stream: stream.shape[0])
        return getattr(shortest, "edges", None)

    def __str__(self) -> str:
        return str(self.streams[0])


def cache_name(track: Track, dataset: str | Mapping[str, str]) -> str:
    """Return the name of the folder in the cache for a track; see `with_features`."""
    if isinstance(dataset, str):
        return track.source or dataset
    return dataset[track.source or ""]


def side_by_side(arrays: Sequence[NDArray[np.floating]], whole: Sequence[bool]) -> NDArray[np.floating]:
    """Return the streams `[time, rows]` of a clip as one array, as long as the shortest of them.

    Args:
        arrays: The streams.
        whole: Whether each has one step for the whole track, which is repeated.
    """
    steps = min((len(array) for array, one in zip(arrays, whole, strict=True) if not one), default=1)
    repeated = [
        np.broadcast_to(array, (steps, array.shape[1])) if one else array[:steps]
        for array, one in zip(arrays, whole, strict=True)
    ]
    return np.concatenate(repeated, axis=1)


def with_features(
    tracks: Sequence[Track],
    streams: Sequence[Stream],
    dataset: str | Mapping[str, str],
    *,
    jobs: int | None = None,
    launcher: Launcher | None = None,
) -> list[Track]:
    """Return tracks with their features: those of audio are extracted, unless they are in the cache.

    Tracks with ready-made features keep them; a stream of an `ArrayReader` finds the arrays in their files.

    Args:
        tracks: The tracks.
        streams: The streams of the experiment.
        dataset: Name of the dataset's folder in the cache, for tracks without `Track.source`; or, for several datasets,
            `Track.source` -> name of the folder.
        jobs: Number of processes; by default one per core.
        launcher: Executes blocks of songs elsewhere; see `FeatureStore.read`.

    Raises:
        InputError: Songs are missing or cannot be analyzed, or streams do not have the same time steps.
        RunError: The cache cannot be written, or an extractor returns invalid values.
    """
    readers = [stream.extractor for stream in streams if isinstance(stream.extractor, ArrayReader)]
    analysers = [stream for stream in streams if not isinstance(stream.extractor, ArrayReader)]
    if readers and (analysers or len(readers) > 1):
        raise InputError("ready-made arrays cannot be combined with other streams")
    audio = {
        index: track.audio
        for index, track in enumerate(tracks)
        if track.audio is not None and not (readers and track.features is not None)
    }
    if readers and audio:
        index = next(iter(audio))
        raise InputError(
            f"track {tracks[index].id!r} has audio, and {streams[0].type!r} reads ready-made arrays"
        )
    if analysers and tracks and not audio:
        listed = ", ".join(repr(stream.name) for stream in analysers)
        _log.warning(
            f"features: {listed}: not used, because the dataset has ready-made arrays and no audio. Remove [features], "
            'or read the arrays with type = "arrays"'
        )
    extracted: dict[int, list[Extracted]] = {index: [] for index in audio}
    for stream in analysers if audio else ():
        by_dataset: dict[str, list[int]] = {}
        for index in extracted:
            by_dataset.setdefault(cache_name(tracks[index], dataset), []).append(index)
        for name, indices in by_dataset.items():
            store = FeatureStore(stream, name)
            arrays = store.read(
                {index: audio[index] for index in indices},
                {index: tracks[index].id for index in indices},
                jobs=jobs,
                launcher=launcher,
            )
            for index in indices:
                if index in arrays:
                    extracted[index].append(arrays[index])
                else:
                    del extracted[index]
    result = []
    for index, track in enumerate(tracks):
        if index in audio:
            if index in extracted:
                result.append(
                    dataclasses.replace(track, features=_combined(track, extracted[index], analysers))
                )
        elif readers and isinstance(track.features, Path | ArrayFile):
            path = track.features if isinstance(track.features, Path) else track.features.path
            files = [dataclasses.replace(file, rate=readers[0].rate) for file in readers[0].locate(path)]
            features = _located(files)
            if streams[0].grid == "track":
                array = features if isinstance(features, _Streams) else StoredArray(files[0])
                features = _Pooled(array, streams[0].pool)
            result.append(dataclasses.replace(track, features=features))
        else:
            result.append(track)
    if readers:
        _check_arrays(result)
    return result


def _check_arrays(tracks: Sequence[Track]) -> None:
    """Check the shapes of the tracks' ready-made arrays.

    Raises:
        InputError: An array cannot be read or has other axes than those declared, or the arrays differ in their rows.
    """
    problems: list[tuple[str, str]] = []
    shapes: dict[str, tuple[int, int]] = {}
    for track in tracks:
        try:
            if isinstance(track.features, ArrayFile):
                shapes[track.id] = StoredArray(track.features).shape
            elif isinstance(track.features, _Streams | _Pooled):
                shapes[track.id] = track.features.shape
        except InputError as error:
            for text in error.problems:
                # mistakes of one kind, although names and shapes differ
                problems.append((problem_kind(text.partition(": ")[2]), f"track {track.id!r}: {text}"))
    if problems:
        raise InputError(*summarize_problems(problems))
    rows = Counter(size for _, size in shapes.values())
    if len(rows) > 1:
        (size, count), *_ = rows.most_common()
        turned = find_layout(list(shapes.values())) == "rows-time"
        hint = (
            f"Every array has {next(iter(shapes.values()))[0]} time steps, so the axes are probably exchanged. Set the "
            "layout of the other order"
            if turned
            else f"{count} of {len(shapes)} tracks have {size}"
        )
        other = [f"track {name!r} has {shape[1]}" for name, shape in shapes.items() if shape[1] != size]
        raise InputError(f"layout: the arrays differ in their rows: {', '.join(other[:_EXAMPLES])}. {hint}")


@dataclass(frozen=True)
class _Pooled:
    """A ready-made array pooled into one time step."""

    array: FeatureArray
    pool: Pooling

    @property
    def shape(self) -> tuple[int, int]:
        return 1, pooled_rows(self.array.shape[1], self.pool)

    def read(self) -> NDArray[np.floating]:
        values = np.asarray(self.array.read(), np.float32)
        pooler = Pooler(np.array([0.0, len(values)]), self.pool)
        pooler.add(Output(values, np.arange(len(values) + 1.0)))
        return pooler.result()

    def __str__(self) -> str:
        return str(self.array)


def _located(files: Sequence[ArrayFile]) -> ArrayFile | FeatureArray:
    if len(files) == 1:
        return files[0]
    return _Streams([StoredArray(file) for file in files], [False] * len(files))


def _combined(track: Track, arrays: Sequence[Extracted], streams: Sequence[Stream]) -> FeatureArray:
    """Return the streams of a track as one array.

    Raises:
        InputError: They have different time steps.
    """
    if len(arrays) == 1:
        return arrays[0]
    whole = [stream.grid == "track" for stream in streams]
    lengths = {
        stream.name: array.shape[0]
        for stream, array in zip(streams, arrays, strict=True)
        if stream.grid != "track"
    } or {streams[0].name: 1}
    fewest, most = min(lengths.values()), max(lengths.values())
    if most - fewest > (_SLACK if any(stream.grid == "frame" for stream in streams) else 0):
        listed = ", ".join(f"{name} {steps}" for name, steps in lengths.items())
        raise InputError(
            f"track {track.id!r}: the streams have different numbers of time steps ({listed}). "
            'Give all streams one grid, such as grid = "segment"'
        )
    return _Streams(arrays, whole)


_SLACK = 2
"""Frames by which streams may differ at the end, as windows are padded in different ways; these are cut off."""


class FeatureStore:
    """The features of one stream for the songs of one dataset.

    Args:
        stream: The stream.
        dataset: Name of the dataset.
    """

    def __init__(self, stream: Stream, dataset: str) -> None:
        self.stream = stream
        top = expanded(stream.settings.cache or cache_folder())
        self.folder = top.absolute() / _plain(dataset) / f"{_plain(stream.type)}-{stream.key}"

    def read(
        self,
        audio: Mapping[_Key, Audio],
        names: Mapping[_Key, str],
        *,
        jobs: int | None = None,
        launcher: Launcher | None = None,
    ) -> dict[_Key, Extracted]:
        """Return the features of some audio, extracting those that are not in the cache.

        Args:
            audio: The audio, by any key.
            names: Their names in messages, by the same keys.
            jobs: Number of processes; by default one per core.
            launcher: Executes blocks of songs elsewhere, which see the same folders. Each writes its own blocks into
                the cache, so that one that is interrupted is continued.

        Raises:
            InputError: Songs are missing or cannot be analyzed; with ``on_error = "skip"``, only if all are.
            RunError: The cache cannot be written, or the extractor returns invalid values.
        """
        songs: dict[str, Audio] = {}
        places = {}
        for key, one in audio.items():
            places[key] = place = _place(one)
            songs[place] = one
        missing = [place for place, one in songs.items() if isinstance(one, Path) and not os.path.isfile(one)]  # noqa: PTH113  # a folder that cannot be read is no error here
        reasons = dict.fromkeys(missing, "no such file")
        wanted = {place: one for place, one in songs.items() if place not in reasons}
        entries, stale = self._look(wanted)
        if stale:
            try:
                make_folder(self.folder)
                with exclusive(self.folder):
                    entries, stale = self._look(wanted)  # what another process has done in the meantime
                    if stale:
                        part = {place: songs[place] for place in stale}
                        if launcher is not None and distributes(launcher):
                            reasons |= self._distribute(part, launcher)
                        else:
                            reasons |= self._extract(part, jobs)
                        self._merge()
                        entries, changed = self._look(
                            {place: one for place, one in wanted.items() if place not in reasons}
                        )
                        reasons |= dict.fromkeys(changed, "changed while it was analyzed. Try again")
            except RunError as error:
                if isinstance(error.__cause__, OSError):
                    raise RunError(f"{error}. {_FOLDER_HINT}") from error
                raise
        self._report(
            [
                f"track {names[key]!r}: {audio[key] if isinstance(audio[key], Path) else place}: {reasons[place]}"
                for key, place in places.items()
                if place in reasons
            ],
            len(audio),
        )
        result = {}
        for key, place in places.items():
            if place not in reasons:
                block, name = entries[place]
                result[key] = Extracted(
                    [block.packs[output] for output in self.stream.outputs], block.steps, name
                )
        return result

    def _report(self, messages: Sequence[str], songs: int) -> None:
        if not messages:
            return
        if len(messages) == songs:
            which = "the only song cannot" if songs == 1 else f"none of the {songs} songs can"
            raise InputError(f"{which} be analyzed: {messages[0]}")
        count = f"{len(messages)} track{'s' if len(messages) > 1 else ''}"
        if self.stream.settings.on_error == "raise":
            listed = summarize_problems((problem_kind(message), message) for message in messages)
            raise InputError(f"{count} that cannot be analyzed. {_HINT}", *listed)
        more = f"; and {len(messages) - 3} more" if len(messages) > 3 else ""
        _log.warning(f"features: {count} that cannot be analyzed ignored: {'; '.join(messages[:3])}{more}")

    def _look(self, wanted: Mapping[str, Audio]) -> tuple[dict[str, _Entry], list[str]]:
        """Return where the undamaged features of each song are, and the songs that have none.

        A file's features are those of its content: a song that was moved, copied or touched has its features still.
        Files are read only if their path, size or times are not recorded, and a file of this size is.
        """
        stamps: dict[Stamp, _Entry] = {}
        contents: dict[tuple[int, str], _Entry] = {}
        identities: dict[str, _Entry] = {}
        for block in self._blocks():
            for name, source in block.sources.items():
                if source is None:
                    identities[name] = block, name
                else:
                    stamps[source.stamp] = contents[source.size, source.sha256] = block, name
        sizes = {size for size, _ in contents}
        entries: dict[str, _Entry] = {}
        unknown: dict[str, Path] = {}
        for place, one in wanted.items():
            if not isinstance(one, Path):
                if place in identities:
                    entries[place] = identities[place]
                continue
            with contextlib.suppress(OSError):  # extraction reports the error
                stamp = stamp_of(one)
                if stamp in stamps:
                    entries[place] = stamps[stamp]
                elif stamp[1] in sizes:
                    unknown[place] = one
        renewed: dict[int, _Block] = {}
        with ThreadPoolExecutor(cores()) as threads:  # hashing leaves other threads free to work
            for place, source in zip(unknown, threads.map(_source_of, unknown.values()), strict=True):
                if source is not None and (source.size, source.sha256) in contents:
                    entries[place] = block, name = contents[source.size, source.sha256]
                    block.sources[name] = source
                    renewed[id(block)] = block
        for block in renewed.values():
            with contextlib.suppress(RunError):  # in a read-only cache they are hashed again the next time
                block.record()
        places: dict[int, dict[str, list[str]]] = {}
        for place, (block, name) in entries.items():
            places.setdefault(id(block), {}).setdefault(name, []).append(place)
        for block in {id(block): block for block, _ in entries.values()}.values():
            by_name = places[id(block)]
            for pack in (*(block.packs[name] for name in self.stream.outputs), block.steps):
                for name in pack.damaged(by_name):
                    for place in by_name[name]:
                        entries.pop(place, None)
        return entries, [place for place in wanted if place not in entries]

    def _blocks(self) -> Iterator[_Block]:
        """Yield the blocks that have the stream's outputs, the oldest first."""
        paths = _index_files(self.folder)
        _allow_open_files(len(paths) * (len(self.stream.outputs) + 1))
        for path in paths:
            try:
                yield _Block.open(path, self.stream.outputs)
            except _DAMAGE as error:
                if _code_of(error) in (errno.EMFILE, errno.ENFILE):
                    raise RunError(
                        f"{self.folder}: its {len(paths)} blocks of songs cannot be open at the same time. Allow more "
                        f"open files: ulimit -n {2 * len(paths) * (len(self.stream.outputs) + 1)}"
                    ) from error

    def _distribute(self, songs: Mapping[str, Audio], launcher: Launcher) -> dict[str, str]:
        """Extract songs where a launcher decides; return the reasons of those that fail."""
        self._describe()
        reasons: dict[str, str] = {}
        with (
            Progress(f"Extracting {self.stream.name} into {self.folder}", "songs") as progress,
            contextlib.closing(
                in_blocks(partial(_extract_block, store=self), list(songs.items()), self.stream, launcher)
            ) as blocks,
        ):
            progress.update(0, len(songs))
            done = 0
            for block in blocks:
                if block.value is not None:
                    reasons |= block.value
                elif isinstance(block.error, WorkerDied):  # too often
                    _, lost = self._look(dict(block.task))
                    reasons |= {place: failure_of(place, block.error).reason for place in lost}
                else:
                    assert block.error is not None
                    raise block.error
                progress.update(done := done + len(block.task), len(songs))
        return reasons

    def _describe(self) -> None:
        table = self.stream.to_table()
        features = {name: value for name, value in table.items() if name not in ("cache", "on_error")}
        write_json(self.folder / "about.json", {"source": _described(self.stream), "features": features})

    def _merge(self) -> None:
        """Write the songs of small blocks as larger ones, if there are many, and remove the small ones."""
        groups: dict[tuple[tuple[str, ...], str], list[_Block]] = {}
        for path in _index_files(self.folder):
            with contextlib.suppress(*_DAMAGE):
                block = _Block.open(path, [name for name in read_json(path)["packs"] if name != _STEPS])
                if block.size < _BLOCK_BYTES / 2:
                    dtype = next(iter(block.packs.values())).dtype.name
                    groups.setdefault((tuple(sorted(block.packs)), dtype), []).append(block)
        for blocks in groups.values():
            if len(blocks) < _SMALL_BLOCKS:
                continue
            batch: list[_Block] = []
            for index, block in enumerate(blocks, start=1):
                batch.append(block)
                if sum(one.size for one in batch) >= _BLOCK_BYTES or index == len(blocks):
                    _write_merged(self.folder, batch)
                    batch = []

    def _extract(self, songs: Mapping[str, Audio], jobs: int | None) -> dict[str, str]:
        """Extract songs and write them in blocks; return the reasons of those that fail."""
        stream = self.stream
        self._describe()
        if hasattr(stream.extractor, "device") or (jobs is None and len(songs) < _WORTH_STARTING):
            jobs = 0
        reasons: dict[str, str] = {}
        writer = _Writer(self.folder, stream)
        sizes = {place: one.stat().st_size if isinstance(one, Path) else 1 for place, one in songs.items()}
        with (
            Progress(f"Extracting {stream.name} into {self.folder}", "songs") as progress,
            contextlib.closing(
                run_tasks(partial(_compute, stream=stream), list(songs.items()), jobs)
            ) as outcomes,
            contextlib.closing(writer),
        ):
            progress.update(0, len(songs))
            for done, outcome in enumerate(outcomes, start=1):
                place = outcome.task[0]
                if outcome.value is not None:
                    source, clip = outcome.value
                    writer.add(place, source, clip)
                    if len(writer.written) == 1:
                        _check_room(
                            self.folder, writer.size * sum(sizes.values()) / max(sizes[place], 1), progress
                        )
                elif isinstance(outcome.error, RunError):  # the song is not to blame
                    raise outcome.error
                else:
                    assert outcome.error is not None
                    reasons[place] = failure_of(place, outcome.error).reason
                progress.update(done, len(songs))
        return reasons


@dataclass(slots=True)
class _Block:
    """Songs that were extracted one after another."""

    path: Path
    packs: dict[str, Pack]
    steps: Pack
    #: Place of a song -> its identity; None for audio that is computed, whose place is its identity.
    sources: dict[str, Source | None]
    #: Output -> fingerprint of its pack, also of outputs that are not opened.
    fingerprints: dict[str, str]

    @property
    def size(self) -> int:
        """Bytes of the packs that are open."""
        return sum(pack.path.stat().st_size for pack in (*self.packs.values(), self.steps))

    @classmethod
    def open(cls, path: Path, outputs: Iterable[str]) -> _Block:
        """Open a block.

        Raises:
            InputError, OSError, ValueError, AttributeError, TypeError, KeyError: It is missing, damaged or incomplete.
        """
        index = read_json(path)
        fingerprints = dict(index["packs"])
        packs = {name: Pack(_pack_path(path.with_suffix(""), name)) for name in (*outputs, _STEPS)}
        for name, pack in packs.items():
            if pack.fingerprint != fingerprints[name]:
                raise ValueError("a pack is of another block")
        sources = {
            place: None if value is None else Source.parse(value) for place, value in index["songs"].items()
        }
        if not all(place in pack for place in sources for pack in packs.values()):
            raise ValueError("a pack lacks a song")
        steps = packs.pop(_STEPS)
        return cls(path, packs, steps, sources, fingerprints)

    def record(self) -> None:
        """Write the index."""
        songs = {
            place: None if source is None else dataclasses.asdict(source)
            for place, source in self.sources.items()
        }
        write_json(self.path, {"packs": self.fingerprints, "songs": songs})


_Entry = tuple[_Block, str]
"""A block, and the name of a song in it: the place where the song was when it was extracted."""


class _Writer:
    """Gathers songs, and writes them as blocks.

    Attributes:
        size: Bytes of the songs that were added.
        written: Places of these songs.
    """

    def __init__(self, folder: Path, stream: Stream) -> None:
        self._folder, self._stream = folder, stream
        self._songs: dict[str, tuple[Source | None, Clip]] = {}
        self._pending, self._since = 0.0, time.monotonic()
        self.size = 0.0
        self.written: set[str] = set()

    def add(self, place: str, source: Source | None, clip: Clip) -> None:
        """Add a song."""
        self._songs[place] = source, clip
        width = np.dtype(self._stream.settings.dtype).itemsize
        size = sum(array.size for array in clip.values.values()) * width
        self.size += size
        self._pending += sum(array.nbytes for array in clip.values.values())
        self.written.add(place)
        if self._pending >= _BLOCK_BYTES or time.monotonic() - self._since >= _BLOCK_SECONDS:
            self.flush()

    def flush(self) -> None:
        """Write the songs that were added since the last block."""
        if not self._songs:
            return
        clips = {place: clip for place, (_, clip) in self._songs.items()}
        _write_block(
            self._folder,
            {
                name: [(place, partial(_transposed, clip.values[name])) for place, clip in clips.items()]
                for name in self._stream.outputs
            }
            | {_STEPS: [(place, partial(_packed_edges, clip.edges)) for place, clip in clips.items()]},
            {place: source for place, (source, _) in self._songs.items()},
            self._stream.settings.dtype,
        )
        self._songs, self._pending, self._since = {}, 0.0, time.monotonic()

    def close(self) -> None:
        """Write what is left; called however the extraction ends, so that an interruption loses nothing."""
        self.flush()


_Arrays = Mapping[str, Sequence[tuple[str, Callable[[], NDArray[np.floating]]]]]
"""Output, or the steps -> name of a song, and a function that returns its array `[rows, time]`."""


def _write_block(
    folder: Path, arrays: _Arrays, sources: Mapping[str, Source | None], dtype: Literal["float32", "float16"]
) -> None:
    """Write a block under the next free number, which several processes may do at the same time."""
    index = _reserved(folder)
    try:
        fingerprints = {
            name: Pack.build(
                _pack_path(index.with_suffix(""), name),
                ((song, array()) for song, array in songs),
                "float32" if name == _STEPS else dtype,
            ).fingerprint
            for name, songs in arrays.items()
        }
        songs = {name: source and dataclasses.asdict(source) for name, source in sources.items()}
        write_json(index, {"packs": fingerprints, "songs": songs})
    except BaseException:
        with contextlib.suppress(OSError):
            index.unlink()
        raise


def _reserved(folder: Path) -> Path:
    """Return the index file of a new block, empty: readers ignore it until it is written."""
    taken = [int(path.name.partition(".")[0]) for path in folder.glob("[0-9]*.*")]
    number = max(taken, default=-1)
    while True:
        number += 1
        path = folder / f"{number:04d}.json"
        try:
            os.close(os.open(path, os.O_CREAT | os.O_EXCL | os.O_WRONLY, 0o666))
        except FileExistsError:
            continue
        except OSError as error:
            raise RunError(f"{path}: cannot be written: {error.strerror or error}") from error
        return path


def _write_merged(folder: Path, blocks: Sequence[_Block]) -> None:
    """Write the undamaged songs of blocks as one block, and remove those."""
    arrays: dict[str, list[tuple[str, Callable[[], NDArray[np.floating]]]]] = {}
    sources: dict[str, Source | None] = {}
    contents: set[tuple[int, str]] = set()
    for block in blocks:
        packs = {**block.packs, _STEPS: block.steps}
        damaged = {name for pack in packs.values() for name in pack.damaged(block.sources)}
        for name, source in block.sources.items():
            if name in damaged or (source is None and name in sources):
                continue
            new = name
            if source is not None:
                if (source.size, source.sha256) in contents:
                    continue
                contents.add((source.size, source.sha256))
                while new in sources:  # the same file with another content
                    new += "'"
            sources[new] = source
            for output, pack in packs.items():
                arrays.setdefault(output, []).append((new, partial(pack.__getitem__, name)))
    if sources:
        dtype = next(iter(blocks[0].packs.values())).dtype
        _write_block(folder, arrays, sources, "float16" if dtype == np.float16 else "float32")
    for block in blocks:  # the index first: a block without it is ignored
        for path in (block.path, *(pack.path for pack in (*block.packs.values(), block.steps))):
            path.unlink(missing_ok=True)


def _index_files(folder: Path) -> list[Path]:
    """Return the index files of the blocks, the oldest first."""
    return sorted(folder.glob("[0-9]*.json"), key=lambda path: int(path.stem))


def _transposed(values: NDArray[np.floating]) -> NDArray[np.floating]:
    return values.T


def _extract_block(block: Sequence[tuple[str, Audio]], store: FeatureStore) -> dict[str, str]:
    """Extract a block of songs that are not in the cache yet, in a process beside this one, which a song may crash."""
    songs = dict(block)
    _, left = store._look(songs)
    return store._extract({place: songs[place] for place in left}, 1) if left else {}


def _compute(task: tuple[str, Audio], stream: Stream) -> tuple[Source | None, Clip]:
    """Return a song's identity and its features. It is identified first, so that a change meanwhile is noticed."""
    _, audio = task
    source = Source.of(audio) if isinstance(audio, Path) else None
    clip = stream.compute(audio)
    if isinstance(audio, Path) and source is not None and not source.is_at(audio):
        raise InputError(f"{audio}: changed while it was analyzed. Try again")
    return source, clip


def _check_room(folder: Path, needed: float, progress: Progress) -> None:
    """Show the disk space that the features need, and refuse to go on if there is less.

    Raises:
        RunError: There is less.
    """
    free = shutil.disk_usage(folder).free
    if needed >= _MUCH:
        progress.note(f"needs about {needed / 1e9:,.1f} GB on the disk; {free / 1e9:,.1f} GB are free")
    if needed > free:
        raise RunError(
            f"{folder}: the features need about {needed / 1e9:.1f} GB, and {free / 1e9:.1f} GB are free. Use a coarser "
            f'grid, fewer outputs or dtype = "float16". {_FOLDER_HINT}'
        )


def _plain(name: str) -> str:
    """Return a name that is one folder; that of a local component contains its file."""
    return re.sub(r"[^A-Za-z0-9._+ -]+", "-", name).strip("-. ") or "features"


def _pack_path(stem: Path, name: str) -> Path:
    """Return the file of an output, whose name can have any characters, or of the steps."""
    encoded = name if name == _STEPS else quote(name, safe="")
    return stem.with_name(shortened(f"{stem.name}.{encoded}", ".pack"))


def _code_of(error: BaseException | None) -> int | None:
    """Return the number of the system's error that caused an error, None if it has another cause."""
    while error is not None and not isinstance(error, OSError):
        error = error.__cause__
    return None if error is None else error.errno


def _allow_open_files(count: int) -> None:
    """Raise the limit of open files of this process, if it is too low for `count` more: packs stay open."""
    try:
        import resource
    except ImportError:  # Windows has no such limit
        return
    soft, hard = resource.getrlimit(resource.RLIMIT_NOFILE)
    needed = count + _OTHER_FILES
    if resource.RLIM_INFINITY != soft < needed:
        if hard != resource.RLIM_INFINITY:
            needed = min(needed, hard)
        with contextlib.suppress(ValueError, OSError):  # a system can have a lower limit of its own
            resource.setrlimit(resource.RLIMIT_NOFILE, (needed, hard))


_OTHER_FILES = 512
"""Files that a process may have open beside the packs of a stream."""


def _place(audio: Audio) -> str:
    return os.path.abspath(audio) if isinstance(audio, Path) else audio.identity  # noqa: PTH100  # keeps links


def _described(stream: Stream) -> str:
    """Return what ``musicemo cache`` shows: the grid and the outputs."""
    grid = f"{stream.settings.segment:g} s segments" if stream.grid == "segment" else f"by {stream.grid}"
    pooled = "" if stream.grid == "frame" else f", {stream.pool}"
    excerpt = f", excerpt {stream.settings.excerpt}" if stream.settings.excerpt else ""
    return f"{', '.join(stream.outputs)} {grid}{pooled}{excerpt}"


def _packed_edges(edges: NDArray[np.float64]) -> NDArray[np.float64]:
    """Return `[1, values]`: the edges, or for several regular steps the first edge and the length of a step."""
    steps = np.diff(edges)
    if len(steps) > 1 and np.ptp(steps) < 1e-6:
        return np.array([[edges[0], (edges[-1] - edges[0]) / len(steps)]])
    return np.asarray(edges[None], np.float64)


def _unpacked_edges(values: NDArray[np.floating], steps: int) -> NDArray[np.float64]:
    if len(values) == steps + 1:
        return np.asarray(values, np.float64)
    return np.asarray(float(values[0]) + np.arange(steps + 1) * float(values[1]), np.float64)


def _source_of(path: Path) -> Source | None:
    with contextlib.suppress(OSError):
        return Source.of(path)
    return None
