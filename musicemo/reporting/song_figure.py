"""Figure of a song: spectrogram, beats, and predictions over time."""

from __future__ import annotations

from pathlib import Path
from typing import TYPE_CHECKING, Any

import numpy as np
from numpy.typing import NDArray

from musicemo.features import Analysis, Recipe
from musicemo.prediction import SongPrediction, TaskPrediction
from musicemo.reporting.charts import drawable, fonts_for

if TYPE_CHECKING:
    from matplotlib.axes import Axes
    from matplotlib.figure import Figure

__all__ = ["frequency_ticks", "song_figure", "spectrogram"]

_COLUMNS = 2000
"""Of the spectrogram, at most: a picture has no more."""

_HERTZ = (500, 1000, 2000, 5000, 10_000)
"""Frequencies that are named beside a spectrogram."""

_BEATS = 150
"""Beats that can be told apart as lines across the spectrogram; more are ticks at its foot."""

_CLASSES = 8
"""Classes with a colour of their own; the rest are drawn as one."""


def spectrogram(analysis: Analysis) -> NDArray[np.float32]:
    """Return `[mels, columns]`: the mel spectrogram in dB, in at most 2000 columns: each the maximum of its frames."""
    mel = analysis.frame[: analysis.recipe.mels]
    step = -(-mel.shape[1] // _COLUMNS)
    return np.maximum.reduceat(mel, np.arange(0, mel.shape[1], step), axis=1)


def frequency_ticks(recipe: Recipe) -> list[tuple[float, str]]:
    """Return heights in a mel spectrogram, in bands from its foot, and the frequencies in Hz there."""
    from musicemo.features import mel_frequencies  # it compiles loops

    centres = mel_frequencies(recipe.sample_rate, recipe.mels)
    places = np.interp(_HERTZ, centres, np.arange(recipe.mels) + 0.5)
    return [
        (float(place), f"{hertz:,}")
        for hertz, place in zip(_HERTZ, places, strict=True)
        if centres[0] <= hertz <= centres[-1]
    ]


def song_figure(prediction: SongPrediction, analysis: Analysis) -> Figure:
    """Draw a song's mel spectrogram with its beats, its emotions over time, and the probabilities of classes and tags.

    Emotions with equal ranges share a panel; those that were trained on ratings over time have a value for every time
    step. Bands are standard deviations over the runs, and fainter ones those of the listeners' ratings, if a
    distribution was learned. For a song of one window, lines extend over the whole song and classes are bars.
    """
    names = [Path(prediction.song).name, *prediction.tasks]
    names += [label for task in prediction.tasks.values() for label in task.classes]
    with fonts_for(names):
        return _draw(prediction, analysis)


def _draw(prediction: SongPrediction, analysis: Analysis) -> Figure:
    from matplotlib.figure import Figure

    #: Range of the ratings, None of scores -> the tasks of a panel.
    regressions: dict[tuple[float, float] | None, dict[str, TaskPrediction]] = {}
    for name, task in prediction.tasks.items():
        if not task.classes:
            regressions.setdefault(None if task.kind == "pairs" else task.range, {})[name] = task
    classifications = {name: task for name, task in prediction.tasks.items() if task.classes}
    heights = [1.25] + [1.0] * (len(regressions) + len(classifications))
    figure = Figure(figsize=(10, 0.9 + 2.1 * sum(heights)), layout="constrained")
    panels = np.atleast_1d(figure.subplots(len(heights), 1, height_ratios=heights))
    _spectrogram(panels[0], prediction, analysis)
    rest = iter(panels[1:])
    for bounds, tasks in regressions.items():
        _emotions(next(rest), prediction, bounds, tasks)
    for name, task in classifications.items():
        panel = next(rest)
        if task.kind == "tags" and len(prediction.windows) > 1:
            _tags_over_time(panel, prediction, name, task)
        elif len(prediction.windows) > 1:
            _classes_over_time(panel, prediction, name, task)
        else:
            _classes(panel, name, task)
    return figure


def _spectrogram(axes: Axes, prediction: SongPrediction, analysis: Analysis) -> None:
    mel = spectrogram(analysis)
    image = axes.imshow(
        mel,
        origin="lower",
        aspect="auto",
        cmap="magma",
        extent=(0, prediction.duration, 0, len(mel)),
    )
    axes.figure.colorbar(image, cax=axes.inset_axes((1.01, 0, 0.012, 1)), label="dB")
    beats = analysis.beat_frames / analysis.recipe.frame_rate
    across = len(beats) <= _BEATS
    axes.vlines(beats, 0, len(mel) if across else 0.08 * len(mel), color="white", linewidth=0.6, alpha=0.45)
    name = drawable(Path(prediction.song).name)
    title = (
        f"{name if len(name) <= 90 else name[:87] + '...'} ({prediction.duration:.1f} s, {len(beats)} beats)"
    )
    axes.set_title(title, fontsize=11)
    heights, hertz = zip(*frequency_ticks(analysis.recipe), strict=True)
    axes.set_yticks(heights, hertz)
    axes.set(ylabel="Hz")
    _time(axes, prediction)


def _emotions(
    axes: Axes, prediction: SongPrediction, bounds: tuple[float, float] | None, tasks: dict[str, TaskPrediction]
) -> None:
    for number, (name, task) in enumerate(tasks.items()):
        colour = f"C{number % 10}"
        windows = prediction.windows_of(name)
        times, curve = _line(windows, task.curve)
        label = f"{drawable(name)} {float(task.value):.2f}"
        if (deviation := task.deviation) is not None:
            label += f" ± {float(deviation):.2f}"
        marker = "." if 1 < len(windows) <= 60 else ""
        axes.plot(
            times, curve, color=colour, marker=marker, label=label, linestyle="-" if number < 10 else "--"
        )
        if (spread := task.curve_deviation) is not None:
            _, half = _line(windows, spread)
            axes.fill_between(times, curve - half, curve + half, color=colour, alpha=0.15, linewidth=0)
        if (listeners := task.listeners_curve) is not None:
            _, half = _line(windows, listeners)
            axes.fill_between(times, curve - half, curve + half, color=colour, alpha=0.08, linewidth=0)
    everything = np.concatenate(
        [task.curve + side * _spread(task) for task in tasks.values() for side in (-1, 1)]
    )
    low, high = bounds or (float(everything.min()) - 0.5, float(everything.max()) + 0.5)
    margin = 0.03 * (high - low)
    axes.set_ylim(min(low, everything.min()) - margin, max(high, everything.max()) + margin)
    for end in bounds or ():
        axes.axhline(end, color="0.8", linewidth=0.8, zorder=0)
    axes.set(ylabel=("rating" if bounds else "score") if len(tasks) > 1 else drawable(next(iter(tasks))))
    _legend(axes)
    _time(axes, prediction)


def _spread(task: TaskPrediction) -> NDArray[np.float64]:
    """Return half the height of the widest band around each value of the curve."""
    bands = [band for band in (task.curve_deviation, task.listeners_curve) if band is not None]
    return np.asarray(np.max([np.zeros_like(task.curve), *bands], axis=0))


def _line(
    windows: NDArray[np.float64], curve: NDArray[np.float64]
) -> tuple[NDArray[np.float64], NDArray[np.float64]]:
    """Return times and values: at the middle of each window, or over the whole song if it has one window."""
    if len(windows) == 1:
        return windows[0], np.repeat(curve, 2, axis=0)
    return windows.mean(axis=1), curve


def _classes_over_time(axes: Axes, prediction: SongPrediction, name: str, task: TaskPrediction) -> None:
    order = np.argsort(task.value)[::-1]
    shown, rest = order[:_CLASSES], order[_CLASSES:]
    curves = [task.curve[:, index] for index in shown]
    labels = [f"{drawable(task.classes[index])} {task.value[index]:.0%}" for index in shown]
    colours = [f"C{number}" for number in range(len(shown))]
    if len(rest):
        curves.append(task.curve[:, rest].sum(axis=1))
        labels.append(f"{len(rest)} others {task.value[rest].sum():.0%}")
        colours.append("0.75")
    middles = prediction.windows.mean(axis=1)
    times = np.concatenate([[prediction.windows[0, 0]], middles, [prediction.windows[-1, 1]]])
    curves = [np.pad(curve, 1, mode="edge") for curve in curves]
    axes.stackplot(times, curves, labels=labels, colors=colours, alpha=0.75, linewidth=0)
    axes.set(ylim=(0, 1), ylabel=f"{drawable(name)}: probability")
    _legend(axes)
    _time(axes, prediction)


def _tags_over_time(axes: Axes, prediction: SongPrediction, name: str, task: TaskPrediction) -> None:
    times = prediction.windows.mean(axis=1)
    for place in task.ranked[:_CLASSES]:
        axes.plot(times, task.curve[:, place], label=f"{drawable(task.classes[place])} {task.value[place]:.0%}")
    axes.set(ylim=(0, 1), ylabel=f"{drawable(name)}: probability")
    _legend(axes)
    _time(axes, prediction)


def _classes(axes: Axes, name: str, task: TaskPrediction) -> None:
    order = np.argsort(task.value)[::-1][:_CLASSES][::-1]
    deviation = task.deviation
    axes.barh(
        range(len(order)),
        task.value[order],
        xerr=None if deviation is None else deviation[order],
        color="C0",
        alpha=0.75,
    )
    axes.set_yticks(range(len(order)), [drawable(task.classes[index]) for index in order])
    axes.set(xlim=(0, 1), xlabel="probability", ylabel=drawable(name))


def _legend(axes: Axes) -> None:
    handles, labels = axes.get_legend_handles_labels()
    axes.legend(handles, labels, loc="upper left", bbox_to_anchor=(1.0, 1.0), fontsize=8, frameon=False)


def _time(axes: Axes, prediction: SongPrediction) -> None:
    from matplotlib.ticker import FuncFormatter

    def shown(seconds: float, _: Any) -> str:
        minutes, rest = divmod(round(seconds), 60)
        return f"{minutes}:{rest:02d}"

    axes.set(
        xlim=(0, prediction.duration), xlabel="seconds" if prediction.duration < 120 else "minutes:seconds"
    )
    if prediction.duration >= 120:
        axes.xaxis.set_major_formatter(FuncFormatter(shown))
