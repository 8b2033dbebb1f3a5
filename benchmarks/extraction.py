"""Compare the feature extraction of musicemo with plain librosa calls, on one core.

    python benchmarks/extraction.py ../shared/data/emotify/audio

Both methods analyze every song in turn, so that other load affects both. Times are CPU times of this process, whose
libraries use one thread: the median over rounds for each song and stage. The first song is analyzed once before the
measurement, so that compilation and imports do not count.
"""

from __future__ import annotations

import os

for library in ("OMP", "OPENBLAS", "MKL", "NUMBA", "VECLIB_MAXIMUM"):
    os.environ[f"{library}_NUM_THREADS"] = "1"

import argparse  # noqa: E402
import time  # noqa: E402
from collections.abc import Callable  # noqa: E402
from pathlib import Path  # noqa: E402
from typing import Any  # noqa: E402

import librosa  # noqa: E402
import numpy as np  # noqa: E402

from musicemo.features import Recipe, analyse, load  # noqa: E402
from musicemo.features.melchroma._beats import (  # noqa: E402
    OnsetStrength,
    synchronise,
    track_beats,
)
from musicemo.features.melchroma._chroma import BINS_PER_OCTAVE, chromagram  # noqa: E402
from musicemo.features.melchroma._hpss import separate  # noqa: E402
from musicemo.features.melchroma._spectrum import decibels  # noqa: E402
from musicemo.features.melchroma._tuning import estimate_tuning  # noqa: E402

STAGES = ("decode", "hpss, mel", "beats", "chroma", "median, dB")
SUFFIXES = {".mp3", ".wav", ".flac", ".ogg"}


class Clock:
    """Adds up the CPU time of stages."""

    def __init__(self) -> None:
        self.spent = dict.fromkeys(STAGES, 0.0)

    def __call__(self, stage: str, function: Callable[..., Any], *args: Any, **options: Any) -> Any:
        """Call `function`, and count its time as that of `stage`."""
        start = time.process_time()
        result = function(*args, **options)
        self.spent[stage] += time.process_time() - start
        return result


def plain(path: Path, clock: Clock) -> tuple[np.ndarray, np.ndarray, np.ndarray]:
    """Call librosa as the original study does."""
    samples, rate = clock("decode", librosa.load, path, sr=22050)
    _, percussive = clock("hpss, mel", librosa.effects.hpss, samples)
    _, beats = clock("beats", librosa.beat.beat_track, y=percussive, sr=rate)
    mel = clock("hpss, mel", librosa.feature.melspectrogram, y=samples, sr=rate)
    chroma = clock("chroma", librosa.feature.chroma_cqt, y=samples, sr=rate)

    def finish() -> tuple[np.ndarray, np.ndarray]:
        mels, chromas = (librosa.util.sync(x, beats, aggregate=np.median) for x in (mel, chroma))
        return tuple(
            np.concatenate([librosa.power_to_db(power, ref=np.max), pitch])
            for power, pitch in ((mel, chroma), (mels, chromas))
        )

    return beats, *clock("median, dB", finish)


def ours(path: Path, clock: Clock) -> tuple[np.ndarray, np.ndarray, np.ndarray]:
    """Do what `musicemo.features.analyse` does, stage by stage."""
    recipe = Recipe()
    samples = clock("decode", load, path, recipe)
    pieces: list[np.ndarray] = []
    parts = clock("hpss, mel", separate, samples, recipe, pieces.append)

    def follow() -> np.ndarray:
        onsets = OnsetStrength(len(samples), recipe)
        for piece in pieces:
            onsets.add(piece)
        return track_beats(onsets.finish(), recipe)

    beats = clock("beats", follow)
    tuning = clock("chroma", estimate_tuning, parts.pitches, BINS_PER_OCTAVE)
    chroma = clock("chroma", chromagram, samples, recipe.sample_rate, recipe.hop, tuning)

    def finish() -> tuple[np.ndarray, np.ndarray]:
        frame = np.concatenate([decibels(parts.mel), chroma])
        beat = np.concatenate([decibels(synchronise(parts.mel, beats)), synchronise(chroma, beats)])
        return frame, beat

    return beats, *clock("median, dB", finish)


def main() -> None:
    """Measure, and print a table."""
    parser = argparse.ArgumentParser(description="Feature extraction against plain librosa, on one core.")
    parser.add_argument("folder", type=Path, help="a folder of songs, searched recursively")
    parser.add_argument("--songs", type=int, default=20, help="how many of them, evenly spread")
    parser.add_argument("--rounds", type=int, default=3, help="how often each is analysed both ways")
    arguments = parser.parse_args()
    found = sorted(p for p in arguments.folder.rglob("*") if p.suffix.lower() in SUFFIXES)
    if not found:
        parser.error(f"there is no song in {arguments.folder}")
    songs = [found[i] for i in np.linspace(0, len(found) - 1, min(arguments.songs, len(found))).astype(int)]
    plain(songs[0], Clock())
    ours(songs[0], Clock())

    times = np.zeros((2, len(songs), arguments.rounds, len(STAGES) + 1))
    beats_differ, mel_difference, chroma_difference = 0, 0.0, 0.0
    for r in range(arguments.rounds):
        for s, song in enumerate(songs):
            clocks = Clock(), Clock()
            beats, *theirs = plain(song, clocks[0])
            our_beats, *mine = ours(song, clocks[1])
            start = time.process_time()
            analyse(song)
            whole = time.process_time() - start
            times[0, s, r] = [*clocks[0].spent.values(), sum(clocks[0].spent.values())]
            times[1, s, r] = [*clocks[1].spent.values(), whole]
            if r == 0:
                same = np.array_equal(beats, our_beats)
                beats_differ += not same
                for a, b in list(zip(theirs, mine, strict=True))[: 1 + same]:
                    mel_difference = max(mel_difference, float(np.abs(a - b)[:-12].max()))
                    chroma_difference = max(chroma_difference, float(np.abs(a - b)[-12:].max()))

    typical = 1e3 * np.median(times, axis=2).mean(axis=1)
    print(f"{len(songs)} songs, {arguments.rounds} rounds; milliseconds of one core for each song")
    print(f"{'':12}{'librosa':>10}{'musicemo':>10}{'ratio':>8}")
    for stage, before, after in zip((*STAGES, "all"), *typical, strict=True):
        print(f"{stage:12}{before:10.1f}{after:10.1f}{before / after:8.1f}")
    print(
        f"songs whose beats differ: {beats_differ}; largest differences: {mel_difference:.1e} dB, "
        f"{chroma_difference:.1e} chroma"
    )


if __name__ == "__main__":
    main()
