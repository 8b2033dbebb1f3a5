"""Compare forward and backward of `musicemo.ops.soft_rank` with `torch.sort`, torchsort and fast-soft-sort.

    python benchmarks/soft_rank.py [--device cpu] [--repeats 300] [--memory]

Times are relative to `torch.sort`, forward and backward, on the same float32 rows in the same round. Every round
draws new rows and measures each method on them, in a new order. The table shows the median of the rounds' ratios,
which other load hardly affects. torchsort and fast-soft-sort are included if they are installed.
"""

from __future__ import annotations

import argparse
import random
import statistics
import subprocess
import sys
import time
from collections.abc import Callable

import torch

from musicemo.ops import soft_rank

SHAPES = ((3, 32), (3, 256), (3, 1497), (64, 512), (3, 100_000))
LIMITS = {32: 2.2, 256: 2.2}  # elsewhere 1.6
Operation = Callable[[torch.Tensor], torch.Tensor]


def contestants(shape: tuple[int, ...], device: str) -> dict[str, Operation]:
    """Return what can be timed here, the baseline first."""
    found: dict[str, Operation] = {
        "torch.sort": lambda x: torch.sort(x).values,
        "l2": soft_rank,
        "l2, 0.01": lambda x: soft_rank(x, strength=0.01),
        "kl": lambda x: soft_rank(x, regularization="kl"),
    }
    try:
        import torchsort

        found["torchsort"] = torchsort.soft_rank
    except ImportError:
        pass
    try:
        from fast_soft_sort.pytorch_ops import soft_rank as original

        if device == "cpu" and shape[-1] <= 10_000:  # a Python loop: minutes above
            found["fast-soft-sort"] = original
    except ImportError:
        pass
    return found


def seconds(operation: Operation, x: torch.Tensor, weights: torch.Tensor) -> float:
    """Time one forward and backward pass."""
    x = x.detach().requires_grad_()
    if x.is_cuda:
        torch.cuda.synchronize()
    start = time.perf_counter()
    operation(x).backward(weights)
    if x.is_cuda:
        torch.cuda.synchronize()
    return time.perf_counter() - start


def compare(shape: tuple[int, ...], device: str, repeats: int) -> dict[str, tuple[float, float]]:
    """Return each contestant's median time and its median ratio to `torch.sort`."""
    operations = contestants(shape, device)
    weights = torch.randn(shape, device=device)
    times: dict[str, list[float]] = {name: [] for name in operations}
    for round_ in range(repeats + 3):
        x = torch.randn(shape, device=device)
        for name in random.sample(list(operations), len(operations)):
            elapsed = seconds(operations[name], x, weights)
            if round_ >= 3:  # the first rounds compile
                times[name].append(elapsed)
    base = times["torch.sort"]
    return {
        name: (
            statistics.median(own),
            statistics.median(a / b for a, b in zip(own, base, strict=True)),
        )
        for name, own in times.items()
    }


def peak_memory(n: int) -> int:
    """Return by how many bytes a row of `n` raises the peak of a process of its own (on Linux)."""
    code = f"""if True:
        import re, torch
        from pathlib import Path
        from musicemo.ops import soft_rank
        for size in (100, 100_000):
            soft_rank(torch.randn(size, requires_grad=True), strength=1e-9).backward(torch.randn(size))
        x, weights = torch.randn({n}, requires_grad=True), torch.randn({n})
        def resident(field):
            return int(re.search(field + r":\\s+(\\d+) kB", Path("/proc/self/status").read_text())[1]) * 1024
        before = resident("VmRSS")
        Path("/proc/self/clear_refs").write_text("5")  # forget the peak so far
        soft_rank(x, strength=1e-9).backward(weights)  # hard ranks: as many blocks as there can be
        print(resident("VmHWM") - before)
    """
    run = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, check=True)
    return int(run.stdout)


def main() -> None:
    """Print the tables."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawTextHelpFormatter)
    parser.add_argument("--device", default="cpu")
    parser.add_argument("--repeats", type=int, default=300)
    parser.add_argument("--memory", action="store_true", help="peak memory against n, on the CPU")
    arguments = parser.parse_args()
    print(f"torch {torch.__version__}, {arguments.device}, {torch.get_num_threads()} threads, float32\n")
    print("| shape | torch.sort | limit | contestant: ratio |\n|---|---|---|---|")
    for shape in SHAPES:
        repeats = arguments.repeats if shape[-1] < 10_000 else max(arguments.repeats // 10, 10)
        rows = compare(shape, arguments.device, repeats)
        base = rows.pop("torch.sort")[0]
        ratios = ", ".join(f"{name}: {ratio:.2f}" for name, (_, ratio) in rows.items())
        print(f"| {shape} | {base * 1e6:.0f} us | {LIMITS.get(shape[-1], 1.6)} | {ratios} |", flush=True)
    if arguments.memory:
        print("\n| n | peak above the input, bytes per value |\n|---|---|")
        for n in (100_000, 300_000, 1_000_000, 3_000_000, 10_000_000):
            print(f"| {n} | {peak_memory(n) / n:.1f} |", flush=True)


if __name__ == "__main__":
    main()
