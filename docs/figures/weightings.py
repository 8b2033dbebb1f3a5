"""Draw learned weights over a loss that can be negative and over one that cannot: the runs of negative_losses.toml.

musicemo run docs/figures/negative_losses.toml --set dataset.root=FOLDER
python docs/figures/weightings.py runs docs/figures/weightings.png
"""

from __future__ import annotations

import json
import sys
from pathlib import Path

from matplotlib.figure import Figure

TERMS = {"unbounded": "mse - 0.1 rho", "bounded": "mse + 0.1 (1 - rho)"}
TASKS = ("calmness", "power", "sadness")
ROWS = (("train/{}/loss", "training loss"), ("log_variance/{}", "s"), ("weight/{}", "weight exp(-s)"))


def history(runs: Path, term: str) -> list[dict[str, float]]:
    """Return the records of the latest run of a variant."""
    *_, latest = sorted((runs / f"negative-losses-{term}").glob("*/history.jsonl"))
    return [json.loads(line) for line in latest.read_text().splitlines()]


def main(runs: Path, out: Path) -> None:
    """Draw both runs into a file."""
    figure = Figure(figsize=(7.2, 6.4), layout="constrained")
    axes = figure.subplots(len(ROWS), len(TERMS), sharex=True, sharey="row")
    for column, (term, formula) in enumerate(TERMS.items()):
        records = history(runs, term)
        epochs = [record["epoch"] for record in records]
        for row, (key, label) in enumerate(ROWS):
            panel = axes[row, column]
            for task in TASKS:
                panel.plot(epochs, [record[key.format(task)] for record in records], label=task)
            if column == 0:
                panel.set_ylabel(label)
        axes[0, column].axhline(0, color="0.6", linewidth=1)
        axes[0, column].set_title(f"uncertainty over {formula}", fontsize=10)
        axes[2, column].set(yscale="log", xlabel="epoch")
    axes[0, 1].legend(frameon=False, fontsize=8)
    figure.savefig(out, dpi=110)


if __name__ == "__main__":
    main(Path(sys.argv[1]), Path(sys.argv[2]))
