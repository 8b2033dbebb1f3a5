"""Runs on a split that a file lists."""

import json

import pytest
from complaints import warns
from harness import results_of, run_all

from musicemo.errors import InputError
from musicemo.prediction import TrainedRun, evaluate_run

pytestmark = pytest.mark.usefixtures("fakes", "one_thread")


def overrides(folder):
    return ["split.method='file'", f"split.path='{folder / 'published.json'}'", "training.epochs=1"]


def publish(folder, **parts):
    (folder / "published.json").write_text(json.dumps(parts))


def ids(*numbers):
    return [f"track{number:03d}" for number in numbers]


@pytest.mark.slow
def test_a_run_is_split_as_the_file_says_and_keeps_it(tmp_path):
    publish(tmp_path, train=ids(*range(30)), val=ids(*range(30, 40)), test=[*ids(*range(40, 55)), "another"])
    with warns(r"5 of 60 tracks are in no set.*'track055'"), warns(r"1 of 56 ids are not those of.*'another'"):
        (outcome,) = run_all(tmp_path, *overrides(tmp_path))
    split = json.loads((outcome.directory / "split.json").read_text())
    assert split["test"] == ids(*range(40, 55))
    assert results_of(outcome.directory)["split"] == split["hash"]
    (tmp_path / "published.json").unlink()
    run = TrainedRun.load(outcome.directory)
    with warns("5 of 60 tracks are in no set"):
        assert evaluate_run(run, part="test").metrics() == run.results["metrics"]["test"]


def test_tracks_that_a_file_excludes_are_left_out_without_a_warning(tmp_path):
    publish(
        tmp_path,
        train=ids(*range(30)),
        val=ids(*range(30, 40)),
        test=ids(*range(40, 50)),
        excluded=ids(*range(50, 60)),
    )
    (outcome,) = run_all(tmp_path, *overrides(tmp_path))
    split = json.loads((outcome.directory / "split.json").read_text())
    assert not {*split["train"], *split["val"], *split["test"]} & set(ids(*range(50, 60)))


def test_a_file_of_other_tracks_is_an_error(tmp_path):
    publish(tmp_path, train=["x"], test=["y"])
    message = r"published\.json: none of its 2 ids is that of a track \(ids in the file: 'x', .*'track000'"
    with pytest.raises(InputError, match=message):
        run_all(tmp_path, *overrides(tmp_path))
