import pytest
from musicemo_builtin.datasets._synthesis import INSTRUMENTS, MOODS, instruments_of, moods_of
from musicemo_builtin.datasets._synthesis.arrangement import compose, form_artist
from musicemo_builtin.datasets._synthesis.catalogue import slot, stream
from musicemo_builtin.datasets._synthesis.styles import STYLES
from musicemo_builtin.datasets._synthesis.words import _FAMILIES
from musicemo_builtin.datasets.synth import Synth


@pytest.mark.parametrize("index", range(0, 40, 3))
def test_the_instruments_are_those_that_play(index):
    what = slot(index)
    score = compose(form_artist(what.genre, stream(0, "artist", index)), 12.0, stream(0, "music", index))
    sounds = {note.instrument for note in score.notes}
    expected = {tag for tag, family in _FAMILIES.items() if family & sounds} | (
        {"drums"} if score.hits else set()
    )
    assert set(instruments_of([score.instruments])) == expected


def test_every_instrument_of_a_style_has_a_tag():
    names = {
        name
        for style in STYLES.values()
        for names in (style.chords, style.leads, style.basses, style.pads)
        for name in names
        if name
    }
    assert names <= set().union(*_FAMILIES.values())
    assert {
        tag
        for name in names
        for tag in instruments_of(
            [{**dict.fromkeys(("chords", "lead", "bass", "pad"), name), "groove": "rock"}]
        )
    } == set(INSTRUMENTS)


@pytest.mark.parametrize(
    ("valence", "energy", "danceability", "words"),
    [
        (0.8, 0.9, 0.7, {"danceable", "energetic", "happy"}),
        (0.2, 0.8, 0.3, {"aggressive", "energetic"}),
        (0.7, 0.2, 0.1, {"calm", "happy", "relaxing"}),
        (0.2, 0.3, 0.1, {"calm", "sad"}),
        (0.5, 0.5, 0.5, set()),
    ],
)
def test_words_for_moods(valence, energy, danceability, words):
    assert set(moods_of({"valence": valence, "energy": energy, "danceability": danceability})) == words


def test_a_track_has_its_tags(tmp_path):
    dataset = Synth(tracks=2, duration=3.0, cache=tmp_path)
    kinds = {target.name: (target.kind, target.classes) for target in dataset.targets}
    assert kinds["instruments"] == ("tags", INSTRUMENTS)
    assert kinds["mood"] == ("tags", MOODS)
    for track in dataset.tracks():
        assert track.targets["instruments"]
        assert set(track.targets["mood"]) <= set(MOODS)
