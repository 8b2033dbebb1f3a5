"""A first experiment on a table or folder of songs: the text that ``musicemo init`` writes."""

from __future__ import annotations

import contextlib
import inspect
import math
import os
import textwrap
from collections import Counter
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, replace
from pathlib import Path
from types import SimpleNamespace
from typing import Any

import tomlkit

from musicemo import toml
from musicemo.components import registry
from musicemo.contracts import Proposal, Target
from musicemo.data import (
    Split,
    SplitSettings,
    TaskSettings,
    Tracks,
    collect,
    make_split,
    make_task,
    strata,
    tags_of,
)
from musicemo.errors import InputError, nearest
from musicemo.experiment.features import DEFAULT_FEATURES

__all__ = ["Draft", "draft_experiment"]

_WIDTH = 110

#: Minimum number of tracks of a class. Smaller classes would be missing in some set and are dropped.
_FEWEST_OF_A_CLASS = 5

#: Minimum number of training tracks -> batch size.
_BATCHES = {256: 32, 0: 16}
#: With fewer tracks, estimators are compared in cross-validation: a network learns less from so few than they do.
_FEW = 300
#: With fewer tracks, hardly any result differs from chance.
_TRIAL = 30
_FOLDS = 5
#: The model for more tracks.
_NETWORK = "cnn"

_METHODS = {
    "official": "the split that the data define",
    "grouped": "each artist, album or other group is in only one set",
    "stratified": "every set has the same distribution of classes or ratings",
    "random": "too few tracks for another method",
    "kfold": f"{_FOLDS} folds, in which every track is tested once",
}

#: Minimum number of tracks for a split into three sets.
_FEWEST_TRACKS = 12
_FEWEST_GROUPS = 5


@dataclass(frozen=True)
class Draft:
    """The text of an experiment file, and a summary of its data."""

    dataset: str
    text: str
    tasks: Sequence[str]
    #: Number of tracks.
    tracks: int
    #: The split, in words.
    split: str
    #: The models, in words.
    models: str
    #: Ignored columns, with the reason.
    notes: Sequence[str]
    #: Decisions and facts that the user should check.
    remarks: Sequence[str]
    #: Other possible targets.
    others: Sequence[str]
    #: Files that the dataset needs beside the experiment: path -> text.
    files: Mapping[Path, str]


def draft_experiment(
    path: Path,
    output: Path,
    *,
    dataset: str | None = None,
    targets: Sequence[str] = (),
    files: Path | None = None,
) -> Draft:
    """Look at a table or folder and write an experiment on it, as text.

    Args:
        path: The table or folder.
        output: Where the experiment will stand: its paths are relative to that.
        dataset: The dataset to read it with; found out where absent.
        targets: Targets to learn, instead of all that are proposed.
        files: Folder of the audio or feature files that a table names, if it is not beside the table.

    Raises:
        InputError: No dataset reads it, or what is there cannot be learnt; with the reason and what would help.
    """
    if not path.exists():
        raise InputError(f"{path}: there is no such file or folder")
    if files is not None and not files.is_dir():
        raise InputError(f"--files {files}: there is no such folder")
    name, proposal = _choose(path, dataset, files, targets)
    proposal = _restrict(path, proposal, targets)
    if (count := len(proposal.tracks)) < _FEWEST_TRACKS:
        tracks_text = "1 track" if count == 1 else f"{count} tracks"
        raise InputError(f"{path}: has {tracks_text}, but a split needs at least {_FEWEST_TRACKS}")
    dropped = _rare_classes(proposal)
    tracks = _collected(proposal, dropped)
    settings, split = _split(path, proposal, tracks)
    proposal = replace(
        proposal, remarks=[*proposal.remarks, *_conclusions(proposal.targets[0], len(tracks.ids))]
    )
    models = _models(proposal, len(tracks.ids))
    lines = _Lines(output.parent)
    lines.write(path, name, proposal, dropped, settings, split, models)
    return Draft(
        dataset=name,
        text=str(lines),
        tasks=[target.name for target in proposal.targets],
        tracks=len(tracks.ids),
        split=_in_words(settings, split),
        models=", ".join(models) or _NETWORK,
        notes=proposal.notes,
        remarks=proposal.remarks,
        others=[target.name for target in proposal.others],
        files={output.parent / file: content for file, content in proposal.files.items()},
    )


def _choose(
    path: Path, dataset: str | None, files: Path | None, targets: Sequence[str]
) -> tuple[str, Proposal]:
    """Return the dataset that knows the path for its own, or else one that takes what looks right."""
    names = [dataset] if dataset else sorted({claim.name for claim in registry.claims("dataset")})
    proposals: dict[str, Proposal] = {}
    reasons: list[str] = []
    asked = 0
    for name in names:
        try:
            propose = getattr(registry.load("dataset", name), "propose", None)
            if propose is None:
                continue
            asked += 1
            accepted = inspect.signature(propose).parameters
            options = {"files": files, "tasks": targets}
            if files is not None and "files" not in accepted:
                continue
            proposal = propose(path, **{key: value for key, value in options.items() if key in accepted})
            if proposal is not None:
                proposals[name] = proposal
        except InputError as error:
            if dataset or not str(error).startswith(f"dataset {name!r}"):
                reasons += error.problems
    if dataset and not asked:
        raise InputError(f"dataset {dataset!r} does not support `musicemo init`. Write its table by hand")
    certain = [name for name in proposals if not proposals[name].general]
    if len(certain) > 1:
        raise InputError(f"{path}: could be {' or '.join(certain)}. Choose one with --dataset")
    if certain or proposals:
        name = next(iter(certain or proposals))
        return name, proposals[name]
    raise InputError(
        *reasons
        or [
            f"{path}: is not data of a supported kind. musicemo reads a table (.csv, .tsv, .xlsx, .parquet) with one "
            "row per track, a column of audio or feature files and at least one target column; a folder with a "
            f"subfolder of songs per class; and the folders of the datasets {', '.join(names)}"
        ]
    )


def _restrict(path: Path, proposal: Proposal, wanted: Sequence[str]) -> Proposal:
    if not wanted:
        return proposal
    available = {target.name: target for target in (*proposal.targets, *proposal.others)}
    for name in wanted:
        if name not in available:
            why = "".join(f"; {note}" for note in proposal.notes if repr(name) in note)
            listed = ", ".join(available)
            raise InputError(f"{path}: no target {name!r}{nearest(name, available)} (targets: {listed}){why}")
    wanted_targets = [available.pop(name) for name in dict.fromkeys(wanted)]
    return replace(proposal, targets=wanted_targets, others=list(available.values()))


def _rare_classes(proposal: Proposal) -> dict[str, list[str]]:
    """Return target -> classes with too few tracks."""
    rare_classes = {}
    for target in proposal.targets:
        labels = [track.targets.get(target.name) for track in proposal.tracks]
        counts = Counter(
            name for label in labels for name in (tags_of(label) if target.kind == "tags" else [label])
        )
        rare = [name for name in target.classes if counts[name] < _FEWEST_OF_A_CLASS]
        if rare and len(target.classes) - len(rare) > 1:
            rare_classes[target.name] = rare
    return rare_classes


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


def _split(path: Path, proposal: Proposal, tracks: Tracks) -> tuple[SplitSettings, Split]:
    """Return the first feasible split, from the strictest test of generalization to the weakest, and its sets.

    Of cross-validation, the sets are those of the first fold.
    """
    groups = [track.group for track in tracks.tracks]
    official = [track.part for track in tracks.tracks]
    grouped = None not in groups and len(set(groups)) >= _FEWEST_GROUPS
    candidates = [SplitSettings(method="stratified"), SplitSettings(method="random")]
    if len(tracks.ids) < _FEW:
        kfold = {"method": "kfold", "folds": _FOLDS}
        candidates.insert(0, SplitSettings.model_validate(kfold))
        if grouped:
            candidates.insert(0, SplitSettings.model_validate(kfold | {"grouped": True}))
    elif grouped:
        candidates.insert(0, SplitSettings(method="grouped"))
    if None not in official and {"train", "test"} <= set(official):
        candidates.insert(0, SplitSettings(method="official"))
    # a class is rarer than a bin of ratings, so its share of each set matters more
    first = next(
        (target for target in proposal.targets if target.kind == "classification"), proposal.targets[0]
    )
    if first is not proposal.targets[0]:
        candidates = [
            settings.model_copy(update={"stratify": first.name})
            if settings.method in ("stratified", "grouped", "kfold")
            else settings
            for settings in candidates
        ]
    _, labels = tracks.column(first.name)
    bins = strata(labels, regression=first.kind == "regression", bins=candidates[0].bins)
    problem = InputError(f"{path}: cannot be split")
    for settings in candidates:
        kfold_only = settings.method == "kfold"
        try:
            splits = [
                make_split(
                    settings.model_copy(update={"validation": 0.0}) if kfold_only else settings,
                    tracks.ids,
                    bins,
                    groups,
                    official,
                    fold if kfold_only else None,
                )
                for fold in range(settings.folds if kfold_only else 1)
            ]
            for split in splits:
                tracks.check_trainable(split.parts)
        except InputError as error:
            problem = error
        else:
            return settings, splits[0]
    raise problem


def _in_words(settings: SplitSettings, split: Split) -> str:
    sizes = ", ".join(f"{len(indices)} {part}" for part, indices in split.parts.items() if len(indices))
    if settings.method != "kfold":
        return f"{settings.method}: {sizes}"
    grouped = ", each group in only one of them" if settings.grouped else ""
    return f"{settings.folds}-fold cross-validation{grouped}; {sizes} in the first fold"


def _conclusions(target: Target, tracks: int) -> list[str]:
    """Return what can be concluded from few tracks: the half width of a 95 % confidence interval."""
    if tracks >= _FEW:
        return []

    def half_width(count: int) -> float:
        # of the rank correlation of independent values, whose variance is 1 / (n - 1); of a share of one half
        return 1.96 / math.sqrt(count - 1) if target.kind == "regression" else 0.98 / math.sqrt(count)

    measure = "a correlation near 0" if target.kind == "regression" else "an accuracy near 50 %"
    text = f"with {tracks} tracks, the 95 % confidence interval of {measure} is about ±{half_width(tracks):.2f}"
    if tracks < _TRIAL:
        text += (
            ": weaker effects cannot be told from chance, and models cannot be ranked. Use the result as a trial of "
            f"the procedure, and collect more tracks: 100 give ±{half_width(100):.2f}"
        )
    return [text]


def _models(proposal: Proposal, tracks: int) -> dict[str, dict[str, Any]]:
    """Return variant -> its tables: the models to compare on few tracks; none if a network can learn from so many."""
    if tracks >= _FEW:
        return {}
    models: dict[str, dict[str, Any]] = {name: {"model": {"type": name}} for name in ("mean", "ridge")}
    if all(track.audio is None for track in proposal.tracks):
        models["svr"] = {"model": {"type": "svr"}}
    else:
        models["multi-kernel"] = {"model": {"type": "multi-kernel"}, "scaling": {"method": "none"}}
        for name in _pretrained():
            features = {"type": name, "grid": "track", "pool": "mean-std"}
            models[name] = {"features": features, "model": {"type": "svr"}}
    installed = {claim.name for claim in registry.claims("model")}
    return {name: tables for name, tables in models.items() if tables["model"]["type"] in installed}


def _pretrained() -> list[str]:
    """Return the installed feature extractors with weights that need no parameter."""
    names = []
    for claim in registry.claims("features"):
        with contextlib.suppress(Exception):  # an extractor that cannot be constructed is not proposed
            extractor = registry.load("features", claim.name)()
            if getattr(extractor, "pretrained_on", ()):
                names.append(claim.name)
    return sorted(names)


class _Lines:
    """The lines of an experiment file; paths are relative to its folder."""

    def __init__(self, folder: Path) -> None:
        self._folder = folder
        self._lines: list[str] = []

    def __str__(self) -> str:
        return "\n".join(self._lines) + "\n"

    def write(
        self,
        path: Path,
        dataset: str,
        proposal: Proposal,
        dropped: Mapping[str, Sequence[str]],
        settings: SplitSettings,
        split: Split,
        models: Mapping[str, Mapping[str, Any]],
    ) -> None:
        """Write all; see `Draft` for what is what."""
        self._comment(f"{', '.join(target.name for target in proposal.targets)} from {self._relative(path)}.")
        self._comment("All keys and their meaning: `musicemo show` and docs/experiments.md.")
        if not models:
            self._key(
                "seed",
                0,
                "seed of the initial weights and the batch order; seeds = [0, 1, 2] trains three runs",
            )
        self._table("dataset")
        self._key("type", dataset, "")
        tables = {}
        for name, value in proposal.parameters.items():
            if isinstance(value, Mapping) and len(toml.inline(self._plain(value))) > _WIDTH // 2:
                tables[name] = value
            else:
                self._key(name, value, proposal.comments.get(name, ""))
        if proposal.others:
            others = ", ".join(target.name for target in proposal.others)
            self._comment(f"Other possible targets, each in a table [tasks.NAME]: {others}.")
        for remark in proposal.remarks:
            self._comment(f"Note: {remark}.")
        for note in proposal.notes:
            self._comment(f"Ignored: {note}.")
        for name, value in tables.items():
            self._table(f"dataset.{name}", comment=proposal.comments.get(name, ""))
            for key, inner in value.items():
                self._key(tomlkit.key(key).as_string(), inner, "")
        if any(track.audio is not None for track in proposal.tracks):
            self._table("features")
            self._key("type", DEFAULT_FEATURES, "`musicemo plugins` lists the installed extractors")
            if models:
                self._key("grid", "frame", "the models below describe each song by statistics of its frames")
            else:
                self._key("grid", "beat", "a time step per beat; or frame, segment, track")
        if proposal.features:
            self._table("features")
            for name, value in proposal.features.items():
                self._key(name, value, "")
        self._table("split")
        comment = _METHODS[settings.method]
        if settings.method == "kfold":
            self._key("method", "kfold", f"{comment}; repeats = 3 divides the tracks three times")
            self._key("folds", settings.folds, "")
            if settings.grouped:
                self._key("grouped", True, _METHODS["grouped"])
        else:
            sizes = _in_words(settings, split).partition(": ")[2]
            self._key("method", settings.method, f"{comment}: {sizes}")
        if settings.stratify:
            self._key("stratify", settings.stratify, "every set has its share of each class")
        if models:
            self._table(
                "matrix.model",
                comment=f"Models for fewer than {_FEW} tracks, which are fitted in seconds. mean is the baseline: a "
                "model that does not beat it has learned nothing. Networks need more tracks.",
            )
            for name, variant in models.items():
                self._key(tomlkit.key(name).as_string(), variant, "")
        else:
            self._table("model")
            self._key("type", _NETWORK, "`musicemo plugins` lists the installed models")
        for target in proposal.targets:
            self._table(f"tasks.{target.name}")
            if models:
                pass  # estimators have no loss
            elif target.kind == "regression":
                terms = [{"type": "mse"}, {"type": "soft-spearman", "weight": 0.1}]
                self._key("loss", terms, "squared error and rank correlation")
            elif target.kind == "tags":
                self._key("loss", {"type": "bce"}, "binary cross-entropy of each tag")
            else:
                self._key("loss", {"type": "cross-entropy", "class_weights": "balanced"}, "")
            if rare := dropped.get(target.name):
                nouns = "tags" if target.kind == "tags" else "classes"
                self._key(
                    "classes",
                    dict.fromkeys(rare, False),
                    f'{nouns} of fewer than {_FEWEST_OF_A_CLASS} tracks are dropped; to merge one: Rare = "Common"',
                )
        if models:
            return
        if len(proposal.targets) > 1:
            self._table("weighting")
            self._key("type", "uncertainty", "learned task weights")
        self._training(len(split.parts["train"]))

    def _training(self, tracks: int) -> None:
        self._table("training")
        self._key("epochs", 100, "maximum")
        size = next(size for fewest, size in _BATCHES.items() if tracks >= fewest)
        self._key("batch_size", size, f"{-(-tracks // size)} batches per epoch")
        self._key("optimizer", {"type": "adam", "lr": 0.001, "weight_decay": 1e-6}, "")
        self._key(
            "early_stopping",
            {"monitor": "val/loss", "patience": 10},
            "the weights of the best epoch are kept",
        )

    def _table(self, name: str, comment: str = "") -> None:
        self._lines.append("")
        self._comment(comment)
        self._lines.append(f"[{name}]")

    def _key(self, name: str, value: Any, comment: str) -> None:
        line = f"{name} = {toml.inline(self._plain(value))}"
        if comment and len(line) + len(comment) + 3 > _WIDTH:
            self._comment(f"{comment}:")
            comment = ""
        self._lines.append(f"{line} # {comment}" if comment else line)

    def _comment(self, text: str) -> None:
        printable = "".join(char if char.isprintable() else " " for char in text)
        self._lines += [f"# {line}" for line in textwrap.wrap(printable, _WIDTH - 2)]

    def _plain(self, value: Any) -> Any:
        """Return a value with relative paths as text, lists for tuples, and whole numbers without a decimal point."""
        if isinstance(value, Path):
            return self._relative(value)
        if isinstance(value, Mapping):
            return {key: self._plain(inner) for key, inner in value.items()}
        if isinstance(value, list | tuple):
            return [self._plain(inner) for inner in value]
        return int(value) if isinstance(value, float) and value.is_integer() else value

    def _relative(self, path: Path) -> str:
        """Return a path as the experiment file names it: relative where one folder is near the other."""
        if not path.is_absolute() and not path.exists():
            return path.as_posix()  # a file that is written beside the experiment
        relative = os.path.relpath(path.resolve(), self._folder.resolve())
        far = relative.count("..") > 2
        return Path(path.resolve() if far else relative).as_posix()
