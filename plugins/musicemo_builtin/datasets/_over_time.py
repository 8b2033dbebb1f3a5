"""Readers of ratings over time, as the datasets' files have them."""

from __future__ import annotations

import re
from collections.abc import Iterator, Mapping, Sequence
from pathlib import Path

import numpy as np

from musicemo.contracts import Series
from musicemo.errors import InputError
from musicemo_builtin.datasets._cells import is_missing, parse_number
from musicemo_builtin.datasets._problems import Problems
from musicemo_builtin.datasets._rows import read_rows

__all__ = ["RATE", "by_song", "of_listeners", "series_of"]

#: Ratings per second in DEAM, emoMusic and PMEmo.
RATE = 2.0

_SAMPLE = re.compile(r"sample_([0-9]+)ms")


def _read_wide(
    path: Path, bounds: tuple[float, float], problems: Problems
) -> Iterator[tuple[Mapping[str, str], Series]]:
    """Yield the other cells, and the ratings over time, of each row with a rating.

    A column ``sample_15500ms`` has the ratings at 15.5 s. Rows can end early.

    Args:
        path: The file.
        bounds: Lowest and highest possible rating.
        problems: Collection of problems.

    Raises:
        InputError: The file cannot be read, or has no such columns.
    """
    (line, header), *rows = read_rows(path, ",")
    samples = {place: match for place, name in enumerate(header) if (match := _SAMPLE.fullmatch(name))}
    if not samples:
        raise InputError(f"{path}:{line}: no column has ratings over time, such as 'sample_15000ms'")
    times = {place: int(match[1]) / 1000 for place, match in samples.items()}
    for line, cells in rows:
        where = f"{path}:{line}"
        if len(cells) > len(header):
            problems.add(f"{where}: malformed row, expected {len(header)} cells, got {len(cells)}")
            continue
        ratings: dict[float, float] = {}
        for place, time in times.items():
            if place < len(cells) and not is_missing(cells[place]):
                try:
                    ratings[time] = parse_number(cells[place], *bounds)
                except ValueError as error:
                    problems.add(f"{where}: column {header[place]!r}: {error}", column="sample")
        others = {
            name: cell
            for place, (name, cell) in enumerate(zip(header, cells, strict=False))
            if place not in times
        }
        if (series := series_of(ratings, where, problems)) is not None:
            yield others, series


def series_of(ratings: Mapping[float, float], where: str, problems: Problems) -> Series | None:
    """Return ratings at times in seconds as a series of `RATE`, NaN in gaps; None if there is none.

    Args:
        ratings: Time in seconds -> rating.
        where: File, and line or track, for messages.
        problems: Collection of problems: times that are not a multiple of the period apart.
    """
    if not ratings:
        return None
    times = np.array(sorted(ratings))
    steps = (times - times[0]) * RATE
    if not np.allclose(steps, steps.round(), atol=1e-6):
        wrong = times[np.argmax(np.abs(steps - steps.round()) > 1e-6)]
        problems.add(
            f"{where}: the rating at {wrong:g} s is not a multiple of {1 / RATE:g} s after that at {times[0]:g} s"
        )
        return None
    values = np.full(int(steps[-1].round()) + 1, np.nan)
    values[steps.round().astype(int)] = [ratings[time] for time in times]
    return Series(values, float(times[0]), RATE)


def by_song(path: Path, column: str, bounds: tuple[float, float], problems: Problems) -> dict[str, Series]:
    """Return song -> its ratings over time, from a file with a row for each song."""
    songs: dict[str, Series] = {}
    for cells, series in _read_wide(path, bounds, problems):
        if (song := cells.get(column)) is None:
            raise InputError(f"{path}:1: no column {column!r} (for the song)")
        if song in songs:
            problems.add(f"{path}: song {song!r} has more than one row")
        songs.setdefault(song, series)
    return songs


def of_listeners(path: Path, bounds: tuple[float, float], problems: Problems) -> Sequence[Series]:
    """Return the ratings over time of each listener, from a file of one song with a row for each of them."""
    return [series for _, series in _read_wide(path, bounds, problems)]
