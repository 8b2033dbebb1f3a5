import json
import re

import clips
import harness
import numpy as np
import pytest
import torch
from complaints import warns

from musicemo.errors import InputError
from musicemo.prediction import TrainedRun, evaluate_run


@pytest.mark.slow
@pytest.mark.parametrize("part", ["train", "val", "test"])
def test_the_runs_own_part_gives_its_own_results_exactly(run, part):
    assert evaluate_run(run, part=part).metrics() == run.results["metrics"][part]


def test_without_a_part_it_is_the_test_part(run):
    found = evaluate_run(run)
    assert (found.part, found.tracks, found.dataset) == ("test", 8, "clips")


@pytest.mark.slow
@pytest.mark.parametrize(
    "overrides",
    [
        ["training.bucket=true", "training.batch_size=5"],
        ['training.precision="bfloat16"'],
        ["scaling.method=minmax"],
        ["split.method=kfold", "split.fold=2"],
        ['model={type="cnn", channels=[2, 3], kernels=[3, 3]}'],
    ],
)
def test_results_come_out_again_whatever_the_run_was(trained, overrides):
    run = trained(*overrides)
    for part, metrics in run.results["metrics"].items():
        assert evaluate_run(run, part=part).metrics() == metrics


def test_a_dataset_that_has_moved_is_the_same_one(run):
    found = evaluate_run(run, overrides=['dataset.folder="there"'], part="test")
    assert found.metrics() == run.results["metrics"]["test"]


def test_a_dataset_that_has_changed_is_told(components, copied):
    path = copied / "experiment.toml"
    path.write_text(path.read_text().replace("tracks = 40", "tracks = 44"))
    with pytest.raises(InputError, match="the split differs from that of the run"):
        evaluate_run(TrainedRun.load(copied))


def test_another_split_is_not_the_runs(run):
    with pytest.raises(InputError, match="the split differs from that of the run"):
        evaluate_run(run, overrides=["split.seed=7"])


def test_of_another_dataset_it_is_every_labelled_track(run):
    found = evaluate_run(run, overrides=["dataset.first=100", "dataset.tracks=12"])
    assert (found.part, found.tracks) == ("all", 12)
    assert found.evaluation.tasks["valence"].ids == [f"clip{index}" for index in range(100, 112)]
    part = evaluate_run(run, overrides=["dataset.first=100"], part="val")
    assert (part.part, part.tracks) == ("val", 8)


def test_all_of_the_runs_own_dataset_tells_of_the_tracks_it_was_trained_on(run):
    with warns("24 of 40 tracks have the ids of training tracks of the run"):
        assert evaluate_run(run, part="all").tracks == 40


def test_tracks_that_were_trained_on_are_told_of_elsewhere_too(run):
    with warns("of 50 tracks have the ids of training tracks of the run"):
        evaluate_run(run, overrides=["dataset.tracks=50"])


def test_classes_that_the_run_does_not_know_are_left_out(run):
    overrides = ["dataset.first=100", 'dataset.classes=["folk", "techno", "jazz", "polka"]']
    with warns(r"20 tracks with classes .* ignored: polka \(10\), techno \(10\)"):
        found = evaluate_run(run, overrides=overrides).evaluation.tasks
    assert (len(found["genre"].ids), len(found["valence"].ids)) == (20, 40)
    assert found["genre"].classes == ("folk", "jazz", "rock")


def test_classes_may_be_merged_or_dropped_for_the_evaluation(run):
    overrides = ["dataset.first=100", 'dataset.classes=["folk", "techno", "jazz", "polka"]']
    overrides += ['tasks.genre.classes={techno="rock", polka=false}']
    found = evaluate_run(run, overrides=overrides).evaluation.tasks["genre"]
    assert len(found.ids) == 30


def test_a_task_without_any_known_class_is_left_out(run):
    overrides = ["dataset.first=100", 'dataset.classes=["polka", "techno"]']
    with warns("task 'genre' is left out: none of its classes is one of the run's"):
        assert list(evaluate_run(run, overrides=overrides).evaluation.tasks) == ["valence"]


def test_a_target_that_the_dataset_lacks_is_left_out(run):
    with warns("task 'genre' is left out: the dataset declares no target 'genre'"):
        found = evaluate_run(run, overrides=["dataset.first=100", 'dataset.targets="valence"'])
    assert list(found.metrics()) == ["valence"]


def test_a_target_of_another_kind_is_left_out(run):
    overrides = ["dataset.first=100", 'dataset.targets="swapped"', 'tasks.valence.target="genre"']
    with warns("'genre' is a regression target, and the run's is a classification"):
        assert list(evaluate_run(run, overrides=overrides).evaluation.tasks) == ["valence"]


def test_a_target_may_have_another_name_there(run):
    overrides = ["dataset.first=100", 'dataset.targets="mood"', 'tasks.valence.target="mood"']
    with warns("task 'genre'"):
        found = evaluate_run(run, overrides=overrides)
    same = evaluate_run(run, overrides=["dataset.first=100"])
    assert found.metrics()["valence"] == same.metrics()["valence"]


def test_no_target_at_all_is_an_error(run):
    overrides = ["dataset.first=100", 'dataset.targets="mood"']
    with (
        warns("is left out"),
        pytest.raises(InputError, match=r"has no target of the run's tasks \(valence, genre; targets: mood\)"),
    ):
        evaluate_run(run, overrides=overrides)


def test_ratings_of_another_range_are_predicted_in_that_range(run):
    own = evaluate_run(run, overrides=["dataset.first=100"]).evaluation.tasks["valence"]
    with warns(r"its range is \[1, 5\] in this dataset and \[1, 9\] in the run's"):
        found = evaluate_run(run, overrides=["dataset.first=100", "dataset.high=5.0"]).evaluation.tasks[
            "valence"
        ]
    np.testing.assert_allclose((found.prediction - 1) / 4, (own.prediction - 1) / 8, atol=1e-9)
    assert found.metrics()["spearman"] == own.metrics()["spearman"]


@pytest.mark.parametrize(
    ("override", "message"),
    [
        ('model.type="cnn"', "model of a trained run cannot be changed (tables: dataset, "),
        ("seed=3", "seed of a trained run cannot be changed"),
        ("scaling.method=none", "scaling of a trained run cannot be changed"),
        ("dataset.traks=3", "unknown key; did you mean 'tracks'?"),
        ('dataset.features="mel"', "was trained on 140 feature rows, 0 to 140; the dataset has 0 to 128"),
        (
            'dataset.sync="frame"',
            "was trained on the features {type = 'mel-chroma', grid = 'beat', hop = 512}; the dataset's are "
            "{type = 'mel-chroma', grid = 'frame', hop = 512}",
        ),
        ("dataset.hop=256", "hop = 512}; the dataset's are {type = 'mel-chroma', grid = 'beat', hop = 256}"),
    ],
)
def test_what_does_not_fit_the_run_is_refused(run, override, message):
    with pytest.raises(InputError, match=re.escape(message)):
        evaluate_run(run, overrides=[override])


def test_an_unknown_part_is_refused(run):
    with pytest.raises(InputError, match="--part tset: must be one of train, val, test, all"):
        evaluate_run(run, part="tset")


def test_an_empty_part_is_refused(trained):
    run = trained("split.test=0.0", 'split.method="random"')
    assert evaluate_run(run).part == "val"
    with pytest.raises(InputError, match="the test set is empty"):
        evaluate_run(run, part="test")


def test_a_split_by_a_task_that_is_left_out_is_told(trained):
    run = trained('split.stratify="genre"')
    overrides = ["dataset.first=100", 'dataset.targets="valence"']
    with (
        warns("left out"),
        pytest.raises(InputError, match="stratified by 'genre', which is left out"),
    ):
        evaluate_run(run, overrides=overrides, part="test")


def test_a_sanity_check_has_nothing_to_evaluate(components, tmp_path):
    (outcome,) = harness.run_all(tmp_path, "seed=0", text=clips.TEXT, overfit_batches=1)
    with pytest.raises(InputError, match="is an --overfit-batches check, not a trained run"):
        evaluate_run(TrainedRun.load(outcome.directory))


def test_a_run_without_a_split_file_can_be_evaluated(components, copied):
    (copied / "split.json").unlink()
    run = TrainedRun.load(copied)
    assert evaluate_run(run, part="all").tracks == 40
    assert evaluate_run(run).metrics() == json.loads((copied / "results.json").read_text())["metrics"]["test"]


def test_metrics_that_differ_from_the_recorded_ones_are_reported(components, copied):
    path = copied / "checkpoints" / "best.pt"
    state = torch.load(path, weights_only=True)
    state["network"]["heads.valence.0.weight"] += 1.0
    torch.save(state, path)
    with warns(r"differ from those in results\.json: valence .* \(recorded: .* have changed"):
        evaluate_run(TrainedRun.load(copied), part="test")
