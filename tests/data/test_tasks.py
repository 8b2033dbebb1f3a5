import math
from math import nan

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from musicemo.contracts import Target, Track
from musicemo.data import Task, TaskSettings, columns, labelled, make_task
from musicemo.errors import InputError

TARGETS = (
    Target("valence", "regression", range=(1, 9)),
    Target("genre", "classification", classes=("Rock", "Psych-Rock", "Pop", "Soundtrack", "Jazz")),
)
MERGED = TaskSettings(classes={"Psych-Rock": "Rock", "Soundtrack": False})


def track(**targets):
    return Track("t1", np.zeros((1, 1)), targets)


def test_a_task_takes_the_target_of_its_name():
    task = make_task("valence", TaskSettings(), TARGETS)
    assert (task.name, task.target, task.kind, task.range) == ("valence", "valence", "regression", (1.0, 9.0))


def test_a_task_may_have_another_name_than_its_target():
    task = make_task("mood", TaskSettings(target="valence"), TARGETS)
    assert (task.name, task.target) == ("mood", "valence")
    assert task.encode(track(valence=9, mood=3)) == [1]


def test_an_unknown_target_is_answered_with_the_nearest():
    with pytest.raises(InputError) as caught:
        make_task("valance", TaskSettings(), TARGETS)
    assert str(caught.value) == (
        "the dataset declares no target 'valance'; did you mean 'valence'? (targets: valence, genre)"
    )
    with pytest.raises(InputError, match="no target 'x'"):
        make_task("valence", TaskSettings(target="x"), TARGETS)


def test_classes_are_merged_and_dropped():
    task = make_task("genre", MERGED, TARGETS)
    assert task.classes == ("Jazz", "Pop", "Rock")
    assert task.merged == {
        **{"Rock": "Rock", "Psych-Rock": "Rock", "Pop": "Pop", "Soundtrack": None, "Jazz": "Jazz"}
    }
    encoded = [task.encode(track(genre=name))[0] for name in ("Rock", "Psych-Rock", "Pop", "Jazz")]
    assert encoded == [2, 2, 1, 0]
    assert math.isnan(*task.encode(track(genre="Soundtrack")))


def test_classes_may_be_merged_into_one_of_a_new_name():
    task = make_task("genre", TaskSettings(classes={"Rock": "Loud", "Psych-Rock": "Loud"}), TARGETS)
    assert task.classes == ("Jazz", "Loud", "Pop", "Soundtrack")


def test_merging_an_unknown_class():
    with pytest.raises(InputError) as caught:
        make_task("genre", TaskSettings(classes={"Psyche-Rock": "Rock"}), TARGETS)
    assert str(caught.value) == (
        "'genre' has no class 'Psyche-Rock'; did you mean 'Psych-Rock'? "
        "(classes: Jazz, Pop, Psych-Rock, Rock, Soundtrack)"
    )


def test_too_few_classes_are_left():
    everything = dict.fromkeys(TARGETS[1].classes, "Music")
    with pytest.raises(InputError, match="'genre' keeps 1 class after merging and dropping; at least 2"):
        make_task("genre", TaskSettings(classes=everything), TARGETS)
    with pytest.raises(InputError, match="'genre' keeps 0 classes"):
        make_task("genre", TaskSettings(classes=dict.fromkeys(TARGETS[1].classes, False)), TARGETS)


def test_a_regression_has_no_classes():
    with pytest.raises(InputError, match="'valence' is a regression target, which has no classes"):
        make_task("valence", TaskSettings(classes={"a": "b"}), TARGETS)


@pytest.mark.parametrize("ends", [(1, 1), (2, 1), (0, math.inf), (-math.inf, 0), (math.nan, 1)])
def test_a_range_that_is_none(ends):
    with pytest.raises(InputError, match=r"the dataset declares the range \["):
        make_task("valence", TaskSettings(), [Target("valence", "regression", range=ends)])


@pytest.mark.parametrize("value", [1, 9, 5.0, np.float32(2.5), np.int64(3)])
def test_ratings_are_scaled_to_the_unit_interval_and_back(value):
    task = make_task("valence", TaskSettings(), TARGETS)
    (code,) = task.encode(track(valence=value))
    assert type(code) is float
    assert code == pytest.approx((float(value) - 1) / 8)
    assert task.decode(code) == pytest.approx(float(value))


@settings(deadline=None)
@given(st.floats(-1e6, 1e6), st.floats(1e-3, 1e6), st.lists(st.floats(0, 1), min_size=1, max_size=5))
def test_encoding_undoes_decoding(low, width, codes):
    task = make_task("v", TaskSettings(), [Target("v", "regression", range=(low, low + width))])
    ratings = np.clip(task.decode(codes), low, low + width)
    again = [task.encode(track(v=float(rating)))[0] for rating in ratings]
    assert np.allclose(again, codes, atol=1e-6)
    assert all(0 <= code <= 1 for code in again)


def test_a_missing_target_is_nan():
    task = make_task("valence", TaskSettings(), TARGETS)
    assert math.isnan(*task.encode(track()))
    assert math.isnan(*task.encode(track(valence=None)))
    assert math.isnan(*make_task("genre", MERGED, TARGETS).encode(track(genre=None)))


@pytest.mark.parametrize(
    ("value", "said"),
    [
        (9.5, r"valence is 9\.5, outside \[1, 9\]"),
        (0, r"valence is 0\.0, outside \[1, 9\]"),
        (math.nan, r"valence is nan, outside \[1, 9\]"),
        (math.inf, r"valence is inf, outside"),
        (-math.inf, r"valence is -inf, outside"),
        (np.float32("nan"), "valence is nan, outside"),
        (True, "valence is True, not a number"),
        (np.True_, r"valence is (np\.)?True_?, not a number"),
        ("3", "valence is '3', not a number"),
        ([3], r"valence is \[3\], not a number"),
    ],
)
def test_ratings_that_are_none(value, said):
    with pytest.raises(InputError, match=f"track 't1': {said}"):
        make_task("valence", TaskSettings(), TARGETS).encode(track(valence=value))


@pytest.mark.parametrize("value", ["rock", "", 3, 1.0, math.nan, True, ["Rock"]])
def test_labels_that_are_none(value):
    with pytest.raises(
        InputError, match=r"track 't1': genre is .*, which is not a class \(classes: Jazz, Pop, "
    ):
        make_task("genre", MERGED, TARGETS).encode(track(genre=value))


def test_restricted_to_the_classes_that_occur():
    task = make_task("genre", MERGED, TARGETS)
    assert task.restricted(["Psych-Rock", "Jazz", None, "Soundtrack"]).classes == ("Jazz", "Rock")
    assert task.restricted(TARGETS[1].classes) == task
    with pytest.raises(InputError, match=r"task 'genre': at least 2 classes must have tracks \(found: Rock\)"):
        task.restricted(["Rock", "Psych-Rock"])
    valence = make_task("valence", TaskSettings(), TARGETS)
    assert valence.restricted([]) is valence


def test_what_results_say_of_a_task():
    mood = Task("mood", "valence", "regression", range=(1.0, 9.0))
    assert mood.to_json() == {"kind": "regression", "target": "valence", "range": [1.0, 9.0]}
    genre = Task("genre", "genre", "classification", classes=("Folk", "Jazz"))
    assert genre.to_json() == {"kind": "classification", "target": "genre", "classes": ["Folk", "Jazz"]}


def test_what_the_dataset_declares_is_checked():
    with pytest.raises(
        InputError, match="as a 'regresion', but the kind of a target must be one of regression"
    ):
        make_task("mood", TaskSettings(), [Target("mood", "regresion")])
    with pytest.raises(InputError, match="the dataset declares no classes of 'mood'; at least 2"):
        make_task("mood", TaskSettings(), [Target("mood", "classification")])


MOODS = Target("mood", "tags", classes=("sad", "happy", "film", "movie"))


def encoded(value, **classes):
    return make_task("mood", TaskSettings(classes=classes), [MOODS]).encode(track(mood=value))


def test_tags_have_a_column_each_in_alphabetical_order():
    task = make_task("mood", TaskSettings(), [MOODS])
    assert (task.classes, task.width) == (("film", "happy", "movie", "sad"), 4)
    assert encoded(["sad", "film"]) == [1, 0, 0, 1]
    assert encoded(frozenset()) == [0, 0, 0, 0]
    assert np.isnan(encoded(None)).all()


def test_single_tags_may_be_unknown():
    assert np.array_equal(
        encoded({"sad": False, "film": True, "happy": None}), [1, nan, nan, 0], equal_nan=True
    )


def test_a_merged_tag_applies_if_one_of_its_tags_does():
    merged = {"movie": "film", "happy": False}
    assert encoded(["movie"], **merged) == [1, 0]
    assert encoded({"movie": True, "sad": True}, **merged) == [1, 1]
    assert np.array_equal(encoded({"movie": False, "sad": False}, **merged), [nan, 0], equal_nan=True)
    assert encoded({"movie": False, "film": False, "sad": False}, **merged) == [0, 0]


@pytest.mark.parametrize(
    ("value", "message"),
    [
        ("sad", "mood is 'sad', but must be a list of tags"),
        (3.0, "mood is 3.0, but must be a list of tags"),
        (
            ["sad", "hapy"],
            r"mood has 'hapy', which is not a tag; did you mean 'happy'\? \(tags: film, happy, movie, sad",
        ),
        ({"sad": 0.5}, "mood: sad is 0.5, but must be True, False or None"),
    ],
)
def test_a_value_that_is_not_tags(value, message):
    with pytest.raises(InputError, match=message):
        encoded(value)


def test_tags_without_tracks_are_left_out():
    task = make_task("mood", TaskSettings(), [MOODS])
    assert task.restricted([["sad"], None, {"film": True, "happy": False, "movie": None}]).classes == (
        "film",
        "sad",
    )
    with pytest.raises(InputError, match=r"at least 1 tag must have tracks \(found: none\)"):
        task.restricted([[], None])


def test_the_columns_of_tasks():
    tasks = [
        Task("a", "a", "regression"),
        Task("m", "m", "tags", classes=("x", "y")),
        Task("b", "b", "regression"),
    ]
    assert columns(tasks) == {"a": 0, "m": slice(1, 3), "b": 3}
    assert labelled(np.array([1.0, nan])).tolist() == [True, False]
    assert labelled(np.array([[1.0, nan], [nan, nan]])).tolist() == [True, False]
