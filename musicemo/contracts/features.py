"""The contract of feature extractors: from audio to arrays over time."""

from __future__ import annotations

from collections.abc import Collection, Iterator, Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Literal, Protocol, runtime_checkable

import numpy as np
from numpy.typing import NDArray

from musicemo.contracts.dataset import ArrayFile

__all__ = ["ArrayReader", "Bands", "Extraction", "FeatureExtractor", "Output"]


@dataclass(frozen=True, slots=True)
class Bands:
    """The rows of an output that are frequency bands, or the twelve pitch classes.

    Attributes:
        kind: "frequency" for bands of ascending frequency, "pitch-class" for pitch classes in semitones, of which the
            last is next to the first.
        centers: Center frequency of each band in Hz; empty for pitch classes.
        decibel: Difference of the values that corresponds to 1 dB, if they are logarithmic, otherwise None.
    """

    kind: Literal["frequency", "pitch-class"]
    centers: tuple[float, ...] = ()
    decibel: float | None = None


@dataclass(frozen=True, slots=True, eq=False)
class Output:
    """One array of an extractor.

    Attributes:
        values: `[time, rows]`, float32 and finite.
        edges: `[time + 1]`, in seconds from the start of the samples, ascending: `values[i]` describes the music from
            `edges[i]` to `edges[i + 1]`. A vector for the whole clip has the edges 0 and the clip's duration.
    """

    values: NDArray[np.float32]
    edges: NDArray[np.float64]

    @classmethod
    def regular(cls, values: NDArray[np.float32], step: float) -> Output:
        """Return an output with one time step every `step` seconds, from 0."""
        return cls(values, np.arange(len(values) + 1, dtype=np.float64) * step)


@dataclass(frozen=True, slots=True, eq=False)
class Extraction:
    """The features of one clip.

    Attributes:
        outputs: Name -> array, with at least those that were requested.
        beats: Times of the beats in seconds, ascending, if the extractor tracks them; otherwise None, and the core
            tracks them when it needs them.
    """

    outputs: Mapping[str, Output]
    beats: NDArray[np.float64] | None = None


@runtime_checkable
class FeatureExtractor(Protocol):
    """Computes features of a clip, in one or several outputs.

    The core decodes the audio, mixes it to mono, resamples it to `sample_rate`, and cuts the excerpt. It pools the
    outputs onto the time grid of the experiment, caches them, and gives them to the network. An extractor is only the
    computation; training, ``musicemo extract`` and ``musicemo predict`` use the same one.

    Optional attributes:

    - ``pretrained_on``: the corpora that its weights have seen, such as ``("msd",)``. A dataset that is drawn from one
      of them causes a warning.
    - ``neutral``: the names of constructor parameters that do not change the values, such as
      ``("device", "batch_size")``.
    - ``device``: the torch device that it computes on. Such an extractor runs in one process; any other runs in one
      process per core, with one thread.
    - ``grid``: the time grid if the experiment does not choose one: "frame", the extractor's own time steps, if absent.
    - ``bands``: output -> `Bands`, for outputs whose rows are frequency bands or pitch classes. Augmentations that mask
      or shift frequencies need it.
    - ``names``: output -> the names of its rows, such as those of acoustic descriptors.
    - ``common_unit``: the names of outputs whose rows share one unit, so that the distance between two vectors has a
      meaning. ``scaling.method = "balanced"`` divides such rows by one number.
    - ``pool``: the pooling of time steps if the experiment does not choose one: "mean" if absent.
    - ``finish(values: dict[str, NDArray]) -> dict[str, NDArray]``: what is done after pooling, with the arrays
      `[time, rows]` of a clip, such as the conversion of power to decibels relative to the clip's maximum.
    - ``executes``: the name of a parameter which, if true, lets the extractor execute code of files that it reads, such
      as that of a model. A run with it is loaded only with ``--trust-local-code``.
    - ``graph(outputs) -> onnx.ModelProto``: the same computation as an ONNX model, which ``musicemo export`` puts
      before the network. Its input is ``samples`` `[samples]`; for each output it has an array of its name
      `[time, rows]`, and the edges ``<name>.edges`` `[time + 1]`, float64, the last of which is the clip's duration.
    """

    #: Sample rate of the samples, in Hz.
    sample_rate: int
    #: Name -> number of rows, in the order in which they are concatenated.
    outputs: Mapping[str, int]
    #: Text that changes with everything that determines the values, apart from the parameters: the version of the
    #: computation, the version of a package, the hash of weights.
    fingerprint: str

    def extract(
        self, samples: NDArray[np.float32], outputs: Collection[str]
    ) -> Extraction | Iterator[Extraction]:
        """Compute the features of a clip.

        The values of a time step must not depend on what follows later than the extractor's window, nor on how time
        steps are combined in batches. The memory beyond the samples and the result must not grow with the clip: work in
        windows.

        Args:
            samples: `[samples]`, mono, from -1 to 1, finite, at least one. The clip can be silent, and shorter than a
                window of the extractor.
            outputs: Names of the outputs that are needed; others may be omitted.

        Returns:
            The features; or, where those of a long clip need much memory, an iterator of the features of parts of the
            clip, in the order of time. Each part has all requested outputs, its edges in seconds from the start of the
            clip; its first edge is the last one of the part before. The core pools part by part.

        Raises:
            InputError: The clip has no features, with the reason.
        """
        ...


@runtime_checkable
class ArrayReader(Protocol):
    """Finds the ready-made arrays of tracks that a dataset yields as files.

    It is registered and configured like a feature extractor, for tracks with `Track.features` instead of audio.
    """

    #: Steps per second, which the grid "segment" requires; None if unknown.
    rate: float | None

    def locate(self, features: Path) -> Sequence[ArrayFile]:
        """Return the arrays of a track's file, which are concatenated along their rows. Reads headers only.

        Raises:
            InputError: The file does not have the arrays; the message begins with the path.
        """
        ...
