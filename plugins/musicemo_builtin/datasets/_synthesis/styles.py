"""What each genre is likely to play: ranges and choices from which a track is drawn."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass

__all__ = ["STYLES", "Style"]

Range = tuple[float, float]


@dataclass(frozen=True, slots=True, kw_only=True)
class Style:
    """The distributions of one genre; a pair is the lowest and highest value, a tuple of names a choice.

    Attributes:
        tempo: Beats a minute, drawn on a logarithmic scale.
        scales: Scale -> weight.
        progressions: Families of `harmony.PROGRESSIONS`.
        voicings: How chords are stacked, see `harmony.chord`.
        chords: Instruments of the accompaniment.
        comping: Rhythms of the accompaniment.
        basses: Instruments of the bass; an empty name is no bass.
        bass_lines: Rhythms of the bass.
        leads: Instruments of the melody.
        pads: Instruments that hold the chords; an empty name is no pad.
        grooves: Drum patterns; an empty name is no drums.
        kit: The drums' sounds.
        swing: Where the off-beat falls in its beat: 0.5 straight, 0.67 triplets.
        swing_unit: Beats that one swung pair takes: 1 swings eighths, 0.5 sixteenths.
        drive: Gain into the accompaniment's distortion, 0 none.
        density: Probability of a melody note on an eighth.
        press: Gain into the master's saturation: high is loud and even.
        rubato: Depth of the tempo's ebb and flow.
        crescendo: Decibels by which the level changes over a clip.
        reverb: Level of the room.
        dust: Level of a worn record's hiss and crackle.
        pump: How deep the kick ducks everything else.
    """

    tempo: Range
    scales: Mapping[str, float]
    progressions: tuple[str, ...]
    voicings: tuple[str, ...] = ("triad",)
    chords: tuple[str, ...]
    comping: tuple[str, ...]
    basses: tuple[str, ...]
    bass_lines: tuple[str, ...]
    leads: tuple[str, ...]
    pads: tuple[str, ...] = ("",)
    grooves: tuple[str, ...]
    kit: str = "studio"
    swing: Range = (0.5, 0.52)
    swing_unit: float = 1.0
    drive: Range = (0.0, 0.0)
    density: Range = (0.3, 0.7)
    press: Range = (0.8, 2.0)
    rubato: Range = (0.0, 0.005)
    crescendo: Range = (0.0, 2.0)
    reverb: Range = (0.05, 0.15)
    dust: Range = (0.0, 0.0)
    pump: Range = (0.0, 0.0)


STYLES: dict[str, Style] = {
    "Blues": Style(
        tempo=(60, 132),
        scales={"mixolydian": 0.6, "dorian": 0.3, "minor": 0.1},
        progressions=("blues",),
        voicings=("dominant", "seventh"),
        chords=("electric guitar", "piano", "organ"),
        comping=("shuffle", "charleston", "stabs"),
        basses=("finger bass", "upright bass"),
        bass_lines=("walking", "eighths", "roots"),
        leads=("electric guitar", "harmonica", "voice"),
        grooves=("shuffle", "rock", "brushes"),
        swing=(0.6, 0.68),
        drive=(0.0, 2.5),
        press=(0.3, 2.2),
    ),
    "Classical": Style(
        tempo=(56, 160),
        scales={"major": 0.55, "minor": 0.1, "harmonic minor": 0.35},
        progressions=("cadences", "songs"),
        chords=("piano", "strings", "pizzicato"),
        comping=("arpeggio", "alberti", "block", "whole"),
        basses=("cello", "", "cello"),
        bass_lines=("long", "roots"),
        leads=("strings", "flute", "piano", "oboe"),
        pads=("", "strings"),
        grooves=("", "", "", "timpani"),
        density=(0.25, 0.85),
        press=(0.15, 1.4),
        rubato=(0.03, 0.1),
        crescendo=(2.0, 12.0),
        reverb=(0.2, 0.4),
    ),
    "Electronic": Style(
        tempo=(112, 150),
        scales={"minor": 0.5, "dorian": 0.2, "major": 0.2, "phrygian": 0.1},
        progressions=("loops", "vamps"),
        voicings=("triad", "seventh"),
        chords=("saw synth", "square synth", "electric piano"),
        comping=("stabs", "arpeggio 16", "offbeat", "sixteenths"),
        basses=("synth bass", "acid bass"),
        bass_lines=("offbeat", "sixteenths", "eighths"),
        leads=("square synth", "saw synth", "bell"),
        pads=("pad", "pad", ""),
        grooves=("house", "techno", "breakbeat", "trance"),
        kit="machine",
        swing=(0.5, 0.5),
        drive=(0.0, 1.0),
        press=(0.5, 4.5),
        rubato=(0.0, 0.0),
        reverb=(0.08, 0.25),
        pump=(0.1, 0.7),
    ),
    "Folk": Style(
        tempo=(72, 140),
        scales={"major": 0.5, "mixolydian": 0.2, "dorian": 0.2, "minor": 0.1},
        progressions=("songs",),
        chords=("acoustic guitar", "acoustic guitar", "banjo"),
        comping=("strum", "arpeggio", "boom-chick", "arpeggio 16"),
        basses=("", "upright bass", ""),
        bass_lines=("roots", "long"),
        leads=("voice", "flute", "harmonica", "fiddle"),
        grooves=("", "", "shaker", "brushes"),
        kit="soft",
        press=(0.2, 1.6),
        rubato=(0.005, 0.03),
        crescendo=(0.0, 4.0),
    ),
    "Hip-Hop": Style(
        tempo=(78, 108),
        scales={"minor": 0.6, "dorian": 0.25, "major": 0.15},
        progressions=("vamps", "loops"),
        voicings=("seventh", "triad"),
        chords=("electric piano", "piano", "strings", "bell"),
        comping=("stabs", "whole", "charleston", "block"),
        basses=("sub bass", "sub bass", "finger bass"),
        bass_lines=("kick", "kick", "roots"),
        leads=("rap", "rap", "rap", "voice"),
        grooves=("boom bap", "trap", "boom bap 2"),
        kit="808",
        swing=(0.5, 0.6),
        swing_unit=0.5,
        density=(0.6, 0.95),
        press=(0.4, 3.5),
        dust=(0.0, 0.006),
    ),
    "Jazz": Style(
        tempo=(84, 210),
        scales={"major": 0.5, "dorian": 0.3, "harmonic minor": 0.2},
        progressions=("jazz",),
        voicings=("seventh",),
        chords=("piano", "jazz guitar", "electric piano"),
        comping=("charleston", "stabs", "offbeat"),
        basses=("upright bass",),
        bass_lines=("walking", "walking", "roots"),
        leads=("saxophone", "trumpet", "piano", "jazz guitar"),
        grooves=("jazz", "jazz", "brushes", "bossa"),
        kit="soft",
        swing=(0.58, 0.68),
        density=(0.4, 0.95),
        press=(0.25, 1.8),
        rubato=(0.0, 0.015),
        reverb=(0.1, 0.25),
    ),
    "Metal": Style(
        tempo=(96, 190),
        scales={"minor": 0.5, "phrygian": 0.35, "dorian": 0.1, "major": 0.05},
        progressions=("riffs",),
        voicings=("power",),
        chords=("electric guitar",),
        comping=("gallop", "eighths", "sixteenths", "chug"),
        basses=("pick bass",),
        bass_lines=("eighths", "kick", "sixteenths"),
        leads=("lead guitar", "shout", "lead guitar", ""),
        grooves=("double kick", "rock", "punk", "half time"),
        kit="hard",
        drive=(6.0, 20.0),
        density=(0.3, 0.9),
        press=(1.0, 6.0),
    ),
    "Pop": Style(
        tempo=(88, 132),
        scales={"major": 0.65, "minor": 0.25, "mixolydian": 0.1},
        progressions=("songs", "loops"),
        chords=("piano", "acoustic guitar", "saw synth", "electric piano"),
        comping=("block", "strum", "eighths", "offbeat"),
        basses=("finger bass", "synth bass"),
        bass_lines=("eighths", "roots", "kick"),
        leads=("voice", "voice", "voice", "bell"),
        pads=("pad", "strings", ""),
        grooves=("pop", "house", "rock", "disco"),
        drive=(0.0, 0.8),
        press=(0.4, 3.5),
        pump=(0.0, 0.3),
    ),
    "Rock": Style(
        tempo=(92, 168),
        scales={"major": 0.35, "mixolydian": 0.3, "minor": 0.35},
        progressions=("songs", "riffs"),
        voicings=("power", "triad"),
        chords=("electric guitar",),
        comping=("eighths", "strum", "block", "chug"),
        basses=("pick bass", "finger bass"),
        bass_lines=("eighths", "roots", "kick"),
        leads=("voice", "lead guitar", "voice", "organ"),
        grooves=("rock", "rock", "punk", "half time"),
        kit="hard",
        drive=(1.5, 7.0),
        press=(0.5, 4.0),
        rubato=(0.0, 0.01),
    ),
    "Trip-Hop": Style(
        tempo=(66, 98),
        scales={"minor": 0.6, "dorian": 0.3, "phrygian": 0.1},
        progressions=("vamps", "loops"),
        voicings=("seventh", "triad"),
        chords=("electric piano", "jazz guitar", "strings"),
        comping=("whole", "arpeggio", "charleston"),
        basses=("sub bass", "upright bass", "synth bass"),
        bass_lines=("kick", "long", "roots"),
        leads=("voice", "trumpet", "flute", "bell"),
        pads=("pad", "strings"),
        grooves=("trip", "breakbeat", "boom bap"),
        kit="dusty",
        swing=(0.52, 0.62),
        swing_unit=0.5,
        density=(0.15, 0.45),
        press=(0.3, 2.4),
        reverb=(0.2, 0.4),
        dust=(0.004, 0.02),
    ),
}
