"""A stream of features: an extractor with the settings that the core has for all extractors."""

from __future__ import annotations

import functools
import hashlib
import itertools
import json
import traceback
from collections.abc import Callable, Iterator, Mapping, Sequence
from dataclasses import dataclass, field, replace
from pathlib import Path
from typing import Annotated, Any, Literal

import numpy as np
from numpy.typing import NDArray
from pydantic import Field, model_validator

from musicemo.contracts import ArrayReader, Bands, Extraction, FeatureExtractor, Output, Signal
from musicemo.errors import InputError, MusicemoError, RunError, nearest
from musicemo.features._decode import check_level, decode, resample
from musicemo.features._grid import Grid, Pooler, Pooling, grid_edges, pooled_rows
from musicemo.features._recipe import Recipe
from musicemo.settings import Settings

__all__ = ["Audio", "Clip", "FeatureSettings", "Stream", "read_audio"]

Audio = Path | Signal


def read_audio(
    audio: Audio, sample_rate: int, offset: float = 0.0, duration: float | None = None
) -> NDArray[np.float32]:
    """Read an excerpt of a file or of computed audio, as mono at a sample rate.

    Args:
        audio: The audio.
        sample_rate: Sample rate in Hz.
        offset: Start of the excerpt, in seconds.
        duration: Length of the excerpt in seconds; by default up to the end.

    Returns:
        `[samples]`.

    Raises:
        InputError: A file cannot be decoded (see `musicemo.features.load`), the audio is silent, or the excerpt is
            outside it.
    """
    if isinstance(audio, Path):
        return decode(audio, sample_rate, offset, duration)
    samples, rate = audio.samples()
    first = round(offset * rate)
    last = None if duration is None else first + max(1, round(duration * rate))
    samples = samples[first:last]
    if not len(samples):
        raise InputError(f"{audio.identity}: the excerpt begins after the end")
    check_level(audio.identity, float(samples.min()), float(samples.max()))
    return resample(samples, rate, sample_rate)


class FeatureSettings(Settings):
    """The keys of ``[features]`` beside the parameters of the extractor."""

    name: Annotated[str, Field(pattern=r"^[A-Za-z0-9][A-Za-z0-9_-]*$")] | None = None
    """Name of the stream, among several. The default is the extractor's type."""
    outputs: Annotated[list[str], Field(min_length=1)] | None = None
    """Outputs of the extractor to use, in this order. The default is all."""
    grid: Grid | None = None
    """Time steps of the features: the extractor's own (frame), one per beat, one per segment, or one per track."""
    segment: float = Field(default=3.0, gt=0)
    """Length of a segment in seconds, with ``grid = "segment"``."""
    pool: Pooling | None = None
    """How the extractor's steps are pooled into a step of the grid."""
    excerpt: Annotated[list[float], Field(min_length=2, max_length=2)] | None = None
    """Start and length in seconds of the part of each song to use. The default is the whole song."""
    combine: Literal["concatenate", "weighted-sum"] = "concatenate"
    """How several outputs become one: side by side, or as a sum whose weights are learned with the network."""
    dtype: Literal["float32", "float16"] = "float32"
    """Type of the values in the cache."""
    cache: Path | None = None
    """Folder of the extracted features. The default is ``$MUSICEMO_CACHE``, or the user's cache folder."""
    on_error: Literal["raise", "skip"] = "raise"
    """Treatment of songs that are missing or cannot be analyzed: one error that lists all, or a warning."""

    @model_validator(mode="after")
    def _check(self) -> FeatureSettings:
        if self.excerpt is not None and (self.excerpt[0] < 0 or self.excerpt[1] <= 0):
            raise ValueError("excerpt is [start, length] in seconds: the start at least 0, the length above 0")
        outputs = self.outputs or []
        if repeated := [name for index, name in enumerate(outputs) if name in outputs[:index]]:
            raise ValueError(f"outputs names {repeated[0]!r} twice")
        return self


@dataclass(frozen=True, slots=True, eq=False)
class Clip:
    """A clip's features on its time grid.

    Attributes:
        values: Output -> `[time, rows]`.
        edges: `[time + 1]`, in seconds.
        peaks: `[time]`: the largest absolute sample of each step.
    """

    values: Mapping[str, NDArray[np.float32]]
    edges: NDArray[np.float64]
    peaks: NDArray[np.float32]


@dataclass(frozen=True, eq=False)
class Stream:
    """An extractor, or a reader of ready-made arrays, with its settings. It can be pickled.

    Args:
        type: Name of the extractor.
        parameters: Its parameters, as they are written in TOML.
        build: Constructs it. Picklable.
        settings: The settings.
        code: Hash of the extractor's code, if it is a local file.

    Raises:
        InputError: The settings name an output that it does not have, or do not fit its outputs.
    """

    type: str
    parameters: Mapping[str, Any]
    build: Callable[[], FeatureExtractor | ArrayReader]
    settings: FeatureSettings = field(default_factory=FeatureSettings)
    code: str = ""

    def __post_init__(self) -> None:
        if isinstance(self.extractor, FeatureExtractor):
            allowed = self.extractor.outputs
            unknown = [name for name in self.settings.outputs or () if name not in allowed]
            if unknown:
                raise InputError(
                    f"outputs: {self.type!r} has no output {unknown[0]!r}{nearest(unknown[0], allowed)} "
                    f"(allowed: {', '.join(allowed)})"
                )
            if self.settings.combine == "weighted-sum":
                sizes = {name: allowed[name] for name in self.outputs}
                if len(set(sizes.values())) > 1:
                    listed = ", ".join(f"{name} {size}" for name, size in sizes.items())
                    raise InputError(
                        f'combine: "weighted-sum" needs outputs of one size; their rows are: {listed}'
                    )
        else:
            defaults = FeatureSettings()
            ignored = [
                name
                for name in ("outputs", "excerpt", "combine")
                if getattr(self.settings, name) != getattr(defaults, name)
            ]
            if ignored:
                raise InputError(
                    f"{', '.join(ignored)}: {self.type!r} reads ready-made arrays as they are, and cannot apply "
                    f"{'this key' if len(ignored) == 1 else 'these keys'}"
                )
            if self.settings.grid not in (None, "frame", "track"):
                raise InputError(
                    f'grid: {self.type!r} reads ready-made arrays, and can pool them to "track" only'
                )
            if self.settings.pool is not None and self.settings.grid != "track":
                raise InputError('pool: ready-made arrays are pooled with grid = "track"')

    def __getstate__(self) -> dict[str, Any]:
        return {name: value for name, value in vars(self).items() if name != "extractor"}

    @functools.cached_property
    def extractor(self) -> FeatureExtractor | ArrayReader:
        """The extractor, built once in each process."""
        return self.build()

    @property
    def analyser(self) -> FeatureExtractor:
        """The extractor of a stream that is computed from audio."""
        assert isinstance(self.extractor, FeatureExtractor)
        return self.extractor

    @property
    def name(self) -> str:
        """Name of the stream."""
        return self.settings.name or self.type

    @property
    def grid(self) -> Grid:
        """The time grid."""
        grid: Grid = self.settings.grid or getattr(self.extractor, "grid", None) or "frame"
        return grid

    @property
    def pool(self) -> Pooling:
        """The pooling."""
        pool: Pooling = self.settings.pool or getattr(self.extractor, "pool", None) or "mean"
        return pool

    @property
    def outputs(self) -> dict[str, int]:
        """Output that is used -> its rows on the grid."""
        every = self.analyser.outputs
        pooled = self.grid != "frame"
        return {
            name: pooled_rows(every[name], self.pool) if pooled else every[name]
            for name in self.settings.outputs or every
        }

    @property
    def places(self) -> dict[str, slice]:
        """Output that is used -> the place of its rows among those of the stream."""
        ends = list(itertools.accumulate(self.outputs.values(), initial=0))
        return {name: slice(*pair) for name, pair in zip(self.outputs, itertools.pairwise(ends), strict=True)}

    @property
    def bands(self) -> list[tuple[slice, Bands]]:
        """The rows on the grid that the extractor declares as frequency bands or pitch classes."""
        declared: Mapping[str, Bands] = getattr(self.extractor, "bands", {})
        pooling = None if self.grid == "frame" else self.pool
        groups = []
        for name, rows in self.places.items():
            if name not in declared:
                continue
            mean, deviation = (
                declared[name],
                replace(declared[name], decibel=None),
            )  # a gain does not change a deviation
            if pooling == "mean-std":
                half = (rows.start + rows.stop) // 2
                groups += [(slice(rows.start, half), mean), (slice(half, rows.stop), deviation)]
            else:
                groups.append((rows, deviation if pooling == "std" else mean))
        return groups

    @property
    def units(self) -> list[tuple[slice, bool]]:
        """The rows of each output on the grid, and whether the extractor declares that they share a unit."""
        declared = getattr(self.extractor, "common_unit", ())
        return [(rows, name in declared) for name, rows in self.places.items()]

    @property
    def size(self) -> int:
        """Number of features of a time step."""
        return sum(self.outputs.values())

    @property
    def layers(self) -> int:
        """Number of outputs that a network sums with learned weights; 1 if there is nothing to learn."""
        return len(self.outputs) if self.settings.combine == "weighted-sum" else 1

    @property
    def whole(self) -> Stream:
        """The stream for whole songs, without an excerpt."""
        return replace(self, settings=self.settings.model_copy(update={"excerpt": None}))

    @functools.cached_property
    def key(self) -> str:
        """Sixteen hexadecimal digits, equal for streams whose outputs have equal values."""
        neutral = getattr(self.extractor, "neutral", ())
        pooled = self.grid != "frame"
        text = json.dumps(
            {
                "type": self.type,
                "parameters": {name: value for name, value in self.parameters.items() if name not in neutral},
                "fingerprint": self.analyser.fingerprint,
                **({"code": self.code} if self.code else {}),
                "grid": self.grid,
                "segment": self.settings.segment if self.grid == "segment" else None,
                "pool": self.pool if pooled else None,
                "excerpt": self.settings.excerpt,
                "dtype": self.settings.dtype,
                "version": _VERSION,
            },
            sort_keys=True,
            default=str,
        )
        return hashlib.sha256(text.encode(errors="surrogateescape")).hexdigest()[:16]

    def to_table(self) -> dict[str, Any]:
        """Return the TOML table ``[features]``, defaults filled in."""
        settings = self.settings.model_dump(mode="json", exclude_none=True)
        if isinstance(self.extractor, FeatureExtractor):
            settings |= {"grid": self.grid, "pool": self.pool, "outputs": list(self.outputs)}
        return {"type": self.type, **self.parameters, **settings}

    def compute(self, audio: Audio) -> Clip:
        """Return the features of an audio file.

        Args:
            audio: The audio.

        Raises:
            InputError: The audio cannot be decoded or has no features; the message begins with its path.
            RunError: The extractor returns something else than its contract says.
        """
        clip = self.pooled(audio)
        return Clip(self.finish(clip.values), clip.edges, clip.peaks)

    def pooled(self, audio: Audio) -> Clip:
        """Return the features of `compute` before `finish`, from which parts of a song can be taken; see `compute`."""
        names = list(self.outputs)
        extractor = self.analyser
        samples = self._load(audio, extractor.sample_rate)
        seconds = len(samples) / extractor.sample_rate
        try:
            extraction = extractor.extract(samples, names)
        except Exception as error:  # an extractor may be anybody's code
            raise self._failed(audio, error) from error
        steps = None
        if self.grid != "frame":
            beats = None
            if self.grid == "beat":
                beats = extraction.beats if isinstance(extraction, Extraction) else None
                if beats is None:
                    beats = self._track_beats(audio)
            steps = grid_edges(self.grid, seconds, segment=self.settings.segment, beats=beats)
        blocks = self._blocks(audio, extraction, names)
        if steps is None or self._finished_before:
            every = {
                name: _joined([block[name] for block in parts]) for parts in [list(blocks)] for name in names
            }
            if steps is None:
                return self._by_frame(audio, every, samples)
            finished = self._finish({name: output.values for name, output in every.items()})
            blocks = iter([{name: Output(finished[name], every[name].edges) for name in names}])
        poolers = {name: Pooler(steps, self.pool) for name in names}
        for block in blocks:
            for name, pooler in poolers.items():
                pooler.add(block[name])
        values = {name: pooler.result() for name, pooler in poolers.items()}
        return Clip(values, steps, _peaks(samples, extractor.sample_rate, steps))

    def _blocks(
        self, audio: Audio, extraction: Extraction | Iterator[Extraction], names: Sequence[str]
    ) -> Iterator[dict[str, Output]]:
        """Yield the outputs of a clip block by block, checked."""
        try:
            for block in extraction if isinstance(extraction, Iterator) else [extraction]:
                if not isinstance(block, Extraction):
                    raise RunError(
                        f"{_name(audio)}: features {self.type!r}: extract returned {type(block).__name__}, not an "
                        "Extraction"
                    )
                yield {name: self._checked(audio, name, block.outputs.get(name)) for name in names}
        except Exception as error:
            raise self._failed(audio, error) from error

    def _failed(self, audio: Audio, error: Exception) -> Exception:
        """Return what an error of the extractor means: with the song's name, and the line of code that raised it."""
        if isinstance(error, InputError):
            return _of(audio, error)
        if isinstance(error, MusicemoError | MemoryError | OSError):
            return error
        place = traceback.extract_tb(error.__traceback__)[-1]
        return InputError(
            f"{_name(audio)}: the extractor {self.type!r} fails: {type(error).__name__}: {error} "
            f"({Path(place.filename).name}:{place.lineno})"
        )

    def _by_frame(self, audio: Audio, every: Mapping[str, Output], samples: NDArray[np.float32]) -> Clip:
        first, *others = every.values()
        if any(len(other.values) != len(first.values) for other in others):
            lengths = ", ".join(f"{name} {len(output.values)}" for name, output in every.items())
            raise InputError(
                f"{_name(audio)}: the outputs of {self.type!r} have different numbers of time steps ({lengths}). "
                'Use one output, or grid = "segment", "beat" or "track"'
            )
        values = {name: output.values for name, output in every.items()}
        return Clip(values, first.edges, _peaks(samples, self.analyser.sample_rate, first.edges))

    def finish(self, values: Mapping[str, NDArray[np.float32]]) -> dict[str, NDArray[np.float32]]:
        """Apply the extractor's `finish` to the features of a clip, or of a part of a song, if it has one."""
        return dict(values) if self._finished_before else self._finish(values)

    @property
    def _finished_before(self) -> bool:
        """Whether values are finished before they are pooled."""
        return self.grid != "frame" and self.pool in _FINISHED_BEFORE and hasattr(self.extractor, "finish")

    def _finish(self, values: Mapping[str, NDArray[np.float32]]) -> dict[str, NDArray[np.float32]]:
        finish = getattr(self.extractor, "finish", None)
        return dict(values) if finish is None else dict(finish(dict(values)))

    def _load(self, audio: Audio, rate: int) -> NDArray[np.float32]:
        """Return the excerpt of some audio, mono, at a sample rate."""
        start, length = self.settings.excerpt or (0.0, None)
        return read_audio(audio, rate, float(start), length)

    def _track_beats(self, audio: Audio) -> NDArray[np.float64]:
        from musicemo.features.melchroma import find_beats

        recipe = Recipe()
        return find_beats(self._load(audio, recipe.sample_rate), recipe)

    def _checked(self, audio: Audio, name: str, output: Output | None) -> Output:
        """Return an output as float32, or raise a `RunError` if it is not what the contract says."""
        rows = self.analyser.outputs[name]
        problem = None
        if output is None:
            problem = "is missing"
        else:
            values = np.asarray(output.values)
            if values.ndim != 2 or values.shape[1] != rows or not len(values):
                problem = f"has shape {list(values.shape)}, not [time, {rows}]"
            elif len(output.edges) != len(values) + 1 or not (np.diff(output.edges) > 0).all():
                problem = f"has {len(values)} time steps, but its {len(output.edges)} edges are not theirs"
            elif not np.isfinite(values).all():
                step, row = np.argwhere(~np.isfinite(values))[0]
                problem = f"is {values[step, row]} at time step {step}, row {row}"
            else:
                return Output(values.astype(np.float32, copy=False), np.asarray(output.edges, np.float64))
        raise RunError(f"{_name(audio)}: features {self.type!r}: the output {name!r} {problem}")


_VERSION = 1
"""Grows whenever the core begins to pool in another way."""

_FINISHED_BEFORE = ("std", "mean-std")
"""Poolings that are statistics of finished values, such as the deviation of decibels."""


def _joined(blocks: Sequence[Output]) -> Output:
    """Return the blocks of an output as one."""
    if len(blocks) == 1:
        return blocks[0]
    edges = [blocks[0].edges[:1], *(block.edges[1:] for block in blocks)]
    return Output(np.concatenate([block.values for block in blocks]), np.concatenate(edges))


def _of(audio: Audio, error: InputError) -> InputError:
    return InputError(*(f"{_name(audio)}: {problem}" for problem in error.problems))


def _name(audio: Audio) -> str:
    return str(audio) if isinstance(audio, Path) else audio.identity


def _peaks(samples: NDArray[np.float32], rate: int, edges: NDArray[np.float64]) -> NDArray[np.float32]:
    """Return the largest absolute sample of each time step."""
    starts = np.clip((edges[:-1] * rate).astype(np.int64), 0, len(samples) - 1)
    highest = np.maximum.reduceat(samples, starts)
    lowest = np.minimum.reduceat(samples, starts)
    return np.maximum(highest, -lowest)
