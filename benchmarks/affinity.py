"""Find groups of tasks whose gradients agree, from runs with `[training] gradient_diagnostics`.

    python benchmarks/affinity.py RUNS [--groups 3]

RUNS is the folder of an experiment's runs. The affinity of two tasks is the mean cosine of their gradients on the
shared parameters, over the measured steps of all runs. The tasks are clustered by the average distance 1 - affinity
(hierarchical clustering, Sokal and Michener, 1958). The output is the table of affinities and the key `groups` of the
sharing architecture of the same name.
"""

from __future__ import annotations

import argparse
import json
from collections.abc import Sequence
from pathlib import Path

import numpy as np
from numpy.typing import NDArray
from scipy.cluster.hierarchy import average, fcluster
from scipy.spatial.distance import squareform

from musicemo.runs import open_replicates


def affinity(folder: Path) -> tuple[list[str], NDArray[np.float64]]:
    """Return the tasks, and the mean cosine of each pair, `[tasks, tasks]`, over the finished runs in a folder."""
    runs = [run.results for run in open_replicates(folder)]
    cosines = [run["gradients"]["cosines"] for run in runs if "gradients" in run]
    if not cosines:
        raise SystemExit(
            f"{folder}: no run has measured gradients. Set training.gradient_diagnostics = {{ every = 10 }}"
        )
    tasks = list(runs[0]["tasks"])
    mean = np.eye(len(tasks))
    for i, one in enumerate(tasks):
        for j, other in enumerate(tasks):
            if i != j:
                mean[i, j] = np.mean([run[one][other] for run in cosines])
    return tasks, mean


def group(tasks: Sequence[str], cosines: NDArray[np.float64], count: int) -> list[list[str]]:
    """Return `count` groups of tasks, in the order of their first tasks."""
    labels = fcluster(average(squareform(1 - cosines, checks=False)), count, criterion="maxclust")
    return [
        [task for task, label in zip(tasks, labels, strict=True) if label == one]
        for one in dict.fromkeys(labels)
    ]


def main() -> None:
    """Print the affinities and the groups."""
    parser = argparse.ArgumentParser(description=(__doc__ or "").partition("\n")[0])
    parser.add_argument("runs", type=Path)
    parser.add_argument("--groups", type=int, default=3)
    arguments = parser.parse_args()
    tasks, cosines = affinity(arguments.runs)
    width = max(map(len, tasks))
    for task, row in zip(tasks, cosines, strict=True):
        print(f"{task:{width}}", *(f"{value:6.2f}" for value in row))
    print("groups =", json.dumps(group(tasks, cosines, arguments.groups)))


if __name__ == "__main__":
    main()
