"""An experiment's name is text, whatever it looks like, wherever it is shown."""

import html
import io
import re

import pytest
from recorded import SETTINGS, write_experiment

from musicemo.comparison import compare, read_replicates
from musicemo.reporting import latex, make_comparison, markdown, render
from musicemo.reporting.blocks import Number, Table
from musicemo.reporting.sections.comparison import comparison_blocks, score_blocks
from musicemo.reporting.terminal import show
from musicemo.terminal import console

NAMES = ["base-x [v-1]", "other-0.5 [bold]"]


@pytest.fixture
def comparison(tmp_path):
    write_experiment(tmp_path, NAMES[0], {"energy": 0.3, "valence": 0.5})
    write_experiment(tmp_path, NAMES[1], {"energy": 0.35, "valence": -5.0})
    return compare([read_replicates(tmp_path / name) for name in NAMES], settings=SETTINGS)


def rows(text, separator, end=""):
    """Return the cells of a table's rows, whichever rows they are."""
    lines = [line.removesuffix(end).strip().strip("|") for line in text.splitlines()]
    return [[cell.strip() for cell in line.split(separator)] for line in lines if separator in line]


def test_a_terminal(comparison):
    file = io.StringIO()
    show(console(file=file, width=100), comparison_blocks(comparison))
    lines = file.getvalue().splitlines()
    assert lines[0] == f"{NAMES[0]}: 3 seeds, test set, 60 tracks"
    for name in NAMES:
        assert len([line for line in lines if re.search(rf"  {re.escape(name)} +-?\d\.\d+ ± ", line)]) == 3
    assert re.search(r"-\d\.\d{3} \[-\d\.\d\d, -\d\.\d\d\]", file.getvalue())


def test_html(comparison, tmp_path):
    page = render(make_comparison([str(tmp_path / name) for name in NAMES]))
    cells = [html.unescape(cell) for cell in re.findall(r"<td[^>]*>(.*?)</td>", page)]
    for name in NAMES:
        assert name in cells
        assert page.count(f">{name}</text>") >= 1
    assert "base−x" not in page
    assert "−1]" not in html.unescape(re.sub(r"<small>.*?</small>", "", page))
    assert re.search(r"<strong>−0\.\d{3} ± 0\.\d{3}</strong> <small>\[−\d\.\d\d, −\d\.\d\d\]</small>", page)


def test_markdown(comparison):
    cells = rows(markdown.render(score_blocks(comparison)), "|")
    assert {row[1] for row in cells} >= set(NAMES)
    assert {len(row) for row in cells} == {5, 3}


def test_latex(comparison):
    cells = rows(latex.render(score_blocks(comparison)), "&", end=r"\\")
    assert {row[1] for row in cells} >= set(NAMES)
    assert any(re.match(r"\$-\$0\.\d{3} \$\\pm\$", row[2]) for row in cells)


def test_cells_that_would_be_markup():
    table = Table(["name", "score"], [["[x](y)", Number(-0.5, -1, -0.25)], ["*a*", Number(None)]])
    assert markdown.render([table]).splitlines()[2:] == [
        r"| [x\](y) | -0.500 [-1.00, -0.25] |",
        r"| \*a\* | n/a |",
    ]
    assert r"{}[x](y) & $-$0.500 [$-$1.00, $-$0.25] \\" in latex.render([table])
