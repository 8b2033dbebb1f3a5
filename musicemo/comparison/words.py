"""A comparison in sentences, none of which claims more than was tested."""

from __future__ import annotations

import math
from collections.abc import Iterator, Sequence

from musicemo.comparison.results import Comparison, Difference, Row
from musicemo.evaluation import LEADING

__all__ = ["notes", "verdicts"]


def verdicts(comparison: Comparison) -> list[str]:
    """Return a sentence or two for each experiment that was tested against a baseline, on the leading metrics."""
    found: list[str] = []
    for experiment in comparison.experiments:
        tested = list(_tested(experiment.name, comparison))
        if tested:
            found += _of(experiment.name, tested, 1 - comparison.settings.confidence)
    return found


def _tested(name: str, comparison: Comparison) -> Iterator[tuple[Row, Difference]]:
    for row in comparison.rows:
        for score in row.scores:
            if score.experiment == name and score.difference and row.metric in LEADING:
                yield row, score.difference


def _of(name: str, tested: Sequence[tuple[Row, Difference]], level: float) -> Iterator[str]:
    better: list[str] = []
    worse: list[str] = []
    open_: list[str] = []
    for row, difference in tested:
        if not difference.corrected < level:  # NaN too
            open_.append(row.task)
            continue
        side = better if (difference.value > 0) == row.higher_is_better else worse
        side.append(f"{row.task} ({difference.value:+.3f}, {_p(difference.corrected)})")
    baselines = list(dict.fromkeys(difference.baseline for _, difference in tested))
    against = f"{'its baselines ' if len(baselines) > 1 else ''}{_listed(baselines)}"
    said = [f"{word} on {_listed(tasks)}" for word, tasks in (("better", better), ("worse", worse)) if tasks]
    if said:
        yield f"{name} is {' and '.join(said)} than {against}."
    if open_:
        what = "any task" if len(open_) == len(tested) and len(open_) > 1 else _listed(open_)
        yield (
            f"No difference between {name} and {against} could be shown on {what}; that does not say that there is "
            "none."
        )


def notes(comparison: Comparison) -> list[str]:
    """Return what a reader must know to read the numbers right."""
    found = []
    confidence = f"{100 * comparison.settings.confidence:g} %"
    tests = [
        score for row in comparison.rows if row.metric in LEADING for score in row.scores if score.difference
    ]
    if tests:
        found.append(
            f"Differences are means over seeds less the baseline's, with {confidence} intervals for other tracks and "
            f"other seeds; p-values are two-sided and corrected for {len(tests)} tests (Holm)."
            if len(tests) > 1
            else f"The difference is between means over seeds, with its {confidence} interval for other tracks and "
            "other seeds; the p-value is two-sided."
        )
    single = [one.name for one in comparison.experiments if len(one.replicates) == 1]
    if single:
        verb = "have" if len(single) > 1 else "has"
        found.append(
            f"{_listed(single)} {verb} one seed: intervals and tests are of these very networks, and do not tell what "
            "another seed would change."
        )
    unpaired = sorted(
        {
            score.experiment
            for row in comparison.rows
            for score in row.scores
            if score.difference and not score.difference.paired
        }
    )
    if unpaired:
        found.append(
            f"{_listed(unpaired)}: tested on other tracks than the baseline, so that a difference may be that of the "
            "tracks."
        )
    for improvement in comparison.improvements:
        if improvement.left_out:
            found.append(
                f"Δm of {improvement.experiment} leaves out {_listed(improvement.left_out)}: the baseline is no better "
                "than 0 there."
            )
    return found


def _p(value: float) -> str:
    return "p < 0.001" if value < 0.001 else f"p = {value:.3f}" if math.isfinite(value) else "p not defined"


def _listed(names: Sequence[str]) -> str:
    return names[0] if len(names) == 1 else f"{', '.join(names[:-1])} and {names[-1]}"
