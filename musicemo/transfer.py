"""What an earlier run learnt, as the beginning of another one."""

from __future__ import annotations

import tomllib
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from musicemo._local import unplaced
from musicemo.data import Scaling, Split
from musicemo.errors import InputError, nearest
from musicemo.files import read_json
from musicemo.runs import RunDirectory
from musicemo.training import Network, TransferSettings, load_checkpoint

__all__ = ["Transfer", "find_source"]

#: Keys of a dataset that say which features of its tracks are used, and not which tracks there are.
_OF_FEATURES = ("features", "sync")

#: Likewise, of one of several datasets, how its tracks are split and drawn.
_OF_PARTS = ("split", "proportion")


def find_source(
    source: str, folder: Path, runs: Path, seed: int | None = None, fold: int | None = None
) -> Path:
    """Return the checkpoint that ``transfer.from`` names.

    A run directory stands for its best checkpoint. An experiment's folder, or its name in `runs`, stands for its
    latest finished run of the same seed and fold, or of the same fold, or its latest finished one.

    Args:
        source: what is named.
        folder: what a relative path is relative to.
        runs: the folder of run directories.
        seed: of the run that is to begin with it.
        fold: likewise.

    Raises:
        InputError: there is no such run, or none that is finished.
    """
    path = next((path for path in (folder / Path(source).expanduser(), runs / source) if path.exists()), None)
    if path is None:
        known = sorted({found.parent.parent.name for found in runs.glob("*/*/results.json")})
        raise InputError(
            f"there is no run, experiment or checkpoint {source!r}{nearest(source, known)} "
            f"(experiments in {runs}: {', '.join(known) or 'none'})"
        )
    if path.is_file():
        return path.resolve()
    if (path / "results.json").exists():
        candidates = [path]
    else:
        candidates = sorted(found.parent for found in path.glob("*/results.json"))
    finished = {
        found: results
        for found in candidates
        if (results := RunDirectory(found).results).get("status") == "done" and "overfit_batches" not in results
    }
    if not finished:
        what = f"none of its {len(candidates)} runs is finished" if candidates else "there is no run in it"
        raise InputError(f"{path}: {what}; musicemo run makes one")

    def fit(found: Path) -> tuple[bool, bool]:
        same_fold = finished[found].get("fold") == fold
        return same_fold, same_fold and finished[found].get("seed") == seed

    chosen = max(finished, key=lambda found: (*fit(found), found.name))
    return (chosen / "checkpoints" / "best.pt").resolve()


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
        found = self.checkpoint.parent.parent
        return found if (found / "split.json").is_file() else None

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
            scaling = Scaling(*(self.state["scaling"][name].numpy() for name in ("offset", "scale")))
        except (KeyError, TypeError, AttributeError) as error:
            raise InputError(
                f"{self.checkpoint}: its scaling is damaged: {type(error).__name__}: {error}"
            ) from error
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
            raise InputError("everything is frozen: nothing is left to train")
        return {"from": str(self.run or self.checkpoint), "loaded": loaded, "new": new, "frozen": frozen}

    def check_leaks(self, dataset: Any, split: Split) -> str:
        """Look for test tracks that the source was trained on, where both are of the same dataset.

        Returns:
            What is to be warned of.

        Args:
            dataset: the table of the dataset, or of several.
            split: their parts.

        Raises:
            InputError: there are some.
        """
        if self.run is None:
            return ""
        try:
            theirs = tomllib.loads((self.run / "experiment.toml").read_text(encoding="utf-8")).get(
                "dataset", {}
            )
            parts = read_json(self.run / "split.json")
        except (OSError, ValueError) as error:
            raise InputError(f"{self.run}: cannot be read: {error}") from error
        if _tracks_of(theirs) != _tracks_of(dataset) or not isinstance(parts, dict):
            return ""
        seen = set(_listed(parts.get("train"))) | set(_listed(parts.get("val")))
        leaked = [name for name in split.track_ids("test") if name in seen]
        if not leaked:
            return ""
        message = (
            f"{len(leaked)} of {len(split.parts['test'])} test tracks are among those that {self.run} was trained or "
            f"stopped on, {leaked[0]!r} first: give both experiments the same [split]"
        )
        if self.settings.leaks == "refuse":
            raise InputError(f'{message}, or leaks = "warn"')
        return message


def _tracks_of(dataset: Any, without: Sequence[str] = _OF_FEATURES) -> Any:
    """Return a dataset's table, or those of several, as far as it says which tracks there are.

    A type from a file of the user's own is called by it: a run has a copy, which stands elsewhere.
    """
    if isinstance(dataset, list):
        return [_tracks_of(one, (*_OF_FEATURES, *_OF_PARTS)) for one in dataset]
    if not isinstance(dataset, Mapping):
        return dataset
    found = {name: value for name, value in dataset.items() if name not in without}
    return found | ({"type": unplaced(found["type"])} if isinstance(found.get("type"), str) else {})


def _listed(value: Any) -> Sequence[str]:
    return value if isinstance(value, list) else []
