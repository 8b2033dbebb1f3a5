"""Pages of a run, of an experiment's replicates and of a comparison, and their files."""

from __future__ import annotations

import re
from collections.abc import Mapping, Sequence
from dataclasses import replace
from pathlib import Path
from typing import TYPE_CHECKING, Any

from musicemo import __version__
from musicemo.comparison import Comparison, compare, read_experiments
from musicemo.errors import InputError
from musicemo.evaluation import Evaluation
from musicemo.files import make_folder, write_atomically, write_text
from musicemo.messages import withheld
from musicemo.reporting.blocks import Block, Charts, Notice, Page, Section, Tables, Text
from musicemo.reporting.charts import draw
from musicemo.reporting.html import render
from musicemo.reporting.sections import scores, setup, tracks
from musicemo.reporting.sections.analyses import analysis_sections
from musicemo.reporting.sections.comparison import comparison_facts, comparison_sections
from musicemo.reporting.sections.cross import cross_notices, cross_sections
from musicemo.reporting.sections.gradients import gradient_section
from musicemo.reporting.sections.plane import plane_section
from musicemo.reporting.sections.protocol import protocol_section
from musicemo.reporting.sections.replicates import replicate_sections
from musicemo.reporting.sections.search import find_search, search_facts, search_sections, searches_of
from musicemo.reporting.sections.selection import selection_section, transfer_section
from musicemo.reporting.sections.summary import chances, summary
from musicemo.reporting.sections.training import layers_section, training_section, weights_section
from musicemo.reporting.words import SETS, headline_part, listed, plural
from musicemo.runs import RunRecord, open_replicates
from musicemo.runs.search import SearchRecord

if TYPE_CHECKING:
    from matplotlib.figure import Figure

    from musicemo.running.cross import Cross

__all__ = [
    "make_comparison",
    "make_cross_page",
    "make_report",
    "report_finished",
    "run_page",
    "write_figures",
    "write_report",
]

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
    search = find_search(path)
    if search is None:
        return run_page(open_replicates(path, unfinished=True))
    sections = search_sections(search)
    if not any(path.glob("*/results.json")):  # no trial was evaluated on the test set yet
        return _search_page(path, search, sections)
    page = run_page(open_replicates(path, unfinished=True))
    return replace(page, sections=[*page.sections[:1], *sections, *page.sections[1:]])


def _search_page(path: Path, search: SearchRecord, sections: Sequence[Section]) -> Page:
    """Return the page of a search whose best trial is not evaluated yet."""
    return Page(
        kind="search",
        title=path.name,
        description="",
        status="running" if any(study.of("running") for study in search.studies) else "unfinished",
        facts=search_facts(search),
        notices=[Notice("The search is not finished: no trial was evaluated on the test set.")],
        sections=[section for section in sections if section.blocks],
        footer=[f"Made by musicemo {__version__} from {path}"],
    )


def make_comparison(
    paths: Sequence[str], *, part: str = "test", baselines: Sequence[str] = (), allow_different: bool = False
) -> Page:
    """Return the report of several experiments beside one another.

    Args:
        paths: Run directories or experiments' folders, each ``PATH`` or ``NAME=PATH``.
        part: ``train``, ``val`` or ``test``.
        baselines: see `musicemo.comparison.compare`.
        allow_different: whether their parts may differ.

    Raises:
        InputError: See `musicemo.comparison.read_experiments` and `compare`.
    """
    with withheld() as messages:
        experiments = read_experiments(paths, part)
        settings = experiments[0].records[0].evaluation_settings
        comparison = compare(
            experiments, baselines=baselines, settings=settings, allow_different=allow_different
        )
    page = _comparison_page(comparison, [Notice(text, "warning") for text in messages.texts])
    searches = [
        section for name, search in searches_of(comparison).items() for section in search_sections(search, name)
    ]
    return replace(page, sections=[*page.sections, *(section for section in searches if section.blocks)])


def make_cross_page(cross: Cross) -> Page:
    """Return the page of crossed datasets."""
    return Page(
        kind="cross",
        title=cross.name,
        description=f"Trained on each of {listed([one.name for one in cross.datasets])}, tested on each",
        status="",
        facts=[
            ("datasets", str(len(cross.datasets))),
            ("shared tasks", str(len(cross.tasks))),
            ("runs", str(sum(len(one.runs) for one in cross.trained))),
            ("confidence", f"{100 * cross.confidence:g} %"),
        ],
        notices=cross_notices(cross),
        sections=[section for section in cross_sections(cross) if section.blocks],
        footer=[f"Made by musicemo {__version__}"],
    )


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
    write_text(path, render(page, path.parent))
    return path


def write_figures(page: Page, folder: Path) -> list[Path]:
    """Write each of the page's charts as PNG and SVG; return their paths.

    Raises:
        RunError: the folder or a file cannot be written.
    """
    make_folder(folder)
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


def _comparison_page(comparison: Comparison, notices: Sequence[Notice]) -> Page:
    names = [one.name for one in comparison.experiments]
    few = len(names) < 4
    return Page(
        kind="comparison",
        title=" · ".join(names) if few else "Comparison",
        description="" if few else ", ".join(names),
        status="",
        facts=comparison_facts(comparison),
        notices=notices,
        sections=[section for section in comparison_sections(comparison) if section.blocks],
        footer=[f"Made by musicemo {__version__}"],
    )


def run_page(runs: Sequence[RunRecord]) -> Page:
    """Return the page of one experiment.

    Args:
        runs: a run, or replicates: other seeds and folds of it.
    """
    first = runs[0]
    notices = list(setup.notices(runs))
    sections = [
        *_results(runs, notices),
        protocol_section(runs),
        training_section(runs),
        weights_section(runs),
        layers_section(runs),
        gradient_section(runs),
        selection_section(first.results),
        transfer_section(first.results),
        *([_others(first)] if len(runs) == 1 else []),
        setup.setup(runs),
        setup.environment(runs),
    ]
    statuses = {run.status for run in runs}
    page = Page(
        kind="run" if len(runs) == 1 else plural(len(runs), "run") + " of one experiment",
        title=first.name,
        description=str(first.experiment.get("description") or ""),
        status=statuses.pop() if len(statuses) == 1 else "unfinished",
        facts=setup.headline(runs),
        notices=notices,
        sections=[section for section in sections if section.blocks],
        footer=[
            f"Made by musicemo {__version__} from {first.directory if len(runs) == 1 else first.directory.parent}"
        ],
    )
    return page.with_descriptions({track: text for run in runs for track, text in run.described.items()})


def _results(runs: Sequence[RunRecord], notices: list[Notice]) -> list[Section]:
    done = [run for run in runs if run.metrics]
    part = headline_part(done[0].metrics) if done else ""
    if not part:
        return []
    if part != "test":
        trial = done[0].results.get("search")
        problem = "A trial of a search is not evaluated on the test set" if trial else "The run has no test set"
        notices.append(
            Notice(f"{problem}: these are the metrics of the {SETS[part]}.", "note" if trial else "warning")
        )
    if len(done) > 1:
        return replicate_sections(done, part, notices)
    run = done[0]
    metrics = run.metrics[part]
    confidence = (run.experiment.get("evaluation") or {}).get("confidence", 0.95)
    count = max((task.get("tracks", 0) for task in metrics.values()), default=0)
    noun = "pair" if all(task["kind"] == "pairs" for task in run.tasks.values()) else "track"
    lead = Text(
        f"{_model(run)} on the {SETS[part]}, {plural(count, noun)}. Brackets show "
        f"{100 * confidence:g} % bootstrap intervals over the {noun}s."
    )
    evaluation = _evaluation(run, part, notices)
    words = summary(metrics, evaluation, run.results, part)
    forests = scores.forests(metrics, chances(evaluation))
    sections = [Section("Results", [*words, lead, forests, *scores.metric_tables(metrics)])]
    blocks: list[Block]
    if charts := tracks.prediction_charts(evaluation, "regression", metrics, run.tasks):
        sections.append(Section("Predicted against true", [Charts(charts, note=tracks.DOTS)]))
    sections.append(tracks.series_section(evaluation, run.tasks, metrics, part))
    sections.append(plane_section(evaluation, run.tasks))
    confusions = tracks.prediction_charts(evaluation, "classification", metrics, run.tasks)
    classes = list(scores.class_tables(metrics))
    blocks = [Charts(confusions, note=tracks.CONFUSION)] if confusions else []
    sections.append(Section("Classes", [*blocks, *([Tables(classes)] if classes else [])]))
    charts = tracks.prediction_charts(evaluation, "tags", metrics, run.tasks)
    tables = list(scores.tag_tables(metrics))
    blocks = [Charts(charts, note=tracks.TAG_CHART)] if charts else []
    sections.append(Section("Tags", [*blocks, *([Tables(tables)] if tables else [])]))
    if charts := tracks.prediction_charts(evaluation, "pairs", metrics, run.tasks):
        sections.append(Section("Pairs", [Charts(charts, note=tracks.PAIR_CHART)]))
    readable = run.evaluations if evaluation.tasks else {}  # a damaged file is in the notices
    labels = {one: readable[one] for one in ("train", part) if one in readable}
    about = [
        tracks.worst_tracks(evaluation),
        tracks.other_tracks(evaluation),
        tracks.label_section(labels, run.tasks),
    ]
    return [*sections, *about, *analysis_sections(run.results, part)]


def _model(run: RunRecord) -> str:
    if ensemble := run.results.get("ensemble"):
        return f"Mean predictions of {len(ensemble['members'])} runs"
    return "The model" if run.fitted else "The best epoch's weights"


def _others(run: RunRecord) -> Section:
    part = headline_part(run.metrics)
    tables = [
        table
        for other in ("val", "train")
        if other in run.metrics and other != part
        for table in scores.metric_tables(run.metrics[other], SETS[other].capitalize())
    ]
    return Section("Other sets", tables)


def _evaluation(run: RunRecord, part: str, notices: list[Notice]) -> Evaluation:
    try:
        return run.evaluations.get(part, Evaluation())
    except InputError as error:
        notices.append(Notice(str(error), "warning"))
        return Evaluation()
