"""What an experiment file may say, and every error in one."""

import pytest
from fakes import EXPERIMENT
from faults import problems

from musicemo.experiment import load_experiment

pytestmark = pytest.mark.usefixtures("fakes")


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
    assert [(weight, loss.name) for weight, loss, _ in found.losses["valence"]] == [(1.0, "squared-error")]
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
            "e.toml:3: epoch: unknown key; did you mean 'search'? (allowed: augment, dataset, description, "
            "distillation, ensemble, evaluation, extends, features, head, launcher, losses, matrix, model, name, "
            "plugins, pretraining, protocol, scaling, search, seed, seeds, sharing, split, tasks, training, transfer, "
            "weighting)",
            "e.toml:7: dataset.trakcs: unknown key; did you mean 'tracks'? "
            "(allowed: classes, missing, nan_track, seed, tracks, type)",
            "e.toml:8: dataset.missing: input should be less than or equal to 1, not 2",
            "e.toml:11: model.type: no model has the name 'men'; did you mean 'means'? (installed: means). If "
            "another package "
            "provides it, install that package with pip",
            "e.toml:14: split.method: input should be 'official', 'random', 'stratified', 'grouped', 'kfold' or "
            "'file', "
            "not 'strat'",
            "e.toml:18: weighting.power: unknown key (allowed: type)",
            "e.toml:21: training.epochs: input should be a valid integer, not '3'",
            "e.toml:22: training.optimizer.learning_rate: unknown key (allowed: betas, decay, lr, rates, type, "
            "weight_decay)",
            "e.toml:25: tasks.valence.loss[0].weight: must be a finite number above 0, not -1",
            "e.toml:25: tasks.valence.loss[1].type: no loss has the name 'squared-eror'; did you mean 'squared-error'? "
            "(installed: cross-entropy, mse, squared-error). If another package "
            "provides it, install that package with pip",
            "e.toml:31: tasks.genre.clases: unknown key; did you mean 'classes'? "
            "(allowed: classes, head, labeled, loss, range, smoothing, target, weights)",
        ]
    )


@pytest.mark.parametrize(
    ("override", "expected"),
    [
        # A misspelt key, at every level.
        ("extend=base.toml", "extend: unknown key; did you mean 'extends'? (allowed: augment, dataset,"),
        ("trainig.epochs=1", "trainig: unknown key; did you mean 'training'? (allowed: augment, dataset,"),
        (
            "training.epoch=1",
            "training.epoch: unknown key; did you mean 'epochs'? (allowed: a",
        ),
        (
            "training.early_stopping.patiense=1",
            "training.early_stopping.patiense: unknown key; did you mean 'patience'? "
            "(allowed: min_delta, mode, monitor, patience, per_task)",
        ),
        (
            "training.optimizer.weigth_decay=1",
            "training.optimizer.weigth_decay: unknown key; did you mean 'weight_decay'? "
            "(allowed: betas, decay, lr, rates, type, weight_decay)",
        ),
        (
            'training.optimizer={ type = "sgd", momentm = 1 }',
            "training.optimizer.momentm: unknown key; did you mean 'momentum'? "
            "(allowed: decay, lr, momentum, nesterov, rates, type, weight_decay)",
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
            "tasks.head.targt: unknown key; did you mean 'target'? "
            "(allowed: classes, head, labeled, loss, range, smoothing, target, weights)",
        ),
        (
            'tasks.genre.loss=[{ type = "cross-entropy", balance = true }]',
            "tasks.genre.loss[0].balance: unknown key; did you mean 'balanced'? (allowed: balanced, per, type, weight)",
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
        ("seeds=[1, 1]", "seeds: must not contain duplicates"),
        ("split.seed=4294967296", "split.seed: input should be less than 4294967296"),
        ("split.validation=1.0", "split.validation: input should be less than 1, not 1.0"),
        (
            "split.validation=0.9",
            "split: validation + test must be below 1, to leave tracks for training",
        ),
        ("split.fold=5", "split: fold 5 does not exist: 5 folds are numbered from 0"),
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
        ("tasks.genre.loss=mse", 'tasks.genre.loss: must be a table such as { type = "mse" }, or an array'),
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
        f"e.toml:7: tasks.{name}.hed: unknown key; did you mean 'head'? "
        "(allowed: classes, head, labeled, loss, range, smoothing, target, weights)"
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
    assert problems(path) == ["e.toml:1: seed and seeds cannot both be set"]


def test_errors_name_the_file_that_wrote_the_key(write):
    write(EXPERIMENT.replace("epochs = 3", "epochs = 0"), "base.toml")
    path = write('extends = "base.toml"\n[training]\nbatch_size = 0\n')
    assert problems(path) == [
        "base.toml:14: training.epochs: input should be greater than or equal to 1, not 0",
        "e.toml:3: training.batch_size: input should be greater than or equal to 1, not 0",
    ]


def test_an_optimizer_without_a_type_is_the_default_one(write):
    path = write(EXPERIMENT.replace('optimizer = { type = "adam", lr = 1e-2 }\n', ""))
    found = load_experiment(path, ["training.optimizer.lr=0.02", "training.optimizer.betas=[0.5, 0.9]"])
    assert found.resolved()["training"]["optimizer"] == {
        **{"type": "adam", "lr": 0.02, "weight_decay": 0.0, "decay": "all", "betas": [0.5, 0.9]}
    }
    assert (
        load_experiment(
            path, ["training.optimizer.lr=2.0", "training.optimizer.type=sgd"]
        ).training.optimizer.lr
        == 2
    )
    (problem,) = problems(path, "training.optimizer.momentum=0.1")
    assert problem.endswith(
        "training.optimizer.momentum: unknown key (allowed: betas, decay, lr, rates, type, weight_decay)"
    )


@pytest.mark.parametrize(
    ("override", "expected"),
    [
        ("name=" + "a" * 201, "name: string should have at most 200 characters"),
        ("name=a/b", "name: string should match pattern"),
        ("name=..", "name: string should match pattern"),
        ("name=.a", "name: string should match pattern"),
        ('name="a\\n"', "name: string should match pattern"),
        ("name=a\\b", "name: string should match pattern"),
        ('description="a\\u001b[2J"', "description: must not contain control characters"),
        ('description="a\\r"', "description: must not contain control characters"),
        ("tasks." + "a" * 101 + ".target=energy", "tasks." + "a" * 101 + ": string should have at most 100"),
    ],
)
def test_names_that_cannot_be_folders(write, override, expected):
    assert expected in "\n".join(problems(write(), override))
