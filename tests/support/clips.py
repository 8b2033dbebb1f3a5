"""A dataset in memory whose features are shaped like those of audio, and songs to predict."""

from __future__ import annotations

from collections.abc import Iterator
from typing import Annotated, Any, Literal

import numpy as np
import torch
from pydantic import Field

from musicemo.contracts import FEATURE_ROWS, Target, Track
from musicemo.features import Clip
from musicemo.prediction.songs import SongFeatures

CLASSES = ("folk", "jazz", "metal", "pop")

TEXT = """\
name = "songs"
seeds = [0, 1]

[dataset]
type = "clips"

[model]
type = "means"

[training]
epochs = 2
batch_size = 8
device = "cpu"
optimizer = { type = "adam", lr = 1e-2 }

[evaluation]
resamples = 100

[tasks.valence]
[tasks.genre]
classes = { pop = "rock", metal = "rock" }
"""


class Clips:
    """Tracks of 6 to 14 columns, the mel rows in dB with a maximum of 0, the chroma rows in [0, 1]."""

    def __init__(
        self,
        tracks: Annotated[int, Field(ge=1)] = 40,
        first: int = 0,
        sync: Literal["beat", "frame", "untold"] = "beat",
        features: Literal["mel", "chroma", "fused"] = "fused",
        rows: int | None = None,
        span: str = "",
        high: float = 9.0,
        classes: tuple[str, ...] = CLASSES,
        targets: Literal["both", "valence", "mood", "swapped"] = "both",
        hop: int = 512,
        folder: str = "here",
    ) -> None:
        known = {
            "valence": Target("valence", "regression", range=(1.0, high)),
            "genre": Target("genre", "classification", classes=classes),
            "mood": Target("mood", "regression", range=(1.0, high)),
            "swapped": Target("genre", "regression", range=(1.0, high)),
        }
        names = {"both": ("valence", "genre")}.get(targets, (targets,))
        self.targets = [known[name] for name in names]
        self.rows = FEATURE_ROWS[features] if rows is None else slice(0, rows)
        if span:
            self.rows = slice(*(int(end) if end else None for end in span.split(":")))
        self._tracks, self._first, self._high, self._classes = tracks, first, high, classes
        if sync != "untold":
            self.extraction = {"type": "mel-chroma", "grid": sync, "hop": hop}

    def tracks(self) -> Iterator[Track]:
        for index in range(self._first, self._first + self._tracks):
            random = np.random.default_rng(index)
            valence, genre = random.uniform(), index % len(self._classes)
            features = columns(int(random.integers(6, 15)), seed=index, level=valence, genre=genre).T
            given: dict[str, Any] = {
                "valence": 1 + (self._high - 1) * valence,
                "genre": self._classes[genre],
                "mood": 1 + (self._high - 1) * valence,
            }
            targets = {target.name: given[target.name] for target in self.targets if target.name != "swapped"}
            if any(target.kind == "regression" and target.name == "genre" for target in self.targets):
                targets["genre"] = 1.0
            yield Track(f"clip{index:02d}", features, targets, group=f"artist{index // 4}")


def columns(count: int, *, seed: int = 0, level: float = 0.5, genre: int = 0) -> np.ndarray:
    """Return `[140, count]`, like features of audio."""
    random = np.random.default_rng([seed, 1])
    mel = random.uniform(-60, -30, size=(128, count)) + 20 * level
    mel[30 * genre : 30 * genre + 20] += 10
    mel -= mel.max()
    return np.concatenate([mel, random.uniform(size=(12, count))]).astype(np.float32)


def song_features(count: int, *, seed: int = 0, step: float = 0.5) -> SongFeatures:
    """Return the features of a song of so many time steps of `step` seconds."""
    return from_columns(columns(count, seed=seed), step=step)


def from_columns(array: np.ndarray, *, step: float = 0.5) -> SongFeatures:
    """Return the features of a song that are `[140, count]` if it is one clip."""
    values = {"mel": np.float32(10) ** (array[:128].T / 10), "chroma": array[128:].T}
    edges = np.arange(array.shape[1] + 1) * step
    peaks = np.float32(10) ** (array[:128].max(axis=0) / 20)
    return SongFeatures([Clip(values, edges, peaks)], edges, peaks)


class Moody(torch.nn.Module):
    """A model whose graph depends on what it is traced with."""

    def __init__(self, *, input_size: int) -> None:
        super().__init__()
        self.embedding_size = input_size
        self.scale = torch.nn.Parameter(torch.ones(1))

    def forward(self, x, lengths):
        return self.scale * (x.sum(dim=1) / lengths[:, None]) * float(lengths.float().mean())


class Untraceable(torch.nn.Module):
    """A model that no tracer can follow."""

    def __init__(self, *, input_size: int) -> None:
        super().__init__()
        self.embedding_size = input_size
        self.scale = torch.nn.Parameter(torch.ones(1))

    def forward(self, x, lengths):
        if torch.jit.is_tracing():
            raise NotImplementedError("this model cannot be traced")
        return self.scale * (x.sum(dim=1) / lengths[:, None])
