"""Where a dataset comes from and what its folder looks like: said whenever something is missing."""

from __future__ import annotations

from dataclasses import dataclass
from pathlib import Path

from musicemo.errors import InputError

__all__ = ["AUDIO_SUFFIXES", "Layout", "song_file"]

#: What a song's file may end in, the dataset's own first.
AUDIO_SUFFIXES = (".mp3", ".wav", ".flac", ".ogg", ".m4a")

#: How many folders an archive puts around a dataset's own, at the most.
_DEPTH = 6


@dataclass(frozen=True, slots=True)
class Layout:
    """The home and the layout of a dataset; nothing is downloaded from there."""

    name: str
    home: str
    folder: str

    @property
    def advice(self) -> str:
        """What to do about a missing file."""
        return f"{self.name} is at {self.home}; unpacked, its folder is to look like\n{self.folder}"

    def check(self, root: Path) -> None:
        """Raise an `InputError` unless the folder is there."""
        if not root.is_dir():
            raise InputError(f"{root}: no such folder; {self.advice}")

    def fits(self, root: Path, *names: str) -> bool:
        """Tell whether a folder holds all these files and folders, however deep its archive put them."""
        return root.is_dir() and all(
            next((found for depth in range(_DEPTH) for found in root.glob("*/" * depth + name)), None)
            for name in names
        )

    def find(self, root: Path, name: str) -> Path:
        """Return the one file or folder of that name below `root`, however deep its archive put it.

        Raises:
            InputError: There is none, or more than one.
        """
        self.check(root)
        found = [root / name] if (root / name).exists() else sorted(root.rglob(name))
        if not found:
            raise InputError(f"{root}: there is no {name} in it; {self.advice}")
        if len(found) > 1:
            places = ", ".join(str(path) for path in found)
            raise InputError(f"{root}: there is more than one {name} in it ({places}); name a folder with one")
        return found[0]

    def find_any(self, root: Path, *names: str) -> Path:
        """Return the first of several paths below `root` that exists.

        Raises:
            InputError: None does.
        """
        self.check(root)
        for name in names:
            if (root / name).exists():
                return root / name
        raise InputError(f"{root}: there is no {' and no '.join(names)} in it; {self.advice}")


def song_file(folder: Path, stem: str) -> Path:
    """Return a song's file: `stem` with the first suffix that exists, ``.mp3`` if none does."""
    candidates = [folder / f"{stem}{suffix}" for suffix in AUDIO_SUFFIXES]
    return next((path for path in candidates if path.is_file()), candidates[0])
