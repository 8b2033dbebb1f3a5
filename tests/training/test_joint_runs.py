"""Experiments on several datasets, from the file to the run directory."""

from __future__ import annotations

import math
import re
import tomllib
from collections import Counter

import fakes as fakes_module
import numpy as np
import pytest
import torch
from complaints import any_warnings, warns
from harness import CPU, assemble, load, only_run, results_of, run_all, train

from musicemo import toml
from musicemo.contracts import Target, Track
from musicemo.data import Split
from musicemo.errors import InputError
from musicemo.experiment import load_experiment
from musicemo.experiment.tracks import read_tracks, split_tracks
from musicemo.hookspecs import hookimpl
from musicemo.prediction import TrainedRun, evaluate_run
from musicemo.running.prepare import prepare

pytestmark = pytest.mark.usefixtures("fakes")

TEXT = """\
name = "joint"
[[dataset]]
type = "memory"
name = "songs"
tracks = 40

[[dataset]]
type = "moods"
tracks = 60

[model]
type = "means"

[weighting]
type = "learned"

[training]
epochs = 3
batch_size = 16
device = "cpu"
optimizer = { type = "adam", lr = 1e-2 }

[tasks.genre]
[tasks.valence]
target = { songs = "valence", moods = "pleasure" }
loss = { type = "squared-error" }
[tasks.arousal]
"""


class Moods:
    """Ratings on another scale, of the artists of `MemoryDataset` and of others; no genres."""

    targets = (
        Target("pleasure", "regression", range=(0.0, 1.0)),
        Target("arousal", "regression", range=(-1.0, 1.0)),
    )

    def __init__(self, tracks: int = 60, rows: int = fakes_module.ROWS, same: bool = False) -> None:
        self.rows = slice(0, rows)
        self._inner = fakes_module.MemoryDataset(tracks, seed=0 if same else 1)

    def tracks(self):
        for track in self._inner.tracks():
            targets = {
                "pleasure": (track.targets["valence"] - 1) / 8,
                "arousal": 2 * track.targets["energy"] - 1,
            }
            yield Track(track.id, track.features, targets, track.group)


@pytest.fixture(autouse=True)
def _moods(fakes):
    fakes("dataset", "moods", Moods)


def made(folder, *overrides, text=TEXT):
    experiment = load(folder, *overrides, text=text)
    tracks = read_tracks(experiment)
    return tracks, split_tracks(experiment, tracks)


def sizes(tracks, split):
    return {
        part: dict(Counter(tracks.tracks[index].source for index in indices))
        for part, indices in split.parts.items()
    }


def problems(folder, *overrides, text=TEXT):
    with pytest.raises(InputError) as caught:
        read_tracks(load(folder, *overrides, text=text))
    return [problem.replace(f"{folder}/", "") for problem in caught.value.problems]


def test_every_dataset_is_split_in_the_same_shares(tmp_path):
    tracks, split = made(tmp_path)
    assert sizes(tracks, split) == {
        "train": {"songs": 24, "moods": 36},
        "val": {"songs": 8, "moods": 12},
        "test": {"songs": 8, "moods": 12},
    }
    genres = [tracks.tracks[i].targets.get("genre") for i in split.parts["test"]]
    assert max(Counter(genre for genre in genres if genre).values()) == 3, "stratified by genre where there is"


def test_a_dataset_may_have_a_split_of_its_own(tmp_path):
    tracks, split = made(tmp_path, "dataset.songs.split={ method = 'official' }", "split.method='random'")
    for part, indices in split.parts.items():
        own = [tracks.tracks[index] for index in indices if tracks.tracks[index].source == "songs"]
        assert {track.part for track in own} == {part}
    assert sizes(tracks, split)["test"]["moods"] == 12


def test_the_hash_of_one_dataset_without_a_name_is_what_it_was(tmp_path):
    tracks, split = made(tmp_path, text=fakes_module.EXPERIMENT)
    assert tracks.ids[0] == "track000"
    assert tracks.sources == {}
    assert len(split.parts["train"]) == 36


def test_artists_stay_on_one_side_over_the_datasets(tmp_path):
    tracks, split = made(tmp_path, "split.method='grouped'")
    sides = {}
    for part, indices in split.parts.items():
        for index in indices:
            sides.setdefault(tracks.tracks[index].group, set()).add(part)
    assert all(len(parts) == 1 for parts in sides.values())
    assert len(sides) == 15, "the ten of songs are among the fifteen of moods"
    assert all(set(found) == {"songs", "moods"} for found in sizes(tracks, split).values())


def test_folds_are_of_every_dataset(tmp_path):
    experiment = load(tmp_path, "split={ method = 'kfold', folds = 4 }", text=TEXT)
    tracks = read_tracks(experiment)
    tested = []
    for replicate in experiment.replicates():
        split = split_tracks(experiment, tracks, replicate.fold)
        assert sizes(tracks, split)["test"] == {"songs": 10, "moods": 15}
        tested += split.track_ids("test")
    assert sorted(tested) == sorted(tracks.ids)


def test_a_run_trains_what_each_dataset_knows(tmp_path):
    recorder = train(tmp_path, text=TEXT)
    run = recorder.run
    assert [task.range for task in run.tasks] == [(0, 1), (0, 1), (-1, 1)]
    seen = {tuple(call[3]) for call in recorder.calls if call[0] == "batch_finished"}
    assert seen == {("genre", "valence", "arousal")}
    counts = {name: len(task.target) for name, task in recorder.evaluations["test"].tasks.items()}
    assert counts == {"genre": 8, "valence": 20, "arousal": 12}
    results = results_of(run.directory)
    assert {name: found["tracks"] for name, found in results["metrics"]["test"].items()} == counts
    text = (run.directory / "predictions.csv").read_text()
    assert re.search(r"^songs/track\d+,test,genre,", text, re.MULTILINE)
    assert re.search(r"^moods/track\d+,test,arousal,-?\d", text, re.MULTILINE)
    assert not re.search(r"^songs/track\d+,test,arousal", text, re.MULTILINE)


@pytest.mark.slow
@pytest.mark.parametrize("weighting", ["sum", "learned"])
def test_batches_of_one_dataset_have_no_label_of_the_others_tasks(weighting, tmp_path):
    """Partial labels throughout: a task is absent from a batch, from a part, or from most of them."""
    recorder = train(tmp_path, "training.batch_size=1", f"weighting.type='{weighting}'", text=TEXT)
    seen = {tuple(call[3]) for call in recorder.calls if call[0] == "batch_finished"}
    assert seen == {("genre", "valence"), ("valence", "arousal")}
    for record in recorder.run.history:
        assert all(math.isfinite(value) for value in record.values())
    first, *_, final = (record["train/loss"] for record in recorder.run.history)
    assert final < first


@pytest.mark.slow
def test_a_task_that_a_part_has_no_label_of(tmp_path):
    """All of songs trains, so nothing is known of genre elsewhere."""
    recorder = train(
        tmp_path,
        "dataset.songs.split={ method = 'random', validation = 0.0, test = 0.0 }",
        text=TEXT,
    )
    record = recorder.run.history[-1]
    assert "val/genre/loss" not in record
    assert record["val/loss"] == pytest.approx(record["val/valence/loss"] + record["val/arousal/loss"])
    found = results_of(recorder.run.directory)["metrics"]["test"]["genre"]
    assert (found["tracks"], found["accuracy"]["value"]) == (0, None)


@pytest.mark.slow
def test_two_halves_of_a_dataset_train_as_the_whole(fakes, tmp_path):
    class Half(fakes_module.MemoryDataset):
        def __init__(self, odd: bool = False) -> None:
            super().__init__()
            self.odd = odd

        def tracks(self):
            return (track for index, track in enumerate(super().tracks()) if (index >= 30) is self.odd)

    fakes("dataset", "half", Half)
    table = "dataset=[{ type = 'half', name = 'a' }, { type = 'half', name = 'b', odd = true }]"
    whole = train(tmp_path, "split.method='official'", runs="whole")
    halves = train(tmp_path, "split.method='official'", table, runs="halves")
    assert halves.run.history == whole.run.history
    last = halves.weights[-1]
    assert all(torch.equal(weight, last[name]) for name, weight in whole.weights[-1].items())


@pytest.mark.slow
def test_proportions_decide_what_is_drawn(tmp_path):
    overrides = ["dataset.songs.proportion=3", "dataset.moods.proportion=1"]
    recorder = train(tmp_path, *overrides, text=TEXT)
    built = assemble(tmp_path, *overrides, text=TEXT)
    sources = np.array([track.source for track in recorder.run.tracks.tracks])
    for epoch in (1, 2, 3):
        drawn = np.concatenate(built.batches["train"].order(epoch))
        assert Counter(sources[drawn]) == {"songs": 45, "moods": 15}
    assert set(sources[built.batches["val"].indices]) == {"songs", "moods"}
    assert len(recorder.evaluations["train"].tasks["valence"].ids) == 60, "evaluated once each"
    assert len(set(recorder.evaluations["train"].tasks["valence"].ids)) == 60
    plain = train(tmp_path, text=TEXT, runs="plain")
    assert recorder.run.history != plain.run.history


@pytest.mark.slow
def test_a_joint_run_is_resumed_to_the_bit(tmp_path):
    overrides = ["dataset.songs.proportion=2", "dataset.moods.proportion=1"]
    whole = train(tmp_path, *overrides, text=TEXT, runs="whole")

    class Assassin:
        @hookimpl
        def musicemo_epoch_finished(self, run, record):
            if record["epoch"] == 2:
                raise KeyboardInterrupt

    with pytest.raises(KeyboardInterrupt):
        run_all(tmp_path, *overrides, text=TEXT, plugins=[Assassin()])
    (outcome,) = run_all(tmp_path, *overrides, text=TEXT, resume=True)
    assert outcome.results["resumed_after_epoch"] == 2
    names = ("predictions.csv", "split.json")
    assert all(
        (outcome.directory / name).read_bytes() == (whole.run.directory / name).read_bytes() for name in names
    )


@pytest.mark.slow
def test_the_recorded_experiment_repeats_the_run(tmp_path):
    first = train(tmp_path, "dataset.songs.split={ method = 'official' }", text=TEXT)
    text = (first.run.directory / "experiment.toml").read_text()
    tables = tomllib.loads(text)["dataset"]
    assert tables[0] == {
        **{"type": "memory", "name": "songs", "tracks": 40, "classes": 3, "seed": 0, "missing": 0.0},
        "split": {"method": "official"},
    }
    assert tables[1]["name"] == "moods"
    again = train(tmp_path, text=text, runs="again")
    assert again.run.history == first.run.history


@pytest.mark.slow
def test_a_joint_run_is_evaluated_again(tmp_path):
    directory = train(tmp_path, text=TEXT).run.directory
    run = TrainedRun.load(directory)
    for part, metrics in run.results["metrics"].items():
        assert evaluate_run(run, part=part).metrics() == metrics
    assert evaluate_run(run).dataset == "songs + moods"


@pytest.mark.slow
def test_a_joint_run_on_one_of_its_datasets_and_on_another(tmp_path):
    directory = train(tmp_path, text=TEXT).run.directory
    run = TrainedRun.load(directory)
    with any_warnings() as texts:
        found = evaluate_run(run, overrides=["dataset={ type = 'memory', tracks = 40 }"])
    assert any("task 'arousal' is left out" in text for text in texts)
    assert any("24 of 40 tracks have the ids of training tracks of the run" in text for text in texts)
    assert set(found.evaluation.tasks) == {"genre", "valence"}
    assert found.evaluation.tasks["valence"].target.max() > 1, "in the units of that dataset"
    with warns("60 of 110 tracks have the ids"):
        other = evaluate_run(run, overrides=["dataset.moods.tracks=70"])
    assert (other.part, other.tracks) == ("all", 110)


def test_a_clip_in_two_datasets_and_on_two_sides_is_told(tmp_path):
    with warns(r"suspected leak: .* as tracks with equal features.*'songs/track0\d\d'.*moods"):
        train(tmp_path, "dataset.moods.same=true", "training.epochs=1", text=TEXT)
    assert any("suspected leak" in text for text in results_of(only_run(tmp_path))["warnings"])


@pytest.mark.parametrize(
    ("override", "message"),
    [
        ("dataset.moods.name='songs'", "another dataset also has the name 'songs'. Give each dataset"),
        (
            "dataset.moods.proportion=1",
            "joint.toml:2: dataset[0]: 'songs' has no proportion. Set a proportion for every",
        ),
        ("dataset.moods.proportion=0", "dataset[1].proportion: input should be greater than 0, not 0"),
        ("dataset.moods.name='a/b'", "dataset[1].name: string should match pattern"),
        ("dataset.moods.traks=1", "dataset[1].traks: unknown key; did you mean 'tracks'? (allowed: name, prop"),
        (
            "dataset.moods.split.method='kfold'",
            "dataset[1].split.method: input should be 'official', 'random', ",
        ),
        ("dataset.moods.split.test=0.9", "dataset[1].split: validation + test must be below 1"),
        (
            "dataset.moods.split.metod='a'",
            "dataset[1].split.metod: unknown key; did you mean 'method'? (allowed: b",
        ),
        ("dataset.moods.type='mods'", "dataset[1].type: no dataset has the name 'mods'; did you mean 'moods'?"),
        ("dataset=[]", "dataset: must be a table, or several as [[dataset]]"),
        ("dataset=[1]", "dataset: must be a table, or several as [[dataset]]"),
        ("dataset.moos.tracks=1", "dataset: has no 'moos'; did you mean 'moods'? (0 or songs, 1 or moods)"),
        ("dataset.2.tracks=1", "dataset: has no '2' (0 or songs, 1 or moods)"),
        (
            "tasks.valence.range=[9, 1]",
            "tasks.valence.range: must be [low, high] with low below high, not [9, 1]",
        ),
        (
            "dataset.moods.rows=10",
            "dataset: feature rows must be the same: songs has 0 to 12, moods has 0 to 10",
        ),
        (
            "tasks.tempo={}",
            "tasks.tempo: no dataset declares a target 'tempo' (targets of songs: valence",
        ),
        (
            "tasks.valence.target={ mods = 'pleasure' }",
            "tasks.valence: target: there is no dataset 'mods'; did you mean 'moods'? (datasets: songs, moods)",
        ),
        (
            "dataset.moods.split.stratify='valance'",
            "dataset[1].split.stratify: 'valance' is not a task; did you mean 'valence'?",
        ),
        ("tasks.genre.classes={ polka = 'pop' }", "tasks.genre: 'genre' has no class 'polka'"),
    ],
)
def test_what_is_wrong_is_told_with_its_place(override, message, tmp_path):
    text = TEXT
    path = tmp_path / "joint.toml"
    path.write_text(text)
    with pytest.raises(InputError) as caught:
        read_tracks(load_experiment(path, [override]))
    (problem,) = caught.value.problems
    assert message in problem
    assert problem.startswith((f"--set {override}", f"{path}:"))


def test_what_is_for_several_datasets_is_refused_for_one(tmp_path):
    overrides = ["dataset={ type = 'memory' }", "tasks={ valence = { range = [1, 9] } }"]
    with pytest.raises(
        InputError, match=r"tasks.valence: range: can be set only with several datasets " r"\(\[\[dataset\]\]"
    ):
        read_tracks(load(tmp_path, *overrides))
    overrides[1] = "tasks={ valence = { target = { memory = 'valence' } } }"
    with pytest.raises(InputError, match="target: can be set only with several datasets"):
        read_tracks(load(tmp_path, *overrides))


def test_a_proportion_of_a_dataset_that_trains_nothing(tmp_path):
    experiment = load(tmp_path, "dataset.songs.proportion=3", "dataset.moods.proportion=1", text=TEXT)
    tracks = read_tracks(experiment)
    songs, moods = tracks.sources.values()
    split = Split({"train": songs, "val": moods[:9], "test": moods[9:]}, tracks.ids)
    with pytest.raises(InputError, match="dataset: 'moods' has a proportion but no track in the training set"):
        prepare(experiment.completed(tracks), tracks, split, 0, CPU)


def test_an_override_names_a_table_of_an_array_by_number_name_or_type(tmp_path):
    terms = "[{ type = 'squared-error' }, { type = 'mse', weight = 0.5 }]"
    found = load(
        tmp_path,
        *("dataset.0.tracks=10", "dataset.moods.tracks=20", f"tasks.valence.loss={terms}"),
        "tasks.valence.loss.mse.weight=0.25",
        text=TEXT,
    )
    assert [component.parameters["tracks"] for component in found.datasets.values()] == [10, 20]
    assert [weight for weight, *_ in found.losses["valence"]] == [1.0, 0.25]
    shown = toml.write(found.resolved(), found.source)
    assert "tracks = 10 # --set dataset.0.tracks=10" in shown
    assert re.search(r'name = "songs" # .*small.toml:4', shown)
    assert tomllib.loads(shown) == tomllib.loads(toml.write(found.resolved()))


def test_a_file_may_change_a_dataset_of_the_one_it_extends(tmp_path):
    (tmp_path / "base.toml").write_text(TEXT)
    (tmp_path / "mine.toml").write_text('extends = "base.toml"\n[dataset.moods]\ntracks = 20\nproportion = 1\n')
    with pytest.raises(InputError, match=r"base.toml:2: dataset\[0\]: 'songs' has no proportion"):
        load_experiment(tmp_path / "mine.toml")
    found = load_experiment(tmp_path / "mine.toml", ["dataset.songs.proportion=1"])
    assert found.datasets["moods"].parameters["tracks"] == 20
    assert found.proportions == {"songs": 1.0, "moods": 1.0}
