import json

import numpy as np
import pytest
from recorded_runs import GENRES, evaluation, write_run

from musicemo.errors import InputError
from musicemo.runs import open_run


@pytest.fixture
def directory(tmp_path):
    return write_run(tmp_path / "written")


def test_a_finished_run_is_read_back_whole(directory):
    run = open_run(directory)
    assert (run.name, run.status, run.problems) == ("written", "done", [])
    assert run.experiment["dataset"] == {"type": "memory"}
    assert run.toml.startswith('name = "written"')
    assert [record["epoch"] for record in run.history] == [1, 2, 3, 4]
    assert len(run.split["train"]) == 24
    assert run.environment["python"] == "3.11.9"


def test_predictions_come_back_as_the_evaluations_that_were_written(directory):
    found, written = open_run(directory).evaluations["test"], evaluation(12, prefix="test")
    for name, task in written.tasks.items():
        assert found.tasks[name].ids == tuple(task.ids)
        np.testing.assert_array_equal(found.tasks[name].target, task.target)
        np.testing.assert_array_equal(found.tasks[name].prediction, task.prediction)
        assert found.tasks[name].metrics() == task.metrics()


def test_a_run_of_an_earlier_version_tells_its_tasks_by_their_metrics(directory):
    results = json.loads((directory / "results.json").read_text())
    del results["tasks"]
    (directory / "results.json").write_text(json.dumps(results))
    run = open_run(directory)
    assert run.tasks == {
        "valence": {"kind": "regression"},
        "genre": {"kind": "classification", "classes": list(GENRES)},
    }
    assert run.evaluations["val"].tasks["genre"].classes == list(GENRES)


def test_a_run_that_failed_holds_what_it_got_to(tmp_path):
    directory = write_run(tmp_path / "written", status="failed", error="a loss is nan")
    (directory / "history.jsonl").unlink()
    run = open_run(directory)
    assert (run.status, run.metrics, run.evaluations, run.history) == ("failed", {}, {}, [])
    assert run.problems == ["history.jsonl is missing"]


@pytest.mark.parametrize(
    ("name", "content", "problem"),
    [
        ("experiment.toml", "a = ", "experiment.toml: cannot be read: Invalid value"),
        ("environment.json", "{", "environment.json: cannot be read: Expecting"),
        ("environment.json", "[]", "environment.json: input should be a valid dictionary"),
        ("split.json", b"\xff", "split.json: cannot be read: 'utf-8' codec"),
        ("history.jsonl", '{"epoch": 1}\n{"epo', "history.jsonl: cannot be read: line 2: Unterminated string"),
    ],
)
def test_damaged_files_are_told_and_the_rest_is_read(directory, name, content, problem):
    (directory / name).write_bytes(content if isinstance(content, bytes) else content.encode())
    run = open_run(directory)
    assert len(run.problems) == 1
    assert run.problems[0].startswith(problem)
    assert run.status == "done"


def test_damaged_predictions_are_an_error_where_they_are_asked_for(directory):
    (directory / "predictions.csv").write_text("track,part,task,target,prediction\na,test,genre,Folk,Polka\n")
    run = open_run(directory)
    with pytest.raises(InputError, match=r"predictions.csv: cannot be read: line 2: 'Polka' is not a class"):
        _ = run.evaluations


def test_predictions_that_were_cut_off_are_an_error(directory):
    path = directory / "predictions.csv"
    lines = path.read_text().splitlines(keepends=True)
    path.write_text("".join(lines[:-3]))
    with pytest.raises(InputError, match=r"predictions.csv: has \d+ of the \d+ test predictions of 'genre'"):
        _ = open_run(directory).evaluations


def test_what_is_no_run_directory(tmp_path):
    with pytest.raises(InputError, match="is not a run directory: it has no results"):
        open_run(tmp_path)
