"""Songs heard with a trained run."""

import numpy as np
import pytest
import soundfile
from songs import write_song

from musicemo.errors import InputError
from musicemo.features import Recipe
from musicemo.listening import Listener, analysis
from musicemo.prediction import EnsemblePredictor, Predictor, TrainedEnsemble, find_runs
from musicemo.reporting.song_figure import frequency_ticks


@pytest.fixture
def listener(replicates):
    return Listener(Predictor(find_runs(replicates)), window=2.0, hop=1.0)


def hear(listener, song, folder, track=None):
    steps = []
    return listener.listen(song, song.name, folder, track, steps.append), steps


@pytest.mark.slow
def test_a_song_is_heard_with_the_values_of_predict_and_windows_over_time(listener, replicates, tmp_path):
    song = write_song(tmp_path / "song.flac", seconds=6)
    heard, steps = hear(listener, song, tmp_path)
    assert len(steps) == 4
    (rating,), (ranking,) = heard.ratings, heard.rankings
    whole = Predictor(find_runs(replicates)).predict(song)
    assert rating.value == pytest.approx(float(whole.tasks["valence"].value))
    genre = whole.tasks["genre"]
    assert ranking.rows[0][0] == genre.classes[genre.ranked[0]]
    windows = Predictor(find_runs(replicates), window=2, hop=1).predict(song)
    np.testing.assert_allclose(rating.curve, windows.tasks["valence"].curve)
    np.testing.assert_allclose(rating.times, windows.windows.mean(axis=1))
    error = listener.held_out.rating_error("valence")
    low, high = np.clip([rating.value - error.within, rating.value + error.within], 1, 9)
    assert rating.interval == pytest.approx((low, high))
    assert f"{error.count} of {error.tracks} tracks" in rating.text
    assert heard.beats
    samples, rate = soundfile.read(tmp_path / "audio.wav")
    assert len(samples) / rate == pytest.approx(6, abs=0.01)
    assert (tmp_path / "spectrogram.png").read_bytes().startswith(b"\x89PNG")


@pytest.mark.slow
def test_an_ensemble_is_heard_with_the_values_of_predict_and_its_own_error(listener, replicates, tmp_path):
    song = write_song(tmp_path / "song.flac", seconds=3)
    first, second = find_runs(replicates)
    ensembles = [
        TrainedEnsemble(tmp_path, {"ensemble": {}}, run.record, members, [1.0] * len(members))
        for run, members in ((first, [first, second]), (second, [second]))
    ]
    heard, _ = hear(Listener(EnsemblePredictor(ensembles), 2.0, 1.0), song, tmp_path)
    value = float(EnsemblePredictor(ensembles).predict(song).tasks["valence"].value)
    assert heard.ratings[0].value == pytest.approx(value)
    assert heard.notes[0] == "The predictions are means over 3 runs, the members of 2 ensembles."
    single = EnsemblePredictor(ensembles).with_runs([1])
    assert float(single.predict(song).tasks["valence"].value) == pytest.approx(
        float(Predictor([second]).predict(song).tasks["valence"].value)
    )
    track = first.record.split["train"][0]
    whole = Listener(EnsemblePredictor(ensembles), 2.0, 1.0)
    assert whole.sets(track) == ["train", "train"]
    assert not whole.tracks
    # The dataset of its members is read.
    assert whole.silence == ["The audio of the run's dataset is not on this machine."]


@pytest.mark.slow
def test_a_track_that_the_runs_learned_from_is_said_to_be_one(listener, tmp_path):
    song = write_song(tmp_path / "song.wav", seconds=2)
    split = listener.runs[0].record.split
    heard, _ = hear(listener, song, tmp_path, split["train"][0])
    assert "has learned from it" in heard.warnings[0]
    heard, _ = hear(listener, song, tmp_path, split["test"][0])
    assert not any("learned" in text for text in heard.warnings)
    first, second, third = heard.notes
    assert "not of its training set" in first
    assert second == "The predictions are means over 2 runs."
    assert "no predictions over time" in third  # it is as long as a window
    assert heard.ratings[0].label is not None
    assert heard.rankings[0].label in ("folk", "jazz", "rock")


def test_a_copy_of_a_track_is_recognized(listener, tmp_path):
    track = write_song(tmp_path / "dataset" / "a.wav")
    copy, other = tmp_path / "copy.wav", write_song(tmp_path / "other.wav", 3)
    copy.write_bytes(track.read_bytes())
    vars(listener)["tracks"] = {"a": track}
    assert (listener.identify(copy), listener.identify(other)) == ("a", None)


def test_a_dataset_without_audio_says_so(listener):
    assert dict(listener.tracks) == {}
    assert "not on this machine" in listener.silence[0]


def test_a_song_that_is_too_long_is_refused_before_it_is_analyzed(listener, tmp_path, monkeypatch):
    monkeypatch.setattr(analysis, "LONGEST", 0.25)
    with pytest.raises(InputError, match="is longer than"):
        hear(listener, write_song(tmp_path / "long.wav", seconds=1), tmp_path)


def test_frequencies_stand_at_their_bands():
    places = {text: place for place, text in frequency_ticks(Recipe())}
    # Slaney's scale is linear up to 1000 Hz, 15 mel. The highest frequency, 11,025 Hz, is at the edge of band 129.
    top = 15 + np.log(11.025) / np.log(6.4) * 27
    assert places["500"] == pytest.approx(129 * 7.5 / top - 0.5, abs=1e-6)
    assert places["1,000"] == pytest.approx(129 * 15 / top - 0.5, abs=0.02)
    assert places["5,000"] == pytest.approx(129 * (15 + np.log(5) / np.log(6.4) * 27) / top - 0.5, abs=0.02)
