"""Reports: what a run, its replicates or several experiments did, in one HTML file."""

from musicemo.reporting.blocks import Page, render
from musicemo.reporting.making import make_comparison, make_report, report_finished, write_figures, write_report
from musicemo.reporting.sections.gradients import cosine_chart
from musicemo.reporting.sections.tracks import task_figure

__all__ = [
    "Page",
    "cosine_chart",
    "make_comparison",
    "make_report",
    "render",
    "report_finished",
    "task_figure",
    "write_figures",
    "write_report",
]
