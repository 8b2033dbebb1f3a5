"""Source and folder layout of a dataset, which are reported if files are missing."""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import dataclass
from pathlib import Path

from musicemo.errors import InputError

__all__ = ["AUDIO_SUFFIXES", "Layout", "inside", "is_companion", "song_file"]

#: What a song's file may end in, the dataset's own first.
AUDIO_SUFFIXES = (".mp3", ".wav", ".flac", ".ogg", ".m4a")

#: How many folders an archive puts around a dataset's own, at the most.
_DEPTH = 6


@dataclass(frozen=True, slots=True)
class Layout:
    """The home page and the folder layout of a dataset. Nothing is downloaded."""

    name: str
    home: str
    folder: str

    @property
    def advice(self) -> str:
        """Advice about missing files."""
        return f"{self.name} is available at {self.home}. Its unpacked folder must contain\n{self.folder}"

    def check(self, root: Path) -> None:
        """Raise an `InputError` unless the folder is there."""
        if not root.is_dir():
            raise InputError(f"{root}: no such folder. {self.advice}")

    def fits(self, root: Path, *names: str) -> bool:
        """Return whether a folder has all these files and folders, at any depth."""
        if not root.is_dir():
            return False
        there = {path.name.casefold() for path in _below(root)}
        return all(name.casefold() in there for name in names)

    def candidates(self, root: Path, name: str) -> list[Path]:
        """Return every file or folder of this name below `root`, in upper or lower case if none has the exact name."""
        same = [path for path in _below(root) if path.name.casefold() == name.casefold()]
        exact = [path for path in same if path.name == name]
        return sorted({path.resolve(): path for path in reversed(exact or same)}.values())

    def find(self, root: Path, name: str) -> Path:
        """Return the one file or folder of a name below `root`, at any depth.

        Files of macOS (`__MACOSX`, names that begin with a dot) are ignored.

        Raises:
            InputError: There is none, or more than one.
        """
        self.check(root)
        paths = [root / name] if (root / name).exists() else self.candidates(root, name)
        if not paths:
            raise InputError(f"{root}: does not contain {name}. {self.advice}")
        if len(paths) > 1:
            places = ", ".join(str(path) for path in paths)
            raise InputError(f"{root}: contains more than one {name} ({places}). Give a folder with only one")
        return paths[0]

    def find_any(self, root: Path, *names: str) -> Path:
        """Return the first of several paths below `root` that exists.

        Raises:
            InputError: None of them exists.
        """
        self.check(root)
        for name in names:
            if (path := inside(root, name)).exists():
                return path
        raise InputError(f"{root}: does not contain {' or '.join(names)}. {self.advice}")


def inside(folder: Path, name: str) -> Path:
    """Return a path below a folder, in another case if it exists in that only."""
    for part in Path(name).parts:
        path = folder / part
        if not path.exists() and folder.is_dir():
            path = next((other for other in _listed(folder) if other.name.casefold() == part.casefold()), path)
        folder = path
    return folder


def is_companion(name: str) -> bool:
    """Tell whether a file or folder holds what macOS or another program keeps beside the data."""
    return name.startswith(".") or name == "__MACOSX"


def _below(root: Path) -> Iterator[Path]:
    """Yield files and folders below a folder, the upper ones first; links are followed, each folder is read once."""
    folders, seen = [root], set()
    for _ in range(_DEPTH):
        inner: list[Path] = []
        for folder in folders:
            if (place := folder.resolve()) in seen:
                continue
            seen.add(place)
            for path in _listed(folder):
                yield path
                if path.is_dir():
                    inner.append(path)
        folders = inner


def _listed(folder: Path) -> list[Path]:
    try:
        return sorted(path for path in folder.iterdir() if not is_companion(path.name))
    except OSError:  # a folder that must not be read holds nothing that could be
        return []


def song_file(folder: Path, stem: str) -> Path:
    """Return a song's file: `stem` with the first suffix that exists, in lower or upper case; ``.mp3`` if none does."""
    suffixes = (*AUDIO_SUFFIXES, *map(str.upper, AUDIO_SUFFIXES))
    candidates = [folder / f"{stem}{suffix}" for suffix in suffixes]
    return next((path for path in candidates if path.is_file()), candidates[0])
