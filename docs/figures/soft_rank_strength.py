"""Draw the figures of docs/soft-ranks.md and print its tables: effect of the strength, and bias of a batch's rho.

    python docs/figures/soft_rank_strength.py

Writes soft_rank_strength.png and soft_rank_batch.png to the folder of this file.
"""

from __future__ import annotations

import statistics
from collections.abc import Callable
from pathlib import Path

import matplotlib as mpl
import torch
from scipy.stats import spearmanr
from torch import Tensor, nn

from musicemo.ops import hard_rank, pearson, soft_rank, spearman, zero_gradient_share

mpl.use("Agg")
import matplotlib.pyplot as plt

HERE = Path(__file__).parent
STRENGTHS = (0.001, 0.003, 0.01, 0.03, 0.1, 0.3, 1.0, 10.0)
SIZES = (8, 16, 32, 128, 512)
SEEDS = range(6)
BATCH = 32


def batches(n: int, count: int = 400) -> tuple[Tensor, Tensor]:
    """Return predictions and targets in [0, 1], of deviation 0.15 around 0.5 and correlation 0.6."""
    generator = torch.Generator().manual_seed(0)
    shared, *own = torch.randn(3, count, n, dtype=torch.float64, generator=generator)
    prediction, target = (0.5 + 0.15 * (0.6**0.5 * shared + 0.4**0.5 * part) for part in own)
    return prediction.clamp(0, 1), target.clamp(0, 1)


def gradient(rho: Callable[[Tensor], Tensor], prediction: Tensor) -> Tensor:
    """Return each batch's gradient."""
    leaf = prediction.clone().requires_grad_()
    (result,) = torch.autograd.grad(rho(leaf).sum(), leaf)
    return result


def strength_table() -> dict[int, dict[str, list[float]]]:
    """Return, by batch size, what each strength does to rho and to its gradient."""
    table = {}
    for n in SIZES:
        prediction, target = batches(n)
        ranks = hard_rank(target)
        wide = gradient(lambda p, t=ranks: pearson(p, t, reduction="none"), prediction)
        exact = pearson(hard_rank(prediction), ranks, reduction="none")
        rows: dict[str, list[float]] = {"zero": [], "cosine": [], "norm": [], "error": []}
        for strength in STRENGTHS:

            def rho(p: Tensor, t: Tensor = target, s: float = strength) -> Tensor:
                return spearman(p, t, strength=s, reduction="none")

            g = gradient(rho, prediction)
            rows["zero"].append(zero_gradient_share(prediction, strength=strength).item())
            rows["cosine"].append(torch.cosine_similarity(g, wide, dim=-1).mean().item())
            rows["norm"].append(g.norm(dim=-1).median().item())
            rows["error"].append((rho(prediction) - exact).abs().mean().item())
        table[n] = rows
    return table


def task(seed: int) -> tuple[Tensor, Tensor]:
    """Return features and a target in [0, 1] with a long tail: what rank terms are for."""
    generator = torch.Generator().manual_seed(seed)
    x = torch.randn(1200, 20, generator=generator)
    weights = torch.randn(20, generator=generator)
    y = x @ weights / weights.norm() + 0.5 * x[:, 0] * x[:, 1] + torch.randn(1200, generator=generator)
    y = y**3
    return x, (y - y.min()) / (y.max() - y.min())


def held_out_rho(seed: int, loss: Callable[[Tensor, Tensor], Tensor]) -> float:
    """Train a small network on 800 rows, 25 batches an epoch, and return rho on 400 others."""
    x, y = task(seed)
    torch.manual_seed(seed)
    network = nn.Sequential(nn.Linear(20, 32), nn.ReLU(), nn.Linear(32, 1))
    optimizer = torch.optim.Adam(network.parameters(), 3e-3)
    for _ in range(12):
        for batch in torch.randperm(800).split(BATCH):
            optimizer.zero_grad()
            loss(network(x[batch]).squeeze(1), y[batch]).backward()
            optimizer.step()
    with torch.no_grad():
        return float(spearmanr(network(x[800:]).squeeze(1), y[800:]).statistic)


def training_table() -> dict[str, list[tuple[float, float]]]:
    """Return held-out rho, mean and deviation over seeds, by loss and strength."""
    mse = nn.functional.mse_loss
    table: dict[str, list[tuple[float, float]]] = {"mse": [], "mse + 0.1 (1 - rho)": [], "1 - rho": []}
    alone = [held_out_rho(seed, mse) for seed in SEEDS]
    table["mse"] = [(statistics.mean(alone), statistics.stdev(alone))] * len(STRENGTHS)
    for strength in STRENGTHS:
        for name, part in (("mse + 0.1 (1 - rho)", 0.1), ("1 - rho", None)):

            def loss(p: Tensor, y: Tensor, s: float = strength, part: float | None = part) -> Tensor:
                term = 1.0 - spearman(p, y, strength=s)
                return term if part is None else mse(p, y) + part * term

            found = [held_out_rho(seed, loss) for seed in SEEDS]
            table[name].append((statistics.mean(found), statistics.stdev(found)))
    return table


def batch_table() -> dict[int, list[tuple[float, float]]]:
    """Return mean and deviation of a batch's rho, by batch size, for soft ranks of several strengths.

    The population is bivariate normal with correlation 0.6: its rho is 6 / pi * asin(0.3) = 0.582.
    """
    generator = torch.Generator().manual_seed(0)
    table = {}
    for n in (2, 4, 8, 16, 32, 64, 128, 256):
        shared, *own = torch.randn(3, 200_000 // n, n, dtype=torch.float64, generator=generator)
        a, b = 0.6**0.5, 0.4**0.5
        x, y = 0.5 + 0.15 * (a * shared + b * own[0]), 0.5 + 0.15 * (a * shared + b * own[1])
        row = []
        for strength in (1e-6, 0.03, 1.0):
            rho = spearman(x, y, strength=strength, reduction="none")
            row.append((rho.mean().item(), rho.std().item()))
        table[n] = row
    return table


def draw_strength(
    table: dict[int, dict[str, list[float]]], trained: dict[str, list[tuple[float, float]]]
) -> None:
    """Draw the gradient's and the training's dependence on the strength."""
    figure, (left, middle, right) = plt.subplots(1, 3, figsize=(11, 3.4), layout="constrained")
    for n, rows in table.items():
        left.plot(STRENGTHS, rows["zero"], marker="o", markersize=3, label=f"{n}")
        middle.plot(STRENGTHS, rows["cosine"], marker="o", markersize=3)
    left.set(title="predictions with a zero gradient", ylabel="share", ylim=(-0.03, 1.03))
    middle.set(title="gradient against Pearson's", ylabel="cosine", ylim=(-0.03, 1.03))
    left.legend(title="batch size", frameon=False)
    for name, points in trained.items():
        if name == "mse":
            right.axhline(points[0][0], color="grey", linestyle=":", label=name)
        else:
            right.errorbar(
                STRENGTHS, *zip(*points, strict=True), marker="o", markersize=3, capsize=2, label=name
            )
    right.set(title="rho on held-out data", ylabel="rho")
    right.legend(frameon=False)
    for axes in (left, middle, right):
        axes.set(xscale="log", xlabel="strength")
        axes.axvline(0.03, color="black", linewidth=0.6)
        axes.spines[["top", "right"]].set_visible(False)
    figure.savefig(HERE / "soft_rank_strength.png", dpi=100)


def draw_batch(table: dict[int, list[tuple[float, float]]]) -> None:
    """Draw a batch's rho against its size."""
    figure, axes = plt.subplots(figsize=(5, 3.4), layout="constrained")
    sizes = list(table)
    mean, deviation = (torch.tensor([table[n][0][i] for n in sizes]) for i in (0, 1))
    axes.fill_between(sizes, mean - deviation, mean + deviation, alpha=0.2, label="one batch: mean ± deviation")
    for i, (strength, style) in enumerate(
        (("hard ranks", "o-"), ("strength 0.03", "s--"), ("strength 1", "^:"))
    ):
        axes.plot(sizes, [table[n][i][0] for n in sizes], style, markersize=4, label=f"mean, {strength}")
    axes.axhline(
        6 / torch.pi * torch.tensor(0.3).asin().item(), color="black", linewidth=0.6, label="population"
    )
    axes.set(xscale="log", xlabel="batch size", ylabel="rho of a batch", ylim=(-0.5, 1.05))
    axes.set_xticks(sizes, [str(n) for n in sizes])
    axes.minorticks_off()
    axes.legend(frameon=False, fontsize=8)
    axes.spines[["top", "right"]].set_visible(False)
    figure.savefig(HERE / "soft_rank_batch.png", dpi=100)


def main() -> None:
    """Compute, print, draw."""
    torch.set_num_threads(1)
    table = strength_table()
    print("| batch | strength | zero gradient | cosine to Pearson's | norm | error of rho |")
    for n, rows in table.items():
        for i, strength in enumerate(STRENGTHS):
            values = " | ".join(f"{rows[name][i]:.2f}" for name in ("zero", "cosine", "norm", "error"))
            print(f"| {n} | {strength} | {values} |")
    batch = batch_table()
    print("\n| batch | rho, hard | deviation | rho, 0.03 | rho, 1 |")
    for n, row in batch.items():
        print(f"| {n} | {row[0][0]:.3f} | {row[0][1]:.3f} | {row[1][0]:.3f} | {row[2][0]:.3f} |")
    draw_batch(batch)
    trained = training_table()
    print("\n| loss | " + " | ".join(str(s) for s in STRENGTHS) + " |")
    for name, points in trained.items():
        print(f"| {name} | " + " | ".join(f"{m:.3f} ± {d:.3f}" for m, d in points) + " |")
    x = torch.tensor([0.31, 0.33, 0.48, 0.52, 0.55, 0.79])
    print("\n| strength | " + " | ".join(f"{v:.2f}" for v in x.tolist()) + " |")
    for strength in (0.001, 0.01, 0.03, 0.1, 1.0):
        ranks = soft_rank(x, strength=strength).tolist()
        print(f"| {strength} | " + " | ".join(f"{r:.2f}" for r in ranks) + " |")
    draw_strength(table, trained)


if __name__ == "__main__":
    main()
