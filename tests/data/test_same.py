"""Tracks of the same music, and artists under several spellings."""

from __future__ import annotations

import numpy as np
import pytest

from musicemo.contracts import Target, Track
from musicemo.data import Features, Split, TaskSettings, artist_key, collect, find_same, make_task, summarize
from musicemo.data.same import Recording


class Song:
    """Audio that is computed."""

    def __init__(self, identity):
        self.identity = identity

    def samples(self):
        return np.zeros(8000, "float32"), 8000


def recording(name, *, space=None, audio=None, content=None):
    return Recording(Track(name, audio=audio), space, content)


def test_tracks_are_recognized_by_each_kind_of_evidence(tmp_path):
    file = tmp_path / "a.mp3"
    (tmp_path / "link.mp3").symlink_to(file)
    some = [
        recording("1", space="deam", content=b"x"),
        recording("1", space="deam", content=b"y"),
        recording("1", space="fma"),
        recording("1"),
        recording("4", content=b"y", audio=Song("s")),
        recording("5", audio=Song("s")),
        recording("6", audio=file),
        recording("7", audio=tmp_path / "link.mp3"),
        recording("8"),
        recording("9"),
    ]
    found = find_same(some, [(3, 9)])
    assert [(one.members, one.evidence) for one in found] == [
        ((0, 1, 4, 5), ("id", "audio file", "features")),
        ((3, 9), ("sound",)),
        ((6, 7), ("audio file",)),
    ]


def test_the_id_of_a_joined_track_is_that_in_its_dataset():
    tracks = [Track(f"{name}/7", original=Track("7"), source=name) for name in "ab"]
    assert [one.members for one in find_same([Recording(track, "deam") for track in tracks])] == [(0, 1)]


@pytest.mark.parametrize(
    "spellings",
    [
        ("The Beatles", "Beatles, The", "THE  BEATLES", "beatles"),
        ("Beyoncé", "Beyonce\u0301", "beyonce", "Beyonce feat. Jay-Z", "Beyoncé (ft. Jay-Z)"),
        ("AC/DC", "AC-DC", "ac dc", "ACDC"),
        ("Simon & Garfunkel", "Simon and Garfunkel", "simon + garfunkel"),
        ("P!nk", "P!NK"),
        ("\uff30\uff26\uff2d", "PFM"),
        ("Straße", "STRASSE"),
        ("!!!", "!!!"),
        ("Кино", "КИНО"),
    ],
)
def test_spellings_of_one_artist(spellings):
    assert len({artist_key(name) for name in spellings}) == 1, spellings


@pytest.mark.parametrize(
    ("one", "other"),
    [
        ("Nina", "Nino"),
        ("The The", "The Who"),
        ("Theatre of Tragedy", "atre of Tragedy"),
        ("Tyler, the Creator", "Tyler"),
        ("Feather", "Fe"),
        ("!!!", "???"),
    ],
)
def test_different_artists(one, other):
    assert artist_key(one) != artist_key(other)


class Listed:
    targets = (Target("valence", "regression", range=(1, 9)),)
    rows = slice(None)

    def __init__(self, tracks):
        self._tracks = tracks

    def tracks(self):
        return iter(self._tracks)


def summary(groups, parts, alike=None):
    tracks = [
        Track(str(index), np.full((3, 2), index, "float32"), {"valence": 5.0}, group=group)
        for index, group in enumerate(groups)
    ]
    dataset = Listed(tracks)
    found = collect(dataset, [make_task("valence", TaskSettings(), dataset.targets)])
    split = Split({name: np.array(some, dtype=int) for name, some in parts.items()}, found.ids)
    return summarize(found, split, Features(found.tracks, found.rows), alike)


def test_an_artist_under_two_spellings_leaks():
    parts = {"train": [0, 1], "val": [], "test": [2, 3]}
    assert summary(["Beatles, The", "Nina", "The Beatles", "Olga"], parts).leaks == [
        "1 of 3 groups (artists, albums) are in more than one set under different spellings, for example "
        "'Beatles, The' (train) and 'The Beatles' (test); write each name in one way in the labels"
    ]
    assert not summary(["Beatles, The", "The Beatles", "Nina", "Olga"], parts).leaks, "in one set"


def test_sound_leaks_between_sets_and_is_noted_within_one():
    parts = {"train": [0, 1, 2], "val": [], "test": [3]}
    found = summary([None] * 4, parts, [(0, 3), (1, 2)])
    assert found.leaks == [
        "1 recording is in more than one set, as tracks with nearly identical audio: '0' (train), '3' (test)"
    ]
    assert found.repeated == [
        "1 recording is more than once in one set, as tracks with nearly identical audio: '1' (train), '2' (train)"
    ]
    assert found.heard
    assert not summary([None] * 4, parts).heard
