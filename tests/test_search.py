"""Hyperparameter searches: trials, workers, interruptions, the best trial and the test set."""

from __future__ import annotations

import json
import math
import os
import tomllib

import pytest
from complaints import warns
from fakes import EXPERIMENT, MeanModel
from harness import hooks_of, load

import musicemo
from musicemo.errors import InputError, RunError
from musicemo.experiment.tracks import read_tracks, split_tracks
from musicemo.hookspecs import hookimpl
from musicemo.reporting import make_report
from musicemo.running.prepare import RunOptions, TrackReader
from musicemo.running.search import _Worker, run_search
from musicemo.runs import open_replicates, open_run
from musicemo.runs.directory import exclusive
from musicemo.runs.search import JOURNAL, TRIALS, open_journal, read_search
from musicemo.workers import Outcome, WorkerDied

pytestmark = pytest.mark.usefixtures("fakes", "one_thread")

SEARCH = (
    EXPERIMENT.replace("epochs = 3", "epochs = 2")
    + """
[search]
trials = 4
sampler = "random"

[search.space]
"training.optimizer.lr" = { low = 1e-4, high = 1e-1, log = true }
"model.hidden" = [4, 8]
"""
)

GRID = """
[search]
sampler = "grid"
[search.space]
"""


class Epochs:
    """Counts trained epochs, and raises an error in one of them."""

    def __init__(self, stop: int | None = None, error: type[BaseException] = KeyboardInterrupt) -> None:
        self.count, self.stop, self.error = 0, stop, error

    @hookimpl
    def musicemo_epoch_started(self):
        self.count += 1
        if self.count == self.stop:
            raise self.error


def search(folder, *overrides, text=SEARCH, plugins=(), runs="runs", **options):
    """Run a search in this process."""
    experiment = load(folder, *overrides, text=text)
    return musicemo.run(experiment, folder / runs, jobs=1, hooks=hooks_of(*plugins), **options)


def study_of(folder, runs="runs"):
    record = read_search(folder / runs / "small")
    assert record is not None
    (study,) = record.studies
    return study


def summary(study):
    return [(one.number, one.status, one.overrides, one.value, one.epochs, one.values) for one in study.trials]


def metrics(results):
    return [(one.seed, one.fold, one.results["metrics"]) for one in results]


@pytest.mark.slow
def test_a_search_evaluates_the_test_set_for_its_best_trial_only(tmp_path):
    epochs = Epochs()
    results = search(tmp_path, "seeds=[0, 1]", plugins=[epochs])
    study = study_of(tmp_path)
    assert epochs.count == 4 * 2 * 2  # trials, seeds, epochs: the best trial is not trained again
    assert [one.status for one in study.trials] == ["complete"] * 4
    folder = tmp_path / "runs/small"
    for trial in study.trials:
        assert len(trial.runs) == 2
        scores = []
        for run in trial.runs:
            assert run.startswith(f"{TRIALS}/{trial.hash}/")
            record = open_run(folder / run)
            assert set(record.metrics) == {"train", "val"}
            assert "test" not in (folder / run / "predictions.csv").read_text()
            assert record.results["search"]["trial"] == trial.number
            of = record.metrics["val"]
            scores.append((of["valence"]["spearman"]["value"] + of["genre"]["accuracy"]["value"]) / 2)
        assert trial.values == pytest.approx(scores)
        assert trial.value == pytest.approx(sum(scores) / 2)
    assert study.maximizes
    assert study.best is max(study.trials, key=lambda one: one.value)
    assert study.tested == [study.best.number]
    assert [one.seed for one in results] == [0, 1]
    for outcome, run in zip(results, study.best.runs, strict=True):
        assert outcome.directory.parent == folder
        trained = open_run(folder / run)
        assert outcome.results["metrics"]["val"] == trained.metrics["val"]
        assert outcome.results["metrics"]["test"]
        assert outcome.results["variant"] == study.best.overrides


@pytest.mark.slow
def test_the_best_experiment_is_a_file_that_gives_the_same_runs(tmp_path):
    results = search(tmp_path, "search.trials=2")
    path = tmp_path / "runs/small/best.toml"
    assert "search" not in tomllib.loads(path.read_text())
    again = musicemo.run(path, tmp_path / "runs", jobs=1, hooks=hooks_of(), resume=True)
    assert [(one.directory, one.skipped) for one in again] == [(one.directory, True) for one in results]


@pytest.mark.slow
def test_an_interrupted_search_goes_on_where_it_was(tmp_path):
    whole = search(tmp_path, "seeds=[0, 1]", "search.trials=2", runs="whole")
    with pytest.raises(KeyboardInterrupt):
        search(tmp_path, "seeds=[0, 1]", "search.trials=2", plugins=[Epochs(stop=6)])  # in the second trial
    epochs = Epochs()
    resumed = search(tmp_path, "seeds=[0, 1]", "search.trials=2", plugins=[epochs])
    assert epochs.count == 8 - 5
    assert summary(study_of(tmp_path)) == summary(study_of(tmp_path, "whole"))
    assert metrics(resumed) == metrics(whole)


@pytest.mark.slow
def test_a_search_is_extended_and_counts_evaluations_of_the_test_set(tmp_path):
    text = SEARCH.replace('sampler = "random"', 'sampler = "grid"').replace(
        "{ low = 1e-4, high = 1e-1, log = true }", "[1e-5, 1e-4, 1e-1]"
    )
    search(tmp_path, "search.trials=1", text=text)
    assert study_of(tmp_path).tested == [0]
    results = search(tmp_path, "search.trials=10", text=text)
    study = study_of(tmp_path)
    assert len(study.trials) == 6  # of a grid with six combinations
    assert len({one.hash for one in study.trials}) == 6
    assert study.best.number != 0
    assert study.tested == [0, study.best.number]
    assert [one.results["search"]["trial"] for one in results] == [study.best.number]


@pytest.mark.slow
def test_trials_with_the_same_overrides_are_trained_once(tmp_path):
    text = EXPERIMENT + '[search]\ntrials = 7\nsampler = "random"\n[search.space]\n"model.hidden" = [4, 8]\n'
    epochs = Epochs()
    search(tmp_path, "training.epochs=1", text=text, plugins=[epochs])
    study = study_of(tmp_path)
    assert len(study.trials) == 7
    assert epochs.count == len(list((tmp_path / "runs/small" / TRIALS).iterdir())) == 2
    first = {one.hash: one.number for one in reversed(study.trials)}
    for trial in study.trials:
        original = study.trials[first[trial.hash]]
        assert trial.duplicate_of == (None if trial is original else original.number)
        assert (trial.value, trial.values, trial.runs) == (original.value, original.values, original.runs)


@pytest.mark.slow
def test_a_pruned_trial_can_be_resumed(tmp_path):
    text = EXPERIMENT + GRID + '"training.optimizer.lr" = [1e-2, 1e-5, 1e-1]\n'
    overrides = [
        "training.epochs=4",
        "search.metric=val/loss",
        "search.pruner=median",
        "search.startup_trials=1",
        "search.warmup_epochs=1",
    ]
    epochs = Epochs()
    search(tmp_path, *overrides, text=text, plugins=[epochs])
    study = study_of(tmp_path)
    assert [one.status for one in study.trials] == ["complete", "pruned", "complete"]
    assert sorted(study.trials[0].epochs) == [1, 2, 3, 4]
    pruned = study.trials[1]
    assert sorted(pruned.epochs) == [1, 2]  # the warm-up ends after the first epoch
    assert pruned.value == pruned.epochs[2]
    assert epochs.count == 4 + 2 + 4
    (directory,) = (tmp_path / "runs/small" / TRIALS / pruned.hash).glob("*-seed0")
    record = open_run(directory)
    assert record.status == "interrupted"
    assert "the trial is pruned: val/loss is" in record.results["stopped"]["reason"]
    epochs = Epochs()
    (resumed,) = musicemo.run(
        directory / "experiment.toml",
        tmp_path / "runs/small" / TRIALS,
        jobs=1,
        hooks=hooks_of(epochs),
        resume=True,
    )
    assert (resumed.directory, epochs.count, resumed.results["epochs"]) == (directory, 2, 4)


@pytest.mark.slow
def test_replicates_of_a_trial_are_pruned_by_their_mean(tmp_path):
    text = EXPERIMENT + GRID + '"training.optimizer.lr" = [1e-1, 1e-5]\n'
    overrides = [
        "training.epochs=1",
        "seeds=[0, 1, 2]",
        "search.metric=val/loss",
        "search.pruner=median",
        "search.startup_trials=1",
    ]
    search(tmp_path, *overrides, text=text)
    first, second = study_of(tmp_path).trials
    assert sorted(first.epochs) == [1, 2, 3]
    assert first.epochs[2] == pytest.approx(sum(first.values[:2]) / 2)
    assert first.epochs[3] == pytest.approx(first.value)
    assert (second.status, len(second.runs)) == ("pruned", 1)


class Diverging(MeanModel):
    """A model whose predictions are not finite, or that cannot be built, in some trials."""

    def __init__(self, *, input_size: int, fault: str = "") -> None:
        super().__init__(input_size=input_size)
        self.fault = fault

    def forward(self, x, lengths):
        if self.fault == "raises" and self.training and len(x) > 2:
            raise ValueError("a fault of the model")
        embedding = super().forward(x, lengths)
        return embedding * math.nan if self.fault == "nan" and len(x) > 2 else embedding


@pytest.mark.slow
def test_a_failed_trial_is_recorded_and_does_not_stop_the_search(tmp_path, fakes):
    fakes("model", "diverging", Diverging)
    text = EXPERIMENT.replace('"means"', '"diverging"') + GRID + '"model.fault" = ["raises", "none", "nan"]\n'
    results = search(tmp_path, "training.epochs=1", text=text)
    study = study_of(tmp_path)
    assert [one.status for one in study.trials] == ["failed", "complete", "failed"]
    assert "a fault of the model" in study.trials[0].error
    assert "not finite" in study.trials[2].error
    assert [one.results["status"] for one in results] == ["done"]
    with pytest.raises(RunError, match=r"small: none of 1 trials is complete. Trial 0: .*a fault of the model"):
        search(tmp_path, "training.epochs=1", "search.trials=1", text=text, runs="others")
    failing = load(tmp_path, "training.epochs=1", "search.trials=1", "name=failing", text=text)
    working = load(tmp_path, "training.epochs=1", text=text)
    both = [failing, working]
    with warns("failing: none of 1 trials is complete"):
        results = musicemo.run(both, tmp_path / "runs", jobs=1, hooks=hooks_of(), check=False)
    assert [(len(results), results.total, str(replicate)) for replicate, _ in results.failures] == [
        (1, 2, "failing, seed 0")
    ]


class Losing:
    """A launcher that executes tasks in this process, and loses the worker of the first."""

    def workers(self, tasks, needs):
        return tasks

    def run(self, function, tasks, needs):
        first, *others = tasks
        plan = function.keywords["plan"]
        with exclusive(plan.folder):
            claim = _Worker(plan, None, TrackReader(), hooks_of())._claim(first[1])
        os.close(claim.lock)
        yield Outcome(first, error=WorkerDied("SIGKILL"))
        for task in others:
            yield Outcome(task, function(task))


@pytest.mark.slow
def test_a_worker_that_is_lost_too_often_is_a_failed_trial(tmp_path):
    text = EXPERIMENT + '[search]\ntrials = 3\nsampler = "grid"\n[search.space]\n"model.hidden" = [4, 8, 12]\n'
    experiment = load(tmp_path, "training.epochs=1", text=text)
    run_search(experiment, tmp_path / "runs", options=RunOptions(), launcher=Losing(), hooks=hooks_of())
    study = study_of(tmp_path)
    assert [one.status for one in study.trials] == ["failed", "complete", "complete"]
    assert study.trials[0].error == "its process died: SIGKILL"


@pytest.mark.slow
def test_nested_cross_validation_searches_within_each_outer_fold(tmp_path):
    overrides = ["split.method=kfold", "split.folds=2", "search.inner_folds=2", "search.trials=2"]
    overrides += ["training.epochs=1"]
    experiment = load(tmp_path, *overrides, text=SEARCH)
    tracks = read_tracks(experiment)
    tests = []
    for fold in range(2):
        whole = split_tracks(experiment, tracks, fold)
        inner = [split_tracks(experiment, tracks, fold, (number, 2)) for number in range(2)]
        assert all(set(one.parts["test"]) == set(whole.parts["test"]) for one in inner)
        held_out = [set(one.parts["val"]) for one in inner]
        assert not held_out[0] & held_out[1]
        outside = set(whole.parts["train"]) | set(whole.parts["val"])
        assert held_out[0] | held_out[1] == outside
        assert all(set(one.parts["train"]) == outside - val for one, val in zip(inner, held_out, strict=True))
        tests += whole.parts["test"].tolist()
    assert sorted(tests) == list(range(len(tracks)))
    results = search(tmp_path, *overrides, text=SEARCH)
    record = read_search(tmp_path / "runs/small")
    assert [study.fold for study in record.studies] == [0, 1]
    for study in record.studies:
        assert len(study.trials) == 2
        assert all(len(one.runs) == 2 for one in study.trials)
        assert len(study.tested) == 1
    assert [one.fold for one in results] == [0, 1]
    replicates = open_replicates(tmp_path / "runs/small")
    assert [one.fold for one in replicates] == [0, 1]
    page = make_report(tmp_path / "runs/small")
    rates = dict.fromkeys(str(one.results["variant"]["training.optimizer.lr"]) for one in replicates)
    assert dict(page.facts)["training.optimizer.lr"] == ", ".join(rates)
    titles = [section.title for section in page.sections]
    assert [f"Trials, fold {fold}" in titles for fold in range(2)] == [True] * 2
    for fold, study in enumerate(record.studies):
        best = tomllib.loads((tmp_path / f"runs/small/best-fold{fold}.toml").read_text())
        assert best["split"]["fold"] == fold
        assert best["model"]["hidden"] == study.best.overrides["model.hidden"]


@pytest.mark.slow
def test_trials_begin_with_the_weights_of_an_earlier_run(tmp_path):
    base = load(tmp_path, "name=base", "training.epochs=1")
    musicemo.run(base, tmp_path / "runs", jobs=1, hooks=hooks_of())
    text = EXPERIMENT + '[transfer]\nfrom = "base"\n' + GRID + '"training.batch_size" = [8, 16]\n'
    results = search(tmp_path, "training.epochs=1", text=text)
    assert [one.status for one in study_of(tmp_path).trials] == ["complete"] * 2
    assert [one.results["transfer"]["loaded"] != [] for one in results] == [True]


def test_another_search_of_the_same_name_is_another_study(tmp_path):
    search(tmp_path, "search.trials=1", "training.epochs=1")
    first = study_of(tmp_path)
    search(tmp_path, "search.trials=1", "training.epochs=1", "training.batch_size=8")
    second = study_of(tmp_path)
    assert first.name != second.name
    assert (len(first.trials), len(second.trials)) == (1, 1)
    assert first.trials[0].hash == second.trials[0].hash
    assert first.trials[0].runs != second.trials[0].runs
    search(tmp_path, "search.trials=1", "training.epochs=1")
    assert summary(study_of(tmp_path)) == summary(first)


def test_a_line_that_a_killed_process_did_not_complete_is_removed(tmp_path):
    search(tmp_path, "search.trials=1", "training.epochs=1")
    path = tmp_path / "runs/small" / JOURNAL
    content = path.read_bytes()
    path.write_bytes(content + b'{"op_code":4,"wor')
    assert len(study_of(tmp_path).trials) == 1
    search(tmp_path, "search.trials=2", "training.epochs=1")
    assert [one.status for one in study_of(tmp_path).trials] == ["complete"] * 2
    assert all(json.loads(line) for line in path.read_bytes().splitlines())


@pytest.mark.parametrize(
    ("overrides", "options", "expected"),
    [
        ([], {"resume": False}, "--no-resume cannot be used with it"),
        ([], {"overfit_batches": 1}, r"--overfit-batches cannot be used with \[search\]"),
        (["split.validation=0"], {}, r"search.metric: is 'val/mean_rank', but the validation set is empty"),
        (["search.metric=val/genre/ccc"], {}, r"search.metric: no quantity 'val/genre/ccc' is recorded"),
    ],
)
def test_a_search_that_cannot_work_is_refused_before_the_first_trial(tmp_path, overrides, options, expected):
    with pytest.raises(InputError, match=expected):
        search(tmp_path, *overrides, **options)
    assert not list((tmp_path / "runs").glob("small/trials"))


def test_a_journal_that_cannot_be_read_is_named(tmp_path):
    (tmp_path / JOURNAL).write_text("no json\n{}\n")
    with pytest.raises(InputError, match=f"{JOURNAL}: cannot be read as the journal of a search"):
        open_journal(tmp_path)
