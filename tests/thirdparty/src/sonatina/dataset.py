"""The `sonatina-scales` dataset."""

from collections.abc import Iterator
from typing import Annotated

import numpy as np
from pydantic import Field

from musicemo.contracts import Target, Track

DEGREES = {"major": (0, 2, 4, 5, 7, 9, 11), "minor": (0, 2, 3, 5, 7, 8, 10)}


class Scales:
    """Chromagrams of scales: their mode, and how tense they are.

    Args:
        clips: How many.
        seed: Of the noise and the tension.
    """

    def __init__(self, *, clips: Annotated[int, Field(ge=6)] = 60, seed: int = 0) -> None:
        self.targets = [
            Target("tension", "regression", range=(-1.0, 1.0)),
            Target("mode", "classification", classes=tuple(DEGREES)),
        ]
        self.clips, self.seed = clips, seed

    def tracks(self) -> Iterator[Track]:
        """Yield the clips."""
        random = np.random.default_rng(self.seed)
        for index in range(self.clips):
            mode = tuple(DEGREES)[index % 2]
            tension = float(random.uniform(-1, 1))
            features = 0.1 * random.random((int(random.integers(8, 17)), 12))
            features[:, list(DEGREES[mode])] += 1 + tension
            yield Track(
                id=f"scale{index}",
                features=features.astype(np.float32),
                targets={"tension": tension, "mode": mode},
                group=f"teacher {index // 3}",
            )
