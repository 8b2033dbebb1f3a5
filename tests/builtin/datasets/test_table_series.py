"""Ratings over time in a table of their own."""

import numpy as np
import pytest
from dataset_conformance import assert_conforms
from musicemo_builtin.datasets.table import Table

from musicemo.contracts import Series, Target
from musicemo.errors import InputError

RATINGS = """\
id,time,arousal,valence
a,15.0,0.25,0.5
a,15.5,-0.5,
a,16.5,1,0.25
b,0.5,0,0
"""

LISTENERS = """\
id,seconds,worker,arousal
a,2.0,w1,0.2
a,2.5,w1,0.4
a,2.0,w2,0.6
a,3.0,w2,0.8
"""


@pytest.fixture
def table(tmp_path):
    for name in "abc":
        np.save(tmp_path / f"{name}.npy", np.zeros((7, 3 + ord(name) - 97), np.float32))
    (tmp_path / "songs.csv").write_text("id,features,mood\na,a.npy,5\nb,b.npy,6\nc,c.npy,\n")

    def build(ratings, **parameters):
        (tmp_path / "ratings.csv").write_text(ratings)
        defaults = {
            "regression": {"mood": [1, 9]},
            "series": tmp_path / "ratings.csv",
            "series_targets": {"arousal": [-1, 1], "valence": [-1, 1]},
        }
        return Table(path=tmp_path / "songs.csv", **defaults | parameters)

    return build


def test_ratings_become_series(table):
    dataset = table(RATINGS)
    assert Target("arousal", "series", range=(-1.0, 1.0)) in dataset.targets
    first, second, third = assert_conforms(dataset)
    assert first.targets["mood"] == 5
    assert first.targets["arousal"] == Series(np.array([0.25, -0.5, np.nan, 1.0]), 15.0, 2.0)
    assert first.targets["valence"] == Series(np.array([0.5, np.nan, np.nan, 0.25]), 15.0, 2.0)
    assert second.targets["arousal"] == Series(np.array([0.0]), 0.5, 2.0)
    assert "arousal" not in third.targets
    assert first.ratings == {}


def test_each_row_may_be_of_one_listener(table):
    first, *_ = table(
        LISTENERS, series_targets={"arousal": [-1, 1]}, series_listener="worker", series_time="seconds"
    ).tracks()
    np.testing.assert_allclose(first.targets["arousal"].values, [0.4, 0.4, 0.8])
    one, other = first.ratings["arousal"]
    np.testing.assert_allclose(one.values, [0.2, 0.4])
    np.testing.assert_allclose(other.values, [0.6, np.nan, 0.8])


def test_times_may_be_rounded_and_the_rate_set(table):
    ratings = "id,time,arousal\na,0.0,0\na,0.333,0.5\na,0.667,1\na,1.0,1\n"
    first, *_ = table(ratings, series_targets={"arousal": [-1, 1]}, series_rate=3.0).tracks()
    np.testing.assert_allclose(first.targets["arousal"].values, [0, 0.5, 1, 1])
    assert first.targets["arousal"].rate == 3.0


@pytest.mark.parametrize(
    ("old", "new", "message"),
    [
        (
            "a,15.5",
            "a,15.7",
            r"track 'a': arousal: the rating at 16.5 s is not a multiple of 0.7 s after that at 15 s",
        ),
        ("a,15.5", "a,15.0", r"ratings.csv:3: column 'time': 15 s of track 'a' is there twice"),
        ("b,0.5", "d,0.5", r"ratings.csv:5: column 'id': 'd' is not the id of a track"),
        ("b,0.5", "b,", r"ratings.csv:5: column 'time': is empty, but every rating needs a time"),
        ("a,15.0,0.25", "a,15.0,1.5", r"ratings.csv:2: column 'arousal': .*1.5"),
        ("id,time", "id,t", r"ratings.csv:1: no column 'time' \(for the time in seconds\)"),
    ],
)
def test_rows_that_cannot_be_read(table, old, new, message):
    with pytest.raises(InputError, match=message):
        table(RATINGS.replace(old, new, 1))


@pytest.mark.parametrize(
    ("parameters", "message"),
    [
        (
            {"series": None},
            "series, the table of ratings over time, and series_targets, its columns, need each other",
        ),
        (
            {"series": None, "series_targets": None, "series_rate": 2.0},
            "series_listener and series_rate need series",
        ),
        (
            {"series_targets": {"arousal": [1, -1]}},
            r"series_targets.arousal = \[1, -1\]: the lowest value must be",
        ),
        ({"series_targets": {"mood": [1, 9]}}, "'mood' must not be in both regression and series_targets"),
    ],
)
def test_parameters_that_do_not_fit(table, parameters, message):
    with pytest.raises(InputError, match=message):
        table(RATINGS, **parameters)
