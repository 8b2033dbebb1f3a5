"""Write the tables of docs/reproduction.md, and draw its figure, from the runs of the study on Emotify and lab.

python docs/figures/reproduction.py RUNS docs/reproduction.md docs/figures/reproduction.png

The text between `<!-- NAME -->` and `<!-- end -->` is replaced. Rows without runs are left out.
"""

from __future__ import annotations

import re
import sys
import warnings
from collections.abc import Callable, Iterable, Sequence
from functools import cache
from pathlib import Path

import numpy as np
from matplotlib.figure import Figure
from numpy.typing import NDArray
from scipy.stats import rankdata

from musicemo.runs import RecordedRun, find_replicates

EMOTIONS = (
    *("amazement", "solemnity", "tenderness", "nostalgia", "calmness"),
    *("power", "joyful_activation", "tension", "sadness"),
)
MODELS = ("lstm", "attention", "cnn")
LAB = ("valence", "energy", "danceability")
RESAMPLES = 1000


class Runs:
    """The finished runs in a folder, by experiment."""

    def __init__(self, folder: Path) -> None:
        self.folder = folder
        self.of = cache(self._of)

    def _of(self, name: str) -> list[RecordedRun]:
        if not (self.folder / name).is_dir():
            return []
        with warnings.catch_warnings():
            warnings.simplefilter("ignore")
            found = [RecordedRun.read(path) for path in find_replicates(self.folder / name, unfinished=True)]
        return [run for run in found if run.status == "done"]

    def metric(self, name: str, task: str, metric: str) -> list[float]:
        """Return a metric on the test set, of every seed."""
        return [run.metrics["test"][task][metric]["value"] or 0.0 for run in self.of(name)]

    def pairs(self, name: str, task: str) -> list[tuple[NDArray[np.float64], NDArray[np.float64]]]:
        """Return targets and predictions on the test set, of every seed, tracks in one order."""
        found = []
        for run in self.of(name):
            evaluation = run.evaluations["test"].tasks[task]
            order = np.argsort(evaluation.ids)
            found.append((evaluation.target[order], evaluation.prediction[order]))
        return found


def spread(values: Sequence[float]) -> str:
    """Return mean and standard deviation."""
    if not values:
        return "not run"
    deviation = f" ± {np.std(values, ddof=1):.2f}" if len(values) > 1 else ""
    return f"{np.mean(values):.2f}{deviation}"


def rho(target: NDArray[np.float64], prediction: NDArray[np.float64]) -> NDArray[np.float64]:
    """Return Spearman's rho along the last axis; 0 where one side is constant."""
    ranks = [rankdata(values, axis=-1) for values in (target, prediction)]
    ranks = [values - values.mean(-1, keepdims=True) for values in ranks]
    norm = np.sqrt((ranks[0] ** 2).sum(-1) * (ranks[1] ** 2).sum(-1))
    return np.divide((ranks[0] * ranks[1]).sum(-1), norm, out=np.zeros_like(norm), where=norm > 0)


def bootstrap(columns: Iterable[tuple[Runs, str, str]]) -> NDArray[np.float64]:
    """Return the mean rho over experiments, tasks and seeds: first of the test tracks, then of resamples of them."""
    total, count = np.zeros(RESAMPLES + 1), 0
    for runs, name, task in columns:
        for target, prediction in runs.pairs(name, task):
            chosen = np.random.default_rng(0).integers(len(target), size=(RESAMPLES, len(target)))
            chosen = np.concatenate([np.arange(len(target))[None], chosen])
            total += rho(target[chosen], prediction[chosen])
            count += 1
    return total / count if count else np.full(RESAMPLES + 1, np.nan)


def interval(values: NDArray[np.float64], sign: str = "") -> str:
    """Return a value with the interval of its resamples."""
    if np.isnan(values[0]):
        return "not run"
    low, high = np.quantile(values[1:], [0.025, 0.975])
    return f"{values[0]:{sign}.3f} [{low:{sign}.3f}, {high:{sign}.3f}]"


def table(head: Sequence[str], rows: Iterable[Sequence[str]]) -> str:
    """Return a table in Markdown, without the rows of which nothing was run."""
    kept = [row for row in rows if set(row[1:]) != {"not run"}]
    lines = [head, ["---", *["---:"] * (len(head) - 1)], *kept]
    return "\n".join("| " + " | ".join(line) + " |" for line in lines)


def genre(runs: Runs) -> str:
    """Topic 1: accuracy and F1 of every variant, on Emotify and lab."""
    rows = []
    for model in ("lstm", "cnn"):
        for features in ("mel", "chroma", "fused"):
            for sync in ("beat", "frame"):
                name = f"genre-{model}-{features}-{sync}"
                found = [
                    spread(runs.metric(f"{data}-{name}", "genre", metric))
                    for data in ("emotify", "study")
                    for metric in ("accuracy", "macro_f1", "weighted_f1")
                ]
                rows.append([f"{model.upper()}, {features}, {sync}", *found])
    names = ("accuracy", "macro F1", "weighted F1")
    head = ["", *(f"{data} {name}" for data in ("Emotify:", "lab:") for name in names)]
    return table(head, rows)


def collapse(runs: Runs) -> str:
    """Topic 2: how far predictions spread, and how they rank, by model and loss."""
    rows = []
    for model in MODELS:
        for loss, title in (("mse", "mse"), ("rank", "mse and rank term"), ("pairs", "mse over all pairs")):
            stem = "broadcast" if loss == "pairs" else "emotion"
            names = [(runs, f"emotify-{stem}-{model}-{loss}-{emotion}", emotion) for emotion in EMOTIONS]
            pairs = [pair for _, name, emotion in names for pair in runs.pairs(name, emotion)]
            if not pairs:
                continue
            ratios = [prediction.std() / target.std() for target, prediction in pairs]
            quartiles = " / ".join(f"{value:.2f}" for value in np.quantile(ratios, [0.25, 0.5, 0.75]))
            rows.append([f"{model}, {title}", str(len(pairs)), quartiles, interval(bootstrap(names))])
    return table(["", "runs", "deviation of predictions / of targets: quartiles", "mean rho [interval]"], rows)


def transfer(runs: Runs) -> str:
    """Topic 3: with and without what was learnt of genres, paired by song."""
    starts = {
        "from scratch (topic 2)": [f"emotify-emotion-cnn-rank-{emotion}" for emotion in EMOTIONS],
        "from genre, all trained": [f"emotify-transfer-trained-{emotion}" for emotion in EMOTIONS],
        "from genre, convolutions frozen": [f"emotify-transfer-frozen-{emotion}" for emotion in EMOTIONS],
    }
    return differences(runs, starts, EMOTIONS)


def weights(runs: Runs) -> str:
    """Topic 4: constant and learned weights, and the single-task network."""
    single = [[f"emotify-emotion-cnn-rank-{emotion}" for emotion in EMOTIONS]]
    multi = [[f"emotify-weights-{kind}"] * len(EMOTIONS) for kind in ("constant", "learned")]
    titles = ["constant weights", "learned weights", "single-task (topic 2, study's rank term)"]
    first = differences(runs, dict(zip(titles, [*multi, *single], strict=True)), EMOTIONS)
    rows = []
    for task in ("genre", *EMOTIONS):
        metric = "accuracy" if task == "genre" else "spearman"
        found = [runs.metric(f"emotify-weights-{kind}", task, metric) for kind in ("constant", "learned")]
        rows.append([task, *map(spread, found), paired(*found)])
    return f"{first}\n\n{table(['task', 'constant', 'learned', 'difference over seeds [interval]'], rows)}"


def paired(before: Sequence[float], after: Sequence[float]) -> str:
    """Return the mean difference over seeds with Student's 95 % interval."""
    from scipy.stats import t

    if len(before) != len(after) or len(before) < 2:
        return "not run"
    difference = np.subtract(after, before)
    half = t.ppf(0.975, len(difference) - 1) * difference.std(ddof=1) / np.sqrt(len(difference))
    return f"{difference.mean():+.3f} [{difference.mean() - half:+.3f}, {difference.mean() + half:+.3f}]"


def differences(runs: Runs, kinds: dict[str, list[str]], tasks: Sequence[str]) -> str:
    """Return the mean rho over tasks of each kind, and its difference from the first's, on the same resamples."""
    found = {
        title: bootstrap((runs, name, task) for name, task in zip(names, tasks, strict=True))
        for title, names in kinds.items()
    }
    first = next(iter(found.values()))
    rows = [
        [title, interval(values), "" if values is first else interval(values - first, "+")]
        for title, values in found.items()
    ]
    return table(["", "mean rho over nine emotions [interval]", "difference from the first [interval]"], rows)


def lab(runs: Runs) -> str:
    """Topics 2 to 4 on the fixture of the study's layout."""
    rows = []
    for kind in [f"emotion-{model}-{{}}-{loss}" for model in MODELS for loss in ("mse", "rank")] + [
        f"transfer-{start}-{{}}" for start in ("scratch", "trained", "frozen")
    ]:
        values = [spread(runs.metric(f"study-{kind.format(task)}", task, "spearman")) for task in LAB]
        rows.append([kind.replace("-{}", ""), *values])
    for kind in [f"{weighting}-{term}" for weighting in ("learned", "constant") for term in ("study", "safe")]:
        rows.append(
            [
                f"multitask-{kind}",
                *(spread(runs.metric(f"study-multitask-{kind}", task, "spearman")) for task in LAB),
            ]
        )
    return table(["experiment", *LAB], rows)


def draw(runs: Runs, out: Path) -> None:
    """Draw predictions against targets of one emotion's networks, and learned weights over the epochs."""
    figure = Figure(figsize=(12, 3.3), layout="constrained")
    *panels, right = figure.subplots(1, 4)
    for panel, (name, title) in zip(
        panels,
        [
            ("emotify-broadcast-cnn-pairs-calmness", "mse over all pairs (the mistake)"),
            ("emotify-emotion-cnn-mse-calmness", "mse"),
            ("emotify-emotion-cnn-rank-calmness", "mse and rank term"),
        ],
        strict=True,
    ):
        for target, prediction in runs.pairs(name, "calmness"):
            panel.scatter(target, prediction, s=10, alpha=0.6)
        panel.plot([0, 1], [0, 1], color="grey", linewidth=0.8)
        panel.set(title=title, xlabel="calmness: share of listeners", xlim=(0, 0.8), ylim=(-0.2, 1))
    panels[0].set_ylabel("prediction, a colour for each seed")
    for run in runs.of("emotify-weights-learned")[:1]:
        for task in ("genre", *EMOTIONS):
            right.plot([record[f"weight/{task}"] for record in run.history], label=task)
    right.set(title="learned weights, seed 0", xlabel="epoch")
    if right.lines:
        right.legend(fontsize=6)
    figure.savefig(out, dpi=110)


SECTIONS: dict[str, Callable[[Runs], str]] = {
    "genre": genre,
    "collapse": collapse,
    "transfer": transfer,
    "weights": weights,
    "lab": lab,
}


def main(folder: Path, page: Path, figure: Path) -> None:
    """Fill in the page and draw the figure."""
    runs = Runs(folder)
    text = page.read_text(encoding="utf-8")
    for name, section in SECTIONS.items():
        filled = f"<!-- {name} -->\n{section(runs)}\n<!-- end -->"
        text = re.sub(
            rf"<!-- {name} -->.*?<!-- end -->", lambda _, filled=filled: filled, text, flags=re.DOTALL
        )
    page.write_text(text, encoding="utf-8")
    draw(runs, figure)


if __name__ == "__main__":
    main(*map(Path, sys.argv[1:4]))
