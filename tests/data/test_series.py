import itertools
import math
from math import nan
from types import SimpleNamespace

import numpy as np
import pytest
from complaints import warns

from musicemo.contracts import ArrayFile, Series, Target, Track
from musicemo.data import Batches, Features, Joined, Task, TaskSettings, collect, identify_data, make_task
from musicemo.data.series import at_times, onto_steps, smoothed, step_edges, timed
from musicemo.errors import InputError

RATED = Target("arousal", "series", range=(-1.0, 1.0))
STATIC = Target("valence", "regression")


class Rated:
    def __init__(self, *tracks, rate=1.0, targets=(RATED, STATIC)):
        self.targets, self._tracks = targets, tracks
        if rate is not None:
            self.rate = rate

    def tracks(self):
        return self._tracks


def track(name, steps, series=None, **more):
    targets = {} if series is None else {"arousal": series}
    return Track(name, np.full((steps, 2), 1.0), targets | more)


def task(**settings):
    return make_task("arousal", TaskSettings(**settings), [RATED])


def test_ratings_have_times():
    np.testing.assert_array_equal(Series(np.zeros(3), 15.0, 2.0).times, [15.0, 15.5, 16.0])


def test_series_are_equal_if_their_times_and_values_are():
    assert Series(np.array([1.0, nan]), 0.0, 2.0) == Series(np.array([1.0, nan]), 0.0, 2.0)
    assert Series(np.array([1.0]), 0.0, 2.0) != Series(np.array([1.0]), 0.5, 2.0)


def test_a_step_has_the_mean_of_the_line_through_the_ratings():
    series = Series(np.array([0.0, 1.0, 0.5, 0.0, 0.5]), 0.0, 1.0)
    np.testing.assert_allclose(onto_steps(series, np.array([0.0, 1.0, 2.0, 4.0])), [0.5, 0.75, 0.25])
    fine = np.arange(0, 4, 1e-4) + 5e-5
    line = np.interp(fine, series.times, series.values)
    edges = np.array([0.0, 0.3, 1.7, 2.9, 4.0])
    expected = [line[(fine > low) & (fine < high)].mean() for low, high in itertools.pairwise(edges)]
    np.testing.assert_allclose(onto_steps(series, edges), expected, rtol=1e-3)


def test_a_step_is_not_rated_where_the_line_has_a_gap():
    series = Series(np.array([nan, 0.0, 1.0, nan, 0.25, nan]), 0.0, 1.0)
    steps = onto_steps(series, np.arange(7.0))
    np.testing.assert_allclose(steps, [nan, 0.5, 1.0, nan, 0.25, nan])
    np.testing.assert_allclose(onto_steps(series, np.array([0.5, 1.5, 2.5])), [0.25, 0.75])
    np.testing.assert_allclose(onto_steps(Series(np.array([0.7]), 1.0, 2.0), np.arange(3.0)), [nan, 0.7])


def test_steps_that_are_shorter_than_the_period_lie_on_the_line_between_ratings():
    series = Series(np.array([0.0, 1.0, nan, 1.0]), 1.0, 1.0)
    steps = onto_steps(series, np.arange(0, 5.01, 0.25))
    middles = np.arange(0.125, 5, 0.25)
    expected = np.where((middles > 1) & (middles < 2), middles - 1, nan)
    for place, value in ((8, 1.0), (16, 1.0)):  # the steps that begin with a rating that no line follows
        expected[place] = value
    np.testing.assert_allclose(steps, expected)


@pytest.mark.parametrize("rate", [2.0, 3.0, 10.0])
@pytest.mark.parametrize("length", [0.1, 0.5, 1.3])
def test_there_and_back_is_the_identity_of_a_line(rate, length):
    series = Series(np.linspace(0, 1, int(20 * rate)), 0.4, rate)
    edges = np.arange(0, 22, length)
    rated = timed(series, edges)
    inner = (rated.times > 0.4 + 2 * length) & (rated.times < rated.times[-1] - 2 * length)
    steps = np.where(np.isfinite(rated.steps), rated.steps, 0).astype(float)
    np.testing.assert_allclose(at_times(steps, edges, rated.times)[inner], rated.values[inner], atol=1e-6)


def test_ratings_beyond_the_features_are_left_out():
    rated = timed(Series(np.linspace(0, 1, 11), 0.0, 1.0), np.array([2.0, 4.0, 6.0]))
    np.testing.assert_allclose(rated.times, [2, 3, 4, 5, 6])
    np.testing.assert_allclose(rated.values, [0.2, 0.3, 0.4, 0.5, 0.6])
    np.testing.assert_allclose(rated.steps, [0.3, 0.5])
    assert timed(Series(np.zeros(2), 20.0, 1.0), np.array([2.0, 4.0, 6.0])) is None


def test_predictions_are_taken_to_the_times_of_the_ratings():
    edges = np.array([0.0, 1.0, 2.0, 4.0])
    np.testing.assert_allclose(
        at_times(np.array([1.0, 2.0, 5.0]), edges, np.array([0, 0.5, 1, 2.25, 4])), [1, 1, 1.5, 3.5, 5]
    )


def test_smoothing_is_the_mean_over_a_window():
    values, edges = np.array([0.0, 0.0, 3.0, 0.0, 0.0]), np.arange(6.0)
    np.testing.assert_allclose(smoothed(values, edges, 3.0), [0, 1, 1, 1, 0])
    np.testing.assert_array_equal(smoothed(values, edges, None), values)
    np.testing.assert_allclose(smoothed(values, edges, 1e-6), values, atol=1e-6)
    np.testing.assert_allclose(smoothed(np.ones(3), np.array([0.0, 0.3, 2.0, 2.1]), 1.3), 1.0)
    assert smoothed(values, edges, 1000.0) == pytest.approx([0.6] * 5)


def test_a_task_scales_ratings_to_the_unit_interval():
    encoded = task().encode_series(track("a", 3, Series(np.array([-1.0, nan, 0.5], np.float32), 0, 2)))
    np.testing.assert_allclose(encoded.values, [0, nan, 0.75])
    assert (encoded.start, encoded.rate) == (0.0, 2.0)
    assert task().encode(track("a", 3)) == []
    assert task().encode_series(track("a", 3)) is None
    assert task().encode_series(track("a", 3, Series(np.full(4, nan), 0, 2))) is None


@pytest.mark.parametrize(
    ("value", "message"),
    [
        (0.5, "track 'a': arousal is a float, but must be a musicemo.contracts.Series"),
        (Series(np.zeros((2, 2)), 0, 1), r"its values are float64 \[2, 2\], but must be numbers \[ratings\]"),
        (Series(np.array([0, 0.5, 1.5]), 10, 2), r"arousal is 1.5 at 11 s, outside \[-1, 1\]"),
        (Series(np.array([0, math.inf]), 0, 2), r"arousal is inf at 0.5 s, outside"),
        (Series(np.zeros(2), 0, 0), "its rate is 0, but must be a number of ratings per second above 0"),
        (Series(np.zeros(2), nan, 1), "its start is nan, but must be a finite number of seconds"),
    ],
)
def test_what_is_wrong_with_a_series(value, message):
    with pytest.raises(InputError, match=message):
        task().encode_series(track("a", 3, value))
    with pytest.raises(InputError, match="a listener's arousal"):
        task().check_ratings(Track("a", np.zeros((2, 2)), {}, ratings={"arousal": [value]}))


def test_smoothing_is_for_series():
    assert task(smoothing=2.0).smoothing == 2.0
    assert task(smoothing=2.0).to_json()["smoothing"] == 2.0
    with pytest.raises(InputError, match="smoothing: is for series, and 'valence' is a regression target"):
        make_task("valence", TaskSettings(smoothing=1.0), [STATIC])


def collected():
    dataset = Rated(
        track("a", 4, Series(np.array([0.0, 0.5, 1.0]), 0.5, 1.0), valence=0.25),
        track("b", 2),
        track("c", 2, valence=0.5),
        track("d", 3, Series(np.array([-1.0, nan, 1.0]), 0.0, 1.0)),
    )
    return collect(dataset, [make_task("valence", TaskSettings(), [STATIC]), task()])


def test_series_stand_beside_the_columns_of_the_targets():
    tracks = collected()
    assert tracks.ids == ["a", "c", "d"]
    assert [one.id for one in tracks.unlabelled] == ["b"]
    assert tracks.targets.shape == (3, 1)
    first, none, last = tracks.series["arousal"]
    assert none is None
    np.testing.assert_allclose(first.steps, [0.5625, 0.75, 0.9375, nan])
    np.testing.assert_allclose(last.steps, [0.0, nan, 1.0])
    np.testing.assert_allclose(last.times, [0.0, 2.0])
    np.testing.assert_allclose(tracks.column("arousal")[1], [0.75, nan, 0.5])


def test_batches_pad_series_as_features():
    tracks = collected()
    features = Features(tracks.tracks, tracks.rows)
    (batch,) = Batches(features, tracks.targets, [0, 1, 2], 3, series=tracks.series).epoch()
    assert batch.x.shape == (3, 4, 2)
    np.testing.assert_allclose(
        batch.series["arousal"], [[0.5625, 0.75, 0.9375, nan], [nan] * 4, [0, nan, 1, nan]]
    )
    (batch,) = Batches(features, tracks.targets, [1, 2], 3, series=tracks.series).epoch()
    assert batch.series["arousal"].shape == (2, 3)


def test_training_needs_a_rated_track():
    with pytest.raises(InputError, match="task 'arousal': no track of the training set has a label"):
        collected().check_trainable({"train": np.array([1]), "test": np.array([0])})


def test_ratings_are_part_of_the_identity_of_the_data():
    before = identify_data(collected())
    changed = collected()
    changed.series["arousal"][0].values[1] = 0.1
    after = identify_data(changed)
    assert before.labels != after.labels
    assert before.tracks["d"] == after.tracks["d"]


def test_arrays_without_times_are_refused():
    dataset = Rated(track("a", 3, Series(np.zeros(2), 0, 1)), rate=None)
    with pytest.raises(InputError, match=r"track 'a': its features have no times.*rate in \[features\]"):
        collect(dataset, [task()])


def test_one_step_is_not_enough():
    with pytest.raises(InputError, match="the features of every track have one time step"):
        collect(Rated(track("a", 1, Series(np.zeros(2), 0, 1))), [task()])


def test_ratings_that_miss_the_features_are_reported():
    late = Series(np.zeros(4), 15.0, 2.0)
    with pytest.raises(
        InputError, match=r"of 1 of 1 tracks, for example track 'a': rated from 15 to 16.5 s, features"
    ):
        collect(Rated(track("a", 4, late)), [task()])
    with warns("no rating lies within the features of 1 of 2 tracks"):
        tracks = collect(Rated(track("a", 4, late), track("b", 20, late)), [task()])
    assert tracks.ids == ["b"]
    assert [one.id for one in tracks.unlabelled] == ["a"]
    assert [one is None for one in tracks.series["arousal"]] == [False]


def test_a_dataset_declares_a_rate_above_zero():
    with pytest.raises(
        InputError, match="the dataset's rate is -1; it must be a number of time steps per second"
    ):
        collect(Rated(track("a", 4, Series(np.zeros(4), 0, 1)), rate=-1), [task()])


def test_files_of_arrays_have_times_by_rate_or_by_their_edges(tmp_path):
    np.save(tmp_path / "a.npy", np.zeros((3, 2), np.float32))
    edges = step_edges(Track("a", ArrayFile(tmp_path / "a.npy", rate=2.0)), None)
    np.testing.assert_allclose(edges, [0, 0.5, 1, 1.5])
    np.savez(tmp_path / "a.npz", mel=np.zeros((2, 2), np.float32), edges=np.array([0.0, 0.4, 1.0]))
    file = ArrayFile(tmp_path / "a.npz", key="mel")
    np.testing.assert_allclose(step_edges(Track("a", file), None, offset=1.0), [1.0, 1.4, 2.0])
    np.savez(tmp_path / "b.npz", mel=np.zeros((2, 2), np.float32), edges=np.array([0.0, 1.0]))
    with pytest.raises(
        InputError, match=r"the array 'edges' is float64 \[2\], but must be the ascending edges of 2"
    ):
        step_edges(Track("b", ArrayFile(tmp_path / "b.npz", key="mel")), None)


def test_an_older_description_of_a_task_has_no_smoothing():
    assert Task("a", "a", "series").smoothing is None


def test_joined_datasets_have_series_in_one_range():
    one = Rated(track("a", 4, Series(np.array([-1.0, 1.0]), 0, 1)))
    other = Rated(
        Track(
            "b",
            np.full((4, 2), 1.0),
            {"arousal": Series(np.array([1.0, 5.0, nan]), 0, 1)},
            ratings={"arousal": [Series(np.array([3.0, 9.0]), 0, 1)]},
        ),
        targets=(Target("arousal", "series", range=(1.0, 9.0)),),
    )
    joined = Joined({"one": one, "other": other}, {"arousal": TaskSettings()})
    (target,) = joined.targets
    assert (target.kind, target.range) == ("series", (0.0, 1.0))
    first, second = joined.tracks()
    assert first.targets["arousal"] == Series(np.array([0.0, 1.0]), 0, 1)
    assert second.targets["arousal"] == Series(np.array([0.0, 0.5, nan]), 0, 1)
    assert second.ratings["arousal"] == [Series(np.array([0.25, 1.0]), 0, 1)]
    tracks = collect(joined, [make_task("arousal", TaskSettings(), joined.targets)])
    np.testing.assert_allclose(tracks.series["arousal"][1].steps, [0.25, 0.5, nan, nan])


def excerpts(*starts):
    streams = [
        SimpleNamespace(
            name=f"stream{place}",
            extractor=None,
            settings=SimpleNamespace(excerpt=None if start is None else [start, 4.0]),
            to_table=lambda: {"type": "some"},
        )
        for place, start in enumerate(starts)
    ]
    return lambda tracks: (list(tracks), streams)


def test_an_excerpt_has_the_ratings_of_its_time():
    series = Series(np.linspace(-1, 1, 11), 0.0, 1.0)
    (rated,) = collect(Rated(track("a", 4, series)), [task()], excerpts(5.0)).series["arousal"]
    np.testing.assert_allclose(rated.edges, [5, 6, 7, 8, 9])
    np.testing.assert_allclose(rated.times, [5, 6, 7, 8, 9])
    np.testing.assert_allclose(rated.steps, [0.55, 0.65, 0.75, 0.85])
    (whole,) = collect(Rated(track("a", 4, series)), [task()], excerpts(None)).series["arousal"]
    np.testing.assert_allclose(whole.edges, [0, 1, 2, 3, 4])


def test_streams_with_excerpts_of_other_times_have_no_common_steps():
    series = Series(np.zeros(9), 0.0, 1.0)
    with pytest.raises(InputError, match=r"features.excerpt: must begin at the same time in all streams"):
        collect(Rated(track("a", 4, series)), [task()], excerpts(0.0, 5.0))
