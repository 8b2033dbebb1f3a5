"""Contract of augmentations."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any

import numpy as np
import torch

from musicemo.contracts import Augmentation, Bands, Examples, FeatureRows, Labels
from musicemo.data import check_examples
from musicemo.messages import muted
from musicemo.testing._contract import Contract, built, require, same, told
from musicemo.training.randomness import seed_everything

__all__ = ["check_augmentation"]

_MEL, _CHROMA = 20, 12
"""Rows of the example features: mel bands, pitch classes, and a third stream of two."""

_SIZE = _MEL + _CHROMA + 2


def check_augmentation(augmentation: Any, parameters: Mapping[str, Any] | None = None) -> None:
    """Check that an augmentation meets `musicemo.contracts.Augmentation`.

    Parameters are unchanged after conversion to TOML and back. The result has as many examples and rows as its input,
    is finite, and is zero beyond the length of each example, also for examples of one time step and a batch of one.
    Its label sets name examples of the batch, and their weights add up to 1. Time steps are kept unless the class has
    ``aligned = False``. It draws only from the generator that it gets, and does not change its input.

    Args:
        augmentation: the class, a function that returns an augmentation, or the installed name.
        parameters: its TOML table, without ``type``, ``probability`` and ``tasks``.

    Raises:
        ContractError: with one sentence for each violated clause.
        InputError: no augmentation of this name is installed.
    """
    __tracebackhide__ = True
    with Contract("augmentation", augmentation, parameters) as contract, muted():
        component = contract.configured()
        with contract.clause("construction", "constructing it", essential=True):
            instance = built(contract, component, rows=_rows())
        with contract.clause("declarations", "reading its attributes"):
            _check_declarations(instance)
        for name, examples in _examples().items():
            with contract.clause("result", f"changing {name}", essential=True), told():
                for seed in range(5):
                    changed = instance(examples, np.random.default_rng(seed))
                    check_examples(contract.name, instance, examples, changed)
        examples = _examples()["random examples"]
        with contract.clause("chance", "changing the same examples twice"):
            results = []
            for seed in range(2):
                seed_everything(seed)
                results.append(instance(examples, np.random.default_rng(7)))
            require(
                same(results[0].x, results[1].x) and _labels(results[0]) == _labels(results[1]),
                "two calls with equal generators have different results; draw only from the generator that it gets: "
                "a resumed run must get the same examples",
            )
        with contract.clause("input", "changing examples"):
            before = examples.x.clone(), examples.lengths.clone()
            instance(examples, np.random.default_rng(3))
            require(
                torch.equal(examples.x, before[0]) and torch.equal(examples.lengths, before[1]),
                "it changes its input in place; return other tensors",
            )


def _check_declarations(augmentation: Augmentation) -> None:
    changes = getattr(augmentation, "changes", ())
    require(
        isinstance(changes, tuple) and all(isinstance(one, str) for one in changes),
        f"changes is {changes!r}; it is a tuple of names of targets",
    )
    excerpts = getattr(augmentation, "excerpts", None)
    require(
        excerpts is None
        or (
            isinstance(excerpts, tuple)
            and len(excerpts) == 2
            and all(type(one) is int and one > 0 for one in excerpts)
        ),
        f"excerpts is {excerpts!r}; it is None, or a number of time steps and a number of excerpts",
    )


def _labels(examples: Examples) -> list[tuple[float, list[int]]]:
    return [(one.weight, one.places.tolist()) for one in examples.labels]


def _rows() -> FeatureRows:
    centers = tuple(np.geomspace(50.0, 8000.0, _MEL).tolist())
    bands = [
        (slice(0, _MEL), Bands("frequency", centers, decibel=1.0)),
        (slice(_MEL, _MEL + _CHROMA), Bands("pitch-class")),
    ]
    streams = {"mel-chroma": slice(0, _MEL + _CHROMA), "more": slice(_MEL + _CHROMA, _SIZE)}
    grids = {"mel-chroma": "frame", "more": "frame"}
    random = np.random.default_rng(1)
    offset, scale = random.normal(size=_SIZE), random.uniform(0.5, 2, _SIZE)
    return FeatureRows(_SIZE, streams, bands, grids, offset.astype(np.float32), scale.astype(np.float32))


def _examples() -> dict[str, Examples]:
    generator = torch.Generator().manual_seed(0)

    def some(lengths: list[int]) -> Examples:
        count = torch.tensor(lengths)
        x = torch.randn(len(lengths), max(lengths), _SIZE, generator=generator)
        examples = Examples(x, count, [Labels(1.0, torch.arange(len(lengths)))])
        return Examples(x * examples.mask[:, :, None], count, examples.labels)

    random = some([60, 37, 48, 5, 60])
    return {
        "random examples": random,
        "mixed examples": random.mixed(torch.tensor([1, 2, 3, 4, 0]), 0.75),
        "examples of one time step": some([1, 1, 1]),
        "a batch of one": some([20]),
    }
