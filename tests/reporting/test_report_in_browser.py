"""Reports as a browser shows them; skipped where there is no Chromium."""

import json
import time
from itertools import pairwise

import numpy as np
import pytest
import soundfile
from browser import Browser, find_chromium
from recorded_runs import write_run

from musicemo.evaluation import Evaluation, TaskEvaluation
from musicemo.reporting import make_report, write_report
from musicemo.reporting.charts import Excerpt

CHROMIUM = find_chromium()
pytestmark = pytest.mark.skipif(CHROMIUM is None, reason="needs Chromium (apt-get install chromium)")

WIDE, PHONE = 1440, 360

OVERFLOWING = """
[...document.querySelectorAll("main *, header *, footer *")]
    .filter(e => !e.closest(".scroll, pre, svg") && e.getBoundingClientRect().right > innerWidth + 1)
    .map(e => e.outerHTML.slice(0, 100))
"""

CONTRAST = """
(() => {
    const canvas = document.createElement("canvas").getContext("2d", {willReadFrequently: true});
    const rgb = colour => {
        canvas.clearRect(0, 0, 1, 1); canvas.fillStyle = colour; canvas.fillRect(0, 0, 1, 1);
        return [...canvas.getImageData(0, 0, 1, 1).data].slice(0, 3);
    };
    const luminance = colour => {
        const linear = v => v <= 0.04045 ? v / 12.92 : ((v + 0.055) / 1.055) ** 2.4;
        const [r, g, b] = rgb(colour).map(v => linear(v / 255));
        return 0.2126 * r + 0.7152 * g + 0.0722 * b;
    };
    const paper = luminance(getComputedStyle(document.body).backgroundColor);
    const ratio = colour => {
        const one = luminance(colour);
        return (Math.max(one, paper) + 0.05) / (Math.min(one, paper) + 0.05);
    };
    const found = {};
    const texts = "p, h1, h2, h3, dt, dd, th, td, small, a, summary, figcaption span, li, .status";
    for (const e of document.querySelectorAll(texts))
        found[e.tagName + "." + e.className] = ratio(getComputedStyle(e).color);
    for (const e of document.querySelectorAll(".tick, .axis, .note"))
        found["svg ." + e.getAttribute("class")] = ratio(getComputedStyle(e).fill);
    const marks = {};
    for (const e of document.querySelectorAll(".line, .ring, .whisker"))
        marks[e.getAttribute("class")] = ratio(getComputedStyle(e).stroke);
    return {texts: found, marks};
})()
"""


@pytest.fixture(scope="module")
def browser():
    with Browser(str(CHROMIUM)) as found:
        yield found


@pytest.fixture(scope="module")
def report(tmp_path_factory):
    """Return a report with something in every section, and names that are too long for any screen."""
    long = "a" + "_very" * 30 + "_long_name"
    folder = tmp_path_factory.mktemp("runs") / "written"
    genres = ["Folk", long, "Rock", *(f"genre {number}" for number in range(9))]
    directory = write_run(folder, epochs=30, genres=genres, warnings=[long, "something was odd"])
    return write_report(make_report(directory), directory / "report.html")


VIEWS = [(WIDE, False), (WIDE, True), (PHONE, False), (PHONE, True), (768, False)]


@pytest.fixture(params=VIEWS, ids=lambda view: f"{view[0]}-{'dark' if view[1] else 'light'}")
def view(request, browser, report):
    width, dark = request.param
    browser.open(report, width=width, dark=dark)
    return browser


@pytest.mark.slow
def test_nothing_is_logged_refused_or_fetched(view, report):
    assert view.messages == []
    assert view.requests == [report.resolve().as_uri()]


@pytest.mark.slow
def test_the_page_is_not_wider_than_the_window(view):
    assert view.evaluate("document.documentElement.scrollWidth - innerWidth") <= 0
    assert view.evaluate(OVERFLOWING) == []


@pytest.mark.slow
def test_no_column_of_a_table_is_cut_off_on_a_phone(browser, tmp_path):
    directory = write_run(tmp_path / "runs" / "written")
    page = make_report(directory)
    page = page.with_descriptions(dict.fromkeys(page.tracks, "A Rather Long Name of a Band, Rock"))
    page = page.with_players({track: Excerpt(tmp_path / "1.mp3") for track in page.tracks})
    browser.open(write_report(page, directory / "report.html"), width=PHONE)
    browser.evaluate("document.querySelectorAll('details').forEach(one => one.open = true)")
    cut = "[...document.querySelectorAll('.scroll')].filter(one => one.scrollWidth > one.clientWidth + 1)"
    assert browser.evaluate(f"{cut}.map(one => one.textContent.slice(0, 80))") == []
    assert browser.evaluate("document.querySelectorAll('.cards').length") > 3


def test_charts_are_there_with_a_size_and_their_texts_can_be_read(view):
    sizes = view.evaluate(
        "[...document.querySelectorAll('svg.chart')].map(e => e.getBoundingClientRect())"
        ".map(box => [box.width, box.height])"
    )
    assert len(sizes) > 8
    assert all(250 <= width <= 480 and height >= 50 for width, height in sizes)
    heights = view.evaluate(
        "[...document.querySelectorAll('svg.chart text')].map(e => [e.getBBox().height, e.getScreenCTM()])"
        ".map(([height, m]) => height * Math.sqrt(m.a * m.d - m.b * m.c)).filter(height => height < 9)"
    )
    assert heights == []


def test_texts_and_lines_stand_out_from_the_page(view):
    """4.5 to 1 for texts and 3 to 1 for what is drawn, as the Web Content Accessibility Guidelines want (AA)."""
    found = view.evaluate(CONTRAST)
    assert {name: ratio for name, ratio in found["texts"].items() if ratio < 4.5} == {}
    marks = {name: ratio for name, ratio in found["marks"].items() if "faint" not in name}
    assert len(marks) > 2
    assert {name: ratio for name, ratio in marks.items() if ratio < 3} == {}


def test_the_theme_is_the_readers(browser, report):
    papers = []
    for dark in (False, True):
        browser.open(report, width=WIDE, dark=dark)
        papers.append(browser.evaluate("getComputedStyle(document.body).backgroundColor"))
    assert papers == ["rgb(255, 255, 255)", "rgb(19, 22, 26)"]


def test_paper_is_white_whatever_the_theme(browser, report):
    browser.open(report, width=WIDE, dark=True, media="print")
    assert browser.evaluate("getComputedStyle(document.body).backgroundColor") == "rgb(255, 255, 255)"
    assert browser.evaluate("getComputedStyle(document.querySelector('nav')).display") == "none"


def test_contents_stand_beside_the_text_or_are_folded_above_it(browser, report):
    shown = "getComputedStyle(document.querySelector('nav .{}')).display !== 'none'"
    for width, wide in ((WIDE, True), (PHONE, False)):
        browser.open(report, width=width)
        assert [browser.evaluate(shown.format(name)) for name in ("wide", "narrow")] == [wide, not wide]


def test_the_page_has_an_outline_and_what_scrolls_can_be_reached_by_keyboard(browser, report):
    browser.open(report, width=PHONE)
    assert browser.evaluate("document.documentElement.lang") == "en"
    assert browser.evaluate("document.querySelectorAll('h1').length") == 1
    levels = browser.evaluate("[...document.querySelectorAll('h1, h2, h3')].map(e => +e.tagName[1])")
    assert all(after - before <= 1 for before, after in pairwise(levels))
    assert browser.evaluate(
        "[...document.querySelectorAll('.scroll, pre')].every(e => e.closest('[tabindex]'))"
    )


@pytest.mark.slow
@pytest.mark.parametrize("width", [WIDE, PHONE])
def test_players_load_their_files_when_they_are_played_and_fit_the_window(browser, tmp_path, width):
    directory = write_run(tmp_path / "runs" / "written")
    page = make_report(directory)
    file = tmp_path / "audio" / "1.wav"
    file.parent.mkdir()
    soundfile.write(file, np.sin(np.arange(16000)), 8000)
    path = write_report(page.with_players(dict.fromkeys(page.tracks, Excerpt(file))), tmp_path / "page.html")
    browser.open(path, width=width)
    assert browser.evaluate("document.querySelectorAll('audio').length") >= len(page.tracks) > 5
    assert [one for one in browser.requests if not one.startswith("data:")] == [path.resolve().as_uri()]
    assert browser.evaluate("document.documentElement.scrollWidth - innerWidth") <= 0
    assert browser.evaluate(OVERFLOWING) == []
    browser.evaluate("player = document.querySelector('audio[src]'); player.preload = 'auto'; player.load()")
    until = time.monotonic() + 20
    while not browser.evaluate("player.readyState || player.error?.code") and time.monotonic() < until:
        time.sleep(0.05)
    assert browser.evaluate("player.duration") == 2
    assert browser.messages == []


@pytest.fixture
def heard(tmp_path):
    """Return a report with a plane of emotions and a curve over time, whose tracks can be heard for two seconds."""
    ids = [f"test{number:03d}" for number in range(9)]
    random = np.random.default_rng(0)
    tasks = {}
    for name in ("valence", "energy"):
        tasks[name] = TaskEvaluation("regression", ids, *random.uniform(1, 9, size=(2, len(ids))))
    rated = [np.arange(0.5, 3.0, 0.5), np.array([2.0, 4.0, 3.0, 5.0, 6.0])]
    tasks["tension"] = TaskEvaluation.of_series(["test000"], *([one] for one in (*rated, rated[1] / 2)))
    kinds = {name: {"kind": task.kind, "target": name, "range": [1.0, 9.0]} for name, task in tasks.items()}
    directory = write_run(tmp_path / "runs" / "written", parts={"test": Evaluation(tasks)}, tasks=kinds)
    page = make_report(directory)
    file = tmp_path / "audio" / "1.wav"
    file.parent.mkdir()
    soundfile.write(file, np.sin(np.arange(16000)), 8000)
    excerpts = {track: Excerpt(file, 0.5 if track == "test000" else 0.0) for track in page.tracks}
    return write_report(page.with_players(excerpts), tmp_path / "page.html")


def until(browser, expression):
    """Wait until an expression is true in the page."""
    end = time.monotonic() + 20
    while not browser.evaluate(expression):
        assert time.monotonic() < end, expression
        time.sleep(0.02)


def press(browser, key):
    for kind in ("keyDown", "keyUp"):
        browser.call("Input.dispatchKeyEvent", type=kind, key=key, text="\r" if key == "Enter" else "")


@pytest.mark.slow
def test_points_play_their_tracks_when_they_are_clicked_or_chosen_by_keyboard(browser, heard):
    browser.open(heard, width=WIDE)
    assert (
        browser.evaluate(
            "(root = document.querySelector('#plane-of-valence-and-energy .heard')).querySelectorAll('.plays').length"
        )
        == 18
    )
    browser.evaluate(
        "player = root.querySelector('audio'); points = [...root.querySelectorAll('.dot.plays')]; 0"
    )
    assert (
        browser.evaluate("[...root.querySelectorAll('.plays')].filter(one => one.tabIndex === 0).length") == 1
    )
    x, y = browser.evaluate(
        "points[3].scrollIntoView({block: 'center'}), (box => [box.x + box.width / 2, box.y + box.height / 2])"
        "(points[3].getBoundingClientRect())"
    )
    for kind in ("mousePressed", "mouseReleased"):
        browser.call("Input.dispatchMouseEvent", type=kind, x=x, y=y, button="left", clickCount=1)
    until(browser, "player.currentTime > 0 && !player.paused")
    caption = "root.querySelector('.playing-now').textContent"
    assert browser.evaluate(caption).startswith("test003: valence ")
    assert browser.evaluate("root.querySelectorAll('.chosen').length") == 18  # all tracks have one file here
    browser.evaluate("points[3].focus()")
    press(browser, "ArrowRight")
    focused = browser.evaluate("document.activeElement.querySelector('title').textContent")
    assert not focused.startswith("test003")
    assert browser.evaluate("document.activeElement.cx.baseVal.value > points[3].cx.baseVal.value")
    press(browser, "Enter")
    until(browser, f"{caption} === {json.dumps(focused)}")
    assert browser.messages == []


@pytest.mark.slow
def test_a_cursor_follows_the_player_of_a_curve_and_a_click_moves_both(browser, heard):
    browser.open(heard, width=WIDE)
    browser.evaluate(
        "figure = document.querySelector('figure.heard'); player = figure.querySelector('audio'); 0"
    )
    browser.evaluate("cursor = figure.querySelector('.cursor'); places = JSON.parse(cursor.dataset.x); 0")
    assert browser.evaluate("getComputedStyle(cursor).display") == "none"
    x, y = browser.evaluate(
        "figure.scrollIntoView({block: 'center'}), (m => [m.a * (places[0] + places[1]) / 2 + m.e, m.d * 40 + m.f])"
        "(figure.querySelector('svg.chart').getScreenCTM())"
    )
    for kind in ("mousePressed", "mouseReleased"):
        browser.call("Input.dispatchMouseEvent", type=kind, x=x, y=y, button="left", clickCount=1)
    until(browser, "player.currentTime > 1 && !player.paused")  # the middle of 0.5 to 2.5 s, less the start
    browser.evaluate("player.pause(); player.currentTime = 1.5; 0")
    expected = "places[0] + 0.75 * (places[1] - places[0])"
    until(browser, f"Math.abs(cursor.transform.baseVal[0].matrix.e - ({expected})) < 0.5")
    assert browser.evaluate("getComputedStyle(cursor).display") == "inline"
    assert browser.messages == []


def test_nothing_hostile_is_executed(browser, tmp_path):
    evil = '<img src=x onerror="document.title = 1"><script>document.title = 2</script>'
    directory = write_run(
        tmp_path / "runs" / "written", genres=[evil, "b", "c"], warnings=[evil], name=evil, error=evil
    )
    browser.open(write_report(make_report(directory), directory / "report.html"), width=WIDE)
    assert browser.evaluate("document.title").startswith("<img")
    assert browser.evaluate("document.querySelectorAll('img, script').length") == 0
    assert (browser.messages, len(browser.requests)) == ([], 1)


@pytest.mark.slow
def test_colours_of_figures_in_files_are_those_of_the_light_theme(browser, report):
    from musicemo.reporting.charts.figure import PALETTE

    browser.open(report, width=WIDE)
    style = "getComputedStyle(document.documentElement)"
    found = [browser.evaluate(f"{style}.getPropertyValue('--c{number}').trim()") for number in range(8)]
    assert tuple(found) == PALETTE
