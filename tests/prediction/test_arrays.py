"""Predictions of songs whose features are ready-made arrays, by runs that were trained on such arrays."""

from __future__ import annotations

import csv

import harness
import numpy as np
import pytest

from musicemo.errors import InputError
from musicemo.listening import Listener
from musicemo.prediction import Predictor, TrainedRun
from musicemo.reporting.sections.songs import song_blocks
from musicemo.reporting.tabular import predictions_json

TEXT = """
[dataset]
type = "table"
path = "songs.csv"
regression = { valence = [0, 10] }
{features}
[split]
method = "random"
[model]
type = "ridge"
[tasks.valence]
"""


def train(tmp_path, save, features=""):
    """Train on the arrays that `save` writes for each song, and return the run and its test tracks' predictions."""
    random = np.random.default_rng(0)
    rows = ["id,features,valence"]
    for number in range(20):
        array = random.normal(size=(5 + number % 3, 4)).astype("float32")
        rows.append(f"s{number},{save(tmp_path, number, array)},{5 + array.mean():.4f}")
    (tmp_path / "songs.csv").write_text("\n".join(rows) + "\n")
    text = TEXT.replace("{features}", features)
    (outcome,) = harness.run_all(tmp_path, "seed=0", text=text)
    with (outcome.directory / "predictions.csv").open() as file:
        tested = {
            row["track"]: float(row["prediction"]) for row in csv.DictReader(file) if row["part"] == "test"
        }
    return TrainedRun.load(outcome.directory), tested


def save_npy(folder, number, array):
    np.save(folder / f"{number}.npy", array.T)
    return f"{number}.npy"


def save_npz(folder, number, array):
    np.savez(folder / f"{number}.npz", other=np.zeros(3), last=array)
    return f"{number}.npz"


def save_vector(folder, number, array):
    np.save(folder / f"{number}.npy", array.mean(axis=0))
    return f"{number}.npy"


ARCHIVES = '[features]\ntype = "arrays"\nkeys = ["last"]'


@pytest.mark.slow
@pytest.mark.parametrize(
    ("save", "features"),
    [
        (save_npy, ""),
        (save_npy, '[features]\ntype = "arrays"\nlayout = "rows-time"\ngrid = "track"\npool = "mean-std"'),
        (save_npz, ARCHIVES),
        (save_vector, ""),
    ],
)
def test_the_tracks_of_the_dataset_are_predicted_as_the_run_did(tmp_path, save, features):
    run, tested = train(tmp_path, save, features)
    predictor = Predictor([run], arrays=True)
    for track, value in tested.items():
        (path,) = tmp_path.glob(f"{track[1:]}.np*")
        assert float(predictor.predict(path).tasks["valence"].value) == pytest.approx(value, abs=1e-4)


@pytest.mark.slow
def test_times_need_a_rate(tmp_path):
    run, _ = train(tmp_path, save_npz, f"{ARCHIVES}\nrate = 2.0")
    path = tmp_path / "1.npz"
    prediction = Predictor([run], arrays=True, window=1.0).predict(path)
    assert (prediction.timed, prediction.duration) == (True, 3.0)
    assert prediction.windows[0].tolist() == [0.0, 1.0]
    run, _ = train(tmp_path, save_npz, ARCHIVES)
    with pytest.raises(InputError, match=r"--window is in seconds, but the run's features\.rate"):
        Predictor([run], arrays=True, window=1.0).predict(path)
    prediction = Predictor([run], arrays=True).predict(path)
    assert song_blocks(prediction)[0].text == ": 6 time steps"
    assert predictions_json([run], [prediction])["songs"][0]["unit"] == "time steps"


def test_arrays_that_do_not_fit(tmp_path):
    run, _ = train(tmp_path, save_npy)
    predictor = Predictor([run], arrays=True)
    for shape, message in (
        ((4, 4), r"has shape \[4, 4\], but one of two axes must have 4 rows"),
        ((5, 3), r"has shape \[5, 3\], but one of two axes must have 4 rows"),
        ((3,), "has 3 rows, but the run was trained on 4"),
    ):
        np.save(tmp_path / "x.npy", np.zeros(shape))
        with pytest.raises(InputError, match=rf"x\.npy: {message}"):
            predictor.predict(tmp_path / "x.npy")
    with pytest.raises(InputError, match=r"x\.npz: the run was trained on \.npy files"):
        predictor.predict(tmp_path / "x.npz")
    with pytest.raises(InputError, match="--sync: ready-made arrays have their time steps"):
        Predictor([run], arrays=True, sync="beat")


def test_a_run_of_audio_takes_no_arrays(run):
    with pytest.raises(InputError, match=r"was trained on mel-chroma of audio\. Give it audio files"):
        Predictor([run], arrays=True)


def test_a_run_on_arrays_cannot_listen(tmp_path):
    run, _ = train(tmp_path, save_npy)
    with pytest.raises(InputError, match="needs a run that was trained on features of audio"):
        Listener.of_run(run.directory)
