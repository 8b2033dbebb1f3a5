"""Find songs in folders, and the paths of their feature files."""

# ruff: noqa: PTH100, PTH110, PTH112, PTH113, PTH116, PTH118, PTH120, PTH122
# Text instead of paths: there may be very many songs, and the tests of os.path never raise an error.

from __future__ import annotations

import fnmatch
import logging
import os
import re
from collections.abc import Iterable, Iterator, Sequence
from pathlib import Path

from musicemo.errors import InputError
from musicemo.files import printable, shortened

__all__ = ["SONG_SUFFIXES", "find_songs", "songs_in"]

_log = logging.getLogger(__name__)

SONG_SUFFIXES = frozenset(
    {".aac", ".ac3", ".aif", ".aifc", ".aiff", ".ape", ".au", ".caf", ".flac", ".m4a", ".m4b", ".mka", ".mp2"}
    | {".mp3", ".mp4", ".oga", ".ogg", ".opus", ".snd", ".w64", ".wav", ".wave", ".webm", ".wma", ".wv"}
)
"""What counts as a song in a folder."""

_ARCHIVED = "__MACOSX"
"""Folder in which macOS archives keep attributes of files, under the names of the files."""

_WILDCARD = re.compile(r"[*?\[]")
_ANY_FOLDERS = "**"
_SHOWN = 20


def find_songs(sources: Iterable[str | os.PathLike[str]], out: Path) -> dict[Path, Path]:
    """Find songs, and the path of each one's feature file.

    Args:
        sources: Files, folders and patterns. In a folder and the folders below it, all files with the suffix of
            an audio format are songs, except hidden files and folders and `__MACOSX`. Links to folders are
            followed, and each folder is searched once. A pattern is a path such as `music/**/*.mp3`, in which
            `**` is any number of folders. A path that exists is never a pattern, and if a pattern with brackets
            matches nothing, the brackets are literal.
        out: The folder of the feature files. A feature file has the path of its song within the folder, or from
            the first wildcard of a pattern, with the suffix `.npz`. A name that is too long for the file system
            is shortened, and a hash is added.

    Returns:
        Song -> feature file, sorted by song within each source. Each song occurs once.

    Raises:
        InputError: A source is missing or has no song, or two songs have the same feature file.
    """
    songs: dict[Path, Path] = {}
    owners: dict[Path, Path] = {}
    problems = []
    for source in (os.fspath(source) for source in sources):
        count = 0
        for song, relative in _search(source):
            count += 1
            if song in songs:
                continue
            target = out / relative.with_name(shortened(relative.stem, ".npz"))
            songs[song] = target
            owner = owners.setdefault(target, song)
            if owner != song:
                problems.append(
                    f"{song} and {owner} would have one feature file, {target}; extract them to different folders"
                )
        if not count:
            what = "no song matches" if _is_pattern(source) else "there is no such file or folder"
            if os.path.isdir(source):
                what = f"no song in this folder; songs end with {', '.join(sorted(SONG_SUFFIXES))}"
            problems.append(f"{printable(source)}: {what}")
    folders = {folder: song for song, target in songs.items() for folder in target.parents}
    problems += [
        f"{song} would have the feature file {target}, which is the folder of the features of {folders[target]}; "
        "extract them to different folders"
        for target, song in owners.items()
        if target in folders
    ]
    if problems:
        more = [f"and {len(problems) - _SHOWN} more"] if len(problems) > _SHOWN else []
        raise InputError(*problems[:_SHOWN], *more)
    return songs


def songs_in(source: str | os.PathLike[str]) -> list[Path]:
    """Return the songs of a file, a folder or a pattern, sorted, as `find_songs` does; none if it is missing."""
    return [song for song, _ in _search(os.fspath(source))]


def _is_pattern(source: str) -> bool:
    return _WILDCARD.search(source) is not None and not os.path.lexists(source)


def _search(source: str) -> Iterator[tuple[Path, Path]]:
    """Yield the songs of a source, each with its path relative to it."""
    path = Path(source)
    if _is_pattern(source):
        matches = _matches(path.parts)
        if not matches and "[" in source:
            matches = _matches(path.parts, brackets=False)
        yield from matches
    elif os.path.isdir(source):
        songs = [
            Path(folder, name)
            for folder, names in _folders(source)
            for name in names
            if os.path.splitext(name)[1].lower() in SONG_SUFFIXES
        ]
        yield from ((song, song.relative_to(path)) for song in sorted(songs))
    elif os.path.exists(source):
        yield path, Path(path.name)


def _matches(parts: Sequence[str], *, brackets: bool = True) -> list[tuple[Path, Path]]:
    """Return the files that the parts of a pattern match, each once, with the path from the first wildcard on.

    Args:
        parts: The pattern.
        brackets: Whether brackets are wildcards, too.
    """
    root = ""
    for part in parts[:-1]:
        if _WILDCARD.search(part) and not os.path.lexists(os.path.join(root, part)):
            break
        root = os.path.join(root, part)
    places: dict[str, str] = {}
    songs: dict[str, str] = {}
    for song in _expand("", parts, brackets):
        folder, name = os.path.split(song)
        place = places.setdefault(folder, os.path.realpath(folder))
        kept = songs.setdefault(os.path.join(place, name), song)
        if _through_links(song, place) < _through_links(kept, place):
            songs[os.path.join(place, name)] = song
    return [(song, song.relative_to(root)) for song in sorted(map(Path, songs.values()))]


def _through_links(song: str, place: str) -> tuple[bool, str]:
    """Return the order of a song's paths of which the first is kept: those without links come first."""
    return os.path.abspath(os.path.dirname(song)) != place, song


def _expand(place: str, parts: Sequence[str], brackets: bool) -> Iterator[str]:
    """Yield the files below a folder that the parts of a pattern match."""
    if not parts:
        if os.path.isfile(place):
            yield place
        return
    part, rest = parts[0], parts[1:]
    path = os.path.join(place, part)
    if part == _ANY_FOLDERS:
        for folder, names in _folders(place or os.curdir):
            yield from (
                _expand(folder, rest, brackets) if rest else (os.path.join(folder, name) for name in names)
            )
    elif os.path.lexists(path) or not _WILDCARD.search(part):
        yield from _expand(path, rest, brackets) if os.path.lexists(path) else ()
    elif os.path.isdir(place or os.curdir):
        hidden = (".", _ARCHIVED) if part[0] in "*?[" else ()
        wanted = part if brackets else part.replace("[", "[[]")
        for entry in _entries(place or os.curdir):
            if not entry.name.startswith(hidden) and fnmatch.fnmatch(entry.name, wanted):
                yield from _expand(os.path.join(place, entry.name), rest, brackets)


def _folders(top: str) -> Iterator[tuple[str, list[str]]]:
    """Yield a folder and those below it, with the names of their files.

    A folder that several paths lead to is yielded once, by a path without links if there is one.
    """
    seen: set[tuple[int, int]] = set()
    waiting = [top]
    while waiting:
        linked: list[str] = []
        while waiting:
            place = waiting.pop()
            try:
                status = os.stat(place)
            except OSError:  # gone meanwhile
                continue
            if (status.st_dev, status.st_ino) in seen:
                continue
            seen.add((status.st_dev, status.st_ino))
            names = []
            for entry in _entries(place):
                if entry.name.startswith(".") or entry.name == _ARCHIVED:
                    continue
                if os.path.isdir(entry):
                    (linked if entry.is_symlink() else waiting).append(entry.path)
                else:
                    names.append(entry.name)
            yield place, names
        waiting = sorted(linked, reverse=True)


def _entries(folder: str) -> list[os.DirEntry[str]]:
    """Return what is in a folder, sorted; one that cannot be read is empty, with a warning."""
    try:
        with os.scandir(folder) as entries:
            return sorted(entries, key=lambda entry: entry.name)
    except OSError as error:
        reason = error.strerror or error
        _log.warning(f"{printable(folder)}: cannot be read ({reason}); its songs are left out")
        return []
