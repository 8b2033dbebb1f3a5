"""The table ``[ensemble]``: means of the predictions of several runs, as results of their own."""

from __future__ import annotations

from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Annotated, Any

from pydantic import Field

from musicemo import toml
from musicemo.errors import InputError, nearest
from musicemo.experiment.matrix import expand
from musicemo.settings import Settings

__all__ = ["SEED", "Ensemble", "EnsembleSettings", "find_ensembles", "merge_members"]

#: Name of the seeds in ``over``, beside the axes of the matrix.
SEED = "seed"
#: Keys of a file with ``ensemble.members`` that describe the ensemble. The others are laid over every member.
_OUTER = ("name", "description", "ensemble", "extends")


class EnsembleSettings(Settings):
    """The table ``[ensemble]``."""

    over: list[str] | None = Field(default=None, min_length=1)
    """Axes of ``[matrix]``, and ``seed``, over which predictions are averaged. There is one ensemble for each
    combination of the others. The default is all.
    """
    members: list[str] | None = Field(default=None, min_length=1)
    """Experiment files of the members, relative to this one, instead of the seeds and variants of this file. Other
    tables of this file are laid over each member.
    """
    weights: dict[str, Annotated[float, Field(gt=0)]] = Field(default_factory=dict)
    """Weight of a member by the name of its experiment; 1 by default. The seeds of an experiment share its weight."""


@dataclass(frozen=True)
class Ensemble:
    """Experiments whose runs are averaged."""

    name: str
    description: str
    settings: EnsembleSettings
    #: Name -> weight of each member.
    members: Mapping[str, float]
    #: Whether the seeds are averaged too. Otherwise there is a replicate for each seed.
    over_seeds: bool
    source: toml.Source


def merge_members(source: toml.Source, overrides: Sequence[str], only: Sequence[str]) -> list[toml.Source]:
    """Return the sources of the members of a file with ``ensemble.members``, each variant of a matrix being a member.

    Args:
        source: the merged tables of the file.
        overrides: ``KEY=VALUE``, which override the name, the description and the ensemble of the file, and all other
            keys of each member.
        only: ``AXIS=VALUE``, which must be empty.

    Raises:
        InputError: with everything that is wrong with the members' files.
    """
    if only:
        raise InputError(f"--only {' --only '.join(only)}: {source.file} is an ensemble of other files")
    outer = [one for one in overrides if one.partition("=")[0].split(".")[0].strip() in _OUTER]
    written = source.copy()
    written.override(outer)
    members = written.table["ensemble"]["members"]
    if not isinstance(members, list) or not members or not all(isinstance(one, str) for one in members):
        raise InputError(written.error(("ensemble", "members"), f"must be a list of files, not {members!r}"))
    laid = {name: value for name, value in written.table.items() if name == "ensemble" or name not in _OUTER}
    problems: list[str] = []
    merged: list[toml.Source] = []
    for index, name in enumerate(members):
        key = ("ensemble", "members", index)
        path = written.origin(key).folder / name
        if not path.is_file():
            problems.append(written.error(key, f"there is no file {path}"))
            continue
        try:
            merged += _merge_member(path, laid, written, [one for one in overrides if one not in outer])
        except InputError as error:
            problems += error.problems
    if problems:
        raise InputError(*dict.fromkeys(problems))
    return merged


def _merge_member(
    path: Path, laid: Mapping[str, Any], written: toml.Source, overrides: Sequence[str]
) -> list[toml.Source]:
    member = toml.read(path, [])
    table = member.drop("ensemble")
    if isinstance(table, dict) and "members" in table:
        raise InputError(f"{path}: is an ensemble of files itself. Name its members here instead")
    member.table.setdefault("name", path.stem)
    member.lay(laid, written.origin)
    return expand(member, overrides, path.stem)


def find_ensembles(written: toml.Source, variants: Sequence[toml.Source], seeds: int) -> dict[str, Ensemble]:
    """Return member -> the ensemble that it is part of, for a file whose table ``[ensemble]`` was validated.

    Args:
        written: the merged tables of the file.
        variants: the members: the variants of the file, or those of all its members' files.
        seeds: number of seeds of a variant.

    Raises:
        InputError: ``over`` or ``weights`` has an unknown name, there is nothing to average, or an ensemble would have
            the name of a member.
    """
    settings = EnsembleSettings(**written.table["ensemble"])
    stem = str(written.table.get("name", written.file.stem))
    names = list(dict.fromkeys(str(one.table["name"]) for one in variants))
    problems = list(_unknown_weights(written, settings, names))
    axes = [] if settings.members else list(variants[0].variant)
    over = set(settings.over or (*axes, SEED))
    if settings.members and settings.over:
        problems.append(
            written.error(
                ("ensemble", "over"), "is for the seeds and variants of one file. Leave it out with members"
            )
        )
    for axis in over - {*axes, SEED} if not settings.members else ():
        listed = ", ".join((*axes, SEED))
        problems.append(
            written.error(
                ("ensemble", "over"), f"unknown axis {axis!r}{nearest(axis, [*axes, SEED])} (axes: {listed})"
            )
        )
    if problems:
        raise InputError(*problems)
    over_seeds = bool(settings.members) or SEED in over
    groups: dict[str, list[str]] = {}
    for variant in variants:
        kept = [label for axis, label in variant.labels.items() if axis not in over and not settings.members]
        name = stem if settings.members else "-".join([stem, *kept, "ensemble"])
        groups.setdefault(name, []).append(str(variant.table["name"]))
    for name, members in groups.items():
        if name in names:
            problems.append(
                written.error(("name",), f"the ensemble and one of its members have the name {name!r}")
            )
        if not settings.members and len(set(members)) == 1 and not (over_seeds and seeds > 1):
            problems.append(
                written.error(
                    ("ensemble",),
                    f"{name} would have one run. Set seeds = [0, 1, 2], add a [matrix], or name members",
                )
            )
    if problems:
        raise InputError(*problems)
    description = str(written.table.get("description", ""))
    return {
        member: Ensemble(
            name,
            description,
            settings,
            {one: settings.weights.get(one, 1.0) for one in dict.fromkeys(members)},
            over_seeds,
            written,
        )
        for name, members in groups.items()
        for member in members
    }


def _unknown_weights(written: toml.Source, settings: EnsembleSettings, names: Sequence[str]) -> Iterator[str]:
    for name in settings.weights:
        if name not in names:
            listed = ", ".join(names)
            yield written.error(
                ("ensemble", "weights", name),
                f"{name!r} is not the name of a member{nearest(name, names)} (members: {listed})",
            )
