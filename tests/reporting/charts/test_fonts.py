"""Fonts for names in other scripts."""

import pytest
from fontTools.fontBuilder import FontBuilder
from fontTools.pens.ttGlyphPen import TTGlyphPen
from matplotlib import font_manager

from musicemo.reporting.charts import Axis, Chart, Points, categories, draw, drawable, fonts

UNHEARD = "\U000f1234"  # of a private area, for which there is no font


@pytest.fixture
def no_fonts(monkeypatch):
    """Forget fonts that were found, before and after the test."""

    def forget():
        for function in (fonts._family, fonts._faces, fonts._characters):
            function.cache_clear()

    forget()
    monkeypatch.setattr(font_manager, "findSystemFonts", lambda: [])
    monkeypatch.setattr(font_manager.fontManager, "ttflist", [*font_manager.fontManager.ttflist])
    yield monkeypatch
    forget()


def write_font(path, family, signs):
    """Write a font that has some characters, all of them squares."""
    pen = TTGlyphPen(None)
    for place in ((0, 0), (0, 500), (500, 500), (500, 0)):
        (pen.moveTo if place == (0, 0) else pen.lineTo)(place)
    pen.closePath()
    square, names = pen.glyph(), [".notdef", *(f"uni{ord(sign):05X}" for sign in signs)]
    builder = FontBuilder(1000, isTTF=True)
    builder.setupGlyphOrder(names)
    builder.setupCharacterMap({ord(sign): name for sign, name in zip(signs, names[1:], strict=True)})
    builder.setupGlyf(dict.fromkeys(names, square))
    builder.setupHorizontalMetrics(dict.fromkeys(names, (600, 0)))
    builder.setupHorizontalHeader(ascent=800, descent=-200)
    builder.setupNameTable({"familyName": family, "styleName": "Regular"})
    builder.setupOS2()
    builder.setupPost()
    builder.save(path)


def test_a_font_that_is_installed_is_found(no_fonts, tmp_path):
    path = tmp_path / "gothic.ttf"
    write_font(path, "Testing Gothic", UNHEARD)
    no_fonts.setattr(font_manager, "findSystemFonts", lambda: [str(path), str(tmp_path / "absent.ttf")])
    assert drawable(f"a{UNHEARD}é") == f"a{UNHEARD}é"
    figure = draw(Chart(UNHEARD, categories([UNHEARD]), Axis(0, 1, "é"), [Points([0], [0.5], UNHEARD)]))
    (axes,) = figure.axes
    assert "Testing Gothic" in axes.title.get_fontfamily()
    assert "Testing Gothic" in axes.get_xticklabels()[0].get_fontfamily()
    figure.savefig(tmp_path / "chart.png")  # a warning of a missing glyph is an error


def test_a_character_that_no_font_has_is_a_square(no_fonts, tmp_path):
    assert drawable(f"a{UNHEARD}\x1b") == "a□\\x1b"
    draw(Chart(UNHEARD, categories([UNHEARD]), Axis(0, 1), [Points([0], [0.5], UNHEARD)])).savefig(
        tmp_path / "chart.svg"
    )
    assert UNHEARD not in (tmp_path / "chart.svg").read_text(encoding="utf-8")


def test_a_font_that_is_gone_is_passed_over(no_fonts, tmp_path):
    path = tmp_path / "gothic.ttf"
    write_font(path, "Testing Gothic", UNHEARD)
    no_fonts.setattr(font_manager, "findSystemFonts", lambda: [str(path)])
    fonts._faces()
    path.unlink()
    assert drawable(UNHEARD) == "□"
