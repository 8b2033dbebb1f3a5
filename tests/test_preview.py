"""What an experiment would do, without doing it."""

from __future__ import annotations

import fakes as fakes_module
import pytest
import torch
from harness import printed
from musicemo_builtin.sharings.adapters import Adapters
from typer.testing import CliRunner

from musicemo.cli._app import make_app
from musicemo.errors import InputError
from musicemo.experiment import load_experiment
from musicemo.reporting.sections.preview import dry_run_blocks, explanation_blocks
from musicemo.running.prepare import RunOptions
from musicemo.running.preview import check_experiment

pytestmark = pytest.mark.usefixtures("fakes")


def test_nothing_is_left_of_the_steps(experiment_file):
    torch.manual_seed(7)
    expected = torch.rand(3)
    torch.manual_seed(7)
    preview = check_experiment(load_experiment(experiment_file), steps=2)
    assert torch.equal(torch.rand(3), expected)
    assert [path.name for path in experiment_file.parent.iterdir()] == ["small.toml"]
    assert preview.batches == {"train": 3, "val": 1, "test": 1}
    assert preview.step > 0
    assert preview.epoch == pytest.approx(preview.step * (3 + 1 / 3))
    assert preview.run == pytest.approx(3 * preview.epoch)


def test_the_parameters_of_the_parts_are_counted(experiment_file, fakes):
    fakes("sharing", "adapters", Adapters)
    preview = check_experiment(load_experiment(experiment_file, ["sharing={type='adapters', bottleneck=2}"]))
    sizes = {
        "backbone": 12 * 8 + 8,
        "sharing": 2 * (8 * 2 + 2 + 2 * 8 + 8),
        "heads": 2 * (8 * 50 + 50) + 51 + 153,
    }
    assert (preview.backbone, preview.sharing) == (sizes["backbone"], sizes["sharing"])
    assert preview.parameters == sum(sizes.values())
    parts = ", ".join(f"{name} {count:,}" for name, count in sizes.items())
    assert f"{preview.parameters:,} parameters ({parts}) on cpu" in printed(dry_run_blocks([preview], 1))
    assert f"parameters: {parts}" in printed(explanation_blocks(preview))


def test_without_steps_there_is_no_time(experiment_file):
    preview = check_experiment(load_experiment(experiment_file))
    assert (preview.step, preview.epoch, preview.run) == (None, None, None)


def test_only_batches_that_are_learnt_by_heart_count(experiment_file):
    assert check_experiment(load_experiment(experiment_file), RunOptions(overfit_batches=1)).batches == {
        "train": 1
    }


def test_tracks_without_a_label_are_counted(experiment_file):
    overrides = ["dataset.missing=0.5", "tasks.genre.classes.jazz=false", "split.method=random"]
    preview = check_experiment(load_experiment(experiment_file, overrides))
    assert preview.unlabelled > 0
    valence, genre = preview.tasks
    assert valence.labelled < sum(preview.tracks.values()) == 60 - preview.unlabelled
    assert set(genre.classes) == {"folk", "metal"}
    assert sum(genre.classes.values()) == genre.labelled


def dry_run(*arguments):
    found = CliRunner().invoke(make_app(), ["run", "--dry-run", *map(str, arguments)], catch_exceptions=False)
    assert found.exit_code == 0
    return found.stdout


def test_a_dry_run_says_what_would_be_run(experiment_file, monkeypatch):
    monkeypatch.chdir(experiment_file.parent)
    text = dry_run(experiment_file, "--set", "seeds=[0, 1, 2]", "--jobs", "1")
    lines = text.splitlines()
    assert lines[0].split() == ["experiment", "runs", "set", "tracks", "batches"]
    assert [line.split() for line in lines[1:4]] == [
        ["small", "3", "train", "36", "3"],
        ["val", "12", "1"],
        ["test", "12", "1"],
    ]
    assert "small: 1,208 parameters on cpu; a step takes" in text
    assert "at most 3 epochs" in text
    assert "3 runs: about" in text
    assert lines[-1] == "Nothing was trained or written."
    assert [path.name for path in experiment_file.parent.iterdir()] == ["small.toml"]


def test_folds_and_variants_are_runs_too(experiment_file):
    experiment_file.write_text(
        fakes_module.EXPERIMENT.replace("seed = 0", "split = { method = 'kfold', folds = 4 }")
        + "\n[matrix]\n'training.batch_size' = [8, 16]\n"
    )
    text = dry_run(experiment_file, "--jobs", "2")
    assert "8 runs, 2 at a time: about" in text
    assert [line.split()[1] for line in text.splitlines() if line.startswith("small-") and ":" not in line] == [
        "4",
        "4",
    ]


def test_what_a_run_would_refuse_a_dry_run_refuses(experiment_file):
    with pytest.raises(InputError, match="is nan"):
        dry_run(experiment_file, "--set", "dataset.nan_track=3")
