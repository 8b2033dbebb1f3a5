"""Reports from paths to files."""

from __future__ import annotations

import re
import warnings
from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import TYPE_CHECKING, Any

from musicemo.comparison import compare, read_experiments
from musicemo.errors import RunError
from musicemo.files import write_atomically, write_text
from musicemo.reporting.blocks import Notice, Page, render
from musicemo.reporting.charts import draw
from musicemo.reporting.pages import run_page
from musicemo.reporting.sections.comparison import comparison_page
from musicemo.runs import RunRecord, open_replicates

if TYPE_CHECKING:
    from matplotlib.figure import Figure

__all__ = ["make_comparison", "make_report", "report_finished", "write_figures", "write_report"]

_FORMATS = ("png", "svg")
_LONGEST_NAME = 100


def make_report(path: Path) -> Page:
    """Return the report of a run directory, or of an experiment's folder.

    Args:
        path: ``runs/<name>/<run id>``, or ``runs/<name>``, whose runs are replicates; see
            `musicemo.runs.open_replicates`.

    Raises:
        InputError: there is no such run, or it cannot be read.
    """
    return run_page(open_replicates(path, unfinished=True))


def make_comparison(
    given: Sequence[str], *, part: str = "test", baselines: Sequence[str] = (), allow_different: bool = False
) -> Page:
    """Return the report of several experiments beside one another.

    Args:
        given: run directories or experiments' folders, each ``PATH`` or ``NAME=PATH``.
        part: ``train``, ``val`` or ``test``.
        baselines: see `musicemo.comparison.compare`.
        allow_different: whether their parts may differ.

    Raises:
        InputError: what `musicemo.comparison.read_experiments` and `compare` say.
    """
    with warnings.catch_warnings(record=True) as caught:
        warnings.simplefilter("always")
        experiments = read_experiments(given, part)
        settings = experiments[0].records[0].evaluation_settings
        found = compare(experiments, baselines=baselines, settings=settings, allow_different=allow_different)
    return comparison_page(found, [Notice(str(one.message), "warning") for one in caught])


def report_finished(directory: Path, results: dict[str, Any], history: Sequence[Mapping[str, float]]) -> Path:
    """Write `report.html` into the directory of a run that is just being finished; return its path.

    Args:
        directory: the run directory.
        results: what its `results.json` is about to hold.
        history: the epochs' records.
    """
    run = RunRecord(directory, results, history)
    return write_report(run_page([run]), directory / "report.html")


def write_report(page: Page, path: Path) -> Path:
    """Write the page as one HTML file; return its path.

    Raises:
        RunError: it cannot be written.
    """
    write_text(path, render(page))
    return path


def write_figures(page: Page, folder: Path) -> list[Path]:
    """Write each of the page's charts as PNG and SVG; return their paths.

    Raises:
        RunError: the folder or a file cannot be written.
    """
    try:
        folder.mkdir(parents=True, exist_ok=True)
    except OSError as error:
        raise RunError(f"{folder}: cannot be made: {error.strerror}") from error
    written: list[Path] = []
    for name, chart in page.charts():
        stem = re.sub(r"[^\w.-]+", "-", name).strip("-.")[:_LONGEST_NAME] or "chart"
        figure = draw(chart)
        for form in _FORMATS:
            path = _free(folder, stem, form, written)
            _save(figure, path, form)
            written.append(path)
    return written


def _save(figure: Figure, path: Path, form: str) -> None:
    write_atomically(path, lambda file: figure.savefig(file, format=form, dpi=150))


def _free(folder: Path, stem: str, form: str, taken: Sequence[Path]) -> Path:
    """Return a name that no earlier chart has, also where upper and lower case are the same."""
    names = {path.name.casefold() for path in taken}
    number, name = 1, f"{stem}.{form}"
    while name.casefold() in names:
        number += 1
        name = f"{stem}-{number}.{form}"
    return folder / name
