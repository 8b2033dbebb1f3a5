"""The feature extractor `musicnn`."""

from __future__ import annotations

import math
from collections.abc import Collection, Iterator, Mapping
from pathlib import Path
from typing import Annotated, Literal

import numpy as np
import torch
from numpy.typing import NDArray
from pydantic import Field
from torch import Tensor

from musicemo.contracts import Extraction, Output
from musicemo.errors import InputError
from musicemo_musicnn.network import MusiCNN
from musicemo_musicnn.spectrogram import HOP, RATE, log_mel
from musicemo_musicnn.weights import PACKAGED, content_hash, load_weights

__all__ = ["PRETRAINED_ON", "MusiCNNFeatures"]

PRETRAINED_ON = {"MSD_musicnn": ("msd",), "MTT_musicnn": ("magnatagatune", "magnatune")}
"""Model -> the corpora that its weights have seen."""

_VERSION = 1
"""Changes with every change of the code that changes the values."""

_BY_FRAME = ("timbral", "temporal", "cnn1", "cnn2", "cnn3")
_STEP = HOP / RATE


class MusiCNNFeatures:
    """Layers and tags of MusiCNN, a network for music tagging, in windows of three seconds.

    The samples at 16 kHz become a log-mel spectrogram, log10(1 + 10000 m), with m the power in 96 mel bands of Fourier
    transforms of 512 samples every 256 samples. The network sees windows of 187 frames:

    - ``timbral`` (408 rows), ``temporal`` (153), ``cnn1``, ``cnn2``, ``cnn3`` (64 each): a step per frame, 16 ms;
    - ``mean_pool``, ``max_pool`` (753 each: all of the above, over the window), ``penultimate`` (200) and ``tags`` (50
      probabilities, `TAGS`): a step per window.

    Window k begins at k times the hop, and describes the music from there to the next one's begin. The last window is
    the last three seconds of the clip, so that it is complete too; it describes what the others do not. A clip that is
    shorter than a window is followed by silence.

    J. Pons, X. Serra, "musicnn: Pre-trained Convolutional Neural Networks for Music Audio Tagging", Late-breaking
    session of ISMIR, 2019. Deviations: the spectrogram is not rounded to half precision, and the end of a clip is not
    left out.

    Args:
        model: Training data of the weights: the Million Song Dataset or MagnaTagATune.
        weights: Other weights of the model, such as those of the larger ``MSD_musicnn_big``: the folder of a TensorFlow
            checkpoint (with ``.index``), or a file that ``python -m musicemo_musicnn.convert`` has written.
        window: Length of a window in seconds. The network was trained with 3 s.
        hop: Seconds between the beginnings of windows; by default, the window's length.
        device: Device of the computation: "auto", "cpu", "cuda", "cuda:N" or "mps".
        batch_size: Number of windows that are computed at once.

    Raises:
        InputError: The weights are missing, damaged or of another network, the device is not available, or the hop is
            longer than the window.
    """

    sample_rate = RATE
    grid = "segment"
    neutral = ("device", "batch_size")

    def __init__(
        self,
        *,
        model: Literal["MSD_musicnn", "MTT_musicnn"] = "MSD_musicnn",
        weights: Path | None = None,
        window: Annotated[float, Field(ge=0.1, le=60)] = 3.0,
        hop: Annotated[float, Field(ge=_STEP)] | None = None,
        device: str = "auto",
        batch_size: Annotated[int, Field(ge=1)] = 4,
    ) -> None:
        if hop is not None and hop > window:
            raise InputError(
                f"hop: {hop:g} s is longer than the window of {window:g} s, which leaves music out"
            )
        path = PACKAGED / f"{model}.npz" if weights is None else weights
        arrays = load_weights(path)
        self.device = _choose_device(device)
        try:
            self.network = MusiCNN(arrays).eval().to(self.device)
            layers = self._compute(np.zeros(1, np.float32), [0], 1)
        except (KeyError, RuntimeError) as error:
            raise InputError(f"{path}: not the weights of MusiCNN: {error}") from error
        self.outputs: Mapping[str, int] = {name: values.shape[-1] for name, values in layers.items()}
        self.pretrained_on = PRETRAINED_ON[model]
        self.fingerprint = f"musicnn {_VERSION} {content_hash(arrays)}"
        self.window, self.hop = (int(seconds / _STEP) for seconds in (window, hop or window))
        self.batch_size = batch_size

    def extract(self, samples: NDArray[np.float32], outputs: Collection[str]) -> Iterator[Extraction]:
        """Yield the layers that are needed, batch by batch, with a step per frame or per window."""
        frames = max(1, len(samples) // HOP)
        windows = 1 + max(0, math.ceil((frames - self.window) / self.hop))
        bounds = np.append(np.arange(windows) * self.hop, frames)
        starts = np.minimum(bounds[:-1], max(0, frames - self.window))
        for first in range(0, windows, self.batch_size):
            last = min(first + self.batch_size, windows)
            part, steps = starts[first:last], bounds[first : last + 1]
            layers = self._compute(samples, part.tolist(), self.window)
            end = len(samples) / RATE if last == windows else steps[-1] * _STEP
            kept = [slice(*pair) for pair in zip(steps[:-1] - part, steps[1:] - part, strict=True)]
            result = {}
            for name in outputs:
                values = layers[name].numpy()
                if name in _BY_FRAME:
                    values = np.concatenate([window[each] for window, each in zip(values, kept, strict=True)])
                begins = np.arange(steps[0], steps[-1]) if name in _BY_FRAME else steps[:-1]
                result[name] = Output(values, np.append(begins * _STEP, end))
            yield Extraction(result)

    @torch.inference_mode()
    def _compute(self, samples: NDArray[np.float32], starts: list[int], length: int) -> dict[str, Tensor]:
        """Return the layers of the windows of `length` frames that start at these frames."""
        first = starts[0]
        spectrogram = log_mel(samples, first, starts[-1] + length, self.device)
        windows = torch.stack([spectrogram[start - first :][:length] for start in starts])
        with torch.backends.cudnn.flags(allow_tf32=False):
            layers: dict[str, Tensor] = self.network(windows)
        return {name: values.cpu() for name, values in layers.items()}


def _choose_device(name: str) -> torch.device:
    if name == "auto":
        name = "cuda" if torch.cuda.is_available() else "mps" if torch.backends.mps.is_available() else "cpu"
    try:
        return torch.zeros(1, device=name).device
    except (AssertionError, RuntimeError) as error:
        raise InputError(f'device: {name!r} is not available on this machine. Use "auto" or "cpu"') from error
