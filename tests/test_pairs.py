"""Judged pairs from their tracks to the report: which of two tracks is higher."""

from __future__ import annotations

import json
import re
import shutil
from collections.abc import Iterator

import numpy as np
import pytest
from complaints import warns
from harness import Average, assemble, load, printed, results_of, run_all
from musicemo_builtin.observers.tensorboard import _text

from musicemo.comparison import compare, read_replicates
from musicemo.contracts import Estimator, Judgement, Target, Track
from musicemo.errors import InputError
from musicemo.evaluation import PAIRS, EvaluationSettings
from musicemo.experiment.tracks import read_tracks, split_tracks
from musicemo.files import read_csv
from musicemo.prediction import SongPrediction, TaskPrediction, TrainedRun, evaluate_run
from musicemo.reporting import make_report
from musicemo.reporting.html import render
from musicemo.reporting.sections.songs import song_blocks
from musicemo.reporting.tabular import predictions_csv, predictions_json
from musicemo.running.preview import check_experiment
from musicemo.runs import open_run

EXPERIMENT = """\
name = "pairs"
dataset.type = "judged"
model.type = "average"
head = { hidden = [], dropout = 0.0 }
training.epochs = 6
training.batch_size = 8
training.device = "cpu"
training.early_stopping.monitor = "val/louder/pair_accuracy"
training.optimizer = { type = "adam", lr = 0.05 }
evaluation.resamples = 100
tasks.louder = {}
tasks.valence.loss.type = "mse"
"""


class Judged:
    """Three tracks of each artist are compared with each other; some tracks have a rating, the last only that."""

    targets = (Target("louder", "pairs"), Target("valence", "regression", range=(1.0, 9.0)))
    rows = slice(0, 6)

    def __init__(self, tracks: int = 90, chain: bool = False) -> None:
        self._tracks, self._chain = tracks, chain

    def tracks(self) -> Iterator[Track]:
        random = np.random.default_rng(0)
        levels = random.normal(size=self._tracks)
        for index, level in enumerate(levels):
            features = random.normal(size=(5 + index % 3, 6)).astype(np.float32)
            features[:, 0] += 2 * level
            ends = [index + 1] if self._chain else range(index + 1, index // 3 * 3 + 3)
            others = [
                Judgement(f"t{other:02d}", *((3, 1) if level > levels[other] else (1, 3)))
                for other in ends
                if other < self._tracks
            ]
            valence = float(np.clip(5 + level, 1, 9)) if index % 4 == 0 else None
            yield Track(
                f"t{index:02d}", features, {"louder": others, "valence": valence}, group=f"a{index // 3}"
            )
        yield Track("rated", np.zeros((4, 6), np.float32), {"valence": 5.0}, group="rated")


@pytest.fixture
def components(fakes_beside, one_thread):
    fakes_beside("dataset", "judged", Judged)
    fakes_beside("model", "average", Average)
    return fakes_beside


@pytest.fixture(scope="module")
def folder(tmp_path_factory):
    return tmp_path_factory.mktemp("pairs")


@pytest.fixture
def runs(components, folder):
    """Return the folder with the runs of two seeds; do not write to it."""
    if not (folder / "runs").exists():
        run_all(folder, "seeds=[0, 1]", text=EXPERIMENT)
    return folder / "runs" / "pairs"


@pytest.fixture
def directory(runs):
    return sorted(path for path in runs.iterdir() if path.is_dir())[0]


def test_a_run_learns_from_pairs_beside_ratings(directory):
    results = results_of(directory)
    assert results["tasks"]["louder"] == {"kind": "pairs", "target": "louder"}
    louder = results["metrics"]["test"]["louder"]
    assert louder["pair_accuracy"]["value"] > 0.7
    assert louder["vote_accuracy"]["value"] < louder["pair_accuracy"]["value"]
    assert louder["vote_accuracy"]["low"] < louder["vote_accuracy"]["value"]
    assert "spearman" in results["metrics"]["test"]["valence"]
    epoch = json.loads((directory / "history.jsonl").read_text().splitlines()[-1])
    assert {name for name in epoch if name.startswith("val/louder/")} == {
        f"val/louder/{name}" for name in ("loss", *PAIRS)
    }
    assert results["monitor"] == {"name": "val/louder/pair_accuracy", "mode": "max"}


def test_predictions_are_read_as_they_were_written(directory):
    record = open_run(directory)
    for part, evaluation in record.evaluations.items():
        task, recorded = evaluation.tasks["louder"], record.metrics[part]["louder"]
        assert {name: task.metric(name) for name in PAIRS} == {name: recorded[name]["value"] for name in PAIRS}
    row = next(row for row in read_csv(directory / "predictions.csv") if row["task"] == "louder")
    assert [len(json.loads(row[column])) for column in ("track", "target", "prediction")] == [2, 2, 2]


@pytest.mark.parametrize(
    ("old", "new", "message"),
    [
        (r'"\[""t\d+""', '"[', "is not a JSON list of two ids"),
        (r"louder,\"\[3\.0, ", 'louder,"[', "a cell of pair .* is not a list of two numbers"),
        (
            r"louder,\"\[3\.0, 1\.0",
            'louder,"[-3.0, 1.0',
            r"the numbers of listeners of pair .* are \[-3.0, 1.0\]",
        ),
    ],
)
def test_damaged_predictions(directory, tmp_path, old, new, message):
    copy = shutil.copytree(directory, tmp_path / "copy")
    path = copy / "predictions.csv"
    path.write_text(re.sub(old, new, path.read_text(), count=1))
    with pytest.raises(InputError, match=message):
        open_run(copy).evaluations  # noqa: B018  # it is read on access


def test_evaluation_gives_the_recorded_results(directory):
    run = TrainedRun.load(directory)
    assert evaluate_run(run, part="test").metrics() == run.results["metrics"]["test"]


def sides(prepared):
    return {
        prepared.tracks.ids[index]: part for part, indices in prepared.split.parts.items() for index in indices
    }


@pytest.mark.parametrize(
    "method", ["random", "stratified", "grouped", pytest.param("kfold", marks=pytest.mark.slow)]
)
def test_both_tracks_of_a_pair_are_in_one_set(components, tmp_path, method):
    side = sides(assemble(tmp_path, f"split.method='{method}'", text=EXPERIMENT))
    assert set(side.values()) == {"train", "val", "test"}
    for index in range(0, 90, 3):
        assert len({side[f"t{index + place:02d}"] for place in range(3)}) == 1


def test_pairs_across_sets_are_dropped_and_counted(components, tmp_path):
    with warns(r"task 'louder': (\d+) of 90 pairs are left out"):
        prepared = assemble(tmp_path, "split.pairs='drop'", "split.method='random'", text=EXPERIMENT)
    side = sides(prepared)
    batches = [batch for epoch in (1, 2) for batch in prepared.batches["train"].order(epoch)]
    assert {side[prepared.tracks.ids[index]] for batch in batches for index in batch} == {"train"}


def test_pairs_that_connect_most_tracks_cannot_be_kept(components, tmp_path):
    with pytest.raises(InputError, match=r"pairs connect 90 of 91 tracks.*pairs = \"drop\""):
        assemble(tmp_path, "dataset.chain=true", text=EXPERIMENT)


def test_a_batch_holds_partners_and_an_epoch_every_track(components, tmp_path):
    prepared = assemble(tmp_path, text=EXPERIMENT)
    train, pairs = prepared.batches["train"], prepared.tracks.pairs["louder"]
    batches = train.order(1)
    assert len(batches) == len(train)
    assert max(map(len, batches)) <= 8
    assert all(len(set(batch.tolist())) == len(batch) for batch in batches)
    assert set(np.concatenate(batches)) == set(train.indices)
    assert all(len(pairs.within(batch)) for batch in batches)
    assert [batch.tolist() for batch in batches] != [batch.tolist() for batch in train.order(2)]
    assert sorted(np.concatenate(train.order(0))) == sorted(train.indices)


def test_overfit_batches_hold_pairs(components, tmp_path):
    prepared = assemble(tmp_path, text=EXPERIMENT, overfit_batches=1)
    (batch,) = prepared.batches["train"].order(1)
    assert len(prepared.tracks.pairs["louder"].within(batch))


class Fitted(Estimator):
    def __init__(self, *, input_size: int) -> None:
        super().__init__()


def test_an_estimator_is_refused(components, tmp_path):
    components("model", "fitted", Fitted)
    with pytest.raises(InputError, match=r"'fitted' is fitted in one go and cannot learn 'louder' \(pairs\)"):
        assemble(tmp_path, "model.type='fitted'", text=EXPERIMENT)


def test_a_loss_for_ratings_is_refused(components, tmp_path):
    with pytest.raises(InputError, match="loss 'mse' is for regression, and 'louder' is a pairs target"):
        assemble(tmp_path, "tasks.louder.loss.type='mse'", text=EXPERIMENT)


def yielding(judgements) -> type:
    class Wrong(Judged):
        def tracks(self):
            for index in range(4):
                yield Track(
                    f"t{index}", np.zeros((4, 6), np.float32), {"louder": judgements if not index else []}
                )

    return Wrong


@pytest.mark.parametrize(
    ("judgements", "message"),
    [
        ("t1", "louder is 't1', but must be a sequence of musicemo.contracts.Judgement"),
        (["t1"], "louder has 't1', but must be a sequence of"),
        ([Judgement("t0")], "louder compares the track with itself"),
        ([Judgement("t1", -1.0)], "the judgement of 't1' has -1.0 and 0.0 listeners"),
        ([Judgement("t1", 0.0)], "both must be finite, at least 0, and not both 0"),
        (
            [Judgement("elsewhere")],
            "no judged pair; 1 judgements of pairs name tracks that are not in the dataset",
        ),
    ],
)
def test_wrong_judgements(components, tmp_path, judgements, message):
    components("dataset", "wrong", yielding(judgements))
    with pytest.raises(InputError, match=message):
        read_tracks(load(tmp_path, "dataset.type='wrong'", text=EXPERIMENT))


def test_judgements_of_one_pair_are_added_up(components, tmp_path):
    components(
        "dataset", "twice", yielding([Judgement("t2", 2.0, 1.0), Judgement("t2", 0.5, 0.5), Judgement("t3")])
    )
    tracks = read_tracks(load(tmp_path, "dataset.type='twice'", text=EXPERIMENT))
    pairs = tracks.pairs["louder"]
    assert [tracks.ids[index] for index in pairs.members.ravel()] == ["t0", "t2", "t0", "t3"]
    np.testing.assert_array_equal(pairs.listeners, [[2.5, 1.5], [1.0, 0.0]])
    assert [track.id for track in tracks.unlabelled] == ["t1"]


def test_the_identity_of_the_data_depends_on_the_judgements(components, tmp_path):
    from musicemo.data import identify_data

    hashes = set()
    for name, number in (("one", 2.0), ("other", 3.0)):
        components("dataset", name, yielding([Judgement("t1", number)]))
        experiment = load(tmp_path, f"dataset.type='{name}'", text=EXPERIMENT.replace("tasks.valence", "#"))
        hashes.add(identify_data(read_tracks(experiment)).labels)
    assert len(hashes) == 2


def test_joined_datasets(components, tmp_path):
    joined = EXPERIMENT.replace('dataset.type = "judged"', "").replace("tasks.valence.loss.type", "#")
    joined += (
        '[[dataset]]\ntype = "judged"\nname = "x"\n[[dataset]]\ntype = "judged"\nname = "y"\ntracks = 30\n'
    )
    experiment = load(tmp_path, text=joined)
    tracks = read_tracks(experiment)
    pairs = tracks.pairs["louder"]
    assert len(pairs) == 90 + 30
    assert all(len({tracks.tracks[index].source for index in pair}) == 1 for pair in pairs.members)
    split = split_tracks(experiment, tracks)
    assert sum(len(pairs.within(indices)) for indices in split.parts.values()) == len(pairs)


def test_replicates_and_reports(directory, runs):
    comparison = compare([read_replicates(runs)], settings=EvaluationSettings(resamples=100))
    (row,) = (row for row in comparison.rows if row.task == "louder")
    assert row.metric == "pair_accuracy"
    assert row.scores[0].low < row.scores[0].mean <= row.scores[0].high
    for path in (directory, runs):
        page = make_report(path)
        assert "Pairs" in [section.title for section in page.sections]
        assert "difference of the scores of louder" in render(page)
        assert "pairwise accuracy" in printed([block for section in page.sections for block in section.blocks])


@pytest.mark.slow
def test_folds_are_pooled(components, tmp_path):
    run_all(tmp_path, "split.method='kfold'", "split.folds=3", "training.epochs=5", text=EXPERIMENT)
    pooled = read_replicates(tmp_path / "runs" / "pairs").per_seed[0].evaluation.tasks["louder"]
    assert len(pooled.ids) == 90
    assert pooled.metric("pair_accuracy") > 0.7


def test_the_plan_of_an_experiment_counts_pairs(components, tmp_path):
    (task,) = (
        one for one in check_experiment(load(tmp_path, text=EXPERIMENT)).tasks if one.task.kind == "pairs"
    )
    assert task.labelled == 90


def test_a_song_is_predicted_with_a_score():
    values = np.array([[0.2, 0.4]])
    song = SongPrediction(
        "a.mp3",
        12.0,
        np.array([[0.0, 6.0], [6.0, 12.0]]),
        {"louder": TaskPrediction("pairs", (0.0, 1.0), (), values)},
    )
    assert ["louder", "0.300", "0.200", "0.400", "score"] in [
        line.split() for line in printed(song_blocks(song)).splitlines()
    ]
    assert predictions_json([], [song])["songs"][0]["tasks"]["louder"] == {
        "kind": "pairs",
        "value": pytest.approx(0.3),
        "deviation": None,
        "curve": [0.2, 0.4],
    }
    assert "a.mp3,louder,,,0.000,12.000,0.3" in predictions_csv([song])


def test_the_labels_of_an_example():
    assert _text([Judgement("a"), Judgement("b")]) == "2 judgements"
