"""Readers of ratings over time, as the datasets' files have them."""

from __future__ import annotations

import re
from collections.abc import Collection, Iterator, Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path

import numpy as np

from musicemo.contracts import Series
from musicemo.errors import InputError, nearest
from musicemo_builtin.datasets._cells import is_missing, parse_number
from musicemo_builtin.datasets._problems import Problems
from musicemo_builtin.datasets._rows import read_rows
from musicemo_builtin.datasets._sheet import Sheet

__all__ = ["RATE", "RatedTrack", "SeriesColumns", "by_song", "of_listeners", "read_series", "series_of"]

#: Ratings per second in DEAM, emoMusic and PMEmo.
RATE = 2.0

#: Share of the period by which a time may be off, such as one that is rounded to milliseconds.
_JITTER = 0.02

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


@dataclass(frozen=True, slots=True)
class SeriesColumns:
    """The columns of a table of ratings over time, which has a row for each time, or for each time and listener.

    Attributes:
        id: Column with the id of the track.
        time: Column with the time in seconds.
        ranges: Columns with the ratings -> lowest and highest possible rating.
        listener: Column with the listener; None if the ratings are means.
        rate: Ratings per second; None for the smallest difference between two times of a track.
    """

    id: str
    time: str
    ranges: Mapping[str, tuple[float, float]]
    listener: str | None = None
    rate: float | None = None


@dataclass(frozen=True, slots=True)
class RatedTrack:
    """The ratings of one track over time: target -> the mean over the listeners, and each listener's."""

    means: Mapping[str, Series]
    listeners: Mapping[str, Sequence[Series]]


#: Track -> target -> listener -> time -> rating.
_Ratings = dict[str, dict[str, dict[str, dict[float, float]]]]


def read_series(
    path: Path,
    columns: SeriesColumns,
    ids: Collection[str],
    problems: Problems,
    *,
    missing: Collection[str] | None = None,
    decimal: str | None = None,
) -> dict[str, RatedTrack]:
    """Return track -> its ratings over time.

    Args:
        path: Delimited text with a header.
        columns: The names of its columns.
        ids: The ids of the tracks.
        problems: Collection of problems with the rows.
        missing: Cells that mark a missing value; see `is_missing`.
        decimal: The decimal separator.

    Raises:
        InputError: The file cannot be read, lacks a column, or has no rows.
    """
    needs = {"the track": columns.id, "the time in seconds": columns.time}
    needs |= {f"the ratings of {target}": target for target in columns.ranges}
    if columns.listener is not None:
        needs["the listener"] = columns.listener
    ratings: _Ratings = {}
    for row in Sheet(path, needs, problems, missing=missing, decimal=decimal):
        name = row.cells[columns.id]
        if name not in ids:
            row.blame(columns.id, f"{name!r} is not the id of a track{nearest(name, ids)}", "id")
            continue
        time = row.number(columns.time, 0.0, 1e6)
        if time is None:
            if not row.cells[columns.time]:
                row.blame(columns.time, "is empty, but every rating needs a time", "empty")
            continue
        listener = row.cells[columns.listener] if columns.listener else ""
        for target, bounds in columns.ranges.items():
            if (rating := row.number(target, *bounds)) is None:
                continue
            of_listener = ratings.setdefault(name, {}).setdefault(target, {}).setdefault(listener, {})
            if time in of_listener:
                of = f" and listener {listener!r}" if columns.listener else ""
                row.blame(columns.time, f"{time:g} s of track {name!r}{of} is there twice", "twice")
            of_listener[time] = rating
    rate = columns.rate or _rate_of(ratings)
    return {name: _rated(ratings[name], f"{path}: track {name!r}", problems, columns, rate) for name in ratings}


def _rate_of(ratings: _Ratings) -> float:
    """Return ratings per second, from the smallest difference between two times of a track; 1 without any."""
    every = (
        np.unique([time for times in listeners.values() for time in times])
        for targets in ratings.values()
        for listeners in targets.values()
    )
    differences = [float(np.diff(times).min()) for times in every if len(times) > 1]
    return 1 / float(f"{min(differences):.6g}") if differences else 1.0


def _rated(
    ratings: Mapping[str, Mapping[str, Mapping[float, float]]],
    where: str,
    problems: Problems,
    columns: SeriesColumns,
    rate: float,
) -> RatedTrack:
    means: dict[str, Series] = {}
    listeners: dict[str, Sequence[Series]] = {}
    for target, by_listener in ratings.items():
        times = sorted({time for of_one in by_listener.values() for time in of_one})
        mean = {
            time: float(np.mean([of_one[time] for of_one in by_listener.values() if time in of_one]))
            for time in times
        }
        series = series_of(mean, f"{where}: {target}", problems, rate)
        if series is None:
            continue
        means[target] = series
        if columns.listener is not None:
            every = (series_of(of_one, f"{where}: {target}", problems, rate) for of_one in by_listener.values())
            listeners[target] = [one for one in every if one is not None]
    return RatedTrack(means, listeners)


def series_of(
    ratings: Mapping[float, float], where: str, problems: Problems, rate: float = RATE
) -> Series | None:
    """Return ratings at times in seconds as a series, NaN in gaps; None if there is none.

    Args:
        ratings: Time in seconds -> rating.
        where: File, and line or track, for messages.
        problems: Collection of problems: times that are not a multiple of the period apart.
        rate: Ratings per second.
    """
    if not ratings:
        return None
    times = np.array(sorted(ratings))
    steps = (times - times[0]) * rate
    if not np.allclose(steps, steps.round(), rtol=0.0, atol=_JITTER):
        wrong = times[np.argmax(np.abs(steps - steps.round()) > _JITTER)]
        problems.add(
            f"{where}: the rating at {wrong:g} s is not a multiple of {1 / rate:g} s after that at {times[0]:g} s",
            "period",
        )
        return None
    values = np.full(int(steps[-1].round()) + 1, np.nan)
    values[steps.round().astype(int)] = [ratings[time] for time in times]
    return Series(values, float(times[0]), rate)


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
