"""Files that the cells of a table name: by their paths, or by their names without extension, case and separators."""

from __future__ import annotations

import os
import re
import unicodedata
from collections import defaultdict
from collections.abc import Iterable
from os.path import splitext
from pathlib import Path
from typing import Literal

from musicemo.features import SONG_SUFFIXES
from musicemo_builtin.datasets._layout import is_companion

__all__ = ["ARRAY_SUFFIXES", "Files", "Match", "files_below", "plain_name", "suffix_of"]

#: How cells name files: by their exact path, or also by their name without extension, case and separators.
Match = Literal["exact", "stem"]

#: Suffixes of feature files.
ARRAY_SUFFIXES = frozenset((".npy", ".npz"))
#: Maximum depth of the folders below a folder in which files are looked up by name.
_DEPTH = 4
_SEPARATORS = re.compile(r"[\s_.\-\N{EN DASH}\N{EM DASH}]+")


def suffix_of(name: str) -> str:
    """Return the suffix of a file of audio or features, in lower case; "" for other names."""
    suffix = splitext(name)[1].lower()  # noqa: PTH122  # a tenth of a Path's time, in each of many columns
    return suffix if suffix in SONG_SUFFIXES or suffix in ARRAY_SUFFIXES else ""


def plain_name(name: str) -> str:
    """Return the last part of a path without extension, case and separators: ``Songs/Song_01.MP3`` is "song 01".

    A name of digits has no leading zeros, which spreadsheet programs drop.
    """
    last = re.split(r"[\\/]", unicodedata.normalize("NFKC", name))[-1]
    last = last[: len(last) - len(suffix_of(last))].casefold()
    plain = _SEPARATORS.sub(" ", last).strip()
    return (plain.lstrip("0") or "0") if plain.isdecimal() else plain


def files_below(folder: Path, suffixes: Iterable[str], depth: int = _DEPTH) -> list[Path]:
    """Return the files below a folder with one of the suffixes, in any case, sorted."""
    wanted = frozenset(suffixes)
    files: list[Path] = []
    for place, folders, names in os.walk(folder, followlinks=True):
        deep = len(Path(place).relative_to(folder).parts)
        folders[:] = [] if deep >= depth else sorted(name for name in folders if not is_companion(name))
        files += [Path(place, name) for name in names if suffix_of(name) in wanted and not is_companion(name)]
    return sorted(files)


class Files:
    """The files that cells name, below a folder.

    Args:
        root: The folder.
        suffixes: Suffixes of the files.
        match: ``exact``: a cell is the path of a file; ``stem``: if there is no such file, the cell may also differ
            from its name in extension, case and separators.
    """

    def __init__(self, root: Path, suffixes: Iterable[str], match: Match = "stem") -> None:
        self._root, self._suffixes, self._match = root, frozenset(suffixes), match
        self._by_name: dict[str, list[Path]] | None = None

    def find(self, cell: str) -> list[Path]:
        """Return the files that a cell names: none, one, or several with one name."""
        path = self._root / cell
        if os.path.isfile(path):  # noqa: PTH113  # no error for a text too long for a path
            return [path]
        return self.alike(cell) if self._match == "stem" else []

    def alike(self, cell: str) -> list[Path]:
        """Return the files whose name without extension, case and separators is that of a cell."""
        if self._by_name is None:
            self._by_name = defaultdict(list)
            for file in files_below(self._root, self._suffixes):
                self._by_name[plain_name(file.name)].append(file)
        files = self._by_name.get(plain_name(cell), [])
        parts = re.split(r"[\\/]", cell)
        # with several of one name, the cell's suffix and its folders decide as far as they go
        for same in (
            lambda file: file.suffix.lower() == suffix_of(cell),
            lambda file: len(parts) > 1 and plain_name(file.parent.name) == plain_name(parts[-2]),
        ):
            if len(files) > 1:
                files = [file for file in files if same(file)] or files
        return files
