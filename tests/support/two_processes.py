"""Optimizer steps of a process alone and of two processes together, compared in both."""

from __future__ import annotations

import tempfile
from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Any

import numpy as np
import torch

from musicemo.components import registry
from musicemo.components.spec import default_component
from musicemo.contracts import kinds_of
from musicemo.data import Batch, HeadSettings, Task
from musicemo.errors import RunError
from musicemo.training import Network, Objective, Prepared, Term, TrainingSettings
from musicemo.training.processes import SINGLE, Processes
from musicemo.training.scoring import Collected
from musicemo.training.step import OptimizationStep
from musicemo.workers import run_tasks

TRACKS, TIME, FEATURES = 7, 12, 6
KINDS = {"regression": (), "series": (), "classification": ("a", "b", "c"), "tags": ("x", "y")}

#: Losses by task, model with parameters, weighting with parameters, sharing architecture.
Case = tuple[Mapping[str, str], tuple[str, Mapping[str, Any]], tuple[str, Mapping[str, Any]], str]


def compare(cases: Sequence[Case]) -> list[dict[str, tuple[float, float]]]:
    """Return, for each case, name -> largest difference and largest value, in whichever process it is larger."""
    with tempfile.TemporaryDirectory() as folder:
        outcomes = list(run_tasks(_compare, [(rank, folder, cases) for rank in range(2)], 2))
    for outcome in outcomes:
        if outcome.error:
            raise outcome.error
    return [
        {name: max(one[name] for one in both) for name in both[0]}
        for both in zip(*(outcome.value for outcome in outcomes), strict=True)
    ]


def align() -> list[tuple[float, str]]:
    """Return, for each process, a weight that was near the first process's, and the error about one that was not."""
    with tempfile.TemporaryDirectory() as folder:
        outcomes = list(run_tasks(_align, [(rank, folder) for rank in range(2)], 2))
    return [outcome.value for outcome in sorted(outcomes, key=lambda outcome: outcome.task)]


def _align(task: tuple[int, str]) -> tuple[float, str]:
    rank, folder = task
    processes, error = Processes(rank, 2), ""
    near, far = (torch.nn.Linear(1, 1, bias=False) for _ in range(2))
    with processes.connected(Path(folder), torch.device("cpu")), torch.no_grad():
        near.weight.fill_(1 + 1e-5 * rank)
        far.weight.fill_(1 + rank)
        processes.align([near], 1)
        try:
            processes.align([far], 2)
        except RunError as problem:
            error = str(problem)
        processes.all(None)
    return float(near.weight), error


def _compare(task: tuple[int, str, Sequence[Case]]) -> list[dict[str, tuple[float, float]]]:
    rank, folder, cases = task
    torch.set_num_threads(1)
    processes = Processes(rank, 2)
    with processes.connected(Path(folder), torch.device("cpu")):
        return [_difference(*case, processes) for case in cases]


def _difference(
    losses: Mapping[str, str],
    model: tuple[str, Mapping[str, Any]],
    weighting: tuple[str, Mapping[str, Any]],
    sharing: str,
    processes: Processes,
) -> dict[str, tuple[float, float]]:
    alone, together = (_step(losses, model, weighting, sharing, one) for one in (SINGLE, processes))
    assert alone.keys() == together.keys()
    return {
        name: (float((value - together[name]).abs().max()), float(value.abs().max()))
        for name, value in alone.items()
        if value.numel()
    }


def _step(
    losses: Mapping[str, str],
    model: tuple[str, Mapping[str, Any]],
    weighting: tuple[str, Mapping[str, Any]],
    sharing: str,
    processes: Processes,
) -> dict[str, torch.Tensor]:
    """Take two steps; return the gradients of the second, and the buffers and predictions after it."""
    torch.manual_seed(5)
    counts = {"class_counts": dict.fromkeys("abc", 2), "tag_counts": dict.fromkeys("xy", (3, 4))}
    built = {name: default_component("loss", loss).build(**counts) for name, loss in losses.items()}
    kinds = {name: "series" if name.endswith("series") else kinds_of(loss)[0] for name, loss in built.items()}
    learned = {name: getattr(loss, "distribution", None) for name, loss in built.items()}
    tasks = [
        Task(name, name, kind, classes=KINDS[kind], distribution=learned[name]) for name, kind in kinds.items()
    ]
    ratings = np.random.default_rng(3).uniform(size=(TRACKS, 3)).astype(np.float32)
    listeners = {name: ratings for name, distribution in learned.items() if distribution}
    name, parameters = model
    backbone = registry.load("model", name)(input_size=FEATURES, **parameters)
    heads = dict.fromkeys(losses, HeadSettings(hidden=[5], dropout=0.3))
    component = default_component("sharing", sharing)
    network = Network(
        backbone, tasks, heads, sharing=lambda tasks, size: component.build(tasks=tasks, embedding_size=size)
    ).train()
    prepared = Prepared(
        tracks=None,  # type: ignore[arg-type]  # a step needs none
        split=None,  # type: ignore[arg-type]
        features=None,  # type: ignore[arg-type]
        scaling=None,  # type: ignore[arg-type]
        network=network,
        weighting=registry.load("weighting", weighting[0])(tasks=list(losses), **weighting[1]),
        objective=Objective(
            tasks, {name: [Term(1.0, loss)] for name, loss in built.items()}, listeners=listeners
        ),
        batches={},
        # Adam would turn the rounding of gradients that are zero into steps.
        training=TrainingSettings(optimizer={"type": "sgd", "lr": 0.01}),
        device=torch.device("cpu"),
        rebuild=lambda: network,
        processes=processes,
    )
    step, collected = OptimizationStep(prepared, "min"), Collected()
    for _ in range(2):
        step(_batch(tasks, processes), collected, "here")
    predicted = collected.finish()
    return {
        **{f"gradient {name}": one.grad for name, one in network.named_parameters() if one.grad is not None},
        **{f"buffer {name}": one.double() for name, one in network.named_buffers()},
        **{
            f"weighting {name}": one.grad
            for name, one in prepared.weighting.named_parameters()
            if one.grad is not None
        },
        **{f"prediction {name}": one for name, one in predicted.values.items()},
        "targets": predicted.targets.nan_to_num(),
    }


def _batch(tasks: Sequence[Task], processes: Processes) -> Batch:
    """Return a share of a batch of tracks of different lengths, the first without a label of the first task."""
    generator = torch.Generator().manual_seed(1)
    lengths = torch.randint(TIME // 2, TIME + 1, (TRACKS,), generator=generator)
    x = torch.randn(TRACKS, TIME, FEATURES, generator=generator)
    x *= (torch.arange(TIME) < lengths[:, None])[..., None]
    columns, series = [torch.empty(TRACKS, 0)], {}
    for task in tasks:
        if task.kind == "series":
            rated = torch.rand(TRACKS, int(lengths.max()), generator=generator)
            series[task.name] = rated.masked_fill(torch.arange(rated.shape[1]) >= lengths[:, None], torch.nan)
        elif task.kind == "regression":
            columns.append(torch.rand(TRACKS, 1, generator=generator))
        else:
            high, width = (3, 1) if task.kind == "classification" else (2, 2)
            columns.append(torch.randint(high, (TRACKS, width), generator=generator).float())
    targets = torch.cat(columns, dim=1)
    targets[:1, :1] = torch.nan
    share = processes.share(np.arange(TRACKS))
    x = x[share, : int(lengths[share].max())]
    return Batch(x, lengths[share], targets, np.arange(TRACKS), series)
