"""Write the table of docs/weightings.md from the runs of experiments/emotify/weightings.toml.

python docs/figures/weightings_table.py runs

A row per weighting that has finished runs, the best first: the mean over the emotions of Spearman's rho on the test
part, over its seeds, with a 95% t-interval of the mean over seeds where there are three or more; the emotion that does
worst; and the seconds of an epoch, the median over the runs.
"""

from __future__ import annotations

import statistics
import sys
from collections import defaultdict
from pathlib import Path

from scipy.stats import t

from musicemo.runs import RecordedRun

PREFIX = "emotify-weightings-"


def main(runs: Path) -> None:
    """Print the table."""
    found: dict[str, dict[int, RecordedRun]] = defaultdict(dict)
    for path in sorted(runs.glob(f"{PREFIX}*/*/results.json")):
        run = RecordedRun.read(path.parent)
        if run.status == "done":
            found[run.name.removeprefix(PREFIX)][run.results["seed"]] = run
    rows = [(name, *_row(list(seeds.values()))) for name, seeds in found.items()]
    print("| weighting | mean ρ | interval over seeds | seeds | worst emotion | s an epoch |")
    print("|---|---|---|---|---|---|")
    for name, mean, interval, seeds, worst, seconds in sorted(rows, key=lambda row: -row[1]):
        print(f"| `{name}` | {mean:.3f} | {interval} | {seeds} | {worst} | {seconds:.2f} |")


def _row(runs: list[RecordedRun]) -> tuple[float, str, int, str, float]:
    by_seed = [
        {task: metrics["spearman"]["value"] for task, metrics in run.results["metrics"]["test"].items()}
        for run in runs
    ]
    means = [statistics.mean(values.values()) for values in by_seed]
    mean, interval = statistics.mean(means), ""
    if len(means) >= 3:
        half = t.ppf(0.975, len(means) - 1) * statistics.stdev(means) / len(means) ** 0.5
        interval = f"{mean - half:.3f} to {mean + half:.3f}"
    tasks = {task: statistics.mean(values[task] for values in by_seed) for task in by_seed[0]}
    worst = min(tasks, key=lambda task: tasks[task])
    seconds = statistics.median(run.results["durations"]["training"] / run.results["epochs"] for run in runs)
    return mean, interval, len(runs), f"{worst} {tasks[worst]:.2f}", seconds


if __name__ == "__main__":
    main(Path(sys.argv[1]))
