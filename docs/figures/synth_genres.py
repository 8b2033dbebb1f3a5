"""Draw `synth_genres.png`, a clip of each genre: `python docs/figures/synth_genres.py`."""

from __future__ import annotations

from pathlib import Path

import matplotlib as mpl

mpl.use("Agg")

import matplotlib.pyplot as plt
import numpy as np
from musicemo_builtin.datasets.synth import Synth
from small_png import save

SECONDS = 12.0


def main() -> None:
    """Draw the mel spectrograms of the first ten clips, one of each genre."""
    figure, axes = plt.subplots(5, 2, figsize=(9, 9), sharex=True, sharey=True, layout="constrained")
    for axis, track in zip(axes.flat, Synth(tracks=10, sync="frame", duration=SECONDS).tracks(), strict=True):
        mel = np.load(track.features, allow_pickle=False)[:128]
        image = axis.imshow(
            mel, origin="lower", aspect="auto", extent=(0, SECONDS, 0, 128), cmap="magma", vmin=-70, vmax=0
        )
        ratings = ", ".join(
            f"{name} {track.targets[name]:.2f}" for name in ("valence", "energy", "danceability")
        )
        axis.set_title(f"{track.targets['genre']}: {ratings}", fontsize=8)
        axis.tick_params(labelsize=7)
    figure.supxlabel("time (s)", fontsize=9)
    figure.supylabel("mel band", fontsize=9)
    figure.colorbar(image, ax=axes, location="top", shrink=0.5, aspect=40, label="dB below the clip's maximum")
    save(figure, Path(__file__).with_suffix(".png"))


if __name__ == "__main__":
    main()
