"""What the targets of several datasets are as one."""

from __future__ import annotations

from collections.abc import Mapping

from musicemo.contracts import Dataset, Target
from musicemo.data.tasks import TaskSettings
from musicemo.errors import InputError, nearest

__all__ = ["common_target", "find_targets"]


def find_targets(name: str, settings: TaskSettings, datasets: Mapping[str, Dataset]) -> dict[str, Target]:
    """Return a task's target in every dataset that has it.

    Raises:
        InputError: no dataset has one, or not the one that `settings` name.
    """
    declared = {
        dataset: {target.name: target for target in found.targets} for dataset, found in datasets.items()
    }
    if not isinstance(settings.target, dict):
        wanted = settings.target or name
        found = {dataset: targets[wanted] for dataset, targets in declared.items() if wanted in targets}
        if not found:
            every = list(dict.fromkeys(target for targets in declared.values() for target in targets))
            listed = "; ".join(f"{dataset}: {', '.join(targets)}" for dataset, targets in declared.items())
            raise InputError(
                f"none of the datasets declares a target {wanted!r}{nearest(wanted, every)} (targets of {listed})"
            )
        return found
    problems = []
    found = {}
    for dataset, wanted in settings.target.items():
        if dataset not in declared:
            listed = ", ".join(declared)
            problems.append(
                f"target: there is no dataset {dataset!r}{nearest(dataset, declared)} (datasets: {listed})"
            )
        elif wanted not in declared[dataset]:
            targets = declared[dataset]
            problems.append(
                f"target: {dataset} declares no target {wanted!r}{nearest(wanted, targets)} "
                f"(targets: {', '.join(targets)})"
            )
        else:
            found[dataset] = declared[dataset][wanted]
    if problems or not found:
        raise InputError(*problems or ["target: names no dataset"])
    return found


def common_target(name: str, settings: TaskSettings, found: Mapping[str, Target]) -> Target:
    """Return a task's target in all the datasets, given that in each.

    Raises:
        InputError: they are of different kinds, or `settings` give classes a range.
    """
    kinds = {target.kind for target in found.values()}
    if len(kinds) > 1:
        listed = ", ".join(f"{target.name!r} of {dataset}: {target.kind}" for dataset, target in found.items())
        raise InputError(f"the datasets' targets are of different kinds ({listed})")
    if kinds == {"classification"}:
        if settings.range is not None:
            raise InputError("range: is for ratings, and this is a classification")
        classes = sorted({label for target in found.values() for label in target.classes})
        return Target(name, "classification", classes=tuple(classes))
    ranges = {(float(low), float(high)) for low, high in (target.range for target in found.values())}
    common = ranges.pop() if len(ranges) == 1 else (0.0, 1.0)
    return Target(name, "regression", range=settings.range or common)
