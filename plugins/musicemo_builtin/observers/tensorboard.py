"""TensorBoard: scalars an epoch, figures at the best epoch, the configuration, hyper-parameters with results."""

from __future__ import annotations

import math
from collections.abc import Collection, Iterator, Mapping
from pathlib import Path
from typing import TYPE_CHECKING, Any

from musicemo.errors import InputError
from musicemo.hookspecs import hookimpl
from musicemo.tracking import final_metrics, flat_settings

if TYPE_CHECKING:
    import numpy as np
    from matplotlib.figure import Figure
    from matplotlib.transforms import Bbox
    from numpy.typing import NDArray
    from torch.utils.tensorboard import SummaryWriter

    from musicemo.contracts import Label, Track
    from musicemo.evaluation import Evaluation
    from musicemo.training import Run

__all__ = ["TensorBoard"]

#: Number of tracks of the training set that are shown, and seconds of each that can be heard.
_EXAMPLES, _SECONDS, _SAMPLE_RATE = 3, 15, 22050

#: Number of tracks that are shown before and after augmentation.
_AUGMENTED = 2


class TensorBoard:
    """Writes `events.out.tfevents.*` into the run directory, for TensorBoard."""

    def __init__(self) -> None:
        self._writer: SummaryWriter | None = None
        #: What figures of one kind have in common: where their axes are.
        self._layouts: dict[str, list[Bbox]] = {}

    @hookimpl
    def musicemo_run_started(self, run: Run) -> None:
        """Open the writer, or reopen it after the last recorded epoch; show the configuration and examples."""
        from torch.utils.tensorboard import SummaryWriter

        if not run.history:  # a process that was killed in the first epoch may have been here before
            for earlier in run.directory.glob("events.out.tfevents.*"):
                earlier.unlink()
        # From the best epoch on, where figures are drawn, what an interrupted process wrote is written anew.
        first = run.stopping.best_epoch
        self._writer = SummaryWriter(str(run.directory), purge_step=first or None)
        for record in run.history[max(first - 1, 0) :]:
            self._write(run, record)
        if not run.history:
            indented = "\n".join(f"    {line}" for line in run.toml.splitlines())
            self._writer.add_text("experiment", indented, 0)
            self._writer.add_custom_scalars(_layout(run))
            for index in run.split.parts["train"][:_EXAMPLES]:
                track = run.tracks.tracks[index]
                if _is_picture(run):
                    self._show(f"tracks/{track.id}", _example(run, int(index)), 0, "tracks")
                self._play(track)
            for name, figure in _augmented(run):
                self._show(f"augmented/{name}", figure, 1, "augmented")

    @hookimpl
    def musicemo_epoch_finished(self, run: Run, record: dict[str, float]) -> None:
        """Write every recorded quantity."""
        self._write(run, record)

    def _write(self, run: Run, record: Mapping[str, float]) -> None:
        if self._writer:
            from musicemo.evaluation import METRICS

            tasks = {task.name: METRICS[task.kind][0] for task in run.tasks}
            for name, value in record.items():
                if name != "epoch" and math.isfinite(value):
                    self._writer.add_scalar(_tag(name, tasks), value, int(record["epoch"]))
            self._writer.flush()

    @hookimpl
    def musicemo_evaluated(self, run: Run, part: str, evaluation: Evaluation) -> None:
        """Draw predicted against true ratings and confusion matrices."""
        from musicemo.reporting import task_figure

        if self._writer:
            for name, task in evaluation.tasks.items():
                if len(task.target):
                    figure = task_figure(name, part, task)
                    self._show(f"predictions/{name}/{part}", figure, run.stopping.best_epoch, f"task/{name}")

    @hookimpl
    def musicemo_run_finished(self, run: Run, results: dict[str, Any]) -> None:
        """Write hyper-parameters with the final metrics, the tasks' conflict over the epochs, and close."""
        if self._writer:
            from torch.utils.tensorboard.summary import hparams

            settings, metrics = flat_settings(run.settings), final_metrics(results)
            events = self._writer._get_file_writer()  # type: ignore[no-untyped-call]  # untyped in torch
            first, *rest = hparams(settings, metrics)  # type: ignore[no-untyped-call]  # untyped in torch
            _put_first(first, results.get("variant") or {})
            for summary in (first, *rest):
                events.add_summary(summary)
            # A line over the epochs, beside the curves of the same metric, instead of a single point.
            for name, value in metrics.items():
                for epoch in sorted({1, max(len(run.history), 1)}):
                    self._writer.add_scalar(name, value, epoch)
            if (results.get("gradients") or {}).get("cosines"):
                from musicemo.reporting import cosine_chart
                from musicemo.reporting.charts import draw

                self._show("gradient/cosine", draw(cosine_chart(run.history)), len(run.history), "cosine")
        self._close()

    @hookimpl
    def musicemo_run_failed(self) -> None:
        """Close the writer."""
        self._close()

    def _show(self, tag: str, figure: Figure, step: int, kind: str) -> None:
        """Write a figure as an image.

        The layout of a figure takes longer than drawing it, and is the same for all figures of a kind: it is computed
        for the first one. `SummaryWriter.add_figure` would import pyplot.
        """
        import numpy as np
        from matplotlib.backends.backend_agg import FigureCanvasAgg

        canvas = FigureCanvasAgg(figure)
        layout = self._layouts.get(kind, [])
        if len(layout) == len(figure.axes):
            figure.set_layout_engine("none")
            for axes, position in zip(figure.axes, layout, strict=True):
                axes.set_position(position)
        canvas.draw()  # type: ignore[no-untyped-call]  # untyped in matplotlib
        self._layouts[kind] = [axes.get_position(original=True) for axes in figure.axes]
        if self._writer:
            pixels = np.asarray(canvas.buffer_rgba())  # type: ignore[no-untyped-call]  # untyped in matplotlib
            self._writer.add_image(tag, pixels[..., :3], step, dataformats="HWC")

    def _play(self, track: Track) -> None:
        """Write the beginning of a track as audio, if the dataset has audio."""
        if track.audio is None or not self._writer:
            return
        from musicemo.features import decode

        try:
            if isinstance(track.audio, Path):
                samples, rate = decode(track.audio, _SAMPLE_RATE, duration=_SECONDS), _SAMPLE_RATE
            else:
                samples, rate = track.audio.samples()
        except InputError:  # such as a song that was moved after its features were extracted
            return
        clip = samples[: int(_SECONDS * rate)]
        self._writer.add_audio(f"audio/{track.id}", clip[None], 0, rate)

    def _close(self) -> None:
        if self._writer:
            self._writer.close()
            self._writer = None


def _tag(name: str, tasks: Mapping[str, str]) -> str:
    """Return the tag of a recorded quantity: ``val/valence/spearman`` is ``Metrics/valence/spearman/val``.

    TensorBoard sorts groups by name, capitals first: losses, leading metrics and weights, then all else, then pictures.

    Args:
        name: the quantity.
        tasks: task -> its leading metric.
    """
    part, _, rest = name.partition("/")
    if part == "weight":
        return f"Weights/{rest}"
    if part not in ("train", "val"):
        return name if "/" in name else f"optimization/{name}"
    task, slash, quantity = rest.rpartition("/")
    if not slash:
        return f"Loss/Total/{part}" if rest == "loss" else f"optimization/{rest}"
    if task not in tasks:
        return name
    if quantity == "loss":
        return f"Loss/{task}/{part}"
    return f"{'Metrics' if quantity == tasks[task] else 'metrics'}/{task}/{quantity}/{part}"


def _put_first(summary: Any, axes: Collection[str]) -> None:
    """Mark the settings that differ between the variants of a matrix: the tab HPARAMS shows them first.

    Args:
        summary: A summary of the experiment from `torch.utils.tensorboard.summary.hparams`, which is changed.
        axes: The axes of the matrix: settings such as ``training.optimizer.lr``, tables, or the last part of a name.
    """
    from tensorboard.plugins.hparams import plugin_data_pb2

    data = summary.value[0].metadata.plugin_data
    content = plugin_data_pb2.HParamsPluginData.FromString(data.content)
    for info in content.experiment.hparam_infos:
        info.differs = any(f".{axis}." in f".{info.name}." for axis in axes)
    data.content = content.SerializeToString()


def _layout(run: Run) -> dict[str, dict[str, list[Any]]]:
    """Return the charts of the tab Custom Scalars: training and validation in one chart, and all weights in one."""
    from musicemo.evaluation import METRICS

    parts = [part for part in ("train", "val") if len(run.split.parts[part])]
    losses = {"total": ["Multiline", [f"Loss/Total/{part}" for part in parts]]}
    metrics = {}
    for task in run.tasks:
        losses[task.name] = ["Multiline", [f"Loss/{task.name}/{part}" for part in parts]]
        leading = METRICS[task.kind][0]
        tags = [f"Metrics/{task.name}/{leading}/{part}" for part in parts]
        metrics[f"{task.name}: {leading}"] = ["Multiline", [*tags, f"final/test/{task.name}/{leading}"]]
    weights = {"weights": ["Multiline", [f"Weights/{task.name}" for task in run.tasks]]}
    return {"Loss": losses, "Metrics": metrics, "Weights": weights}


def _text(label: Label) -> str:
    """Return a class, the tags that apply, the number of judgements, or the mean of ratings over time."""
    from musicemo.contracts import Judgement, Series

    if isinstance(label, Series):
        import numpy as np

        return f"{np.nanmean(label.values):.2f} on average"
    if isinstance(label, Mapping):
        label = [tag for tag, applies in label.items() if applies]
    if isinstance(label, str | float):
        return str(label)
    judged = sum(isinstance(one, Judgement) for one in label)
    return f"{judged} judgements" if judged else " + ".join(map(str, label))


def _is_picture(run: Run) -> bool:
    """Return whether features are a picture over time, such as a spectrogram; an embedding looks like noise."""
    streams = run.tracks.streams
    return not any(
        getattr(stream.extractor, "pretrained_on", ()) or stream.grid == "track" for stream in streams
    )


def _example(run: Run, index: int) -> Figure:
    """Draw a track's features as the network gets them, time to the right."""
    track = run.tracks.tracks[index]
    labels = ((task.name, track.targets.get(task.target)) for task in run.tasks)
    shown = (
        f"{name} {value:.2f}" if isinstance(value, float) else _text(value)
        for name, value in labels
        if value is not None
    )
    return _pictures(run, {f"{track.id}: {', '.join(shown)}": run.features[index]})


def _augmented(run: Run) -> Iterator[tuple[str, Figure]]:
    """Draw some examples of the first batch of the first epoch before and after augmentation; yield them by track."""
    batches = run.prepared.batches["train"]
    if not batches.augmented or not _is_picture(run):
        return
    batch = next(batches.epoch(1, batches=slice(1)))
    names = [run.tracks.tracks[index].id for index in batch.indices.tolist()]
    for row, name in enumerate(names[:_AUGMENTED]):
        parts = [f"{batch.weight:.2f} {name}"] if batch.more else [name]
        parts += [f"{one.weight:.2f} {run.tracks.tracks[int(one.indices[row])].id}" for one in batch.more]
        after = batch.x[row, : int(batch.lengths[row])].numpy()
        before = run.features[int(batch.indices[row])]
        yield name, _pictures(run, {name: before, f"augmented: {' + '.join(parts)}": after})


def _pictures(run: Run, pictures: Mapping[str, NDArray[np.float32]]) -> Figure:
    """Draw features `[time, feature]` below each other in one scale of colors.

    Args:
        run: the run.
        pictures: title -> features.
    """
    from matplotlib.figure import Figure

    from musicemo.reporting.charts import drawable, fonts_for

    low = min(float(features.min()) for features in pictures.values())
    high = max(float(features.max()) for features in pictures.values())
    with fonts_for([*pictures]):
        figure = Figure(figsize=(6, 0.5 + 3 * len(pictures)), layout="constrained")
        every = figure.subplots(len(pictures), squeeze=False)[:, 0]
        for axes, (title, features) in zip(every, pictures.items(), strict=True):
            axes.set(
                title=drawable(title),
                xlabel=run.tracks.steps,
                ylabel="feature row",
            )
            axes.title.set_fontsize(10)
            image = axes.imshow(
                features.T,
                origin="lower",
                aspect="auto",
                interpolation="nearest",
                cmap="magma",
                vmin=low,
                vmax=high,
            )
    figure.colorbar(image, ax=every, label="scaled value")
    return figure
