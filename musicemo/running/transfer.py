"""Transfer: which checkpoint a run begins with, what it takes over from it, and test tracks that would leak."""

from __future__ import annotations

import itertools
import logging
from collections.abc import Collection, Iterable, Iterator, Mapping, Sequence
from dataclasses import dataclass, replace
from pathlib import Path
from typing import Any

import numpy as np

from musicemo.components import registry
from musicemo.components.local import unplaced
from musicemo.data import (
    EVIDENCE,
    PARTS,
    Features,
    JoiningSettings,
    Scaling,
    Split,
    Tracks,
    artist_key,
    features_checksums,
    find_same,
    recordings,
    sounding_alike,
)
from musicemo.errors import InputError, nearest
from musicemo.experiment import Experiment, load_experiment
from musicemo.experiment.tracks import read_tracks
from musicemo.features import cache_name
from musicemo.files import expanded
from musicemo.runs import RunRecord, earlier_runs, open_run
from musicemo.training import Network, TransferSettings, load_checkpoint
from musicemo.training.checkpoint import read_scaling

__all__ = ["Transfer", "find_leaks", "find_shared_music", "find_source"]

_log = logging.getLogger(__name__)


def find_source(
    source: str, folder: Path, runs: Path, seed: int | None = None, fold: int | None = None
) -> Path:
    """Return the checkpoint that ``transfer.from`` names.

    A run directory stands for its best checkpoint. An experiment's folder, or its name in `runs`, stands for its
    latest finished run of the same seed and fold, or of the same fold, or its latest finished one. A name without a
    folder is looked for in `runs` first, anything else in `folder`; a folder that holds no run is passed over.

    Args:
        source: what is named.
        folder: what a relative path is relative to.
        runs: the folder of run directories.
        seed: of the run that is to begin with it.
        fold: likewise.

    Raises:
        InputError: there is no such run, or none that is finished.
    """
    places = [folder / expanded(source), runs / source]
    if Path(source).name == source:
        places.reverse()
    path = next((place for place in places if place.is_file() or _runs_in(place)), None)
    if path is None:
        names = sorted({results.parent.parent.name for results in runs.glob("*/*/results.json")})
        looked = " and ".join(
            f"{place} (which holds no run)" if place.is_dir() else str(place) for place in places
        )
        raise InputError(
            f"no run, experiment or checkpoint {source!r}{nearest(source, names)} "
            f"(looked for {looked}; experiments in {runs}: {', '.join(names) or 'none'})"
        )
    if path.is_file():
        return path.resolve()
    records = [open_run(path)] if (path / "results.json").exists() else earlier_runs(path)
    finished = [
        record for record in records if record.status == "done" and not record.results.get("overfit_batches")
    ]
    if not finished:
        raise InputError(f"{path}: none of its {len(_runs_in(path))} runs is finished; musicemo run makes one")

    def fit(record: RunRecord) -> tuple[bool, bool]:
        same_fold = record.fold == fold
        return same_fold, same_fold and record.seed == seed

    latest = max(finished, key=lambda record: (*fit(record), record.order))
    return (latest.directory / "checkpoints" / "best.pt").resolve()


def _runs_in(path: Path) -> list[Path]:
    """Return a run directory, or those in an experiment's folder."""
    if (path / "results.json").exists():
        return [path]
    return sorted(results.parent for results in path.glob("*/results.json"))


@dataclass(frozen=True)
class Transfer:
    """A checkpoint to begin with."""

    settings: TransferSettings
    checkpoint: Path
    state: Mapping[str, Any]

    @classmethod
    def read(cls, settings: TransferSettings, checkpoint: Path) -> Transfer:
        """Read the checkpoint.

        Raises:
            InputError: it is none.
        """
        return cls(settings, checkpoint, load_checkpoint(checkpoint))

    @property
    def run(self) -> Path | None:
        """The run directory that the checkpoint is of, where it is in one."""
        return run_of(self.checkpoint)

    def scaling(self, size: int) -> Scaling | None:
        """Return the source's scaling of features, if that is to be used.

        Args:
            size: how many rows the features have.

        Raises:
            InputError: the source's features have another number of rows.
        """
        if self.settings.scaling == "own":
            return None
        try:
            scaling = read_scaling(self.state)
        except InputError as error:
            raise InputError(f"{self.checkpoint}: {error}") from error
        if len(scaling.offset) != size:
            raise InputError(
                f"{self.checkpoint}: its features have {len(scaling.offset)} rows, and these {size}; choose the same "
                'features, or scaling = "own"'
            )
        return scaling

    def load(self, network: Network) -> dict[str, Any]:
        """Load what fits into a network and freeze what is to be frozen; return what `results.json` says of it.

        Raises:
            InputError: nothing fits, a frozen parameter is new, or nothing is left to train.
        """
        loaded, new = network.take(self.state.get("network", {}))
        if not {name for name, _ in network.named_parameters()} & set(loaded):
            raise InputError(f"{self.checkpoint}: none of its weights fits this network by name and shape")
        frozen = network.freeze(self.settings.freeze)
        if unlearnt := [name for name in frozen if name in new]:
            raise InputError(
                f"{unlearnt[0]} is to be frozen and has no weights in {self.checkpoint}: it would stay random"
            )
        if not any(parameter.requires_grad for parameter in network.parameters()):
            raise InputError("all parameters are frozen, so there is nothing to train")
        return {"from": str(self.run or self.checkpoint), "loaded": loaded, "new": new, "frozen": frozen}

    def check_leaks(self, dataset: Any, tracks: Tracks, split: Split) -> None:
        """Refuse test tracks that the source was trained on, or warn of them; warn of what cannot be told.

        Args:
            dataset: the table of the dataset, or of several.
            tracks: the tracks.
            split: their parts.

        Raises:
            InputError: there are some.
        """
        tested = split.track_ids("test")
        leaks, doubts = find_leaks(self.checkpoint, dataset, tested, features_checksums(tracks, set(tested)))
        if leaks and self.settings.leaks == "refuse":
            raise InputError(*(f'{leak}, or leaks = "warn"' for leak in leaks))
        for text in (*leaks, *doubts):
            _log.warning(text)


def find_shared_music(
    experiment: Experiment, tracks: Tracks, split: Split, features: Features, runs: Path, *, sound: bool
) -> list[str]:
    """Return sentences about music and artists of the test set on which the source of a transfer was trained.

    The dataset of that run is read again, and its training and validation sets are compared with the test set: by id,
    audio file, equal features, sound and artist.

    Args:
        experiment: an experiment with ``[transfer]``.
        tracks: its tracks.
        split: their sets.
        features: their unscaled features.
        runs: the folder of run directories.
        sound: whether to compare the sound of audio files.

    Raises:
        InputError: the run does not exist, or its dataset cannot be read.
        RunError: the cache cannot be written.
    """
    assert experiment.transfer is not None
    folder = experiment.source.origin(("transfer", "from")).folder
    with experiment.source.blaming("transfer", "from"):
        checkpoint = find_source(experiment.transfer.source, folder, runs)
        run = run_of(checkpoint)
        if run is None:
            raise InputError(f"{_UNKNOWN.format(checkpoint)}it is in no run directory")
    record = open_run(run)
    source = load_experiment(run / "experiment.toml", local_code="refuse")
    theirs = read_tracks(source)
    trained = {*record.split["train"], *record.split["val"]}
    every = [index for index, name in enumerate(theirs.ids) if name in trained]
    arrays = Features(theirs.tracks, theirs.rows, "disk")
    none = np.arange(0)
    part = Split({"train": np.array(every, dtype=np.intp), "val": none, "test": none}, theirs.ids)
    of_source = recordings(theirs, part, arrays)
    ours = recordings(tracks, split, features)
    some = [*(ours[index] for index in split.parts["test"]), *(of_source[index] for index in every)]
    tested = len(split.parts["test"])
    names = [experiment.cache_names] * tested + [source.cache_names] * len(every)
    heard = [
        replace(one.track, source=cache_name(one.track, folder))
        for one, folder in zip(some, names, strict=True)
    ]
    alike = sounding_alike(heard, "") if sound else []
    shared = [one for one in find_same(some, alike) if one.members[0] < tested and one.members[-1] >= tested]
    leaks = []
    if shared:
        evidence = dict.fromkeys(kind for one in shared for kind in one.evidence)
        examples = "; ".join(
            f"{some[one.members[0]].track.id!r} is {some[one.members[-1]].track.id!r} there"
            for one in shared[:3]
        )
        more = f"; and {len(shared) - 3} more" if len(shared) > 3 else ""
        leaks.append(
            f"{len(shared)} of {tested} test tracks are music that {run} was trained or stopped on "
            f"({', '.join(EVIDENCE[one] for one in evidence)}): {examples}{more}"
        )
    artists = [
        {artist_key(one.track.group): one.track.group for one in part if one.track.group is not None}
        for part in (some[:tested], some[tested:])
    ]
    if common := sorted(set(artists[0]) & set(artists[1])):
        leaks.append(
            f"{len(common)} of {len(artists[0])} artists of the test set are artists that {run} was trained or stopped "
            f"on, for example {artists[0][common[0]]!r}"
        )
    return leaks


#: Keys of a dataset that say what is made of its tracks, and where that is kept, and not which tracks there are.
_OF_FEATURES = ("features", "sync", "cache", "on_error")

_UNKNOWN = "cannot tell whether test tracks are among those that {} was trained or stopped on: "


@dataclass(frozen=True)
class _Tracks:
    """Tracks of one dataset, by their ids there."""

    type: str
    parameters: Mapping[str, Any]
    ids: Sequence[str]

    @property
    def id_space(self) -> str | None:
        """Name of the catalogue that the ids are from; None if they are the dataset's own, or it is not installed."""
        if isinstance(space := self.parameters.get("id_space"), str):
            return space
        try:
            space = getattr(registry.load("dataset", self.type), "id_space", None)
        except InputError:
            return None
        return space if isinstance(space, str) else None


def find_leaks(
    checkpoint: Path, dataset: Any, tested: Sequence[str], checksums: Mapping[str, str] | None = None
) -> tuple[list[str], list[str]]:
    """Look for tracks that a checkpoint was trained or stopped on, in its run and in those that it began with.

    Tracks are the same if dataset and id are, alone or joined with others, or if the datasets' ids are from one
    catalogue and equal. Other tracks with the same checksum of their features are doubts, as one pair of different
    arrays in four billion has the same checksum. `find_shared_music` reads the other dataset.

    Args:
        checkpoint: whose run is looked at.
        dataset: the table of the tested dataset, or of several.
        tested: ids of tracks.
        checksums: checksums of their features, by id; None does not compare them.

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
            record = open_run(run)
            experiment = record.read_experiment()
            trained = [*record.split["train"], *record.split["val"]]
            theirs = list(_by_dataset(experiment["dataset"], trained))
            arrays = _checksums(record, trained)
            place = _source(experiment, run)
        except (InputError, KeyError, TypeError, AttributeError) as error:  # the tables are not validated
            doubts.append(f"{_UNKNOWN.format(run)}it cannot be read: {type(error).__name__}: {error}")
            break
        reported: set[str] = set()
        for common, kind, differing in _shared(ours, theirs):
            count = f"{len(common)} of {len(tested)}"
            reported |= set(common)
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
        equal = [
            name
            for name, checksum in (checksums or {}).items()
            if checksum in arrays and not reported & {name, name.partition("/")[2]}
        ]
        if equal:
            doubts.append(
                f"{len(equal)} of {len(tested)} test tracks have the features of tracks that {run} was trained or "
                f"stopped on, {equal[0]!r} first; `musicemo data` compares the music"
            )
    return leaks, doubts


def _checksums(record: RunRecord, ids: Collection[str]) -> set[str]:
    """Return the checksums of the features of some of a run's tracks; empty for a run that did not record them."""
    every = [name for part in PARTS for name in record.split[part]]
    text = (record.split.get("data") or {}).get("features", "")
    wanted = set(ids)
    return {text[8 * place : 8 * place + 8] for place, name in enumerate(every) if name in wanted} - {
        "",
        "0" * 8,
    }


def _shared(ours: Sequence[_Tracks], theirs: Sequence[_Tracks]) -> Iterator[tuple[list[str], str, list[str]]]:
    """Yield ids that are in both, the type of their datasets, and the parameters in which these differ.

    Equal ids from one catalogue are the same music, whatever the parameters of the datasets are.
    """
    for mine, other in itertools.product(ours, theirs):
        trained = set(other.ids)
        catalogued = mine.id_space is not None and mine.id_space == other.id_space
        common = [name for name in mine.ids if name in trained] if catalogued or mine.type == other.type else []
        if common and catalogued:
            yield common, mine.type, []
        elif common:
            pairs = (
                (key, mine.parameters.get(key), other.parameters.get(key))
                for key in {**mine.parameters, **other.parameters}
            )
            yield common, mine.type, sorted(key for key, one, another in pairs if one != another)


def run_of(checkpoint: Path) -> Path | None:
    """Return the run directory that a checkpoint is of, where it is in one."""
    directory = checkpoint.parent.parent
    return directory if (directory / "results.json").is_file() else None


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
        members = [name.removeprefix(prefix) for name in ids if name.startswith(prefix)]
        parameters = {name: value for name, value in table.items() if name not in core}
        yield _Tracks(unplaced(table["type"]), parameters, members)
