"""Synthesized music whose emotions are a known function of the music."""

from __future__ import annotations

import hashlib
import json
from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Annotated

import numpy as np
from numpy.typing import NDArray
from pydantic import Field

from musicemo.contracts import Judgement, Label, Series, Target, Track
from musicemo.errors import InputError
from musicemo.files import expanded
from musicemo.workers import one_thread
from musicemo_builtin.datasets._synthesis import (
    EMOTIONS,
    GENRES,
    INSTRUMENTS,
    MOODS,
    OVER_TIME,
    RATE,
    VERSION,
    Panel,
    instruments_of,
    make,
    moods_of,
    perceive,
    slot,
    stream,
)
from musicemo_builtin.datasets._synthesis.store import Record, Store

__all__ = ["Synth", "render"]

#: Ratings over time: time of the first in seconds, and how many a second.
_START, _RATE = 2.0, 2.0

#: Number of clips that the same listeners compare.
_COMPARED = 3

#: Seconds of the shortest section.
_SHORTEST = 2.0

#: Grows whenever records of what was played get another form.
_RECORDS = 2


class Synth:
    """Clips of ten genres, composed and rendered by numpy and analyzed like real audio.

    Targets are `genre`, the listeners' mean ratings of `valence`, `energy` and `danceability` in [0, 1], and the tags
    `instruments` (what plays) and `mood` (words for the emotions that an ideal listener hears). Clips of several
    sections also have `valence_over_time` and `energy_over_time`: mean ratings twice a second, from 2 s on. With
    `pair_listeners`, the pairs `valence_pairs`, `energy_pairs` and `danceability_pairs` are targets too: the clips of a
    set of the official split are compared in groups of three.
    `Track.ratings` has every listener's rating. A track's group is its artist, one of eight per genre. The
    official split is by artist: five are in the training set, one in the validation set, two in the test set.
    `docs/synth.md` describes the music and the listeners.

    A clip depends only on the seed, its number, the duration and the number of sections. With more tracks, the first
    ones stay the same. Noise, raters and missing targets do not change the sound. What was played is computed when the
    tracks are first needed, on all cores, and kept on disk; the sound is synthesized again for each extractor.

    Args:
        tracks: Number of clips; the genres alternate.
        seed: Seed of the music, the listeners and the missing targets.
        duration: Length of a clip in seconds.
        sections: Number of sections of a clip. The arrangement changes from one to the next: intensity, mood, scale,
            chords and instruments.
        noise: Standard deviation of a rating's error, which also determines the spread of the listeners' bias and gain.
        raters: Number of listeners per clip, out of forty.
        pair_listeners: Number of listeners who compare the clips of each group of three; with 0 there are no pairs.
        missing: Probability that a target is missing.
        cache: Folder of the records of what was played; by default `$MUSICEMO_CACHE`, or `musicemo` in the user's
            cache folder.

    Raises:
        InputError: A section has less than 2 seconds.
        RunError: From `tracks`, if the cache cannot be written.
    """

    def __init__(
        self,
        *,
        tracks: Annotated[int, Field(ge=1, le=99_999)] = 240,
        seed: Annotated[int, Field(ge=0)] = 0,
        duration: Annotated[float, Field(ge=3.0, le=120.0)] = 12.0,
        sections: Annotated[int, Field(ge=1, le=20)] = 1,
        noise: Annotated[float, Field(ge=0.0, le=1.0)] = 0.15,
        raters: Annotated[int, Field(ge=1, le=40)] = 8,
        pair_listeners: Annotated[int, Field(ge=0, le=40)] = 0,
        missing: Annotated[float, Field(ge=0.0, lt=1.0)] = 0.0,
        cache: Path | None = None,
    ) -> None:
        self.count, self.seed = tracks, seed
        self.raters, self.pair_listeners, self.missing = raters, pair_listeners, missing
        self.targets = [
            *(Target(emotion, "regression", range=(0.0, 1.0)) for emotion in EMOTIONS),
            Target("genre", "classification", classes=GENRES),
            Target("instruments", "tags", classes=INSTRUMENTS),
            Target("mood", "tags", classes=MOODS),
        ]
        if sections > 1:
            if duration < _SHORTEST * sections:
                raise InputError(
                    f"duration: {duration:g} s are too short for {sections} sections of at least {_SHORTEST:g} s. Use "
                    f"duration = {_SHORTEST * sections:g} or more"
                )
            self.targets += [Target(f"{name}_over_time", "series", range=(0.0, 1.0)) for name in OVER_TIME]
        if pair_listeners:
            self.targets += [Target(f"{name}_pairs", "pairs") for name in EMOTIONS]
        self.panel = Panel(noise, stream(seed, "panel"))
        self.store = Store(_folder(cache, seed, duration, sections), seed, float(duration), sections)

    def tracks(self) -> Iterator[Track]:
        """Yield the tracks by number. Compute those that are not in the cache."""
        from musicemo_builtin.datasets._synthesis.factory import fill

        records = fill(self.store, self.count)
        judgements = self._judgements(records) if self.pair_listeners else {}
        for index, record in enumerate(records):
            yield self._track(index, record, judgements.get(index, {}))

    def _heard(self, record: Record) -> tuple[list[tuple[float, dict[str, float]]], dict[str, float]]:
        """Return the start of each section with what an ideal listener gives to it, and the mean over the clip."""
        sections = [(passage.start, perceive(passage.cues)) for passage in record]
        lengths = np.diff([*(start for start, _ in sections), self.store.duration]) / self.store.duration
        return sections, {
            name: float(np.average([heard[name] for _, heard in sections], weights=lengths))
            for name in EMOTIONS
        }

    def _judgements(self, records: Sequence[Record]) -> dict[int, dict[str, list[Judgement]]]:
        """Return clip -> target -> its judgements: all pairs of each three clips in a row of a set of the split."""
        sets: dict[str, list[int]] = {}
        for index in range(len(records)):
            sets.setdefault(slot(index).part, []).append(index)
        judgements: dict[int, dict[str, list[Judgement]]] = {}
        for clips in sets.values():
            for start in range(0, len(clips), _COMPARED):
                some = clips[start : start + _COMPARED]
                heard = [self._heard(records[index])[1] for index in some]
                compared = self.panel.compare(heard, stream(self.seed, "pairs", some[0]), self.pair_listeners)
                for emotion, pairs in compared.items():
                    for (one, other), listeners in pairs.items():
                        judgement = Judgement(f"synth-{some[other]:05d}", *listeners)
                        of_clip = judgements.setdefault(some[one], {})
                        of_clip.setdefault(f"{emotion}_pairs", []).append(judgement)
        return judgements

    def _track(self, index: int, record: Record, judgements: Mapping[str, Sequence[Judgement]]) -> Track:
        what = slot(index)
        sections, perceived = self._heard(record)
        rng = stream(self.seed, "ratings", index)
        rated = self.panel.rate(perceived, rng, self.raters)
        ratings: dict[str, Sequence[float] | Sequence[Series]] = dict(rated)
        targets: dict[str, Label | None] = {
            name: float(np.mean(track_ratings)) for name, track_ratings in rated.items()
        }
        targets["genre"] = what.genre
        targets["instruments"] = instruments_of([passage.played for passage in record])
        targets["mood"] = moods_of(perceived)
        if self.store.sections > 1:
            times = np.arange(_START, self.store.duration, 1 / _RATE)
            for name, values in self.panel.follow(sections, times, rng, self.raters).items():
                targets[f"{name}_over_time"] = Series(values.mean(axis=0), _START, _RATE)
                ratings[f"{name}_over_time"] = [Series(of_one, _START, _RATE) for of_one in values]
        targets |= judgements
        lost = stream(self.seed, "missing", index).random(len(targets)) < self.missing
        for name, gone in zip(list(targets), lost, strict=True):
            if gone:
                targets[name] = None
        return Track(
            id=f"synth-{index:05d}",
            targets=targets,
            group=what.name,
            part=what.part,
            ratings={
                name: track_ratings for name, track_ratings in ratings.items() if targets[name] is not None
            },
            audio=Clip(self.seed, index, self.store.duration, self.store.sections),
        )


@dataclass(frozen=True)
class Clip:
    """The sound of a track; see `musicemo.contracts.Signal`."""

    seed: int
    index: int
    duration: float
    sections: int = 1

    @property
    def identity(self) -> str:
        """Text that is the same for equal samples."""
        sections = f"-{self.sections}-sections" if self.sections > 1 else ""
        return f"synth-{VERSION}-seed{self.seed}-{self.index:05d}-{self.duration:g}s{sections}"

    def samples(self) -> tuple[NDArray[np.float32], int]:
        """Return `[samples]`, mono, and their rate in Hz."""
        with one_thread():  # so that the same sound comes out of any number of cores
            return render(self.seed, self.index, self.duration, self.sections), RATE


def render(seed: int, index: int, duration: float = 12.0, sections: int = 1) -> NDArray[np.float32]:
    """Return the sound of a track, `[samples]`, mono, at 22,050 Hz, with a peak of 0.9."""
    return make(seed, index, duration, sections).samples


def _folder(cache: Path | None, seed: int, duration: float, sections: int) -> Path:
    """Return the cache's folder for all that changes what is played."""
    from musicemo.features import cache_folder

    described = [VERSION, _RECORDS, seed, float(duration), sections]
    key = hashlib.sha256(json.dumps(described).encode()).hexdigest()[:16]
    return (expanded(cache) if cache else cache_folder()) / "synth" / f"played-{key}"
