"""Write the tables of docs/multitask-study.md, and draw its figure, from the runs of the study.

python docs/figures/multitask_study.py RUNS docs/multitask-study.md docs/figures/multitask_study.png

The text between `<!-- NAME -->` and `<!-- end -->` is replaced. Experiments with fewer runs than folds are left out.
"""

from __future__ import annotations

import json
import re
import sys
from collections.abc import Iterable, Sequence
from pathlib import Path

import numpy as np
from matplotlib.figure import Figure

from musicemo.comparison import Comparison, Difference, Row, Score, compare, read_replicates
from musicemo.evaluation import LEADING
from musicemo.runs import open_replicates

BASELINE = "single"
#: Name of the study on a dataset -> the tasks of which few labels are used.
LABELS = {
    "study": ("joyful_activation", "power", "calmness"),
    "synth-study": ("valence", "energy", "danceability"),
}
RATES = ("0.003", "0.01", "0.03", "0.1")
TITLES = {"spearman": "mean rho", "pr_auc": "mean PR-AUC of tags", "accuracy": "accuracy of genre"}
WEIGHTS = {
    "plain": "exp(-s) L, L = mse + 0.1 (1 - rho)",
    "study": "exp(-s) L + s, L = mse - 0.1 rho",
    "safe": "exp(-s) L + s, L = mse + 0.1 (1 - rho)",
    "constant": "L, L = mse + 0.1 (1 - rho)",
}
CONDITIONS = (
    *("single", "all", "groups", "mmoe", "cgc", "ple", "cross-stitch", "mtan", "adapters"),
    *("uncertainty", "dwa", "gradnorm", "famo", "upgrad", "nash-mtl", "db-mtl"),
)


def finished(folder: Path, runs: int = 5) -> bool:
    """Return whether a folder has this many finished runs: those of a seed, one for each fold."""
    states = (json.loads(path.read_text()).get("status") for path in folder.glob("*/results.json"))
    return sum(state == "done" for state in states) >= runs


def compared(runs: Path, names: dict[str, str], baseline: str) -> Comparison:
    """Compare the finished experiments, name -> folder, with a baseline."""
    there = {name: runs / folder for name, folder in names.items() if finished(runs / folder)}
    return compare([read_replicates(path, name=name) for name, path in there.items()], baselines=[baseline])


def scores(row: Row) -> dict[str, Score]:
    """Return experiment -> its score in a row."""
    return {score.experiment: score for score in row.scores}


def written(difference: Difference | None) -> str:
    """Return a difference with its interval."""
    return f"{difference.value:+.3f} [{difference.low:+.3f}, {difference.high:+.3f}]" if difference else ""


def table(head: Sequence[str], rows: Iterable[Sequence[str]]) -> str:
    """Return a table in Markdown."""
    lines = [head, ["---"] + ["---:"] * (len(head) - 1), *rows]
    return "\n".join(f"| {' | '.join(line)} |" for line in lines)


def conditions(comparison: Comparison) -> str:
    """Return the means over the tasks of a kind and the score of genre, with their differences from single-task."""
    single = [row for row in comparison.rows if row.metric in LEADING and row.task == "genre"]
    rows = [*comparison.averages, *single]
    names = [score.experiment for score in rows[0].scores]
    by_row = [scores(row) for row in rows]
    return table(
        ["condition", *(text for row in rows for text in (TITLES[row.metric], "minus `single`"))],
        (
            (
                f"`{name}`",
                *(text for of in by_row for text in (f"{of[name].mean:.3f}", written(of[name].difference))),
            )
            for name in names
        ),
    )


def tasks(comparison: Comparison) -> str:
    """Return the difference of each task from single-task, for all tasks in one network and for groups."""
    names = [name for name in ("all", "groups") if name in {one.name for one in comparison.experiments}]
    rows = [row for row in comparison.rows if row.metric in LEADING]
    return table(
        ["task", "`single`", *(f"`{name}` minus `single`" for name in names)],
        (
            (
                row.task.replace("_", " "),
                f"{scores(row)[BASELINE].mean:.3f}",
                *(written(scores(row)[name].difference) for name in names),
            )
            for row in rows
        ),
    )


def labels(runs: Path, study: str) -> str:
    """Return what the other tasks add to an emotion with few and with all labels."""
    rows = []
    for task in LABELS[study]:
        for share, single, multi in (
            ("10 %", f"{study}-labels-single-10", f"{study}-labels-{task}-10"),
            ("30 %", f"{study}-labels-single-30", f"{study}-labels-{task}-30"),
            ("100 %", f"{study}-single", f"{study}-all"),
        ):
            if not (finished(runs / single) and finished(runs / multi)):
                continue
            comparison = compared(runs, {"single": single, "multi": multi}, "single")
            (row,) = (row for row in comparison.rows if row.task == task and row.metric in LEADING)
            by_name = scores(row)
            rows.append(
                (
                    task.replace("_", " "),
                    share,
                    f"{by_name['single'].mean:.3f}",
                    f"{by_name['multi'].mean:.3f}",
                    written(by_name["multi"].difference),
                )
            )
    return table(["task", "labels", "single-task", "with the other tasks", "difference"], rows)


def tuning(runs: Path, study: str) -> str:
    """Return the mean score on the validation songs of each condition and learning rate."""
    rows = []
    for name in CONDITIONS:
        folders = [runs / f"{study}-tuning-{name}-lr{rate}" for rate in RATES]
        if not all(finished(folder, 1) for folder in folders):
            continue
        values = [
            np.mean([_validated(run.metrics["val"]) for run in open_replicates(path)]) for path in folders
        ]
        best = int(np.argmax(values))
        rows.append((f"`{name}`", *(f"**{v:.3f}**" if i == best else f"{v:.3f}" for i, v in enumerate(values))))
    return table(["condition", *RATES], rows)


def _validated(metrics: dict[str, dict[str, dict[str, float]]]) -> float:
    """Return the mean over the tasks of their leading metrics."""
    return float(
        np.mean([next(of[name]["value"] for name in LEADING if name in of) for of in metrics.values()])
    )


def weights(runs: Path) -> str:
    """Return the last weights, and the score of each form of the weights with its difference from constant ones."""
    comparison = compared(runs, {name: f"study-weights-{name}" for name in WEIGHTS}, "constant")
    (row,) = comparison.averages
    rows = []
    for score in row.scores:
        last = [
            run.history[-1][f"weight/{task}"]
            for run in open_replicates(runs / f"study-weights-{score.experiment}")
            for task in LABELS["study"]
        ]
        rows.append(
            (
                f"`{score.experiment}`",
                WEIGHTS[score.experiment],
                f"{min(last):.3g} to {max(last):.3g}",
                f"{score.mean:.3f} [{score.low:.3f}, {score.high:.3f}]",
                written(score.difference),
            )
        )
    return table(["variant", "objective of a task", "weights at the end", "mean rho", "minus `constant`"], rows)


def draw(runs: Path, out: Path) -> None:
    """Draw the weights over the epochs, of the first fold."""
    forms = [name for name in WEIGHTS if name != "constant"]
    figure = Figure(figsize=(7.6, 2.6), layout="constrained")
    panels = figure.subplots(1, len(forms), sharex=True)
    for panel, name in zip(panels, forms, strict=True):
        history = open_replicates(runs / f"study-weights-{name}")[0].history
        for task in LABELS["study"]:
            panel.plot(
                [record["epoch"] for record in history],
                [record[f"weight/{task}"] for record in history],
                label=task.replace("_", " "),
            )
        panel.set(yscale="log", xlabel="epoch")
        panel.set_title(WEIGHTS[name].replace(", L", ",\nL"), fontsize=8)
    panels[0].set_ylabel("weight exp(-s)")
    panels[-1].legend(frameon=False, fontsize=7)
    figure.savefig(out, dpi=90)


def main(runs: Path, page: Path, out: Path) -> None:
    """Replace the tables of the page, and draw the figure."""
    parts = {"weights": weights(runs)}
    for study in LABELS:
        comparison = compared(runs, {name: f"{study}-{name}" for name in CONDITIONS}, BASELINE)
        start = study.removesuffix("study")
        parts |= {
            f"{start}conditions": conditions(comparison),
            f"{start}tasks": tasks(comparison),
            f"{start}labels": labels(runs, study),
            f"{start}tuning": tuning(runs, study),
        }
    text = page.read_text()
    for name, part in parts.items():
        text = re.sub(
            rf"<!-- {name} -->\n.*?<!-- end -->",
            lambda _, name=name, part=part: f"<!-- {name} -->\n{part}\n<!-- end -->",
            text,
            flags=re.DOTALL,
        )
    page.write_text(text)
    draw(runs, out)


if __name__ == "__main__":
    main(*map(Path, sys.argv[1:4]))
