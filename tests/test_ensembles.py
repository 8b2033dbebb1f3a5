"""Ensembles: the mean predictions of finished runs."""

from __future__ import annotations

import fakes as fakes_module
import numpy as np
import pytest
from musicemo_builtin.models.ridge import Ridge

import musicemo
from musicemo.comparison import compare, read_replicates
from musicemo.components.hooks import Hooks
from musicemo.errors import InputError
from musicemo.evaluation import Evaluation, TaskEvaluation, average_evaluations
from musicemo.experiment import load_experiments
from musicemo.hookspecs import hookimpl
from musicemo.prediction import find_runs
from musicemo.reporting import make_report
from musicemo.reporting.html import render
from musicemo.runs import open_replicates, open_run

pytestmark = pytest.mark.usefixtures("fakes", "one_thread")

SMALL = fakes_module.EXPERIMENT.replace("seed = 0", "seeds = [0, 1]").replace("epochs = 3", "epochs = 2")
SMALL += """
[split]
method = "kfold"
folds = 2

[evaluation]
resamples = 100
"""
MATRIX = """
[matrix.model]
narrow.model.hidden = 4
wide.model.hidden = 8
"""
RIDGE = (
    SMALL.replace("seeds = [0, 1]", "seed = 5")
    .replace('"small"', '"ridge"')
    .replace('type = "means"', 'type = "ridge"')
)


@pytest.fixture
def write(tmp_path):
    def write(text: str, name: str = "small.toml"):
        path = tmp_path / name
        path.write_text(text)
        return path

    return write


def run(path, runs, **how):
    return musicemo.run(path, runs, jobs=1, **{"hooks": Hooks(), **how})


def members_of(folder):
    """Return the directory and the weight of each member of each replicate of an ensemble."""
    return [
        [(folder.parent / one["run"], one["weight"]) for one in record.results["ensemble"]["members"]]
        for record in open_replicates(folder)
    ]


def names(path, *overrides, only=()):
    return [
        (one.ensemble.name, dict(one.ensemble.members), one.ensemble.over_seeds)
        for one in load_experiments(path, overrides, only)
    ]


@pytest.mark.slow
def test_the_mean_over_seeds_variants_and_folds(write, tmp_path):
    calls = []

    class Watcher:
        @hookimpl
        def musicemo_ensemble_finished(self, directory, results):
            calls.append((directory, results["status"]))

    hooks = Hooks()
    hooks.register(Watcher(), "watcher")
    path, runs = write(SMALL + MATRIX + "[ensemble]\nweights = { small-wide = 3 }"), tmp_path / "runs"
    results = run(path, runs, hooks=hooks)
    folder = runs / "small-ensemble"
    records = open_replicates(folder)
    assert (results.total, len(results), [one.fold for one in records]) == (10, 10, [0, 1])
    assert calls == [(record.directory, "done") for record in records]
    for record, members in zip(records, members_of(folder), strict=True):
        assert [weight for _, weight in members] == [0.5, 0.5, 1.5, 1.5]
        every = [open_run(path) for path, _ in members]
        assert {one.fold for one in every} == {record.fold}
        trained = set().union(*(one.split["train"] + one.split["val"] for one in every))
        ratings = record.evaluations["test"].tasks["valence"]
        assert len(ratings.ids) == 30
        assert not trained & set(ratings.ids)
        expected = np.average(
            [one.evaluations["test"].tasks["valence"].prediction for one in every],
            axis=0,
            weights=[1, 1, 3, 3],
        )
        np.testing.assert_allclose(ratings.prediction, expected, rtol=1e-12)
        probabilities = [
            one.evaluations_with_probabilities["test"].tasks["genre"].probabilities for one in every
        ]
        mean = np.average(probabilities, axis=0, weights=[1, 1, 3, 3])
        np.testing.assert_array_equal(record.evaluations["test"].tasks["genre"].prediction, mean.argmax(axis=1))
        np.testing.assert_allclose(mean.sum(axis=1), 1)
    together = read_replicates(folder).per_seed[0].evaluation.tasks["valence"]
    assert len(set(together.ids)) == 60  # each track once, out of fold
    rows = compare([read_replicates(runs / name) for name in ("small-wide", "small-ensemble")]).rows
    assert {score.experiment for score in rows[0].scores} == {"small-wide", "small-ensemble"}
    text = render(make_report(folder), folder)
    assert "Members of the ensemble" in text
    assert "is missing" not in text

    assert [one.skipped for one in run(path, runs)] == [True] * 10
    record = open_run(run(records[1].directory / "experiment.toml", runs)[-1].directory)  # its file repeats it
    assert record.directory == records[1].directory
    with pytest.raises(InputError, match="is the mean of 4 runs and has no network of its own"):
        find_runs(folder)


@pytest.mark.slow
def test_networks_and_estimators_of_several_files(write, tmp_path, install):
    install("model", "ridge", Ridge)
    write(SMALL + "[ensemble]")
    write(RIDGE, "ridge.toml")
    path = write(
        '[ensemble]\nmembers = ["ridge.toml", "small.toml"]\n[evaluation]\nresamples = 101', "both.toml"
    )
    runs = tmp_path / "runs"
    assert run(path, runs).total == 2 + 4 + 2
    first, second = members_of(runs / "both")
    assert [weight for _, weight in first] == [1, 0.5, 0.5]
    assert [path.parent.name for path, _ in second] == ["ridge", "small", "small"]
    record = open_replicates(runs / "both")[0]
    assert set(record.metrics) == {"test"}  # the estimator has no validation set
    assert record.experiment["evaluation"]["resamples"] == 101
    assert "model" not in record.experiment

    results = run(path, runs, check=False)
    assert results.skipped == results.total
    write(RIDGE.replace("folds = 2", "folds = 2\nseed = 3").replace('"ridge"', '"other"', 1), "ridge.toml")
    results = run(path, runs, check=False)
    assert [str(one) for one, _ in results.failures] == [f"both, seed 5, fold {fold}" for fold in (0, 1)]
    assert "different test sets (other and small)" in str(results.failures[0][1])


@pytest.mark.slow
def test_an_ensemble_needs_all_of_its_members(write, tmp_path):
    path = write(SMALL + MATRIX + "wide.dataset.nan_track = 7\n[ensemble]")
    results = run(path, tmp_path / "runs", check=False)
    text = str(results.failures[-1][1])
    assert "is not computed: 2 of 4 runs of its members failed, for example small-wide, seed 0, fold 1" in text
    assert not (tmp_path / "runs" / "small-ensemble").exists()


def test_over_selects_what_is_averaged(write):
    text = SMALL + '[matrix]\n"training.batch_size" = [8, 16]\n' + MATRIX.replace("[matrix]\n", "")
    both = {"small-batch_size8-narrow": 1, "small-batch_size8-wide": 1}
    assert names(write(text + "[ensemble]"))[0][0] == "small-ensemble"
    first, *_ = names(write(text + '[ensemble]\nover = ["model"]'))
    assert first == ("small-batch_size8-ensemble", both, False)
    first, *_ = names(write(text + '[ensemble]\nover = ["seed"]'))
    assert first == ("small-batch_size8-narrow-ensemble", {"small-batch_size8-narrow": 1}, True)
    (only,) = names(write(text + "[ensemble]"), only=["model=wide", "batch_size=8"])
    assert len(only[1]) == 4  # so that it is not computed from some of its members


@pytest.mark.parametrize(
    ("text", "problem"),
    [
        (SMALL + "[ensemble]\nover = ['seeds']", r"unknown axis 'seeds'; did you mean 'seed'\? \(axes: seed\)"),
        (
            SMALL + "[ensemble]\nweights = { smal = 2 }",
            "'smal' is not the name of a member; did you mean 'small'",
        ),
        (SMALL + "[ensemble]\nweights = { small = 0 }", "greater than 0"),
        (SMALL.replace("[0, 1]", "[0]") + "[ensemble]", "small-ensemble would have one run"),
        (SMALL + "[ensemble]\nmembers = ['no.toml']", "there is no file .*no.toml"),
        (SMALL + "[ensemble]\nmembers = ['small.toml']", "is an ensemble of files itself"),
        (SMALL + MATRIX + "[matrix.ensemble]\na.ensemble.over = ['seed']", "cannot be varied"),
    ],
)
def test_what_is_wrong_with_the_table(text, problem, write):
    with pytest.raises(InputError, match=problem):
        load_experiments(write(text))


def test_members_must_have_names_of_their_own_and_the_same_tasks(write, tmp_path):
    write(SMALL, "one.toml")
    write(SMALL.replace("epochs = 2", "epochs = 3"), "two.toml")
    with pytest.raises(InputError, match="several members have the name 'small'"):
        load_experiments(write('[ensemble]\nmembers = ["one.toml", "two.toml"]', "both.toml"))
    write('extends = "one.toml"\nname = "two"\n[tasks.energy]', "two.toml")
    with pytest.raises(InputError, match="the members must have the same tasks, not genre, valence"):
        run(tmp_path / "both.toml", tmp_path / "runs")


def evaluation(kind, ids, target, **more):
    return Evaluation({"task": TaskEvaluation(kind, ids, np.array(target), **more)})


def test_means_of_each_kind_of_target():
    ids = ["a", "b"]
    one = evaluation("regression", ids, [1.0, 2.0], prediction=np.array([0.0, 4.0]))
    two = evaluation("regression", ids[::-1], [2.0, 1.0], prediction=np.array([8.0, 4.0]))
    mean = average_evaluations([one, two], [3, 1]).tasks["task"]
    assert (list(mean.ids), mean.prediction.tolist()) == (ids, [1.0, 5.0])

    shares = [np.array([[0.6, 0.4], [0.5, 0.5]]), np.array([[0.1, 0.9], [0.8, 0.2]])]
    classes = [
        evaluation(
            "classification", ids, [0, 1], prediction=one.argmax(1), classes=("x", "y"), probabilities=one
        )
        for one in shares
    ]
    mean = average_evaluations(classes, [1, 1]).tasks["task"]
    assert mean.prediction.tolist() == [1, 0]
    np.testing.assert_allclose(mean.probabilities, (shares[0] + shares[1]) / 2)

    tags = [
        Evaluation(
            {"task": TaskEvaluation.of_tags(ids, np.array([[1.0, np.nan], [0.0, 1.0]]), one, ("x", "y"))}
        )
        for one in shares
    ]
    mean = average_evaluations(tags, [1, 3]).tasks["task"]
    np.testing.assert_allclose(mean.probabilities, [[0.225, 0.775], [0.725, 0.275]])
    assert mean.prediction.tolist() == [[False, True], [True, False]]

    pairs = [
        evaluation("pairs", ["a|b"], [[2, 1]], prediction=np.array([[value, 0.0]])) for value in (1.0, 3.0)
    ]
    assert average_evaluations(pairs, [1, 1]).tasks["task"].prediction.tolist() == [[2.0, 0.0]]

    curves = [
        Evaluation(
            {
                "task": TaskEvaluation.of_series(
                    ids,
                    [np.arange(2.0), np.arange(1.0)],
                    [np.ones(2), np.ones(1)],
                    [np.full(2, value), np.zeros(1)],
                )
            }
        )
        for value in (1.0, 2.0)
    ]
    mean = average_evaluations(curves, [1, 1]).tasks["task"]
    assert [row.tolist() for row in mean.rows("prediction")] == [[1.5, 1.5], [0.0]]


@pytest.mark.parametrize(
    ("ids", "target", "problem"),
    [(["a", "c"], [1.0, 2.0], "on other tracks"), (["a", "b"], [1.0, 2.5], "other labels")],
)
def test_models_of_other_tracks_and_labels_are_not_averaged(ids, target, problem):
    one = evaluation("regression", ["a", "b"], [1.0, 2.0], prediction=np.zeros(2))
    with pytest.raises(InputError, match=problem):
        average_evaluations([one, evaluation("regression", ids, target, prediction=np.zeros(2))], [1, 1])


def test_a_run_without_probabilities_is_refused(write, tmp_path):
    path = write(SMALL.replace("folds = 2", "folds = 2\nfold = 0").replace("[0, 1]", "[0]"))
    (outcome,) = run(path, tmp_path / "runs")
    file = outcome.directory / "probabilities.csv"
    text = file.read_text()
    for damaged, problem in (
        (text.replace("0.", "7.", 1), "line 2: .* is not an object of probabilities"),
        (text.replace("folk", "fulk"), "does not have a probability of every class"),
        (text[: text.index("\n") + 1], "has no row of track"),
    ):
        file.write_text(damaged)
        with pytest.raises(InputError, match=problem):
            _ = open_run(outcome.directory).evaluations_with_probabilities
    file.unlink()
    with pytest.raises(InputError, match=r"probabilities.csv: is missing: an earlier version"):
        _ = open_run(outcome.directory).evaluations_with_probabilities
