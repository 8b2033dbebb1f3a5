import csv
import dataclasses

import clips
import numpy as np
import pytest
import soundfile
from clips import from_columns, song_features
from signals import RATE, song

from musicemo.errors import InputError
from musicemo.prediction import Predictor, TrainedRun, evaluate_run, find_runs


@pytest.fixture
def predictor(run):
    return Predictor([run])


def predicted(run, part="test"):
    with (run.directory / "predictions.csv").open() as file:
        return [row for row in csv.DictReader(file) if row["part"] == part]


def test_a_clip_of_the_dataset_is_predicted_as_the_run_did(run, predictor):
    features = {track.id: np.asarray(track.features).T for track in clips.Clips().tracks()}
    for row in predicted(run):
        task = predictor.predict("x", from_columns(features[row["track"]])).tasks[row["task"]]
        if row["task"] == "genre":
            assert task.classes[int(task.value.argmax())] == row["prediction"]
        else:
            assert float(task.value) == pytest.approx(float(row["prediction"]), abs=1e-5)


@pytest.mark.parametrize("span", ["0:140:2", "-12:", ":", "128::5"])
def test_rows_in_any_spelling_are_those_of_evaluation_and_prediction(trained, span):
    run = trained(f'dataset.span="{span}"', 'model.type="means"', "training.epochs=1", "tasks.genre.classes={}")
    rows = slice(*(int(end) if end else None for end in span.split(":")))
    assert run.description.input_size == len(range(140)[rows])
    assert evaluate_run(run).metrics() == run.results["metrics"]["test"]
    features = {track.id: np.asarray(track.features).T for track in clips.Clips().tracks()}
    for row in [row for row in predicted(run) if row["task"] == "valence"]:
        found = from_columns(features[row["track"]])
        value = float(Predictor([run]).predict("x", found).tasks["valence"].value)
        assert value == pytest.approx(float(row["prediction"]), abs=1e-5)


def test_ratings_are_calibrated_where_the_run_was(run, predictor):
    task = {"map": {"method": "affine", "x": [1.0, 9.0], "y": [3.0, 7.0]}}
    results = {**run.results, "calibration": {"tasks": {"valence": task, "other": {"skipped": "why"}}}}
    calibrated = Predictor([dataclasses.replace(run, results=results)])
    before, after = (one.predict("x", song_features(12)).tasks for one in (predictor, calibrated))
    assert after["valence"].value == pytest.approx(3 + (before["valence"].value - 1) / 2)
    np.testing.assert_array_equal(after["genre"].values, before["genre"].values)
    damaged = dataclasses.replace(run, results={"calibration": {"tasks": {"valence": {"map": {"x": [1]}}}}})
    with pytest.raises(InputError, match="its calibration is damaged"):
        Predictor([damaged]).predict("x", song_features(12))


def test_probabilities_are_a_distribution_and_emotions_have_their_units(predictor):
    found = predictor.predict("x", song_features(60)).tasks
    assert found["genre"].classes == ("folk", "jazz", "rock")
    np.testing.assert_allclose(found["genre"].curve.sum(axis=1), 1)
    assert found["genre"].value.sum() == pytest.approx(1)
    assert found["valence"].range == (1.0, 9.0)
    assert found["valence"].value.shape == ()


def test_a_song_as_long_as_the_longest_clip_is_one_window(run, predictor):
    fewest, median, most = run.description.lengths
    assert fewest < median < most
    assert len(predictor.predict("x", song_features(most)).windows) == 1
    longer = predictor.predict("x", song_features(most + 1))
    assert len(longer.windows) > 1
    seconds = 0.5
    np.testing.assert_allclose(longer.windows[:, 1] - longer.windows[:, 0], median * seconds)
    assert longer.windows[0, 0] == 0
    assert longer.windows[-1, 1] == pytest.approx(longer.duration)


def test_a_songs_value_is_the_mean_over_its_windows(predictor):
    for task in predictor.predict("x", song_features(50)).tasks.values():
        np.testing.assert_allclose(task.value, task.curve.mean(axis=0))
        assert task.deviation is None
        assert task.curve_deviation is None


def test_a_window_looks_like_a_clip_however_loud_the_rest_is(run, predictor):
    median = run.description.lengths[1]
    quiet = clips.columns(median)
    loud = clips.columns(median)
    whole = np.concatenate([quiet, loud], axis=1)
    whole[:128, :median] -= 15
    found = predictor.predict("x", from_columns(whole)).tasks["valence"].curve
    assert found[0] == pytest.approx(found[-1], abs=1e-5)
    alone = predictor.predict("x", from_columns(quiet)).tasks["valence"]
    assert found[0] == pytest.approx(float(alone.value), abs=1e-5)


def test_silent_windows_have_no_value(run, predictor):
    median = run.description.lengths[1]
    beat = clips.columns(4 * median)
    beat[:128, :median] = -80
    found = predictor.predict("x", from_columns(beat))
    complete = predictor.predict("x", song_features(4 * median))
    assert len(found.windows) == len(complete.windows) - 1
    assert found.windows[0, 0] > 0


def test_gaps_may_leave_nothing_but_silence(run):
    beat = clips.columns(30)
    beat[:128] = -80
    beat[:128, 5:7] = 0
    predictor = Predictor([run], window=0.5, hop=20.0)
    with pytest.raises(InputError, match=r"silent in every window of 0\.5 s"):
        predictor.predict("x", from_columns(beat))


def test_several_runs_give_mean_and_deviation(replicates):
    runs = find_runs(replicates)
    together = Predictor(runs).predict("x", song_features(40))
    apart = [Predictor([run]).predict("x", song_features(40)) for run in runs]
    for name, task in together.tasks.items():
        values = np.stack([one.tasks[name].value for one in apart])
        np.testing.assert_allclose(task.value, values.mean(axis=0))
        np.testing.assert_allclose(task.deviation, values.std(axis=0, ddof=1))
        curves = np.stack([one.tasks[name].curve for one in apart])
        np.testing.assert_allclose(task.curve, curves.mean(axis=0))
        np.testing.assert_allclose(task.curve_deviation, curves.std(axis=0, ddof=1))


def test_windows_of_seconds(run):
    found = Predictor([run], window=3.0, hop=1.0).predict("x", song_features(40))
    assert len(found.windows) > 10
    assert np.diff(found.windows[:, 0]).mean() == pytest.approx(1.0, abs=0.15)
    assert (found.windows[:, 1] - found.windows[:, 0] >= 2.99).all()


def test_many_windows_take_no_more_memory_than_the_song(run):
    song = song_features(60)
    clips, windows, _ = Predictor([run], window=5.0, hop=0.1).clips(song)
    assert len(clips) == len(windows) > 50
    assert sum(clip.nbytes for clip in clips) > 5 * sum(array.nbytes for array in song.clips[0].values.values())
    assert clips.clips is song.clips
    np.testing.assert_array_equal(clips[3:][0], clips[3])


def test_more_than_a_million_windows_are_refused(run):
    with pytest.raises(InputError, match=r"--hop 1e-06: the song has more than 1,000,000 windows"):
        Predictor([run], window=1.0, hop=1e-6).predict("x", song_features(40))


def test_window_without_hop_overlaps_by_half(run):
    starts = Predictor([run], window=4.0).predict("x", song_features(80)).windows[:, 0]
    assert np.diff(starts[:-1]).mean() == pytest.approx(2.0, abs=0.1)


@pytest.mark.parametrize(
    ("how", "message"),
    [
        ({"window": 0.0}, r"--window 0: must be above 0"),
        ({"window": float("nan")}, r"--window nan: must be above 0"),
        ({"window": 3.0, "hop": -1.0}, r"--hop -1: must be above 0"),
        ({"hop": 2.0}, r"--hop 2: requires --window"),
        ({"sync": "frame"}, r"--sync frame: .* was trained on features with the grid 'beat'"),
    ],
)
def test_what_makes_no_sense_is_refused(run, how, message):
    with pytest.raises(InputError, match=message):
        Predictor([run], **how)


def test_the_sync_may_be_said_where_the_run_says_it_too(run):
    assert Predictor([run], sync="beat").streams[0].grid == "beat"


def test_a_dataset_that_does_not_say_its_sync_needs_it_said(trained):
    run = trained('dataset.sync="untold"')
    with pytest.raises(InputError, match="Specify it with --sync beat or --sync frame"):
        Predictor([run])
    by_beat = Predictor([run], sync="beat").predict("x", song_features(10))
    by_frame = Predictor([run], sync="frame").predict("x", song_features(10))
    assert float(by_beat.tasks["valence"].value) == float(by_frame.tasks["valence"].value)


@pytest.mark.parametrize("features", ["mel", "chroma"])
def test_the_rows_are_those_that_were_trained_on(trained, features):
    run = trained(f'dataset.features="{features}"')
    predictor = Predictor([run])
    found = clips.columns(8)
    other = found.copy()
    other[slice(128, 140) if features == "mel" else slice(0, 128)] *= 0.5
    values = [
        float(predictor.predict("x", from_columns(each)).tasks["valence"].value) for each in (found, other)
    ]
    assert values[0] == values[1]


def test_rows_that_audio_does_not_give_are_refused(trained):
    run = trained("dataset.rows=20", 'dataset.sync="untold"')
    with pytest.raises(
        InputError,
        match="rows 0 to 20 of its dataset's arrays, which no installed extractor computes from audio",
    ):
        Predictor([run], sync="beat")


@pytest.mark.slow
def test_the_parameters_of_the_features_are_used(trained, tmp_path):
    run = trained("dataset.hop=256", 'dataset.sync="frame"')
    soundfile.write(tmp_path / "a.wav", song(1.0), RATE)
    predictor = Predictor([run])
    assert predictor.extract(tmp_path / "a.wav").edges[1] == pytest.approx(256 / 22050)
    assert predictor.predict(tmp_path / "a.wav").duration == pytest.approx(1.0, abs=0.03)


def test_a_real_file(run, tmp_path):
    path = tmp_path / "sóng $1$ [x].wav"
    soundfile.write(path, song(12.0, bpm=150), RATE)
    found = Predictor([run]).predict(path)
    assert found.song == str(path)
    assert found.duration == pytest.approx(12.0, abs=0.05)
    assert len(found.windows) > 1


def test_a_song_that_cannot_be_analysed_is_named(predictor, tmp_path):
    (tmp_path / "text.mp3").write_text("no audio at all")
    with pytest.raises(InputError, match=r"text\.mp3"):
        predictor.predict(tmp_path / "text.mp3")


def test_a_model_that_refuses_a_song_is_told(trained):
    run = trained('model={type="cnn", channels=[2], kernels=[3], pooling="flatten", frames=14}')
    run.network.backbone.frames = 1
    with pytest.raises(InputError, match="the model cannot take it"):
        Predictor([run]).predict("x", song_features(8))


def test_predictions_that_are_not_finite_are_an_error(run):
    with np.errstate(all="ignore"):
        run.network.heads["valence"][0].weight.data.fill_(float("nan"))
        with pytest.raises(InputError, match=r"the prediction of 'valence' is not finite"):
            Predictor([run]).predict("x", song_features(8))


def test_the_dataset_need_not_be_there(directory, monkeypatch):
    def refuse(*_, **__):
        raise AssertionError("the dataset was built")

    monkeypatch.setattr(clips.Clips, "tracks", refuse)
    assert Predictor([TrainedRun.load(directory)]).predict("x", song_features(8)).tasks
