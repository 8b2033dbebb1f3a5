"""Compare random access to many tracks in one pack and in one `.npy` file per track.

    python benchmarks/store.py

Both have the same beat-synchronous features of clips of 15 to 30 s: `[140, 30 to 60]`, float32. A measurement visits
every track in a random order, the same for both, and copies its features into a batch `[time, feature]`. Each
measurement has its own process, so that its memory can be measured; the stores alternate, and the table shows the
median over rounds. Memory is the resident memory after all tracks were visited: the private memory of the process, and
pages of mapped files, which are the system's cache and are freed when memory is short. To read from the disk, a tenth
of the tracks is read after the system was asked to drop the files from its cache.
"""

from __future__ import annotations

import os

for library in ("OMP", "OPENBLAS", "MKL", "NUMBA", "VECLIB_MAXIMUM"):
    os.environ[f"{library}_NUM_THREADS"] = "1"

import argparse  # noqa: E402
import json  # noqa: E402
import statistics  # noqa: E402
import subprocess  # noqa: E402
import sys  # noqa: E402
import tempfile  # noqa: E402
import time  # noqa: E402
from collections.abc import Callable, Iterator, Mapping  # noqa: E402
from pathlib import Path  # noqa: E402

import numpy as np  # noqa: E402

ROWS, SHORTEST, LONGEST = 140, 30, 60
STORES = ("files", "pack")


def tracks(count: int) -> Iterator[tuple[str, np.ndarray]]:
    """Yield names and features; generating noise for each would take longer than writing it."""
    rng = np.random.default_rng(0)
    noise = rng.standard_normal((ROWS, 8 * LONGEST), dtype=np.float32)
    for index, frames in enumerate(rng.integers(SHORTEST, LONGEST + 1, count).tolist()):
        begin = index * 7 % (noise.shape[1] - frames)
        yield f"{index:06d}", noise[:, begin : begin + frames]


def build_files(folder: Path, count: int) -> int:
    """Write a file a track, a thousand a folder; return how many bytes they take on the disk."""
    taken = 0
    for name, array in tracks(count):
        path = folder / "files" / name[:3] / f"{name}.npy"
        path.parent.mkdir(parents=True, exist_ok=True)
        np.save(path, np.ascontiguousarray(array))
        taken += path.stat().st_blocks * 512
    return taken


def build_pack(folder: Path, count: int) -> int:
    """Write a pack; return how many bytes it takes on the disk."""
    from musicemo.features import Pack

    return Pack.build(folder / "features.pack", tracks(count)).path.stat().st_blocks * 512


def open_files(folder: Path, count: int) -> Callable[[int], np.ndarray]:
    """Return what maps a track's own file."""
    names = [str(folder / "files" / f"{index:06d}"[:3] / f"{index:06d}.npy") for index in range(count)]
    return lambda index: np.load(names[index], mmap_mode="r")


def open_pack(folder: Path, count: int) -> Callable[[int], np.ndarray]:
    """Return what finds a track in the pack."""
    from musicemo.features import Pack

    pack = Pack(folder / "features.pack")
    return lambda index: pack[f"{index:06d}"]


def forget(paths: list[Path]) -> None:
    """Ask the system to forget files' contents."""
    for path in paths:
        descriptor = os.open(path, os.O_RDONLY)
        os.fsync(descriptor)
        os.posix_fadvise(descriptor, 0, 0, os.POSIX_FADV_DONTNEED)
        os.close(descriptor)


def visit(read: Callable[[int], np.ndarray], order: np.ndarray) -> tuple[float, float]:
    """Copy tracks into a batch; return tracks and megabytes a second."""
    batch = np.zeros((LONGEST, ROWS), np.float32)
    values, begin = 0, time.perf_counter()
    for index in order.tolist():
        array = read(index).T
        batch[: len(array)] = array
        values += array.size
    seconds = time.perf_counter() - begin
    return len(order) / seconds, 4e-6 * values / seconds


def resident() -> tuple[float, float]:
    """Return the process's own memory and its mapped files' pages that are resident, in MB."""
    lines = Path("/proc/self/status").read_text().splitlines()
    kilobytes = {line.split(":")[0]: int(line.split()[1]) for line in lines if line.startswith("Rss")}
    return kilobytes["RssAnon"] / 1e3, kilobytes["RssFile"] / 1e3


def measure(store: str, folder: Path, count: int, seed: int) -> dict[str, float]:
    """Measure a store in this process."""
    order = np.random.default_rng(seed).permutation(count)
    import musicemo.features  # noqa: F401  # what it takes to be there is not a store's

    before = resident()
    begin = time.perf_counter()
    read = {"files": open_files, "pack": open_pack}[store](folder, count)
    opening = time.perf_counter() - begin
    some = order[: count // 10]
    if store == "pack":
        forget([folder / "features.pack"])
    else:
        forget([folder / "files" / f"{index:06d}"[:3] / f"{index:06d}.npy" for index in some.tolist()])
    cold, cold_mb = visit(read, some)
    visit(read, order)  # into the system's cache
    warm, warm_mb = visit(read, order)
    begin = time.perf_counter()
    for index in order.tolist():
        read(index)
    reach = (time.perf_counter() - begin) / count
    own, mapped = (after - earlier for after, earlier in zip(resident(), before, strict=True))
    return {
        "opening, s": opening,
        "finding a track, µs": 1e6 * reach,
        "tracks/s, in cache": warm,
        "MB/s, in cache": warm_mb,
        "tracks/s, from disk": cold,
        "MB/s, from disk": cold_mb,
        "own memory, MB": own,
        "mapped pages, MB": mapped,
    }


def compare(folder: Path, count: int, rounds: int) -> None:
    """Build both stores, measure them in turn, and print a table."""
    found: dict[str, list[Mapping[str, float]]] = {store: [] for store in STORES}
    for store, build in (("files", build_files), ("pack", build_pack)):
        begin = time.perf_counter()
        taken = build(folder, count)
        print(f"{store}: {count} tracks, {taken / 1e9:.2f} GB, written in {time.perf_counter() - begin:.0f} s")
    for seed in range(rounds):
        for store in STORES:
            command = [
                sys.executable,
                __file__,
                "--tracks",
                str(count),
                "--measure",
                store,
                str(folder),
                str(seed),
            ]
            done = subprocess.run(command, capture_output=True, text=True, check=True)
            found[store].append(json.loads(done.stdout))
    print(f"\n{'':22}{'files':>12}{'pack':>12}{'ratio':>9}")
    for name in found["pack"][0]:
        files, pack = (statistics.median(each[name] for each in found[store]) for store in STORES)
        better = pack / files if "/s" in name else files / pack
        ratio = f"{better:9.1f}" if name.startswith(("tracks/s", "finding")) else ""
        print(f"{name:22}{files:12.4g}{pack:12.4g}{ratio}")


def main() -> None:
    """Measure, print a table, and leave nothing behind."""
    parser = argparse.ArgumentParser(description="Random access to a pack and to single files.")
    parser.add_argument("--tracks", type=int, default=50_000, help="how many; 50,000 take 2.6 GB while it runs")
    parser.add_argument("--rounds", type=int, default=3, help="how often each store is measured")
    parser.add_argument("--folder", type=Path, help="where to write; the system's temporary folder otherwise")
    parser.add_argument("--measure", nargs=3, help=argparse.SUPPRESS)
    arguments = parser.parse_args()
    if arguments.measure:
        store, folder, seed = arguments.measure
        print(json.dumps(measure(store, Path(folder), arguments.tracks, int(seed))))
        return
    with tempfile.TemporaryDirectory(prefix="musicemo-store-", dir=arguments.folder) as folder:
        compare(Path(folder), arguments.tracks, arguments.rounds)


if __name__ == "__main__":
    main()
