"""Which earlier run is the same run: its settings, its data and its split, wherever they lie."""

from __future__ import annotations

import json
import os
import shutil
from collections.abc import Iterator
from dataclasses import replace
from pathlib import Path

import fakes as fakes_module
import numpy as np
import pytest
from complaints import warns
from harness import only_run, results_of, run_all

from musicemo.contracts import Track
from musicemo.errors import InputError
from musicemo.runs import RunDirectory, RunInUseError, find_replicates, open_run

pytestmark = pytest.mark.usefixtures("fakes")

QUICK = ("training.epochs=1",)


class Changing(fakes_module.MemoryDataset):
    """Tracks that a test can change, with listeners' ratings; features are files in a folder."""

    change = staticmethod(lambda track: track)

    def __init__(self, root: Path | None = None) -> None:
        super().__init__()
        self.root = root

    def tracks(self) -> Iterator[Track]:
        for index, track in enumerate(super().tracks()):
            rating = track.targets["valence"]
            track = replace(track, ratings={"valence": [rating, min(rating + index % 3, 9)]})
            if self.root:
                path = self.root / f"{track.id}.npy"
                if not path.exists():
                    np.save(path, track.features)
                track = replace(track, features=path)
            yield type(self).change(track)


@pytest.fixture
def data(fakes, monkeypatch):
    """Register a dataset that can be changed; return what changes it."""
    fakes("dataset", "changing", Changing)

    def change(how):
        monkeypatch.setattr(Changing, "change", staticmethod(how))

    return change


def run(folder, *overrides, **how):
    (outcome,) = run_all(folder, "dataset.type='changing'", *QUICK, *overrides, resume=True, **how)
    return outcome


def one_of(track, **changes):
    return replace(track, **changes) if track.id == "track007" else track


CHANGES = {
    "rating": (lambda track: one_of(track, targets={**track.targets, "valence": 2.5}), "labels of 1 of 60"),
    "class": (
        lambda track: one_of(track, targets={**track.targets, "genre": "metal"}),
        "the labels of 1 of 60 tracks differ: 'track007'",
    ),
    "missing": (lambda track: one_of(track, targets={**track.targets, "valence": None}), "labels of 1 of 60"),
    "listener": (lambda track: one_of(track, ratings={"valence": [3.0, 4.0]}), "labels of 1 of 60"),
    "group": (lambda track: one_of(track, group="somebody"), "labels of 1 of 60"),
    "official part": (lambda track: one_of(track, part="test"), "labels of 1 of 60"),
    "features": (lambda track: one_of(track, features=track.features * 2), "the features of 1 of 60 tracks"),
    "every feature": (lambda track: replace(track, features=track.features + 1), "the features of 60 of 60"),
    "id": (lambda track: one_of(track, id="other"), "1 new tracks, 1 removed tracks"),
}


@pytest.mark.slow
@pytest.mark.parametrize("change", CHANGES)
def test_a_finished_run_of_other_data_is_reported_and_not_used(change, data, tmp_path):
    how, message = CHANGES[change]
    first = run(tmp_path, "split.method='random'")
    assert run(tmp_path, "split.method='random'").skipped
    data(how)
    with warns(f"earlier run of this seed is not used: it is of other data .*{message}"):
        second = run(tmp_path, "split.method='random'")
    assert not second.skipped
    assert second.directory != first.directory
    assert run(tmp_path, "split.method='random'").directory == second.directory


def test_a_target_that_nothing_uses_may_change(data, tmp_path):
    run(tmp_path)
    data(lambda track: replace(track, targets={**track.targets, "energy": 0.5}))
    assert run(tmp_path).skipped


@pytest.mark.slow
def test_a_target_that_results_are_controlled_for_counts(data, tmp_path):
    overrides = ("evaluation.control='genre'", "tasks={ valence = { loss.type = 'squared-error' } }")
    run(tmp_path, *overrides)
    data(lambda track: one_of(track, targets={**track.targets, "genre": "metal"}))
    with warns("the labels of 1 of 60 tracks differ"):
        assert not run(tmp_path, *overrides).skipped


@pytest.mark.slow
def test_feature_files_count_by_their_content(data, tmp_path):
    root = tmp_path / "features"
    root.mkdir()
    override = f"dataset.root='{root}'"
    run(tmp_path, override)
    for path in root.iterdir():  # copied elsewhere and back: other inodes, other times
        content = path.read_bytes()
        path.unlink()
        path.write_bytes(content)
    assert run(tmp_path, override).skipped
    path = root / "track003.npy"
    about = path.stat()
    np.save(path, np.load(path) + np.float32(1))  # of the same size, and of the same time
    os.utime(path, ns=(about.st_atime_ns, about.st_mtime_ns))
    with warns("the features of 1 of 60 tracks differ: 'track003'"):
        assert not run(tmp_path, override).skipped


@pytest.mark.slow
def test_a_project_that_was_moved_is_the_same(data, tmp_path):
    before, after = tmp_path / "before", tmp_path / "after"
    (before / "data").mkdir(parents=True)
    text = fakes_module.EXPERIMENT.replace('type = "memory"', 'type = "changing"\nroot = "data"')
    assert 'root = "data"' in text
    (first,) = run_all(before, *QUICK, text=text, resume=True)
    shutil.move(before, after)
    (second,) = run_all(after, *QUICK, text=text, resume=True)
    assert second.skipped
    assert second.directory.name == first.directory.name
    assert run_all(after, *QUICK, text=text, resume=True)[0].skipped
    assert [path.name for path in find_replicates(after / "runs" / "small")] == [first.directory.name]


@pytest.mark.slow
@pytest.mark.parametrize(
    ("override", "message"),
    [
        ("training.epochs=2", r"training\.epochs was 1 and is 2"),
        ("model.hidden=5", r"model\.hidden was 8 and is 5"),
        ("training.optimizer.weight_decay=0.5", r"training\.optimizer\.weight_decay was 0\.0 and is 0\.5"),
        ("split.seed=4", r"split\.seed was 0 and is 4"),
        ("training={ epochs = 9, batch_size = 5, bucket = true, precision = 'bfloat16' }", r"1 more setting"),
    ],
)
def test_settings_that_differ_are_named(override, message, tmp_path):
    run_all(tmp_path, *QUICK, resume=True)
    with warns(f"not used: .*{message}.*A new run is started"):
        (outcome,) = run_all(tmp_path, *QUICK, override, resume=True)
    assert not outcome.skipped


def test_without_resuming_nothing_is_said(data, tmp_path):
    run_all(tmp_path, *QUICK)
    run_all(tmp_path, "training.epochs=2")


def test_a_run_of_an_earlier_version_is_not_used(tmp_path):
    (first,) = run_all(tmp_path, *QUICK)
    results = results_of(first.directory)
    for key in ("identity", "started"):
        del results[key]
    (first.directory / "results.json").write_text(json.dumps(results | {"fingerprint": "0" * 64}))
    with warns("an earlier version of musicemo, which did not record the identity"):
        (second,) = run_all(tmp_path, *QUICK, resume=True)
    assert not second.skipped
    assert open_run(first.directory).evaluations


@pytest.mark.slow
def test_what_a_transfer_began_with_counts(tmp_path):
    (source,) = run_all(tmp_path, *QUICK, "name='source'", "split.method='random'")
    overrides = ("transfer.from='source'", "split.method='random'")
    (first,) = run_all(tmp_path, *QUICK, *overrides, resume=True)
    assert run_all(tmp_path, *QUICK, *overrides, resume=True)[0].skipped
    run_all(tmp_path, "name='source'", "split.method='random'", "training.epochs=1")  # with the same outcome
    assert run_all(tmp_path, *QUICK, *overrides, resume=True)[0].directory == first.directory
    run_all(tmp_path, "name='source'", "split.method='random'", "training.epochs=2")
    with warns(r"transfer\.from has other weights"):
        assert not run_all(tmp_path, *QUICK, *overrides, resume=True)[0].skipped
    assert source.directory.exists()


@pytest.mark.slow
def test_replicates_of_other_data_are_left_out(data, tmp_path):
    overrides = ("dataset.type='changing'", *QUICK)
    run_all(tmp_path, *overrides, "seeds=[0, 1]")
    data(CHANGES["rating"][0])
    run_all(tmp_path, *overrides, "seeds=[0]")
    with warns("2 finished runs of another version of the experiment or of other data"):
        (path,) = find_replicates(tmp_path / "runs" / "small")
    assert path.name > min(found.name for found in (tmp_path / "runs" / "small").iterdir())


class Ending:
    """Ends a run in its second epoch."""

    from musicemo.hookspecs import hookimpl

    @hookimpl
    def musicemo_epoch_started(self, epoch):
        if epoch == 2:
            raise KeyboardInterrupt


def interrupted(folder, *overrides):
    with pytest.raises(KeyboardInterrupt):
        run_all(folder, *overrides, plugins=[Ending()])
    return only_run(folder)


@pytest.mark.slow
def test_a_run_that_is_continued_keeps_its_threads(tmp_path):
    import torch

    directory = interrupted(tmp_path, "training.threads=2")
    with warns("training.threads is 1; the run began with 2 and is continued with 2"):
        (outcome,) = run_all(tmp_path, "training.threads=1", resume=True)
    assert outcome.directory == directory
    assert "threads = 2" in (directory / "experiment.toml").read_text()
    assert json.loads((directory / "environment.json").read_text())["threads"] == 2
    assert torch.get_num_threads() == 1


@pytest.mark.slow
@pytest.mark.parametrize("damage", ["last.pt and best.pt", "link"])
def test_a_run_that_cannot_be_continued(damage, tmp_path):
    directory = interrupted(tmp_path)
    if damage == "link":
        (directory / ".lock").unlink()
        (directory / ".lock").symlink_to(tmp_path / "elsewhere")
    else:
        for path in (directory / "checkpoints").iterdir():
            path.write_bytes(b"hello")
    with pytest.raises(InputError, match="--no-resume"):
        run_all(tmp_path, resume=True)
    assert open_run(directory).status in ("failed", "interrupted")
    from harness import hooks_of, load

    from musicemo.running.execute import run_experiment
    from musicemo.running.prepare import RunOptions

    experiment = load(tmp_path)
    experiment.source.variant["axis"] = 1  # a variant is resumed by default
    with warns("A new run is started"):
        (outcome,) = run_experiment(experiment, tmp_path / "runs", hooks_of(), RunOptions())
    assert outcome.directory != directory
    assert outcome.results["status"] == "done"
    (again,) = run_experiment(experiment, tmp_path / "runs", hooks_of(), RunOptions())
    assert again.skipped


@pytest.mark.slow
def test_a_run_in_use_is_left_to_its_process(tmp_path):
    directory = interrupted(tmp_path)
    with RunDirectory(directory), pytest.raises(RunInUseError, match="it is skipped here"):
        run_all(tmp_path, resume=True)
    assert only_run(tmp_path) == directory
    (outcome,) = run_all(tmp_path, resume=True)
    assert outcome.directory == directory


def test_a_file_that_a_component_names_counts_by_its_content(fakes, tmp_path):
    class Weighed(fakes_module.MeanModel):
        def __init__(self, *, input_size: int, file: Path) -> None:
            super().__init__(input_size=input_size)
            self.factor = float(file.read_text())

    fakes("model", "weighed", Weighed)
    path = tmp_path / "factor.txt"
    path.write_text("1")
    override = f"model={{ type = 'weighed', file = '{path}' }}"
    run_all(tmp_path, *QUICK, override)
    assert run_all(tmp_path, *QUICK, override, resume=True)[0].skipped
    path.write_text("2")
    with warns("a file that a component names has other content"):
        assert not run_all(tmp_path, *QUICK, override, resume=True)[0].skipped
