import subprocess
import sys
from itertools import pairwise
from xml.etree import ElementTree

import pytest
from some_charts import ALL, FOREST, LINES, MATRIX

from musicemo.reporting.charts import draw


@pytest.mark.slow
@pytest.mark.parametrize("name", ALL)
@pytest.mark.parametrize("form", ["png", "svg"])
def test_every_mark_is_drawn(name, form, tmp_path):
    draw(ALL[name]).savefig(tmp_path / "chart", format=form, dpi=40)
    assert (tmp_path / "chart").stat().st_size > 1000
    if form == "svg":
        ElementTree.parse(tmp_path / "chart")


def test_axes_are_those_of_the_chart():
    (axes,) = draw(LINES).axes
    assert axes.get_title() == "loss\nseed 0"
    assert (axes.get_xlabel(), axes.get_ylabel()) == ("epoch", "loss")
    assert (axes.get_xlim(), axes.get_ylim()) == ((LINES.x.low, LINES.x.high), (LINES.y.low, LINES.y.high))
    assert axes.get_yscale() == "log"
    assert [label.get_text() for label in axes.get_yticklabels()] == [text for _, text in LINES.y.ticks()]
    assert [text.get_text() for text in axes.get_legend().get_texts()] == [
        "best: 3",
        "chance",
        "training",
        "best epoch",
        "worst",
    ]


def test_rows_of_a_matrix_run_downwards():
    axes = draw(MATRIX).axes[0]
    assert axes.get_ylim() == (1.5, -0.5)
    assert [text.get_text() for text in axes.texts] == ["1", "−0.5", "0", "−1"]


def test_intervals_are_where_they_are_known():
    (axes,) = draw(FOREST).axes
    assert [list(line.get_xdata()) for line in axes.lines[1:]] == [[0.1, 0.9], [0.5, 0.2]]


def test_colours_of_series_differ_for_the_colour_blind():
    """Machado, Oliveira, Fernandes (2009): full deuteranopia, in linear RGB; a step of lightness or hue remains."""
    import numpy as np

    from musicemo.reporting.charts.figure import PALETTE

    simulate = np.array(
        [[0.367322, 0.860646, -0.227968], [0.280085, 0.672501, 0.047413], [-0.011820, 0.042940, 0.968881]]
    )
    colours = np.array([[int(text[k : k + 2], 16) / 255 for k in (1, 3, 5)] for text in PALETTE[:4]])
    seen = np.clip((colours**2.2) @ simulate.T, 0, 1) ** (1 / 2.2)
    assert min(np.linalg.norm(a - b) for a, b in pairwise(seen)) > 0.15


@pytest.mark.slow
def test_no_window_and_no_pyplot():
    code = """if True:
        import sys
        import musicemo.reporting.charts as charts
        assert "matplotlib" not in sys.modules, "drawing alone imports it"
        charts.draw(charts.Chart("x", charts.Axis(0, 1), charts.Axis(0, 1), []))
        assert "matplotlib" in sys.modules and "matplotlib.pyplot" not in sys.modules
    """
    done = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, check=False)
    assert done.returncode == 0, done.stderr
