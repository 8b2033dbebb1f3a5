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
from musicemo_musicnn.musicnn import MusiCNN
from musicemo_musicnn.spectrogram import HOP, RATE, log_mel
from musicemo_musicnn.vgg import VGG
from musicemo_musicnn.weights import PACKAGED, content_hash, load_weights

__all__ = ["PRETRAINED_ON", "MusiCNNFeatures"]

PRETRAINED_ON = {"MSD_musicnn": ("msd",), "MSD_vgg": ("msd",), "MTT_musicnn": ("magnatagatune", "magnatune")}
"""Model -> the corpora that its weights have seen."""

_NETWORKS: Mapping[str, type[MusiCNN | VGG]] = {"MSD_musicnn": MusiCNN, "MSD_vgg": VGG, "MTT_musicnn": MusiCNN}

_VERSION = 1
"""Changes with every change of the code that changes the values."""

_STEP = HOP / RATE


class MusiCNNFeatures:
    """Layers and tags of MusiCNN or VGG, networks for music tagging, in windows of three seconds.

    The samples at 16 kHz become a log-mel spectrogram, log10(1 + 10000 m), with m the power in 96 mel bands of Fourier
    transforms of 512 samples every 256 samples. The network sees windows of 187 frames. The outputs of MusiCNN:

    - ``timbral`` (408 rows), ``temporal`` (153), ``cnn1``, ``cnn2``, ``cnn3`` (64 each): a step per frame, 16 ms;
    - ``mean_pool``, ``max_pool`` (753 each: all of the above, over the window), ``penultimate`` (200) and ``tags`` (50
      probabilities, `TAGS`): a step per window.

    Those of VGG:

    - ``pool1`` (6144 rows), ``pool2`` (3072), ``pool3`` (1536), ``pool4`` (768), ``pool5`` (128): 128 filters in 48,
      24, 12, 6 bands and 1 band, a step every 2, 4, 8, 16, 64 frames; the last step of a window lasts to its end;
    - ``tags`` (50): a step per window.

    Window k begins at k times the hop, and describes the music from there to the next one's begin. The last window is
    the last three seconds of the clip, so that it is complete too; it describes what the others do not. A clip that is
    shorter than a window is followed by silence.

    J. Pons, X. Serra, "musicnn: Pre-trained Convolutional Neural Networks for Music Audio Tagging", Late-breaking
    session of ISMIR, 2019. Deviations: the spectrogram is not rounded to half precision, and the end of a clip is not
    left out.

    Args:
        model: Training data of the weights, the Million Song Dataset or MagnaTagATune, and the network.
        weights: Other weights of the model, such as those of the larger ``MSD_musicnn_big``: the folder of a TensorFlow
            checkpoint (with ``.index``), or a file that ``python -m musicemo_musicnn.convert`` has written.
        window: Length of a window in seconds. The networks were trained with 3 s; VGG needs 2.08 to 3.09 s.
        hop: Seconds between the beginnings of windows; by default, the window's length.
        device: Device of the computation: "auto", "cpu", "cuda", "cuda:N" or "mps".
        batch_size: Number of windows that are computed at once.

    Raises:
        InputError: The weights are missing, damaged or of another network, the device is not available, the hop is
            longer than the window, or the window has a length that the network does not allow.
    """

    sample_rate = RATE
    grid = "segment"
    neutral = ("device", "batch_size")

    def __init__(
        self,
        *,
        model: Literal["MSD_musicnn", "MSD_vgg", "MTT_musicnn"] = "MSD_musicnn",
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
        network = _NETWORKS[model]
        self.window, self.hop = (int(seconds / _STEP) for seconds in (window, hop or window))
        if self.window not in network.frames:
            least, most = network.frames[0] * _STEP, network.frames[-1] * _STEP
            raise InputError(f"window: {window:g} s is not possible with {model} ({least:.2f} to {most:.2f} s)")
        path = PACKAGED / f"{model}.npz" if weights is None else weights
        arrays = load_weights(path)
        self.device = _choose_device(device)
        try:
            self.network = network(arrays).eval().to(self.device)
            layers = self._compute(np.zeros(1, np.float32), [0], network.frames[0])
        except (KeyError, RuntimeError) as error:
            raise InputError(f"{path}: not the weights of {network.__name__}: {error}") from error
        self.outputs: Mapping[str, int] = {name: values.shape[-1] for name, values in layers.items()}
        self.pretrained_on = PRETRAINED_ON[model]
        self.fingerprint = f"musicnn {_VERSION} {content_hash(arrays)}"
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
            result = {}
            for name in outputs:
                values = layers[name].numpy()
                begins = np.arange(values.shape[1]) * self.network.steps.get(name, self.window)
                until = np.append(begins[1:], self.window)
                kept, edges = [], []
                for window, start, begin, stop in zip(values, part, steps[:-1], steps[1:], strict=True):
                    inside = (start + until > begin) & (start + begins < stop)
                    kept.append(window[inside])
                    edges.append(np.maximum(start + begins[inside], begin))
                result[name] = Output(np.concatenate(kept), np.append(np.concatenate(edges) * _STEP, end))
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
