"""What ``musicemo run`` prints beside the metrics."""

from __future__ import annotations

import io

import pytest
from rich.console import Console

from musicemo.reporting.sections.analyses import analysis_sections
from musicemo.reporting.terminal import show

INTERVAL = {"value": 0.5, "low": 0.31, "high": 0.66}
RELIABILITY = {
    "calmness": {
        "spearman": {
            "reliability": INTERVAL,
            "ceiling": 0.707,
            "reached": {"test": {**INTERVAL, "value": 0.814}},
        }
    },
    "power": {"spearman": {"reliability": INTERVAL, "ceiling": None, "reached": {"test": {"value": None}}}},
}
SCORES = {"spearman": INTERVAL, "group_alone": INTERVAL, "gain": INTERVAL, "within": INTERVAL}
CONTROLLED = {
    "by": "genre",
    "parts": {
        "test": {"calmness": SCORES, "power": {**SCORES, "within": {"value": 0.1, "low": -0.2, "high": 0.3}}}
    },
}
CALIBRATION = {
    "method": "affine",
    "tasks": {
        "calmness": {
            "parts": {
                "test": {name: {"before": 0.25, "after": 0.125} for name in ("rmse", "mae", "ccc", "spearman")}
            }
        },
        "power": {"skipped": "there is no validation part"},
    },
}


def printed(results, part="test") -> str:
    text = io.StringIO()
    blocks = [block for section in analysis_sections(results, part) for block in section.blocks]
    show(Console(file=text, width=100), blocks)
    return text.getvalue()


def test_ceilings():
    lines = printed({"reliability": RELIABILITY}).splitlines()
    assert lines[0] == "Noise ceiling of Spearman's rho"
    assert lines[2].split() == ["calmness", "0.500", "[0.31,", "0.66]", "0.707", "81", "%"]
    assert lines[3].split()[-2:] == ["n/a", "n/a"]


def test_scores_within_genres_and_who_is_caught():
    text = printed({"controlled": CONTROLLED})
    assert "Spearman's rho compared with predicting from the genre only" in text
    assert text.splitlines()[-1] == (
        "No significant rank correlation within a genre: power. The model may only recognize the genre."
    )


def test_calibration_and_what_is_not_calibrated():
    text = printed({"calibration": CALIBRATION})
    assert "calmness  0.250 → 0.125" in text
    assert text.splitlines()[-1] == "power is not calibrated: there is no validation part."


@pytest.mark.parametrize(
    "results", [{}, {"reliability": RELIABILITY, "controlled": CONTROLLED, "selection": {"chosen": 3}}]
)
def test_nothing_where_there_is_nothing(results):
    assert printed(results, "val") == ""
