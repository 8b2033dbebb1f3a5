"""Compare the time of a training step of each weighting with `constant` and with torchjd.

    python benchmarks/weightings.py [--tasks 3 10] [--rounds 7] [--only NAME...] [--chunk-size N]

A step is the work of the training loop for one batch: forward pass, losses, the weighting's backward pass, the step of
Adam, and the update of the weighting. The network is the study's CNN in its pooled form on 32 clips of 60 beats of
random numbers, with a head of 50 units and a squared error per task, on one thread.

In each round every method takes one step, in random order and with its own network. If torchjd has the method, its step
is measured too: `mtl_backward` with the embedding as features and `jac_to_grad`, as in its documentation, with the
aggregator that musicemo uses. Ratios are medians over the rounds of the ratio within a round, so that other load
affects them little.
"""

from __future__ import annotations

import argparse
import random
import statistics
import time
import warnings
from collections.abc import Callable

import torch
from torch import Tensor, nn

from musicemo.components import registry
from musicemo.contracts import GradientWeighting, Step, Weighting
from musicemo.training.randomness import Repetition

FRAMES, ROWS, BATCH = 60, 140, 32


class Rival:
    """A network, its heads and optimizer, and one way to take a step."""

    def __init__(self, weighting: Weighting) -> None:
        torch.manual_seed(0)
        self.weighting = weighting
        self.backbone = registry.load("model", "cnn")(input_size=ROWS)
        self.heads = nn.ModuleDict(
            {
                task: nn.Sequential(
                    nn.Linear(self.backbone.embedding_size, 50), nn.ReLU(), nn.Dropout(0.2), nn.Linear(50, 1)
                )
                for task in weighting.tasks
            }
        )
        self.network = nn.ModuleList([self.backbone, self.heads])
        parameters = [*self.network.parameters(), *weighting.parameters()]
        self.optimizer = torch.optim.Adam(parameters, 1e-4, fused=True)

    def losses(self, x: Tensor, lengths: Tensor, targets: Tensor) -> tuple[Tensor, dict[str, Tensor]]:
        embedding = self.backbone(x, lengths)
        pairs = zip(self.heads.items(), targets, strict=True)
        return embedding, {task: nn.functional.mse_loss(head(embedding)[:, 0], y) for (task, head), y in pairs}

    def step(self, *batch: Tensor) -> None:
        weighting = self.weighting
        again = Repetition(self.network, torch.device("cpu")) if weighting.remeasures else None
        embedding, losses = self.losses(*batch)
        self.optimizer.zero_grad()
        heads = {task: list(head.parameters()) for task, head in self.heads.items()}
        shared = list(self.backbone.parameters())
        weighting.backward(losses, Step(embedding, shared, heads, lambda objective: objective))
        self.optimizer.step()
        with torch.no_grad():
            if again:
                with again:
                    _, losses = self.losses(*batch)
            weighting.step_finished({task: loss.detach() for task, loss in losses.items()})


class ByHand(Rival):
    """torchjd as its documentation has it."""

    def __init__(self, weighting: Weighting, chunk_size: int | None) -> None:
        super().__init__(weighting)
        self.chunk_size = chunk_size
        like = next(self.backbone.parameters())
        self.aggregator = weighting.make(torchjd_aggregation(), weighting.tasks, like)

    def step(self, *batch: Tensor) -> None:
        from torchjd.autojac import jac_to_grad, mtl_backward

        embedding, losses = self.losses(*batch)
        self.optimizer.zero_grad()
        mtl_backward(list(losses.values()), features=embedding, parallel_chunk_size=self.chunk_size)
        jac_to_grad(self.backbone.parameters(), self.aggregator)
        self.optimizer.step()


def torchjd_aggregation() -> object:
    import torchjd.aggregation

    return torchjd.aggregation


def rivals_of(names: list[str], tasks: list[str], chunk_size: int | None) -> dict[str, Rival]:
    """Return the methods by name, and by the name and "by hand" where torchjd has them."""
    made: dict[str, Rival] = {}
    for name in names:
        factory: Callable[..., Weighting] = registry.load("weighting", name)
        made[name] = Rival(factory(tasks=tasks))
        if hasattr(factory, "make"):
            made[f"{name} by hand"] = ByHand(factory(tasks=tasks), chunk_size)
    if "famo" in names:
        made["famo, same-batch"] = Rival(registry.load("weighting", "famo")(tasks=tasks, compare="same-batch"))
    return made


def measure(rivals: dict[str, Rival], count: int, rounds: int) -> dict[str, list[float]]:
    """Return the seconds of each one's steps, the first of which is not counted."""
    generator = torch.Generator().manual_seed(0)
    seconds: dict[str, list[float]] = {name: [] for name in rivals}
    for number in range(rounds + 1):
        x = torch.randn(BATCH, FRAMES, ROWS, generator=generator)
        targets = torch.rand(count, BATCH, generator=generator)
        order = list(rivals.items())
        random.Random(number).shuffle(order)  # who comes after whom is a matter of caches
        for name, rival in order:
            began = time.perf_counter()
            rival.step(x, torch.full((BATCH,), FRAMES), targets)
            if number:
                seconds[name].append(time.perf_counter() - began)
    return seconds


def ratio(seconds: dict[str, list[float]], one: str, other: str) -> float:
    return statistics.median(a / b for a, b in zip(seconds[one], seconds[other], strict=True))


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--tasks", type=int, nargs="+", default=[3, 10])
    parser.add_argument("--rounds", type=int, default=7)
    parser.add_argument("--only", nargs="+", help="these weightings alone; constant is always there")
    parser.add_argument("--chunk-size", type=int, help="of torchjd by hand: parallel_chunk_size")
    options = parser.parse_args()
    torch.set_num_threads(1)
    warnings.simplefilter("ignore")
    known = [claim.name for claim in registry.claims("weighting")]
    names = ["constant", *(name for name in options.only or known if name != "constant")]
    for count in options.tasks:
        tasks = [f"task{number}" for number in range(count)]
        rivals = rivals_of(names, tasks, options.chunk_size)
        seconds = measure(rivals, count, options.rounds)
        print(f"\n{count} tasks, constant {statistics.median(seconds['constant']) * 1e3:.0f} ms a step")
        print(f"{'weighting':<18} {'kind':<9} {'/ constant':>10} {'/ by hand':>10}")
        for name, rival in rivals.items():
            if name.endswith(" by hand"):
                continue
            kind = "gradient" if isinstance(rival.weighting, GradientWeighting) else "loss"
            hand = f"{name} by hand"
            against = f"{ratio(seconds, name, hand):10.2f}" if hand in seconds else f"{'':>10}"
            print(f"{name:<18} {kind:<9} {ratio(seconds, name, 'constant'):10.2f} {against}", flush=True)


if __name__ == "__main__":
    main()
