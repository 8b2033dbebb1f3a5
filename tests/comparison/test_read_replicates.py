import numpy as np
import pytest
from complaints import warns
from recorded import CLASSES, classification, regression, truth, write_experiment, write_run

from musicemo.comparison import compare, read_replicates
from musicemo.errors import InputError
from musicemo.evaluation import TaskEvaluation


def test_seeds_are_replicates(tmp_path):
    folder = write_experiment(tmp_path, "a", {"valence": 1.0}, seeds=[2, 0, 1])
    found = read_replicates(folder)
    assert (found.name, found.part, found.seeds, found.folds) == ("a", "test", [0, 1, 2], [])
    assert [path.name[-5:] for path in found.directories] == ["seed0", "seed1", "seed2"]
    assert found.hashes == ["aaaa"]


def test_what_was_written_is_read(tmp_path):
    tasks = {"valence": regression(truth(9), 1.0, 0), "genre": classification(9, 0.5, 0)}
    found = read_replicates(write_run(tmp_path, "a", tasks), name="mine")
    assert (found.name, found.seeds) == ("mine", [0])
    assert np.array_equal(found.tasks["valence"].prediction, tasks["valence"].prediction)
    assert found.tasks["genre"].classes == CLASSES
    assert np.array_equal(found.tasks["genre"].target, tasks["genre"].target)
    assert found.tasks["genre"].metrics() == tasks["genre"].metrics()


def folds(runs, seed: int, *some: int):
    for fold in some:
        target = truth(20, fold)
        task = regression(target, 1.0, seed, first=20 * (1 - fold))
        write_run(runs, "a", {"valence": task}, seed=seed, fold=fold, part_hash=f"hash{fold}")


def test_folds_are_one_part(tmp_path):
    folds(tmp_path, 0, 0, 1)
    folds(tmp_path, 1, 0, 1)
    found = read_replicates(tmp_path / "a")
    assert (found.seeds, found.folds, found.hashes) == ([0, 1], [0, 1], ["hash0", "hash1"])
    whole = found.tasks["valence"]
    assert list(whole.ids) == sorted(whole.ids)
    expected = np.concatenate([truth(20, 1), truth(20, 0)])  # the second fold has the first tracks
    assert np.array_equal(whole.target, expected)
    assert found.per_seed[0].folds[1].tasks["valence"].ids[0] == "track0000"


def test_a_seed_without_all_folds_is_left_out(tmp_path):
    folds(tmp_path, 0, 0, 1)
    folds(tmp_path, 1, 1)
    with warns("left out, for folds that are missing: seed 1"):
        assert read_replicates(tmp_path / "a").seeds == [0]


def test_no_seed_has_all_folds(tmp_path):
    folds(tmp_path, 0, 0)
    folds(tmp_path, 1, 1)
    with pytest.raises(InputError, match="a: no seed has all of the folds 0, 1"):
        read_replicates(tmp_path / "a")


def test_repeated_folds_are_replicates(tmp_path):
    targets = truth(40, 0)
    for fold in range(4):
        tested = np.arange(40) % 4 < 2 if fold < 2 else np.arange(40) < 20
        places = np.flatnonzero(tested if fold % 2 == 0 else ~tested)
        task = TaskEvaluation(
            "regression", [f"t{place:02}" for place in places], targets[places], targets[places] + fold, ()
        )
        write_run(tmp_path, "a", {"valence": task}, fold=fold, folds=2, part_hash=f"hash{fold}")
    read = read_replicates(tmp_path / "a")
    assert (read.seeds, read.folds, read.repeats) == ([0, 0], [0, 1], 2)
    assert read.hashes == [f"hash{fold}" for fold in range(4)]
    for one in read.per_seed:
        assert np.array_equal(one.evaluation.tasks["valence"].target, targets)
    assert len(read.tested("valence")) == 4
    comparison = compare([read])
    assert len(comparison.rows[0].scores[0].values) == 2
    assert comparison.rows[0].scores[0].folds == pytest.approx([1.0] * 4)


def test_one_value_per_fold_has_no_correlation(tmp_path):
    """The mean of the other folds correlates with the ratings at -1 over two folds, by construction."""
    targets = np.concatenate([np.linspace(0, 0.5, 20), np.linspace(0.5, 1, 20)])
    for fold in (0, 1):
        places = np.arange(20) + 20 * fold
        others = np.setdiff1d(np.arange(40), places)
        constant = np.full(20, targets[others].mean())
        task = TaskEvaluation("regression", [f"t{place:02}" for place in places], targets[places], constant, ())
        write_run(tmp_path, "a", {"valence": task}, fold=fold, folds=2, part_hash=str(fold))
    task = read_replicates(tmp_path / "a").tasks["valence"]
    assert task.metric("spearman") == 0.0
    assert task.metric("r2") == pytest.approx(0.0)


def test_some_folds_alone(tmp_path):
    for fold in (0, 1):
        task = regression(truth(20, fold), 1.0, 0, first=20 * fold)
        write_run(tmp_path, "a", {"valence": task}, fold=fold, folds=5, part_hash=str(fold))
    with warns("2 of 5 folds"):
        assert read_replicates(tmp_path / "a").folds == [0, 1]


def test_classes_of_folds_are_joined(tmp_path):
    for fold, classes in enumerate([("folk", "pop"), ("folk", "jazz", "pop")]):
        ids = [f"t{fold}{index}" for index in range(len(classes))]
        places = np.arange(len(classes))
        task = TaskEvaluation("classification", ids, places, places, classes)
        write_run(tmp_path, "a", {"genre": task}, fold=fold, part_hash=str(fold))
    genre = read_replicates(tmp_path / "a").tasks["genre"]
    assert [genre.classes[index] for index in genre.target] == ["folk", "pop", "folk", "jazz", "pop"]
    assert genre.metrics()["accuracy"] == 1


def test_seeds_of_different_parts_are_no_replicates(tmp_path):
    task = {"valence": regression(truth(9), 1.0, 0)}
    paths = [write_run(tmp_path, "a", task, seed=seed, part_hash=str(seed)) for seed in (0, 1)]
    with pytest.raises(InputError, match=r"seed1: its test part is not that of .*seed0"):
        read_replicates(paths)


@pytest.mark.parametrize(("fold", "told"), [(None, "seed 3, and"), (1, "seed 3 and fold 1, and")])
def test_two_runs_of_one_seed_are_not_one_replicate(fold, told, tmp_path):
    task = {"valence": regression(truth(9), 1.0, 0)}
    paths = [write_run(tmp_path, name, task, seed=3, fold=fold) for name in "ab"]
    with pytest.raises(
        InputError, match=rf"^{paths[0]} and {paths[1]}: both are of {told} a replicate is one run"
    ):
        read_replicates(paths)


@pytest.mark.parametrize(
    ("how", "message"),
    [
        ({"status": "failed"}, "status 'failed'"),
        ({"part": "val"}, r"has no test part \(parts: val\)"),
        ({"overfit_batches": 1}, "not a trained run"),
        ({"split": None}, "results.json: split.test: is missing"),
    ],
)
def test_runs_that_cannot_be_compared(tmp_path, how, message):
    path = write_run(tmp_path, "a", {"valence": regression(truth(9), 1.0, 0)}, **how)
    with pytest.raises(InputError, match=message):
        read_replicates(path)


@pytest.mark.parametrize(
    ("damage", "message"),
    [
        ("", "has 0 of the 9 test predictions of 'valence'"),
        ("track,part,task,target,prediction\na,test,valence,x,y\n", "cannot be read"),
        ("a,b\n1,2\n", "cannot be read"),
    ],
)
def test_damaged_predictions(tmp_path, damage, message):
    path = write_run(tmp_path, "a", {"valence": regression(truth(9), 1.0, 0)})
    (path / "predictions.csv").write_text(damage)
    with pytest.raises(InputError, match=rf"predictions\.csv: {message}"):
        read_replicates(path)
