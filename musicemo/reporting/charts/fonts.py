"""Fonts for the names in a figure: matplotlib's font has no Chinese, Japanese or Korean."""

from __future__ import annotations

import functools
from collections.abc import Iterable, Iterator
from contextlib import contextmanager
from typing import Any

from musicemo.terminal import visible

__all__ = ["drawable", "fonts_for"]

#: Families that are preferred, the first first, since they suit matplotlib's font.
_PREFERRED = (
    *(
        "Noto Sans CJK JP",
        "Noto Sans JP",
        "Source Han Sans",
        "Hiragino Sans",
        "Yu Gothic",
        "Meiryo",
        "IPAexGothic",
    ),
    *("IPAGothic", "Noto Sans CJK SC", "Noto Sans SC", "Noto Sans CJK KR", "Noto Sans KR", "PingFang SC"),
    *("Microsoft YaHei", "WenQuanYi Zen Hei", "WenQuanYi Micro Hei", "Droid Sans Fallback", "SimHei"),
    *("Apple SD Gothic Neo", "Malgun Gothic", "NanumGothic", "UnDotum", "Arial Unicode MS", "Noto Sans"),
)

#: Shown for a character that no installed font has.
_MISSING = "□"

#: Fonts of pictures, which matplotlib cannot draw, of a box for every character, and of formulas.
_USELESS = (
    *("emoji", "last resort", "lastresort", "blank", "stixnon", "stixsize"),
    *("cmb10", "cmex", "cmmi", "cmr10", "cmss10", "cmsy10", "cmtt10"),
)


def drawable(text: str) -> str:
    """Return text whose every character a font has: ``□`` stands for one that none has."""
    return "".join(sign if _family(sign) is not None else _MISSING for sign in visible(text))


@contextmanager
def fonts_for(texts: Iterable[str]) -> Iterator[None]:
    """Make figures inside with fonts that have the characters of these texts, and take no text for a formula."""
    import matplotlib as mpl

    families = dict.fromkeys(family for sign in sorted(set("".join(texts))) if (family := _family(sign)))
    settings: Any = {"font.family": [*mpl.rcParams["font.family"], *families], "text.parse_math": False}
    with mpl.rc_context(settings):
        yield


@functools.cache
def _family(sign: str) -> str | None:
    """Return the family that has a character: an empty string for matplotlib's own, None if there is none."""
    from matplotlib import font_manager

    if sign in "\n\t" or ord(sign) in _characters(font_manager.findfont(font_manager.FontProperties())):
        return ""
    return next((family for family, path in _faces() if ord(sign) in _characters(path)), None)


@functools.cache
def _faces() -> list[tuple[str, str]]:
    """Return family and file of every installed font, those that are preferred first."""
    from matplotlib import font_manager

    manager = font_manager.fontManager
    listed = {face.fname for face in manager.ttflist}  # as of when matplotlib looked for the first time
    for path in sorted({*font_manager.findSystemFonts()} - listed):
        try:
            manager.addfont(path)
        except Exception:  # a file that is no font, or one of a kind that is not read
            continue
    faces: dict[str, str] = {}
    for face in sorted(
        manager.ttflist, key=lambda face: (face.style != "normal", face.weight != 400, face.fname)
    ):
        if not any(word in face.name.lower() for word in _USELESS):
            faces.setdefault(face.name, face.fname)
    rank = {family: place for place, family in enumerate(_PREFERRED)}
    return sorted(faces.items(), key=lambda face: (rank.get(face[0], len(rank)), face[0]))


@functools.cache
def _characters(path: str) -> frozenset[int]:
    """Return the characters that a font has; none if it cannot be read."""
    from matplotlib.ft2font import FT2Font

    try:
        return frozenset(FT2Font(path).get_charmap())
    except Exception:
        return frozenset()
