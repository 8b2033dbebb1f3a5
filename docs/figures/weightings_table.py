"""Write the table of docs/weightings.md from the runs of experiments/emotify/weightings.toml.

python docs/figures/weightings_table.py RUNS [TIMED]

The table has one row per variant with finished runs, the best first. Its columns are the mean Spearman's rho over the
emotions and seeds on the test set, with the 95 % interval of `musicemo compare` for other tracks and seeds; the
difference from `constant`, with its interval; the number of emotions with a higher mean than `constant`; and the median
time per epoch in seconds. TIMED is a folder of shorter runs of the same file, from which the times are taken; they must
run one at a time, without other load.
"""

from __future__ import annotations

import statistics
import sys
from collections.abc import Sequence
from pathlib import Path

from musicemo.comparison import Row, compare, read_replicates
from musicemo.runs import RecordedRun, find_replicates

PREFIX = "weightings-"
BASELINE = f"{PREFIX}constant"


def main(runs: Path, timed: Path) -> None:
    """Print the table."""
    folders = sorted(runs.glob(f"{PREFIX}*"), key=lambda folder: (folder.name != BASELINE, folder.name))
    experiments = [read_replicates(folder, name=folder.name) for folder in folders if _done(folder)]
    found = compare(experiments, baselines=[BASELINE])
    (average,) = (row for row in found.averages if row.metric == "spearman")
    ahead = {one.name: _ahead(one.name, found.rows) for one in experiments}
    seconds = {one.name: _seconds(timed / one.name) for one in experiments}
    print("| weighting | seeds | mean rho | against `constant` | emotions above it | s an epoch |")
    print("|---|---|---|---|---|---|")
    for score in sorted(average.scores, key=lambda score: -score.mean):
        apart = score.difference
        print(
            f"| `{score.experiment.removeprefix(PREFIX)}` | {len(score.values)} "
            f"| {score.mean:.3f} [{score.low:.3f}, {score.high:.3f}] "
            f"| {f'{apart.value:+.3f} [{apart.low:+.3f}, {apart.high:+.3f}]' if apart else ''} "
            f"| {f'{ahead[score.experiment]} of {len(average.tasks)}' if apart else ''} "
            f"| {seconds[score.experiment]:.2f} |"
        )


def _done(folder: Path) -> bool:
    return any(RecordedRun.read(path.parent).status == "done" for path in folder.glob("*/results.json"))


def _ahead(name: str, rows: Sequence[Row]) -> int:
    """Return on how many tasks an experiment's mean rho is above the baseline's."""
    means = [{score.experiment: score.mean for score in row.scores} for row in rows if row.metric == "spearman"]
    return sum(mean[name] > mean[BASELINE] for mean in means)


def _seconds(folder: Path) -> float:
    """Return the median over the runs of an epoch's seconds."""
    read = [RecordedRun.read(directory).results for directory in find_replicates(folder)]
    return statistics.median(results["durations"]["training"] / results["epochs"] for results in read)


if __name__ == "__main__":
    main(Path(sys.argv[1]), Path(sys.argv[-1]))
