"""Trackers: what a run calls, and what `musicemo import` calls for a run that was recorded before."""

from __future__ import annotations

import importlib
import json
import math

import pytest
from complaints import warns
from documented_blocks import ROOT, blocks
from harness import Recorder, run_all

from musicemo.components.hooks import load_hooks
from musicemo.errors import InputError, RunError, RunStopped
from musicemo.hookspecs import hookimpl
from musicemo.runs import RunDirectory, RunRecord, open_run
from musicemo.tracking import Tracker, final_metrics, flat_settings, group_of, label_of, make_tracker, runs_of

pytestmark = pytest.mark.usefixtures("fakes", "one_thread")


class Memory(Tracker):
    """Keeps runs in memory.

    Args:
        word: Word of the tracker.
    """

    def __init__(self, *, word: str = "") -> None:
        self.word = word
        self.runs = {}
        self.fails = None

    def start_run(self, run):
        assert run.experiment["name"] == run.name
        self.current = self.runs.setdefault(run.directory.name, {"epochs": {}})
        return max(self.current["epochs"], default=0)

    def log_metrics(self, metrics, epoch):
        if epoch == self.fails:
            raise ConnectionError("no network")
        assert epoch not in self.current["epochs"]
        assert all(map(math.isfinite, metrics.values()))
        self.current["epochs"][epoch] = metrics

    def end_run(self, run, status):
        assert json.loads((run.directory / "results.json").read_text())["status"] == run.status
        self.current |= {"status": status, "final": final_metrics(run.results)}


class Interrupts:
    """Ends a run in an epoch, with an error."""

    def __init__(self, epoch, error):
        self.epoch, self.error = epoch, error

    @hookimpl
    def musicemo_epoch_started(self, epoch):
        if epoch == self.epoch:
            raise self.error


class Adds:
    @hookimpl
    def musicemo_epoch_finished(self, record):
        record |= {"mine/one": 1.0, "mine/undefined": math.nan}


def test_a_run_is_tracked(tmp_path):
    tracker = Memory()
    (outcome,) = run_all(tmp_path, plugins=[Adds(), tracker])
    (run,) = tracker.runs.values()
    assert list(run["epochs"]) == [1, 2, 3]
    history = open_run(outcome.directory).history
    assert run["epochs"][2]["val/loss"] == history[1]["val/loss"]
    assert run["epochs"][2]["mine/one"] == 1.0
    assert "mine/undefined" not in run["epochs"][2]
    assert run["status"] == "done"
    valence = outcome.results["metrics"]["test"]["valence"]["spearman"]["value"]
    assert run["final"]["final/test/valence/spearman"] == valence


@pytest.mark.parametrize(
    ("error", "status"), [(KeyboardInterrupt(), "interrupted"), (RunError("disk"), "failed")]
)
def test_a_run_that_ends_early_is_closed_and_continued(tmp_path, error, status):
    tracker = Memory()
    with pytest.raises(type(error)):
        run_all(tmp_path, plugins=[Interrupts(3, error), tracker])
    (run,) = tracker.runs.values()
    assert (list(run["epochs"]), run["status"]) == ([1, 2], status)
    run_all(tmp_path, plugins=[tracker], resume=True)
    assert list(tracker.runs.values()) == [run]
    assert (list(run["epochs"]), run["status"]) == ([1, 2, 3], "done")


def test_a_tracker_that_fails_never_ends_the_run(tmp_path):
    tracker = Memory()
    tracker.fails = 2
    recorder = Recorder()
    with warns(r"Memory: ConnectionError: no network\. .* is not tracked further; `musicemo import`"):
        outcomes = run_all(tmp_path, "seeds=[0, 1]", plugins=[recorder, tracker])
    assert [outcome.results["status"] for outcome in outcomes] == ["done", "done"]
    assert [list(run["epochs"]) for run in tracker.runs.values()] == [[1], [1]]
    with pytest.raises(
        RunError, match=r"-seed0: cannot be imported completely: Memory: ConnectionError: no network\. "
    ):
        tracker.import_run(open_run(outcomes[0].directory))
    tracker.fails = None
    for outcome in outcomes:
        tracker.import_run(open_run(outcome.directory))
    assert [(list(run["epochs"]), run["status"]) for run in tracker.runs.values()] == [([1, 2, 3], "done")] * 2


def test_a_recorded_run_is_imported_once(tmp_path):
    live = Memory()
    (outcome,) = run_all(tmp_path, plugins=[live])
    tracker = Memory()
    for _ in range(2):
        tracker.import_run(open_run(outcome.directory))
    assert tracker.runs == live.runs


def test_a_run_in_progress_is_not_imported(tmp_path):
    (outcome,) = run_all(tmp_path)
    directory = RunDirectory(outcome.directory)
    assert directory.acquire()
    with directory, pytest.raises(InputError, match="is in progress"):
        Memory().import_run(open_run(outcome.directory))


def test_a_stopped_run_is_closed(tmp_path):
    class Stops:
        @hookimpl
        def musicemo_run_started(self, run):
            run.stop("enough", evaluate=False)

    tracker = Memory()
    with pytest.raises(RunStopped):
        run_all(tmp_path, plugins=[Stops(), tracker])
    assert [run["status"] for run in tracker.runs.values()] == ["interrupted"]


def test_settings_are_flat():
    table = {"name": "a", "seed": 1, "plugins": {"x": {"key": 1}}, "model": {"type": "m", "sizes": [1, 2]}}
    assert flat_settings(table) == {"seed": 1, "model.type": "m", "model.sizes": "[1, 2]"}


def test_a_tracker_is_found_by_its_name(fakes):
    fakes("plugin", "memory", Memory)
    fakes("plugin", "adds", Adds)
    assert make_tracker("memory", {"word": "w"}).word == "w"
    assert "memory of fake" not in load_hooks().names
    with pytest.raises(
        InputError, match=r"no tracker has the name 'memroy'; did you mean 'memory'\? \(installed: memory\)"
    ):
        make_tracker("memroy", {})
    with pytest.raises(InputError, match="no tracker has the name 'adds'"):
        make_tracker("adds", {})
    with pytest.raises(
        InputError, match=r"plugins\.memory\.wrd: unknown key; did you mean \'word\'\? \(allowed: word\)"
    ):
        make_tracker("memory", {"wrd": 1})


def test_the_documented_tracker_logs_each_epoch_once(tmp_path, monkeypatch):
    (code,) = (block.text for block in blocks(ROOT / "docs/trackers.md") if block.title == "my_tracker.py")
    (tmp_path / "my_tracker.py").write_text(code)
    monkeypatch.syspath_prepend(tmp_path)
    tracker = importlib.import_module("my_tracker").CSVTracker(tmp_path / "metrics.csv")
    (outcome,) = run_all(tmp_path, plugins=[tracker])
    lines = (tmp_path / "metrics.csv").read_text().splitlines()
    assert (
        f"small/{outcome.directory.name},3,val/loss,{open_run(outcome.directory).history[2]['val/loss']}"
        in lines
    )
    assert any(line.startswith(f"small/{outcome.directory.name},,final/test/valence/rmse,") for line in lines)
    tracker.import_run(open_run(outcome.directory))
    assert (tmp_path / "metrics.csv").read_text().splitlines() == lines


def test_trials_are_in_the_group_of_their_search(tmp_path):
    directory = tmp_path / "runs" / "study" / "trials" / "0a1b" / "20260101-120000Z-seed1-inner2"
    search = {"name": "study", "trial": 4, "study": "x"}
    trial = RunRecord(
        directory, {"status": "done", "name": "0a1b", "seed": 1, "search": search, "inner_fold": 2}
    )
    assert (group_of(trial), label_of(trial)) == ("study", "trial 4, seed 1, inner fold 2")
    assert runs_of(trial) == tmp_path / "runs"
    best = RunRecord(
        tmp_path / "runs" / "study" / "r", {"name": "study", "seed": 1, "status": "done", "search": search}
    )
    assert (group_of(best), label_of(best)) == ("study", "best trial 4, seed 1")
    assert runs_of(best) == tmp_path / "runs"
    plain = RunRecord(
        tmp_path / "runs" / "study" / "x", {"status": "done", "name": "study", "seed": 1, "fold": 0}
    )
    assert (group_of(plain), label_of(plain)) == ("study", "seed 1, fold 0")
    assert runs_of(plain) == tmp_path / "runs"
