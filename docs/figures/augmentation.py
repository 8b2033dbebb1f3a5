"""Draw `augmentation.png`, a training example under each augmentation: `python docs/figures/augmentation.py`."""

from __future__ import annotations

from pathlib import Path

import matplotlib as mpl

mpl.use("Agg")

import matplotlib.pyplot as plt
import torch
from small_png import save

from musicemo.experiment import load_experiment
from musicemo.experiment.tracks import read_tracks, split_tracks
from musicemo.running.prepare import prepare

EXPERIMENT = Path(__file__).parents[2] / "experiments" / "multitask.toml"
SETTINGS = ["dataset.tracks=20", "features={type='mel-chroma', grid='frame'}", "scaling.method=standard"]
SHOWN = {
    "original": "[]",
    "crop": "[{ type = 'crop', length = 150 }]",
    "spec-augment": "[{ type = 'spec-augment' }]",
    "mixup": "[{ type = 'mixup', alpha = 1.0 }]",
    "noise": "[{ type = 'noise', deviation = 0.5 }]",
    "gain": "[{ type = 'gain', limit = 20.0, tasks = ['valence'] }]",
    "time-stretch": "[{ type = 'time-stretch', limit = 0.5, tasks = ['valence'] }]",
    "pitch-shift": "[{ type = 'pitch-shift', limit = 6 }]",
}


def main() -> None:
    """Draw the first example of the first batch."""
    figure, axes = plt.subplots(4, 2, figsize=(9, 9), sharex=True, sharey=True, layout="constrained")
    tracks = split = None
    for axis, (name, augment) in zip(axes.flat, SHOWN.items(), strict=True):
        experiment = load_experiment(EXPERIMENT, [*SETTINGS, f"augment={augment}"])
        tracks = tracks or read_tracks(experiment)
        experiment = experiment.completed(tracks)
        split = split or split_tracks(experiment, tracks)
        prepared = prepare(experiment, tracks, split, 4, torch.device("cpu"))
        batch = next(prepared.batches["train"].epoch(1))
        example = batch.x[0, : int(batch.lengths[0])].numpy()
        image = axis.imshow(example.T, origin="lower", aspect="auto", cmap="magma", vmin=-2.5, vmax=2.5)
        axis.set_title(name, fontsize=9)
        axis.tick_params(labelsize=7)
    axes[0, 0].set_xlim(0, 700)
    figure.supxlabel("frame", fontsize=9)
    figure.supylabel("feature row: mel bands, pitch classes from row 128 on", fontsize=9)
    figure.colorbar(image, ax=axes, location="top", shrink=0.5, aspect=40, label="scaled value")
    save(figure, Path(__file__).with_suffix(".png"))


if __name__ == "__main__":
    main()
