"""``musicemo validate`` and ``musicemo show``."""

from __future__ import annotations

import json
import re
import tomllib
from pathlib import Path

import fakes as fakes_module
import pytest
from typer.testing import CliRunner

from musicemo.cli._app import make_app
from musicemo.errors import InputError
from musicemo.experiment import load_experiment

pytestmark = pytest.mark.usefixtures("fakes")


def call(*arguments):
    """Run a command in this process; errors that the command line would report are raised."""
    found = CliRunner().invoke(make_app(), [str(argument) for argument in arguments], catch_exceptions=False)
    assert found.exit_code == 0, found.output
    return found.stdout


def test_a_valid_experiment_is_described_in_a_line_and_explained(experiment_file):
    first, *explained = call(
        "validate", experiment_file, "--set", "tasks.genre.classes.jazz='folk'"
    ).splitlines()
    assert first == (
        f"{experiment_file}: valid: means on memory for valence, genre, 1 run; tracks: 36 train, 12 val, 12 test; "
        "1,157 parameters"
    )
    assert [line.split(maxsplit=2) for line in explained] == [
        [
            "dataset",
            "memory",
            "Tracks whose targets follow from their features: the mean of each row, and a pattern for each genre.",
        ],
        ["model", "means", "One dense layer on the mean over time."],
        ["sharing", "hard", "Hard parameter sharing: the head of every task gets the embedding as it is."],
        ["weighting", "sum", "The sum of the losses."],
        ["task", "valence", "rating in [1, 9] of 60 tracks; loss squared-error"],
        ["task", "genre", "2 classes: folk 40, metal 20; merged: jazz is folk; loss cross-entropy"],
        ["split", "stratified", "36 train, 12 val, 12 test"],
        ["network", "1,157", "parameters: backbone 104, heads 1,053"],
    ]
    assert [path.name for path in experiment_file.parent.iterdir()] == ["small.toml"]


def test_data_need_not_be_read(experiment_file):
    overrides = ["--set", "dataset.nan_track=3", "--set", "seeds=[1, 2]"]
    text = call("validate", experiment_file, "--no-data", *overrides)
    assert text == f"{experiment_file}: valid: means on memory for valence, genre, 2 runs\n"
    with pytest.raises(InputError, match="track 'track003': is nan"):
        call("validate", experiment_file, *overrides)


@pytest.mark.slow
def test_several_files_are_validated(experiment_file, tmp_path):
    other = tmp_path / "other.toml"
    other.write_text(fakes_module.EXPERIMENT.replace("epochs = 3", "epochs = 0"))
    with pytest.raises(InputError, match=r"other\.toml:\d+: training\.epochs: "):
        call("validate", experiment_file, other)
    third = tmp_path / "third.toml"
    third.write_text(fakes_module.EXPERIMENT.replace("seed = 0", "seed = -1"))
    with pytest.raises(InputError) as told:
        call("validate", other, third)
    assert [Path(problem.partition(":")[0]).name for problem in told.value.problems] == [
        "other.toml",
        "third.toml",
    ]
    other.write_text(fakes_module.EXPERIMENT.replace("seed = 0", "split = { method = 'kfold', folds = 4 }"))
    lines = call("validate", experiment_file, other).splitlines()
    assert [line.partition(":")[0] for line in lines] == [str(experiment_file), str(other)]
    assert ", 4 runs; tracks: " in lines[1]


def test_what_is_shown_is_the_resolved_experiment(experiment_file):
    text = call("show", experiment_file, "--set", "training.batch_size=5")
    experiment = load_experiment(experiment_file, ["training.batch_size=5"])
    assert tomllib.loads(text) == experiment.resolved()
    again = experiment_file.with_name("again.toml")
    again.write_text(text)
    assert load_experiment(again).resolved() == experiment.resolved()


def test_it_says_where_every_value_came_from(experiment_file):
    base = experiment_file.with_name("base.toml")
    experiment_file.rename(base)
    experiment_file.write_text('extends = "base.toml"\n[training]\nepochs = 9\n')
    text = call("show", experiment_file, "--set", "training.batch_size=5")
    line = base.read_text().splitlines().index('device = "cpu"') + 1
    for value, origin in {
        "epochs = 9": f"{experiment_file}:3",
        "batch_size = 5": "--set training.batch_size=5",
        'device = "cpu"': f"{base}:{line}",
        "bucket = false": "default",
    }.items():
        assert re.search(rf"^{re.escape(value)} # {re.escape(origin)}$", text, re.MULTILINE)


def test_a_resolved_experiment_is_coloured_on_a_terminal(experiment_file, monkeypatch):
    monkeypatch.setenv("FORCE_COLOR", "1")
    monkeypatch.setenv("TTY_COMPATIBLE", "1")
    monkeypatch.setenv("TERM", "xterm-256color")
    text = call("show", experiment_file)
    assert "\x1b[" in text
    assert "batch_size" in re.sub(r"\x1b\[[0-9;]*m", "", text)


@pytest.mark.slow
def test_the_schema_is_json(tmp_path):
    assert call("schema", "--output", tmp_path / "schema.json") == ""
    schema = json.loads((tmp_path / "schema.json").read_text())
    assert schema == json.loads(call("schema"))
    assert "dataset:memory" in schema["$defs"]


def test_the_variants_of_a_matrix_are_listed(experiment_file):
    with experiment_file.open("a") as file:
        file.write(
            '[matrix]\n"dataset.classes" = [2, 3]\nloss.none = {}\nloss.mse.tasks.valence.loss.type = "mse"\n'
        )
    text = call("show", experiment_file, "--set", "seeds=[1, 2]")
    assert [line.split() for line in text.splitlines()] == [
        ["experiment", "classes", "loss", "runs"],
        *([f"small-classes{n}-{loss}", str(n), loss, "2"] for n in (2, 3) for loss in ("none", "mse")),
        [],
        [
            "4",
            "variants;",
            "add",
            "--only",
            "classes=VALUE",
            "--only",
            "loss=VALUE",
            "to",
            "show",
            "the",
            "keys",
            "of",
            "one",
        ],
    ]
    text = call("show", experiment_file, "--only", "classes=3", "--only", "loss=mse")
    assert tomllib.loads(text)["name"] == "small-classes3-mse"
    assert re.search(rf"^classes = 3 # {re.escape(str(experiment_file))}:\d+$", text, re.MULTILINE)
    lines = call("validate", experiment_file, "--only", "loss=mse").splitlines()
    assert [line.split(": ")[1] for line in lines] == ["small-classes2-mse", "small-classes3-mse"]
    assert "1,157 parameters" in lines[0]


def test_a_good_file_beside_a_bad_one_has_its_line(experiment_file, tmp_path):
    bad = tmp_path / "bad.toml"
    bad.write_text(fakes_module.EXPERIMENT.replace("epochs = 3", "epochs = 0"))
    unreadable = tmp_path / "nan.toml"
    unreadable.write_text(fakes_module.EXPERIMENT.replace('"memory"', '"memory"\nnan_track = 3'))
    found = CliRunner().invoke(make_app(), ["validate", *map(str, (bad, experiment_file, unreadable))])
    assert [line.partition(": ")[0] for line in found.stdout.splitlines()] == [str(experiment_file)]
    first, second = found.exception.problems
    assert first.startswith(f"{bad}:14: training.epochs: ")
    assert "track 'track003': is nan" in second


def test_a_transfer_from_a_run_that_is_not_there(experiment_file, tmp_path, monkeypatch, capsys):
    monkeypatch.chdir(tmp_path)
    later = tmp_path / "later.toml"
    later.write_text(fakes_module.EXPERIMENT.replace('"small"', '"later"') + '[transfer]\nfrom = "small"\n')
    line = len(later.read_text().splitlines())
    problem = f"{later}:{line}: transfer.from: no run, experiment or checkpoint 'small'"
    with pytest.raises(InputError, match=f"^{re.escape(problem)}"):
        call("validate", later)
    with pytest.raises(InputError, match=f"^{re.escape(problem)}"):
        call("run", later, "--dry-run")
    found = CliRunner().invoke(make_app(), ["validate", "--no-data", str(later)])
    assert found.exit_code == 0
    assert f"warning: {problem}" in found.stderr
    assert len(call("validate", experiment_file, later).splitlines()) == 2, "the first will be run before"


@pytest.mark.slow
@pytest.mark.parametrize("command", [["validate"], ["run", "--dry-run"]])
def test_a_dataset_is_read_once_for_all_variants_on_it(experiment_file, fakes, command):
    read = []

    class Counted(fakes_module.MemoryDataset):
        def tracks(self):
            read.append(self._classes)
            return super().tracks()

    fakes("dataset", "counted", Counted)
    matrix = """
[matrix]
"weighting.type" = ["sum", "learned"]
"split.seed" = [1, 2]
loss = { a = {}, b.tasks.valence.loss = [{ type = "mse" }] }
"dataset.classes" = [2, 3]
"""
    experiment_file.write_text(experiment_file.read_text().replace('"memory"', '"counted"') + matrix)
    shown = call(*command, experiment_file, "--set", "training.epochs=1")
    assert read == [2, 3]
    assert shown.count("-classes2") >= 8
