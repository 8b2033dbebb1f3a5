import dataclasses

import numpy as np
import pytest
from musicemo_builtin.datasets._synthesis import EMOTIONS, GENRES, RATE, Cues, Panel, make, perceive, slot
from musicemo_builtin.datasets._synthesis.drums import GROOVES, KITS, drum
from musicemo_builtin.datasets._synthesis.harmony import PROGRESSIONS, SCALES, chord
from musicemo_builtin.datasets._synthesis.rhythm import BASS_LINES, COMPING, Clock, steps
from musicemo_builtin.datasets._synthesis.styles import STYLES
from musicemo_builtin.datasets._synthesis.timbres import TIMBRES, tone

MIDDLE = Cues(
    mode=0, tempo=104, loudness=-9, density=4, brightness=600, regularity=0.6, percussion=1.1, distortion=1
)


@pytest.mark.parametrize("genre", GENRES)
def test_styles_name_what_there_is(genre):
    style = STYLES[genre]
    instruments = {*style.chords, *style.basses, *style.leads, *style.pads} - {""}
    assert instruments <= set(TIMBRES)
    assert set(style.grooves) <= set(GROOVES)
    assert set(style.comping) <= set(COMPING)
    assert set(style.bass_lines) <= set(BASS_LINES)
    assert set(style.scales) <= set(SCALES)
    assert set(style.progressions) <= set(PROGRESSIONS)
    assert style.kit in KITS
    assert sum(style.scales.values()) == pytest.approx(1)
    for field in dataclasses.fields(style):
        value = getattr(style, field.name)
        if isinstance(value, tuple) and isinstance(value[0], int | float):
            assert value[0] <= value[1], field.name


@pytest.mark.parametrize("index", range(10))
def test_every_genre_sounds(index):
    clip = make(0, index, 3.0)
    assert clip.samples.shape == (3 * RATE,)
    assert clip.samples.dtype == np.float32
    assert np.abs(clip.samples).max() == pytest.approx(0.9, rel=1e-5)
    assert np.sqrt(np.mean(clip.samples**2)) > 0.02
    (section,) = clip.sections
    assert all(np.isfinite(value) for value in dataclasses.astuple(section.cues))
    assert all(0 < value < 1 for value in perceive(section.cues).values())


def test_genres_artists_and_parts_take_turns():
    slots = [slot(index) for index in range(240)]
    assert len({what.name for what in slots}) == 80
    assert {(what.genre, what.part) for what in slots[:30]} == {
        (g, p) for g in GENRES for p in ("train", "val", "test")
    }
    parts = {what.name: {other.part for other in slots if other.name == what.name} for what in slots}
    assert all(len(found) == 1 for found in parts.values())


@pytest.mark.parametrize(
    ("emotion", "cue", "sign"),
    [
        ("valence", "mode", 1),
        ("valence", "tempo", 1),
        ("valence", "brightness", 1),
        ("valence", "distortion", -1),
        ("energy", "loudness", 1),
        ("energy", "density", 1),
        ("energy", "tempo", 1),
        ("danceability", "regularity", 1),
        ("danceability", "percussion", 1),
    ],
)
def test_emotions_follow_the_cues(emotion, cue, sign):
    value = getattr(MIDDLE, cue)
    more = dataclasses.replace(MIDDLE, **{cue: value + 0.1 * max(1, abs(value))})
    assert sign * (perceive(more)[emotion] - perceive(MIDDLE)[emotion]) > 0.001


def test_people_dance_best_at_120_beats_a_minute():
    danceability = [
        perceive(dataclasses.replace(MIDDLE, tempo=tempo))["danceability"] for tempo in (70, 120, 190)
    ]
    assert max(danceability) == danceability[1]


@pytest.mark.parametrize("extreme", [-1e9, 0.0, 1e9])
def test_extreme_cues_stay_within_the_range(extreme):
    cues = dataclasses.replace(Cues(*[extreme] * len(dataclasses.fields(Cues))), tempo=max(extreme, 1.0))
    assert all(0 < value < 1 for value in perceive(cues).values())


def test_listeners_differ_and_their_mean_is_near_the_truth():
    panel = Panel(0.15, np.random.default_rng(0))
    exact = dict.fromkeys(EMOTIONS, 0.6)
    ratings = panel.rate(exact, np.random.default_rng(1), 40)
    for given in ratings.values():
        assert len(given) == 40
        assert all(0 <= rating <= 1 and round(rating, 2) == rating for rating in given)
        assert 0.1 < np.std(given) < 0.3
        assert np.mean(given) == pytest.approx(0.6, abs=0.1)
    assert Panel(0.0, np.random.default_rng(0)).rate(exact, np.random.default_rng(1), 3)["energy"] == (0.6,) * 3


@pytest.mark.parametrize(
    ("scale", "degree", "voicing", "pitches", "third"),
    [
        ("major", 0, "triad", (0, 4, 7), 1),
        ("major", 1, "seventh", (2, 5, 9, 12), -1),
        ("minor", 4, "triad", (7, 10, 14), -1),
        ("harmonic minor", 4, "triad", (7, 11, 14), 1),
        ("minor", 3, "dominant", (5, 9, 12, 15), 1),
        ("minor", 6, "power", (10, 17, 22), 0),
    ],
)
def test_chords(scale, degree, voicing, pitches, third):
    built = chord(scale, degree, voicing)
    assert built.pitches == pitches
    assert built.third == third


def test_steps_last_until_the_next():
    assert steps("x.....o.x.......") == [(0, 1.5, 1), (1.5, 0.5, 0.6), (2, 2, 1)]
    assert steps("x...............", 2) == [(0, 0.5, 1)]
    assert steps("................") == []


def test_a_straight_clock_is_a_metronome():
    clock = Clock(120, 8, swing=0.5, unit=1, rubato=0, jitter=0, rng=np.random.default_rng(0))
    np.testing.assert_allclose([clock(beat) for beat in (0, 0.5, 1, 3.25)], [0, 0.25, 0.5, 1.625], atol=1e-12)


def test_a_swung_clock_delays_the_off_beat():
    clock = Clock(60, 8, swing=2 / 3, unit=1, rubato=0, jitter=0, rng=np.random.default_rng(0))
    np.testing.assert_allclose([clock(beat) for beat in (1, 1.5, 1.75, 2)], [1, 5 / 3, 11 / 6, 2], atol=1e-12)


@pytest.mark.parametrize("name", TIMBRES)
def test_tones_have_their_pitch(name):
    timbre = dataclasses.replace(TIMBRES[name], vibrato=0.0, breath=0.0, detune=0.0)
    sound = tone(timbre, 220.5, 1.0, 1.0, np.random.default_rng(0))
    assert np.isfinite(sound).all()
    assert len(sound) >= RATE
    power = np.abs(np.fft.rfft(sound[:RATE])) ** 2
    centre = power.copy()
    harmonics = np.round(np.arange(1, 50) * (110.25 if timbre.spectrum == "fm" else 220.5)).astype(int)
    for harmonic in harmonics:
        centre[max(0, harmonic - 12) : harmonic + 13] = 0
    assert centre.sum() < 0.1 * power.sum()


@pytest.mark.parametrize("name", sorted({name for groove in GROOVES.values() for name in groove}))
@pytest.mark.parametrize("kit", KITS)
def test_drums_sound_and_fade(name, kit):
    sound = drum(name, KITS[kit], np.random.default_rng(0))
    assert np.isfinite(sound).all()
    fifth = len(sound) // 5
    assert np.mean(sound[:fifth] ** 2) > 10 * np.mean(sound[-fifth:] ** 2) > 0


def test_grooves_have_sixteen_steps():
    patterns = [pattern for groove in GROOVES.values() for pattern in groove.values()]
    patterns += [pattern for pattern, _ in [*COMPING.values(), *BASS_LINES.values()]]
    assert all(len(pattern) == 16 and set(pattern) <= set("xo.") for pattern in patterns)
