"""The lines of an experiment file, with comments that say why."""

from __future__ import annotations

import os
import re
import textwrap
from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Any

import tomlkit

from musicemo.contracts import Proposal

__all__ = ["FEWEST_OF_A_CLASS", "Lines"]

_WIDTH = 110

#: A class of fewer tracks is not in every part, and is dropped.
FEWEST_OF_A_CLASS = 5

#: The fewest tracks to train on for a batch of that many.
_BATCHES = {256: 32, 64: 16, 0: 8}
#: Below this many tracks to train on, an epoch is short and its validation shaky: wait longer for a better one.
_FEW = 200

_METHODS = {
    "official": "the parts that the data come with",
    "grouped": "no artist, album or other group is on two sides",
    "stratified": "every part has the same share of classes or ratings",
    "random": "a draw: too few tracks to do better",
}


class Lines:
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
        method: str,
        parts: Mapping[str, int],
    ) -> None:
        """Write all; see `Draft` for what is what."""
        self._comment(f"{', '.join(target.name for target in proposal.targets)} from {self._relative(path)}.")
        self._comment("What each key means, and every other: musicemo show, and docs/experiments.md.")
        self._key("seed", 0, "of the initial weights and the batches; seeds = [0, 1, 2] makes three runs")
        self._table("dataset")
        self._key("type", dataset, "")
        tables = {}
        for name, value in proposal.parameters.items():
            if isinstance(value, Mapping) and len(self._value(value)) > _WIDTH // 2:
                tables[name] = value
            else:
                self._key(name, value, proposal.comments.get(name, ""))
        if proposal.others:
            others = ", ".join(target.name for target in proposal.others)
            self._comment(f"Could be learnt too, in a table [tasks.NAME]: {others}.")
        for note in proposal.notes:
            self._comment(f"Left out: {note}.")
        for name, value in tables.items():
            self._table(f"dataset.{name}", comment=proposal.comments.get(name, ""))
            for key, inner in value.items():
                self._key(_bare(key), inner, "")
        sizes = ", ".join(f"{count} {part}" for part, count in parts.items())
        self._table("split")
        self._key("method", method, f"{_METHODS[method]}: {sizes}")
        self._table("model")
        self._key("type", "cnn", "musicemo plugins lists what else is installed")
        for target in proposal.targets:
            self._table(f"tasks.{target.name}")
            if target.kind == "regression":
                terms = [{"type": "mse"}, {"type": "soft-spearman", "weight": 0.1}]
                self._key("loss", terms, "the error, and the order of the tracks")
            else:
                self._key("loss", {"type": "cross-entropy", "class_weights": "balanced"}, "")
            if rare := dropped.get(target.name):
                self._key(
                    "classes",
                    dict.fromkeys(rare, False),
                    f'dropped, with fewer than {FEWEST_OF_A_CLASS} tracks; or merge one: Rare = "Common"',
                )
        if len(proposal.targets) > 1:
            self._table("weighting")
            self._key("type", "uncertainty", "the tasks' weights are learned")
        self._training(parts["train"])

    def _training(self, tracks: int) -> None:
        self._table("training")
        self._key("epochs", 100, "at the most")
        size = next(size for fewest, size in _BATCHES.items() if tracks >= fewest)
        self._key("batch_size", size, f"{-(-tracks // size)} batches an epoch")
        self._key("optimizer", {"type": "adam", "lr": 0.001, "weight_decay": 1e-6}, "")
        patience = 20 if tracks < _FEW else 10
        self._key(
            "early_stopping", {"monitor": "val/loss", "patience": patience}, "the best epoch is what counts"
        )

    def _table(self, name: str, comment: str = "") -> None:
        self._lines.append("")
        self._comment(comment)
        self._lines.append(f"[{name}]")

    def _key(self, name: str, value: Any, comment: str) -> None:
        line = f"{name} = {self._value(value)}"
        if comment and len(line) + len(comment) + 3 > _WIDTH:
            self._comment(f"{comment}:")
            comment = ""
        self._lines.append(f"{line} # {comment}" if comment else line)

    def _comment(self, text: str) -> None:
        printable = "".join(char if char.isprintable() else " " for char in text)
        self._lines += [f"# {line}" for line in textwrap.wrap(printable, _WIDTH - 2)]

    def _value(self, value: Any) -> str:
        if isinstance(value, Path):
            value = self._relative(value)
        if isinstance(value, Mapping):
            inner = ", ".join(f"{_bare(key)} = {self._value(one)}" for key, one in value.items())
            return f"{{ {inner} }}" if inner else "{}"
        if isinstance(value, list | tuple):
            return f"[{', '.join(self._value(one) for one in value)}]"
        if isinstance(value, float) and value.is_integer():
            return f"{value:.0f}"
        return str(tomlkit.item(value).as_string())

    def _relative(self, path: Path) -> str:
        """Return a path as the experiment file names it: relative where one folder is near the other."""
        if not path.is_absolute() and not path.exists():
            return path.as_posix()  # a file that is written beside the experiment
        relative = os.path.relpath(path.resolve(), self._folder.resolve())
        far = relative.count("..") > 2
        return Path(path.resolve() if far else relative).as_posix()


def _bare(key: str) -> str:
    return key if re.fullmatch(r"[A-Za-z0-9_-]+", key) else str(tomlkit.item(key).as_string())
