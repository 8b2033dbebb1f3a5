import re
from dataclasses import replace
from xml.etree import ElementTree

import pytest
from some_charts import ALL, EVIL, FOREST, LINES, MATRIX

from musicemo.reporting.charts import Axis, Band, Chart, Line, categories, draw, legend, to_svg
from musicemo.terminal import visible


def parse(chart):
    return ElementTree.fromstring(to_svg(chart))


def texts(chart, kind):
    return [element.text for element in parse(chart).iter("text") if element.get("class") == kind]


def paths(chart, kind):
    return [
        element.get("d") for element in parse(chart).iter("path") if kind in element.get("class", "").split()
    ]


@pytest.mark.parametrize("chart", [LINES, MATRIX, FOREST], ids=["lines", "matrix", "forest"])
def test_it_is_xml_whose_colours_are_left_to_the_page(chart):
    text = to_svg(chart)
    root = ElementTree.fromstring(text)
    assert root.get("role") == "img"
    assert root.get("aria-label") == chart.title
    assert not re.search(r"#[0-9a-f]{3}|rgb|style=|href|nan|inf", text)


def test_everything_drawn_lies_in_the_picture():
    for chart in (LINES, MATRIX, FOREST):
        root = parse(chart)
        _, _, width, height = map(float, root.get("viewBox").split())
        for circle in root.iter("circle"):
            assert 0 <= float(circle.get("cx")) <= width
            assert 0 <= float(circle.get("cy")) <= height
        for text in root.iter("text"):
            assert 0 <= float(text.get("x")) <= width
            assert 0 <= float(text.get("y")) <= height


def test_a_line_breaks_where_nothing_is_known_and_single_values_are_dots():
    (line,) = paths(LINES, "c1")
    assert line.count("M") == 3
    assert line.count("h0") == 3


BAND = Chart(
    "x", Axis(0, 10), Axis(0, 1), [Band([0, 5, 7, 10], [0, 0.5, None, 0], [0.5, 1, None, 1], "error", 1)]
)


def test_a_band_is_the_area_between_two_lines_and_breaks_where_they_do():
    (band,) = paths(BAND, "area")
    first, second = band.removeprefix("M").removesuffix("z").split("zM")
    places = [tuple(map(float, pair.split())) for pair in first.split("L")]
    assert [x for x, _ in places] == [32, 191, 191, 32]
    heights = [(y - 8) / (0.62 * (350 - 32)) for _, y in places]
    assert heights == pytest.approx([1, 0.5, 0, 0.5], abs=1e-3)
    assert [pair.split()[0] for pair in second.split("L")] == ["350", "350"]
    assert [label for _, label in legend(BAND)] == ["error"]
    (axes,) = draw(BAND).axes
    assert [len(one.vertices) for one in axes.collections[0].get_paths()] == [7, 5]
    assert [text.get_text() for text in axes.get_legend().get_texts()] == ["error"]


def test_values_stand_where_the_axis_says():
    chart = Chart("x", Axis(0, 10), Axis(0, 1), [Line([0, 10], [0, 1])])
    (line,) = paths(chart, "line")
    (x0, y0), (x1, y1) = (map(float, pair.split()) for pair in line.removeprefix("M").split("L"))
    assert (x0, x1) == (8 + 4 * 6, 350)
    assert (y0, y1) == (pytest.approx(8 + 0.62 * (350 - 32), abs=0.1), 8)
    (line,) = paths(replace(chart, downwards=True), "line")
    assert float(line.split("L")[0].split()[1]) == 8


def test_cells_are_drawn_by_sign_and_strength_and_nothing_is_drawn_for_zero_or_nan():
    root = parse(MATRIX)
    cells = [path for path in root.iter("path") if "cell" in path.get("class").split()]
    found = [(path.get("class"), path.get("opacity"), path.get("d").count("M")) for path in cells]
    assert found == [
        ("cell plus", "0.26", 1),
        ("cell plus", "0.85", 1),
        ("cell minus", "0.42", 1),
        ("cell minus", "0.85", 1),
    ]
    assert texts(MATRIX, "value") == ["1", "−0.5", "0", "−1"]


def test_long_names_are_cut_turned_and_told_in_full():
    chart = Chart("x", categories(["a rather long name of a task", *"abcd"]), Axis(0, 1), [])
    (element,) = (text for text in parse(chart).iter("text") if (text.text or "").startswith("a rath"))
    assert element.text == "a rather…f a task"
    assert element.get("transform").startswith("rotate(-45")
    assert element.find("title").text == "a rather long name of a task"


def test_short_names_stand_upright():
    chart = Chart("x", categories(["a", "b"]), Axis(0, 1), [])
    assert "rotate" not in to_svg(chart)


def test_an_interval_has_whiskers_where_it_is_known_and_a_value_a_dot():
    assert len(paths(FOREST, "whisker")) == 1
    titles = [title.text for title in parse(FOREST).iter("title")]
    assert titles == ["0.500 [0.10, 0.90]", "0.200"]


def test_a_legend_names_each_series_once():
    twice = replace(LINES, marks=[*LINES.marks, *LINES.marks])
    assert [label for _, label in legend(twice)] == ["training", "best epoch", "worst"]
    for drawn, _ in legend(twice):
        assert ElementTree.fromstring(drawn).get("aria-hidden") == "true"


def test_hostile_names_are_text():
    text = to_svg(EVIL)
    root = ElementTree.fromstring(text)
    assert visible(text) == text
    assert "\\x00\\x1b[2J" in root.get("aria-label")
    assert not list(root.iter("script"))
    assert "<script" not in text


@pytest.mark.parametrize("name", ALL)
def test_it_is_small(name):
    assert len(to_svg(ALL[name])) < 4000
