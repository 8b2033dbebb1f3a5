"""Datasets that are crossed: trained on each, tested on each."""

from __future__ import annotations

import csv
import dataclasses
import io
import json

import numpy as np
import pytest
from scipy.stats import spearmanr
from typer.testing import CliRunner

import musicemo
from musicemo.cli._app import make_app
from musicemo.contracts import Target, Track
from musicemo.data import Features
from musicemo.errors import InputError, RunError
from musicemo.experiment import load_experiment
from musicemo.experiment.tracks import read_tracks
from musicemo.prediction import TrainedRun
from musicemo.reporting import latex, make_cross_page, render, tabular
from musicemo.reporting.sections.cross import cross_blocks
from musicemo.runs import open_run


class Songs:
    """Songs `first` to `first + count` of a catalogue, rated from `low` to `high`, in arrays of their own."""

    id_space = "catalogue"

    def __init__(
        self, first: int = 0, count: int = 40, low: float = 0.0, high: float = 1.0, target: str = "valence"
    ) -> None:
        self.targets = [
            Target(target, "regression", range=(low, high)),
            Target("genre", "classification", classes=("folk", "jazz")),
        ]
        self._songs = range(first, first + count)
        self._low, self._high, self._target = low, high, target

    def tracks(self):
        for song in self._songs:
            random = np.random.default_rng([song, 7])
            valence, genre = random.uniform(), song % 2
            features = random.normal(size=(6, 4)).astype("float32")
            features[:, 0] += 4 * valence
            features[:, 1] += 2 * genre + 0.01 * self._songs[0]
            rating = self._low + valence * (self._high - self._low)
            yield Track(str(song), features, {self._target: rating, "genre": ("folk", "jazz")[genre]})


TEXT = """\
name = "{name}"
seeds = [0, 1]
dataset = {{ type = "songs", {dataset} }}
model.type = "means"
split = {{ method = "random", {split} }}
evaluation.resamples = 100
[training]
epochs = 2
batch_size = 16
device = "cpu"
optimizer = {{ type = "adam", lr = 1e-2 }}
[tasks.valence]
{target}
[tasks.genre]
"""


@pytest.fixture(autouse=True)
def components(fakes):
    fakes("dataset", "songs", Songs)


def write(folder, name, dataset, target="", split="test = 0.25"):
    path = folder / f"{name}.toml"
    path.write_text(TEXT.format(name=name, dataset=dataset, target=target, split=split))
    return path


def go(folder, paths, **options):
    return musicemo.cross(paths, folder / "runs", jobs=1, **options)


def cell(crossed, task, metric, trained, tested):
    (one,) = (
        one
        for one in crossed.cells
        if (one.task, one.metric, one.trained, one.tested) == (task, metric, trained, tested)
    )
    return one


@pytest.fixture(scope="module")
def folder(tmp_path_factory):
    return tmp_path_factory.mktemp("crossed")


def pair(folder):
    """Two datasets with other names and ranges of the same rating, which share songs 20 to 39."""
    return [
        write(folder, "first", "count = 40"),
        write(
            folder,
            "second",
            'first = 20, low = 1.0, high = 9.0, target = "pleasure"',
            'target = "pleasure"',
        ),
    ]


@pytest.mark.slow
def test_each_is_trained_on_and_tested(folder):
    paths = pair(folder)
    crossed = go(folder, paths)
    assert crossed.folder == folder / "runs" / "cross-first-second"
    assert [one.name for one in crossed.trained] == ["first", "second", "joint"]
    valence, genre = crossed.tasks
    assert valence.targets == {"first": "valence", "second": "pleasure"}
    assert valence.ranges == {"first": [0, 1], "second": [1, 9]}
    assert genre.kind == "classification"
    tested = {}
    for one, number in zip(crossed.trained[:2], (0, 1), strict=True):
        split = open_run(one.runs[0]).split
        tested[number] = set(split["test"])
        assert len(one.runs) == 2
    for one, other in ((0, 1), (1, 0)):
        split = open_run(crossed.trained[one].runs[0]).split
        experiment = load_experiment(paths[one])
        everything = set(read_tracks(experiment).ids)
        assert not tested[other] & {*split["train"], *split["val"]}, "what the other tests is not trained on"
        left_out = everything - {*split["train"], *split["val"], *split["test"]}
        assert left_out == tested[other] & everything - tested[one]
        assert crossed.trained[one].excluded == len(left_out) > 0
    joint = open_run(crossed.trained[2].runs[0]).split
    trained = {name.partition("/")[2] for name in (*joint["train"], *joint["val"])}
    assert not trained & (tested[0] | tested[1])
    assert any("tracks of first are music that is tested in another dataset" in note for note in crossed.notes)

    # The scores of the first dataset's models on the second, computed in another way.
    second = read_tracks(load_experiment(paths[1]))
    features = Features(second.tracks, second.rows)
    places = [index for index, name in enumerate(second.ids) if name in tested[1]]
    ratings = [second.tracks[index].targets["pleasure"] for index in places]
    scores, errors = [], []
    for directory in crossed.trained[0].runs:
        predicted = TrainedRun.load(open_run(directory)).predict([features[index] for index in places])[
            "valence"
        ]
        scores.append(spearmanr(predicted, ratings).statistic)
        errors.append(np.sqrt(np.mean((1 + 8 * predicted - ratings) ** 2)))
    across = cell(crossed, "valence", "spearman", "first", "second")
    assert across.value == pytest.approx(np.mean(scores), abs=1e-5)
    assert cell(crossed, "valence", "rmse", "first", "second").value == pytest.approx(np.mean(errors), rel=1e-4)
    assert not across.in_domain
    assert across.low < across.value < across.high
    assert across.tracks == len(places)
    own = cell(crossed, "valence", "spearman", "second", "second")
    recorded = [
        open_run(one).metrics["test"]["valence"]["spearman"]["value"] for one in crossed.trained[1].runs
    ]
    assert own.value == pytest.approx(np.mean(recorded), abs=1e-6)
    assert own.in_domain
    assert across.difference == pytest.approx(across.value - own.value)
    assert own.difference is None
    assert cell(crossed, "genre", "accuracy", "joint", "first").in_domain


@pytest.mark.slow
def test_again_there_is_nothing_to_do(folder):
    paths = pair(folder)
    first = go(folder, paths)
    again = go(folder, paths)
    assert again.skipped
    assert dataclasses.replace(again, skipped=first.skipped).to_json() == first.to_json()
    (first.folder / "cross.json").unlink()
    computed = go(folder, paths)
    assert not computed.skipped
    assert computed.to_json() == first.to_json()


@pytest.mark.slow
def test_the_results_are_shown(folder):
    crossed = go(folder, pair(folder))
    page = render(make_cross_page(crossed))
    for text in (
        "Trained on each of first and second",
        "tested on",
        "Shared tasks",
        "left out of training",
        "<svg",
    ):
        assert text in page
    rows = list(csv.DictReader(io.StringIO(tabular.cross_csv(crossed))))
    assert len(rows) == len(crossed.cells) == 2 * 3 * (6 + 3)
    assert {row["in_domain"] for row in rows} == {"true", "false"}
    text = latex.render(cross_blocks(crossed))
    assert "second & " in text
    assert "pleasure" in text
    json.dumps(crossed.to_json(), allow_nan=False)


def test_a_folder_that_cannot_be_written_is_an_error_without_a_traceback(folder, tmp_path):
    (tmp_path / "file").touch()
    with pytest.raises(RunError, match=r"cross-first-second: cannot be created: Not a directory"):
        musicemo.cross(pair(folder), tmp_path / "file" / "runs")


@pytest.mark.slow
def test_the_command_writes_all_forms(folder):
    arguments = ["cross", *map(str, pair(folder)), "--runs", str(folder / "runs"), "--jobs", "1"]
    outputs = [CliRunner().invoke(make_app(), arguments, catch_exceptions=False) for _ in range(2)]
    assert [one.exit_code for one in outputs] == [0, 0]
    assert "Nothing to do: all runs were finished and evaluated before." in outputs[1].stdout
    assert "valence: Spearman's rho (higher is better), tested on the column's dataset" in outputs[1].stdout
    names = {path.name for path in (folder / "runs" / "cross-first-second").iterdir()}
    assert {"report.html", "cross.json", "cross.csv", "cross.tex", "first-disjoint.toml"} <= names


@pytest.mark.slow
def test_folds_and_all_but_one(tmp_path):
    split = 'method = "kfold", folds = 2, stratify = "genre"'
    paths = []
    for number, name in enumerate("abc"):
        path = write(tmp_path, name, f"first = {100 * number}, count = 20")
        path.write_text(
            path.read_text()
            .replace('method = "random", test = 0.25', split)
            .replace("seeds = [0, 1]", "seeds = [0]")
            .replace("epochs = 2", "epochs = 1")
        )
        paths.append(path)
    crossed = go(tmp_path, paths, name="three")
    assert crossed.folder.name == "three"
    assert [(one.name, one.kind, len(one.runs)) for one in crossed.trained] == [
        ("a", "single", 2),
        ("b", "single", 2),
        ("c", "single", 2),
        ("joint", "joint", 2),
        ("without a", "leave-one-out", 2),
        ("without b", "leave-one-out", 2),
        ("without c", "leave-one-out", 2),
    ]
    assert not crossed.notes
    assert sum(one.excluded for one in crossed.trained) == 0
    own, joint, across, without = (
        cell(crossed, "valence", "rmse", trained, "a") for trained in ("a", "joint", "b", "without a")
    )
    assert (own.tracks, own.models) == (20, 1), "the folds are combined"
    assert (joint.tracks, joint.models, joint.in_domain) == (20, 1, True)
    assert (across.tracks, across.models, across.in_domain) == (20, 2, False), (
        "each fold's model is tested on all"
    )
    assert (without.models, without.in_domain) == (2, False)
    for fold, directory in enumerate(crossed.trained[3].runs):
        record = open_run(directory)
        of_a = {name.removeprefix("a/") for name in record.split["test"] if name.startswith("a/")}
        single = open_run(crossed.trained[0].runs[fold])
        assert of_a == set(single.split["test"])
        for part in ("train", "val"):
            names = {name.removeprefix("a/") for name in record.split[part] if name.startswith("a/")}
            assert names == set(single.split[part])
    runs = {path.parent.parent.name for path in (tmp_path / "runs").glob("*/*/results.json")}
    assert {"a", "b", "c", "three-joint-fold0", "three-without-a-fold1"} <= runs


@pytest.mark.slow
def test_tracks_of_no_other_test_set_are_kept_and_the_experiments_own_runs_are_used(tmp_path):
    paths = [write(tmp_path, "a", "count = 16"), write(tmp_path, "b", "first = 100, count = 16")]
    (outcome, _) = musicemo.run(paths[0], tmp_path / "runs", jobs=1)
    crossed = go(tmp_path, paths, joint=False)
    assert [one.name for one in crossed.trained] == ["a", "b"]
    assert str(outcome.directory) in crossed.trained[0].runs


def test_experiments_that_cannot_be_crossed(tmp_path):
    first = write(tmp_path, "first", "count = 16")
    with pytest.raises(InputError, match="needs at least two experiments"):
        go(tmp_path, [first])
    with pytest.raises(InputError, match="have the same name 'first'"):
        go(tmp_path, [first, first])
    with pytest.raises(InputError, match=r"joint\.toml:1: name: 'joint' is the name of the joined datasets"):
        go(tmp_path, [first, write(tmp_path, "joint", "first = 100, count = 16")])
    other = write(tmp_path, "other", "first = 100, count = 16")
    other.write_text(
        other.read_text()
        .replace("[tasks.genre]", "")
        .replace("[tasks.valence]", "[tasks.mood]\ntarget = 'valence'")
    )
    with pytest.raises(InputError, match=r"no task in common \(tasks of first: valence, genre; other: mood\)"):
        go(tmp_path, [first, other])
    other.write_text(
        other.read_text().replace("[tasks.mood]\ntarget = 'valence'", "[tasks.valence]\ntarget = 'genre'")
    )
    with pytest.raises(InputError, match=r"task 'valence': the experiments have targets of different kinds"):
        go(tmp_path, [first, other])
    write(tmp_path, "other", "first = 100, count = 20")
    other.write_text(
        other.read_text().replace(
            'method = "random", test = 0.25', 'method = "kfold", stratify = "genre", folds = 2'
        )
    )
    with pytest.raises(InputError, match=r"different folds \(first: none, other: 2\).*add --no-joint"):
        go(tmp_path, [first, other])
    other.write_text(other.read_text().replace("folds = 2", "folds = 2, repeats = 2"))
    with pytest.raises(InputError, match=r"other\.toml:\d+: split\.repeats: must be 1"):
        go(tmp_path, [first, other])
    searched = write(tmp_path, "searched", "first = 100, count = 16")
    searched.write_text(searched.read_text() + '[search.space]\n"training.batch_size" = [4, 8]\n')
    with pytest.raises(InputError, match=r"searched\.toml:\d+: search: cannot be used .* cross its best\.toml"):
        go(tmp_path, [first, searched])
    other.write_text(
        other.read_text()
        .replace("dataset = {", "dataset = [{")
        .replace("20 }", "20 }, { type = 'songs', name = 'x' }]")
    )
    with pytest.raises(InputError, match="joins several datasets"):
        go(tmp_path, [first, other])
