"""Protocols on tiny copies of the layouts of their datasets."""

from __future__ import annotations

import io
import re
from collections.abc import Sequence
from pathlib import Path
from typing import Any

import numpy as np
from harness import load
from rich.console import Console

import musicemo
from musicemo.components.hooks import Hooks
from musicemo.contracts import Extraction, Output
from musicemo.evaluation import METRICS
from musicemo.experiment import load_benchmark, load_experiment
from musicemo.experiment.tracks import read_tracks, split_tracks
from musicemo.reporting.blocks import Block
from musicemo.reporting.sections.protocol import protocol_section
from musicemo.reporting.terminal import show
from musicemo.runs import RunRecord, open_run

EXPERIMENT = """\
[dataset]
type = "{dataset}"

[split]
method = "{method}"
{split}

[model]
type = "mean"

[tasks.valence]

[training]
device = "cpu"
epochs = 1
"""

PROTOCOL = """\
[protocol]
title = "Memory"
reference = "A paper"
split = "At random."
segments = "Whole tracks."
metrics = {{ valence = ["rmse"] }}
average = "{average}"
sources.Author = "A. Author, table 1"

[protocol.sets]
{sets}

[[protocol.published]]
system = "SVR"
source = "Author"
scores.valence.rmse = 1.5

[[protocol.published]]
system = "Joint"
source = "Author"
scores.valence.rmse = 1.4
caveat = "it was trained on test tracks"

"""


def install_protocol(install, folder: Path, *, kfold: bool = False, other: str = "") -> None:
    """Register the protocol `memory`, whose hashes are those of its split; of the sets in `other` they are wrong."""
    split = "folds = 4\nvalidation = 0.0" if kfold else "seed = 3"
    text = EXPERIMENT.format(dataset="memory", method="kfold" if kfold else "random", split=split)
    experiment = load(folder, text=text)
    tracks = read_tracks(experiment)
    splits = [split_tracks(experiment, tracks, fold) for fold in (range(4) if kfold else [None])]
    sets = []
    for part in ("test",) if kfold else ("train", "val", "test"):
        hashes = ["0" * 64 if part == other else split.hashes[part] for split in splits]
        count = sum(len(split.parts[part]) for split in splits)
        sets.append(
            f"{part} = {{ tracks = {count}, hash = {hashes if kfold else hashes[0]!r} }}".replace("'", '"')
        )
    head = PROTOCOL.format(average="folds" if kfold else "tracks", sets="\n".join(sets))
    path = folder / "memory.toml"
    path.write_text(head + text)
    install("protocol", "memory", lambda: path)


class Loudness:
    """The mean and the deviation of the samples in windows of a quarter of a second."""

    sample_rate = 4000
    outputs = {"level": 2}  # noqa: RUF012  # never changed
    fingerprint = "loudness-1"
    #: So that no processes are started for it.
    device = "cpu"

    def __init__(self, *, pretrained_on: list[str] | None = None) -> None:
        if pretrained_on is not None:
            self.pretrained_on = tuple(pretrained_on)

    def extract(self, samples, outputs):
        step = self.sample_rate // 4
        windows = [samples[start : start + step] for start in range(0, len(samples), step)]
        values = np.array([[np.abs(one).mean(), one.std()] for one in windows], dtype=np.float32)
        return Extraction({"level": Output.regular(values, 0.25)})


def run_benchmark(name: str, root: Path, runs: Path, *overrides: str) -> list[RunRecord]:
    """Run a protocol's experiment for an epoch on tiny features, those of `Loudness`, and return its runs."""
    keys = [f"dataset.root={root}", "features.type=loudness", f"features.cache={runs / 'cache'}"]
    keys += ["training.device=cpu", "training.epochs=1", "evaluation.resamples=100", *overrides]
    (experiment,) = load_benchmark(name, keys)
    outcomes = musicemo.run(experiment, runs, jobs=1, hooks=Hooks())
    return [open_run(outcome.directory) for outcome in outcomes]


def assert_reports(records: Sequence[RunRecord]) -> dict[str, Any]:
    """Check that the report has each published result and the run's own below them; return what the run recorded."""
    entry = records[0].results["protocol"]
    text = text_of(protocol_section(records).blocks)
    lines = text.splitlines()

    def places_of(system: str) -> list[int]:
        """Return the lines of a row: several if the metrics are in several tables."""
        return [at for at, line in enumerate(lines) if re.match(rf"{re.escape(system)}( \(\d\))?  ", line)]

    ours = places_of(records[0].name)
    for row in entry["published"]:
        places = places_of(row["system"])
        assert len(places) == len(ours) > 0
        assert all(above < below for above, below in zip(places, ours, strict=True))
        shown = " ".join(lines[place] for place in places)
        for scores in row["scores"].values():
            assert all(f"{value:.3f}" in shown for value in scores.values()), shown
    repeated = load_experiment(records[0].directory / "experiment.toml")
    assert repeated.protocol, "the resolved experiment of a run follows the protocol too"
    kinds = {task: one["kind"] for task, one in records[0].tasks.items()}
    assert all(set(names) <= set(METRICS[kinds[task]]) for task, names in entry["metrics"].items())
    assert "is not the protocol's" in text
    return entry


def text_of(blocks: Sequence[Block]) -> str:
    """Return blocks as a wide terminal shows them."""
    stream = io.StringIO()
    show(Console(file=stream, width=200), blocks)
    return stream.getvalue()
