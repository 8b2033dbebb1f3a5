"""``musicemo run`` of several runs: side by side, one after the other, and what becomes of the rest when one fails."""

from __future__ import annotations

import json
import os
import re
import signal
import time

import fakes as fakes_module
import pytest
from matrix import FOUR, MATRIX, content, found, results, run

pytestmark = pytest.mark.slow


@pytest.fixture(scope="module")
def swept(tmp_path_factory):
    """Return a folder in which all four variants were run side by side, and what was printed."""
    from launcher import launcher

    folder = tmp_path_factory.mktemp("swept")
    return folder, run(launcher(), folder, "--jobs", "2")


def test_every_variant_is_run_and_a_line_and_a_table_say_what_came_out(swept):
    folder, finished = swept
    assert (finished.code, list(found(folder))) == (0, FOUR)
    assert {results(path)["status"] for path in found(folder).values()} == {"done"}
    assert results(found(folder)[FOUR[1]])["variant"] == {"hidden": 4, "epochs": 3}
    first, *rest = finished.out.splitlines()
    assert first == "4 runs, 2 at a time"
    lines = sorted(rest[:4])
    for line, name in zip(lines, FOUR, strict=True):
        score = results(found(folder)[name])["metrics"]["test"]["valence"]["spearman"]["value"]
        assert line.startswith(f"{name}, seed 0: valence rho {score:.3f}, genre accuracy ")
        assert re.search(r"\(test set, epoch \d of \d; \d+ s\)$", line)
    rows = [line.split() for line in rest[5:] if line.startswith("small-")]
    assert [row[:3] for row in rows] == [[name, "1", task] for task in ("valence", "genre") for name in FOUR]
    assert "epoch 1/" not in finished.out
    assert "Running: 4 runs" in finished.err


def test_a_run_is_the_same_alone_and_beside_others(swept, launcher, tmp_path):
    folder, _ = swept
    finished = run(launcher, tmp_path, "--jobs", "1")
    assert (finished.code, finished.err) == (0, "")
    assert "epoch 1/2" in finished.out
    for name, directory in found(tmp_path).items():
        assert content(directory) == content(found(folder)[name])
        assert json.loads((directory / "environment.json").read_text())["threads"] == 1


def test_a_runs_own_file_repeats_it(swept, launcher, tmp_path):
    folder, _ = swept
    directory = found(folder)[FOUR[3]]
    finished = launcher.run("run", directory / "experiment.toml", folder=tmp_path)
    assert finished.code == 0
    assert content(found(tmp_path)[FOUR[3]]) == content(directory)


def test_what_is_done_is_left_alone(swept, launcher):
    folder, _ = swept
    before = {
        path: path.stat().st_mtime_ns for path in folder.rglob("*") if path.is_file() and path.suffix != ".toml"
    }
    finished = run(launcher, folder, "--jobs", "2", "--only", "epochs=2")
    assert finished.code == 0
    assert finished.out.count("done before") == 2
    assert (
        "Nothing to do: all 2 runs were finished before. Use --no-resume to train them again." in finished.out
    )
    after = {
        path: path.stat().st_mtime_ns for path in folder.rglob("*") if path.is_file() and path.suffix != ".toml"
    }
    assert before == {path: when for path, when in after.items() if path.name != ".lock"} | {
        path: when for path, when in before.items() if path.name == ".lock"
    }


def test_a_run_that_dies_leaves_the_others_and_is_continued(swept, launcher, tmp_path):
    folder, _ = swept
    options = ("--jobs", "2", "--only", "hidden=8", "--set", "launcher.attempts=1")
    finished = run(launcher, tmp_path, *options, kill_at="epoch_finished:3")
    assert finished.code == 1
    assert (
        "error: small-hidden8-epochs3, seed 0: its process died: SIGKILL, as when memory runs out"
        in finished.err
    )
    assert "error: 1 of 2 runs failed: small-hidden8-epochs3, seed 0" in finished.err
    assert {name: results(path)["status"] for name, path in found(tmp_path).items()} == {
        FOUR[2]: "done",
        FOUR[3]: "failed",
    }
    assert results(found(tmp_path)[FOUR[3]])["error"].startswith("its process died: SIGKILL")
    finished = run(launcher, tmp_path, "--jobs", "1", "--only", "hidden=8")
    assert finished.code == 0
    assert results(found(tmp_path)[FOUR[3]])["resumed_after_epoch"] >= 2
    assert content(found(tmp_path)[FOUR[3]])[1:] == content(found(folder)[FOUR[3]])[1:]


@pytest.mark.parametrize("jobs", ["1", "2"])
def test_a_failure_is_told_and_the_others_go_on(jobs, launcher, tmp_path):
    text = (
        MATRIX.replace("[2, 3]", "[2]")
        + """
[[matrix.override]]
where = { hidden = 4 }
set = { dataset.nan_track = 7 }
"""
    )
    finished = run(launcher, tmp_path, "--jobs", jobs, "--set", "seeds=[0, 1]", text=text)
    assert finished.code == 2
    errors = [line for line in finished.err.splitlines() if line.startswith("error: ")]
    assert len(errors) == 2
    assert re.match(r"error: small-hidden4-epochs2, seed [01]: track 'track007': is nan at row 2", errors[0])
    assert errors[1].startswith("error: 2 of 4 runs failed: small-hidden4-epochs2, seed ")
    assert list(found(tmp_path)) == [FOUR[2]]
    assert re.search(r"^small-hidden8-epochs2 +2 +valence ", finished.out, re.MULTILINE)


def test_an_interruption_ends_every_run_and_leaves_them_to_be_continued(launcher, tmp_path):
    (tmp_path / "small.toml").write_text(MATRIX.replace("[2, 3]", "[100000]"))
    process = launcher.start(
        "run", "small.toml", "--jobs", "2", "--set", "training.early_stopping.patience=false", folder=tmp_path
    )
    end = time.monotonic() + 240
    while len(list((tmp_path / "runs").glob("*/*/checkpoints/last.pt"))) < 2:
        assert time.monotonic() < end, "nothing was trained"
        time.sleep(0.05)
    os.kill(process.pid, signal.SIGINT)
    finished = process.wait()
    assert finished.code == 130
    assert "interrupted: run `musicemo run` with --resume to continue" in finished.err
    statuses = [results(path)["status"] for path in found(tmp_path).values()]
    assert statuses == ["interrupted", "interrupted"]


def test_what_begins_with_another_run_waits_for_it(launcher, tmp_path):
    seeds = '\n[split]\nmethod = "random"\n'
    genre = fakes_module.EXPERIMENT.replace('"small"', '"genre"').replace("seed = 0", "") + seeds
    (tmp_path / "genre.toml").write_text(genre)
    (tmp_path / "emotion.toml").write_text(
        genre.replace('"genre"', '"emotion"', 1) + '\n[transfer]\nfrom = "genre"\n'
    )
    finished = launcher.run(
        "run", "genre.toml", "emotion.toml", "--jobs", "2", "--set", "seeds=[3]", folder=tmp_path
    )
    assert finished.code == 0, finished.err
    for directory in (tmp_path / "runs" / "emotion").iterdir():
        assert results(directory)["transfer"]["from"].endswith(f"seed{results(directory)['seed']}")


STRANGE = """
import warnings

import fakes


class Dataset(fakes.MemoryDataset):
    def __init__(self, tracks: int = 60) -> None:
        super().__init__(tracks)
        warnings.warn("the dataset is small", stacklevel=1)
        with open("built.txt", "a") as file:
            file.write("built\\n")
        if tracks == 59:
            raise KeyError("no such table")

    def tracks(self):
        if self._count == 58:
            raise LookupError("no such row")
        return super().tracks()


class Model(fakes.MeanModel):
    def __init__(self, *, input_size: int, hidden: int = 8) -> None:
        super().__init__(input_size=input_size, hidden=hidden)
        warnings.warn("the model is small", stacklevel=1)
"""
STRANGELY = (
    MATRIX.replace('"memory"', '"strange"')
    .replace('type = "means"', 'type = "strange"')
    .replace('"model.hidden" = [4, 8]', '"dataset.tracks" = [58, 59, 60]')
    .replace("[2, 3]", "[1]")
)


@pytest.fixture(scope="module", params=["1", "2"])
def estranged(request, tmp_path_factory):
    """Return a folder in which two of three variants failed by a stranger's doing, what was printed, and the jobs."""
    from launcher import launcher

    folder = tmp_path_factory.mktemp("estranged")
    fakes_module.write_module(folder, "strange", STRANGE)
    points = [("dataset", "strange", "strange:Dataset"), ("model", "strange", "strange:Model")]
    fakes_module.write_distribution(folder, points, name="strange-plugin")
    options = ("--jobs", request.param, "--set", "seeds=[0, 1]")
    return folder, run(launcher(), folder, *options, text=STRANGELY, path=[folder]), request.param


def test_strangers_failures_are_told_once_and_the_others_go_on(estranged):
    folder, finished, _ = estranged
    assert finished.code == 1, finished.err
    errors = [line for line in finished.err.splitlines() if line.startswith("error: ")]
    assert len(errors) == 3
    assert errors[2].startswith("error: 4 of 6 runs failed: small-tracks58-epochs1, seed ")
    assert "Traceback" not in finished.err
    runs = folder.glob("runs/*/*/results.json")
    assert [(path.parent.parent.name, results(path.parent)["status"]) for path in runs] == [
        ("small-tracks60-epochs1", "done")
    ] * 2


def test_a_constructor_that_fails_is_named_with_its_line(estranged):
    folder, finished, jobs = estranged
    told = (
        r"^error: small-tracks59-epochs1, seed [01]: dataset .strange. of strange-plugin 1.0 \(strange:Dataset\) "
        r"cannot be constructed: KeyError: 'no such table' \(.*strange.py:14\)$"
    )
    assert re.search(told, finished.err, re.MULTILINE)
    if jobs == "1":
        assert (folder / "built.txt").read_text().count("built") == 3  # once an experiment


def test_what_nobody_has_foreseen_has_its_traceback_in_a_file(estranged):
    folder, finished, _ = estranged
    (path,) = (folder / "runs" / "small-tracks58-epochs1").iterdir()
    assert re.search(
        rf"^error: small-tracks58-epochs1, seed [01]: LookupError: no such row \(traceback in runs/.*{path.name}\)$",
        finished.err,
        re.MULTILINE,
    )
    assert finished.err.count("no such row") == 1
    assert 'raise LookupError("no such row")' in path.read_text()


def test_other_commands_end_with_what_nobody_has_foreseen(estranged, launcher):
    folder, _, _ = estranged
    finished = launcher.run("data", "small.toml", "--only", "tracks=58", folder=folder, path=[folder])
    assert finished.code == 1
    first, *_, problem, fix = (line for line in finished.err.splitlines() if not line.startswith("warning: "))
    assert first.startswith("Traceback")
    assert problem == "error: LookupError: no such row"
    assert fix.startswith("Unexpected error. Please report the traceback above")


def test_what_a_run_is_warned_of_is_shown_once_and_recorded_with_every_run(estranged):
    folder, finished, _ = estranged
    runs = [results(path.parent) for path in folder.glob("runs/*/*/results.json")]
    assert [run["warnings"] for run in runs] == [["the dataset is small", "the model is small"]] * 2
    for what in ("dataset", "model"):
        lines = [line for line in finished.err.splitlines() if line.endswith(f"the {what} is small")]
        assert len(lines) == 1
        assert lines[0].startswith("warning: ")
