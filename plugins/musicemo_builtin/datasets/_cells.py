"""Meaning of a table's cell: a missing value, a number, or text."""

from __future__ import annotations

import math
import re
import unicodedata
from collections.abc import Collection, Iterable

__all__ = ["find_similar", "is_missing", "parse_number"]

#: Cells that spreadsheets, R, pandas, SQL and statistics programs write for a missing value, in lower case.
_MARKERS = frozenset(
    (
        *("", "-", "--", "---", "\N{EN DASH}", "\N{EM DASH}", "\N{MINUS SIGN}", "?", "."),
        *("na", "n/a", "n.a.", "n.a", "nan", "-nan", "+nan", "null", "none", "nat", "undefined"),
        *("<na>", "<nan>", "<null>", "<none>", "(null)", "(none)", "[null]", "\\n"),
        *("nil", "missing", "<missing>", "(missing)", "(blank)", "not available", "..", "..."),
        *("#n/a", "#na", "#n/a n/a", "#nv", "#value!", "#ref!", "#div/0!", "#num!", "#name?", "#null!"),
        *("1.#ind", "-1.#ind", "1.#qnan", "-1.#qnan"),
    )
)

_NUMBER = re.compile(r"[+-]?(?:[0-9]+\.?[0-9]*|\.[0-9]+)(?:[eE][+-]?[0-9]+)?")
_NOT_FINITE = re.compile(r"[+-]?(?:inf(?:inity)?|nan)", re.IGNORECASE)


def is_missing(cell: str, markers: Collection[str] | None = None) -> bool:
    """Tell whether a cell is empty or marks a missing value.

    Args:
        cell: The cell, without surrounding space.
        markers: Cells that mark a missing value; by default the common ones, in upper or lower case.
    """
    return not cell or (cell.casefold() in _MARKERS if markers is None else cell in markers)


def find_similar(labels: Iterable[str]) -> list[tuple[str, ...]]:
    """Return the groups of labels that differ only in case, spaces, invisible characters or Unicode form.

    Labels that are numbers are compared by their value.
    """
    alike: dict[str, set[str]] = {}
    for label in labels:
        plain = unicodedata.normalize("NFKC", label).casefold()
        plain = " ".join("".join(char for char in plain if unicodedata.category(char) != "Cf").split())
        alike.setdefault(str(float(plain)) if _NUMBER.fullmatch(plain) else plain, set()).add(label)
    return sorted(tuple(sorted(group)) for group in alike.values() if len(group) > 1)


def parse_number(text: str, low: float = -math.inf, high: float = math.inf, decimal: str = ".") -> float:
    """Return the decimal number that `text` spells in the digits 0 to 9.

    Args:
        text: A cell, without surrounding space.
        low: Lowest allowed value.
        high: Highest allowed value.
        decimal: The decimal separator, a point or a comma.

    Raises:
        ValueError: It is not a number, is not finite, or is not within [low, high].
    """
    plain = text
    if decimal == ",":
        if "." in text and _NUMBER.fullmatch(text):
            raise ValueError(f"{text!r} has a decimal point, but decimal is ','")
        plain = text.replace(",", ".", 1)
    elif "." not in text and _NUMBER.fullmatch(text.replace(",", ".", 1)) and "," in text:
        raise ValueError(f"{text!r} has a decimal comma")
    if not _NUMBER.fullmatch(plain):
        if _NOT_FINITE.fullmatch(text):
            raise ValueError(f"{text!r} is not a finite number")
        strange = next((char for char in text if not char.isascii()), None)
        reason = f": it contains {strange!r} (U+{ord(strange):04X})" if strange else ""
        raise ValueError(f"{text!r} is not a number{reason}")
    value = float(plain)
    if not math.isfinite(value):
        raise ValueError(f"{text!r} is not a finite number")
    if not low <= value <= high:
        raise ValueError(f"{text} is outside [{low:g}, {high:g}]")
    return value
