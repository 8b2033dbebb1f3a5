"""Protocol files, and experiments that follow one."""

from __future__ import annotations

from pathlib import Path

import pytest
from fakes import MemoryDataset

from musicemo.errors import InputError
from musicemo.experiment import load_benchmark, load_experiment, load_protocol

HASH = "0" * 64

PROTOCOL = f"""\
description = "Tracks in memory."

[protocol]
title = "Memory"
reference = "A paper"
split = "At random."
segments = "Whole tracks."
metrics = {{ valence = ["r2", "rmse"] }}
sets.test = {{ tracks = 12, hash = "{HASH}" }}
sources.Author = "A. Author, table 1"

[[protocol.published]]
system = "SVR"
source = "Author"
scores.valence.r2 = 0.4

[dataset]
type = "memory"
classes = 3

[split]
method = "random"
seed = 5

[model]
type = "means"

[weighting]
type = "sum"

[tasks.valence]
loss = {{ type = "squared-error" }}
"""


@pytest.fixture
def protocol(fakes_beside, tmp_path: Path):
    """Return what installs the protocol `memory`, after a replacement of its text."""
    path = tmp_path / "memory.toml"

    def write(old: str = "", new: str = "") -> Path:
        assert old in PROTOCOL
        path.write_text(PROTOCOL.replace(old, new, 1) if old else PROTOCOL)
        return path

    fakes_beside("protocol", "memory", lambda: path)
    write()
    return write


def line_of(path: Path, text: str) -> int:
    return next(number for number, line in enumerate(path.read_text().splitlines(), start=1) if text in line)


def test_a_protocol_has_its_published_results_and_its_experiment(protocol):
    one = load_protocol("memory")
    assert (one.name, one.dataset, one.table.published[0].scores) == (
        "memory",
        "memory",
        {"valence": {"r2": 0.4}},
    )
    assert "protocol" not in one.experiment


@pytest.mark.parametrize(
    ("old", "new", "message"),
    [
        ('["r2", "rmse"]', '["r3"]', "protocol.metrics: 'r3' is not a metric; did you mean 'r2'"),
        ("sets.test", "sets.train", "protocol.sets: must have a table test"),
        (HASH, "abc", "protocol.sets.test.hash"),
        ('source = "Author"', 'source = "Autor"', "SVR: 'Autor' is not a source; did you mean 'Author'"),
        (
            "scores.valence.r2",
            "scores.valence.mae",
            "SVR: valence mae is not among the metrics of the protocol",
        ),
        ("scores.valence.r2", "scores.energy.r2", "SVR: energy r2 is not among the metrics of the protocol"),
        ('title = "Memory"', 'titel = "Memory"', "protocol.titel: unknown key; did you mean 'title'"),
        ('reference = "A paper"\n', "", "protocol.reference: is required"),
        ("metrics = { valence", "metrics = { valance", "is not among the metrics"),
        ("[tasks.valence]", "[tasks.energy]", "protocol.metrics.valence: is not a task"),
        (f'"{HASH}"', f'["{HASH}", "{HASH}"]', r"protocol\.sets\.test\.hash: must be 1 hash$"),
        ('"random"', '"kfold"', "hash: must be a list of 5 hashes, one for each fold"),
        ("[dataset]", "[data]", r"needs a table \[dataset\] with a type"),
        ('"random"', '"randomly"', r"split\.method"),
        ("[tasks.valence]", "[tasks.valence]\ngoal = 1", r"tasks\.valence\.goal: unknown key"),
    ],
)
def test_errors_of_a_protocol_file_have_the_line_and_the_key(protocol, old, new, message):
    path = protocol(old, new)
    with pytest.raises(InputError, match=message) as caught:
        load_protocol("memory")
    assert str(caught.value).startswith(str(path))


def test_a_protocol_that_is_no_file(fakes):
    fakes("protocol", "lost", lambda: Path("nowhere.toml"))
    fakes("protocol", "wrong", 3)
    for name in ("lost", "wrong"):
        with pytest.raises(InputError, match="must be a function that returns the path of a TOML file"):
            load_protocol(name)
    with pytest.raises(InputError, match="no protocol has the name 'last'; did you mean 'lost'"):
        load_protocol("last")


def test_the_experiment_of_a_protocol(protocol):
    (one,) = load_benchmark("memory", ["training.epochs=2"])
    assert one.name == "memory-means"
    assert (one.protocol and one.protocol.name, one.split.seed, one.training.epochs) == ("memory", 5, 2)
    assert one.resolved()["protocol"] == "memory"
    (two,) = load_benchmark("memory", ["model.type=mean", "features.type=mfcc", "name=mine"])
    assert (two.name, two.model.name, two.features[0].component.name) == ("mine", "mean", "mfcc")
    (three,) = load_benchmark("memory", ["features.grid=track"])
    assert (three.name, three.features[0].component.name) == ("memory-mel-chroma-means", "mel-chroma")


def test_a_matrix_of_models_under_a_protocol(protocol):
    variants = load_benchmark("memory", ['matrix={"model.type"=["means","mean"]}'])
    assert [one.name for one in variants] == ["memory-means-means", "memory-means-mean"]
    assert {one.protocol.name for one in variants if one.protocol} == {"memory"}


EXPERIMENT = (
    PROTOCOL[: PROTOCOL.index("[protocol]")] + 'protocol = "memory"\n' + PROTOCOL[PROTOCOL.index("[dataset]") :]
)


@pytest.mark.parametrize(
    ("old", "new", "key", "problem"),
    [
        ("seed = 5", "seed = 6", "split.seed", "must be 5 under the protocol 'memory', not 6"),
        ("seed = 5", "seed = 5\ntogether = true", "split.together", "must be false under"),
        ("classes = 3", "classes = 4", "dataset.classes", "must be 3 under"),
        ("[tasks.valence]", '[tasks.valence]\ntarget = "energy"', "tasks.valence.target", 'must be "valence"'),
        (
            "[tasks.valence]",
            "[tasks.energy]",
            "tasks",
            "must have the task 'valence' under the protocol 'memory' (tasks: energy). Add [tasks.valence]",
        ),
    ],
)
def test_an_experiment_that_contradicts_its_protocol_is_refused(protocol, tmp_path, old, new, key, problem):
    path = tmp_path / "mine.toml"
    path.write_text(EXPERIMENT)
    assert load_experiment(path).protocol
    path.write_text(EXPERIMENT.replace(old, new, 1))
    with pytest.raises(InputError) as caught:
        load_experiment(path)
    (text,) = caught.value.problems
    assert f"{key}: " in text
    assert problem in text
    assert text.startswith(f"{path}:")


def test_the_validation_set_is_free_if_the_protocol_has_none(protocol, tmp_path):
    path = tmp_path / "mine.toml"
    path.write_text(EXPERIMENT.replace("seed = 5", "seed = 5\nvalidation = 0.3"))
    assert load_experiment(path).protocol
    protocol("sets.test", f'sets.val = {{ tracks = 9, hash = "{HASH}" }}\nsets.test')
    with pytest.raises(InputError, match=r"split\.validation: must be 0\.2 under the protocol"):
        load_experiment(path)


def test_further_tasks_are_allowed_and_the_dataset_twice_is_not(protocol, tmp_path):
    path = tmp_path / "mine.toml"
    path.write_text(EXPERIMENT + '\n[tasks.energy]\nloss = { type = "squared-error" }\n')
    assert len(load_experiment(path).tasks) == 2
    path.write_text(
        EXPERIMENT.replace(
            '[dataset]\ntype = "memory"',
            '[[dataset]]\nname = "a"\ntype = "memory"\n[[dataset]]\ntype = "memory"',
        )
    )
    with pytest.raises(InputError, match="dataset: must have 'memory' once under the protocol 'memory'"):
        load_experiment(path)


def test_one_of_several_joined_datasets_is_the_protocols(protocol, fakes_beside, tmp_path):
    fakes_beside("dataset", "other", MemoryDataset)
    both = '[[dataset]]\ntype = "other"\n\n[[dataset]]\ntype = "memory"'
    text = EXPERIMENT.replace('[dataset]\ntype = "memory"', both)
    path = tmp_path / "mine.toml"
    path.write_text(text)
    assert load_experiment(path).protocol
    path.write_text(text.replace("classes = 3", "classes = 3\nsplit = { seed = 5 }"))
    with pytest.raises(InputError, match=r"dataset\[1\]\.split"):
        load_experiment(path)
    path.write_text(text.replace("classes = 3", 'classes = 3\nsplit = { method = "stratified" }'))
    with pytest.raises(InputError, match=r'mine.toml:\d+: dataset\[1\]\.split\.method: must be "random" under'):
        load_experiment(path)
    path.write_text(
        text.replace("[tasks.valence]", '[tasks.valence]\ntarget = { other = "valence", memory = "energy" }')
    )
    with pytest.raises(InputError, match=r'tasks\.valence\.target: must be "valence" under .*, not "energy"'):
        load_experiment(path)
