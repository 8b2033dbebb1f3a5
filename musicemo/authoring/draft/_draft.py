"""Asking the datasets what they would make of a path, and trying their answer."""

from __future__ import annotations

from collections import Counter
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, replace
from pathlib import Path
from types import SimpleNamespace
from typing import Any

from musicemo.authoring.draft._lines import FEWEST_OF_A_CLASS, Lines
from musicemo.components import registry
from musicemo.contracts import Proposal
from musicemo.data import Split, SplitSettings, TaskSettings, Tracks, collect, make_split, make_task, strata
from musicemo.errors import InputError, nearest

__all__ = ["Draft", "draft_experiment"]

#: With fewer tracks than this no part is worth having.
_FEWEST_TRACKS = 12
_FEWEST_GROUPS = 5


@dataclass(frozen=True)
class Draft:
    """An experiment that is not written yet."""

    dataset: str
    text: str
    tasks: Sequence[str]
    method: str
    #: Part -> tracks.
    parts: Mapping[str, int]
    #: What was left out, and why.
    notes: Sequence[str]
    #: What could be learnt too.
    others: Sequence[str]
    #: Files that the dataset needs beside the experiment: path -> text.
    files: Mapping[Path, str]


def draft_experiment(
    path: Path, output: Path, *, dataset: str | None = None, targets: Sequence[str] = ()
) -> Draft:
    """Look at a table or folder and write an experiment on it, as text.

    Args:
        path: The table or folder.
        output: Where the experiment will stand: its paths are relative to that.
        dataset: The dataset to read it with; found out where absent.
        targets: What to learn, instead of all that is proposed.

    Raises:
        InputError: No dataset reads it, or what is there cannot be learnt; with the reason and what would help.
    """
    if not path.exists():
        raise InputError(f"{path}: there is no such file or folder")
    name, proposal = _choose(path, dataset)
    proposal = _restrict(path, proposal, targets)
    if len(proposal.tracks) < _FEWEST_TRACKS:
        raise InputError(
            f"{path}: has {len(proposal.tracks)} tracks, and {_FEWEST_TRACKS} are the least to split"
        )
    dropped = _rare_classes(proposal)
    tracks = _collected(proposal, dropped)
    method, split = _split(path, proposal, tracks)
    parts = {part: len(indices) for part, indices in split.parts.items()}
    lines = Lines(output.parent)
    lines.write(path, name, proposal, dropped, method, parts)
    return Draft(
        dataset=name,
        text=str(lines),
        tasks=[target.name for target in proposal.targets],
        method=method,
        parts=parts,
        notes=proposal.notes,
        others=[target.name for target in proposal.others],
        files={output.parent / file: content for file, content in proposal.files.items()},
    )


def _choose(path: Path, dataset: str | None) -> tuple[str, Proposal]:
    """Return the dataset that knows the path for its own, or else one that takes what looks right."""
    names = [dataset] if dataset else sorted({claim.name for claim in registry.claims("dataset")})
    found: dict[str, Proposal] = {}
    reasons: list[str] = []
    asked = 0
    for name in names:
        try:
            propose = getattr(registry.load("dataset", name), "propose", None)
            asked += propose is not None
            if propose and (proposal := propose(path)):
                found[name] = proposal
        except InputError as error:
            if dataset or not str(error).startswith(f"dataset {name!r}"):
                reasons += error.problems
    if dataset and not asked:
        raise InputError(
            f"dataset {dataset!r} cannot say what it would make of a path; write its table by hand"
        )
    certain = [name for name in found if not found[name].general]
    if len(certain) > 1:
        raise InputError(f"{path}: may be of {' or '.join(certain)}; choose with --dataset")
    if certain or found:
        name = next(iter(certain or found))
        return name, found[name]
    raise InputError(
        *reasons
        or [
            f"{path}: no dataset knows what this is. musicemo learns from a table (.csv, .tsv) with a row a track, a "
            "column of audio or .npy files and a column or more to learn; from folders of songs, one a class; and "
            f"from the folders of the datasets {', '.join(names)}"
        ]
    )


def _restrict(path: Path, proposal: Proposal, wanted: Sequence[str]) -> Proposal:
    if not wanted:
        return proposal
    known = {target.name: target for target in (*proposal.targets, *proposal.others)}
    for name in wanted:
        if name not in known:
            why = "".join(f"; {note}" for note in proposal.notes if repr(name) in note)
            listed = ", ".join(known)
            raise InputError(
                f"{path}: there is no {name!r} to learn{nearest(name, known)} (there is: {listed}){why}"
            )
    chosen = [known.pop(name) for name in dict.fromkeys(wanted)]
    return replace(proposal, targets=chosen, others=list(known.values()))


def _rare_classes(proposal: Proposal) -> dict[str, list[str]]:
    """Return target -> classes of too few tracks."""
    found = {}
    for target in proposal.targets:
        counts = Counter(track.targets.get(target.name) for track in proposal.tracks)
        rare = [name for name in target.classes if counts[name] < FEWEST_OF_A_CLASS]
        if rare and len(target.classes) - len(rare) > 1:
            found[target.name] = rare
    return found


def _collected(proposal: Proposal, dropped: Mapping[str, Sequence[str]]) -> Tracks:
    tasks = [
        make_task(
            target.name, TaskSettings(classes=dict.fromkeys(dropped.get(target.name, ()), False)), [target]
        )
        for target in proposal.targets
    ]
    tracks = [
        replace(track, targets={target.name: track.targets.get(target.name) for target in proposal.targets})
        for track in proposal.tracks
    ]
    dataset: Any = SimpleNamespace(targets=proposal.targets, rows=slice(0, 1), tracks=lambda: tracks)
    return collect(dataset, tasks)


def _split(path: Path, proposal: Proposal, tracks: Tracks) -> tuple[str, Split]:
    """Return the first method that the tracks allow, the one that says most about new tracks first."""
    groups = [track.group for track in tracks.tracks]
    official = {track.part for track in tracks.tracks}
    methods = ["stratified", "random"]
    if None not in groups and len(set(groups)) >= _FEWEST_GROUPS:
        methods.insert(0, "grouped")
    if None not in official and {"train", "test"} <= official:
        methods.insert(0, "official")
    first = proposal.targets[0]
    settings = SplitSettings()
    bins = strata(tracks.targets[:, 0], regression=first.kind == "regression", bins=settings.bins)
    problem = InputError(f"{path}: cannot be split")
    for method in methods:
        try:
            chosen = SplitSettings(method=method)  # type: ignore[arg-type]  # one of its literals
            split = make_split(chosen, tracks.ids, bins, groups, [track.part for track in tracks.tracks])
            tracks.check_trainable(split.parts)
        except InputError as error:
            problem = error
        else:
            return method, split
    raise problem
