"""What the shell offers when a word is completed; nothing is imported for it but entry points' names."""

from __future__ import annotations

from collections.abc import Iterator
from pathlib import Path

from musicemo.components import registry
from musicemo.files import expanded

__all__ = [
    "complete_component",
    "complete_experiment",
    "complete_launcher",
    "complete_override",
    "complete_run",
]

#: How many folders deep experiment files are looked for.
_DEPTH = 3


def complete_experiment(incomplete: str) -> list[str]:
    """Return the TOML files that begin so, those in folders that do included."""
    return sorted(_tables(incomplete))


def complete_run(incomplete: str) -> list[str]:
    """Return experiments' folders in `runs`, and the run directories in one that is named."""
    names = []
    for folder in _starting(incomplete or "runs/"):
        if any(folder.glob("results.json")) or any(folder.glob("*/results.json")):
            names.append(str(folder))
            if incomplete.rstrip("/").endswith(folder.name):
                names += [str(path.parent) for path in sorted(folder.glob("*/results.json"))]
    return names


def complete_component(incomplete: str, kind: str = "") -> list[str]:
    """Return the components whose name begins so, of one kind or of any."""
    names = {claim.name for one in ([kind] if kind else registry.GROUPS) for claim in registry.claims(one)}
    return sorted(name for name in names if name.startswith(incomplete))


def complete_launcher(incomplete: str) -> list[str]:
    """Return the launchers whose name begins so."""
    return complete_component(incomplete, "launcher")


def complete_override(incomplete: str) -> list[str]:
    """Return what ``--set dataset.type=`` and the like can be; of other keys the shell knows nothing."""
    kinds = ("dataset", "features", "model", "sharing", "weighting", "launcher")
    offers = [f"{kind}.type={claim.name}" for kind in kinds for claim in registry.claims(kind)]
    return sorted({offer for offer in offers if offer.startswith(incomplete)})


def _tables(incomplete: str) -> Iterator[str]:
    for path in _starting(incomplete):
        if path.is_dir():
            for depth in range(1, _DEPTH + 1):
                yield from (str(file) for file in path.glob("*/" * (depth - 1) + "*.toml") if _visible(file))
        elif path.suffix == ".toml" and path.name != "pyproject.toml":
            yield str(path)


def _starting(incomplete: str) -> list[Path]:
    """Return the files and folders whose path begins so; a folder that is named in full is one of them."""
    head, slash, tail = incomplete.rpartition("/")
    folder = expanded(head or slash or ".")
    try:
        paths = [path for path in sorted(folder.iterdir()) if path.name.startswith(tail)]
    except OSError:
        return []
    return [path for path in paths if tail.startswith(".") or not path.name.startswith(".")]


def _visible(path: Path) -> bool:
    return not any(part.startswith(".") and part != ".." for part in path.parts)
