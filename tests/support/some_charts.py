"""A chart of every mark."""

import math

import numpy as np

from musicemo.reporting.charts import (
    MUTED,
    Axis,
    Cells,
    Chart,
    Intervals,
    Line,
    Points,
    Rule,
    categories,
    spanning,
)

HOSTILE = "<script>alert(\"1\")</script> & 'x' $\\frac{1}{2}$ \x00\x1b[2J\x0b\x9b\u202e\ufffe\ud800é漢"

LINES = Chart(
    "loss",
    spanning([1, 5], "epoch"),
    spanning([0.1, 20], "loss", log=True),
    [
        Rule(3, label="best: 3"),
        Rule(1, axis="y", label="chance"),
        Line([1, 2, 3, 4, 5], [20, None, 1, math.nan, 0.1], "training", 1, dashed=True),
        Line([1, 5], [2, 3], colour=MUTED, faint=True),
        Points([3, None], [1, 2], "best epoch", titles=["epoch 3", "nowhere"]),
        Points([3], [1], "worst", 1, ring=True),
    ],
    notes=["seed 0"],
)
MATRIX = Chart(
    "cosines",
    categories(["a", "b", "a rather long name of a task"]),
    categories(["x", "y"], "true"),
    [
        Cells(
            np.array([[1.0, -0.5, math.nan], [0.0, 0.3, -1.0]]),
            texts=[["1", "−0.5", ""], ["0", "", "−1"]],
            signed=True,
            label="cosine",
        )
    ],
    aspect=1,
    downwards=True,
)
FOREST = Chart(
    "rho",
    Axis(-1, 1, "ρ"),
    categories(["a", "b", "c"]),
    [Rule(0), Intervals([0, 1, 2], [0.5, 0.2, None], [0.1, None, None], [0.9, None, None], "interval")],
    downwards=True,
)
EVIL = Chart(
    HOSTILE,
    Axis(0, 1, HOSTILE),
    categories([HOSTILE, "b"], HOSTILE),
    [
        Line([0, 1], [0, 1], HOSTILE),
        Points([0.5], [0], HOSTILE, titles=[HOSTILE]),
        Rule(0.5, label=HOSTILE),
        Cells(np.ones((1, 1)), texts=[[HOSTILE]], label=HOSTILE),
    ],
    description=HOSTILE,
    notes=[HOSTILE],
)
ALL = {"lines": LINES, "matrix": MATRIX, "forest": FOREST, "evil": EVIL}
