import csv
import io
import json
import math
import re

import pytest
from recorded import SETTINGS, classification, write_experiment, write_run

from musicemo.comparison import Difference, Row, compare, read_replicates
from musicemo.reporting import latex, markdown
from musicemo.reporting.sections.comparison import _of, notes, score_blocks, verdicts
from musicemo.reporting.tabular import comparison_csv, comparison_json


def comparison_markdown(comparison):
    return markdown.render(score_blocks(comparison))


def comparison_latex(comparison):
    return latex.render(score_blocks(comparison))


@pytest.fixture
def found(tmp_path):
    write_experiment(tmp_path, "poor_one", {"energy": 0.3, "valence": 0.5})
    write_experiment(tmp_path, "good", {"energy": 0.35, "valence": 5.0})
    return compare([read_replicates(tmp_path / name) for name in ("poor_one", "good")], settings=SETTINGS)


@pytest.fixture
def undefined(tmp_path):
    """Return a comparison of two experiments that are always right, of one seed: nothing varies."""
    for name in "ab":
        write_run(tmp_path, name, {"genre": classification(20, 1.0 if name == "a" else 0.0, 0)})
    return compare([read_replicates(tmp_path / name) for name in "ab"], settings=SETTINGS)


def test_many_tasks_are_summed_up_by_the_range_of_their_differences():
    low, high, p = math.nan, math.nan, math.nan
    tested = [
        (Row(task, [task], "spearman", "poor", []), Difference("poor", value, low, high, p, corrected, True))
        for task, value, corrected in zip(
            "abcdefg", (0.1, 0.5, 0.3, 0.2, 0.4, -0.3, 0.1), (*[0.01] * 6, 0.2), strict=True
        )
    ]
    assert list(_of("good", tested, 0.05)) == [
        "good is better than poor on a, b, c, d and e (differences from +0.100 to +0.500, p ≤ 0.010).",
        "good is worse than poor on f (-0.300, p = 0.010).",
        "No significant difference between good and poor on g. A difference may still exist.",
    ]
    (text,) = _of("good", tested[:5], 0.05)
    assert "on all 5 tasks (differences from" in text


def test_json(found):
    shape = comparison_json(found)
    assert json.loads(json.dumps(shape, allow_nan=False)) == shape
    assert [one["seeds"] for one in shape["experiments"]] == [[0, 1, 2]] * 2
    row = next(row for row in shape["rows"] if row["task"] == "valence")
    assert row["scores"][0]["difference"] is None
    assert row["scores"][1]["difference"]["paired"] is True
    assert len(row["scores"][1]["values"]) == 3
    assert shape["averages"][0]["tasks"] == ["energy", "valence"]
    assert shape["improvements"][0]["experiment"] == "good"


def test_csv(found):
    rows = list(csv.DictReader(io.StringIO(comparison_csv(found))))
    assert len(rows) == 2 * 2 + 2 + 1
    assert rows[0]["difference_p"] == ""
    assert float(rows[1]["difference_value"]) == found.rows[0].scores[1].difference.value
    assert rows[-1]["metric"] == "delta_m"


def test_markdown_is_tables_of_even_rows(found):
    text = comparison_markdown(found)
    for block in re.findall(r"(?:^\|.*\n)+", text, flags=re.MULTILINE):
        widths = {len(re.findall(r"(?<!\\)\|", line)) for line in block.splitlines()}
        assert len(widths) == 1
    assert r"poor\_one" in text


def test_latex_is_tables_of_even_rows_without_what_latex_would_trip_over(found):
    text = comparison_latex(found)
    assert text.count(r"\begin{tabular}") == text.count(r"\end{tabular}") == 2
    code = "\n".join(line for line in text.splitlines() if not line.startswith("%"))
    assert code.isascii()
    assert not re.search(r"(?<!\\)[%_#<>]", code.replace("$<$", ""))
    for block in re.findall(r"\\toprule\n(.*?)\\bottomrule", code, flags=re.DOTALL):
        assert len({line.count("&") for line in block.splitlines() if line.endswith(r"\\")}) == 1


def test_sentences(found):
    better, open_ = verdicts(found)
    assert re.fullmatch(r"good is better than poor_one on valence \(\+0\.\d{3}, p < 0\.001\)\.", better)
    assert open_ == (
        "No significant difference between good and poor_one on energy. A difference may still exist."
    )
    (note,) = notes(found)
    assert "corrected for 2 tests (Holm)" in note


def test_sentences_of_what_cannot_be_tested(undefined):
    (only,) = verdicts(undefined)
    assert only.startswith("No significant difference between b and a on genre")
    assert notes(undefined)[1].startswith("a and b have one seed")
    assert comparison_json(undefined)["rows"][0]["scores"][1]["difference"]["p"] is None


@pytest.mark.parametrize("write", [comparison_csv, comparison_markdown, comparison_latex])
def test_what_is_not_defined_is_no_number(undefined, write):
    assert "nan" not in write(undefined).replace("nance", "")
