"""The `onnx` extractor: any ONNX model whose input is audio."""

from __future__ import annotations

import hashlib
import importlib.metadata
from collections.abc import Collection, Iterable, Iterator, Mapping, Sequence
from functools import cached_property
from pathlib import Path
from typing import Annotated, Any, Literal

import numpy as np
from numpy.typing import NDArray
from pydantic import Field

from musicemo.contracts import Extraction
from musicemo.errors import InputError, RunError, nearest
from musicemo.files import expanded
from musicemo_builtin.features._windows import cut, in_batches, merged

__all__ = ["ONNX"]

_TYPES = {"tensor(float)": np.float32, "tensor(float16)": np.float16, "tensor(double)": np.float64}

_INPUT_AXES = ("window", "samples", "channel")
_OUTPUT_AXES = ("window", "time", "rows")

#: Number of axes of an array, and whether the input has the axis window -> the axes if `output_axes` does not say.
_DEFAULT_AXES: Mapping[tuple[int, bool], Sequence[str]] = {
    (3, True): ("window", "time", "rows"),
    (2, True): ("window", "rows"),
    (2, False): ("time", "rows"),
    (1, False): ("rows",),
}

InputAxis = Literal["window", "samples", "channel"]
OutputAxis = Literal["window", "time", "rows"]


class ONNX:
    """The outputs of an ONNX model that reads audio.

    ::

        [features]
        type = "onnx"
        model = "nmp.onnx"          # basic-pitch
        sample_rate = 22050
        margin = 3840
        step = 256
        outputs = ["notes"]
        arrays = { notes = "StatefulPartitionedCall:1", contours = "StatefulPartitionedCall:0" }

    The clip is cut into windows of the number of samples that the graph's input has. At each side of a window,
    `margin` samples are context: their time steps are taken from the window before or after. Zeros precede and follow
    the clip where a window reaches beyond it, so that no time step depends on the length of the clip, if the graph
    computes each window by itself.

    A step of an output with the axes window, time, rows begins `step` samples after the one before; the first begins
    with the window. An output with the axes window, rows has one step per window. The shapes are those of the outputs
    for a window of zeros, which the constructor computes.

    Args:
        model: The file. Files with external data of the model are expected beside it, as ONNX has it.
        sample_rate: Sample rate that the model expects, in Hz.
        window: Number of samples of a window; required if the graph does not fix it.
        margin: Number of samples at each side of a window whose time steps are dropped.
        input: Name of the graph's input; by default its only one.
        input_axes: Axes of the input: ``window`` and ``samples``, and ``channel`` if it has three; by default as in
            its shape. Without ``window``, windows are computed one by one.
        arrays: Name of an output -> name of the graph's array; by default all arrays of the graph with their names.
        output_axes: Axes of the arrays with as many axes, in their order; by default window, time, rows, or window,
            rows, without window if the input has none.
        step: Duration of a time step in samples, of all arrays or by the name of an output; by default the length of a
            window divided by the number of time steps for it.
        batch_size: Number of windows that are computed at once, if the graph allows it.
        pretrained_on: Corpora that the weights have seen, such as ``fma``.

    Raises:
        InputError: onnxruntime is not installed, the file is missing or no ONNX model, or the graph does not fit the
            parameters.
    """

    neutral = ("model", "batch_size", "pretrained_on")

    def __init__(
        self,
        *,
        model: Path,
        sample_rate: Annotated[int, Field(gt=0)],
        window: Annotated[int, Field(gt=0)] | None = None,
        margin: Annotated[int, Field(ge=0)] = 0,
        input: str | None = None,
        input_axes: list[InputAxis] | None = None,
        arrays: dict[str, str] | None = None,
        output_axes: list[OutputAxis] | None = None,
        step: Annotated[float, Field(gt=0)] | dict[str, Annotated[float, Field(gt=0)]] | None = None,
        batch_size: Annotated[int, Field(gt=0)] = 8,
        pretrained_on: list[str] | None = None,
    ) -> None:
        self.sample_rate = sample_rate
        self.pretrained_on = tuple(pretrained_on or ())
        self._path = expanded(model)
        self._session = _open(self._path)
        self._input = _audio_input(self._session, input)
        self._axes = _input_axes(self._input, input_axes)
        self._window = _window(self._input, self._axes, window)
        if 2 * margin >= self._window:
            raise InputError(f"margin: must be below half a window, {self._window / 2:g} samples, not {margin}")
        self._margin = margin
        self._batch_size = _batch_size(self._input, self._axes, batch_size)
        if output_axes is not None and (len(set(output_axes)) != len(output_axes) or "rows" not in output_axes):
            raise InputError(f"output_axes: must name each axis once, with rows, not {output_axes}")
        self._arrays = _named_arrays(self._session, arrays)
        # Two windows show whether the graph computes any number of them.
        zeros = self._checked_run(min(2, self._batch_size))
        self._layouts = {name: self._layout(name, array.shape, output_axes) for name, array in zeros.items()}
        if not all("window" in axes for axes in self._layouts.values()):
            self._batch_size = 1
            zeros = self._checked_run(1)
        #: Whether the graph computes any number of windows at once.
        self._any_number = self._batch_size > 1
        count = min(2, self._batch_size)
        shapes = {name: self._arranged(name, array, count).shape for name, array in zeros.items()}
        self.outputs: Mapping[str, int] = {name: shape[2] for name, shape in shapes.items()}
        self._steps = _durations(step, {name: shape[1] for name, shape in shapes.items()}, self._window)

    @cached_property
    def fingerprint(self) -> str:
        """The version of onnxruntime, and the hash of the model and of its external data."""
        digest = hashlib.sha256()
        for path in (self._path, *_external_data(self._path)):
            with path.open("rb") as file:
                digest.update(hashlib.file_digest(file, "sha256").digest())
        return f"onnxruntime {importlib.metadata.version('onnxruntime')} {digest.hexdigest()[:32]}"

    def extract(self, samples: NDArray[np.float32], outputs: Collection[str]) -> Iterator[Extraction]:
        """Compute the outputs of a clip, a batch of windows after the other."""
        hop = self._window - 2 * self._margin
        windows = cut(len(samples), self._window, hop, pad=self._margin)
        for batch in in_batches(windows, self._batch_size):
            results = self._run([window.samples(samples, self._window) for window in batch], outputs)
            values = {name: self._arranged(name, array, len(batch)) for name, array in results.items()}
            yield merged(batch, values, self._steps, self.sample_rate)

    def graph(self, outputs: Collection[str]) -> Any:
        """Return the computation of some outputs as one ONNX model, from the samples of a whole clip on.

        The input is ``samples`` `[samples]`. For each output there is an array of its name, `[time, rows]`, and its
        edges `[time + 1]` in seconds, float64, ``<name>.edges``. They equal those of `extract`.

        Raises:
            InputError: The model computes one window at a time.
        """
        import onnx

        from musicemo_builtin.features._graph import Cut, Select, composed

        names = [name for name in self._arrays if name in outputs]
        if not self._any_number:
            raise InputError(
                f"model: {self._path}: computes one window at a time, which one graph cannot repeat"
            )
        hop = self._window - 2 * self._margin
        order = [_INPUT_AXES.index(axis) for axis in self._axes]
        cut_ = Cut(self._window, hop, self._margin, order, str(np.dtype(_TYPES[self._input.type])))
        zeros = self._checked_run(2)
        select = Select(
            [(self._layouts[name], self._steps[name]) for name in names], hop, self._margin, self.sample_rate
        )
        return composed(
            onnx.load(self._path),
            self._input.name,
            {name: self._arrays[name] for name in names},
            cut_,
            select,
            [zeros[name] for name in names],
        )

    def _checked_run(self, windows: int) -> dict[str, NDArray[Any]]:
        """Return the arrays of the graph for windows of zeros.

        Raises:
            InputError: The graph fails on them.
        """
        try:
            return self._run([np.zeros(self._window, np.float32)] * windows, self._arrays)
        except RunError as error:
            raise InputError(str(error)) from error

    def _run(self, windows: Sequence[NDArray[np.float32]], outputs: Collection[str]) -> dict[str, NDArray[Any]]:
        """Return the arrays of the graph for windows of equal length."""
        names = [name for name in self._arrays if name in outputs]
        batch = np.stack(windows)[:, :, None]
        order = [_INPUT_AXES.index(axis) for axis in self._axes]
        absent = [index for index in range(3) if index not in order]  # these have the size 1
        batch = batch.transpose(order + absent)
        batch = batch.reshape(batch.shape[: len(order)]).astype(_TYPES[self._input.type])
        try:
            results = self._session.run([self._arrays[name] for name in names], {self._input.name: batch})
        except Exception as error:  # the errors of onnxruntime have no common base
            raise RunError(
                f"model: {self._path}: fails on an input of shape {list(batch.shape)}: {_first_line(error)}. "
                "Change window, input_axes or batch_size"
            ) from error
        return dict(zip(names, results, strict=True))

    def _layout(self, name: str, shape: Sequence[int], axes: Sequence[str] | None) -> Sequence[str]:
        """Return the axes of an array of the graph."""
        if axes is None or len(axes) != len(shape):
            axes = _DEFAULT_AXES.get((len(shape), "window" in self._axes))
        if axes is None:
            raise InputError(
                f"arrays: {self._arrays[name]!r} has the shape {list(shape)}; it must have an axis rows, and may have "
                "window and time. Name others in arrays"
            )
        return axes

    def _arranged(self, name: str, result: NDArray[Any], windows: int) -> NDArray[np.float32]:
        """Return an array of the graph as `[windows, time, rows]`."""
        axes = self._layouts[name]
        array = result.transpose([axes.index(axis) for axis in _OUTPUT_AXES if axis in axes])
        for index, axis in enumerate(_OUTPUT_AXES):
            if axis not in axes:
                array = np.expand_dims(array, index)
        if len(array) != windows or not array.size:
            raise InputError(
                f"arrays: {self._arrays[name]!r} has the shape {list(result.shape)} for {windows} windows, which does "
                f"not match output_axes = {list(axes)}"
            )
        return array.astype(np.float32, copy=False)


def _open(path: Path) -> Any:
    """Return the session of a model, with one thread.

    Raises:
        InputError: onnxruntime is not installed, or the file is missing or no model.
    """
    try:
        import onnx  # noqa: F401  # finds the external data
        import onnxruntime
    except ImportError as error:
        raise InputError(f"requires onnx and onnxruntime: pip install 'musicemo[onnx]' ({error})") from error
    if not path.is_file():
        raise InputError(f"model: the file {path} does not exist")
    options = onnxruntime.SessionOptions()
    options.intra_op_num_threads = options.inter_op_num_threads = 1
    options.log_severity_level = 4
    try:
        return onnxruntime.InferenceSession(str(path), options, providers=["CPUExecutionProvider"])
    except Exception as error:  # the errors of onnxruntime have no common base
        raise InputError(f"model: {path}: is not a usable ONNX model: {_first_line(error)}") from error


def _audio_input(session: Any, name: str | None) -> Any:
    """Return the graph's input for audio."""
    inputs = {one.name: one for one in session.get_inputs()}
    if name is not None and name not in inputs:
        raise InputError(
            f"input: the graph has no input {name!r} (it has {_listed(inputs)}){nearest(name, inputs)}"
        )
    if len(inputs) != 1:
        raise InputError(
            f"model: the graph has {len(inputs)} inputs ({_listed(inputs)}); a graph whose only input is audio is "
            "supported"
        )
    (one,) = inputs.values()
    if one.type not in _TYPES:
        raise InputError(
            f"model: the input {one.name!r} is a {one.type}; it must be one of {', '.join(_TYPES)}"
        )
    return one


def _input_axes(one: Any, axes: Sequence[str] | None) -> Sequence[str]:
    """Return the axes of the audio input."""
    shape = one.shape
    if axes is None:
        axes = {
            1: ["samples"],
            2: ["window", "samples"],
            3: ["window", "channel", "samples"] if shape[1:2] == [1] else ["window", "samples", "channel"],
        }.get(len(shape))
        if axes is None or (len(shape) == 3 and (shape[1:] == [1, 1] or 1 not in shape[1:])):
            raise InputError(
                f"input_axes: is required for an input of shape {shape}, such as "
                '["window", "channel", "samples"]'
            )
    if len(set(axes)) != len(axes) or "samples" not in axes or len(axes) != len(shape):
        raise InputError(
            f"input_axes: must name each axis of the input's shape {shape} once, with samples, not {list(axes)}"
        )
    size = shape[axes.index("channel")] if "channel" in axes else 1
    if isinstance(size, int) and size != 1:
        raise InputError(f"model: the input {one.name!r} has {size} channels; audio is mono")
    return axes


def _window(one: Any, axes: Sequence[str], window: int | None) -> int:
    """Return the number of samples of a window."""
    size = one.shape[axes.index("samples")]
    if not isinstance(size, int):
        if window is None:
            raise InputError(f"window: is required, because the graph does not fix it (shape {one.shape})")
        return window
    if window not in (None, size):
        raise InputError(f"window: the graph reads {size} samples (shape {one.shape}), not {window}")
    return size


def _batch_size(one: Any, axes: Sequence[str], wanted: int) -> int:
    """Return the number of windows that are computed at once."""
    size = one.shape[axes.index("window")] if "window" in axes else 1
    if isinstance(size, int) and size > 1:
        raise InputError(
            f"model: the graph computes {size} windows at once; it must compute any number, or one"
        )
    return size if isinstance(size, int) else wanted


def _named_arrays(session: Any, arrays: Mapping[str, str] | None) -> Mapping[str, str]:
    """Return the arrays of the graph by the names of the outputs."""
    names = [one.name for one in session.get_outputs()]
    if arrays is None:
        return {name: name for name in names}
    for output, name in arrays.items():
        if name not in names:
            raise InputError(
                f"arrays.{output}: the graph has no array {name!r} (it has {_listed(names)}){nearest(name, names)}"
            )
    if not arrays:
        raise InputError(f"arrays: must name at least one array of the graph ({_listed(names)})")
    return arrays


def _durations(
    step: float | Mapping[str, float] | None, counts: Mapping[str, int], window: int
) -> Mapping[str, float]:
    """Return the duration of a time step of each output in samples."""
    steps = step if isinstance(step, Mapping) else dict.fromkeys(counts, step) if step else {}
    unknown = [name for name in steps if name not in counts]
    if unknown:
        raise InputError(
            f"step.{unknown[0]}: is not an output ({_listed(counts)}){nearest(unknown[0], counts)}"
        )
    return {name: steps.get(name) or window / count for name, count in counts.items()}


def _external_data(path: Path) -> list[Path]:
    """Return the files beside a model that have some of its weights."""
    import onnx
    from onnx.external_data_helper import uses_external_data

    names: set[str] = set()

    def visit(tensors: Any) -> None:
        for tensor in filter(uses_external_data, tensors):
            names.update(entry.value for entry in tensor.external_data if entry.key == "location")

    def walk(graph: Any) -> None:
        visit(graph.initializer)
        for node in graph.node:
            for attribute in node.attribute:
                visit([attribute.t, *attribute.tensors])
                for inner in [attribute.g, *attribute.graphs]:
                    walk(inner)

    walk(onnx.load(path, load_external_data=False).graph)
    return [path.parent / name for name in sorted(names)]


def _listed(names: Iterable[str]) -> str:
    return ", ".join(map(repr, names))


def _first_line(error: Exception) -> str:
    return f"{type(error).__name__}: {next(iter(str(error).splitlines()), '')}"
