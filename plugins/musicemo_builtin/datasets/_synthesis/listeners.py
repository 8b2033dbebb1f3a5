"""From what was played to what listeners say of it.

Eight cues describe a clip; each is brought to [-1, 1] between a low and a high reference, and three weighted sums
of them, squashed into (0, 1), are the emotions. The cues, their directions and their relative importance follow
the literature named in `docs/synth.md`; the numbers are ours.
"""

from __future__ import annotations

import math
from collections.abc import Mapping, Sequence
from dataclasses import asdict, dataclass
from itertools import combinations

import numpy as np
from numpy.typing import NDArray

from musicemo_builtin.datasets._synthesis.score import Score
from musicemo_builtin.datasets._synthesis.timbres import RATE

__all__ = ["EMOTIONS", "OVER_TIME", "WEIGHTS", "Cues", "Panel", "describe", "perceive"]

EMOTIONS = ("valence", "energy", "danceability")

#: Emotions that listeners rate over time; how long they take to follow a change, and memory of their drift, in seconds.
OVER_TIME = ("valence", "energy")
DELAY, DRIFT = 1.0, 4.0


@dataclass(frozen=True, slots=True)
class Cues:
    """What a clip is like, in natural units.

    Attributes:
        mode: From -1 (minor) to 1 (major): the mean of the scale's third and of the chords' thirds.
        tempo: Beats a minute.
        loudness: Root mean square below full scale, in dB, of the clip at a peak of 0.9.
        density: Distinct onsets a second, those within 30 ms counted once.
        brightness: Centroid of the power spectrum, in Hz.
        regularity: Concentration of the onsets, weighted by role, at one place of the beat, of its halves and of
            its quarters (lengths of mean phase vectors, averaged); in [0, 1].
        percussion: Drum strokes a beat, the soft ones counted less.
        distortion: Gain into the amplifier.
    """

    mode: float
    tempo: float
    loudness: float
    density: float
    brightness: float
    regularity: float
    percussion: float
    distortion: float


# Cue -> its values at -1 and 1; on a logarithmic scale where the third entry says so.
_REFERENCES: dict[str, tuple[float, float, bool]] = {
    "mode": (-1.0, 1.0, False),
    "tempo": (60.0, 180.0, True),
    "loudness": (-15.0, -3.0, False),
    "density": (1.5, 10.0, True),
    "brightness": (200.0, 1800.0, True),
    "regularity": (0.3, 0.9, False),
    "percussion": (0.0, 2.2, False),
    "distortion": (0.0, 12.0, False),
}

#: Emotion -> cue -> weight; ``groove tempo`` is nearness to 120 beats a minute, from -1 to 1.
WEIGHTS: dict[str, dict[str, float]] = {
    "valence": {"tempo": 0.65, "mode": 0.35, "brightness": 0.5, "regularity": 0.25, "distortion": -0.4},
    "energy": {"loudness": 0.5, "density": 0.6, "tempo": 0.4, "brightness": 0.3, "distortion": 0.2},
    "danceability": {"regularity": 0.7, "percussion": 0.6, "groove tempo": 0.5, "loudness": 0.2},
}


def describe(score: Score, samples: NDArray[np.float32]) -> Cues:
    """Measure the cues of a clip: in the score where it tells, otherwise in the sound."""
    thirds = [chord.third for chord in score.chords]
    tonic = 1 if score.scale in ("major", "mixolydian") else -1
    beat = 60 / score.tempo
    roles = {"chords": 0.4, "bass": 0.6, "lead": 0.15, "pad": 0.1}
    strong = {"kick": 1.5, "snare": 1.5, "clap": 1.5, "crash": 0.5}
    onsets = [(note.start, roles[note.role] * note.velocity) for note in score.notes]
    onsets += [(hit.start, strong.get(hit.drum, 0.3) * hit.velocity) for hit in score.hits]
    times, weights = (np.array(values) for values in zip(*onsets, strict=True))
    turns = np.exp(2j * np.pi * np.outer([1, 2, 4], times) / beat) @ weights / np.sum(weights)
    power = np.abs(np.fft.rfft(samples)) ** 2
    return Cues(
        mode=0.5 * tonic + 0.5 * float(np.mean(thirds)),
        tempo=score.tempo,
        loudness=10 * math.log10(float(np.mean(samples**2)) + 1e-12),
        density=float(np.count_nonzero(np.diff(np.sort(times)) > 0.03) + 1) / score.duration,
        brightness=float(np.sum(power * np.fft.rfftfreq(len(samples), 1 / RATE)) / (np.sum(power) + 1e-12)),
        regularity=float(np.mean(np.abs(turns))),
        percussion=sum(min(strong.get(hit.drum, 0.4), 1.0) * hit.velocity for hit in score.hits)
        * beat
        / score.duration,
        distortion=score.drive,
    )


def perceive(cues: Cues) -> dict[str, float]:
    """Return valence, energy and danceability in (0, 1), as an ideal listener would give them."""
    scaled = {name: _scale(value, *_REFERENCES[name]) for name, value in asdict(cues).items()}
    scaled["groove tempo"] = 1 - 2 * min(1.0, abs(math.log2(cues.tempo / 120)))
    return {
        emotion: 1 / (1 + math.exp(-1.5 * sum(weight * scaled[cue] for cue, weight in weights.items())))
        for emotion, weights in WEIGHTS.items()
    }


def _scale(value: float, low: float, high: float, logarithmic: bool) -> float:
    if logarithmic:
        value, low, high = math.log(max(value, 1e-6)), math.log(low), math.log(high)
    return float(np.clip(2 * (value - low) / (high - low) - 1, -1.0, 1.0))


class Panel:
    """Listeners, each with a leaning and an own use of the scale, who rate what they hear.

    A listener's rating of an emotion is ``0.5 + gain (perceived - 0.5) + leaning + slip``, clipped to [0, 1] and
    rounded to hundredths, with the gain near 1 and the leaning fixed for the listener and the emotion, and a slip
    for every rating.

    Args:
        noise: Standard deviation of a slip; those of leanings and gains are half of it and twice of it.
        rng: Draws the listeners.
        size: How many there are.
    """

    def __init__(self, noise: float, rng: np.random.Generator, size: int = 40) -> None:
        self.noise = noise
        self._leanings = rng.normal(0.0, 1.0, (size, len(EMOTIONS))) * noise / 2
        self._gains = np.exp(rng.normal(0.0, 1.0, (size, len(EMOTIONS))) * min(2 * noise, 0.5))

    def rate(
        self, perceived: Mapping[str, float], rng: np.random.Generator, raters: int
    ) -> dict[str, Sequence[float]]:
        """Have some of the listeners rate a clip, in no particular order.

        Args:
            perceived: Emotion -> what an ideal listener gives.
            rng: Draws who listens, and the slips.
            raters: How many of the listeners hear this clip.
        """
        hundredths = self._rate(perceived, rng, self._drawn(rng, raters))
        return {emotion: tuple(map(float, hundredths[:, column])) for column, emotion in enumerate(EMOTIONS)}

    def compare(
        self, clips: Sequence[Mapping[str, float]], rng: np.random.Generator, listeners: int
    ) -> dict[str, dict[tuple[int, int], tuple[float, float]]]:
        """Have some of the listeners compare each clip with each other one.

        A listener judges the clip higher that has the higher rating; equal ratings count half for each.

        Args:
            clips: What an ideal listener gives to each clip.
            rng: Draws who listens, and the slips.
            listeners: How many of the listeners compare these clips.

        Returns:
            Emotion -> pair of clips -> number of listeners for whom the first and the second is higher.
        """
        panel = self._drawn(rng, listeners)
        ratings = [self._rate(perceived, rng, panel) for perceived in clips]
        return {
            emotion: {
                (one, other): (higher := _preferring(ratings[one], ratings[other], column), listeners - higher)
                for one, other in combinations(range(len(clips)), 2)
            }
            for column, emotion in enumerate(EMOTIONS)
        }

    def _rate(
        self, perceived: Mapping[str, float], rng: np.random.Generator, listeners: NDArray[np.intp]
    ) -> NDArray[np.float64]:
        """Return the ratings of some listeners, `[listeners, emotions]`."""
        slips = rng.normal(0.0, 1.0, (len(listeners), len(EMOTIONS))) * self.noise
        exact = np.array([perceived[emotion] for emotion in EMOTIONS]) - 0.5
        ratings = 0.5 + self._gains[listeners] * exact + self._leanings[listeners] + slips
        return np.asarray(np.round(np.clip(ratings, 0.0, 1.0), 2), dtype=np.float64)

    def follow(
        self,
        sections: Sequence[tuple[float, Mapping[str, float]]],
        times: NDArray[np.float64],
        rng: np.random.Generator,
        raters: int,
    ) -> dict[str, NDArray[np.float64]]:
        """Have some of the listeners rate a clip over time, with a slider for each emotion.

        A listener follows a change as ``1 - exp(-t / delay)``, `t` seconds after it, with a delay near `DELAY` seconds.
        The slip of `rate` is half a constant of the listener and the clip, and half a drift with a memory of `DRIFT`
        seconds.

        Args:
            sections: Start of each section in seconds, and what an ideal listener gives to it.
            times: `[times]`, regular, in seconds.
            rng: Draws who listens, the delays and the slips.
            raters: How many of the listeners hear this clip.

        Returns:
            Each emotion of `OVER_TIME` -> `[raters, times]`.
        """
        listeners = self._drawn(rng, raters)
        delays = DELAY * np.exp(rng.normal(0.0, 0.3, raters))
        memory = math.exp(-(times[1] - times[0]) / DRIFT) if len(times) > 1 else 0.0
        ratings = {}
        for emotion in OVER_TIME:
            column = EMOTIONS.index(emotion)
            exact = np.zeros((raters, len(times)))
            before = 0.0
            for start, perceived in sections:
                since = np.maximum(times - start, 0.0)
                exact += (perceived[emotion] - before) * (
                    1 - np.exp(-since / delays[:, None]) if start else 1.0
                )
                before = perceived[emotion]
            drift = rng.normal(0.0, 1.0, exact.shape)
            for place in range(1, len(times)):
                drift[:, place] = memory * drift[:, place - 1] + math.sqrt(1 - memory**2) * drift[:, place]
            slips = math.sqrt(0.5) * self.noise * (rng.normal(0.0, 1.0, (raters, 1)) + drift)
            gains, leanings = (of[listeners, column][:, None] for of in (self._gains, self._leanings))
            ratings[emotion] = np.round(np.clip(0.5 + gains * (exact - 0.5) + leanings + slips, 0.0, 1.0), 2)
        return ratings

    def _drawn(self, rng: np.random.Generator, raters: int) -> NDArray[np.intp]:
        return np.asarray(rng.choice(len(self._gains), raters, replace=False), np.intp)


def _preferring(first: NDArray[np.float64], second: NDArray[np.float64], column: int) -> float:
    """Return the number of listeners for whom the first clip is higher; equal ratings count half."""
    return float((0.5 + 0.5 * np.sign(first[:, column] - second[:, column])).sum())
