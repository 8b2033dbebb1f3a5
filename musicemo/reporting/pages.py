"""The page of one experiment: a run, or its seeds and folds."""

from __future__ import annotations

from collections.abc import Sequence

from musicemo import __version__
from musicemo.errors import InputError
from musicemo.evaluation import Evaluation
from musicemo.reporting.blocks import Block, Charts, Notice, Page, Section, Tables, Text
from musicemo.reporting.sections import scores, setup, training
from musicemo.reporting.sections.analyses import analysis_sections
from musicemo.reporting.sections.gradients import gradient_blocks
from musicemo.reporting.sections.replicates import replicate_sections
from musicemo.reporting.sections.selection import extra_sections
from musicemo.reporting.words import PARTS, plural
from musicemo.runs import RunRecord

__all__ = ["run_page"]


def run_page(runs: Sequence[RunRecord]) -> Page:
    """Return the page of one experiment.

    Args:
        runs: a run, or replicates: other seeds and folds of it.
    """
    first = runs[0]
    notices = list(setup.notices(runs))
    sections = [
        *_results(runs, notices),
        _training(runs),
        _weighting(runs),
        _gradients(runs),
        *extra_sections(first),
        *([_others(first)] if len(runs) == 1 else []),
        setup.setup(runs),
        setup.environment(runs),
    ]
    statuses = {run.status for run in runs}
    return Page(
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


def _results(runs: Sequence[RunRecord], notices: list[Notice]) -> list[Section]:
    done = [run for run in runs if run.metrics]
    part = scores.headline_part(done[0].metrics) if done else ""
    if not part:
        return []
    if part != "test":
        notices.append(
            Notice(f"There is no test part: these are the metrics of the {PARTS[part]} part.", "warning")
        )
    if len(done) > 1:
        return replicate_sections(done, part, notices)
    run = done[0]
    metrics = run.metrics[part]
    confidence = (run.experiment.get("evaluation") or {}).get("confidence", 0.95)
    tracks = max((found.get("tracks", 0) for found in metrics.values()), default=0)
    lead = Text(
        f"The best epoch's weights on the {PARTS[part]} part, {plural(tracks, 'track')}; in brackets, "
        f"{confidence:.0%} bootstrap intervals over its tracks."
    )
    found = [Section("Results", [lead, scores.forests(metrics), *scores.metrics_tables(metrics)])]
    evaluation = _evaluation(run, part, notices)
    if charts := scores.predictions(evaluation, "regression", metrics, run.tasks):
        note = (
            "Dots are tracks; on the dashed line, predicted and true ratings are equal. Rings mark the worst."
        )
        found.append(Section("Predicted against true", [Charts(charts, note=note)]))
    confusions = scores.predictions(evaluation, "classification", metrics, run.tasks)
    classes = list(scores.classes(metrics))
    blocks: list[Block] = [Charts(confusions, note=scores.CONFUSION)] if confusions else []
    found.append(Section("Classes", [*blocks, *([Tables(classes)] if classes else [])]))
    return [*found, scores.worst_tracks(evaluation), *analysis_sections(run.results, part)]


def _others(run: RunRecord) -> Section:
    part = scores.headline_part(run.metrics)
    tables = [
        table
        for other in ("val", "train")
        if other in run.metrics and other != part
        for table in scores.metrics_tables(run.metrics[other], f"{PARTS[other].capitalize()} part")
    ]
    return Section("Other parts", tables)


def _evaluation(run: RunRecord, part: str, notices: list[Notice]) -> Evaluation:
    try:
        return run.evaluations.get(part, Evaluation())
    except InputError as error:
        notices.append(Notice(str(error), "warning"))
        return Evaluation()


def _training(runs: Sequence[RunRecord]) -> Section:
    known = [run for run in runs if run.history]
    tasks = {name: task for run in runs[:1] for name, task in run.tasks.items()}
    groups = [
        Charts(training.losses(known, tasks), "Loss"),
        Charts(training.scores(known, tasks), "Score"),
        Charts(training.optimization(known), "Optimization"),
    ]
    return Section("Training", [group for group in groups if group.charts])


def _weighting(runs: Sequence[RunRecord]) -> Section:
    tasks = list(runs[0].tasks)
    known = [run for run in runs if run.history]
    charts = list(training.weights(known, tasks)) if len(tasks) > 1 else []
    return Section("Weights of the tasks", [Charts(charts)] if charts else [])


def _gradients(runs: Sequence[RunRecord]) -> Section:
    return Section("Gradient conflict", gradient_blocks(runs, list(runs[0].tasks)))
