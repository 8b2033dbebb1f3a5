"""Measure how long the bootstrap intervals of the metrics of each kind of task take.

    python benchmarks/intervals.py [--tracks 4231] [--tags 56] [--resamples 1000] [--rounds 3]

The defaults are the size of MTG-Jamendo's test set of moods and themes. The predictions are random numbers. Each line
has the CPU time of the intervals, the fastest of some rounds, and its ratio to that of a regression.
"""

from __future__ import annotations

import argparse
import time
from collections.abc import Callable

import numpy as np

from musicemo.evaluation import TaskEvaluation, pair_id


def evaluations(tracks: int, tags: int) -> dict[str, Callable[[], TaskEvaluation]]:
    """Return kind of task -> a function that builds its evaluation, without anything that is computed once."""
    random = np.random.default_rng(0)
    ids = [f"t{index:06d}" for index in range(tracks)]
    ratings = random.normal(size=(2, tracks))
    classes = random.integers(8, size=(2, tracks))
    having = (random.random((tracks, tags)) < random.uniform(0.005, 0.1, tags)).astype(np.float64)
    shares = (0.3 * having + random.random((tracks, tags))) / 1.3
    names = [f"tag{index}" for index in range(tags)]
    triples = [
        (first + one, first + two) for first in range(0, tracks - 2, 3) for one, two in ((0, 1), (0, 2), (1, 2))
    ]
    pairs = [pair_id(ids[first], ids[second]) for first, second in triples]
    scores, listeners = random.normal(size=(len(pairs), 2)), random.integers(1, 9, size=(len(pairs), 2))
    return {
        "regression": lambda: TaskEvaluation("regression", ids, *ratings),
        "classification": lambda: TaskEvaluation(
            "classification", ids, *classes, [str(one) for one in range(8)]
        ),
        f"{tags} tags": lambda: TaskEvaluation.of_tags(ids, having, shares, names),
        f"{len(pairs)} pairs": lambda: TaskEvaluation("pairs", pairs, listeners.astype(np.float64), scores),
    }


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__)
    for name, default in (("tracks", 4231), ("tags", 56), ("resamples", 1000), ("rounds", 3)):
        parser.add_argument(f"--{name}", type=int, default=default)
    options = parser.parse_args()
    reference = None
    for kind, build in evaluations(options.tracks, options.tags).items():
        seconds = []
        for _ in range(options.rounds):
            evaluation = build()
            began = time.process_time()
            evaluation.resampled(options.resamples)
            seconds.append(time.process_time() - began)
        reference = reference or min(seconds)
        print(f"{kind:16} {min(seconds):6.2f} s  {min(seconds) / reference:6.1f}")


if __name__ == "__main__":
    main()
