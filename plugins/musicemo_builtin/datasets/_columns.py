"""Recognition of a table's columns from their names and cells."""

from __future__ import annotations

import itertools
import math
import re
from collections import Counter
from collections.abc import Iterable, Sequence
from dataclasses import dataclass

from musicemo.contracts import TargetKind
from musicemo_builtin.datasets._cells import is_missing, parse_number

__all__ = [
    "Guess",
    "decimal_of",
    "guess_column",
    "is_group",
    "is_id",
    "is_part",
    "number",
    "split_tags",
    "target_name",
]

#: Column names of track ids, groups (artists, albums) and official splits.
_IDS = re.compile(
    r"(.*[ _-])?(id|uid|uuid|key|name|title|track|song|clip|file|filename|path|audio|index|nr|no)"
)
_GROUPS = re.compile(
    r"(.*[ _-])?(artist|performer|band|album|composer|group|singer|author|label)([ _-](id|name))?"
)
_PARTS = re.compile(r"(data[ _-]?)?(split|part|subset|set|fold|partition)")
_PART_NAMES = {"train", "val", "validation", "test"}

#: Column names of metadata, which are not ratings.
_CATALOGUE = re.compile(
    r"(.*[ _-])?(year|date|duration|length|seconds|bpm|tempo|key|bitrate|sample[ _-]?rate|channels|size|offset|start"
    r"|end|count|n|num|number|raters|votes|listens|favorites|popularity|lat|latitude|long|longitude|zip|url|link|license"
    r"|licence|comments?|notes?|lyrics|tags)"
)
#: Column names of the spread of ratings, which are targets only on request.
_SPREAD = re.compile(r"(.*[ _(-])?(std|sd|stdev|stddev|deviation|var|variance|sem|stderr|min|max)\)?")

#: A number with thousands separators, as in 1.234,5, 1,234.5, 1 234 or 1'234.
_SEPARATED = re.compile(r"[+-]?[0-9]{1,3}(?:[.,'\u2019\s][0-9]{3})*(?:[.,][0-9]+)?")
#: Common rating scales.
_SCALES = ((0, 1), (-1, 1), (1, 5), (0, 5), (1, 7), (1, 9), (1, 10), (0, 10), (-10, 10), (0, 100), (-100, 100))

#: Number of cells per column that decide on the decimal separator.
_SAMPLE = 200
#: Minimum number of tracks of a class. At least two classes must have that many.
_FEWEST = 5
#: Maximum number of classes. A column with more distinct values is text.
_MOST_CLASSES = 50
#: Separators of lists of tags, those first that other text has less often.
_SEPARATORS = (";", "|", ",")
#: Minimum share of cells with more than one tag.
_LISTS = 0.1
#: Maximum number of characters of a tag.
_LONGEST_TAG = 40
#: Minimum average number of tracks per class.
_TRACKS_A_CLASS = 4


@dataclass(frozen=True)
class Guess:
    """A possible target of a column, or None with the reason why the column is not a target."""

    kind: TargetKind | None
    why: str = ""
    range: tuple[float, float] = (0.0, 1.0)
    #: Class or tag -> tracks.
    classes: dict[str, int] | None = None
    #: Separator of the tags in a cell.
    separator: str = ""


def is_id(name: str) -> bool:
    """Return whether a column name is one of track ids."""
    return bool(_IDS.fullmatch(_plain(name)))


def is_group(name: str) -> bool:
    """Return whether a column name is one of artists, albums or other groups."""
    return bool(_GROUPS.fullmatch(_plain(name)))


def is_part(name: str, cells: Sequence[str]) -> bool:
    """Return whether a column is an official split with at least train and test."""
    values = {cell for cell in cells if not is_missing(cell)}
    return bool(_PARTS.fullmatch(_plain(name))) and {"train", "test"} <= values <= _PART_NAMES


def target_name(column: str) -> str:
    """Return a name that a task can have: ``Valence(mean)`` is valence_mean."""
    name = re.sub(r"[^A-Za-z0-9_-]+", "_", column).strip("_-")
    return (name if name == column else name.lower()) or "target"


def guess_column(name: str, cells: Sequence[str], decimal: str = ".") -> Guess:
    """Return the kind of target that a column can be. Cells that `is_missing` recognizes are ignored."""
    present = [cell for cell in cells if not is_missing(cell)]
    different = set(present)
    if len(different) < 2:
        return Guess(None, "has the same value for every track" if different else "is empty")
    numbers = [value for cell in present if (value := number(cell, decimal)) is not None]
    if len(numbers) == len(present):
        return _of_numbers(name, present, numbers)
    others = sorted({cell for cell in present if number(cell, decimal) is None})
    if len(numbers) > len(present) / 2:
        what = ", ".join(repr(cell) for cell in others[:3])
        hint = _separators(others, decimal) or "are not numbers"
        return Guess(
            None, f"contains numbers and cells that {hint} ({what}): correct them to use it as a target"
        )
    if hint := _separators(present, decimal):
        what = ", ".join(repr(cell) for cell in others[:3])
        return Guess(None, f"contains numbers that {hint} ({what}): correct them to use it as a target")
    return _of_text(name, present)


def _separators(cells: Sequence[str], decimal: str) -> str:
    """Return the problem of numbers with unexpected separators, or "" if the cells are not numbers."""
    if all(number(cell, "." if decimal == "," else ",") is not None for cell in cells):
        return f"have a decimal {'comma' if decimal == '.' else 'point'}"
    return "have a thousands separator" if all(map(_SEPARATED.fullmatch, cells)) else ""


def decimal_of(columns: Iterable[Sequence[str]]) -> str:
    """Return the decimal separator of a table: a comma if more cells are numbers with it than with a point."""
    cells = [cell for column in columns for cell in column[:_SAMPLE] if "," in cell or "." in cell]
    points, commas = (sum(number(cell, decimal) is not None for cell in cells) for decimal in (".", ","))
    return "," if commas > points else "."


def number(cell: str, decimal: str = ".") -> float | None:
    """Return the number in a cell, or None if the cell is not a number."""
    try:
        return parse_number(cell, decimal=decimal)
    except ValueError:
        return None


def _of_numbers(name: str, cells: list[str], numbers: list[float]) -> Guess:
    plain = _plain(name)
    whole = all(value.is_integer() for value in numbers)
    if not plain or plain.startswith("unnamed") or (whole and _counts(numbers)):
        return Guess(None, "numbers the tracks")
    if is_id(name):
        return Guess(None, "identifies the tracks")
    if _CATALOGUE.fullmatch(plain):
        return Guess(None, "is metadata, not a rating")
    if _SPREAD.fullmatch(plain):
        return Guess(None, "measures the disagreement of raters")
    low, high = min(numbers), max(numbers)
    if len(set(numbers)) == 2 and whole:
        return Guess("classification", f"{' or '.join(sorted(set(cells)))}", classes=dict(Counter(cells)))
    scale = _scale(low, high)
    return Guess("regression", f"values {low:g} to {high:g}", range=scale)


def _of_text(name: str, cells: list[str]) -> Guess:
    if (lists := _of_lists(cells)) is not None:
        return lists
    if _CATALOGUE.fullmatch(_plain(name)):
        return Guess(None, "is metadata, not a rating")
    classes = Counter(cells)
    if len(classes) == len(cells):
        return Guess(None, "has a different value for every track")
    kept = [count for count in classes.values() if count >= _FEWEST]
    if len(classes) > _MOST_CLASSES or len(cells) < _TRACKS_A_CLASS * len(classes) or len(kept) < 2:
        return Guess(None, f"has {len(classes)} distinct values for {len(cells)} tracks, too many for classes")
    if max(map(len, classes)) > 60:
        return Guess(None, "contains free text")
    return Guess("classification", classes=dict(classes))


def split_tags(cell: str, separator: str) -> list[str]:
    """Return the tags in a cell, each once."""
    return list(dict.fromkeys(name for part in cell.split(separator) if (name := part.strip())))


def _of_lists(cells: list[str]) -> Guess | None:
    """Return the guess for cells that are lists of recurring tags; None for others."""
    for separator in _SEPARATORS:
        lists = [split_tags(cell, separator) for cell in cells]
        if sum(len(names) > 1 for names in lists) < max(_LISTS * len(cells), 2):
            continue
        tags = Counter(name for names in lists for name in names)
        kept = [count for count in tags.values() if count >= _FEWEST]
        recurring = sum(tags.values()) >= _TRACKS_A_CLASS * len(tags)
        if len(kept) > 1 and recurring and max(map(len, tags)) <= _LONGEST_TAG:
            return Guess("tags", classes=dict(tags), separator=separator)
    return None


def _scale(low: float, high: float) -> tuple[float, float]:
    """Return the narrowest common scale that contains the values, or a range of round numbers."""
    fitting = [scale for scale in _SCALES if scale[0] <= low and high <= scale[1]]
    if fitting:
        return min(fitting, key=lambda scale: scale[1] - scale[0])
    step = 10.0 ** math.floor(math.log10(max(high - low, 1e-12)))
    return math.floor(low / step) * step, math.ceil(high / step) * step


def _counts(numbers: list[float]) -> bool:
    """Return whether whole numbers are a row count: strictly increasing, or each once without gaps."""
    rising = all(first < second for first, second in itertools.pairwise(numbers))
    return rising or (len(set(numbers)) == len(numbers) == max(numbers) - min(numbers) + 1)


def _plain(name: str) -> str:
    """Return a name in lower case with separated words: ``trackId`` becomes track_id."""
    return re.sub(r"(?<=[a-z])(?=[A-Z])", "_", name.strip()).casefold()
