"""Recognition of a table's columns from their names and cells."""

from __future__ import annotations

import itertools
import math
import re
from collections import Counter
from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass, replace

from musicemo.contracts import TargetKind
from musicemo_builtin.datasets._cells import is_missing, parse_number

__all__ = [
    "Guess",
    "decimal_of",
    "group_reason",
    "guess_column",
    "guess_ratings",
    "is_group",
    "is_id",
    "is_listener",
    "is_part",
    "is_time",
    "joint_scales",
    "listener_stem",
    "matches",
    "missing_codes",
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
    r"|künstler(in)?|interpret(in)?|sänger(in)?|komponist(in)?|artiste|interprète|artista|esecutore|kunstenaar"
)
_PARTS = re.compile(r"(data[ _-]?)?(split|part|subset|set|fold|partition)")
_PART_NAMES = {"train", "val", "validation", "test"}

#: Column names of listeners, and of times in a track.
_LISTENER = (
    "listener|participant|subject|rater|annotator|worker|respondent|evaluator|observer|judge|user|proband(in)?|hörer(in)?"
    "|versuchsperson|vpn?|teilnehmer(in)?|teilnehmende|auditeur|auditrice|participante?|sujet|oyente|partecipante"
    "|ascoltatore|luisteraar|deelnemer"
)
_LISTENERS = re.compile(rf"(.*[ _-])?({_LISTENER})s?([ _-]?(id|nr|no|name|number|code|hash))?")
#: The end or the beginning of a column name that has a listener's number beside it, as in valence_p01 or VP1 Valenz.
_LISTENER_WORD = re.compile(rf"(?:^|(?<=[\W_]))(p|pp|s|subj|{_LISTENER})[\W_]*$", re.IGNORECASE)
_TIMES = re.compile(
    r"(.*[ _-])?(time|frame|t|onset|second|zeit|zeitpunkt|temps|tiempo)s?([ _(\[-]*(s|sec|secs|ms|seconds?)[\])]?)?"
)

#: Column names of metadata, which are not ratings.
_CATALOGUE = re.compile(
    r"(.*[ _-])?(year|date|duration|length|seconds|bpm|tempo|key|bitrate|sample[ _-]?rate|channels|size|offset|start"
    r"|end|count|n|num|number|raters|votes|listens|favorites|popularity|lat|latitude|long|longitude|zip|url|link|license"
    r"|licence|comments?|notes?|lyrics|tags|age|alter|âge|gender|sex|geschlecht|trial|order|position|session|block|rt"
    r"|(reaction|response)[ _-]?time|reaktionszeit|timestamp|zeitstempel)"
    r"|(n|num|number of|anzahl|nombre de|numero di)[ _.-].*"
)
#: Column names of the spread of ratings, which are targets only on request.
_SPREAD = re.compile(
    r"(.*[ _.(-])?(std|sd|st_?dev|std_?dev|deviation|var|variance|sem|std_?err|min|max|st_?abw|varianz"
    r"|standardabweichung|écart[ _-]type)\)?"
    r"|(std|sd|st_?dev|std_?dev|sem|std_?err|st_?abw|standardabweichung|standard deviation|écart[ _-]type)[ _.(-].*"
)

#: A number with thousands separators, as in 1.234,5, 1,234.5, 1 234 or 1'234.
_SEPARATED = re.compile(r"[+-]?[0-9]{1,3}(?:[.,'\u2019\s][0-9]{3})*(?:[.,][0-9]+)?")
#: Common rating scales of points from 1, from 0, and on both sides of 0. Columns whose scales are of one such family
#: probably share a questionnaire.
_FAMILIES = (
    ((1, 5), (1, 7), (1, 9), (1, 10)),
    ((0, 5), (0, 10)),
    ((-2, 2), (-3, 3), (-4, 4), (-5, 5)),
)
#: Common rating scales.
_SCALES = ((0, 1), (-1, 1), *itertools.chain(*_FAMILIES), (-10, 10), (0, 100), (-100, 100))

#: A number with a unit or a sign that is no part of numbers here, such as 55 %, 6 Punkte or a Unicode minus.
_WITH_UNIT = re.compile(r"[+-\N{MINUS SIGN}]?\s*[0-9]+(?:[.,][0-9]+)?\s*[^\W\d]{0,8}[%‰°]?")
#: Dates, such as 2024-01-31, 31.1.2024 or 1/31/24, with or without a time.
_DATE = re.compile(r"([0-9]{4}-[0-9]{1,2}-[0-9]{1,2}|[0-9]{1,2}[./][0-9]{1,2}[./][0-9]{2,4})([T ].*)?")
#: Numbers that mark missing ratings in questionnaires.
_CODES = (-999, -99, -9, -1, 99, 999, 9999)
#: Whole numbers in this range, in every row, are years.
_YEARS = (1900, 2100)

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
#: Maximum number of characters of a tag, and of a class or group.
_LONGEST_TAG, _LONGEST_CLASS = 40, 60
#: Minimum average number of tracks per class.
_TRACKS_A_CLASS = 4
#: Groups, such as artists, are at least this many, with this many tracks on average.
_FEWEST_GROUPS, _TRACKS_A_GROUP = 5, 1.2
#: Values that could be classes are groups if they are more than this, with fewer tracks than this on average, ...
_MANY_GROUPS, _FEW_TRACKS = 12, 10


@dataclass(frozen=True)
class Guess:
    """A possible target of a column, or None with the reason why the column is not a target."""

    kind: TargetKind | None
    why: str = ""
    #: The lowest and the highest rating.
    extent: tuple[float, float] = (0.0, 0.0)
    range: tuple[float, float] = (0.0, 1.0)
    #: Class or tag -> tracks.
    classes: dict[str, int] | None = None
    #: Separator of the tags in a cell.
    separator: str = ""
    #: Whether the column is a target only on request.
    on_request: bool = False
    #: Whether the cells are numbers in a form that is not read.
    unreadable: bool = False


def is_id(name: str) -> bool:
    """Return whether a column name is one of track ids."""
    return bool(_IDS.fullmatch(_plain(name)))


def is_group(name: str) -> bool:
    """Return whether a column name is one of artists, albums or other groups."""
    return bool(_GROUPS.fullmatch(_plain(name)))


def is_listener(name: str) -> bool:
    """Return whether a column name is one of listeners."""
    return bool(_LISTENERS.fullmatch(_plain(name)))


def listener_stem(before: str, after: str) -> str:
    """Return the target of a column with the ratings of one listener, from its name before and after the number.

    Empty if the name does not name a listener: ``valence_p`` is valence, and ``VP`` with `` Valenz`` is Valenz.
    """
    if not (word := _LISTENER_WORD.search(before)):
        return ""
    return re.sub(r"^[\W_]+|[\W_]+$", "", before[: word.start()] + after) or "rating"


def matches(pattern: str, name: str) -> bool:
    """Return whether a column name matches a pattern, in which ``*`` is any text."""
    return bool(re.fullmatch(".+".join(map(re.escape, pattern.split("*"))), name))


def is_time(name: str) -> bool:
    """Return whether a column name is one of times in a track."""
    return bool(_TIMES.fullmatch(_plain(name)))


def is_part(name: str, cells: Sequence[str]) -> bool:
    """Return whether a column is an official split with at least train and test."""
    values = {cell for cell in cells if not is_missing(cell)}
    return bool(_PARTS.fullmatch(_plain(name))) and {"train", "test"} <= values <= _PART_NAMES


def group_reason(cells: Sequence[str], classes: Iterable[Sequence[str]]) -> str | None:
    """Return why the repeated texts of a column are groups, such as artists, and not classes; None if they are not.

    Args:
        cells: The cells of the column.
        classes: The cells of each other column that could be a target of classes.
    """
    present = [cell for cell in cells if not is_missing(cell)]
    count = len(set(present))
    if count < _FEWEST_GROUPS or max(map(len, present)) > _LONGEST_CLASS:
        return None
    if any(number(cell, decimal) is not None for cell in set(present) for decimal in ".,"):
        return None
    average = len(present) / count
    if not _TRACKS_A_GROUP <= average < _FEW_TRACKS or not len(present) > len(cells) / 2:
        return None
    if average < _TRACKS_A_CLASS or count > _MANY_GROUPS:
        return f"{count} values for {len(present)} tracks are many for classes"
    for other in classes:
        pairs = {
            (cell, name)
            for cell, name in zip(cells, other, strict=True)
            if not (is_missing(cell) or is_missing(name))
        }
        if len(pairs) == count > len({name for _, name in pairs}) > 1:
            return "each value occurs with one class only"
    return None


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
    what = ", ".join(repr(cell) for cell in others[:3])
    if len(numbers) > len(present) / 2:
        hint = f"and cells that {_separators(others, decimal) or 'are not numbers'}"
    elif separators := _separators(present, decimal):
        hint = f"that {separators}"
    elif sum(_WITH_UNIT.fullmatch(cell) is not None for cell in present) > len(present) / 2 and (
        len({cell.lstrip("+-\N{MINUS SIGN}0123456789., ") for cell in present}) <= _FEWEST
    ):
        hint = "and cells with more than a number"
    else:
        return _of_text(name, present)
    why = f"contains numbers {hint} ({what}): correct them to use it as a target"
    return Guess(None, why, unreadable=True)


def guess_ratings(name: str, cells: Sequence[str], decimal: str = ".") -> Guess:
    """Return the guess for a column with the ratings of single listeners; numbers of two values are ratings, too."""
    guess = guess_column(name, cells, decimal)
    if guess.kind != "classification":
        return guess
    numbers = [value for cell in cells if (value := number(cell, decimal)) is not None]
    if not numbers:
        return guess
    ends = (min(numbers), max(numbers))
    return replace(guess, kind="regression", extent=ends, range=ends, classes=None)


def joint_scales(guesses: Mapping[str, Guess]) -> dict[str, Guess]:
    """Return the guesses with one scale for the ratings that probably share a questionnaire: the widest of theirs.

    Ratings of one questionnaire seldom all reach its ends, so that the narrowest scales of single columns differ.
    """
    joint = dict(guesses)
    for family in _FAMILIES:
        members = [
            name for name, guess in guesses.items() if guess.kind == "regression" and guess.range in family
        ]
        if members:
            widest = max((guesses[name].range for name in members), key=lambda scale: scale[1])
            joint |= {name: replace(guesses[name], range=widest) for name in members}
    return joint


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
    low, high = min(numbers), max(numbers)
    if len(set(numbers)) == 2 and whole:
        guess = Guess("classification", classes=dict(Counter(cells)))
    else:
        guess = Guess("regression", extent=(low, high), range=_scale(low, high))
    if not plain or plain.startswith("unnamed") or (whole and _counts(numbers)):
        why = "numbers the tracks"
    elif is_id(name):
        why = "identifies the tracks"
    elif _CATALOGUE.fullmatch(plain):
        why = "is metadata, not a rating"
    elif _SPREAD.fullmatch(plain):
        why = "measures the disagreement of raters"
    elif whole and _YEARS[0] <= low and high <= _YEARS[1]:
        why = "contains years, not ratings"
    else:
        return guess
    return replace(guess, why=why, on_request=True)


def missing_codes(columns: Mapping[str, Sequence[str]], decimal: str) -> dict[str, Counter[str]]:
    """Return column -> the cells that mark a missing rating, such as 99, beside ratings of at most 10 points.

    A number that another column has as an ordinary cell is no such code.
    """
    codes: dict[str, Counter[str]] = {}
    ordinary: set[str] = set()
    for name, cells in columns.items():
        counts = Counter(cells)
        values = {cell: number(cell, decimal) for cell in counts if not is_missing(cell)}
        numbers = [value for value in values.values() if value is not None and value not in _CODES]
        coded = Counter({cell: counts[cell] for cell, value in values.items() if value in _CODES})
        few = sum(coded.values()) <= len(cells) / 2
        if (
            coded
            and few
            and len(set(numbers)) > 2
            and None not in values.values()
            and _scale(min(numbers), max(numbers)) in (*_FAMILIES[0], *_FAMILIES[1])
        ):
            codes[name] = coded
        else:
            ordinary |= counts.keys()
    return {name: coded for name, coded in codes.items() if not coded.keys() & ordinary}


def _of_text(name: str, cells: list[str]) -> Guess:
    if all(map(_DATE.fullmatch, cells)):
        return Guess(None, "contains dates")
    if (lists := _of_lists(cells)) is not None:
        if _CATALOGUE.fullmatch(_plain(name)) and not _plain(name).endswith("tags"):
            return replace(lists, why="is metadata, not a rating", on_request=True)
        return lists
    classes = Counter(cells)
    if len(classes) == len(cells):
        return Guess(None, "has a different value for every track")
    kept = [count for count in classes.values() if count >= _FEWEST]
    if len(classes) > _MOST_CLASSES or len(cells) < _TRACKS_A_CLASS * len(classes) or len(kept) < 2:
        return Guess(None, f"has {len(classes)} distinct values for {len(cells)} tracks, too many for classes")
    if max(map(len, classes)) > _LONGEST_CLASS:
        return Guess(None, "contains free text")
    guess = Guess("classification", classes=dict(classes))
    if _CATALOGUE.fullmatch(_plain(name)):
        return replace(guess, why="is metadata, not a rating", on_request=True)
    return guess


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
