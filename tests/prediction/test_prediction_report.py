import csv
import io
import json
from pathlib import Path

import pytest
from clips import song_features

from musicemo.features import Failure
from musicemo.prediction import Predictor, evaluate_run, find_runs
from musicemo.reporting.tabular import evaluations_csv, evaluations_json, predictions_csv, predictions_json


@pytest.fixture
def runs(replicates):
    return find_runs(replicates)


def rows(text):
    return list(csv.DictReader(io.StringIO(text)))


def test_the_shape_of_predictions(runs):
    song = Predictor(runs).predict("a.mp3", song_features(40))
    found = json.loads(json.dumps(predictions_json(runs, [song, Failure(Path("b.mp3"), "is silent")])))
    assert found["runs"] == [str(run.directory) for run in runs]
    good, bad = found["songs"]
    assert bad == {"song": "b.mp3", "error": "is silent"}
    assert list(good) == ["song", "duration", "windows", "tasks"]
    assert good["duration"] == pytest.approx(song.duration, abs=1e-3)
    count = len(good["windows"])
    assert count > 1
    valence, genre = good["tasks"]["valence"], good["tasks"]["genre"]
    assert list(valence) == ["kind", "range", "value", "deviation", "curve"]
    assert (valence["kind"], valence["range"], len(valence["curve"])) == ("regression", [1.0, 9.0], count)
    assert valence["value"] == pytest.approx(sum(valence["curve"]) / count)
    assert list(genre) == ["kind", "value", "probabilities", "deviations", "curves"]
    assert genre["value"] == max(genre["probabilities"], key=genre["probabilities"].get)
    assert sum(genre["probabilities"].values()) == pytest.approx(1)
    assert {name: len(curve) for name, curve in genre["curves"].items()} == dict.fromkeys(
        genre["probabilities"], count
    )
    assert list(genre["probabilities"]) == ["folk", "jazz", "rock"]


def test_one_run_has_no_deviation(runs):
    song = Predictor(runs[:1]).predict("a.mp3", song_features(8))
    tasks = predictions_json(runs[:1], [song])["songs"][0]["tasks"]
    assert tasks["valence"]["deviation"] is None
    assert tasks["genre"]["deviations"] is None
    assert {row["deviation"] for row in rows(predictions_csv([song]))} == {""}


def test_rows_of_predictions(runs):
    song = Predictor(runs).predict('a,"b".mp3', song_features(40))
    short = Predictor(runs).predict("c.mp3", song_features(8))
    found = rows(predictions_csv([song, Failure(Path("d.mp3"), "is silent"), short]))
    assert {row["song"] for row in found} == {'a,"b".mp3', "c.mp3"}
    count = len(song.windows)
    assert len(found) == (1 + 3) * (1 + count) + (1 + 3)
    whole = [row for row in found if row["window"] == ""]
    assert [(row["task"], row["class"]) for row in whole[:4]] == [
        ("valence", ""),
        ("genre", "folk"),
        ("genre", "jazz"),
        ("genre", "rock"),
    ]
    assert float(whole[0]["value"]) == float(song.tasks["valence"].value)
    assert float(whole[0]["deviation"]) == float(song.tasks["valence"].deviation)
    third = next(row for row in found if row["window"] == "2" and row["class"] == "jazz")
    assert float(third["value"]) == song.tasks["genre"].curve[2, 1]
    assert float(third["deviation"]) == song.tasks["genre"].curve_deviation[2, 1]
    assert float(third["start"]) == pytest.approx(song.windows[2, 0], abs=1e-3)


def test_the_shape_of_evaluations(runs):
    evaluations = [evaluate_run(run) for run in runs]
    found = json.loads(json.dumps(evaluations_json(evaluations), allow_nan=False))
    assert (found["dataset"], found["part"]) == ("clips", "test")
    assert [run["seed"] for run in found["runs"]] == [0, 1]
    for run, one in zip(runs, found["runs"], strict=True):
        assert one["metrics"] == run.results["metrics"]["test"]
        assert (one["run"], one["tracks"], one["fold"]) == (str(run.directory), 8, None)


def test_rows_of_evaluations(runs):
    found = rows(evaluations_csv([evaluate_run(run) for run in runs]))
    assert len(found) == 2 * (6 + 3)
    spearman = runs[0].results["metrics"]["test"]["valence"]["spearman"]
    assert [float(found[0][end]) for end in ("value", "low", "high")] == list(spearman.values())
    assert found[0]["metric"] == "spearman"
