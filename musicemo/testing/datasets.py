"""Contract of datasets."""

from __future__ import annotations

import inspect
from collections.abc import Iterator, Mapping, Sequence
from itertools import chain
from pathlib import Path
from typing import Any

import numpy as np

from musicemo.contracts import TARGET_KINDS, ArrayFile, Dataset, FeatureArray, Signal, Target, Track
from musicemo.data import TaskSettings, make_task
from musicemo.data.pairs import judgements
from musicemo.data.tracks import misdeclared, misyielded, unwritable
from musicemo.errors import InputError
from musicemo.features import StoredArray
from musicemo.messages import muted
from musicemo.testing._contract import Contract, built, check_pickle, require
from musicemo.training.randomness import seed_everything

__all__ = ["check_dataset"]


def check_dataset(dataset: Any, parameters: Mapping[str, Any] | None = None) -> list[Track]:
    """Check that a dataset meets `musicemo.contracts.Dataset`, and return its tracks.

    Parameters are unchanged after conversion to TOML and back. Targets have a kind and a range or classes. Ids
    are unique. Every target, rating, group and part is as declared. Every array is `[rows, frames]`, floating
    point and finite, with the selected rows. Order and content are the same each time, whatever the seed. The
    dataset can be pickled.

    Args:
        dataset: the class, a function that returns a dataset, the installed name, or a dataset.
        parameters: its TOML table, without ``type``; none for a dataset object.

    Raises:
        ContractError: with one sentence for each violated clause.
        InputError: no dataset of this name is installed.
    """
    __tracebackhide__ = True
    made_already = not (isinstance(dataset, str) or inspect.isclass(dataset) or inspect.isroutine(dataset))
    tracks: list[Track] = []
    with Contract("dataset", dataset, parameters) as contract, muted():
        if made_already:
            constructed = dataset
        else:
            component = contract.configured()
            with contract.clause("construction", "constructing it", essential=True):
                constructed = built(contract, component)
        with contract.clause("targets", "reading its targets", essential=True):
            declared = _check_declarations(constructed)
        with contract.clause("tracks", "reading its tracks", essential=True):
            tracks = list(constructed.tracks())
            require(tracks, "it has no track; a dataset has at least one")
            require(not (strange := misyielded(tracks)), "".join(strange[:1]))
        _check_tracks(contract, declared, tracks)
        with contract.clause("features", "reading the features"):
            _check_features(tracks, getattr(constructed, "rows", slice(None)))
        with contract.clause("order", "reading the tracks again"):
            seed_everything(1)
            again = list(constructed.tracks())
            _require_same(tracks, again, "a second time")
            if not made_already:
                _require_same(
                    tracks, list(built(contract, component, 2).tracks()), "from another one with another seed"
                )
        arrived = check_pickle(contract, constructed)
        if arrived is not None:
            with contract.clause("pickle", "reading the tracks after pickling"):
                _require_same(tracks, list(arrived.tracks()), "after pickling")
    return tracks


def _check_declarations(dataset: Any) -> dict[str, Target]:
    require(
        isinstance(dataset, Dataset),
        f"a {type(dataset).__name__} lacks targets or tracks(); a dataset has both",
    )
    targets = list(dataset.targets)
    require(targets, "it declares no target; a dataset has at least one")
    names = [target.name for target in targets]
    require(len(set(names)) == len(names), f"two targets have one name ({', '.join(names)}); names are unique")
    for target in targets:
        require(
            target.kind in TARGET_KINDS,
            f"{target.name!r} is a {target.kind!r} target; the kinds are {', '.join(TARGET_KINDS)}",
        )
        if target.kind in ("regression", "series"):
            low, high = target.range
            require(
                -np.inf < low < high < np.inf,
                f"{target.name!r} has the range [{low:g}, {high:g}]; a range is finite, its lower end first",
            )
        elif target.kind != "pairs":
            least, text, nouns = (1, "one", "tags") if target.kind == "tags" else (2, "two", "classes")
            require(
                len(set(target.classes)) == len(target.classes) >= least,
                f"{target.name!r} has the {nouns} {list(target.classes)}; at least {text}, each once, are declared",
            )
    rows = getattr(dataset, "rows", slice(None))
    require(
        isinstance(rows, slice),
        f"its rows are {rows!r}; they are a slice of each array's rows, such as slice(0, 12)",
    )
    require(not (strange := misdeclared(dataset)), "".join(strange[:1]))
    return {target.name: target for target in targets}


def _check_tracks(contract: Contract, declared: Mapping[str, Target], tracks: Sequence[Track]) -> None:
    with contract.clause("ids", "reading the ids"):
        seen: set[str] = set()
        for track in tracks:
            require(
                isinstance(track.id, str) and track.id,
                f"an id is {track.id!r}; an id is text that is not empty",
            )
            require(not (strange := unwritable(track)), strange or "")
            require(track.id not in seen, f"{track.id!r} is the id of two tracks; ids are unique in a dataset")
            seen.add(track.id)
    with contract.clause("labels", "reading the targets of the tracks"):
        names = ", ".join(declared)
        pairs = [name for name, target in declared.items() if target.kind == "pairs"]
        for track in tracks:
            for name in chain(track.targets, track.ratings):
                require(
                    name in declared,
                    f"track {track.id!r} has {name!r}, which is not declared (targets: {names}); every target is",
                )
            for name, value in track.targets.items():
                if value is not None:
                    _require_allowed(track, declared[name], value)
            for name, ratings in track.ratings.items():
                for rating in ratings:
                    _require_allowed(track, declared[name], rating)
        for track in tracks:
            for other in (one.other for name in pairs for one in judgements(track, name)):
                require(
                    other in seen,
                    f"track {track.id!r} is compared with {other!r}, which is not the id of a track",
                )
        for name in declared:
            require(
                any(track.targets.get(name) is not None for track in tracks),
                f"no track has a value for {name!r}; a declared target is known of some track",
            )
    with contract.clause("groups", "reading groups and parts"):
        for track in tracks:
            require(
                track.group is None or (isinstance(track.group, str) and track.group),
                f"track {track.id!r} has the group {track.group!r}; a group is text that is not empty, or None",
            )
            require(
                track.part in (None, "train", "val", "test"),
                f"track {track.id!r} is in the part {track.part!r}; a part is train, val, test or None",
            )


def _require_allowed(track: Track, target: Target, value: Any) -> None:
    if target.kind in ("tags", "series", "pairs"):
        task = make_task(target.name, TaskSettings(), [target])
        try:
            task.encode(track)
            task.encode_series(track)
            task.check_ratings(track)
        except InputError as error:
            require(False, str(error))
        return
    if target.kind == "classification":
        require(
            value in target.classes,
            f"track {track.id!r} has the {target.name} {value!r}, which is not among the declared classes",
        )
        return
    require(
        isinstance(value, float | int | np.floating) and not isinstance(value, bool),
        f"track {track.id!r} has the {target.name} {value!r}; the value of a regression target is a number",
    )
    low, high = target.range
    require(
        low <= value <= high,
        f"track {track.id!r} has the {target.name} {value!r}, outside the declared range [{low:g}, {high:g}]",
    )


def _check_features(tracks: Sequence[Track], rows: slice) -> None:
    if rows.step is not None:
        require(rows.step > 0, f"its rows are {rows!r}; their step must be positive")
    first: int | None = None
    for track in tracks:
        if track.audio is not None:
            require(
                track.features is None, f"track {track.id!r} has audio and features; a track has one of them"
            )
            _check_audio(track)
            continue
        array = _array(track)
        require(
            isinstance(array, np.ndarray) and array.ndim == 2 and array.dtype.kind == "f",
            f"track {track.id!r} has {_described(array)}; features are a floating-point array [time, feature]",
        )
        require(len(array), f"track {track.id!r} has no time step; features have at least one")
        size = array.shape[1]
        require(
            (rows.stop or 0) <= size and array[:, rows].shape[1],
            f"track {track.id!r} has {size} rows, and the dataset's rows are {rows.start or 0} to {rows.stop}; "
            "every array has the rows that are asked for",
        )
        first = size if first is None else first
        require(
            size == first,
            f"track {track.id!r} has {size} rows where the first has {first}; all have as many, as the second axis",
        )
        require(
            np.isfinite(array[:, rows]).all(),
            f"track {track.id!r} has features that are not finite; every value must be",
        )


def _check_audio(track: Track) -> None:
    audio = track.audio
    require(
        isinstance(audio, Path | Signal),
        f"track {track.id!r} has {_described(audio)} as audio; it is a path, or has identity and samples()",
    )
    if isinstance(audio, Path):
        require(audio.is_file(), f"track {track.id!r}: there is no file {audio}")


def _require_same(tracks: Sequence[Track], again: Sequence[Track], when: str) -> None:
    contract = "order and content are the same each time, whatever the seed"
    require(len(tracks) == len(again), f"{len(again)} tracks are yielded {when}, not {len(tracks)}; {contract}")
    for before, after in zip(tracks, again, strict=True):
        require(
            before.id == after.id, f"{when} {after.id!r} stands where {before.id!r} stood before; {contract}"
        )
        for name in ("targets", "group", "part", "ratings"):
            require(
                getattr(before, name) == getattr(after, name),
                f"track {before.id!r} has other {name} {when}; {contract}",
            )
    for before, after in _sampled(tracks, again):
        same = before.audio is not None or np.array_equal(_array(before), _array(after), equal_nan=True)
        require(
            same and _identity(before) == _identity(after),
            f"track {before.id!r} has other features {when}; {contract}",
        )


def _sampled(tracks: Sequence[Track], again: Sequence[Track]) -> Iterator[tuple[Track, Track]]:
    """Yield the first and the last tracks, each read twice: comparing all of a large dataset would take too long."""
    yield from zip([*tracks[:10], tracks[-1]], [*again[:10], again[-1]], strict=True)


def _identity(track: Track) -> object:
    return track.audio.identity if isinstance(track.audio, Signal) else track.audio


def _array(track: Track) -> Any:
    features = track.features
    if isinstance(features, Path):
        features = ArrayFile(features)
    if isinstance(features, ArrayFile):
        features = StoredArray(features)
    return features.read() if isinstance(features, FeatureArray) else features


def _described(value: Any) -> str:
    return (
        f"{value.dtype} {list(value.shape)}" if isinstance(value, np.ndarray) else f"a {type(value).__name__}"
    )
