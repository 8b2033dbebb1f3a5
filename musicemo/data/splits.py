"""Splits into training, validation and test sets, determined by a seed and identified by a hash."""

from __future__ import annotations

import csv
import hashlib
import json
import math
import warnings
from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Literal

import numpy as np
from numpy.typing import NDArray
from pydantic import Field, model_validator

from musicemo.errors import InputError
from musicemo.settings import Settings

__all__ = ["PARTS", "Split", "SplitSettings", "hash_ids", "make_split", "read_split", "strata"]

PARTS = ("train", "val", "test")

#: The stratum of the tracks whose target is missing.
_MISSING = 0
#: Largest number of steps that make folds of groups more alike, and of groups up to which pairs are exchanged. With
#: more groups, single moves suffice.
_BALANCING_STEPS, _MOST_EXCHANGED = 1000, 500

#: Number of classes of checksums, see `_hash_bucket`.
_BUCKETS = 10

Indices = NDArray[np.intp]


class SplitSettings(Settings):
    """The table ``[split]``."""

    method: Literal["official", "random", "stratified", "grouped", "kfold", "file"] = "stratified"
    """Split method. ``grouped`` keeps the tracks of a group in one set; ``kfold`` is cross-validation; ``file`` reads
    the ids of each set.
    """
    path: str | None = Field(default=None, min_length=1)
    """File with the ids of each set: JSON with lists ``train``, ``val`` and ``test``, such as the ``split.json`` of a
    run, and ``excluded`` for ids in no set; or a table with the columns ``id`` and ``part``.
    """
    validation: float | None = Field(default=None, ge=0, lt=1)
    """Fraction of the tracks in the validation set. The default is 0.2; it is 0 in k-fold cross-validation of an
    estimator that has no use for a validation set.
    """
    test: float = Field(default=0.2, ge=0, lt=1)
    """Fraction of the tracks in the test set. Official test sets and folds are not changed by it."""
    seed: int = Field(default=0, ge=0, lt=2**32)
    """Seed of the split. It is independent of the experiment's seeds, so that replicates share the test set."""
    stratify: str | None = None
    """Task, or other target of the dataset, whose classes or binned ratings have the same distribution in every
    set. The default is the first task.
    """
    bins: int = Field(default=5, ge=2)
    """Number of equally filled bins of the ratings for stratification."""
    draw: Literal["stratified", "random", "group-hash"] = "stratified"
    """Official split, file and k-fold: how the validation set is drawn from the training set, if there is none.
    ``group-hash`` takes the groups whose names have a high SHA-1 checksum, so that more tracks do not move others.
    """
    together: bool = False
    """Random: whether the validation and the test set are drawn as one and then divided, not the test set first."""
    folds: int = Field(default=5, ge=2)
    """k-fold: number of folds."""
    shuffle: bool = True
    """k-fold: whether tracks are assigned to folds at random. ``false`` cuts the tracks in their order."""
    grouped: bool = False
    """k-fold: whether to keep the tracks of a group in the same fold."""
    repeats: int = Field(default=1, ge=1)
    """k-fold: number of times that the tracks are divided into folds, each time differently. The folds of the second
    time are numbered on from those of the first.
    """
    pairs: Literal["keep", "drop"] = "keep"
    """Judged pairs: ``keep`` both tracks of a pair in one set, or ``drop`` pairs across sets. Pairs across the sets of
    official splits and of files are always dropped.
    """
    fold: int | None = Field(default=None, ge=0)
    """k-fold: number of the only fold to run, counted from 0. The default is every fold."""

    @model_validator(mode="after")
    def _consistent(self) -> SplitSettings:
        if self.method in ("random", "stratified", "grouped") and self.validation_share + self.test >= 1:
            raise ValueError("validation + test must be below 1, to leave tracks for training")
        if (self.method == "file") != (self.path is not None):
            raise ValueError(
                f'method = "{self.method}" needs path, the file with the ids of each set'
                if self.path is None
                else f'path is only for method = "file", not "{self.method}"'
            )
        drawn_by = {"draw": ("official", "file", "kfold"), "together": ("random",), "shuffle": ("kfold",)}
        for name, methods in drawn_by.items():
            if getattr(self, name) != type(self).model_fields[name].default and self.method not in methods:
                allowed = " or ".join(f'"{method}"' for method in methods)
                raise ValueError(f'{name} is only for method = {allowed}, not "{self.method}"')
        if self.draw == "group-hash" and not math.isclose(
            self.validation_share * _BUCKETS % 1, 0, abs_tol=1e-9
        ):
            raise ValueError(f'draw = "group-hash" needs a validation share in steps of {1 / _BUCKETS}')
        if not self.shuffle and (self.grouped or self.repeats > 1):
            raise ValueError("shuffle = false cannot be combined with grouped = true or repeats")
        if self.fold is not None and self.fold >= self.folds * self.repeats:
            raise ValueError(
                f"fold {self.fold} does not exist: {self.folds * self.repeats} folds are numbered from 0"
            )
        return self

    @property
    def validation_share(self) -> float:
        """Fraction of the tracks in the validation set, with the default."""
        return 0.2 if self.validation is None else self.validation

    @property
    def by_groups(self) -> bool:
        """Whether every group is in one set."""
        return self.method == "grouped" or (self.method == "kfold" and self.grouped)


@dataclass(frozen=True)
class Split:
    """Track indices of each set: ``train``, ``val`` and ``test``. The validation or test set may be empty."""

    parts: Mapping[str, Indices]
    ids: Sequence[str]

    def __post_init__(self) -> None:
        everything = np.concatenate(list(self.parts.values()))
        unique, counts = np.unique(everything, return_counts=True)
        if len(unique) != len(everything):
            raise InputError(
                f"track {self.ids[int(unique[counts > 1][0])]!r} is in more than one set of the split"
            )
        if not len(self.parts["train"]):
            raise InputError("the training set is empty")

    @property
    def part_of(self) -> dict[int, str]:
        """The set of every track, in the order of the tracks."""
        return dict(sorted((int(index), part) for part in PARTS for index in self.parts[part]))

    def track_ids(self, part: str) -> list[str]:
        """Return the ids of a set's tracks."""
        return [self.ids[index] for index in self.parts[part]]

    @property
    def hashes(self) -> dict[str, str]:
        """SHA-256 of each set's sorted ids, and of all sets together."""
        hashes = {part: hash_ids(self.track_ids(part)) for part in PARTS}
        return {**hashes, "all": _hash([hashes[part] for part in PARTS])}

    def to_json(self) -> dict[str, object]:
        """Return the content of `split.json`."""
        return {"hash": self.hashes, **{part: self.track_ids(part) for part in PARTS}}


def hash_ids(ids: Sequence[str]) -> str:
    """Return the SHA-256 of ids in any order, which identifies a set of tracks."""
    return _hash(sorted(ids))


def _hash(value: list[str]) -> str:
    return hashlib.sha256(json.dumps(value).encode()).hexdigest()


def make_split(
    settings: SplitSettings,
    ids: Sequence[str],
    strata: NDArray[np.intp],
    groups: Sequence[str | None],
    official: Sequence[str | None],
    fold: int | None = None,
    together: Sequence[str] | None = None,
    inner: tuple[int, int] | None = None,
) -> Split:
    """Split tracks.

    Args:
        settings: the method and its shares.
        ids: unique id of each track.
        strata: class or bin of each track, or the tags that it has, for stratification; see `strata`.
        groups: artist or album of each track.
        official: set of each track in the official split, or in the file of the settings.
        fold: fold that is the test set, for k-fold; by default that of the settings, or the first.
        together: name of each track's group that is kept in one set, whatever the settings, such as the pairs that a
            track is in; by default, the settings decide whether `groups` are kept.
        inner: number of an inner fold, and number of all, for nested cross-validation: the tracks outside of the test
            set are split into inner folds, of which this one is the validation set.

    Raises:
        InputError: a set that must not be empty is empty, a stratum is too small, or groups or official sets are
            missing.
    """
    everyone = np.arange(len(ids))
    if settings.by_groups and (
        without := [name for name, group in zip(ids, groups, strict=True) if group is None]
    ):
        raise InputError(
            f"{len(without)} tracks have no group, for example {without[0]!r}, but a grouped split requires "
            "one for each track"
        )
    grouped = settings.by_groups or together is not None
    names = [group or "" for group in groups] if together is None else together
    group_codes = np.unique(names, return_inverse=True)[1] if grouped else None
    val: Indices | None = None
    if settings.method == "file":
        rest, val, test = (np.flatnonzero([name == part for name in official]) for part in PARTS)
    elif settings.method == "official":
        rest, val, test = _official(official, ids)
    elif settings.method == "kfold":
        rest, test = _fold(settings, everyone, strata, group_codes, settings.fold if fold is None else fold)
    elif settings.together:
        rest, test, val = _together(settings, len(ids))
    else:
        rest, test = _cut(settings, everyone, settings.test, strata, group_codes, "test")
    if inner is not None:
        number, count = inner
        rest = np.sort(rest if val is None else np.concatenate([rest, val]))
        codes = None if group_codes is None else np.unique(group_codes[rest], return_inverse=True)[1]
        of_inner = settings.model_copy(update={"folds": count})
        kept, held_out = _fold(of_inner, np.arange(len(rest)), strata[rest], codes, number)
        rest, val = rest[kept], rest[held_out]
    elif val is None or not len(val):
        share = settings.validation_share
        if settings.method not in ("official", "kfold", "file"):
            share = min(share / (1 - settings.test), 1.0)
        if settings.draw == "group-hash":
            rest, val = _cut_hashed(rest, share, ids, groups)
        else:
            rest, val = _cut(settings, rest, share, strata, group_codes, "validation")
    return Split({"train": np.sort(rest), "val": np.sort(val), "test": np.sort(test)}, ids)


def read_split(path: Path) -> dict[str, str]:
    """Return track id -> set, or "excluded", from a file; see `SplitSettings.path`.

    Raises:
        InputError: the file cannot be read, has another form, or has an id in more than one set.
    """
    try:
        text = path.read_text(encoding="utf-8-sig")
        pairs = list(_pairs_of_json(text) if text.lstrip().startswith("{") else _pairs_of_table(text))
    except (OSError, ValueError) as error:
        reason = error.strerror if isinstance(error, OSError) else error
        raise InputError(
            f"{path}: cannot be read as a split: {reason}. It must be JSON with lists of ids train, val and test, or a "
            "table with the columns id and part"
        ) from error
    parts: dict[str, str] = {}
    for name, part in pairs:
        if parts.setdefault(name, part) != part:
            raise InputError(
                f"{path}: {name!r} is in more than one set of the split ({parts[name]} and {part})"
            )
    return parts


def _pairs_of_json(text: str) -> Iterator[tuple[str, str]]:
    table = json.loads(text)
    if "train" not in table:
        raise ValueError("it has no list train")
    for part in (*PARTS, "excluded"):
        ids = table.get(part, [])
        if not isinstance(ids, list) or not all(isinstance(name, str | int) for name in ids):
            raise ValueError(f"{part} is not a list of ids")
        yield from ((str(name), part) for name in ids)


def _pairs_of_table(text: str) -> Iterator[tuple[str, str]]:
    lines = text.splitlines()
    header = lines[0] if lines else ""
    rows = csv.DictReader(lines, delimiter=next((one for one in "\t;" if one in header), ","))
    for number, row in enumerate(rows, start=2):
        part = {"validation": "val", "valid": "val"}.get(row.get("part") or "", row.get("part"))
        if not row.get("id") or part not in PARTS:
            raise ValueError(f"line {number} has no id, or a part other than {', '.join(PARTS)}")
        yield row["id"], part


def _official(official: Sequence[str | None], ids: Sequence[str]) -> tuple[Indices, Indices, Indices]:
    if without := [name for name, part in zip(ids, official, strict=True) if part not in PARTS]:
        raise InputError(
            f"{len(without)} tracks are not in the official split, for example {without[0]!r}. Choose another method "
            "(random, stratified, grouped, kfold)"
        )
    parts = {part: np.flatnonzero([name == part for name in official]) for part in PARTS}
    if not len(parts["train"]) or not len(parts["test"]):
        raise InputError(
            "the official split has "
            + " and ".join(
                f"{len(parts[part])} tracks to {verb}" for part, verb in (("train", "train"), ("test", "test"))
            )
            + " with a label. Choose another method (random, stratified, grouped, kfold)"
        )
    return parts["train"], parts["val"], parts["test"]


def _fold(
    settings: SplitSettings, tracks: Indices, strata: Indices, groups: Indices | None, fold: int | None
) -> tuple[Indices, Indices]:
    from sklearn.model_selection import KFold, StratifiedKFold

    folds = settings.folds
    repeat, fold = divmod(fold or 0, folds)
    seed = settings.seed + repeat
    if not settings.shuffle:
        if len(tracks) < folds:
            raise InputError(f"{len(tracks)} tracks cannot be split into {folds} folds")
        test = np.array_split(tracks, folds)[fold]
        return np.setdiff1d(tracks, test), test
    tagged = strata.ndim > 1
    if groups is not None and len(np.unique(groups)) < folds:
        raise InputError(f"{len(np.unique(groups))} groups cannot be split into {folds} folds")
    if groups is None and len(tracks) < folds:
        raise InputError(f"{len(tracks)} tracks cannot be split into {folds} folds")
    if groups is not None or tagged:
        labels = strata if tagged else (strata[:, None] == np.unique(strata)).astype(np.intp)
        items = tracks if groups is None else np.unique(groups, return_inverse=True)[1]
        dealt = _deal(labels, items, [1 / folds] * folds, np.random.RandomState(seed))
        inside = (_balance(labels, items, dealt, folds) if groups is not None else dealt) == fold
        return _checked_fold(tracks[~inside], tracks[inside], fold, folds)
    if int(np.bincount(strata).max(initial=0)) >= folds:
        splitter = StratifiedKFold(folds, shuffle=True, random_state=seed)
    else:
        splitter = KFold(folds, shuffle=True, random_state=seed)
    with warnings.catch_warnings():
        warnings.filterwarnings("ignore", "The least populated class", UserWarning)  # not in every fold, then
        pairs = list(splitter.split(tracks, strata))
    rest, test = pairs[fold]
    return _checked_fold(rest, test, fold, folds)


def _checked_fold(rest: Indices, test: Indices, fold: int, folds: int) -> tuple[Indices, Indices]:
    if not len(test) or not len(rest):
        raise InputError(f"fold {fold} of {folds} is empty: the groups are too few or too unequal")
    return rest, test


def _cut(
    settings: SplitSettings,
    tracks: Indices,
    share: float,
    strata: Indices,
    groups: Indices | None,
    part: str,
) -> tuple[Indices, Indices]:
    """Separate a share of the tracks: stratified, by groups, or at random."""
    if share == 0:
        return tracks, tracks[:0]
    pieces = len(tracks) if groups is None else len(np.unique(groups[tracks]))
    noun = "tracks" if groups is None else "groups"
    if not 0 < math.ceil(pieces * share) < pieces:
        raise InputError(f"{pieces} {noun} are too few for a {part} set of {share:.0%}")
    random = np.random.RandomState(settings.seed)  # the draws of scikit-learn
    if groups is not None and settings.method == "stratified":
        labels = strata if strata.ndim > 1 else (strata[:, None] == np.unique(strata)).astype(np.intp)
        codes = np.unique(groups[tracks], return_inverse=True)[1]
        inside = _deal(labels[tracks], codes, [1 - share, share], random) == 1
        rest, cut = np.flatnonzero(~inside), np.flatnonzero(inside)
    elif groups is not None:
        _, codes = np.unique(groups[tracks], return_inverse=True)
        _, drawn = _shuffle(pieces, share, random)
        inside = np.isin(codes, drawn)
        rest, cut = np.flatnonzero(~inside), np.flatnonzero(inside)
    elif settings.method == "random" or settings.draw == "random":
        rest, cut = _shuffle(pieces, share, random)
    elif strata.ndim > 1:
        inside = _deal(strata[tracks], np.arange(pieces), [1 - share, share], random) == 1
        rest, cut = np.flatnonzero(~inside), np.flatnonzero(inside)
    else:
        sizes = np.bincount(strata[tracks])
        if sizes[_MISSING] == 1:  # alone it cannot stand on both sides
            strata = np.where(strata == _MISSING, sizes.argmax(), strata)
            sizes = np.bincount(strata[tracks])
        present = sizes[sizes > 0]
        size = math.ceil(len(tracks) * share)
        if present.min() < 2 or size < len(present) or len(tracks) - size < len(present):
            raise InputError(
                f"cannot draw a stratified {part} set of {share:.0%} from {len(tracks)} tracks in "
                f"{len(present)} strata, the smallest of {present.min()}. Merge or drop rare classes, use "
                'fewer bins, or set method = "random"'
            )
        rest, cut = _shuffle_strata(strata[tracks], share, random)
    return tracks[rest], tracks[cut]


def _together(settings: SplitSettings, count: int) -> tuple[Indices, Indices, Indices]:
    """Return the training, test and validation set: two cuts of `_shuffle`, the second of what the first took."""
    share = settings.validation_share + settings.test
    if share == 0 or not 0 < math.ceil(count * share) < count:
        raise InputError(f"{count} tracks are too few for a validation and a test set of {share:.0%}")
    rest, drawn = _shuffle(count, share, np.random.RandomState(settings.seed))
    left, cut = _shuffle(len(drawn), settings.validation_share / share, np.random.RandomState(settings.seed))
    return rest, drawn[left], drawn[cut]


def _cut_hashed(
    tracks: Indices, share: float, ids: Sequence[str], groups: Sequence[str | None]
) -> tuple[Indices, Indices]:
    """Separate the tracks whose groups have a high checksum: about a share of them."""
    if share == 0:
        return tracks, tracks[:0]
    if without := [ids[index] for index in tracks if not groups[index]]:
        raise InputError(
            f'{len(without)} tracks have no group, for example {without[0]!r}, but draw = "group-hash" requires one '
            "for each track"
        )
    buckets = np.array([_hash_bucket(groups[index] or "") for index in tracks])
    inside = buckets >= round((1 - share) * _BUCKETS)
    if not inside.any() or inside.all():
        raise InputError(
            f"the checksums of {len(set(groups))} groups give no validation set of {share:.0%}. Choose another draw"
        )
    return tracks[~inside], tracks[inside]


def _hash_bucket(name: str) -> int:
    """Return the SHA-1 checksum of a name, modulo ten.

    Only the ASCII letters of the name count, in lower case, and its words with one space between. It is the rule by
    which R. Castellon, C. Donahue, P. Liang, "Codified audio language modeling learns useful representations for music
    information retrieval", ISMIR 2021, split emoMusic.
    """
    letters = "".join(char for char in name.lower() if char.isascii() and (char.isalpha() or char.isspace()))
    return (
        int(hashlib.sha1(" ".join(letters.split()).encode(), usedforsecurity=False).hexdigest(), 16) % _BUCKETS
    )


def _shuffle(count: int, share: float, random: np.random.RandomState) -> tuple[Indices, Indices]:
    """Return a random order of `count` pieces, cut before its share, as `sklearn.model_selection.ShuffleSplit` does.

    This function and `_shuffle_strata` replace scikit-learn, whose import takes a second, because every run needs them.
    """
    order = random.permutation(count)
    size = math.ceil(count * share)
    return order[size:], order[:size]


def _shuffle_strata(strata: Indices, share: float, random: np.random.RandomState) -> tuple[Indices, Indices]:
    """Return indices outside and inside a share of each stratum, as scikit-learn's `StratifiedShuffleSplit` does."""
    _, codes, counts = np.unique(strata, return_inverse=True, return_counts=True)
    size = math.ceil(len(strata) * share)
    outside = _allot(counts, len(strata) - size, random)
    inside = _allot(counts - outside, size, random)
    members = np.split(np.argsort(codes, kind="stable"), np.cumsum(counts)[:-1])
    rest, cut = [], []
    for some, first, second in zip(members, outside, inside, strict=True):
        order = some[random.permutation(len(some))]
        rest.append(order[:first])
        cut.append(order[first : first + second])
    return random.permutation(np.concatenate(rest)), random.permutation(np.concatenate(cut))


def _allot(counts: Indices, total: int, random: np.random.RandomState) -> Indices:
    """Return the number of tracks per stratum for a total in equal shares; the largest remainders are rounded up."""
    exact = counts / counts.sum() * total
    allotted = np.floor(exact)
    missing = int(total - allotted.sum())
    remainders = exact - allotted
    for remainder in np.unique(remainders)[::-1]:
        if missing == 0:
            break
        equal = np.flatnonzero(remainders == remainder)
        raised = random.choice(equal, size=min(len(equal), missing), replace=False)
        allotted[raised] += 1
        missing -= len(raised)
    return np.asarray(allotted, dtype=np.intp)


def _deal(labels: Indices, items: Indices, shares: Sequence[float], random: np.random.RandomState) -> Indices:
    """Deal tracks with several labels to parts by iterative stratification, and return each track's part.

    The rarest label among the tracks that are left is dealt first: each of its items goes to the part that lacks most
    tracks with this label, and of equal ones to the part that lacks most tracks of any label. Items without a label
    come last. The sizes of the parts can differ from their shares by a few tracks.

    K. Sechidis, G. Tsoumakas, I. Vlahavas, "On the Stratification of Multi-label Data", ECML PKDD 2011.

    Args:
        labels: `[tracks, labels]`: 1 if the track has the label, otherwise 0.
        items: item of each track, counted from 0; the tracks of an item (an artist) stay in the same part.
        shares: share of each part in the tracks.
        random: determines the order of items and the part among equal ones.
    """
    count = int(items.max()) + 1
    sizes = np.bincount(items, minlength=count)
    held = np.zeros((count, labels.shape[1]), dtype=np.intp)
    np.add.at(held, items, labels)
    order = random.permutation(count)
    order = order[np.argsort(-sizes[order], kind="stable")]
    wanted, room = np.outer(shares, held.sum(axis=0)), np.array(shares) * sizes.sum()
    parts = np.full(count, -1, dtype=np.intp)
    left = held.sum(axis=0)
    while True:
        rarest = int(np.argmin(np.where(left > 0, left, left.max(initial=0) + 1))) if left.any() else None
        some = [item for item in order if parts[item] < 0 and (rarest is None or held[item, rarest])]
        for item in some:
            lacking = room if rarest is None else wanted[:, rarest]
            best = np.flatnonzero(lacking == lacking.max())
            best = best[room[best] == room[best].max()]
            part = int(best[0] if len(best) == 1 else random.choice(best))
            parts[item] = part
            wanted[part] -= held[item]
            room[part] -= sizes[item]
            left = left - held[item]
        if rarest is None:
            return np.asarray(parts[items])


def _balance(labels: Indices, items: Indices, parts: Indices, folds: int) -> Indices:
    """Move items between folds, and exchange pairs of them, until no step makes the folds more alike.

    Folds are alike if their numbers of tracks, and of tracks with each label, are near the mean over folds. The cost is
    the sum of squared deviations, each divided by the mean, so that a rare label counts as much as a frequent one; the
    number of tracks counts as much as all labels together. Each step is the one that lowers the cost most.

    Args:
        labels: `[tracks, labels]`, see `_deal`.
        items: item of each track, counted from 0.
        parts: fold of each track; tracks of an item have the same.
        folds: number of folds.

    Returns:
        The fold of each track.
    """
    count = int(items.max()) + 1
    held = np.zeros((count, labels.shape[1] + 1))
    np.add.at(held, items, np.column_stack([labels, np.ones(len(labels), dtype=np.intp)]))
    present = held.sum(axis=0) > 0
    held = held[:, present]
    mean = held.sum(axis=0) / folds
    scale = 1 / np.sqrt(mean)
    scale[-1] *= np.sqrt(max(held.shape[1] - 1, 1))
    held = held * scale
    place = np.zeros(count, dtype=np.intp)
    place[items] = parts
    excess = np.array([held[place == fold].sum(axis=0) for fold in range(folds)]) - mean * scale
    squares = (held**2).sum(axis=1)
    for _ in range(_BALANCING_STEPS):
        # Moving item i from fold a to fold b changes the cost by 2 h_i (e_b - e_a) + 2 h_i^2.
        along = held @ excess.T
        moved = 2 * (along - along[np.arange(count), place][:, None]) + 2 * squares[:, None]
        moved[np.arange(count), place] = 0
        sizes = np.bincount(place, minlength=folds)
        moved[sizes[place] == 1] = np.inf  # no fold becomes empty
        item, target = np.unravel_index(int(moved.argmin()), moved.shape)
        gain, step = moved[item, target], [(int(item), int(target))]
        # Exchanging i and j of folds a and b is a move of h_i - h_j.
        for first in range(folds if count <= _MOST_EXCHANGED else 0):
            for second in range(first + 1, folds):
                one, two = np.flatnonzero(place == first), np.flatnonzero(place == second)
                apart = excess[second] - excess[first]
                to = (held[one] @ apart)[:, None] - (held[two] @ apart)[None]
                distance = squares[one][:, None] + squares[two][None] - 2 * held[one] @ held[two].T
                change = 2 * to + 2 * distance
                i, j = np.unravel_index(int(change.argmin()), change.shape)
                if change[i, j] < gain - 1e-9:
                    gain, step = change[i, j], [(int(one[i]), second), (int(two[j]), first)]
        if not gain < -1e-9:
            break
        for moving, fold in step:
            excess[place[moving]] -= held[moving]
            excess[fold] += held[moving]
            place[moving] = fold
    return place[items]


def strata(values: NDArray[np.float64], *, regression: bool, bins: int) -> Indices:
    """Return the strata of tracks: `[tracks]`, the class or the quantile bin of the rating, from values `[tracks]`.

    Missing targets share one stratum. From tags `[tracks, tags]`: `[tracks, 1 + tags]`, whether the target is missing,
    and whether the track has each tag.
    """
    if values.ndim > 1:
        missing = ~np.isfinite(values).any(axis=1)
        return np.column_stack([missing, values == 1]).astype(np.intp)
    present = np.isfinite(values)
    codes = np.full(len(values), _MISSING, dtype=np.intp)
    if regression and present.any():
        edges = np.unique(np.quantile(values[present], np.linspace(0, 1, bins + 1)[1:-1]))
        codes[present] = np.digitize(values[present], edges) + 1
    else:
        codes[present] = values[present].astype(np.intp) + 1
    return codes
