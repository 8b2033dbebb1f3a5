"""Runs under a protocol: what they record, and what their reports say."""

from __future__ import annotations

import contextlib
import re
from pathlib import Path

import numpy as np
import pytest
from benches import EXPERIMENT, install_protocol, text_of
from complaints import warns
from fakes import MemoryDataset
from harness import hooks_of, load

import musicemo
from musicemo.comparison import fold_mean, read_replicates
from musicemo.errors import InputError
from musicemo.evaluation import EvaluationSettings
from musicemo.experiment import load_benchmark
from musicemo.reporting import make_report
from musicemo.reporting.html import render
from musicemo.reporting.latex import render as latex
from musicemo.reporting.markdown import render as markdown
from musicemo.reporting.sections.protocol import protocol_section, result_blocks
from musicemo.runs import RunRecord, open_run


def run(folder: Path, *overrides: str, name: str = "memory") -> list[RunRecord]:
    """Run the experiment of a protocol."""
    (experiment,) = load_benchmark(name, ["evaluation.resamples=100", *overrides])
    outcomes = musicemo.run(experiment, folder / "runs", jobs=1, hooks=hooks_of())
    return [open_run(outcome.directory) for outcome in outcomes]


@pytest.mark.slow
def test_a_run_with_the_published_sets_has_no_departure(fakes_beside, tmp_path):
    install_protocol(fakes_beside, tmp_path)
    (record,) = run(tmp_path)
    entry = record.results["protocol"]
    assert (entry["name"], entry["departures"]) == ("memory", [])
    assert entry["sets"]["test"] == {"tracks": 12, "expected": 12, "same": True}
    text = text_of(protocol_section([record]).blocks)
    score = record.metrics["test"]["valence"]["rmse"]
    row = next(line for line in text.splitlines() if line.startswith("memory-mean  "))
    assert f"{score['value']:.3f} [{score['low']:.2f}, {score['high']:.2f}]" in row
    assert "departs" not in text
    assert "(1) Not comparable: it was trained on test tracks." in text


@pytest.mark.parametrize("part", ["train", "val", "test"])
def test_another_set_is_a_departure(fakes_beside, tmp_path, part):
    install_protocol(fakes_beside, tmp_path, other=part)
    (record,) = run(tmp_path)
    (text,) = record.results["protocol"]["departures"]
    name, count = {"train": ("training", 36), "val": ("validation", 12), "test": ("test", 12)}[part]
    assert text == f"the {name} set is not the protocol's: it has {count} tracks, of {count}"
    assert "(2) memory-mean departs from the protocol: the" in text_of(protocol_section([record]).blocks)


def test_every_renderer_shows_the_protocol(fakes_beside, tmp_path):
    install_protocol(fakes_beside, tmp_path, other="val")
    (record,) = run(tmp_path)
    page = render(make_report(record.directory))
    assert 'id="protocol"' in page
    assert "the validation set is not the protocol" in page
    blocks = protocol_section([record]).blocks
    for text in (markdown(blocks), latex(blocks), page):
        assert "Joint (1)" in text
        assert "memory-mean (2)" in text


@pytest.mark.slow
def test_test_tracks_in_the_source_of_a_transfer_are_refused_or_marked(fakes_beside, tmp_path):
    install_protocol(fakes_beside, tmp_path)
    text = EXPERIMENT.format(dataset="memory", method="random", split="seed = 4").replace('"mean"', '"means"')
    (source,) = musicemo.run(
        load(tmp_path, "name=source", text=text), tmp_path / "runs", jobs=1, hooks=hooks_of()
    )
    overrides = ["model.type=means", f"transfer.from={source.directory}"]
    with pytest.raises(InputError, match="12 test tracks are among those that"):
        run(tmp_path, *overrides)
    with warns("test tracks are among those that"):
        (record,) = run(tmp_path, *overrides, "transfer.leaks=warn")
    (text,) = record.results["protocol"]["departures"]
    assert re.match(r"\d+ of 12 test tracks are among those that .* was trained or stopped on", text)


@pytest.mark.slow
def test_a_check_with_a_few_batches_is_no_result_of_the_protocol(fakes_beside, tmp_path):
    install_protocol(fakes_beside, tmp_path)
    (experiment,) = load_benchmark("memory", ["model.type=means"])
    (outcome,) = musicemo.run(experiment, tmp_path / "runs", jobs=1, hooks=hooks_of(), overfit_batches=1)
    assert "protocol" not in outcome.results


class Other(MemoryDataset):
    """Tracks with the same ids as those of the dataset `memory`."""

    drawn_from = ("fma",)


@pytest.mark.slow
@pytest.mark.parametrize("shared", ["ids", "corpus", "nothing"])
def test_joint_training_is_measured_on_the_protocols_dataset(fakes_beside, tmp_path, monkeypatch, shared):
    fakes_beside("dataset", "other", Other)
    if shared == "ids":
        monkeypatch.setattr(MemoryDataset, "id_space", "memory", raising=False)
    if shared == "corpus":
        monkeypatch.setattr(MemoryDataset, "drawn_from", ("fma-small",), raising=False)
    install_protocol(fakes_beside, tmp_path)
    text = EXPERIMENT.format(dataset="memory", method="random", split="seed = 3").replace('"mean"', '"means"')
    other = '[[dataset]]\ntype = "other"\nseed = 1\nsplit.method = "stratified"\n\n[[dataset]]'
    text = text.replace("[dataset]", other).replace("[tasks.valence]", "[tasks.valence]\nrange = [1, 9]")
    path = tmp_path / "joint.toml"
    path.write_text(f'protocol = "memory"\nseeds = [0, 1]\n{text}')
    with warns("suspected leak") if shared == "ids" else contextlib.nullcontext():
        outcomes = musicemo.run(path, tmp_path / "runs", jobs=1, hooks=hooks_of())
    records = [open_run(outcome.directory) for outcome in outcomes]
    entry = records[0].results["protocol"]
    assert (entry["dataset"], entry["sets"]["test"]) == (
        "memory",
        {"tracks": 12, "expected": 12, "same": True},
    )
    trained = {name.removeprefix("other/") for part in ("train", "val") for name in records[0].split[part]}
    common = [name for name in records[0].split["test"] if name.removeprefix("memory/") in trained]
    sentences = {
        "ids": f"{len(common)} of 12 test tracks are, with the same ids, in the training or validation set of 'other'",
        "corpus": "'other', which is trained on too, has songs of fma",
    }
    assert len(entry["departures"]) == (shared in sentences)
    assert all(text.startswith(sentences[shared]) for text in entry["departures"])
    task = records[0].evaluations["test"].tasks["valence"]
    ours = [place for place, name in enumerate(task.ids) if name.startswith("memory/")]
    error = np.sqrt(np.mean((task.prediction[ours] - task.target[ours]) ** 2))
    assert entry["scores"]["valence"]["rmse"]["value"] == pytest.approx(error, rel=1e-4)
    errors = [record.results["protocol"]["scores"]["valence"]["rmse"]["value"] for record in records]
    text = text_of(result_blocks([("ours", records), ("one", records[:1])]))
    assert "± is the standard deviation over the seeds" in text
    lines = text.splitlines()
    for name, value in (("ours", np.mean(errors)), ("one", errors[0])):
        row = next(line for line in lines if line.startswith(name)).replace(" (2)", "").replace(" (3)", "")
        assert row.split()[1] == f"{value:.3f}"


@pytest.mark.slow
def test_folds_are_averaged_with_an_interval_over_their_tracks(fakes_beside, tmp_path):
    install_protocol(fakes_beside, tmp_path, kfold=True)
    records = run(tmp_path, "model.type=means", "split.validation=0.2")
    assert [record.results["protocol"]["departures"] for record in records] == [[]] * 4
    replicates = read_replicates(records)
    settings = EvaluationSettings(resamples=300)
    mean = fold_mean(replicates, "valence", "rmse", settings)
    errors = np.array([record.metrics["test"]["valence"]["rmse"]["value"] for record in records])
    assert mean.value == pytest.approx(errors.mean(), rel=1e-6)
    # The standard error of a mean of four independent folds, roughly, from the spread of the squared errors.
    spread = []
    for evaluation in replicates.per_seed[0].folds.values():
        squares = (evaluation.tasks["valence"].prediction - evaluation.tasks["valence"].target) ** 2
        spread.append(squares.std() / np.sqrt(len(squares)) / (2 * np.sqrt(squares.mean())))
    error = np.sqrt(np.sum(np.square(spread))) / 4
    assert (mean.high - mean.low) / (2 * 2.0 * error) == pytest.approx(1, abs=0.35)
    row = next(
        line for line in text_of(result_blocks([("ours", records)])).splitlines() if line.startswith("ours")
    )
    assert row.split()[1] == f"{mean.value:.3f}"


@pytest.mark.slow
def test_one_fold_is_a_departure(fakes_beside, tmp_path):
    install_protocol(fakes_beside, tmp_path, kfold=True)
    (record,) = run(tmp_path, "split.fold=2")
    assert record.results["protocol"]["departures"] == ["it is fold 2 of 4 only"]
    assert record.results["protocol"]["sets"]["test"]["same"]
