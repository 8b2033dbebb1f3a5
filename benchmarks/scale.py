"""Measure how processor time and memory of each command grow with the number of tracks, runs, lines and epochs.

    python benchmarks/scale.py [--tracks 100 1000 10000] [--packed 1000 10000] [--runs 10 100] [--lines 200 1000 4000]
        [--epochs 100 950] [--only PART...]

Every column is measured in its own process, after all imports: seconds are those of the command, summed over threads.
Memory is the largest resident size of the process, including imports. `growth` is the exponent of a power law through
the last two columns: 1 is linear, 2 quadratic. It is left out below a tenth of a second, where it is unreliable.

- tracks: the commands, and the steps of a run of one epoch, on a table of tracks with one `.npy` file each, two ratings
  and a class, with a small network. `compare` compares two runs, `show` prints the same experiment.
- packed: the stages of a run up to the first batches, on a table whose features are in one pack, read from disk.
  Memory is that of the process up to each stage. `--packed 1000000` takes about five minutes and 1 GB of disk.
- runs: commands on this number of finished runs, copies of one with another seed; and TensorBoard's reader.
- lines: reading an experiment with this number of lines.
- epochs: one epoch of a small network after this number of epochs.
- fixed: commands as processes, including imports: the median of three.

`--tracks 10000 50000` takes about five minutes, and a column of 100,000 as long again, mostly to write the files.
"""

from __future__ import annotations

import argparse
import json
import math
import os
import resource
import shutil
import statistics
import subprocess
import sys
import tempfile
import time
from collections.abc import Callable, Iterator, Mapping, Sequence
from pathlib import Path
from typing import Any

PARTS = ("tracks", "packed", "runs", "lines", "epochs", "fixed")

EXPERIMENT = """
name = "scale"
[dataset]
type = "table"
path = "tracks.csv"
regression = { valence = [0, 1], arousal = [0, 1] }
classification = ["genre"]
[model]
type = "cnn"
channels = [2]
kernels = [3]
[training]
epochs = 1
batch_size = 256
device = "cpu"
early_stopping = { patience = false }
[tasks.valence]
[tasks.arousal]
[tasks.genre]
"""


def write_tracks(folder: Path, count: int) -> Path:
    """Write a table, its features, each `[8, 10]`, and an experiment; return the latter's path."""
    import numpy as np

    random = np.random.default_rng(0)
    features = random.normal(size=(count, 8, 10)).astype(np.float32)
    ratings = random.uniform(size=(count, 2))
    lines = ["id,features,valence,arousal,genre"]
    for index, (array, (valence, arousal)) in enumerate(zip(features, ratings, strict=True)):
        path = folder / f"{index // 1000:03d}" / f"{index}.npy"
        path.parent.mkdir(exist_ok=True)
        np.save(path, array)
        lines.append(f"{index},{path.relative_to(folder)},{valence:.6f},{arousal:.6f},{'abcd'[index % 4]}")
    (folder / "tracks.csv").write_text("\n".join(lines) + "\n")
    file = folder / "scale.toml"
    file.write_text(EXPERIMENT)
    return file


def command(*arguments: str) -> Callable[[], None]:
    """Return what runs a command of musicemo in this process."""

    def run() -> None:
        from musicemo.cli import main

        sys.argv = ["musicemo", *arguments]
        try:
            main()
        except SystemExit as end:
            if end.code:
                raise RuntimeError(f"musicemo {' '.join(arguments)} ended with {end.code}") from end

    return run


def stages(folder: Path) -> Iterator[tuple[str, Callable[[], Any]]]:
    """Yield what a run of one epoch consists of, each stage after the one before."""
    from musicemo.data import Features
    from musicemo.evaluation import Evaluation, EvaluationSettings, TaskEvaluation
    from musicemo.experiment import load_experiment
    from musicemo.experiment.tracks import read_tracks, split_tracks

    state: dict[str, Any] = {}

    def read() -> None:
        state["experiment"] = load_experiment(folder / "scale.toml")
        state["tracks"] = read_tracks(state["experiment"])

    def split() -> None:
        state["split"] = split_tracks(state["experiment"], state["tracks"])

    def features() -> None:
        import numpy as np

        tracks = state["tracks"]
        found = Features(tracks.tracks, tracks.rows)
        found.check(np.arange(len(tracks)))

    def intervals() -> None:
        import numpy as np

        random, test, ids = np.random.default_rng(0), state["split"].parts["test"], state["tracks"].ids
        names = [ids[index] for index in test]
        ratings = random.uniform(size=(4, len(test)))
        classes = random.integers(4, size=(2, len(test)))
        tasks = {
            "valence": TaskEvaluation("regression", names, ratings[0], ratings[1]),
            "arousal": TaskEvaluation("regression", names, ratings[2], ratings[3]),
            "genre": TaskEvaluation("classification", names, classes[0], classes[1], tuple("abcd")),
        }
        Evaluation(tasks).to_json(EvaluationSettings())

    yield "read tracks", read
    yield "split", split
    yield "check features", features
    yield "intervals (test)", intervals


def measure_tracks(folder: Path) -> Iterator[tuple[str, Callable[[], Any]]]:
    """Yield everything that is measured of a number of tracks, in the order in which it can be done."""
    os.chdir(folder)
    yield from stages(folder)
    yield "show", command("show", "scale.toml")
    yield "validate", command("validate", "scale.toml")
    yield "data", command("data", "scale.toml")
    yield "run, one epoch", command("run", "scale.toml")
    yield "", command("run", "scale.toml", "--set", 'name="other"', "--set", "model.channels=[3]")
    yield "evaluate", command("evaluate", "runs/scale")
    yield "report", command("report", "runs/scale", "--output", "report.html")
    yield "compare", command("compare", "runs/scale", "runs/other")


def write_packed(folder: Path, count: int) -> None:
    """Write a table and its features, each `[16, 10]`, in one pack, and an experiment."""
    import numpy as np

    from musicemo.features import Pack

    some = np.random.default_rng(0).normal(size=(1000, 16, 10)).astype(np.float32)
    Pack.build(folder / "features.pack", ((f"track{index}", some[index % 1000]) for index in range(count)))
    with (folder / "tracks.csv").open("w") as file:
        file.write("id,valence,arousal,artist\n")
        for index in range(count):
            ratings = index * 7919 % 1000 / 1000, index * 104729 % 1000 / 1000
            file.write(f"track{index},{ratings[0]:.3f},{ratings[1]:.3f},artist{index // 20}\n")
    (folder / "packed.toml").write_text(PACKED)


PACKED = """
name = "packed"
model = { type = "mlp", hidden = [8] }
split.method = "grouped"
tasks = { valence = {}, arousal = {} }
training = { epochs = 1, batch_size = 256, device = "cpu", threads = 1, cache = "disk" }
[dataset]
type = "table"
path = "tracks.csv"
pack = "features.pack"
regression = { valence = [0, 1], arousal = [0, 1] }
group = "artist"
"""


def measure_packed(folder: Path, count: int) -> Iterator[tuple[str, Callable[[], Any]]]:
    """Yield the stages of a run up to its first batches."""
    import torch

    from musicemo.experiment import load_experiment
    from musicemo.experiment.tracks import split_tracks
    from musicemo.running.prepare import TrackReader, prepare

    write_packed_in_child(folder, count)
    torch.set_num_threads(1)
    state: dict[str, Any] = {}

    def read() -> None:
        state["experiment"] = load_experiment(folder / "packed.toml")
        state["data"] = TrackReader().read(state["experiment"])

    def split() -> None:
        state["experiment"] = state["experiment"].completed(state["data"].tracks)
        state["split"] = split_tracks(state["experiment"], state["data"].tracks)

    def prepared() -> None:
        data = state["data"]
        device = torch.device("cpu")
        state["prepared"] = prepare(
            state["experiment"], data.tracks, state["split"], 0, device, scaled=data.features
        )

    def batches() -> None:
        for _ in zip(range(100), state["prepared"].batches["train"].epoch(1), strict=False):
            pass

    yield "read tracks", read
    yield "identity", lambda: state["data"].identity
    yield "split", split
    yield "scaling, check", prepared
    yield "100 batches", batches


def write_packed_in_child(folder: Path, count: int) -> None:
    """Write the data in a process whose memory is not measured."""
    code = f"import sys; sys.path[:0] = [{str(Path(__file__).parent)!r}]\nimport scale, pathlib\n"
    code += f"scale.write_packed(pathlib.Path({str(folder)!r}), {count})"
    subprocess.run([sys.executable, "-c", code], check=True)


def measure_runs(folder: Path, count: int) -> Iterator[tuple[str, Callable[[], Any]]]:
    """Yield the commands that read many runs."""
    write_tracks(folder, 100)
    os.chdir(folder)
    for name in ("scale", "other"):
        command("run", "scale.toml", "--set", f"name={name!r}", "--set", "evaluation.resamples=100")()
    for name in ("scale", "other"):
        (first,) = Path("runs", name).iterdir()
        for seed in range(1, count // 2):
            copy = first.with_name(first.name.replace("seed0", f"seed{seed}"))
            shutil.copytree(first, copy)
            experiment, results = copy / "experiment.toml", copy / "results.json"
            experiment.write_text(experiment.read_text().replace("seed = 0", f"seed = {seed}", 1))
            content = json.loads(results.read_text())
            content |= {"seed": seed, "fingerprint": f"{seed:064x}"}
            results.write_text(json.dumps(content))

    def tensorboard() -> None:
        from tensorboard.backend.event_processing.plugin_event_multiplexer import EventMultiplexer

        runs = EventMultiplexer()
        runs.AddRunsFromDirectory("runs")
        runs.Reload()

    yield "report of one", command("report", "runs/scale", "--output", "scale.html")
    yield "report of all", command("report", "runs/scale", "runs/other", "--output", "all.html")
    yield "compare", command("compare", "runs/scale", "runs/other")
    yield "TensorBoard", tensorboard


def measure_lines(folder: Path, count: int) -> Iterator[tuple[str, Callable[[], Any]]]:
    """Yield the reading of an experiment of so many lines."""
    classes = [f'    "class {number}",' for number in range(count - len(EXPERIMENT.splitlines()))]
    text = EXPERIMENT.replace('classification = ["genre"]', "\n".join(["classification = [", *classes, "]"]))
    (folder / "lines.toml").write_text(text)

    def read() -> None:
        from musicemo.experiment import load_experiments

        load_experiments(folder / "lines.toml")

    yield "read an experiment", read


def measure_epochs(folder: Path, count: int) -> Iterator[tuple[str, Callable[[], Any]]]:
    """Yield ten epochs after so many, a tenth of them counted."""
    from musicemo.components.hooks import load_hooks
    from musicemo.hookspecs import hookimpl

    write_tracks(folder, 60)
    os.chdir(folder)

    class Stopwatch:
        """Times the last ten epochs."""

        seconds = math.nan

        @hookimpl
        def musicemo_epoch_started(self, epoch: int) -> None:
            if epoch == count + 1:
                self.began = time.process_time()

        @hookimpl
        def musicemo_run_finished(self) -> None:
            type(self).seconds = (time.process_time() - self.began) / 10

    def run() -> float:
        from musicemo.experiment import load_experiment
        from musicemo.running.execute import run_experiment

        hooks = load_hooks()
        hooks.register(Stopwatch(), "stopwatch")
        experiment = load_experiment(
            folder / "scale.toml", [f"training.epochs={count + 10}", "evaluation.resamples=100"]
        )
        list(run_experiment(experiment, folder / "runs", hooks))
        return Stopwatch.seconds

    yield "one more epoch", run


def child(part: str, count: int, folder: Path) -> dict[str, list[float]]:
    """Measure a column in this process: what -> seconds and resident MB."""
    import matplotlib.figure  # noqa: F401  # imports are not measured
    import torch.utils.tensorboard  # noqa: F401

    measured: dict[str, list[float]] = {}
    for name, work in {
        "tracks": lambda: measure_tracks(folder),
        "packed": lambda: measure_packed(folder, count),
        "runs": lambda: measure_runs(folder, count),
        "lines": lambda: measure_lines(folder, count),
        "epochs": lambda: measure_epochs(folder, count),
    }[part]():
        began = time.process_time()
        seconds = work()
        passed = seconds if isinstance(seconds, float) else time.process_time() - began
        if name:
            measured[name] = [passed, resource.getrusage(resource.RUSAGE_SELF).ru_maxrss / 1024]
    return measured


def in_child(part: str, count: int) -> dict[str, list[float]]:
    """Measure a column in a process of its own."""
    with tempfile.TemporaryDirectory() as name:
        if part == "tracks":
            write_tracks(Path(name), count)
        arguments = [sys.executable, __file__, "--child", part, str(count), name]
        done = subprocess.run(arguments, capture_output=True, text=True, check=False)
        if done.returncode:
            sys.exit(f"{part} {count}: failed\n{done.stderr}")
        measured: dict[str, list[float]] = json.loads(Path(name, "measured.json").read_text())
    return measured


def print_table(part: str, columns: Mapping[int, Mapping[str, Sequence[float]]]) -> None:
    """Print a row for each thing that was measured: seconds, growth, and the memory of the last column."""
    counts = list(columns)
    print(f"\n{part:22}" + "".join(f"{count:>10,}" for count in counts) + f"{'growth':>10}{'MB':>8}")
    for name, (last, memory) in columns[counts[-1]].items():
        seconds = [columns[count][name][0] for count in counts]
        growth = ""
        if len(counts) > 1 and last >= 0.1:
            growth = f"{math.log(last / max(seconds[-2], 1e-3)) / math.log(counts[-1] / counts[-2]):.2f}"
        print(f"{name:22}" + "".join(f"{value:>9.2f}s" for value in seconds) + f"{growth:>10}{memory:>8.0f}")


def print_fixed() -> None:
    """Print what commands take as processes, on next to no data."""
    musicemo = str(Path(sys.executable).with_name("musicemo"))
    with tempfile.TemporaryDirectory() as name:
        write_tracks(Path(name), 60)
        print(f"\n{'fixed':22}{'CPU':>10}")
        for arguments in (
            ["--help"],
            ["show", "scale.toml"],
            ["validate", "scale.toml", "--no-data"],
            ["run", "scale.toml"],
            ["run", "scale.toml", "--without", "tensorboard"],
            ["evaluate", "runs/scale"],
        ):
            seconds = []
            for _ in range(3):
                before = resource.getrusage(resource.RUSAGE_CHILDREN)
                subprocess.run([musicemo, *arguments], cwd=name, capture_output=True, check=True)
                after = resource.getrusage(resource.RUSAGE_CHILDREN)
                seconds.append(after.ru_utime + after.ru_stime - before.ru_utime - before.ru_stime)
            print(f"{' '.join(arguments):45}{statistics.median(seconds):>8.2f}s")


def main() -> None:
    parser = argparse.ArgumentParser(description=(__doc__ or "").splitlines()[0])
    parser.add_argument("--tracks", type=int, nargs="+", default=[100, 1000, 10_000])
    parser.add_argument("--packed", type=int, nargs="+", default=[1000, 10_000])
    parser.add_argument("--runs", type=int, nargs="+", default=[10, 100])
    parser.add_argument("--lines", type=int, nargs="+", default=[200, 1000, 4000])
    parser.add_argument("--epochs", type=int, nargs="+", default=[100, 950])
    parser.add_argument("--only", choices=PARTS, nargs="+", default=PARTS)
    parser.add_argument("--child", nargs=3, help=argparse.SUPPRESS)
    arguments = parser.parse_args()
    if arguments.child:
        part, count, folder = arguments.child
        Path(folder, "measured.json").write_text(json.dumps(child(part, int(count), Path(folder))))
        return
    for part in PARTS:
        if part not in arguments.only:
            continue
        if part == "fixed":
            print_fixed()
        else:
            print_table(part, {count: in_child(part, count) for count in sorted(getattr(arguments, part))})


if __name__ == "__main__":
    main()
