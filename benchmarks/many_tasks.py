"""Compare the time of a training epoch with many tasks, per weighting and per sharing architecture.

    python benchmarks/many_tasks.py [--tasks 3 10 50] [--tracks 40] [--rounds 3]

Every weighting is measured with hard sharing, and every sharing architecture with constant weights: the time of the
processor for an epoch on the training set, with its metrics, on one thread. The network is the default `cnn`, with
heads of 50 units, on features of random numbers, 140 rows and 60 time steps a track; all tasks are ratings. Ratios are
to one task with constant weights and hard sharing. The rivals take turns in random order, an epoch each, and a ratio is
the median over the rounds of the ratio within a round, so that other load affects it little.
"""

from __future__ import annotations

import argparse
import contextlib
import random
import statistics
import sys
import tempfile
import time
import warnings
from collections.abc import Iterator
from pathlib import Path

import numpy as np
import torch

from musicemo.components import registry
from musicemo.contracts import Target, Track
from musicemo.experiment import load_experiment
from musicemo.experiment.tracks import read_tracks, split_tracks
from musicemo.running.prepare import prepare
from musicemo.training.fitters import Fitter, make_fitter
from musicemo.training.scoring import Scorer

WEIGHTINGS = ("constant", "uncertainty", "dwa", "gradnorm", "famo", "upgrad", "nash-mtl", "db-mtl")
ROWS, TIME = 140, 60

EXPERIMENT = """
name = "many"
dataset = {{ type = "./many_tasks.py:Many", tracks = {tracks}, count = {tasks} }}
split = {{ method = "random", validation = 0, test = 0.2 }}
model = {{ type = "cnn" }}
weighting = {{ type = "{weighting}" }}
sharing = {{ type = "{sharing}" }}
training = {{ batch_size = 32, device = "cpu", early_stopping = {{ monitor = "train/loss", patience = false }} }}
[tasks]
{tables}
"""

#: Weighting, sharing architecture and number of tasks.
Rival = tuple[str, str, int]


class Many:
    """Tracks of random features, with random ratings of any number of targets."""

    def __init__(self, tracks: int, count: int) -> None:
        self.targets = [Target(f"task{number}", "regression", range=(0.0, 1.0)) for number in range(count)]
        self._tracks = tracks

    def tracks(self) -> Iterator[Track]:
        generator = np.random.default_rng(0)
        for index in range(self._tracks):
            yield Track(
                f"track{index}",
                features=generator.normal(size=(TIME, ROWS)).astype(np.float32),
                targets={target.name: float(generator.random()) for target in self.targets},
            )


def build(rival: Rival, tracks: int) -> tuple[Fitter, int]:
    """Return the fitter of a rival, and the number of parameters of its sharing architecture."""
    weighting, sharing, count = rival
    tables = "\n".join(f"task{number} = {{}}" for number in range(count))
    text = EXPERIMENT.format(tracks=tracks, tasks=count, weighting=weighting, sharing=sharing, tables=tables)
    with tempfile.TemporaryDirectory() as folder:
        (Path(folder) / "many_tasks.py").symlink_to(Path(__file__).resolve())
        (Path(folder) / "many.toml").write_text(text)
        experiment = load_experiment(Path(folder) / "many.toml")
        read = read_tracks(experiment)
        experiment = experiment.completed(read)
        prepared = prepare(experiment, read, split_tracks(experiment, read), 0, torch.device("cpu"))
    parameters = sum(one.numel() for one in prepared.network.sharing.parameters())
    return make_fitter(prepared, Scorer(prepared), "min"), parameters


def measure(fitters: dict[Rival, Fitter], rounds: int) -> dict[Rival, list[float]]:
    """Return the seconds of each one's epochs, the first of which is not counted.

    Ctrl-C ends the measurement; the rounds that are finished count.
    """
    seconds: dict[Rival, list[float]] = {rival: [] for rival in fitters}
    with contextlib.suppress(KeyboardInterrupt):
        for number in range(rounds + 1):
            order = list(fitters.items())
            random.Random(number).shuffle(order)
            for rival, fitter in order:
                began = time.process_time()
                fitter.fit(number + 1, lambda *_: None)
                seconds[rival].append(time.process_time() - began)
            print(f"round {number} of {rounds}", file=sys.stderr, flush=True)
    finished = min(map(len, seconds.values()))
    return {rival: values[1:finished] for rival, values in seconds.items()}


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--tasks", type=int, nargs="+", default=[3, 10, 50])
    parser.add_argument("--tracks", type=int, default=40, help="32 of the 40 are trained on")
    parser.add_argument("--rounds", type=int, default=3)
    options = parser.parse_args()
    torch.set_num_threads(1)
    warnings.simplefilter("ignore")
    sharings = [claim.name for claim in registry.claims("sharing") if claim.distribution == "musicemo"]
    kinds = [*((name, "hard") for name in WEIGHTINGS), *(("constant", name) for name in sharings)]
    first: Rival = ("constant", "hard", 1)
    rivals = [first, *dict.fromkeys((*kind, count) for count in options.tasks for kind in kinds)]
    built = {rival: build(rival, options.tracks) for rival in rivals}
    seconds = measure({rival: fitter for rival, (fitter, _) in built.items()}, options.rounds)
    print(f"one task, constant, hard: {statistics.median(seconds[first]):.2f} s of CPU time per epoch\n")
    print(f"| weighting | sharing | {' | '.join(f'{count} tasks' for count in options.tasks)} |")
    print("|---" * (2 + len(options.tasks)) + "|")
    for weighting, sharing in dict.fromkeys(kinds):
        cells = []
        for count in options.tasks:
            rival = (weighting, sharing, count)
            ratio = statistics.median(a / b for a, b in zip(seconds[rival], seconds[first], strict=True))
            cells.append(f"{ratio:.2f}")
        print(f"| `{weighting}` | `{sharing}` | {' | '.join(cells)} |")


if __name__ == "__main__":
    main()
