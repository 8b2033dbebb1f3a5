"""Measure how well linear models predict the targets of synth: `python docs/figures/synth_learnability.py`.

Each row of the features is summarized by its mean, its standard deviation and its mean absolute difference over time,
and the number of columns by its logarithm. Ridge regression and logistic regression predict from these, in five folds
without shared artists. The first line of the output uses only the genre's name.
"""

from __future__ import annotations

import argparse
from pathlib import Path

import numpy as np
from musicemo_builtin.datasets.synth import Synth
from scipy.stats import spearmanr
from sklearn.linear_model import LogisticRegression, RidgeCV
from sklearn.model_selection import GroupKFold, cross_val_predict
from sklearn.pipeline import make_pipeline
from sklearn.preprocessing import OneHotEncoder, StandardScaler

from musicemo.contracts import FEATURE_ROWS, Track

EMOTIONS = ("valence", "energy", "danceability")


def pooled(track: Track, rows: slice) -> np.ndarray:
    """Sum up the features of a track over time."""
    x = np.load(track.features, allow_pickle=False)[rows]
    return np.r_[x.mean(1), x.std(1), np.abs(np.diff(x, axis=1)).mean(1), np.log(x.shape[1])]


def main() -> None:
    """Print the table, in Markdown."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--tracks", type=int, default=240)
    parser.add_argument("--seed", type=int, default=0)
    parser.add_argument("--cache", type=Path)
    arguments = parser.parse_args()

    folds = GroupKFold(5)
    ridge = RidgeCV(np.logspace(0, 5, 11))

    def row(name: str, x: np.ndarray, tracks: list[Track], scaler: object) -> None:
        groups = [track.group for track in tracks]
        cells = []
        for emotion in EMOTIONS:
            y = np.array([track.targets[emotion] for track in tracks])
            guess = cross_val_predict(make_pipeline(scaler, ridge), x, y, cv=folds, groups=groups)
            cells.append(spearmanr(y, guess).statistic)
        genres = np.array([track.targets["genre"] for track in tracks])
        if name != "genre's name":
            classifier = make_pipeline(scaler, LogisticRegression(C=0.05, max_iter=2000))
            guess = cross_val_predict(classifier, x, genres, cv=folds, groups=groups)
            cells.append(np.mean(guess == genres))
        print(
            f"| {name} | "
            + " | ".join(f"{cell:.2f}" for cell in cells)
            + (" |" if len(cells) == 4 else " | - |")
        )

    print("| features | valence | energy | danceability | genre accuracy |\n|---|---|---|---|---|")
    for sync in ("beat", "frame"):
        synth = Synth(tracks=arguments.tracks, seed=arguments.seed, sync=sync, cache=arguments.cache)
        tracks = list(synth.tracks())
        if sync == "beat":
            names = np.array([[track.targets["genre"]] for track in tracks])
            row("genre's name", names, tracks, OneHotEncoder())
        for features, rows in FEATURE_ROWS.items():
            x = np.stack([pooled(track, rows) for track in tracks])
            row(f"{features}, {sync}", x, tracks, StandardScaler())


if __name__ == "__main__":
    main()
