"""Test tracks that an earlier run was trained on, or one that it began with in its turn."""

from __future__ import annotations

import itertools
import tomllib
from collections.abc import Iterable, Iterator, Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from musicemo.components.local import unplaced
from musicemo.data import JoiningSettings
from musicemo.files import read_json

__all__ = ["find_leaks", "run_of"]

#: Keys of a dataset that say what is made of its tracks, and where that is kept, and not which tracks there are.
_OF_FEATURES = ("features", "sync", "cache", "on_error")

_UNKNOWN = "cannot tell whether test tracks are among those that {} was trained or stopped on: "


@dataclass(frozen=True)
class _Tracks:
    """Tracks of one dataset, by their ids there."""

    type: str
    parameters: Mapping[str, Any]
    ids: Sequence[str]


def find_leaks(checkpoint: Path, dataset: Any, tested: Sequence[str]) -> tuple[list[str], list[str]]:
    """Look for tracks that a checkpoint was trained or stopped on, in its run and in those that it began with.

    Tracks are the same where dataset and id are, alone or joined with others. A dataset of another type is taken for
    other music.

    Args:
        checkpoint: whose run is looked at.
        dataset: the table of the tested dataset, or of several.
        tested: ids of tracks.

    Returns:
        Sentences on what was found, and on what cannot be told and why.
    """
    leaks: list[str] = []
    doubts: list[str] = []
    ours = list(_by_dataset(dataset, tested))
    looked_at: set[Path] = set()
    place: Path | None = checkpoint
    while place is not None:
        run = run_of(place)
        if run is None:
            doubts.append(f"{_UNKNOWN.format(place)}it is in no run directory")
            break
        if run in looked_at:
            break
        looked_at.add(run)
        try:
            experiment = tomllib.loads((run / "experiment.toml").read_text(encoding="utf-8"))
            parts = read_json(run / "split.json")
            theirs = list(_by_dataset(experiment["dataset"], [*parts["train"], *parts["val"]]))
            place = _source(experiment, run)
        except (OSError, ValueError, KeyError, TypeError, AttributeError) as error:
            doubts.append(f"{_UNKNOWN.format(run)}it cannot be read: {type(error).__name__}: {error}")
            break
        for common, kind, differing in _shared(ours, theirs):
            count = f"{len(common)} of {len(tested)}"
            if differing:
                doubts.append(
                    f"{_UNKNOWN.format(run)}{count} have ids of such tracks, {common[0]!r} first, and the datasets, "
                    f"both of type {kind!r}, differ in {', '.join(differing)}"
                )
            else:
                leaks.append(
                    f"{count} test tracks are among those that {run} was trained or stopped on, {common[0]!r} first: "
                    "give both experiments the same [split]"
                )
    return leaks, doubts


def _shared(ours: Sequence[_Tracks], theirs: Sequence[_Tracks]) -> Iterator[tuple[list[str], str, list[str]]]:
    """Yield ids that are in both, the type of their datasets, and the parameters in which these differ."""
    for own, other in itertools.product(ours, theirs):
        known = set(other.ids)
        common = [name for name in own.ids if name in known] if own.type == other.type else []
        if common:
            pairs = (
                (key, own.parameters.get(key), other.parameters.get(key))
                for key in {**own.parameters, **other.parameters}
            )
            yield common, own.type, sorted(key for key, one, another in pairs if one != another)


def run_of(checkpoint: Path) -> Path | None:
    """Return the run directory that a checkpoint is of, where it is in one."""
    found = checkpoint.parent.parent
    return found if (found / "split.json").is_file() else None


def _source(experiment: Mapping[str, Any], run: Path) -> Path | None:
    """Return the checkpoint that a run began with; beside the run where both were moved since."""
    if "transfer" not in experiment:
        return None
    written = Path(experiment["transfer"]["from"])
    moved = run.parent.parent.joinpath(*written.parts[-4:])
    return moved if run_of(written) is None and run_of(moved) else written


def _by_dataset(dataset: Any, ids: Iterable[str]) -> Iterator[_Tracks]:
    """Yield the tracks of a dataset's table, or of each of several, whose names stand before their tracks' ids.

    A type from a file of the user's own is called by it: a run has a copy, which stands elsewhere.
    """
    several = isinstance(dataset, list)
    core = {"type", *_OF_FEATURES, *(JoiningSettings.model_fields if several else ())}
    for table in dataset if several else [dataset]:
        prefix = f"{table['name']}/" if several else ""
        own = [name.removeprefix(prefix) for name in ids if name.startswith(prefix)]
        parameters = {name: value for name, value in table.items() if name not in core}
        yield _Tracks(unplaced(table["type"]), parameters, own)
