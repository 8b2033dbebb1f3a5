"""``musicemo run`` of a search: what it prints, several workers, lost workers, and a search that was killed."""

from __future__ import annotations

import re
import tomllib

import pytest
from fakes import EXPERIMENT
from matrix import content, run

from musicemo.runs import open_run
from musicemo.runs.search import read_search

pytestmark = pytest.mark.slow

TEXT = (
    EXPERIMENT.replace("epochs = 3", "epochs = 2")
    + """
[evaluation]
resamples = 100

[search]
trials = 3
sampler = "random"

[search.space]
"training.optimizer.lr" = { low = 1e-4, high = 1e-1, log = true }
"model.hidden" = [4, 8]
"""
)


def summary(folder):
    """Return all of a search that is not of the time that it took, or of the order in which trials ended."""
    (study,) = read_search(folder / "runs/small").studies
    trials = [
        (one.number, one.status, one.overrides, one.value, one.epochs, one.values) for one in study.trials
    ]
    (best,) = (folder / "runs/small").glob("*-seed0")
    return trials, study.tested, content(best), open_run(best).metrics


@pytest.fixture(scope="module")
def searched(tmp_path_factory):
    """Return a folder in which the trials were trained one after the other, and what was printed."""
    from launcher import launcher

    folder = tmp_path_factory.mktemp("searched")
    return folder, run(launcher(), folder, "--jobs", "1", text=TEXT)


def test_a_line_for_each_trial_and_the_best_overrides_are_printed(searched):
    folder, finished = searched
    assert (finished.code, finished.err) == (0, "")
    assert "small: 3 trials of 1 run; val/mean_rank is maximized" in finished.out
    (study,) = read_search(folder / "runs/small").studies
    for trial in study.trials:
        lr, hidden = trial.overrides["training.optimizer.lr"], trial.overrides["model.hidden"]
        overrides = f"training.optimizer.lr = {lr}, model.hidden = {hidden}; best"
        line = f"trial {trial.number}: {trial.value:.4f}, .* {overrides}"
        assert re.search(line, finished.out)
    end = finished.out[finished.out.index("Best trial: ") :]
    assert end.startswith(f"Best trial: trial {study.best.number}, val/mean_rank {study.best.value:.4f}\n")
    pasted = tomllib.loads(end[end.index("[training]") : end.index("Experiment:")])
    assert pasted["model"]["hidden"] == study.best.overrides["model.hidden"]
    assert pasted["training"]["optimizer"]["lr"] == study.best.overrides["training.optimizer.lr"]
    assert "Experiment: runs/small/best.toml" in end
    assert "The test set was evaluated once, for the best trial." in end
    assert "small, seed 0: test set with the best epoch's weights" in end


def test_two_workers_of_which_one_is_lost_find_the_same(searched, launcher, tmp_path):
    folder, _ = searched
    finished = run(
        launcher, tmp_path, "--jobs", "2", text=TEXT, kill_at="epoch_started:2", kill_once=tmp_path / "killed"
    )
    assert finished.code == 0
    assert (tmp_path / "killed").exists()
    assert "small: 3 trials of 1 run, 2 at a time; val/mean_rank is maximized" in finished.out
    assert "Searching: 3 trials" in finished.err
    assert summary(tmp_path) == summary(folder)


def test_a_killed_search_goes_on_where_it_was(searched, launcher, tmp_path):
    folder, _ = searched
    killed = run(launcher, tmp_path, "--jobs", "1", text=TEXT, kill_at="evaluated:val")
    assert killed.code == -9
    (study,) = read_search(tmp_path / "runs/small").studies
    assert [one.status for one in study.trials] == ["running"]
    finished = run(launcher, tmp_path, "--jobs", "1", text=TEXT)
    assert finished.code == 0
    assert summary(tmp_path) == summary(folder)
    again = run(launcher, tmp_path, "--jobs", "1", text=TEXT)
    assert "small: 3 trials of 1 run, 3 done before; val/mean_rank is maximized" in again.out
    assert "epoch 1/" not in again.out
    assert summary(tmp_path) == summary(folder)


def test_a_search_is_explained_before_it_is_run(launcher, tmp_path):
    (tmp_path / "small.toml").write_text(TEXT)
    finished = launcher.run("validate", "small.toml", folder=tmp_path)
    assert "search of 3 trials, at most 3 runs" in finished.out
    assert "highest val/mean_rank in 3 trials: training.optimizer.lr, model.hidden" in finished.out
    finished = launcher.run("run", "small.toml", "--dry-run", "--jobs", "2", folder=tmp_path)
    assert re.search(r"3 runs, 2 at a time: about ", finished.out)
    finished = launcher.run("show", "small.toml", folder=tmp_path)
    shown = '"training.optimizer.lr" = {low = 0.0001, high = 0.1, log = true} # small.toml:'
    assert f"[search.space]\n{shown}" in finished.out
    assert not (tmp_path / "runs").exists()
