"""The identity of a run: its settings and the content of its data, independent of their location."""

from __future__ import annotations

import hashlib
import json
from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass
from typing import TYPE_CHECKING, Any

from musicemo.components.local import without_places
from musicemo.runs.reading import RunRecord

if TYPE_CHECKING:
    from musicemo.data import DataIdentity, Split

__all__ = ["RunIdentity", "decisive_settings", "fingerprint", "hash_settings", "same_data"]

#: Keys of ``[training]`` that decide where and how fast to compute.
_OUTCOME_IS_THE_SAME = ("device", "cache", "processes", "threads")
#: Tables and keys on which the outcome does not depend.
_UNDECISIVE = ("description", "plugins")
_SHOWN = 3

#: Parts of a recorded identity that describe the data, whatever the seed and the fold.
_DATA = ("tasks", "labels", "features")


@dataclass(frozen=True)
class RunIdentity:
    """Everything that determines the outcome of a run. Two runs with the same identity have the same outcome."""

    #: The resolved experiment of one seed and fold.
    settings: Mapping[str, Any]
    data: DataIdentity
    split: Split
    #: Hash of the initial weights; None without ``[transfer]``.
    transfer: str | None = None
    #: Number of training batches that are trained on, as a check; 0 for the whole training set.
    overfit_batches: int = 0

    def to_json(self) -> dict[str, str | None]:
        """Return the hash of each part, as in `results.json`."""
        return {
            "experiment": hash_settings(self.settings),
            "tasks": self.data.tasks,
            "labels": self.data.labels,
            "features": self.data.features,
            "split": self.split.hashes["all"],
            "transfer": self.transfer,
        }

    @property
    def fingerprint(self) -> str:
        """The hash of all parts."""
        return fingerprint(self.to_json(), self.overfit_batches)

    def differences(self, record: RunRecord) -> list[str]:
        """Return the respects in which an earlier run differs, each as a clause."""
        recorded = record.results.get("identity")
        if not recorded:
            return ["it is of an earlier version of musicemo, which did not record the identity of the data"]
        now = self.to_json()
        clauses = []
        if recorded.get("experiment") != now["experiment"]:
            clauses += list(self._settings(record)) or ["a file that a component names has other content"]
        if any(recorded.get(name) != now[name] for name in _DATA):
            clauses.append(f"it is of other data ({'; '.join(self._data(record))})")
        elif recorded.get("split") != now["split"]:
            clauses.append("its split has other tracks in each set")
        if recorded.get("transfer") != now["transfer"]:
            clauses.append("transfer.from has other weights")
        return clauses

    def _settings(self, record: RunRecord) -> Iterator[str]:
        before, now = (dict(_flat(decisive_settings(table))) for table in (record.experiment, self.settings))
        keys = [key for key in {**before, **now} if before.get(key) != now.get(key)]
        for key in keys[:_SHOWN]:
            yield f"{key} was {_value(before, key)} and is {_value(now, key)}"
        if len(keys) > _SHOWN:
            yield f"{len(keys) - _SHOWN} more setting{'' if len(keys) == _SHOWN + 1 else 's'}"

    def _data(self, record: RunRecord) -> Iterator[str]:
        """Yield what differs: of which tracks, if the run's `split.json` has their checksums."""
        recorded, now = record.results["identity"], self.to_json()
        split, tracks = record.split, self.data.tracks
        checksums = split.get("data") or {}
        ids = [name for part in ("train", "val", "test") for name in split.get(part, ())]
        if set(ids) != set(tracks):
            added, removed = set(tracks) - set(ids), set(ids) - set(tracks)
            yield f"{len(added)} new tracks, {len(removed)} removed tracks"
        for place, (name, what) in enumerate((("labels", "labels"), ("features", "features"))):
            if recorded.get(name) == now[name]:
                continue
            text = checksums.get(name, "")
            before = {one: text[8 * index : 8 * index + 8] for index, one in enumerate(ids)}
            changed = [one for one in ids if one in tracks and tracks[one][place] != before[one]]
            if changed and text:
                listed = ", ".join(map(repr, changed[:_SHOWN])) + (", ..." if len(changed) > _SHOWN else "")
                yield f"the {what} of {len(changed)} of {len(ids)} tracks differ: {listed}"
            elif set(ids) == set(tracks):
                yield f"the {what} differ"
        if recorded.get("tasks") != now["tasks"]:
            yield "a range, a class or the rows that are used differ"


def fingerprint(identity: Mapping[str, str | None], overfit_batches: int = 0) -> str:
    """Return the fingerprint of a run with an identity, as in `results.json`."""
    return _hash([identity, overfit_batches])


def hash_settings(settings: Mapping[str, Any]) -> str:
    """Return the hash of the settings that determine the outcome of a run."""
    return _hash(decisive_settings(settings))


def same_data(record: RunRecord) -> tuple[str | None, ...]:
    """Return the hashes of the data, which replicates have in common."""
    recorded = record.results.get("identity") or {}
    return tuple(recorded.get(name) for name in _DATA)


def decisive_settings(settings: Mapping[str, Any]) -> dict[str, Any]:
    """Return the settings that determine the outcome, independent of the project's location."""
    table = {name: value for name, value in settings.items() if name not in _UNDECISIVE}
    for name, keys in (("training", _OUTCOME_IS_THE_SAME), ("transfer", ("from",))):
        if isinstance(table.get(name), Mapping):
            table[name] = {key: value for key, value in table[name].items() if key not in keys}
    return without_places(table)


def _hash(value: Any) -> str:
    return hashlib.sha256(json.dumps(value, sort_keys=True).encode()).hexdigest()


def _flat(table: Any, key: str = "") -> Iterator[tuple[str, Any]]:
    if isinstance(table, Mapping):
        pairs: Sequence[tuple[Any, Any]] = list(table.items())
    elif isinstance(table, list) and any(isinstance(inner, Mapping) for inner in table):
        pairs = list(enumerate(table))
    else:
        yield key, table
        return
    for name, inner in pairs:
        yield from _flat(inner, f"{key}.{name}" if key else str(name))


def _value(table: Mapping[str, Any], key: str) -> str:
    return json.dumps(table[key], ensure_ascii=False, default=str) if key in table else "not set"
