"""Songs in folders, and where their features go."""

from __future__ import annotations

import glob
import os
import re
from collections.abc import Iterable, Iterator
from pathlib import Path

from musicemo.errors import InputError

__all__ = ["find_songs", "songs_in"]

_SUFFIXES = frozenset(
    {".aac", ".ac3", ".aif", ".aifc", ".aiff", ".ape", ".au", ".caf", ".flac", ".m4a", ".m4b", ".mka", ".mp2"}
    | {".mp3", ".mp4", ".oga", ".ogg", ".opus", ".snd", ".w64", ".wav", ".wave", ".webm", ".wma", ".wv"}
)
"""What counts as a song in a folder."""

_WILDCARD = re.compile(r"[*?\[]")


def find_songs(sources: Iterable[str | os.PathLike[str]], out: Path) -> dict[Path, Path]:
    """Find songs, and say where the features of each one go.

    Args:
        sources: Files; folders, which are searched for files whose suffix is one of audio, hidden ones apart; and
            patterns such as `music/**/*.mp3`, in which `**` is any number of folders.
        out: The folder of the feature files. A song's path within its folder, or from a pattern's first wildcard on,
            is kept, with `.npz` for its suffix.

    Returns:
        Song -> feature file, sorted by song within each source; a song that is found twice counts once.

    Raises:
        InputError: A source is missing or holds no song, or two songs have the same feature file.
    """
    songs: dict[Path, Path] = {}
    owners: dict[Path, Path] = {}
    problems = []
    for source in (os.fspath(source) for source in sources):
        count = 0
        for song, relative in _search(source):
            count += 1
            target = out / relative.with_suffix(".npz")
            if song in songs:
                continue
            songs[song] = target
            owner = owners.setdefault(target, song)
            if owner != song:
                problems.append(
                    f"{song} and {owner} would have one feature file, {target}; extract them to different folders"
                )
        if not count:
            what = "no song matches" if _is_pattern(source) else "there is no such file or folder"
            if Path(source).is_dir():
                what = f"no song in this folder; songs end with {', '.join(sorted(_SUFFIXES))}"
            problems.append(f"{source}: {what}")
    if problems:
        more = [f"and {len(problems) - 20} more"] if len(problems) > 20 else []
        raise InputError(*problems[:20], *more)
    return songs


def songs_in(source: str | os.PathLike[str]) -> list[Path]:
    """Return the songs of a file, a folder or a pattern, sorted, as `find_songs` does; none if it is missing."""
    return [song for song, _ in _search(os.fspath(source))]


def _is_pattern(source: str) -> bool:
    return _WILDCARD.search(source) is not None and not Path(source).exists()


def _search(source: str) -> Iterator[tuple[Path, Path]]:
    """Yield the songs of a source, each with its path relative to it."""
    path = Path(source)
    if _is_pattern(source):
        root = Path(*_fixed_parts(path))
        for name in sorted(glob.glob(source, recursive=True)):  # noqa: PTH207  # takes any pattern, absolute ones too
            found = Path(name)
            if found.is_file():
                yield found, found.relative_to(root)
    elif path.is_dir():
        for found in sorted(_walk(path)):
            yield found, found.relative_to(path)
    elif path.exists():
        yield path, Path(path.name)


def _fixed_parts(pattern: Path) -> Iterator[str]:
    """Yield the folders of a pattern before its first wildcard."""
    for part in pattern.parts[:-1]:
        if _WILDCARD.search(part):
            return
        yield part


def _walk(folder: Path) -> Iterator[Path]:
    for place, folders, names in os.walk(folder):
        folders[:] = [name for name in folders if not name.startswith(".")]
        for name in names:
            if not name.startswith(".") and os.path.splitext(name)[1].lower() in _SUFFIXES:  # noqa: PTH122  # many
                yield Path(place, name)
