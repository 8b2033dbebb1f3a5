"""Contract of feature extractors."""

from __future__ import annotations

import itertools
import math
import threading
import time
import typing
from collections.abc import Callable, Collection, Iterator, Mapping, Sequence
from enum import Enum
from pathlib import Path
from typing import Any, Literal

import numpy as np
from numpy.typing import NDArray
from pydantic import ValidationError

from musicemo.components.spec import Component, make_component, signature_schema
from musicemo.contracts import PROVIDED, Extraction, FeatureExtractor, Output
from musicemo.errors import InputError, MusicemoError
from musicemo.messages import muted
from musicemo.testing._contract import Contract, built, require
from musicemo.training.randomness import seed_everything

__all__ = ["check_features"]

_TOLERANCE = 1e-4
"""Largest difference between values that are computed in other batches, relative to the largest value."""

_CLICK = 0.02
"""Duration of the click, in seconds."""

_TIME = 1e-6
"""Tolerance of times, in seconds."""

_GRIDS = ("frame", "beat", "segment", "track")

_SCALARS: Mapping[Any, Sequence[Any]] = {bool: (True, False), int: (1, 2, 7), float: (0.5, 1.0, 2.0)}
"""Type of a parameter -> values to try."""

_SLACK = 64 * 2**20
"""Bytes by which the memory may grow beside the samples and the result."""


def check_features(
    extractor: Any,
    parameters: Mapping[str, Any] | None = None,
    *,
    window: float = 1.0,
    seconds: float | None = None,
    memory: bool = False,
) -> None:
    """Check that a feature extractor meets `musicemo.contracts.FeatureExtractor`.

    Parameters are unchanged after conversion to TOML and back. Every output is float32, finite and `[time, rows]` with
    the declared rows, and has ascending edges `[time + 1]` that cover the clip. This also holds for silence, a constant
    signal, a very quiet and a very loud clip, a clip of 10 ms, and a clip of one sample, before and after `finish`,
    unless `extract` raises an `InputError` with the reason why such a clip has no features.

    A click changes the values of the steps at its time, and no others. A clip has the same values each time, whatever
    was analyzed before. Steps that end well before a cut do not depend on what follows it. Each output can be computed
    alone. The samples are not changed. A parameter in `neutral`, such as the batch size, does not change the values or
    the fingerprint.

    The samples are mono, at the sample rate of the extractor: musicemo mixes and resamples audio before it calls an
    extractor. Parameters that are not in `neutral` need no check of the fingerprint, because the key of the cache
    contains them.

    Args:
        extractor: The class, a function that returns an extractor, or the installed name.
        parameters: Its TOML table, without ``type`` and the keys that work with every extractor.
        window: Longest time, in seconds, by which a step depends on audio before its start or after its end, such as
            the length of a frame. `math.inf` for an extractor that looks at the whole clip.
        seconds: Duration of the longest clip to analyze. By default 8 seconds, or four windows if that is longer.
        memory: Whether to check that the memory does not grow with the clip, which analyzes two minutes of audio.
            Needs Linux.

    Raises:
        ContractError: With one sentence for each violated clause.
        InputError: No extractor of this name is installed.
    """
    __tracebackhide__ = True
    if seconds is None:
        seconds = max(8.0, 4 * window) if math.isfinite(window) else 8.0
    with Contract("features", extractor, parameters) as contract, muted():
        component = contract.configured()
        with contract.clause("construction", "constructing it", essential=True):
            instance: FeatureExtractor = built(contract, component)
        with contract.clause("declaration", "reading what it declares", essential=True):
            _check_declared(instance, component)
        clip = _music(seconds, instance.sample_rate)
        names = tuple(instance.outputs)
        with contract.clause("shape", "analyzing a clip", essential=True):
            reference = _extract(instance, clip.copy(), names)
            _check_extraction(instance, reference, names, clip, "the clip", finite=False)
        _check_values(contract, instance, clip, reference)
        with contract.clause("edges", "analyzing a clip", essential=True):
            _check_edges(instance, reference, len(clip) / instance.sample_rate, window)
        with contract.clause("times", "analyzing a clip with a click"):
            _check_times(instance, clip, reference, window)
        with contract.clause("determinism", "analyzing a clip twice"):
            _check_determinism(contract, component, instance, clip, reference)
        with contract.clause("what follows", "analyzing the beginning of a clip"):
            _check_beginning(instance, clip, reference, window)
        with contract.clause("outputs", "computing one output alone"):
            _check_alone(instance, clip, reference)
        with contract.clause("neutral", "changing its neutral parameters"):
            _check_neutral(contract, component, instance, clip, reference)
        if memory:
            with contract.clause("memory", "analyzing a long clip"):
                _check_memory(instance)


def _extract(instance: FeatureExtractor, samples: NDArray[np.float32], names: Collection[str]) -> Any:
    """Return what `extract` returns; the blocks of an iterator are joined."""
    result = instance.extract(samples, names)
    if not isinstance(result, Iterator):
        return result
    blocks = list(result)
    require(blocks, "extract() yields no block; it yields at least one")
    for block in blocks:
        require(
            isinstance(block, Extraction) and set(names) <= set(block.outputs),
            "extract() yields a block that is not a musicemo.contracts.Extraction with the requested outputs",
        )
    outputs = {}
    for name in names:
        parts = [block.outputs[name] for block in blocks]
        gaps = [abs(after.edges[0] - before.edges[-1]) for before, after in itertools.pairwise(parts)]
        require(
            max(gaps, default=0.0) <= _TIME,
            f"a block of {name!r} does not start where the block before ends; blocks follow each other in time",
        )
        edges = [part.edges[:-1] for part in parts[:-1]] + [parts[-1].edges]
        outputs[name] = Output(np.concatenate([part.values for part in parts]), np.concatenate(edges))
    beats = [block.beats for block in blocks if block.beats is not None]
    return Extraction(outputs, np.concatenate(beats) if beats else None)


def _check_declared(instance: FeatureExtractor, component: Component) -> None:
    rate, outputs = instance.sample_rate, instance.outputs
    require(_positive(rate), f"its sample_rate is {rate!r}; it is an integer above 0, in Hz")
    require(
        isinstance(outputs, Mapping) and outputs,
        f"its outputs are {outputs!r}; they are a mapping of names to numbers of rows, with at least one",
    )
    for name, rows in outputs.items():
        require(isinstance(name, str) and name, f"the name of an output is {name!r}; it is text")
        require(_positive(rows), f"the output {name!r} has {rows!r} rows; it has an integer above 0")
    require(
        isinstance(instance.fingerprint, str) and instance.fingerprint,
        f"its fingerprint is {instance.fingerprint!r}; it is text that changes with the version of the computation",
    )
    parameters = signature_schema(component.factory, PROVIDED["features"]).model_fields
    for name in _texts(instance, "neutral"):
        require(
            name in parameters,
            f"neutral names {name!r}, which is not a constructor parameter (parameters: {', '.join(parameters)})",
        )
    _texts(instance, "pretrained_on")
    for name, labels in getattr(instance, "names", {}).items():
        require(
            name in outputs and len(labels) == len(set(labels)) == outputs[name],
            f"its names of {name!r} are {len(labels)}; each row of an output has a name of its own",
        )
    grid = getattr(instance, "grid", "frame")
    require(grid in _GRIDS, f"its grid is {grid!r}; it is one of {', '.join(_GRIDS)}")


def _positive(value: Any) -> bool:
    return isinstance(value, int) and not isinstance(value, bool) and value > 0


def _texts(instance: FeatureExtractor, attribute: str) -> Sequence[str]:
    value = getattr(instance, attribute, ())
    require(
        isinstance(value, list | tuple | set | frozenset) and all(isinstance(one, str) for one in value),
        f"its {attribute} is {value!r}; it is a tuple of texts",
    )
    return tuple(value)


def _check_values(
    contract: Contract, instance: FeatureExtractor, clip: NDArray[np.float32], reference: Extraction
) -> None:
    """Check clips of all kinds, which must not be changed."""
    names = tuple(instance.outputs)
    with contract.clause("finite", "analyzing a clip", essential=True):
        _check_extraction(instance, reference, names, clip, "the clip")
    problems: list[str] = []
    for label, samples in _clips(clip, instance.sample_rate):
        with contract.clause(label, f"analyzing {label}"):
            before = samples.copy()
            try:
                extraction = _extract(instance, samples, names)
            except InputError:
                continue  # it reports that this clip has no features
            if not np.array_equal(samples, before):
                problems.append(label)
            _check_extraction(instance, extraction, names, samples, label)
    with contract.clause("input", "analyzing clips"):
        require(
            not problems,
            f"it changes the samples of {', '.join(problems[:1])} in place; they belong to the core",
        )


def _check_extraction(
    instance: FeatureExtractor,
    extraction: Any,
    names: Collection[str],
    samples: NDArray[np.float32],
    label: str,
    *,
    finite: bool = True,
) -> None:
    require(
        isinstance(extraction, Extraction),
        f"extract() returns a {type(extraction).__name__}; it returns a musicemo.contracts.Extraction",
    )
    for name in names:
        require(
            name in extraction.outputs,
            f"{label}: extract() does not return the output {name!r}, which was requested (returned: "
            f"{', '.join(map(str, extraction.outputs))})",
        )
        output = extraction.outputs[name]
        require(
            isinstance(output, Output),
            f"{label}: the output {name!r} is a {type(output).__name__}; it is a musicemo.contracts.Output",
        )
        _check_output(output, name, instance.outputs[name], label, finite=finite)
    if extraction.beats is not None:
        beats, duration = np.asarray(extraction.beats), len(samples) / instance.sample_rate
        ascending = beats.ndim == 1 and bool((np.diff(beats) > 0).all())
        require(
            ascending and (not len(beats) or (beats[0] >= 0 and beats[-1] <= duration + _TIME)),
            f"{label}: its beats are not ascending times in seconds, from 0 to the clip's duration of {duration:g} s",
        )
    if finite:
        _check_finish(instance, extraction, names, label)


def _check_output(output: Output, name: str, rows: int, label: str, *, finite: bool) -> None:
    values, edges = output.values, output.edges
    shape = list(getattr(values, "shape", ()))
    require(
        isinstance(values, np.ndarray) and values.dtype == np.float32,
        f"{label}: the values of {name!r} are {_described(values)}; they are a float32 array",
    )
    require(
        len(shape) == 2 and shape[1] == rows and shape[0] > 0,
        f"{label}: the values of {name!r} have shape {shape}; it is [time, rows], here [time, {rows}], with at least "
        "one time step",
    )
    require(
        isinstance(edges, np.ndarray) and edges.dtype == np.float64 and edges.shape == (shape[0] + 1,),
        f"{label}: the edges of {name!r} are {_described(edges)}; they are float64 [time + 1], here [{shape[0] + 1}]",
    )
    require(
        bool(np.isfinite(edges).all() and (np.diff(edges) > 0).all() and edges[0] >= 0),
        f"{label}: the edges of {name!r} are not ascending times in seconds from the start of the samples",
    )
    if finite:
        require(
            bool(np.isfinite(values).all()),
            f"{label}: the output {name!r} has values that are not finite; every value must be",
        )


def _check_finish(
    instance: FeatureExtractor, extraction: Extraction, names: Collection[str], label: str
) -> None:
    """Check `finish` on the values of each step and on their mean over time."""
    finish: Callable[..., Any] | None = getattr(instance, "finish", None)
    if finish is None:
        return
    for mean in (False, True):
        values = {name: extraction.outputs[name].values for name in names}
        values = {name: each.mean(axis=0, keepdims=True) if mean else each for name, each in values.items()}
        finished = finish({name: each.copy() for name, each in values.items()})
        require(
            isinstance(finished, Mapping) and set(finished) == set(names),
            f"{label}: finish() does not return the outputs that it was called with",
        )
        for name, each in finished.items():
            require(
                isinstance(each, np.ndarray) and each.shape == values[name].shape,
                f"{label}: finish() returns {_described(each)} for {name!r}; it keeps the shape "
                f"{list(values[name].shape)}",
            )
            require(
                each.dtype == np.float32 and bool(np.isfinite(each).all()),
                f"{label}: finish() returns values of {name!r} that are not finite float32",
            )


def _check_edges(instance: FeatureExtractor, reference: Extraction, duration: float, window: float) -> None:
    for name in instance.outputs:
        first, last = reference.outputs[name].edges[[0, -1]]
        require(
            first <= window + _TIME and abs(last - duration) <= window + _TIME,
            f"the steps of {name!r} are from {first:.4g} s to {last:.4g} s, though the clip has {duration:.4g} s and "
            f"a step depends on at most {window:g} s around it; they cover the clip",
        )


def _check_times(
    instance: FeatureExtractor, clip: NDArray[np.float32], reference: Extraction, window: float
) -> None:
    """Check that a click changes the steps around its time."""
    rate = instance.sample_rate
    noise = np.random.default_rng(1).uniform(-0.5, 0.5, math.ceil(_CLICK * rate)).astype(np.float32)
    for position in (0.3, 0.8):
        begin = int(position * len(clip))
        clicked = clip.copy()
        clicked[begin : begin + len(noise)] += noise
        start, end = begin / rate, (begin + len(noise)) / rate
        extraction = _extract(instance, clicked, tuple(instance.outputs))
        for name in instance.outputs:
            before, after = reference.outputs[name], extraction.outputs[name]
            require(
                before.values.shape == after.values.shape and np.allclose(before.edges, after.edges),
                f"a click changes the number or the edges of the steps of {name!r}; they depend on the clip's duration",
            )
            change = np.abs(before.values.astype(np.float64) - after.values).max(axis=1)
            require(change.any(), f"a click at {start:.2f} s changes no value of {name!r}")
            changed = np.flatnonzero(change > 0.05 * change.max())
            early = start - after.edges[changed + 1]
            late = after.edges[changed] - end
            distance = np.maximum(early, late)
            worst = int(changed[distance.argmax()])
            require(
                distance.max() <= window + _TIME,
                f"a click at {start:.2f} s changes the step of {name!r} from {after.edges[worst]:.2f} s to "
                f"{after.edges[worst + 1]:.2f} s, though a step depends on at most {window:g} s around it; edges are "
                "the times, in seconds, of the audio that a step describes",
            )


def _check_determinism(
    contract: Contract,
    component: Component,
    instance: FeatureExtractor,
    clip: NDArray[np.float32],
    reference: Extraction,
) -> None:
    names = tuple(instance.outputs)
    other: FeatureExtractor = built(contract, component, 1)
    require(
        other.fingerprint == instance.fingerprint,
        f"another instance with the same parameters has the fingerprint {other.fingerprint!r}, not "
        f"{instance.fingerprint!r}",
    )
    fresh = _extract(other, clip.copy(), names)
    seed_everything(1)
    again = _extract(instance, clip.copy(), names)
    for when, extraction in (
        ("the second time", again),
        ("from another instance, with another seed", fresh),
    ):
        for name in names:
            before, after = reference.outputs[name], extraction.outputs[name]
            require(
                np.array_equal(before.values, after.values) and np.array_equal(before.edges, after.edges),
                f"{name!r} of the same clip is different {when}; it depends on the samples and the parameters only",
            )


def _check_beginning(
    instance: FeatureExtractor, clip: NDArray[np.float32], reference: Extraction, window: float
) -> None:
    """Check that steps do not depend on audio that follows later than the window."""
    if math.isinf(window):
        return
    cut = int(0.613 * len(clip))
    extraction = _extract(instance, clip[:cut].copy(), tuple(instance.outputs))
    for name in instance.outputs:
        whole, part = reference.outputs[name], extraction.outputs[name]
        until = cut / instance.sample_rate - window
        counts = [int((output.edges[1:] <= until + _TIME).sum()) for output in (whole, part)]
        count = min(counts)
        require(
            counts[0] == counts[1] and np.allclose(whole.edges[: count + 1], part.edges[: count + 1]),
            f"{name!r} has other steps before {until:.4g} s if the clip ends at {until + window:.4g} s",
        )
        distance = _distance(whole.values[:count], part.values[:count])
        require(
            distance <= _TOLERANCE,
            f"steps of {name!r} that end {window:g} s before a cut change by {distance:.2g} of the largest value with "
            "what follows the cut; a step depends on at most one window after it. Compute what is relative to the "
            "whole clip in finish()",
        )


def _check_alone(instance: FeatureExtractor, clip: NDArray[np.float32], reference: Extraction) -> None:
    for name in instance.outputs:
        extraction = _extract(instance, clip.copy(), [name])
        _check_extraction(instance, extraction, [name], clip, f"{name!r} alone")
        distance = _distance(reference.outputs[name].values, extraction.outputs[name].values)
        require(
            distance <= _TOLERANCE,
            f"{name!r} differs by {distance:.2g} of the largest value if no other output is requested",
        )


def _check_neutral(
    contract: Contract,
    component: Component,
    instance: FeatureExtractor,
    clip: NDArray[np.float32],
    reference: Extraction,
) -> None:
    for name in sorted(_texts(instance, "neutral")):
        for value in _alternatives(component, name):
            try:
                changed = make_component(
                    contract.kind,
                    contract.name,
                    component.factory,
                    {**contract.parameters, name: value},
                )
                other: FeatureExtractor = changed.build()
            except (ValidationError, MusicemoError):
                continue  # a value that is not allowed, or a device that this machine lacks
            require(
                other.fingerprint == instance.fingerprint,
                f"{name} = {value!r} changes the fingerprint, though {name!r} is in neutral",
            )
            extraction = _extract(other, clip.copy(), tuple(instance.outputs))
            for output, before in reference.outputs.items():
                after = extraction.outputs[output]
                distance = _distance(before.values, after.values)
                require(
                    distance <= _TOLERANCE,
                    f"{name} = {value!r} changes {output!r} by {distance:.2g} of the largest value, though {name!r} is "
                    "in neutral; neutral parameters do not change the values, so that the cache ignores them",
                )


def _alternatives(component: Component, name: str) -> Iterator[Any]:
    """Yield other values of a parameter, of which some may not be allowed."""
    if name == "device":
        yield "cpu"
        return
    field = signature_schema(component.factory, PROVIDED["features"]).model_fields[name]
    present = component.parameters.get(name)
    for hint in typing.get_args(field.annotation) or (field.annotation,):
        if typing.get_origin(field.annotation) is Literal:
            values: Sequence[Any] = [hint]
        elif typing.get_origin(hint) is Literal:
            values = typing.get_args(hint)
        elif isinstance(hint, type) and issubclass(hint, Enum):
            values = [one.value for one in hint]
        else:
            values = _SCALARS.get(hint, [])
        yield from (value for value in values if value != present)


def _check_memory(instance: FeatureExtractor) -> None:
    """Check that memory beyond the samples and the result does not grow with the clip."""
    require(Path("/proc/self/statm").exists(), "memory can only be measured on Linux")
    names = tuple(instance.outputs)
    _extract(instance, _music(5.0, instance.sample_rate), names)  # what is loaded and compiled once
    peaks = []
    for seconds in (20.0, 120.0):
        clip = _music(seconds, instance.sample_rate)
        with _Resident() as resident:
            extraction = _extract(instance, clip, names)
        result = sum(extraction.outputs[name].values.nbytes for name in names)
        peaks.append(resident.growth - 2 * result)
    grown = peaks[1] - max(peaks[0], 0)
    require(
        grown <= _SLACK,
        f"beside the result, two minutes of audio need {grown / 2**20:.0f} MiB more memory than 20 seconds; work in "
        "windows, so that memory does not grow with the clip",
    )


class _Resident:
    """The growth of the resident memory of this process during a ``with`` statement.

    Attributes:
        growth: Bytes by which the highest resident memory exceeded the one at the start.
    """

    def __init__(self) -> None:
        self.growth = 0

    def __enter__(self) -> _Resident:
        self._start = self._now()
        self._done = threading.Event()
        self._thread = threading.Thread(target=self._watch, daemon=True)
        self._thread.start()
        return self

    def __exit__(self, *_: object) -> None:
        self._done.set()
        self._thread.join()
        self._record()

    def _watch(self) -> None:
        while not self._done.is_set():
            self._record()
            time.sleep(0.002)

    def _record(self) -> None:
        self.growth = max(self.growth, self._now() - self._start)

    @staticmethod
    def _now() -> int:
        import resource

        return int(Path("/proc/self/statm").read_text().split()[1]) * resource.getpagesize()


def _clips(clip: NDArray[np.float32], rate: int) -> Iterator[tuple[str, NDArray[np.float32]]]:
    """Yield the clips that every extractor can analyze, with what each is."""
    second = np.ones(rate, np.float32)
    yield "silence", np.zeros_like(second)
    yield "a constant signal", second / np.float32(2)
    yield "a very quiet clip", clip[:rate] / np.float32(1e7)
    yield "a very loud clip", np.sign(clip[:rate])
    yield "a clip of 10 ms", clip[: max(rate // 100, 2)].copy()
    yield "a clip of one sample", clip[1:2].copy()


def _music(seconds: float, rate: int) -> NDArray[np.float32]:
    """Return chords of three notes that change twice a second, with noise, `[samples]`."""
    generator = np.random.default_rng(0)
    time_ = np.arange(max(int(seconds * rate), 2)) / rate
    chord = (2 * time_).astype(int)
    samples = 0.01 * generator.standard_normal(len(time_))
    for voice, semitones in enumerate((0, 4, 7)):
        hertz = 220.0 * 2 ** ((semitones + (5 * chord + voice) % 12) / 12)
        samples += 0.2 * np.sin(2 * np.pi * np.cumsum(hertz) / rate)
    return np.clip(samples, -1, 1).astype(np.float32)


def _distance(before: NDArray[np.float32], after: NDArray[np.float32]) -> float:
    """Return the largest absolute difference of two arrays, relative to the largest absolute value."""
    if before.shape != after.shape:
        return math.inf
    if not before.size:
        return 0.0
    difference = float(np.abs(before.astype(np.float64) - after).max())
    return difference / (float(np.abs(before).max()) or 1.0)


def _described(value: Any) -> str:
    return (
        f"{value.dtype} {list(value.shape)}" if isinstance(value, np.ndarray) else f"a {type(value).__name__}"
    )
