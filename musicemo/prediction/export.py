"""Export of a run's network as an ONNX file that needs neither torch nor musicemo."""

from __future__ import annotations

import contextlib
import dataclasses
import io
import json
import tempfile
import warnings
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any, BinaryIO, Literal

import numpy as np
import torch
from numpy.typing import NDArray
from torch import Tensor, nn

from musicemo import __version__
from musicemo.data import Features, rows_numbers
from musicemo.errors import InputError, RunError
from musicemo.experiment import load_experiment
from musicemo.features import Stream
from musicemo.files import write_atomically
from musicemo.prediction.audio_graph import Noise, Pooling, obstacle
from musicemo.prediction.evaluation import read_for
from musicemo.prediction.songs import find_streams
from musicemo.prediction.trained import UNNEEDED, TrainedRun, pad

__all__ = ["Exported", "export_onnx"]

_TOLERANCE = 1e-4
_INPUTS = ("features", "lengths", "samples")
_SECONDS = (0.3, 4.0, 7.7, 20.0)
"""Durations of noise to compare a graph with the extractor on."""
_CLIPS = 16
"""Clips of the dataset to check with."""


@dataclass(frozen=True)
class Exported:
    """An ONNX file that has been compared with torch."""

    path: Path
    #: Clips that were compared, and the largest difference between probabilities, or ratings as shares of their range.
    clips: int
    difference: float
    #: "audio" or "features".
    input: str = "features"


def export_onnx(
    run: TrainedRun,
    path: Path,
    clips: Sequence[NDArray[np.float32]] = (),
    *,
    input: Literal["auto", "audio", "features"] = "auto",
) -> Exported:
    """Write a run's network as an ONNX file, after comparing it with torch.

    If the features of the run are computed by an ONNX model, the file contains it, and its input is ``samples``
    `[samples]`: a clip, mono, at the sample rate in the metadata, cut to the excerpt of the experiment. Each output has
    a batch of one.

    Otherwise the inputs are ``features`` `[batch, time, feature]`, float32 and unscaled, and ``lengths`` `[batch]`,
    int64; values beyond a clip's length have no influence. Each task is an output of its name (names of inputs get a
    trailing ``_``): ratings in their units `[batch]`, or probabilities `[batch, classes]` of classes or tags. The
    metadata have the tasks, the tables ``[features]`` and the feature rows as JSON.

    Args:
        run: the run.
        path: the file.
        clips: unscaled clips `[time, feature]` for the comparison; by default some clips of the run's dataset.
        input: the input of the file; "auto" is audio if the features are computed by an ONNX model.

    Raises:
        InputError: a required package, the dataset or the folder is missing, the input cannot be audio, or a task is a
            series.
        RunError: the model cannot be exported, or the file does not compute the same values as torch.
    """
    try:
        import onnx
        import onnxruntime
    except ImportError as error:
        raise InputError(
            f"export needs onnx and onnxruntime: pip install 'musicemo[onnx]' ({error})"
        ) from error
    if not path.parent.is_dir():
        raise InputError(f"{path}: the folder {path.parent} does not exist")
    if timed := [task.name for task in run.description.tasks if task.kind == "series"]:
        raise InputError(
            f"{run.directory}: {', '.join(timed)}: ratings over time cannot be exported. `musicemo predict` writes "
            "their curves"
        )
    stream = None if input == "features" else _audio_stream(run, required=input == "audio")
    clips = list(clips) or _dataset_clips(run)
    run = dataclasses.replace(run, network=run.network.cpu(), device=torch.device("cpu"))
    outputs = {task.name: task.name + "_" * (task.name in _INPUTS) for task in run.description.tasks}
    name = run.experiment.model.name
    front = None if stream is None else stream.analyser.graph(list(stream.outputs))  # type: ignore[attr-defined]
    content = _traced(run, list(outputs.values()), name, None if front is None else _opset(front))
    try:
        onnxruntime.set_default_logger_severity(4)  # what fails is told below
        session = onnxruntime.InferenceSession(content, providers=["CPUExecutionProvider"])
        difference = max(_difference(run, session, some, outputs) for some in _batches(clips))
    except Exception as error:  # onnxruntime's errors have no common base
        raise RunError(
            f"model {name!r} cannot be exported: its graph fails on clips of other lengths than the one it was traced "
            f"with: {_first_line(error)}"
        ) from error
    if not difference <= _TOLERANCE:
        raise RunError(
            f"model {name!r} cannot be exported: its graph differs from torch by {difference:.2g}, more than "
            f"{_TOLERANCE:g}; what it computes may depend on the batch in a way that tracing does not see"
        )
    model = onnx.load_model_from_string(content)
    if stream is not None:
        model = _from_audio(front, stream, model, run.description.rows)
        difference = max(difference, _audio_difference(run, stream, model, outputs))
    onnx.helper.set_model_props(
        model, {key: json.dumps(value) for key, value in _metadata(run, outputs, stream).items()}
    )
    whole = model.SerializeToString()
    write_atomically(path, lambda file: _write(file, whole))
    return Exported(path, len(clips), difference, "features" if stream is None else "audio")


def _write(file: BinaryIO, content: bytes) -> None:
    file.write(content)


class _Graph(nn.Module):
    """Scaling, network, and conversion of predictions to their units."""

    def __init__(self, run: TrainedRun) -> None:
        super().__init__()
        self.network = run.network
        self.tasks = run.description.tasks
        self.offset = torch.from_numpy(run.scaling.offset)
        self.scale = torch.from_numpy(run.scaling.scale)

    def forward(self, features: Tensor, lengths: Tensor) -> tuple[Tensor, ...]:
        beyond = torch.arange(features.shape[1]) >= lengths[:, None]
        x = ((features - self.offset) / self.scale).masked_fill(beyond[:, :, None], 0)
        _, predictions = self.network(x, lengths)
        outputs = []
        for task in self.tasks:
            prediction = predictions[task.name]
            low, high = task.range
            if task.distribution is not None:
                prediction = task.distribution.mean(prediction)
            if task.kind in ("regression", "pairs"):
                outputs.append(prediction * (high - low) + low)
            else:
                outputs.append(prediction.sigmoid() if task.kind == "tags" else prediction.softmax(1))
        return tuple(outputs)


def _audio_stream(run: TrainedRun, *, required: bool) -> Stream | None:
    """Return the stream of the run's features if the graph can begin with audio.

    Raises:
        InputError: It is required, and cannot.
    """
    streams = find_streams(run, None) if run.description.extraction else []
    reason = obstacle(streams)
    if reason and required:
        raise InputError(f"{run.directory}: cannot be exported from audio on: {reason}")
    return None if reason else streams[0]


def _opset(model: Any) -> int:
    """Return the version of ONNX's operators of a model."""
    return next(int(one.version) for one in model.opset_import if one.domain in ("", "ai.onnx"))


def _from_audio(front: Any, stream: Stream, network: Any, features: slice) -> Any:
    """Return an extractor's graph, pooling and a network as one model."""
    import onnx
    from onnx import compose

    names = [text for name in stream.outputs for text in (name, f"{name}.edges")]
    rows = [torch.zeros(7, stream.analyser.outputs[name]) for name in stream.outputs]
    edges = torch.arange(8, dtype=torch.float64)
    inputs = [f"array.{index}" for index in range(len(names))]
    content = _exported(
        Pooling(stream, features),
        tuple(tensor for values in rows for tensor in (values, edges)),
        inputs,
        list(_INPUTS[:2]),
        {name: {0: f"{name}.0"} for name in inputs},
        _opset(front),
    )
    pooling = onnx.load_model_from_string(content)
    for part in (front, pooling, network):
        part.graph.ClearField("value_info")  # its names would be prefixed, those of inputs and outputs too
    parts = [
        compose.add_prefix(front, "extraction/", rename_inputs=False),
        compose.add_prefix(pooling, "pooling/"),
        compose.add_prefix(network, "network/", rename_outputs=False),
    ]
    for part in parts:
        part.ir_version = max(one.ir_version for one in parts)
    read = {one.name for one in parts[1].graph.input}  # the tracer leaves out what has no influence
    links = [
        (f"extraction/{name}", f"pooling/{place}")
        for name, place in zip(names, inputs, strict=True)
        if f"pooling/{place}" in read
    ]
    ends = [f"pooling/{name}" for name in _INPUTS[:2]]
    joint = compose.merge_models(parts[0], parts[1], links, outputs=ends)
    tasks = [one.name for one in parts[2].graph.output]
    read = {one.name for one in parts[2].graph.input}
    links = [(f"pooling/{name}", f"network/{name}") for name in _INPUTS[:2] if f"network/{name}" in read]
    return compose.merge_models(joint, parts[2], links, outputs=tasks)


def _audio_difference(run: TrainedRun, stream: Stream, model: Any, outputs: Mapping[str, str]) -> float:
    """Return the largest difference of a graph from audio on to the extractor and torch, on noise.

    Raises:
        RunError: The graph fails, or the difference is too large.
    """
    import onnxruntime

    worst = 0.0
    rate = stream.analyser.sample_rate
    try:
        session = onnxruntime.InferenceSession(model.SerializeToString(), providers=["CPUExecutionProvider"])
        for seconds in _SECONDS:
            noise = Noise(seconds, rate)
            clip = np.concatenate(list(stream.compute(noise).values.values()), axis=1)[:, run.description.rows]
            results = session.run(list(outputs.values()), {"samples": noise.samples()[0]})
            worst = max(worst, _worst(run, results, run.predict([clip])))
    except RunError:
        raise
    except Exception as error:  # onnxruntime's errors have no common base
        raise RunError(f"the graph from audio on cannot be computed: {_first_line(error)}") from error
    if not worst <= _TOLERANCE:
        raise RunError(
            f"the graph from audio on differs from the extractor and torch by {worst:.2g}, more than {_TOLERANCE:g}. "
            "Export the network alone with --input features"
        )
    return worst


def _traced(run: TrainedRun, outputs: Sequence[str], name: str, opset: int | None = None) -> bytes:
    """Trace the network on three clips of different lengths."""
    _, median, _ = run.description.lengths
    lengths = torch.tensor([median + 2, median + 1, median])
    features = torch.zeros(3, median + 2, run.description.input_size)
    try:
        return _exported(
            _Graph(run),
            (features, lengths),
            _INPUTS[:2],
            outputs,
            {
                "features": {0: "batch", 1: "time"},
                "lengths": {0: "batch"},
                **{output: {0: "batch"} for output in outputs},
            },
            opset,
        )
    except Exception as error:  # whatever a stranger's model raises when it is traced
        raise RunError(f"model {name!r} cannot be exported to ONNX: {_first_line(error)}") from error


def _exported(
    module: nn.Module,
    arguments: tuple[Tensor, ...],
    inputs: Sequence[str],
    outputs: Sequence[str],
    axes: Mapping[str, Mapping[int, str]],
    opset: int | None = None,
) -> bytes:
    """Return a module as an ONNX model."""
    with (
        warnings.catch_warnings(),
        contextlib.redirect_stdout(io.StringIO()),  # torch prints the graph that it cannot convert
        torch.no_grad(),
        tempfile.TemporaryDirectory() as folder,
    ):
        warnings.simplefilter("ignore")  # of what tracing fixes, which the comparison would show
        torch.onnx.export(
            module.eval(),
            arguments,
            f"{folder}/model.onnx",
            input_names=list(inputs),
            output_names=list(outputs),
            dynamic_axes=axes,
            opset_version=opset,
            dynamo=False,  # the newer exporter fixes the batch size of an LSTM and refuses the CNN
        )
        return Path(folder, "model.onnx").read_bytes()


def _batches(clips: Sequence[NDArray[np.float32]]) -> list[list[NDArray[np.float32]]]:
    """Return batches for the comparison: single clips, all clips, two of equal length, and a short one."""
    shortest = min(len(clip) for clip in clips)
    return [
        *([clip] for clip in clips[:2]),
        list(clips),
        [clip[:shortest] for clip in (clips[0], clips[-1])],
        [clips[0], clips[-1][: max(shortest // 2, 1)]],
    ]


def _difference(
    run: TrainedRun, session: Any, clips: Sequence[NDArray[np.float32]], outputs: Mapping[str, str]
) -> float:
    features, lengths = pad(clips)
    names = list(outputs.values())
    computed = session.run(names, {"features": features.numpy(), "lengths": lengths.numpy()})
    return _worst(run, computed, run.predict(clips))


def _worst(
    run: TrainedRun, computed: Sequence[NDArray[np.floating]], expected: Mapping[str, NDArray[np.float64]]
) -> float:
    """Return the largest difference of predictions, as a share of the range of ratings."""
    worst = 0.0
    for task, output in zip(run.description.tasks, computed, strict=True):
        width = task.range[1] - task.range[0] if task.kind == "regression" else 1.0
        if output.shape != expected[task.name].shape:
            return float("inf")
        worst = max(worst, float(np.abs(output - expected[task.name]).max()) / width)
    return worst


def _dataset_clips(run: TrainedRun) -> list[NDArray[np.float32]]:
    """Return clips from all over the run's dataset."""
    try:
        experiment = load_experiment(
            run.directory / "experiment.toml",
            local_code="kept" if run.trusted else "refuse",
            unneeded=UNNEEDED,
        )
        tracks = read_for(run, experiment)
    except InputError as error:
        raise InputError(
            *error.problems,
            "the exported file is compared with torch on clips of the dataset. Use --check SONG to compare on songs",
        ) from error
    some = np.unique(np.linspace(0, len(tracks) - 1, _CLIPS).round().astype(int))
    clips = [tracks.tracks[index] for index in some]
    features = Features(clips, tracks.rows, "disk")
    size = run.description.input_size
    if features.size != size:
        raise InputError(
            f"{run.directory}: was trained on {size} feature rows; the dataset has {features.size}"
        )
    return [features[index] for index in range(len(clips))]


def _metadata(run: TrainedRun, outputs: Mapping[str, str], stream: Stream | None) -> dict[str, Any]:
    described = run.description
    return {
        "musicemo": __version__,
        "input": "features" if stream is None else "audio",
        **({} if stream is None else {"sample_rate": stream.analyser.sample_rate}),
        "experiment": run.experiment.name,
        "run": run.directory.resolve().name,
        "tasks": [
            {
                "name": task.name,
                "output": outputs[task.name],
                "kind": task.kind,
                **{"regression": {"range": task.range}, "pairs": {}}.get(task.kind, {"classes": task.classes}),
            }
            for task in described.tasks
        ],
        "rows": rows_numbers(described.rows),
        "features": list(described.extraction),
        "streams": {name: list(sizes) for name, sizes in described.streams.items()},
        "lengths": dict(zip(("fewest", "median", "most"), described.lengths, strict=True)),
        "scaling": {
            "method": run.experiment.scaling.method,
            "offset": run.scaling.offset.tolist(),
            "scale": run.scaling.scale.tolist(),
        },
    }


def _first_line(error: Exception) -> str:
    return f"{type(error).__name__}: {next(iter(str(error).splitlines()), '')}"
