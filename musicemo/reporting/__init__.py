"""Results as blocks of text, tables and charts, built once per kind of result and rendered everywhere.

`sections` builds blocks; `terminal`, `html`, `markdown` and `latex` render them; `tabular` writes JSON and CSV.
"""

from musicemo.reporting.blocks import Page
from musicemo.reporting.html import render
from musicemo.reporting.pages import (
    make_comparison,
    make_cross_page,
    make_report,
    report_finished,
    write_figures,
    write_report,
)
from musicemo.reporting.players import add_players
from musicemo.reporting.sections.gradients import cosine_chart
from musicemo.reporting.sections.tracks import task_figure

__all__ = [
    "Page",
    "add_players",
    "cosine_chart",
    "make_comparison",
    "make_cross_page",
    "make_report",
    "render",
    "report_finished",
    "task_figure",
    "write_figures",
    "write_report",
]
