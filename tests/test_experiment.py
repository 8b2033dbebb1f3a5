import tomllib
from enum import Enum
from pathlib import Path
from typing import Annotated

import pytest
from fakes import EXPERIMENT, MemoryDataset, SquaredError
from pydantic import BaseModel, Field

from musicemo import _toml
from musicemo.data import Task
from musicemo.errors import InputError, RunError
from musicemo.experiment import fingerprint, load_experiment

pytestmark = pytest.mark.usefixtures("fakes")


class Files:
    """A dataset of files, for paths."""

    def __init__(
        self,
        *,
        root: Path,
        cache: Path = Path("cache"),
        extra: Path | None = None,
        more: list[Path] | None = None,
        named: dict[str, Path] | None = None,
        pair: tuple[Path, int] | None = None,
        label: str = "x/y",
    ) -> None:
        pass


@pytest.fixture
def write(tmp_path):
    def write(text: str = EXPERIMENT, name: str = "e.toml") -> Path:
        path = tmp_path / name
        path.parent.mkdir(parents=True, exist_ok=True)
        path.write_text(text)
        return path

    return write


def problems(path: Path, *overrides: str) -> list[str]:
    with pytest.raises(InputError) as caught:
        load_experiment(path, overrides)
    assert caught.value.exit_code == 2
    return [problem.replace(f"{path.parent}/", "") for problem in caught.value.problems]


def test_a_small_experiment(write):
    found = load_experiment(write())
    assert (found.name, list(found.seeds), list(found.tasks)) == ("small", [0], ["valence", "genre"])
    assert found.dataset.parameters == {
        "tracks": 60,
        "classes": 3,
        "seed": 0,
        "missing": 0.0,
        "nan_track": None,
    }
    assert found.model.parameters == {"hidden": 8}
    assert [(weight, loss.name) for weight, loss in found.losses["valence"]] == [(1.0, "squared-error")]
    assert found.losses["genre"] == []
    assert found.training.epochs == 3
    assert found.split.method == "stratified"


def test_defaults(write):
    text = '[dataset]\ntype = "memory"\n[model]\ntype = "means"\n[tasks.valence]\n'
    found = load_experiment(write(text, "my-name.v2.toml"))
    assert found.name == "my-name.v2"
    assert list(found.seeds) == [0]
    assert found.weighting.name == "constant"
    assert found.heads["valence"].hidden == [50]


# Errors.


def test_every_error_is_told_at_once(write):
    path = write(
        """\
name = "small"
seeds = [0, 0.5]
epoch = 3

[dataset]
type = "memory"
trakcs = 10
missing = 2

[model]
type = "men"

[split]
method = "strat"

[weighting]
type = "sum"
power = 2

[training]
epochs = "3"
optimizer = { type = "adam", learning_rate = 1 }

[tasks.valence]
loss = [
  { type = "squared-error", weight = -1 },
  { type = "squared-eror" },
]

[tasks.genre]
clases = {}
"""
    )
    assert sorted(problems(path)) == sorted(
        [
            "e.toml:2: seeds[1]: input should be a valid integer, not 0.5",
            "e.toml:3: epoch: unknown key (allowed: dataset, description, evaluation, extends, head, losses, matrix, "
            "model, name, scaling, seed, seeds, split, tasks, training, transfer, weighting)",
            "e.toml:7: dataset.trakcs: unknown key; did you mean 'tracks'? "
            "(allowed: classes, missing, nan_track, seed, tracks, type)",
            "e.toml:8: dataset.missing: input should be less than or equal to 1, not 2",
            "e.toml:11: model.type: no model is called 'men'; did you mean 'means'? (installed: means); one of a "
            "package of its own comes with pip install PACKAGE",
            "e.toml:14: split.method: input should be 'official', 'random', 'stratified', 'grouped' or 'kfold', "
            "not 'strat'",
            "e.toml:18: weighting.power: unknown key (allowed: type)",
            "e.toml:21: training.epochs: input should be a valid integer, not '3'",
            "e.toml:22: training.optimizer.learning_rate: unknown key (allowed: betas, lr, type, weight_decay)",
            "e.toml:25: tasks.valence.loss[0].weight: must be a finite number above 0, not -1",
            "e.toml:25: tasks.valence.loss[1].type: no loss is called 'squared-eror'; did you mean 'squared-error'? "
            "(installed: cross-entropy, mse, squared-error); one of a package of its own comes with pip install "
            "PACKAGE",
            "e.toml:31: tasks.genre.clases: unknown key; did you mean 'classes'? "
            "(allowed: classes, head, loss, range, target)",
        ]
    )


@pytest.mark.parametrize(
    ("override", "expected"),
    [
        # A misspelt key, at every level.
        ("extend=base.toml", "extend: unknown key; did you mean 'extends'? (allowed: dataset,"),
        ("trainig.epochs=1", "trainig: unknown key; did you mean 'training'? (allowed: dataset,"),
        (
            "training.epoch=1",
            "training.epoch: unknown key; did you mean 'epochs'? (allowed: batch_size, bucket,",
        ),
        (
            "training.early_stopping.patiense=1",
            "training.early_stopping.patiense: unknown key; did you mean 'patience'? "
            "(allowed: min_delta, mode, monitor, patience, per_task)",
        ),
        (
            "training.optimizer.weigth_decay=1",
            "training.optimizer.weigth_decay: unknown key; did you mean 'weight_decay'? "
            "(allowed: betas, lr, type, weight_decay)",
        ),
        (
            'training.optimizer={ type = "sgd", momentm = 1 }',
            "training.optimizer.momentm: unknown key; did you mean 'momentum'? "
            "(allowed: lr, momentum, nesterov, type, weight_decay)",
        ),
        (
            'training.schedule={ type = "cosine", finale = 1 }',
            "training.schedule.finale: unknown key; did you mean 'final'? (allowed: final, type, warmup)",
        ),
        (
            "head.hiden=[1]",
            "head.hiden: unknown key; did you mean 'hidden'? (allowed: dropout, hidden, output)",
        ),
        (
            "tasks.genre.head.hiden=[1]",
            "tasks.genre.head.hiden: unknown key; did you mean 'hidden'? (allowed: dropout, hidden, output)",
        ),
        (
            "tasks.head.targt=energy",
            "tasks.head.targt: unknown key; did you mean 'target'? (allowed: classes, head, loss, range, target)",
        ),
        (
            'tasks.genre.loss=[{ type = "cross-entropy", balance = true }]',
            "tasks.genre.loss[0].balance: unknown key; did you mean 'balanced'? (allowed: balanced, type, weight)",
        ),
        ("evaluation.resample=100", "evaluation.resample: unknown key; did you mean 'resamples'?"),
        ("scaling.methods=none", "scaling.methods: unknown key; did you mean 'method'? (allowed: method)"),
        # A name that is not there.
        (
            "training.optimizer.type=adm",
            "training.optimizer.type: must be one of adam, adamw, sgd, not 'adm'; did you mean 'adam'?",
        ),
        (
            "training.schedule={ warmup = 3 }",
            "training.schedule.type: must be one of constant, cosine, plateau, step",
        ),
        ('training.schedule={ type = "step" }', "training.schedule.every: is required"),
        ("tasks.genre.loss={}", "tasks.genre.loss: needs type = the name of a loss (installed: cross-entropy,"),
        ("tasks.genre.loss=[{ type = 3 }]", "tasks.genre.loss[0].type: must be the name of a loss (installed:"),
        ("model.type=3", "model.type: must be the name of a model (installed: means), not 3"),
        # A wrong type or value.
        ("seed=-1", "seed: input should be greater than or equal to 0, not -1"),
        ("seed=4294967296", "seed: input should be less than 4294967296, not 4294967296"),
        ("seed=true", "seed: input should be a valid integer, not True"),
        ("seeds=[]", "seeds: list should have at least 1 item"),
        ("seeds=[1, 1]", "seeds: each must be given once"),
        ("split.seed=4294967296", "split.seed: input should be less than 4294967296"),
        ("split.validation=1.0", "split.validation: input should be less than 1, not 1.0"),
        (
            "split.validation=0.9",
            "split: validation and test leave nothing to train on: their sum must be below 1",
        ),
        ("split.fold=5", "split: fold 5 does not exist: 5 folds are counted from 0"),
        ("training.epochs=true", "training.epochs: input should be a valid integer, not True"),
        ("training.batch_size=8.0", "training.batch_size: input should be a valid integer, not 8.0"),
        ("training.optimizer.lr=0", "training.optimizer.lr: input should be greater than 0, not 0"),
        ("training.optimizer.lr=nan", "training.optimizer.lr: input should be"),
        ("training.optimizer.betas=[0.9]", "training.optimizer.betas[1]: is required"),
        ("training=3", "training: must be a table, not 3"),
        ("tasks.genre=3", "tasks.genre: must be a table, not 3"),
        ("tasks=3", "tasks: must be a table, not 3"),
        ("tasks.genre.loss=[]", "tasks.genre.loss: list should have at least 1 item"),
        ("tasks.genre.loss=3", "tasks.genre.loss: must be a table, not 3"),
        (
            "tasks.genre.loss=[3]",
            "tasks.genre.loss: must be a table\n"
            "--set tasks.genre.loss=[3]: tasks.genre.loss[0]: must be a table, not 3",
        ),
        (
            "tasks.genre.loss={ type = 'mse', weight = inf }",
            "tasks.genre.loss.weight: must be a finite number above 0",
        ),
        (
            "tasks.genre.loss={ type = 'mse', weight = true }",
            "tasks.genre.loss.weight: must be a finite number",
        ),
        ("tasks.genre.classes.jazz=true", "tasks.genre.classes.jazz: input should be"),
        ("tasks.genre.classes.jazz=''", "tasks.genre.classes.jazz: string should have at least 1 character"),
        ("tasks.'a b'.target=energy", "tasks.a b: string should match pattern"),
        ("name='../x'", "name: string should match pattern"),
        ("dataset=3", "dataset: must be a table, not 3"),
        ("dataset.tracks=10.5", "dataset.tracks: input should be a valid integer, not 10.5"),
        ("model.input_size=3", "model.input_size: unknown key (allowed: hidden, type)"),
        ("weighting=sum", "weighting: must be a table, not 'sum'"),
    ],
)
def test_what_is_wrong_is_named_with_its_origin(write, override, expected):
    found = problems(write(), override)
    assert f"--set {override}: {expected}" in "\n".join(found)
    assert all(problem.startswith("--set") for problem in found)


@pytest.mark.parametrize("name", ["target", "loss", "head", "classes", "str", "type"])
def test_tasks_named_like_keys(write, name):
    """A misspelt key is answered with the keys of a task, whatever the task is called."""
    path = write(
        f'[dataset]\ntype = "memory"\n[model]\ntype = "means"\n[tasks.{name}]\ntarget = "energy"\nhed = 1\n'
    )
    assert problems(path) == [
        f"e.toml:7: tasks.{name}.hed: unknown key; did you mean 'head'? (allowed: classes, head, loss, range, target)"
    ]


@pytest.mark.parametrize(
    ("text", "expected"),
    [
        (
            "",
            {
                "e.toml:1: dataset: is required",
                "e.toml:1: model: is required",
                "e.toml:1: tasks: is required",
            },
        ),
        (
            "dataset = 3\n[model]\n[tasks]\n",
            {
                "e.toml:1: dataset: must be a table, not 3",
                "e.toml:2: model: needs type = the name of a model (installed: means)",
                "e.toml:3: tasks: dictionary should have at least 1 item after validation, not 0",
            },
        ),
    ],
)
def test_what_is_missing(write, text, expected):
    assert set(problems(write(text))) == expected


def test_seed_and_seeds_in_one_file(write):
    path = write(EXPERIMENT.replace("seed = 0", "seed = 0\nseeds = [1]"))
    assert problems(path) == ["e.toml:1: give either seed or seeds"]


def test_a_required_parameter_is_asked_for_where_the_table_was_opened(write, fakes):
    fakes("dataset", "files", Files)
    path = write(EXPERIMENT.replace('"memory"', '"files"'))
    assert problems(path, "dataset.label=a") == ["e.toml:4: dataset.root: is required"]


def test_a_default_weighting_that_needs_a_parameter(write, install, monkeypatch):
    def needy(*, power: int) -> object:
        return object()

    monkeypatch.setattr(
        "musicemo.registry.load", lambda kind, name: needy if kind == "weighting" else MemoryDataset
    )
    path = write('[dataset]\ntype = "a"\n[model]\ntype = "b"\n[tasks.v]\n')
    assert problems(path) == ["e.toml:1: weighting.power: is required"]


def test_a_component_whose_annotations_cannot_be_read(write, fakes):
    def model(*, size: "Nowhere") -> object:  # noqa: F821  # the point
        return object()

    fakes("model", "odd", model)
    (problem,) = problems(write(), "model.type=odd")
    assert problem.startswith(
        "--set model.type=odd: model.type: the parameters of test_experiment.model cannot be read"
    )


def test_a_parameter_without_a_type(write, fakes):
    def model(size=3) -> object:
        return object()

    fakes("model", "odd", model)
    (problem,) = problems(write(), "model.type=odd", "model.size=many")
    assert "the parameter 'size' of test_experiment.model needs a type" in problem
    assert "size: int" in problem


@pytest.mark.parametrize(("kind", "words"), [(None, "declares no kind"), ("rank", "declares the kind 'rank'")])
def test_a_loss_that_does_not_say_what_it_is_for(write, fakes, kind, words):
    class Odd(SquaredError):
        pass

    Odd.kind = kind
    fakes("loss", "odd", Odd)
    path = write(EXPERIMENT + '[losses.regression]\ntype = "odd"\n')
    (problem,) = problems(path)
    assert f"losses.regression.type: loss 'odd' {words}" in problem
    assert 'kind = "regression" or kind = "classification"' in problem


def test_errors_name_the_file_that_wrote_the_key(write):
    write(EXPERIMENT.replace("epochs = 3", "epochs = 0"), "base.toml")
    path = write('extends = "base.toml"\n[training]\nbatch_size = 0\n')
    assert problems(path) == [
        "base.toml:14: training.epochs: input should be greater than or equal to 1, not 0",
        "e.toml:3: training.batch_size: input should be greater than or equal to 1, not 0",
    ]


# Components.


class Picky:
    def __init__(self, *, mode: int = 0) -> None:
        if mode == 1:
            raise InputError("first", "second")
        if mode == 2:
            raise ImportError("needs spam: pip install spam")
        if mode == 3:
            raise ValueError("odd")
        if mode == 4:
            raise KeyError("a bug")
        if mode == 5:
            raise KeyboardInterrupt


@pytest.mark.parametrize(
    ("mode", "expected"),
    [
        (1, ("model 'picky': first", "model 'picky': second")),
        (2, ("model 'picky': needs spam: pip install spam",)),
        (3, ("model 'picky': odd",)),
    ],
)
def test_a_constructor_that_refuses(fakes, write, mode, expected):
    fakes("model", "picky", Picky)
    found = load_experiment(write(), ["model={ type = 'picky' }", f"model.mode={mode}"])
    with pytest.raises(InputError) as caught:
        found.model.build(input_size=3)
    assert caught.value.problems == expected


def test_a_bug_in_a_constructor_is_told_with_its_component_distribution_and_line(fakes, write):
    fakes("model", "picky", Picky, distribution="strange-models", version="3.1")
    line = next(n for n, text in enumerate(Path(__file__).read_text().splitlines(), 1) if '"a bug"' in text)
    with pytest.raises(RunError) as caught:
        load_experiment(write(), ["model={ type = 'picky', mode = 4 }"]).model.build()
    assert str(caught.value) == (
        f"model 'picky' of strange-models 3.1 ({__name__}:Picky) cannot be constructed: KeyError: 'a bug' "
        f"({__file__}:{line})"
    )
    assert isinstance(caught.value.__cause__, KeyError)


def test_an_interruption_in_a_constructor_passes(fakes, write):
    fakes("model", "picky", Picky)
    with pytest.raises(KeyboardInterrupt):
        load_experiment(write(), ["model={ type = 'picky', mode = 5 }"]).model.build()


def test_build_provides_what_the_constructor_names(write):
    found = load_experiment(write())
    assert found.model.build(input_size=12, class_counts={}).dense.in_features == 12
    assert found.weighting.build(tasks=["valence"]).tasks == ("valence",)


def test_a_task_without_a_loss_gets_the_one_of_its_kind_and_it_is_resolved(write):
    tasks = [Task("valence", "valence", "regression"), Task("genre", "genre", "classification")]
    found = load_experiment(write(EXPERIMENT.replace('loss = { type = "squared-error" }', "")))
    assert "loss" not in found.resolved()["tasks"]["genre"]
    resolved = found.completed(tasks).resolved()["tasks"]
    assert resolved["valence"]["loss"] == [{"type": "mse", "weight": 1.0}]
    assert resolved["genre"]["loss"] == [{"type": "cross-entropy", "balanced": False, "weight": 1.0}]


class Small(BaseModel, extra="forbid"):
    size: int = 1


class Large(BaseModel, extra="forbid"):
    width: int


class Nested:
    def __init__(
        self,
        *,
        input_size: int,
        stages: list[Annotated[Small, Field(title="stage")]] | None = None,
        either: Small | Large | None = None,
        named: dict[str, Small] | None = None,
    ) -> None:
        pass


@pytest.mark.parametrize(
    ("table", "expected"),
    [
        ("stages = [{ size = 1 }, { sise = 1 }]", "model.stages[1].sise: unknown key; did you mean 'size'?"),
        (
            "named = { a = { sise = 1 } }",
            "model.named.a.sise: unknown key; did you mean 'size'? (allowed: size)",
        ),
        ("either = { widht = 1 }", "model.either.widht: unknown key; did you mean 'width'? (allowed: width)"),
        ("either = { size = 'x' }", "model.either.size: input should be a valid integer"),
    ],
)
def test_tables_within_a_components_table(fakes, write, table, expected):
    fakes("model", "nested", Nested)
    assert expected in "\n".join(problems(write(), f"model={{ type = 'nested', {table} }}"))


# Paths.


def test_paths_are_relative_to_where_they_were_written(write, fakes, tmp_path, monkeypatch):
    fakes("dataset", "files", Files)
    text = EXPERIMENT.replace('"memory"', '"files"\nroot = "data"\nmore = ["a", "/b"]\nextra = "~/x"')
    write(text, "bases/base.toml")
    path = write('extends = "../bases/base.toml"\n[dataset]\nnamed = { one = "1" }\n', "top/e.toml")
    elsewhere = tmp_path / "elsewhere"
    elsewhere.mkdir()
    monkeypatch.chdir(elsewhere)
    monkeypatch.setenv("HOME", str(tmp_path / "home"))
    found = load_experiment(path, ["dataset.pair=['here', 1]"]).dataset.parameters
    assert found["root"] == tmp_path / "bases" / "data"
    assert found["more"] == [tmp_path / "bases" / "a", Path("/b")]
    assert found["extra"] == tmp_path / "home" / "x"
    assert found["named"] == {"one": tmp_path / "top" / "1"}
    assert found["pair"] == (elsewhere / "here", 1)
    assert found["label"] == "x/y"
    assert found["cache"].is_absolute(), "a default must mean the same when the resolved file is read elsewhere"
    assert load_experiment(path, ["dataset.root=.."]).dataset.parameters["root"] == tmp_path


def test_a_relative_name_of_the_experiment_file(write, fakes, tmp_path, monkeypatch):
    fakes("dataset", "files", Files)
    write(EXPERIMENT.replace('"memory"', '"files"\nroot = "../data"'), "sub/e.toml")
    monkeypatch.chdir(tmp_path / "sub")
    assert load_experiment(Path("e.toml")).dataset.parameters["root"] == tmp_path / "data"


# The resolved form.


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


def reload(write, text: str):
    return load_experiment(write(text, "runs/experiment.toml"))


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
    for seed, fold in [(None, None), *found.replicates()]:
        resolved = found.resolved(seed, fold)
        assert tomllib.loads(_toml.write(resolved)) == resolved
        again = reload(write, _toml.write(resolved))
        assert again.resolved(None if seed is None else seed, fold) == resolved
        assert fingerprint(again.resolved(seed, fold)) == fingerprint(resolved)
        assert again.replicates() == ([(seed, fold)] if seed is not None else found.replicates())
        annotated = reload(write, _toml.write(resolved, found.source))
        assert annotated.resolved(seed, fold) == resolved


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
            "weighting",
            "training",
            "evaluation",
            "tasks",
        )
    ]
    assert resolved["dataset"] == {"type": "memory", "tracks": 60, "classes": 3, "seed": 0, "missing": 0.0}
    assert resolved["training"]["optimizer"] == {
        **{"type": "adam", "lr": 0.01, "weight_decay": 0.0, "betas": [0.9, 0.999]}
    }
    assert resolved["tasks"]["valence"] == {
        "classes": {},
        "loss": [{"type": "squared-error", "weight": 1.0}],
        "head": {"hidden": [50], "dropout": 0.2, "output": "linear"},
    }


def test_fingerprint_ignores_what_does_not_change_the_outcome(write):
    same = ["training.device=cuda", "training.cache=disk", "description=other words"]
    base = fingerprint(load_experiment(write()).resolved(0))
    for override in same:
        assert fingerprint(load_experiment(write(), [override]).resolved(0)) == base


def leaves(table: dict, key: tuple = ()):
    for name, value in table.items():
        if isinstance(value, dict) and value:
            yield from leaves(value, (*key, name))
        else:
            yield (*key, name)


def test_fingerprint_ignores_nothing_else(write):
    resolved = load_experiment(write(), ["description=x"]).resolved(0)
    base, ignored = fingerprint(resolved), {("training", "device"), ("training", "cache"), ("description",)}
    for key in leaves(resolved):
        changed = tomllib.loads(_toml.write(resolved))
        table = changed
        for part in key[:-1]:
            table = table[part]
        table[key[-1]] = "something else"
        assert (fingerprint(changed) == base) == (key in ignored), key
    assert fingerprint(resolved, split="a") != fingerprint(resolved, split="b") != base


def test_fingerprint_does_not_depend_on_the_order_of_keys(write):
    resolved = load_experiment(write()).resolved(0)
    assert fingerprint(dict(reversed(resolved.items()))) == fingerprint(resolved)


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
    assert load_experiment(write(), overrides).replicates() == expected
