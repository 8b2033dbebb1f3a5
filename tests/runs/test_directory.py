import errno
import json
import os
import re

import numpy as np
import pytest
from complaints import warns

from musicemo.errors import InputError, RunError
from musicemo.evaluation import Evaluation, TaskEvaluation
from musicemo.files import read_csv
from musicemo.runs import RunDirectory, RunInUseError, find_run, open_run
from musicemo.runs import directory as module
from musicemo.runs.directory import remove_abandoned


def test_a_run_is_named_by_time_and_label(tmp_path):
    made = RunDirectory.create(tmp_path / "runs", "multitask", "seed3-fold1")
    assert made.path.parent == tmp_path / "runs" / "multitask"
    assert re.fullmatch(r"\d{8}-\d{6}Z-seed3-fold1", made.path.name)
    assert (made.path / "checkpoints").is_dir()


def test_runs_of_the_same_second_have_names_of_their_own(tmp_path, monkeypatch):
    from datetime import datetime

    class Still(datetime):
        @classmethod
        def now(cls, tz=None):
            return cls(2024, 5, 6, 7, 8, 9)

    monkeypatch.setattr(module, "datetime", Still)
    names = [RunDirectory.create(tmp_path, "x", "seed0").path.name for _ in range(3)]
    assert names == ["20240506-070809Z-seed0", "20240506-070809Z-seed0-2", "20240506-070809Z-seed0-3"]


def test_a_folder_that_cannot_be_made(tmp_path):
    (tmp_path / "runs").write_text("a file")
    with pytest.raises(RunError, match=r"runs/x/.*-seed0: cannot be created: Not a directory"):
        RunDirectory.create(tmp_path / "runs", "x", "seed0")


@pytest.fixture
def made(tmp_path):
    return RunDirectory.create(tmp_path / "runs", "x", "seed0")


def test_a_folder_that_is_only_read_is_in_nobodys_use(made):
    assert not RunDirectory(made.path).in_use
    assert not (made.path / ".lock").exists()
    (made.path / ".lock").touch(mode=0o444)
    assert not RunDirectory(made.path).in_use


def test_leftovers_of_a_killed_process_are_cleaned(made):
    leftovers = [made.path / ".results.json.a1b2", made.path / "checkpoints" / ".last.pt.c3d4"]
    kept = [made.path / "results.json", made.path / "checkpoints" / "last.pt", made.path / "events.out.1"]
    for path in leftovers + kept:
        path.write_text("{}")
    with made:
        assert not any(path.exists() for path in leftovers)
        assert all(path.exists() for path in kept)


@pytest.mark.slow
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
    (path / "results.json").write_text(json.dumps({"status": "running"} | results))
    return path


DONE = {"status": "done", "metrics": {"test": {"valence": {"tracks": 3}}}}


def test_the_latest_run_of_the_same_experiment_is_found(tmp_path):
    write(tmp_path / "x" / "20240101-000000Z-seed0", fingerprint="a")
    latest = write(tmp_path / "x" / "20240102-000000Z-seed0", fingerprint="a", status="failed")
    write(tmp_path / "x" / "20240103-000000Z-seed0", fingerprint="b")
    write(tmp_path / "y" / "20240104-000000Z-seed0", fingerprint="a")
    (tmp_path / "x" / "20240105-000000Z-seed0").mkdir()
    record = find_run(tmp_path / "x", "a")
    assert (record.directory, record.status) == (latest, "failed")
    assert find_run(tmp_path / "x", "c") is None
    assert find_run(tmp_path / "nowhere", "a") is None
    assert find_run(tmp_path / "x", "a", excluded=[latest]).directory.name == "20240101-000000Z-seed0"


def test_a_finished_run_is_found_before_a_later_one_that_is_not(tmp_path):
    done = write(tmp_path / "x" / "20240101-000000Z-seed0", fingerprint="a", **DONE)
    write(tmp_path / "x" / "20240102-000000Z-seed0", fingerprint="a")
    assert find_run(tmp_path / "x", "a").directory == done


def test_a_run_in_use_is_left_to_its_writer(tmp_path):
    write(tmp_path / "x" / "20240101-000000Z-seed0", fingerprint="a")
    process = {"pid": 12, "host": "node7"}
    later = write(tmp_path / "x" / "20240102-000000Z-seed0", fingerprint="a", process=process)
    with RunDirectory(later):
        with pytest.raises(RunInUseError, match="process 12 on node7 is training this run"):
            find_run(tmp_path / "x", "a")
        assert open_run(later).status == "running"
    assert find_run(tmp_path / "x", "a").directory == later
    assert open_run(later).status == "interrupted (killed)"


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
    assert open_run(made.path).results == {"status": "running"}
    assert sorted(path.name for path in made.path.iterdir()) == ["checkpoints", "results.json"]


def test_results_hold_plain_values(made):
    given = {
        "status": "running",
        "loss": float("nan"),
        "rows": np.arange(2, dtype=np.int8),
        "rho": [np.float32(0.5), np.float64("inf")],
        "name": np.str_("a"),
        "odd": "half a pair: \ud800",
        "flag": np.bool_(True),
        "pair": (1, None),
    }
    made.write_results(given)
    assert open_run(made.path).results == {
        "status": "running",
        "loss": None,
        "rows": [0, 1],
        "rho": [0.5, None],
        "name": "a",
        "odd": "half a pair: \N{REPLACEMENT CHARACTER}",
        "flag": True,
        "pair": [1, None],
    }


@pytest.mark.parametrize(
    ("value", "message"),
    [
        ({"a": [{"b": {b"x"}}]}, r"results\.json: a\.0\.b: JSON has no value for the type bytes"),
        ({"a": {None: 1}}, r"results\.json: a: the key None must be text"),
        ({"a": b"x"}, r"a: JSON has no value for the type bytes"),
        ({"a": np.array(["2020"], "datetime64[D]")}, r"a\.0: JSON has no value for the type date"),
        ({"a": 10**400}, r"results\.json: int too large"),
    ],
)
def test_what_json_has_no_form_for_is_named(value, message, made):
    with pytest.raises(RunError, match=message):
        made.write_results(value)
    assert not (made.path / "results.json").exists()


def test_results_that_hold_themselves(made):
    value: dict[str, object] = {}
    value["a"] = value
    with pytest.raises(RunError, match="is nested in more than 50 levels"):
        made.write_results(value)


def test_a_damaged_run_is_left_out_with_a_warning(tmp_path):
    for stamp, text in (("1", json.dumps({"status": "failed", "fingerprint": "a"})), ("2", "{")):
        (tmp_path / "x" / stamp).mkdir(parents=True)
        (tmp_path / "x" / stamp / "results.json").write_text(text)
    with warns(r"x/2/results.json: cannot be read: .*The run is ignored"):
        assert find_run(tmp_path / "x", "a").directory == tmp_path / "x" / "1"


@pytest.mark.parametrize("link", [".lock", "checkpoints", "code", "history.jsonl", "checkpoints/last.pt"])
def test_nothing_is_written_through_links(link, made, tmp_path):
    outside = tmp_path / "outside"
    outside.mkdir()
    (outside / ".last.pt.a1b2").write_text("kept")
    (outside / "file").write_text("kept")
    path = made.path / link
    if link == "checkpoints":
        path.rmdir()
    path.symlink_to(outside if link in ("checkpoints", "code") else outside / "file")
    with pytest.raises(InputError, match=f"{link}: is a link, .*--no-resume"):
        RunDirectory(made.path).acquire()
    assert not RunDirectory(made.path).in_use
    assert {inner.name: inner.read_text() for inner in outside.iterdir()} == {
        ".last.pt.a1b2": "kept",
        "file": "kept",
    }


def test_a_run_whose_folder_is_a_link_is_not_written(made, tmp_path):
    (tmp_path / "linked").symlink_to(made.path)
    with pytest.raises(InputError, match="linked: is a link"):
        RunDirectory(tmp_path / "linked").acquire()
    assert not (made.path / ".lock").exists()


def test_the_lock_is_never_emptied(made):
    (made.path / ".lock").write_text("kept")
    with made:
        assert (made.path / ".lock").read_text() == "kept"


def test_folders_of_processes_that_were_killed_at_once_are_removed(tmp_path):
    folder = tmp_path / "x"
    for name in ("20240101-000000Z-seed0", "20240102-000000-seed0", "20240103-000000Z-seed0", "notes"):
        (folder / name / "checkpoints").mkdir(parents=True)
    (folder / "20240101-000000Z-seed0" / ".lock").touch()
    (folder / "20240101-000000Z-seed0" / ".results.json.ab12").touch()
    (folder / "20240102-000000-seed0" / "split.json").touch()
    (folder / "20240103-000000Z-seed0" / "checkpoints" / "last.pt").touch()
    remove_abandoned(folder)
    assert len(list(folder.iterdir())) == 4
    remove_abandoned(folder, age=0)
    assert sorted(path.name for path in folder.iterdir()) == ["20240103-000000Z-seed0", "notes"]
