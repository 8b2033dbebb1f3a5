"""Small components for tests of the core: a dataset in memory, a model, losses and weightings.

The fixture ``fakes`` registers them in this process; `write_distribution` does it for a child process.
"""

from __future__ import annotations

import textwrap
from collections.abc import Iterable, Iterator, Mapping, Sequence
from pathlib import Path
from typing import Annotated, Any

import numpy as np
import torch
from musicemo_builtin.launchers.local import Local
from musicemo_builtin.sharings.hard import Hard
from pydantic import Field
from torch import Tensor, nn

from musicemo.components.registry import GROUPS
from musicemo.contracts import Target, Track, Weighting

ROWS = 12
CLASSES = ("folk", "jazz", "metal", "pop", "rock", "techno")


class MemoryDataset:
    """Tracks whose targets follow from their features: the mean of each row, and a pattern for each genre."""

    def __init__(
        self,
        tracks: Annotated[int, Field(ge=1)] = 60,
        classes: Annotated[int, Field(ge=2, le=len(CLASSES))] = 3,
        seed: int = 0,
        missing: Annotated[float, Field(ge=0, le=1)] = 0.0,
        nan_track: int | None = None,
    ) -> None:
        self.targets = (
            Target("valence", "regression", range=(1.0, 9.0)),
            Target("energy", "regression", range=(0.0, 1.0)),
            Target("genre", "classification", classes=CLASSES[:classes]),
        )
        self.rows = slice(0, ROWS)
        self._count, self._classes, self._seed = tracks, classes, seed
        self._missing, self._nan_track = missing, nan_track

    def tracks(self) -> Iterator[Track]:
        random = np.random.default_rng(self._seed)
        patterns = random.normal(size=(self._classes, ROWS))
        for index in range(self._count):
            genre = index % self._classes
            valence, energy = random.uniform(size=2)
            frames = int(random.integers(5, 21))
            features = patterns[genre][:, None] + 0.3 * random.normal(size=(ROWS, frames))
            features[0] += 4 * valence
            features[1] -= 4 * energy
            if index == self._nan_track:
                features[2, 3] = np.nan
            targets: dict[str, float | str | None] = {
                "valence": 1 + 8 * float(valence),
                "energy": float(energy),
                "genre": CLASSES[genre],
            }
            for name in targets:
                if random.uniform() < self._missing:
                    targets[name] = None
            yield Track(
                id=f"track{index:03d}",
                features=features.T.astype(np.float32),
                targets=targets,
                group=f"artist{index // 4:02d}",
                part=("train", "train", "train", "val", "test")[index // self._classes % 5],
            )


class MeanModel(nn.Module):
    """One dense layer on the mean over time."""

    def __init__(self, *, input_size: int, hidden: Annotated[int, Field(gt=0)] = 8) -> None:
        super().__init__()
        self.embedding_size = hidden
        self.dense = nn.Linear(input_size, hidden)

    def forward(self, x: Tensor, lengths: Tensor) -> Tensor:
        return self.dense(x.sum(dim=1) / lengths[:, None].to(x))


class SquaredError(nn.Module):
    """Mean squared error."""

    kind = "regression"

    def forward(self, prediction: Tensor, target: Tensor) -> Tensor:
        return ((prediction - target) ** 2).mean()


class CrossEntropy(nn.Module):
    """Mean negative log-likelihood; ``balanced`` weighs classes by the inverse of their training tracks."""

    kind = "classification"

    def __init__(self, *, class_counts: dict[str, int] | None = None, balanced: bool = False) -> None:
        super().__init__()
        weights = 1 / torch.tensor([max(n, 1) for n in class_counts.values()]) if balanced else None
        self.register_buffer("weights", weights)

    def forward(self, prediction: Tensor, target: Tensor) -> Tensor:
        return nn.functional.cross_entropy(prediction, target, weight=self.weights)


class Sum(Weighting):
    """The sum of the losses."""

    def combine(self, losses: Mapping[str, Tensor]) -> Tensor:
        return torch.stack(list(losses.values())).sum()

    def scalars(self) -> dict[str, float]:
        return {f"weight/{task}": 1.0 for task in self.tasks}


class Learned(Weighting):
    """``sum exp(-s) loss + s``: a weighting with parameters."""

    def __init__(self, *, tasks: Sequence[str]) -> None:
        super().__init__(tasks=tasks)
        self.s = nn.Parameter(torch.zeros(len(self.tasks)))

    def combine(self, losses: Mapping[str, Tensor]) -> Tensor:
        terms = [torch.exp(-s) * losses[t] + s for t, s in zip(self.tasks, self.s, strict=True) if t in losses]
        return torch.stack(terms).sum()

    def scalars(self) -> dict[str, float]:
        return {f"weight/{t}": float(torch.exp(-s)) for t, s in zip(self.tasks, self.s, strict=True)}


#: What the fixture ``fakes`` registers: kind, name, component. An experiment falls back on "mse", "cross-entropy",
#: "hard", "constant" and "local".
FAKES: tuple[tuple[str, str, Any], ...] = (
    ("dataset", "memory", MemoryDataset),
    ("model", "means", MeanModel),
    ("loss", "mse", SquaredError),
    ("loss", "squared-error", SquaredError),
    ("loss", "cross-entropy", CrossEntropy),
    ("sharing", "hard", Hard),
    ("weighting", "constant", Sum),
    ("weighting", "sum", Sum),
    ("weighting", "learned", Learned),
    ("launcher", "local", Local),
)

#: The names among them that no built-in component has, for use beside the built-ins.
OWN_NAMES = ("memory", "means", "squared-error", "sum", "learned")

EXPERIMENT = """\
name = "small"
seed = 0

[dataset]
type = "memory"

[model]
type = "means"

[weighting]
type = "sum"

[training]
epochs = 3
batch_size = 16
device = "cpu"
optimizer = { type = "adam", lr = 1e-2 }

[tasks.valence]
loss = { type = "squared-error" }

[tasks.genre]
"""


def write_distribution(
    folder: Path,
    points: Iterable[tuple[str, str, str]],
    name: str = "fake-plugin",
    version: str = "1.0",
) -> Path:
    """Write a distribution's metadata, to be seen by a process that has `folder` on its path.

    Args:
        folder: where to write, a folder that exists.
        points: kind, name and ``module:attribute`` of each entry point.
        name: of the distribution.
        version: of the distribution.
    """
    info = folder / f"{name.replace('-', '_')}-{version}.dist-info"
    info.mkdir()
    (info / "METADATA").write_text(f"Metadata-Version: 2.1\nName: {name}\nVersion: {version}\n")
    groups: dict[str, list[str]] = {}
    for kind, point, value in points:
        groups.setdefault(GROUPS[kind], []).append(f"{point} = {value}")
    text = "\n".join(f"[{group}]\n" + "\n".join(lines) + "\n" for group, lines in groups.items())
    (info / "entry_points.txt").write_text(text)
    return info


def write_module(folder: Path, name: str, code: str) -> Path:
    """Write a module that a test imports."""
    path = folder / f"{name}.py"
    path.write_text(textwrap.dedent(code))
    return path
