"""Files with a search: the trials of its space, and what is wrong with a search."""

import itertools
import math
import re
import tomllib

import pytest
from fakes import EXPERIMENT, MeanModel
from faults import problems

from musicemo import toml
from musicemo.experiment import load_experiment, load_experiments
from musicemo.experiment.search import Choice, lay_overrides, score, trial_hash

pytestmark = pytest.mark.usefixtures("fakes")

SEARCH = """
[search]
trials = 10

[search.space]
"training.optimizer.lr" = { low = 1e-4, high = 1e-2, log = true }
"training.batch_size" = [8, 16]

[search.space."model.type"]
means = { "model.hidden" = { low = 4, high = 12, step = 4 } }
wide = { "model.width" = [1, 2], "training.epochs" = 3 }
"""


class Wide(MeanModel):
    """A model with another parameter."""

    def __init__(self, *, input_size: int, width: int = 1) -> None:
        super().__init__(input_size=input_size, hidden=8 * width)


@pytest.fixture
def write(tmp_path, fakes):
    fakes("model", "wide", Wide)

    def write(search: str = SEARCH, text: str = EXPERIMENT):
        path = tmp_path / "e.toml"
        path.write_text(text + search)
        return path

    return write


def chooser(**values):
    """Return a chooser of the values whose parameters begin with a name, otherwise of the first probe."""

    def choose(parameter):
        last = parameter.key.rpartition(".")[2]
        return values.get(last, parameter.probes[0])

    return choose


def test_a_trial_has_the_keys_of_its_choices_only(write):
    search = load_experiment(write()).search
    overrides, values = search.choose(chooser(type="wide", width="2", batch_size="16", lr=0.00123456))
    assert overrides == {
        "training.optimizer.lr": 0.001235,
        "training.batch_size": 16,
        "model.type": "wide",
        "model.width": 2,
        "training.epochs": 3,
    }
    assert list(values)[3:] == ["model.width (model.type = wide)", "training.epochs (model.type = wide)"]
    overrides, _ = search.choose(chooser(type="means", hidden=12))
    assert overrides["model.hidden"] == 12
    assert "training.epochs" not in overrides
    assert "model.width" not in overrides


def test_overrides_are_laid_over_the_experiment(write):
    experiment = load_experiment(write())
    overrides, _ = experiment.search.choose(chooser(type="wide", width="2"))
    tables = lay_overrides(experiment.source, overrides, experiment.search.places).table
    assert tables["model"] == {"type": "wide", "width": 2}
    assert tables["training"]["optimizer"]["lr"] == 1e-4
    assert tables["training"]["epochs"] == 3


def test_every_choice_and_both_ends_of_a_range_are_validated(write):
    probes = list(load_experiment(write()).search.probes())
    values = {key: {probe[key] for probe in probes if key in probe} for probe in probes for key in probe}
    assert values == {
        "training.optimizer.lr": {1e-4, 1e-2},
        "training.batch_size": {8, 16},
        "model.type": {"means", "wide"},
        "model.hidden": {4, 12},
        "model.width": {1, 2},
        "training.epochs": {3},
    }


def test_a_grid_has_every_combination_once(write):
    text = SEARCH.replace("{ low = 1e-4, high = 1e-2, log = true }", "{ low = 0.1, high = 0.3, step = 0.1 }")
    experiment = load_experiment(write(text), ["search.sampler=grid", "search.trials=100"])
    search = experiment.search
    trials = [
        search.choose(lambda parameter, values=values: values[parameter.name])[0]
        for values in search.combinations()
    ]
    assert search.trials == len(trials) == 3 * 2 * (3 + 2)
    assert len({trial_hash(overrides) for overrides in trials}) == len(trials)
    assert {overrides["training.optimizer.lr"] for overrides in trials} == {0.1, 0.2, 0.3}
    pairs = {(one["model.type"], one.get("model.hidden"), one.get("model.width")) for one in trials}
    assert pairs == {
        *itertools.product(["means"], [4, 8, 12], [None]),
        *itertools.product(["wide"], [None], [1, 2]),
    }
    assert load_experiment(write(text), ["search.sampler=grid", "search.trials=7"]).search.trials == 7
    without = text.replace("trials = 10\n", "")
    assert load_experiment(write(without), ["search.sampler=grid"]).search.trials == 30
    assert load_experiment(write(without)).search.trials == 50


def test_values_may_be_of_any_type(write):
    space = '"training.optimizer.betas" = [[0.9, 0.99], [0.8, 0.9]]\n"training.early_stopping" = [{ patience = 2 }]\n'
    search = load_experiment(write(f"[search.space]\n{space}")).search
    overrides, _ = search.choose(chooser())
    assert overrides == {"training.optimizer.betas": [0.9, 0.99], "training.early_stopping": {"patience": 2}}
    assert all(isinstance(one, Choice) for one in search.parameters)


def test_a_key_that_only_the_space_has_need_not_be_in_the_file(write):
    text = EXPERIMENT.replace('type = "means"', "")
    assert text != EXPERIMENT
    experiment = load_experiment(write(text=text))
    assert experiment.model.name == "means"
    assert experiment.model.parameters["hidden"] == 4


def test_the_resolved_form_is_the_same_search(write, tmp_path):
    experiment = load_experiment(write())
    text = toml.write(experiment.resolved(), experiment.source)
    assert tomllib.loads(text)["search"]["space"]["training.batch_size"] == [8, 16]
    (tmp_path / "again.toml").write_text(text)
    assert load_experiment(tmp_path / "again.toml").search.settings == experiment.search.settings
    assert "search" not in experiment.resolved(seed=0)


def test_variants_of_a_matrix_have_searches_of_their_own(write):
    matrix = '\n[matrix]\n"dataset.classes" = [2, 3]\n'
    found = load_experiments(write(SEARCH + matrix))
    assert [one.name for one in found] == ["small-classes2", "small-classes3"]
    assert all(one.search.settings.trials == 10 for one in found)


LR = 'search.space."training.optimizer.lr"'


@pytest.mark.parametrize(
    ("override", "expected"),
    [
        ("search.space.seed=[1, 2]", r"search.space.seed: cannot be searched: the best of many seeds is luck"),
        (
            "search.space.seeds=[1, 2]",
            r"search.space.seeds: cannot be searched: the best of many seeds is luck",
        ),
        (
            'search.space."split.seed"=[1]',
            r"cannot be searched: trials are compared on the same validation set",
        ),
        ('search.space."launcher.jobs"=[1]', r"search.space.launcher.jobs: cannot be searched: it does not"),
        ('search.space."model.hiden"=[1]', r"model.hiden: unknown key; did you mean 'hidden'\?"),
        (
            'search.space."model.type".means."model.hidden"=[0]',
            r"model.hidden: input should be greater than 0, not 0",
        ),
        (
            'search.space."model.type".mean={}',
            r"model.type: no model has the name 'mean'; did you mean 'means'",
        ),
        ('search.space."model.type".means."model.hiden"=1', r"model.hiden: unknown key; did you mean 'hidden'"),
        (
            f"{LR}.low=3",
            r"e.toml:\d+: search.space.training.optimizer.lr: low must be below high, not 3 and 0.01",
        ),
        (f"{LR}.low=0", r"a logarithmic range must begin above 0, not at 0"),
        (f"{LR}.step=0.1", r"log and step cannot both be set"),
        (f"{LR}.hihg=1", r"lr.hihg: unknown key; did you mean 'high'\? \(allowed: high, log, low, step\)"),
        (
            'search.space."model.hidden"={low=1,high=4,step=0.5}',
            r"step of a range of integers must be an integer",
        ),
        ('search.space."training.batch_size"=8', r"must be a list of values, a range .* not 8"),
        ('search.space."training.batch_size"=[]', r"must be a list of values, a range"),
        ('search.space."training.batch_size"=[8, 8]', r"batch_size\[1\]: 8 is given twice"),
        ('search.space."model.hidden"=[4]', r"search.space.model.hidden: model.hidden is given twice"),
        ("search.space.training={batch_size=[8]}", r'in quotes: "training.batch_size" = ...'),
        ("search.metric=val/valenc/loss", r"unknown quantity .*; did you mean 'val/valence/loss'"),
        ("search.metric=test/valence/ccc", r"is of the test set, which is evaluated once"),
        ("search.metric=train/loss", r"is of the training set"),
        (
            "search.direction=min",
            r"'min' does not fit val/mean_rank, of which higher values are better. Use 'max'",
        ),
        (
            "search.sampler=grid",
            r"e.toml:\d+: search.space.training.optimizer.lr: a grid needs a list of values",
        ),
        ("search.sampler=tpee", r"search.sampler: input should be 'tpe', 'random', 'grid' or 'gp'"),
        ("search.trails=3", r"search.trails: unknown key; did you mean 'trials'\?"),
        ("search=3", r"search: must be a table, not 3"),
    ],
)
def test_a_wrong_search_is_refused_with_its_place_and_key(write, override, expected):
    found = problems(write(), override)
    assert any(re.search(expected, problem) for problem in found), found


def test_the_value_of_an_epoch_is_the_mean_of_the_tasks_main_metrics():
    record = {"val/a/spearman": 0.5, "val/b/accuracy": 0.25, "val/loss": 3.0}
    kinds = {"a": "regression", "b": "classification"}
    assert score("val/mean_rank", record, kinds) == 0.375
    assert score("val/loss", record, kinds) == 3.0
    assert math.isnan(score("val/mean_rank", record, {**kinds, "c": "tags"}))
