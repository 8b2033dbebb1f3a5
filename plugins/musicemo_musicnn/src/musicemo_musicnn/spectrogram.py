"""The log-mel spectrogram that MusiCNN was trained on."""

from __future__ import annotations

import numpy as np
import torch
from numpy.typing import NDArray
from torch import Tensor

from musicemo.features import mel_filters

__all__ = ["BANDS", "HOP", "RATE", "log_mel"]

RATE, SIZE, HOP, BANDS = 16000, 512, 256, 96
"""Samples per second, of a Fourier transform, and from one to the next; mel bands."""


def log_mel(samples: NDArray[np.float32], first: int, stop: int, device: torch.device) -> Tensor:
    """Compute frames `first` to `stop` of the spectrogram log10(1 + 10000 m), with m the power in mel bands.

    Frame t is centered on sample 256 t. There is silence before the first sample and after the last one.

    Args:
        samples: `[samples]` at 16 kHz.
        first: First frame.
        stop: Frame after the last one.
        device: Device of the computation.

    Returns:
        `[stop - first, 96]`.
    """
    begin, end = first * HOP - SIZE // 2, (stop - 1) * HOP + SIZE // 2
    part = samples[max(begin, 0) : end]
    before = max(-begin, 0)
    part = np.pad(part, (before, end - begin - before - len(part)))
    frames = torch.from_numpy(part).to(device).unfold(0, SIZE, HOP)
    power = torch.fft.rfft(frames * torch.hann_window(SIZE, device=device)).abs().square()
    filters, _ = mel_filters(RATE, SIZE, BANDS)
    mel = power @ torch.from_numpy(filters).to(device).T
    return torch.log10(1 + 10000 * mel)
