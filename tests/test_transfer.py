"""Beginning with what an earlier run learnt."""

from __future__ import annotations

import dataclasses
import json
import re
import shutil
from pathlib import Path

import numpy as np
import pytest
import torch
from complaints import warns
from fakes import EXPERIMENT, MemoryDataset
from harness import Recorder, load, results_of, run_all, train
from torch import nn

from musicemo.data import Features
from musicemo.errors import InputError
from musicemo.experiment.tracks import read_tracks, split_tracks
from musicemo.hookspecs import hookimpl
from musicemo.running.transfer import find_shared_music, find_source

GENRE = EXPERIMENT.replace('[tasks.valence]\nloss = { type = "squared-error" }\n', "").replace(
    '"means"', '"normed"'
)
EMOTION = (
    GENRE.replace('"small"', '"emotion"').replace(
        "[tasks.genre]", '[tasks.energy]\nloss = { type = "squared-error" }'
    )
    + '\n[transfer]\nfrom = "small"\n'
)
FREEZE = ["transfer.freeze=['backbone']"]


class Normed(nn.Module):
    """A dense layer on the mean over time, batch normalization and dropout."""

    def __init__(self, *, input_size: int, hidden: int = 8) -> None:
        super().__init__()
        self.embedding_size = hidden
        self.dense = nn.Linear(input_size, hidden)
        self.norm = nn.BatchNorm1d(hidden)
        self.dropout = nn.Dropout(0.5)

    def forward(self, x, lengths):
        return self.dropout(self.norm(self.dense(x.sum(dim=1) / lengths[:, None])))


@pytest.fixture(autouse=True)
def components(fakes):
    """Register a model with statistics, and have the split not depend on the tasks."""
    fakes("model", "normed", Normed)


class Beginning:
    """The weights as training begins, and the optimizer's parameters."""

    @hookimpl
    def musicemo_run_started(self, run):
        self.state = {name: tensor.clone() for name, tensor in run.network.state_dict().items()}
        self.modes = []

    @hookimpl
    def musicemo_batch_finished(self, run):
        self.modes.append({name: module.training for name, module in run.network.named_modules()})


def go(folder, *overrides, text=EMOTION, **how):
    return train(folder, "split.method='random'", *overrides, text=text, **how)


def source(folder, *overrides, **how):
    return go(folder, *overrides, text=GENRE, **how).run.directory


def best(directory, name="best"):
    return torch.load(directory / "checkpoints" / f"{name}.pt", weights_only=True)


@pytest.mark.slow
def test_what_fits_is_loaded_and_the_rest_is_new(tmp_path):
    directory = source(tmp_path)
    beginning = Beginning()
    recorder = go(tmp_path, plugins=[beginning])
    learnt = best(directory)["network"]
    found = results_of(recorder.run.directory)["transfer"]
    assert found["from"] == str(directory)
    assert found["loaded"] == [name for name in learnt if name.startswith("backbone")]
    assert found["new"] == [name for name in beginning.state if name.startswith("heads.energy")]
    assert found["frozen"] == []
    for name in found["loaded"]:
        assert torch.equal(beginning.state[name], learnt[name])
    scratch = Beginning()
    go(
        tmp_path,
        plugins=[scratch],
        text=EMOTION[: EMOTION.index("[transfer]")].replace('"emotion"', '"scratch"'),
    )
    for name in found["new"]:
        assert torch.equal(beginning.state[name], scratch.state[name])


@pytest.mark.slow
@pytest.mark.parametrize("freeze", ["['backbone']", "['backbone.dense.*', 'backbone.norm']"])
def test_what_is_frozen_stays_as_it_was(freeze, tmp_path):
    learnt = best(source(tmp_path))["network"]
    beginning = Beginning()
    recorder = go(tmp_path, f"transfer.freeze={freeze}", plugins=[beginning])
    state = best(recorder.run.directory, "last")
    found = results_of(recorder.run.directory)
    assert found["transfer"]["frozen"] == [
        "backbone.dense.weight",
        "backbone.dense.bias",
        "backbone.norm.weight",
        "backbone.norm.bias",
    ]
    for name in learnt:
        if name.startswith("backbone"):
            assert torch.equal(state["network"][name], learnt[name]), name
    heads = [tensor for name, tensor in state["network"].items() if name.startswith("heads")]
    assert found["parameters"] == sum(tensor.numel() for tensor in heads)
    assert len(state["optimizer"]["state"]) == len(heads)
    for modes in beginning.modes:
        assert not modes["backbone.norm"]
        assert not modes["backbone.dropout"]  # of a module that is frozen as a whole
        assert modes["heads.energy.2"]
    assert any(not torch.equal(state["network"][name], beginning.state[name]) for name in state["network"])


@pytest.mark.slow
def test_without_freezing_everything_is_trained(tmp_path):
    learnt = best(source(tmp_path))["network"]
    state = best(go(tmp_path).run.directory, "last")["network"]
    assert not any(torch.equal(state[name], learnt[name]) for name in learnt if name.startswith("backbone"))


@pytest.mark.slow
def test_features_are_scaled_as_for_the_source_or_anew(tmp_path):
    theirs = best(source(tmp_path, "split.test=0.4", "split.seed=0"))["scaling"]
    found = best(go(tmp_path, "transfer.leaks=warn").run.directory)["scaling"]
    assert all(torch.equal(found[name], theirs[name]) for name in ("offset", "scale"))
    own = best(go(tmp_path, "transfer.leaks=warn", "transfer.scaling=own").run.directory)["scaling"]
    assert not torch.equal(own["offset"], theirs["offset"])


@pytest.mark.slow
def test_a_resumed_run_is_one_that_was_never_stopped(tmp_path):
    source(tmp_path)

    class Stop:
        @hookimpl
        def musicemo_epoch_finished(self, record):
            if record["epoch"] == 2:
                raise KeyboardInterrupt

    with pytest.raises(KeyboardInterrupt):
        go(tmp_path, *FREEZE, "training.epochs=4", plugins=[Stop()])
    resumed = go(tmp_path, *FREEZE, "training.epochs=4", resume=True)
    assert results_of(resumed.run.directory)["resumed_after_epoch"] == 2
    shutil.copytree(tmp_path / "runs" / "small", tmp_path / "again" / "small")
    whole = go(tmp_path, *FREEZE, "training.epochs=4", runs="again")
    assert resumed.run.history == whole.run.history
    first, second = (best(found.run.directory, "last")["network"] for found in (resumed, whole))
    assert all(torch.equal(first[name], second[name]) for name in first)


@pytest.mark.slow
def test_a_replicate_begins_with_the_one_of_its_seed(tmp_path):
    for seed in (1, 0, 2):
        source(tmp_path, f"seed={seed}")
    outcomes = run_all(tmp_path, "split.method='random'", "seeds=[0, 1, 7]", text=EMOTION)
    begun = [Path(outcome.results["transfer"]["from"]).name[-5:] for outcome in outcomes]
    assert begun == ["seed0", "seed1", "seed2"]  # of seed 7 there is none: the latest


def finished(folder: Path, name: str, **results) -> Path:
    path = folder / name
    (path / "checkpoints").mkdir(parents=True)
    (path / "results.json").write_text(json.dumps({"status": "done", "seed": 0, "fold": None, **results}))
    return path


def test_which_run_an_experiment_stands_for(tmp_path):
    runs = tmp_path / "runs"
    first = finished(runs / "a", "20250101-seed0", fold=0)
    second = finished(runs / "a", "20250102-seed1", seed=1, fold=0)
    third = finished(runs / "a", "20250103-seed0", fold=1)
    finished(runs / "a", "20250104-seed0", status="failed")
    finished(runs / "a", "20250105-seed0", overfit_batches=1)

    def found(source, **of):
        return find_source(source, tmp_path, runs, **of).parent.parent.name

    assert found("a", seed=0, fold=0) == first.name
    assert found("a", seed=5, fold=0) == second.name
    assert found("a", seed=1, fold=1) == third.name
    assert found("a", seed=1, fold=None) == third.name
    assert found("runs/a/20250101-seed0", seed=1) == first.name
    assert found(str(runs / "a"), seed=0, fold=1) == third.name
    (tmp_path / "x.pt").write_bytes(b"")
    assert find_source("x.pt", tmp_path, runs) == (tmp_path / "x.pt").resolve()


def test_an_experiments_name_is_not_taken_for_a_folder_of_the_same_name(tmp_path):
    runs, beside = tmp_path / "runs", tmp_path / "beside"
    own = finished(runs / "a", "20250101-seed0")
    (beside / "a").mkdir(parents=True)
    assert find_source("a", beside, runs).parent.parent == own  # one without runs
    other = finished(beside / "a", "20250102-seed0")
    assert find_source("a", beside, runs).parent.parent == own
    assert find_source("./a", beside, runs).parent.parent == other
    finished(beside / "b", "20250102-seed0")
    assert find_source("b", beside, runs).parent.parent.parent == beside / "b"
    (runs / "c").mkdir()
    with pytest.raises(InputError) as caught:
        find_source("c", beside, runs)
    assert f"(looked for {runs}/c (which holds no run) and {beside}/c; experiments in {runs}: a)" in str(
        caught.value
    )


@pytest.mark.parametrize(
    ("overrides", "message"),
    [
        (
            ["transfer.from=smal"],
            r"transfer.from: no run, experiment or checkpoint 'smal'; did you mean 'small'",
        ),
        (
            ["transfer.freeze=['backbon']"],
            r"transfer: 'backbon' matches no parameter; did you mean 'backbone'",
        ),
        (
            ["training.optimizer={ type = 'adam', rates = { head = 2.0 } }"],
            r"training.optimizer.rates: 'head' matches no parameter; did you mean 'heads'",
        ),
        (
            ["transfer.freeze=['heads']"],
            r"transfer: heads.energy.0.weight is to be frozen and has no weights in ",
        ),
        (["model.hidden=9"], r"transfer: .*best.pt: none of its weights fits this network by name and shape"),
        (
            ["split.seed=4"],
            r"transfer.from: \d+ of 12 test tracks are among those that .* was trained or stopped on",
        ),
        (
            ["transfer.freez=['backbone']"],
            r"transfer.freez: unknown key.*\(allowed: freeze, from, leaks, scaling\)",
        ),
        (["transfer={}"], r"transfer.from: is required"),
    ],
)
def test_what_is_wrong_is_told_with_its_line(overrides, message, tmp_path):
    if overrides == ["transfer={}"]:
        text = EMOTION.replace('from = "small"', "")
        with pytest.raises(InputError, match=message):
            load(tmp_path, text=text)
        return
    source(tmp_path)
    with pytest.raises(InputError) as caught:
        go(tmp_path, *overrides)
    assert re.search(rf"^(--set [^:]*|.*small\.toml:\d+): {message}", str(caught.value))
    assert not (tmp_path / "runs" / "emotion").exists()


def test_a_source_that_is_no_run_of_weights(tmp_path):
    directory = source(tmp_path)
    (directory / "checkpoints" / "best.pt").write_bytes(b"x")
    with pytest.raises(InputError, match="is not a readable checkpoint"):
        go(tmp_path)
    results = results_of(directory)
    (directory / "results.json").write_text(json.dumps({**results, "status": "failed"}))
    with pytest.raises(InputError, match=r"runs/small: none of its 1 runs is finished; musicemo run makes one"):
        go(tmp_path)


@pytest.mark.slow
def test_leaks_may_be_warned_of(tmp_path):
    source(tmp_path)
    with warns("test tracks are among those"):
        recorder = go(tmp_path, "split.seed=4", "transfer.leaks=warn")
    assert any("test tracks are among those" in text for text in results_of(recorder.run.directory)["warnings"])


UNKNOWN = "cannot tell whether test tracks are among those that "


def doubted(recorder, *parts):
    """Assert that a run recorded one doubt, with these parts; that it was warned of is for the caller."""
    found = [text for text in results_of(recorder.run.directory)["warnings"] if text.startswith(UNKNOWN)]
    assert len(found) == 1
    for part in parts:
        assert part in found[0]


@pytest.mark.slow
def test_data_of_another_root_may_leak_and_what_bears_other_ids_does_not(tmp_path):
    directory = source(tmp_path, "dataset.seed=5")
    with warns(UNKNOWN):
        recorder = go(tmp_path, "split.seed=4")
    doubted(recorder, str(directory), "have ids of such tracks, 'track", "of type 'memory', differ in seed")
    shutil.rmtree(tmp_path / "runs" / "small")
    source(tmp_path, "dataset.seed=5")
    go(tmp_path)  # the tested tracks are none that it was trained on, whatever they are


JOINT = EMOTION.replace(
    '[dataset]\ntype = "memory"',
    '[[dataset]]\ntype = "memory"\n\n[[dataset]]\ntype = "others"\nseed = 1\ntracks = 30',
)


class Others(MemoryDataset):
    """Other tracks that bear the same ids."""


@pytest.mark.parametrize("joined_first", [True, False])
def test_a_dataset_joined_with_another_leaks_as_it_does_alone(joined_first, fakes, tmp_path):
    fakes("dataset", "others", Others)
    first = JOINT.replace('"emotion"', '"small"').partition("\n[transfer]")[0] if joined_first else GENRE
    go(tmp_path, text=first)
    with pytest.raises(InputError, match=r"\d+ of \d+ test tracks are among those that .*small"):
        go(tmp_path, "split.seed=4", text=EMOTION if joined_first else JOINT)


class Catalogued(MemoryDataset):
    """Tracks whose ids are from a catalogue."""

    id_space = "catalogue"


class AlsoCatalogued(Catalogued):
    """Another dataset of the same tracks, with features of its own."""


def test_a_dataset_whose_ids_are_from_the_same_catalogue_leaks(fakes, tmp_path):
    fakes("dataset", "one", Catalogued)
    fakes("dataset", "another", AlsoCatalogued)
    go(tmp_path, text=GENRE.replace('type = "memory"', 'type = "one"\nseed = 3'))
    with pytest.raises(InputError, match=r"\d+ of \d+ test tracks are among those that .*small"):
        go(tmp_path, "split.seed=4", text=EMOTION.replace('type = "memory"', 'type = "another"'))


class Renamed(MemoryDataset):
    """The same tracks with other ids."""

    def tracks(self):
        for track in super().tracks():
            yield dataclasses.replace(track, id=f"other-{track.id}")


def test_equal_features_under_other_ids_are_warned_of(fakes, tmp_path):
    fakes("dataset", "renamed", Renamed)
    directory = source(tmp_path)
    text = EMOTION.replace('type = "memory"', 'type = "renamed"')
    with warns(rf"\d+ of 12 test tracks have the features of tracks that {directory} .*, 'other-track"):
        go(tmp_path, "split.seed=4", text=text)
    go(tmp_path, text=text)  # split alike


def test_data_reads_the_dataset_of_the_source(tmp_path):
    """What is no leak by the ids of the datasets is found by equal features, and by artists."""

    def leaks(*overrides):
        experiment = load(tmp_path, "split.method='random'", *overrides, text=EMOTION)
        tracks = read_tracks(experiment)
        split = split_tracks(experiment, tracks)
        features = Features(tracks.tracks, tracks.rows)
        return find_shared_music(experiment, tracks, split, features, tmp_path / "runs", sound=True)

    directory = source(tmp_path)
    same = leaks()
    assert len(same) == 1, "the same split keeps the tracks apart, but not the artists"
    assert re.fullmatch(
        rf"\d+ of \d+ artists of the test set are artists that {directory} was trained or stopped on, for example "
        r"'artist\d+'",
        same[0],
    )
    music, artists = leaks("split.seed=4")
    assert (
        f" test tracks are music that {directory} was trained or stopped on (equal features): 'track" in music
    )
    assert "is 'track" in music
    assert " artists of the test set " in artists


@pytest.mark.slow
def test_a_run_that_began_with_another_is_followed_to_it(tmp_path):
    first = source(tmp_path, "split.seed=4")
    with warns("test tracks are among those"):
        middle = go(tmp_path, "transfer.leaks=warn").run.directory
    third = EMOTION.replace('"emotion"', '"third"').replace('from = "small"', 'from = "emotion"')
    with pytest.raises(InputError) as caught:
        go(tmp_path, text=third)
    assert f"that {first} was trained or stopped on" in str(caught.value)
    assert str(middle) not in str(caught.value)
    (tmp_path / "runs").rename(tmp_path / "moved")
    with pytest.raises(InputError, match=f"that {tmp_path}/moved/small/.* was trained or stopped on"):
        go(tmp_path, text=third, runs="moved")
    shutil.rmtree(tmp_path / "moved" / "small")
    with warns(UNKNOWN):
        recorder = go(tmp_path, text=third, runs="moved")
    doubted(recorder, f"{first}/checkpoints/best.pt was trained", "it is in no run directory")


@pytest.mark.slow
def test_of_a_checkpoint_outside_of_a_run_nothing_can_be_told(tmp_path):
    (tmp_path / "saved").mkdir()
    shutil.copy(source(tmp_path) / "checkpoints" / "best.pt", tmp_path / "saved" / "mine.pt")
    with warns(UNKNOWN):
        recorder = go(tmp_path, f"transfer.from='{tmp_path}/saved/mine.pt'")
    doubted(recorder, f"{tmp_path}/saved/mine.pt", "it is in no run directory")


@pytest.mark.slow
def test_of_a_run_whose_split_is_damaged_nothing_can_be_told(tmp_path):
    (source(tmp_path) / "split.json").write_text("{}")
    with warns(UNKNOWN):
        recorder = go(tmp_path)
    doubted(recorder, "it cannot be read: KeyError: 'train'")


def test_a_frozen_batch_normalization_of_the_cnn_keeps_its_statistics():
    from musicemo_builtin.models.cnn import CNN

    network = CNN(input_size=20, channels=[2], kernels=[3])
    block = network.blocks[0]
    network.train()
    block.normalization.eval()
    before = block.normalization.running_mean.clone()
    x = torch.from_numpy(np.random.default_rng(0).normal(size=(4, 9, 20)).astype(np.float32))
    trained = network(x, torch.full((4,), 9))
    assert torch.equal(block.normalization.running_mean, before)
    network.eval()
    assert torch.equal(trained, network(x, torch.full((4,), 9)))


@pytest.mark.slow
def test_the_recorder_is_told(tmp_path):
    source(tmp_path)
    recorder = Recorder()
    go(tmp_path, plugins=[recorder])
    assert recorder.run.transfer["frozen"] == []


def test_leaks_are_found_whatever_file_a_dataset_is_in(tmp_path):
    """A run names its own copy of the file, and the experiment the file, which may have been changed since."""
    (tmp_path / "mine.py").write_text("import fakes\n\n\nclass Mine(fakes.MemoryDataset):\n    pass\n")
    genre, emotion = (text.replace('type = "memory"', 'type = "./mine.py:Mine"') for text in (GENRE, EMOTION))
    go(tmp_path, text=genre)
    with pytest.raises(InputError, match="test tracks are among those"):
        go(tmp_path, "split.seed=4", text=emotion)
    (tmp_path / "mine.py").write_text((tmp_path / "mine.py").read_text() + "# changed\n")
    with pytest.raises(InputError, match="test tracks are among those"):
        go(tmp_path, "split.seed=4", text=emotion)
