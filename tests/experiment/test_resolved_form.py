"""The resolved form of an experiment, its fingerprint and its replicates."""

import tomllib
from enum import Enum
from pathlib import Path

import pytest
from pydantic import BaseModel

from musicemo import toml
from musicemo.components import registry
from musicemo.components.spec import Component, make_component, table_schema
from musicemo.contracts import PROVIDED
from musicemo.experiment import load_experiment, load_experiments
from musicemo.runs.identity import hash_settings

ROOT = Path(__file__).parents[2]


class Norm(Enum):
    L1 = "l1"
    L2 = "l2"


class Inner(BaseModel):
    size: int = 1
    name: str | None = None


class Rich:
    """A model with every kind of parameter that TOML can write."""

    def __init__(
        self,
        *,
        input_size: int,
        norm: Norm = Norm.L2,
        inner: Inner = Inner(),  # noqa: B008  # frozen in use
        kernels: tuple[int, ...] = (5, 3),
        names: frozenset[str] = frozenset(),
        limit: float = float("inf"),
        shape: list[list[int]] | None = None,
        file: Path | None = None,
    ) -> None:
        pass


def read_again(component: Component) -> Component:
    """Return the component of the table that a run would hold, from its text."""
    table = tomllib.loads(toml.write({"table": component.to_table()}))["table"]
    assert table.pop("type") == component.name
    return make_component(component.kind, component.name, component.factory, table)


@pytest.mark.parametrize(
    ("kind", "name"), [(kind, claim.name) for kind in PROVIDED for claim in registry.claims(kind)]
)
def test_the_defaults_of_every_component_read_back_equal(kind, name):
    factory = registry.load(kind, name)
    schema = table_schema(factory, kind)
    required = {
        key: [{"type": "ridge"}] if key == "members" else 8000 if field.annotation in (int, float) else "x"
        for key, field in schema.model_fields.items()
        if field.is_required()
    }
    component = make_component(kind, name, factory, required)
    again = read_again(component)
    assert repr(again.parameters) == repr(component.parameters)


@pytest.mark.slow
@pytest.mark.parametrize("file", sorted(ROOT.glob("experiments/**/*.toml")), ids=lambda file: file.name)
def test_every_experiment_reads_back_equal(file, tmp_path):
    first, *_, last = 2 * load_experiments(file)
    for number, experiment in enumerate((first, last)):
        if experiment.code:
            continue  # a run holds it under another name
        again = tmp_path / f"{number}.toml"
        again.write_text(toml.write(experiment.resolved(), experiment.source))
        assert load_experiment(again).resolved() == experiment.resolved()


def replicates(experiment):
    return [(one.seed, one.fold) for one in experiment.replicates()]


def reload(write, text: str):
    return load_experiment(write(text, "runs/experiment.toml"))


@pytest.mark.slow
@pytest.mark.usefixtures("fakes")
@pytest.mark.parametrize(
    "overrides",
    [
        [],
        ["seeds=[3, 4]", 'description="a\nb"', "split.method=kfold", "split.grouped=true"],
        ["tasks.genre.classes={ jazz = 'folk', 'pop' = false }", "dataset.classes=6", "seed=7"],
        ["tasks.valence.loss=[{ type = 'mse', weight = 2 }, { type = 'squared-error', weight = 0.5 }]"],
        ["head.hidden=[]", "tasks.valence.head.output=sigmoid", "tasks.genre.target=genre"],
        ["training.schedule={ type = 'cosine', warmup = 2 }", "training.clip_gradient_norm=1.5"],
        ["training.early_stopping.patience=false", "training.optimizer={ type = 'sgd', momentum = 0 }"],
        ["model={ type = 'rich' }"],
        [
            "model={ type = 'rich', norm = 'l1', inner = { size = 3, name = 'x' }, kernels = [1], names = ['b', 'a'] }"
        ],
        ["model={ type = 'rich', limit = 3, shape = [[1], []], file = 'a/b' }"],
    ],
)
def test_the_resolved_form_reads_back_as_itself(write, fakes, overrides):
    fakes("model", "rich", Rich)
    found = load_experiment(write(), overrides)
    for seed, fold in [(None, None), *replicates(found)]:
        resolved = found.resolved(seed, fold)
        assert tomllib.loads(toml.write(resolved)) == resolved
        again = reload(write, toml.write(resolved))
        assert again.resolved(None if seed is None else seed, fold) == resolved
        assert hash_settings(again.resolved(seed, fold)) == hash_settings(resolved)
        assert replicates(again) == ([(seed, fold)] if seed is not None else replicates(found))
        annotated = reload(write, toml.write(resolved, found.source))
        assert annotated.resolved(seed, fold) == resolved


@pytest.mark.usefixtures("fakes")
def test_the_resolved_form_is_complete(write):
    resolved = load_experiment(write()).resolved(0)
    assert list(resolved) == [
        *(
            "name",
            "seed",
            "dataset",
            "split",
            "scaling",
            "model",
            "sharing",
            "weighting",
            "training",
            "evaluation",
            "tasks",
        )
    ]
    assert resolved["dataset"] == {"type": "memory", "tracks": 60, "classes": 3, "seed": 0, "missing": 0.0}
    assert resolved["training"]["optimizer"] == {
        **{"type": "adam", "lr": 0.01, "weight_decay": 0.0, "decay": "all", "betas": [0.9, 0.999]}
    }
    assert resolved["tasks"]["valence"] == {
        "classes": {},
        "loss": [{"type": "squared-error", "weight": 1.0}],
        "head": {"hidden": [50], "dropout": 0.2, "output": "linear"},
    }


@pytest.mark.usefixtures("fakes")
def test_fingerprint_ignores_what_does_not_change_the_outcome(write):
    same = ["training.device=cuda", "training.cache=disk", "description=other words"]
    base = hash_settings(load_experiment(write()).resolved(0))
    for override in same:
        assert hash_settings(load_experiment(write(), [override]).resolved(0)) == base


def leaves(table: dict, key: tuple = ()):
    for name, value in table.items():
        if isinstance(value, dict) and value:
            yield from leaves(value, (*key, name))
        else:
            yield (*key, name)


@pytest.mark.usefixtures("fakes")
def test_fingerprint_ignores_nothing_else(write):
    resolved = load_experiment(write(), ["description=x"]).resolved(0)
    training = {("training", key) for key in ("device", "cache", "processes")}
    base, ignored = hash_settings(resolved), {*training, ("description",)}
    for key in leaves(resolved):
        changed = tomllib.loads(toml.write(resolved))
        table = changed
        for part in key[:-1]:
            table = table[part]
        table[key[-1]] = "something else"
        assert (hash_settings(changed) == base) == (key in ignored), key


@pytest.mark.usefixtures("fakes")
def test_fingerprint_does_not_depend_on_the_order_of_keys(write):
    resolved = load_experiment(write()).resolved(0)
    assert hash_settings(dict(reversed(resolved.items()))) == hash_settings(resolved)


@pytest.mark.usefixtures("fakes")
@pytest.mark.parametrize(
    ("overrides", "expected"),
    [
        ([], [(0, None)]),
        (["seeds=[3, 1]"], [(3, None), (1, None)]),
        (["split.method=kfold", "split.folds=3"], [(0, 0), (0, 1), (0, 2)]),
        (["split.method=kfold", "split.folds=3", "split.fold=2"], [(0, 2)]),
        (["split.method=kfold", "split.folds=2", "seeds=[5, 6]"], [(5, 0), (5, 1), (6, 0), (6, 1)]),
        (["split.folds=3"], [(0, None)]),
    ],
)
def test_replicates_are_seeds_times_folds(write, overrides, expected):
    assert replicates(load_experiment(write(), overrides)) == expected
