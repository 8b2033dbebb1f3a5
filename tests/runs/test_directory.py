import errno
import fcntl
import json
import os
import re
from pathlib import Path

import numpy as np
import pytest

from musicemo.errors import InputError, RunError
from musicemo.evaluation import Evaluation, TaskEvaluation
from musicemo.files import read_csv
from musicemo.runs import RunDirectory, find_run
from musicemo.runs import directory as module


def test_a_run_is_named_by_time_and_label(tmp_path):
    made = RunDirectory.create(tmp_path / "runs", "multitask", "seed3-fold1")
    assert made.path.parent == tmp_path / "runs" / "multitask"
    assert re.fullmatch(r"\d{8}-\d{6}-seed3-fold1", made.path.name)
    assert (made.path / "checkpoints").is_dir()


def test_runs_of_the_same_second_have_names_of_their_own(tmp_path, monkeypatch):
    from datetime import datetime

    class Still(datetime):
        @classmethod
        def now(cls, tz=None):
            return cls(2024, 5, 6, 7, 8, 9)

    monkeypatch.setattr(module, "datetime", Still)
    names = [RunDirectory.create(tmp_path, "x", "seed0").path.name for _ in range(3)]
    assert names == ["20240506-070809-seed0", "20240506-070809-seed0-2", "20240506-070809-seed0-3"]


def test_a_folder_that_cannot_be_made(tmp_path):
    (tmp_path / "runs").write_text("a file")
    with pytest.raises(RunError, match=r"runs/x/.*-seed0: cannot be made: Not a directory"):
        RunDirectory.create(tmp_path / "runs", "x", "seed0")


@pytest.fixture
def made(tmp_path):
    return RunDirectory.create(tmp_path / "runs", "x", "seed0")


def test_a_folder_that_is_only_read_is_in_nobodys_use(made, monkeypatch):
    opened = []
    real = Path.open
    monkeypatch.setattr(Path, "open", lambda path, mode="r": opened.append(mode) or real(path, mode))
    assert not RunDirectory(made.path).in_use
    assert not (made.path / ".lock").exists()
    (made.path / ".lock").touch()
    assert not RunDirectory(made.path).in_use
    assert opened == ["r", "r"]


def test_leftovers_of_a_killed_process_are_cleaned(made):
    leftovers = [made.path / ".results.json.a1b2", made.path / "checkpoints" / ".last.pt.c3d4"]
    kept = [made.path / "results.json", made.path / "checkpoints" / "last.pt", made.path / "events.out.1"]
    for path in leftovers + kept:
        path.write_text("{}")
    with made:
        assert not any(path.exists() for path in leftovers)
        assert all(path.exists() for path in kept)


def test_only_one_process_writes_at_a_time(made):
    with made:
        assert RunDirectory(made.path).in_use
        with pytest.raises(InputError, match="another process is writing to this run"), RunDirectory(made.path):
            pass
    assert not RunDirectory(made.path).in_use
    with RunDirectory(made.path):
        pass


def test_a_lock_that_cannot_be_written(made, monkeypatch):
    (made.path / ".lock").mkdir()
    with pytest.raises(RunError, match=r"\.lock: cannot be written: Is a directory"):
        made.__enter__()


def write(path, **results):
    path.mkdir(parents=True)
    (path / "results.json").write_text(json.dumps(results))
    return path


def test_the_latest_run_of_the_same_experiment_is_found(tmp_path):
    write(tmp_path / "x" / "20240101-000000-seed0", fingerprint="a")
    latest = write(tmp_path / "x" / "20240102-000000-seed0", fingerprint="a", status="failed")
    write(tmp_path / "x" / "20240103-000000-seed0", fingerprint="b")
    write(tmp_path / "y" / "20240104-000000-seed0", fingerprint="a")
    (tmp_path / "x" / "20240105-000000-seed0").mkdir()
    found = find_run(tmp_path, "x", "a")
    assert found.path == latest
    assert found.results["status"] == "failed"
    assert find_run(tmp_path, "x", "c") is None
    assert find_run(tmp_path / "nowhere", "x", "a") is None


def test_a_run_in_use_is_passed_over(tmp_path):
    earlier = write(tmp_path / "x" / "20240101-000000-seed0", fingerprint="a")
    later = write(tmp_path / "x" / "20240102-000000-seed0", fingerprint="a")
    with (later / ".lock").open("w") as lock:
        fcntl.flock(lock, fcntl.LOCK_EX)
        assert find_run(tmp_path, "x", "a").path == earlier
    assert find_run(tmp_path, "x", "a").path == later


def test_results_that_are_missing_or_damaged(made):
    assert made.results == {}
    (made.path / "results.json").write_text('{"status": "do')
    with pytest.raises(InputError, match=r"results\.json: cannot be read"):
        _ = made.results


def evaluation():
    regression = TaskEvaluation("regression", ["=a", "b,c"], np.array([1.5, 9.0]), np.array([0.1 + 0.2, 1e-7]))
    genre = TaskEvaluation(
        "classification", ['d "e"'], np.array([1]), np.array([0]), ("hip-hop", "rock, etc."), np.zeros((1, 2))
    )
    return Evaluation({"valence": regression, "genre": genre})


def test_predictions_are_read_back_exactly(made):
    made.write_predictions({"val": evaluation(), "test": Evaluation()})
    rows = list(read_csv(made.path / "predictions.csv"))
    assert list(rows[0]) == ["track", "part", "task", "target", "prediction"]
    assert [row["track"] for row in rows] == ["=a", "b,c", 'd "e"']
    assert [float(row["prediction"]) for row in rows[:2]] == [0.1 + 0.2, 1e-7]
    assert rows[2] == {
        "track": 'd "e"',
        "part": "val",
        "task": "genre",
        "target": "rock, etc.",
        "prediction": "hip-hop",
    }


def test_a_full_disk_leaves_what_was_there(made, monkeypatch):
    made.write_results({"status": "running"})

    def full(descriptor):
        raise OSError(errno.ENOSPC, os.strerror(errno.ENOSPC))

    monkeypatch.setattr(os, "fsync", full)
    for write_something in (
        lambda: made.write_results({"status": "done"}),
        lambda: made.write_predictions({"val": evaluation()}),
        lambda: made.write_start("", {}, {}),
    ):
        with pytest.raises(RunError, match="cannot be written: No space left on device"):
            write_something()
    assert made.results == {"status": "running"}
    assert sorted(path.name for path in made.path.iterdir()) == ["checkpoints", "results.json"]


def test_results_hold_no_value_that_json_has_no_name_for(made):
    with pytest.raises(ValueError, match="Out of range float values are not JSON compliant"):
        made.write_results({"loss": float("nan")})
    assert not (made.path / "results.json").exists()


def test_a_damaged_run_is_passed_over_with_a_warning(tmp_path):
    for stamp, text in (("1", json.dumps({"fingerprint": "a"})), ("2", "{")):
        (tmp_path / "x" / stamp).mkdir(parents=True)
        (tmp_path / "x" / stamp / "results.json").write_text(text)
    with pytest.warns(UserWarning, match=r"x/2/results.json: cannot be read: .*passed over"):
        assert find_run(tmp_path, "x", "a").path == tmp_path / "x" / "1"
