"""``musicemo evaluate``."""

from __future__ import annotations

import csv
import io
import json

import pytest


def results(directory):
    return json.loads((directory / "results.json").read_text())


@pytest.mark.slow
def test_a_table(command, trained):
    finished = command("evaluate", trained.first)
    assert (finished.code, finished.err) == (0, "")
    lines = finished.out.splitlines()
    assert lines[0] == f"{trained.first} on clips: test set, 8 tracks"
    row = next(line for line in lines if line.startswith("valence"))
    value = results(trained.first)["metrics"]["test"]["valence"]["spearman"]["value"]
    assert row.split()[1] == f"{value:.3f}"
    assert any(line.startswith("folk") for line in lines)


@pytest.mark.parametrize("part", ["train", "val", "test"])
def test_json_has_the_runs_results(command, trained, part):
    finished = command("evaluate", trained.replicates, "--part", part, "--format", "json")
    assert (finished.code, finished.err) == (0, "")
    found = json.loads(finished.out)
    assert (found["dataset"], found["part"]) == ("clips", part)
    for one, directory in zip(found["runs"], (trained.first, trained.second), strict=True):
        assert one["metrics"] == results(directory)["metrics"][part]


def test_replicates_have_mean_and_deviation(command, trained):
    finished = command("evaluate", trained.replicates)
    assert "songs: mean ± standard deviation over 2 runs, test set" in finished.out


def test_csv_in_a_file(command, trained, tmp_path):
    finished = command("evaluate", trained.first, "--format", "csv", "--output", tmp_path / "out.csv")
    assert (finished.code, finished.out) == (0, "")
    rows = list(csv.DictReader(io.StringIO((tmp_path / "out.csv").read_text())))
    assert {row["metric"] for row in rows if row["task"] == "genre"} == {"accuracy", "macro_f1", "weighted_f1"}


@pytest.mark.slow
def test_another_dataset(trained):
    overrides = ["--set", "dataset.first=100", "--set", 'dataset.targets="valence"']
    finished = trained.run("evaluate", trained.first, *overrides)
    assert finished.code == 0
    assert "on clips: all labelled tracks, 40 tracks" in finished.out
    assert finished.err.startswith("warning: task 'genre' is left out: the dataset declares no target 'genre'")


@pytest.mark.parametrize(
    ("arguments", "message"),
    [
        (["--set", "model.type=cnn"], "model of a trained run cannot be changed"),
        (["--set", "dataset.tracks=0"], "dataset.tracks"),
        (["--part", "tset"], "tset"),
        (["--set", "split.seed=3"], "the split differs from that of the run"),
    ],
)
def test_what_is_wrong_is_told(command, trained, arguments, message):
    finished = command("evaluate", trained.first, *arguments)
    assert (finished.code, finished.out) == (2, "")
    assert message in finished.err
    assert "Traceback" not in finished.err
