"""Means of the predictions of several models."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import replace

import numpy as np
from numpy.typing import NDArray

from musicemo.errors import InputError
from musicemo.evaluation.evaluation import Evaluation, TaskEvaluation

__all__ = ["average_evaluations"]


def average_evaluations(evaluations: Sequence[Evaluation], weights: Sequence[float]) -> Evaluation:
    """Return the weighted mean of the predictions of several models on the same tracks.

    With the prediction f[m] of model m, weight w[m], and W = sum_m w[m], the mean of ratings, of scores of pairs, of
    ratings over time, and of probabilities of classes or tags is sum_m w[m] f[m] / W. The predicted class has the
    highest mean probability. A tag is predicted from a mean probability of 0.5 on; see `Evaluation.decided`. Predicted
    distributions of ratings are left out.

    Args:
        evaluations: the evaluation of each model, with the probabilities of classes. The order of the tracks is that of
            the first.
        weights: weight of each model, above 0.

    Raises:
        InputError: the models were evaluated on other tasks, tracks, classes or targets than the first.
    """
    first = evaluations[0]
    for other in evaluations[1:]:
        if set(other.tasks) != set(first.tasks):
            raise InputError(
                f"one model has the tasks {', '.join(first.tasks)}, another {', '.join(other.tasks)}"
            )
    shares = np.array(weights, dtype=np.float64) / sum(weights)
    return Evaluation(
        {name: _average([one.tasks[name] for one in evaluations], shares, name) for name in first.tasks}
    )


def _average(tasks: Sequence[TaskEvaluation], shares: NDArray[np.float64], name: str) -> TaskEvaluation:
    first = tasks[0]
    aligned = [_aligned(task, first, name) for task in tasks]
    if first.kind in ("classification", "tags"):
        every = [task.probabilities for task in aligned if task.probabilities is not None]
        if len(every) < len(aligned):
            raise InputError(f"task {name!r}: a model has no probabilities of its classes")
        mean = np.tensordot(shares, np.stack(every), axes=1)
        if first.kind == "tags":
            return TaskEvaluation.of_tags(first.ids, first.target, mean, first.classes)
        return replace(first, prediction=mean.argmax(axis=1), probabilities=mean)
    prediction = np.tensordot(shares, np.stack([task.prediction for task in aligned]), axes=1)
    return replace(first, prediction=prediction, spread=None)


def _aligned(task: TaskEvaluation, first: TaskEvaluation, name: str) -> TaskEvaluation:
    """Return an evaluation with the tracks in the order of another one.

    Raises:
        InputError: the kinds, classes, tracks or targets differ.
    """
    if task.kind != first.kind or tuple(task.classes) != tuple(first.classes):
        raise InputError(f"task {name!r} has other classes or another kind of target in another model")
    if len(task.ids) != len(first.ids) or set(task.ids) != set(first.ids):
        raise InputError(f"task {name!r} was evaluated on other tracks in another model")
    if list(task.ids) != list(first.ids):
        places = {track: place for place, track in enumerate(task.ids)}
        order = [places[track] for track in first.ids]
        task = replace(
            task,
            ids=first.ids,
            target=task.target[order],
            prediction=task.prediction[order],
            probabilities=None if task.probabilities is None else task.probabilities[order],
            times=None if task.times is None else task.times[order],
            spread=None,
        )
    for mine, others in ((task.target, first.target), (task.times, first.times)):
        if mine is not None and others is not None:
            same = mine.shape == others.shape and np.array_equal(
                np.asarray(mine, dtype=np.float64), np.asarray(others, dtype=np.float64), equal_nan=True
            )
            if not same:
                raise InputError(f"task {name!r} has other labels in another model")
    return task
