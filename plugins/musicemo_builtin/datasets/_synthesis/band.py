"""The players: they turn chords into notes and drum strokes, bar by bar."""

from __future__ import annotations

import math

import numpy as np

from musicemo_builtin.datasets._synthesis.drums import GROOVES
from musicemo_builtin.datasets._synthesis.harmony import SCALES, Chord
from musicemo_builtin.datasets._synthesis.rhythm import BASS_LINES, COMPING, Clock, steps
from musicemo_builtin.datasets._synthesis.score import Hit, Note, Score

__all__ = ["Band"]

#: Voices that hardly sing, and their lowest MIDI pitch.
_SPOKEN = {"rap": 45, "shout": 52}


class Band:
    """The players of one clip; each writes a bar at a time into the score.

    Args:
        score: What they write into; its chords are there.
        clock: When a beat is played.
        density: Probability of a melody note on an eighth.
        rng: Draws velocities, fills and the melody.
    """

    def __init__(self, score: Score, clock: Clock, density: float, rng: np.random.Generator) -> None:
        self.score, self.clock, self.density, self.rng = score, clock, density, rng
        self.loudness = 0.35 + 0.6 * score.intensity
        self.height = 7 + int(rng.integers(0, 5))

    def play(self) -> None:
        """Write every bar."""
        for bar, now in enumerate(self.score.chords):
            start = 4.0 * bar
            self._drums(start)
            self._chords(start, now)
            self._bass(start, now, self.score.chords[(bar + 1) % len(self.score.chords)])
            self._melody(start, now)

    def _note(self, role: str, beat: float, beats: float, pitch: float, velocity: float) -> None:
        start = self.clock(beat)
        seconds = max(0.05, beats * 60 / self.clock.tempo)
        velocity = float(np.clip(velocity * self.loudness * self.rng.normal(1, 0.08), 0.05, 1))
        pitch += self.score.tonic + self.score.tuning
        self.score.notes.append(Note(start, seconds, pitch, velocity, self.score.instruments[role], role))

    def _plays(self, sure: float) -> bool:
        """Draw whether a stroke is played: surely in an intense clip, with probability `sure` in a calm one."""
        return bool(self.rng.random() < sure + (1 - sure) * self.score.intensity)

    def _drums(self, start: float) -> None:
        for name, pattern in GROOVES[self.score.instruments["groove"]].items():
            for beat, _, velocity in steps(pattern):
                backbone = name in ("kick", "snare", "clap") or beat % 1 == 0
                if not self._plays((0.85 if backbone else 0.2) * velocity):
                    continue
                level = float(np.clip(velocity * self.loudness * self.rng.normal(1, 0.07), 0.05, 1))
                self.score.hits.append(Hit(self.clock(start + beat), name, level))

    def _chords(self, start: float, now: Chord) -> None:
        comping = self.score.instruments["comping"]
        pattern, length = COMPING[comping]
        low = 40 if now.third == 0 else 48
        pitches = [low + (pitch % 12 if now.third else pitch) for pitch in now.pitches]
        if now.third:
            pitches.sort()
        broken = comping.startswith(("arpeggio", "alberti"))
        order = [0, 2, 1, 2] if comping == "alberti" else [0, 1, 2, 3, 2, 1]
        for index, (beat, beats, velocity) in enumerate(steps(pattern, length)):
            if index and not self._plays(0.35 * velocity):
                continue
            if broken:
                step = order[index % len(order)]
                voicing = [pitches[step % len(pitches)] + 12 * (step // len(pitches))]
            elif comping == "boom-chick" and index % 2 == 0:
                voicing = [pitches[0] - 12]
            else:
                voicing = pitches
            for place, pitch in enumerate(voicing):
                lag = 0.02 * place if comping == "strum" else 0.0
                self._note("chords", start + beat + lag, beats, pitch, velocity / math.sqrt(len(voicing)))
        if self.score.instruments["pad"]:
            for pitch in pitches:
                self._note("pad", start, 4.0, pitch + 12, 0.6)

    def _bass(self, start: float, now: Chord, following: Chord) -> None:
        if not self.score.instruments["bass"]:
            return
        line = self.score.instruments["bass line"]
        pattern, length = BASS_LINES[line]
        if line == "kick":
            pattern = GROOVES[self.score.instruments["groove"]].get("kick", pattern)
        root = 28 + (now.root + 4) % 12
        strokes = steps(pattern, length)
        for index, (beat, beats, velocity) in enumerate(strokes):
            if index and not self._plays(0.4):
                continue
            pitch = root
            if line == "walking":
                tones = [root, *(root + (pitch - now.root) % 12 for pitch in now.pitches[1:])]
                approach = 28 + (following.root + 4) % 12 + int(self.rng.choice([-1, 1]))
                pitch = approach if index == len(strokes) - 1 else tones[index % len(tones)]
            elif index % 4 == 3 and self.rng.random() < 0.3:
                pitch = root + 7
            self._note("bass", start + beat, min(beats, 4.0), pitch, velocity)

    def _melody(self, start: float, now: Chord) -> None:
        if not self.score.instruments["lead"]:
            return
        scale = SCALES[self.score.scale]
        tones = {pitch % 12 for pitch in now.pitches}
        grid = 0.25 if self.density > 0.75 else 0.5
        onsets = [
            beat
            for beat in np.arange(0, 4, grid)
            if self.rng.random() < self.density * (1.25 if beat % 1 == 0 else 0.8) * (0.6 if grid < 0.5 else 1)
        ]
        lead = self.score.instruments["lead"]
        for beat, following in zip(onsets, [*onsets, 4.0][1:], strict=True):
            self.height = int(np.clip(self.height + self.rng.integers(-2, 3), 2, 13))
            if beat % 1 == 0 and scale[self.height % 7] not in tones:
                self.height += 1 if self.height < 7 else -1
            pitch = scale[self.height % 7] + 12.0 * (self.height // 7)
            if lead in _SPOKEN:
                pitch = 0.3 * pitch
            low = _SPOKEN.get(lead, 54 + round(10 * (self.score.mood - 0.5)))
            self._note("lead", start + float(beat), min(0.9 * (following - beat), 2.0), low + pitch, 0.9)
