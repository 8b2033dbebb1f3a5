"""``musicemo compare``."""

from __future__ import annotations

import csv
import io
import json

import pytest
from recorded import regression, truth, write_experiment, write_run

from musicemo.cli._compare import _report_command


@pytest.fixture
def folder(tmp_path):
    write_experiment(tmp_path / "runs", "poor", {"energy": 0.3, "valence": 0.5})
    write_experiment(tmp_path / "runs", "good", {"energy": 0.4, "valence": 5.0})
    write_run(tmp_path / "runs", "elsewhere", {"valence": regression(truth(9), 1.0, 0)}, part_hash="bbbb")
    return tmp_path


@pytest.mark.slow
def test_a_table(command, folder):
    finished = command("compare", "runs/poor", "runs/good", folder=folder)
    assert (finished.code, finished.err) == (0, "")
    lines = finished.out.splitlines()
    assert lines[:2] == ["poor: 3 seeds, test set, 60 tracks", "good: 3 seeds, test set, 60 tracks"]
    assert any(line.startswith("mean of 2") for line in lines)
    assert any(line.startswith("good is better than poor on valence") for line in lines)
    assert lines[-1] == "Report: musicemo report runs/poor runs/good"


@pytest.mark.slow
def test_one_experiment_alone(command, folder):
    finished = command("compare", "runs/poor", folder=folder)
    assert (finished.code, finished.err) == (0, "")
    assert "baseline" not in finished.out


def test_the_command_for_the_report_names_the_baselines_and_is_quoted():
    command = _report_command(["runs/a b", "c=runs/d"], ["c"], True)
    assert command == "musicemo report 'runs/a b' c=runs/d --baseline c --allow-different-tests"


@pytest.mark.slow
def test_json_csv_and_files(command, folder):
    finished = command("compare", "runs/poor", "runs/good", "--format", "json", folder=folder)
    assert [one["name"] for one in json.loads(finished.out)["experiments"]] == ["poor", "good"]
    arguments = ("--format", "csv", "--output", "out.csv", "--metrics")
    finished = command("compare", "runs/poor", "runs/good", *arguments, folder=folder)
    assert (finished.code, finished.out) == (0, "")
    rows = list(csv.DictReader(io.StringIO((folder / "out.csv").read_text())))
    assert {row["metric"] for row in rows} == {*("spearman", "pearson", "ccc", "r2", "rmse", "mae"), "delta_m"}


def test_names_are_given_or_made_of_paths(command, folder):
    first, second, _ = sorted((folder / "runs" / "poor").iterdir())
    arguments = ("--format", "json", "--resamples", 100)
    finished = command("compare", f"mine={first}", second, "runs/poor", *arguments, folder=folder)
    assert finished.code == 0
    names = [one["name"] for one in json.loads(finished.out)["experiments"]]
    assert names == ["mine", str(second), "runs/poor"]


@pytest.mark.parametrize(
    ("arguments", "message"),
    [
        (["runs/poor", "runs/elsewhere"], "poor and elsewhere: their test parts differ"),
        (["runs/poor", "runs/none"], "runs/none: there is no such run directory"),
        (["runs"], "it holds those of elsewhere, good, poor"),
        (["runs/poor", "--part", "val"], "has no val part"),
        (["runs/poor", "runs/good", "--baseline", "goof"], "did you mean 'good'"),
        (["runs/poor", "--output", "nowhere/out.csv"], "the folder nowhere does not exist"),
        (["runs/poor", "--confidence", "2"], "confidence"),
    ],
)
def test_what_is_wrong_is_told(command, folder, arguments, message):
    finished = command("compare", *arguments, folder=folder)
    assert (finished.code, finished.out) == (2, "")
    assert message in finished.err
    assert "Traceback" not in finished.err


def test_different_tests_are_compared_when_told(command, folder):
    finished = command("compare", "runs/poor", "runs/elsewhere", "--allow-different-tests", folder=folder)
    assert (finished.code, finished.err) == (0, "")
    assert "elsewhere: tested on other tracks than the baseline" in finished.out
