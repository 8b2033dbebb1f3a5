"""Compare the time of a training epoch of musicemo with a bare loop and with the study's loop.

    python benchmarks/training.py [--tracks 1497] [--epochs 6]

Three loops train the study's CNN (three emotions, mse, Adam, batches of 32) on beat-synchronous features of random
numbers, with the study's number of clips and the lengths of real ones:

- framework: `musicemo run` with everything that it records: metrics, checkpoints, history, TensorBoard.
- bare: the same network on batches that were padded beforehand; forward, backward, step, validation loss.
- study: the same layers in the study's order; a Dataset that pads each item to the longest clip in `__getitem__`, a
  DataLoader, and after each epoch losses and predictions on the training set and the validation set.

Each epoch of the framework is followed by one of each of the others in the same process. `flatten` is the study's
form, with every clip padded to 129 beats; `mean` is musicemo's default, padded per batch. Ratios are medians over the
epochs of the ratio within an epoch, so that other load affects them little.
"""

from __future__ import annotations

import argparse
import contextlib
import copy
import io
import statistics
import tempfile
import time
from pathlib import Path
from typing import Any

import numpy as np
import torch
from torch import Tensor, nn
from torch.utils.data import DataLoader, Dataset

from musicemo.components.hooks import Hooks, load_hooks
from musicemo.experiment import load_experiment
from musicemo.hookspecs import hookimpl
from musicemo.running.execute import run_experiment
from musicemo.training import Run

FRAMES, ROWS, TASKS = 129, 140, ("valence", "energy", "danceability")

EXPERIMENT = """
name = "benchmark"
dataset = {{ type = "lab", root = "." }}
split = {{ method = "random", validation = 0.2, test = 0 }}
model = {model}
tasks = {{ valence = {{}}, energy = {{}}, danceability = {{}} }}
[training]
epochs = {epochs}
batch_size = 32
device = "cpu"
optimizer = {{ type = "adam", lr = 1e-4, weight_decay = 1e-7 }}
early_stopping = {{ patience = false }}
"""

MODELS = {"flatten": f'{{ type = "cnn", pooling = "flatten", frames = {FRAMES} }}', "mean": '{ type = "cnn" }'}


def write_clips(folder: Path, count: int) -> None:
    """Write a folder of the study's layout with random features; lengths about 60 beats, 129 at most."""
    random = np.random.default_rng(0)
    (folder / "train").mkdir()
    lengths = np.clip(random.normal(62, 16, count).round().astype(int), 20, FRAMES)
    lengths[0] = FRAMES
    lines = ["Id,valence,energy,danceability"]
    for clip, length in enumerate(lengths):
        np.save(
            folder / "train" / f"{clip}.fused.full.npy", random.normal(size=(ROWS, length)).astype(np.float32)
        )
        lines.append(",".join([str(clip), *(f"{value:.6f}" for value in random.random(len(TASKS)))]))
    (folder / "train_labels.txt").write_text("\n".join(lines) + "\n")


class StudyNet(nn.Module):
    """The study's layers, in its order and with unpadded convolutions."""

    def __init__(self) -> None:
        super().__init__()
        layers: list[nn.Module] = []
        size, inputs = (FRAMES, ROWS), 1
        for outputs, kernel in zip([4, 16, 64, 256], [5, 4, 3, 3], strict=True):
            layers += [nn.Conv2d(inputs, outputs, kernel), nn.BatchNorm2d(outputs), nn.ReLU(), nn.MaxPool2d(2)]
            size, inputs = tuple((side - kernel + 1) // 2 for side in size), outputs
        self.trunk = nn.Sequential(*layers, nn.Flatten())
        flat = inputs * size[0] * size[1]
        self.heads = nn.ModuleList(
            nn.Sequential(nn.Linear(flat, 50), nn.ReLU(), nn.Dropout(0.2), nn.Linear(50, 1)) for _ in TASKS
        )

    def forward(self, x: Tensor) -> list[Tensor]:
        embedding = self.trunk(x.unsqueeze(1))
        return [head(embedding).squeeze(1) for head in self.heads]


class Clips(Dataset[tuple[Tensor, Tensor, int]]):
    """Pads each clip when it is asked for, as the study's dataset does."""

    def __init__(self, run: Run, part: str) -> None:
        self.features = [run.features[int(index)] for index in run.split.parts[part]]
        self.targets = run.tracks.targets[run.split.parts[part]]

    def __len__(self) -> int:
        return len(self.features)

    def __getitem__(self, item: int) -> tuple[Tensor, Tensor, int]:
        features = self.features[item]
        padded = np.zeros((FRAMES, ROWS), dtype=np.float32)
        padded[: len(features)] = features
        return torch.from_numpy(padded), torch.Tensor(self.targets[item]), len(features)


class Study:
    """One epoch as the study's loop runs it."""

    def __init__(self, run: Run) -> None:
        self.network = StudyNet()
        self.optimizer = torch.optim.Adam(self.network.parameters(), 1e-4, weight_decay=1e-7)
        self.loaders = {
            part: DataLoader(Clips(run, part), batch_size=32, shuffle=True) for part in ("train", "val")
        }

    def epoch(self, _: int) -> None:
        self.network.train()
        for x, targets, _lengths in self.loaders["train"]:
            self.optimizer.zero_grad()
            losses = [nn.functional.mse_loss(p, targets[:, i]) for i, p in enumerate(self.network(x))]
            sum(losses).backward()
            self.optimizer.step()
        self.network.eval()
        with torch.no_grad():
            for part in ("train", "val"):
                for x, targets, _lengths in self.loaders[part]:
                    [nn.functional.mse_loss(p, targets[:, i]).item() for i, p in enumerate(self.network(x))]


class Bare:
    """One epoch of a loop that does nothing but train and validate."""

    def __init__(self, run: Run, batches: dict[str, list[list[Any]]]) -> None:
        self.network = copy.deepcopy(run.network)
        self.optimizer = torch.optim.Adam(self.network.parameters(), 1e-4, weight_decay=1e-7, fused=True)
        self.batches = batches

    def losses(self, batch: Any) -> list[Tensor]:
        _, predictions = self.network(batch.x, batch.lengths)
        return [nn.functional.mse_loss(predictions[name], batch.targets[:, i]) for i, name in enumerate(TASKS)]

    def epoch(self, number: int) -> None:
        self.network.train()
        for batch in self.batches["train"][number]:
            self.optimizer.zero_grad()
            sum(self.losses(batch)).backward()
            self.optimizer.step()
        self.network.eval()
        with torch.no_grad():
            for batch in self.batches["val"][0]:
                [loss.item() for loss in self.losses(batch)]


class Stopwatch:
    """Before each epoch of the framework lets the others run theirs, then times it to its very end."""

    def __init__(self, epochs: int, others: tuple[str, ...]) -> None:
        self.epochs, self.others = epochs, others
        self.seconds: dict[str, list[float]] = {name: [] for name in ("framework", "bare", "study")}
        self.rivals: dict[str, Bare | Study] = {}

    @hookimpl
    def musicemo_run_started(self, run: Run) -> None:
        from musicemo.data import Batches

        parts, targets = run.split.parts, run.tracks.targets
        train = Batches(run.features, targets, parts["train"], 32, seed=0)
        val = Batches(run.features, targets, parts["val"], 32, bucket=True)
        epochs = range(1, self.epochs + 1)
        padded = {"train": [[], *(list(train.epoch(epoch)) for epoch in epochs)], "val": [list(val.epoch())]}
        makers = {"bare": lambda: Bare(run, padded), "study": lambda: Study(run)}
        self.rivals = {name: makers[name]() for name in self.others}

    @hookimpl
    def musicemo_epoch_started(self, epoch: int) -> None:
        for name, rival in self.rivals.items():
            began = time.perf_counter()
            rival.epoch(epoch)
            self.seconds[name].append(time.perf_counter() - began)
        self.began = time.perf_counter()

    @hookimpl
    def musicemo_epoch_finished(self) -> None:
        self.seconds["framework"].append(time.perf_counter() - self.began)


def measure(folder: Path, form: str, epochs: int) -> dict[str, list[float]]:
    """Return the seconds of each epoch, the first left out, of each way."""
    file = folder / f"{form}.toml"
    file.write_text(EXPERIMENT.format(model=MODELS[form], epochs=epochs))
    hooks = Hooks()
    stopwatch = Stopwatch(epochs, ("bare", "study"))
    hooks.register(stopwatch, "stopwatch")  # registered first, hence called last
    for name, plugin in load_hooks().manager.list_name_plugin():
        hooks.register(plugin, name)
    with contextlib.redirect_stdout(io.StringIO()):
        list(run_experiment(load_experiment(file), folder / "runs", hooks))
    return {name: found[1:] for name, found in stopwatch.seconds.items()}


def main() -> None:
    parser = argparse.ArgumentParser(description=(__doc__ or "").splitlines()[0])
    parser.add_argument("--tracks", type=int, default=1497)
    parser.add_argument("--epochs", type=int, default=6)
    arguments = parser.parse_args()
    print(
        f"{arguments.tracks} clips, 80 % to train; {torch.get_num_threads()} threads; torch {torch.__version__}"
    )
    print(f"{'form':10}{'framework':>12}{'bare':>12}{'study':>12}{'framework/bare':>18}{'study/framework':>18}")
    for form in MODELS:
        with tempfile.TemporaryDirectory() as name:
            folder = Path(name)
            write_clips(folder, arguments.tracks)
            found = measure(folder, form, arguments.epochs)
        times = "".join(f"{statistics.median(found[way]):>10.2f} s" for way in ("framework", "bare", "study"))
        overhead = statistics.median(a / b for a, b in zip(found["framework"], found["bare"], strict=True))
        speedup = statistics.median(a / b for a, b in zip(found["study"], found["framework"], strict=True))
        print(f"{form:10}{times}{overhead:>18.3f}{speedup:>18.2f}")


if __name__ == "__main__":
    main()
