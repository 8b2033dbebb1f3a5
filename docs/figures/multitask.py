"""Draw a run: losses over the epochs, learned weights, and predicted against true ratings on the test set.

python docs/figures/multitask.py runs/multitask/RUN docs/figures/multitask.png
"""

from __future__ import annotations

import csv
import json
import sys
from collections import defaultdict
from pathlib import Path

from matplotlib.figure import Figure


def main(run: Path, out: Path) -> None:
    """Draw the run into a file."""
    history = [json.loads(line) for line in (run / "history.jsonl").read_text().splitlines()]
    results = json.loads((run / "results.json").read_text())
    tasks = list(results["metrics"]["test"])
    pairs: dict[str, list[tuple[float, float]]] = defaultdict(list)
    with (run / "predictions.csv").open(newline="") as file:
        for row in csv.DictReader(file):
            if row["part"] == "test":
                pairs[row["task"]].append((float(row["target"]), float(row["prediction"])))
    epochs = [record["epoch"] for record in history]
    figure = Figure(figsize=(3.1 * (len(tasks) + 1), 3.2), layout="constrained")
    curves, *panels = figure.subplots(1, len(tasks) + 1)
    for part, style in (("train", "--"), ("val", "-")):
        curves.plot(epochs, [record[f"{part}/loss"] for record in history], style, label=part)
    curves.axvline(results["best_epoch"], color="0.6", linewidth=1, label="best epoch")
    curves.set(xlabel="epoch", ylabel="loss", yscale="log", title="loss")
    curves.legend(frameon=False, fontsize=8)
    for task, axes in zip(tasks, panels, strict=True):
        rho = results["metrics"]["test"][task]["spearman"]
        axes.plot([0, 1], [0, 1], color="0.6", linewidth=1, linestyle="--")
        axes.scatter(*zip(*pairs[task], strict=True), s=14, alpha=0.7, linewidths=0)
        axes.set(xlim=(0, 1), ylim=(0, 1), xlabel=f"true {task}", ylabel=f"predicted {task}", aspect="equal")
        axes.set_title(f"rho {rho['value']:.2f} [{rho['low']:.2f}, {rho['high']:.2f}]", fontsize=10)
    figure.savefig(out, dpi=110)


if __name__ == "__main__":
    main(Path(sys.argv[1]), Path(sys.argv[2]))
