"""Reports: what a run, its replicates or several experiments did, in one HTML file."""

from musicemo.reporting.gradients import cosine_chart
from musicemo.reporting.making import make_comparison, make_report, report_finished, write_figures, write_report
from musicemo.reporting.page import Page, render

__all__ = [
    "Page",
    "cosine_chart",
    "make_comparison",
    "make_report",
    "render",
    "report_finished",
    "write_figures",
    "write_report",
]
