"""Trained ensembles: predictions for songs and evaluations, from those of the members."""

from __future__ import annotations

from dataclasses import replace

import clips
import numpy as np
import pytest

import musicemo
from musicemo.components.hooks import Hooks
from musicemo.errors import InputError
from musicemo.prediction import EnsemblePredictor, Predictor, evaluate_ensemble, find_runs, find_trained

TEXT = clips.TEXT.replace("[tasks.valence]", '[split]\nmethod = "random"\n[tasks.valence]', 1)
FRAMES = """
extends = "songs.toml"
name = "frames"
seeds = [4]
dataset.sync = "frame"
"""
BOTH = """
[ensemble]
members = ["songs.toml", "frames.toml"]
weights = { frames = 3 }
[evaluation]
calibration = "affine"
"""


@pytest.fixture
def ensemble(components, tmp_path):
    """Return an ensemble of two networks on beats and one on frames."""
    for name, text in (("songs", TEXT), ("frames", FRAMES), ("both", BOTH)):
        (tmp_path / f"{name}.toml").write_text(text)
    musicemo.run(tmp_path / "both.toml", tmp_path / "runs", jobs=1, hooks=Hooks())
    (trained,) = find_trained(tmp_path / "runs" / "both")
    return trained


@pytest.mark.slow
def test_an_ensemble_predicts_and_evaluates_as_the_mean_of_its_members(ensemble, monkeypatch):
    assert ensemble.weights == [0.5, 0.5, 3]
    recorded = ensemble.record.evaluations["test"].tasks["valence"]
    again = evaluate_ensemble(ensemble)
    assert (again.part, again.run.directory) == ("test", ensemble.directory)
    np.testing.assert_allclose(again.evaluation.tasks["valence"].prediction, recorded.prediction, rtol=1e-5)
    value = ensemble.results["metrics"]["test"]["genre"]["accuracy"]["value"]
    assert again.metrics()["genre"]["accuracy"]["value"] == pytest.approx(value)

    members = [replace(one, results={}) for one in ensemble.members]  # calibrated is the mean, not they
    for count, windows in ((12, 1), (60, None)):  # one window, and as many as the models have
        song = clips.song_features(count)
        monkeypatch.setattr(Predictor, "extract", lambda self, path, song=song: song)
        mean = EnsemblePredictor([ensemble, ensemble]).predict("song.wav")
        every = [Predictor([one]).predict("song.wav") for one in members]
        assert len(mean.windows) == (windows or len(every[0].windows))
        for name in ("valence", "genre"):
            values = np.average([one.tasks[name].values[0] for one in every], axis=0, weights=[1, 1, 6])
            if name == "valence":
                values = ensemble.calibrations[name](values)
            assert len(mean.tasks[name].values) == 2
            np.testing.assert_allclose(mean.tasks[name].values[1], values, rtol=1e-6)

    for member, step in ((0, 0.5), (2, 0.9)):  # windows of models on other time grids do not match
        monkeypatch.setitem(_SONGS, ensemble.members[member].description.extraction[0]["grid"], step)
    monkeypatch.setattr(Predictor, "extract", _by_grid)
    mean = EnsemblePredictor([ensemble]).predict("song.wav")
    every = [Predictor([one]).predict("song.wav") for one in members]
    assert len(every[0].windows) == len(every[2].windows) > 1
    assert len(mean.windows) == 1
    values = [float(one.tasks["valence"].value) for one in every]
    expected = float(ensemble.calibrations["valence"](np.average(values, weights=[1, 1, 6])[None])[0])
    assert float(mean.tasks["valence"].value) == pytest.approx(expected)


#: Time grid -> seconds of a time step.
_SONGS: dict[str, float] = {}


def _by_grid(predictor, path):
    return clips.song_features(60, step=_SONGS[predictor.streams[0].grid])


@pytest.mark.slow
def test_a_member_that_is_gone_is_named(ensemble):
    with pytest.raises(InputError, match="has no network of its own"):
        find_runs(ensemble.directory)
    ensemble.members[2].directory.rename(ensemble.directory.parent / "moved")
    with pytest.raises(InputError, match=r"its member .*frames.* does not exist"):
        find_trained(ensemble.directory)
