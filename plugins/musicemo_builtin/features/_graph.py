"""An ONNX model that computes windows, between a graph that cuts a clip and one that selects time steps."""

from __future__ import annotations

import contextlib
import io
import tempfile
import warnings
from collections.abc import Mapping, Sequence
from typing import Any

import torch
from numpy.typing import NDArray
from torch import Tensor, nn

__all__ = ["Cut", "Select", "composed"]

_OUTPUT_AXES = ("window", "time", "rows")


class Cut(nn.Module):
    """The windows of a clip, as `cut` and `Window.samples` make them, in the axes of a graph's input.

    Args:
        length: Number of samples of a window.
        hop: Number of samples between the starts of two windows.
        pad: Number of zeros before and after the clip.
        order: Axes of the input, by their places in window, samples, channel.
        dtype: Type of the input.
    """

    def __init__(self, length: int, hop: int, pad: int, order: Sequence[int], dtype: str) -> None:
        super().__init__()
        self.length, self.hop, self.pad = length, hop, pad
        self.order, self.dtype = order, getattr(torch, dtype)

    def forward(self, samples: Tensor) -> tuple[Tensor, Tensor]:
        """Return the windows of `samples` `[samples]`, and the number of samples."""
        count = (samples.shape[0] + self.hop - 1) // self.hop
        padded = nn.functional.pad(samples, (self.pad, self.length))
        places = torch.arange(count)[:, None] * self.hop + torch.arange(self.length)
        windows = padded[places][:, :, None].to(self.dtype)
        absent = [axis for axis in range(3) if axis not in self.order]
        windows = windows.permute(*self.order, *absent)
        for _ in absent:
            windows = windows.squeeze(-1)
        return windows, torch.ones_like(samples, dtype=torch.int64).sum()


class Select(nn.Module):
    """The time steps of a clip, as `merged` returns them, from a graph's arrays for all its windows.

    Args:
        layouts: Axes, and duration of a time step in samples, of each array.
        hop: Number of samples between the starts of two windows.
        pad: Number of zeros before and after the clip, and of samples on each side of a window that are dropped.
        rate: Sample rate in Hz.
    """

    def __init__(self, layouts: Sequence[tuple[Sequence[str], float]], hop: int, pad: int, rate: int) -> None:
        super().__init__()
        self.layouts, self.hop, self.pad, self.rate = layouts, hop, pad, rate

    def forward(self, samples: Tensor, *arrays: Tensor) -> tuple[Tensor, ...]:
        """Return the values `[time, rows]` and the edges `[time + 1]` of each array."""
        results: list[Tensor] = []
        for array, (axes, step) in zip(arrays, self.layouts, strict=True):
            array = array.permute([axes.index(axis) for axis in _OUTPUT_AXES if axis in axes]).float()
            if "time" not in axes:
                array = array[:, None]
            results += self._selected(array, step, samples.double())
        return tuple(results)

    def _selected(self, array: Tensor, step: float, samples: Tensor) -> tuple[Tensor, Tensor]:
        count, steps = array.shape[:2]
        windows = torch.arange(count).double()[:, None]
        places = torch.arange(steps)
        starts = windows * self.hop - self.pad + places.double() * step
        centers = starts + step / 2
        begins = windows * self.hop
        last = windows == count - 1
        ends = torch.where(last, samples, begins + self.hop)
        before = starts < ends
        if self.pad:
            before = before & (last | (centers < ends))
        first = (centers < begins).sum(1, keepdim=True).clamp(max=steps - 1)
        kept = (places >= first) & (places < torch.maximum(before.sum(1, keepdim=True), first + 1))
        starts = torch.where(places == first, begins, starts)
        return array[kept], torch.cat([starts[kept], samples[None]]) / self.rate


def composed(
    model: Any,
    name: str,
    arrays: Mapping[str, str],
    cut: Cut,
    select: Select,
    examples: Sequence[NDArray[Any]],
) -> Any:
    """Return `select` after a model after `cut`, as one ONNX model.

    Args:
        model: The ONNX model.
        name: Name of its input.
        arrays: Output -> name of the model's array.
        cut: Cuts the clip.
        select: Selects the time steps.
        examples: Arrays for some windows, in the order of `arrays`.
    """
    from onnx import compose, version_converter

    (opset,) = (one.version for one in model.opset_import if one.domain in ("", "ai.onnx"))
    if not _OLDEST <= opset <= _NEWEST:
        model = version_converter.convert_version(model, opset := min(max(opset, _OLDEST), _NEWEST))
    front = _exported(cut, (torch.zeros(2 * cut.length),), ["samples"], ["windows", "count"], opset)
    inputs = [f"windowed.{index}" for index in range(len(arrays))]
    outputs = [text for output in arrays for text in (output, f"{output}.edges")]
    tensors = [torch.from_numpy(example) for example in examples]
    back = _exported(select, (torch.tensor(2 * cut.length), *tensors), ["count", *inputs], outputs, opset)
    model = compose.add_prefix(model, "extractor/")
    front = compose.add_prefix(front, "cut/", rename_inputs=False)
    back = compose.add_prefix(back, "select/", rename_outputs=False)
    newest = max(one.ir_version for one in (front, model, back))
    for one in (front, model, back):
        one.ir_version = newest
    joint = compose.merge_models(front, model, [("cut/windows", f"extractor/{name}")])
    links = [
        (f"extractor/{array}", f"select/{place}") for array, place in zip(arrays.values(), inputs, strict=True)
    ]
    return compose.merge_models(joint, back, [("cut/count", "select/count"), *links], outputs=outputs)


_OLDEST, _NEWEST = 14, 20
"""Versions of ONNX's operators that torch can export."""


def _exported(
    module: nn.Module, arguments: tuple[Tensor, ...], inputs: Sequence[str], outputs: Sequence[str], opset: int
) -> Any:
    import onnx

    with (
        warnings.catch_warnings(),
        contextlib.redirect_stdout(io.StringIO()),
        torch.no_grad(),
        tempfile.TemporaryDirectory() as folder,
    ):
        warnings.simplefilter("ignore")  # of what tracing fixes; the graph is compared with the extractor
        torch.onnx.export(
            module.eval(),
            arguments,
            f"{folder}/model.onnx",
            input_names=list(inputs),
            output_names=list(outputs),
            dynamic_axes={
                name: {axis: f"{name}.{axis}" for axis in range(tensor.ndim)}
                for name, tensor in zip(inputs, arguments, strict=True)
            },
            opset_version=opset,
            dynamo=False,  # the tracer keeps the arithmetic of sizes
        )
        return onnx.load(f"{folder}/model.onnx")
