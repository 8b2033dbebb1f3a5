"""Tiny songs in place of real ones: a chord with a pulse, of which each number gives another."""

from __future__ import annotations

from pathlib import Path

import numpy as np
import soundfile

RATE = 22050


def write_song(path: Path, number: int = 0, seconds: float = 0.5) -> Path:
    """Write a song in the format of its suffix, folders included."""
    time = np.arange(int(seconds * RATE)) / RATE
    tones = sum(np.sin(2 * np.pi * 220 * 2 ** ((number + step) / 12) * time) for step in (0, 4, 7))
    path.parent.mkdir(parents=True, exist_ok=True)
    soundfile.write(path, (0.2 * tones * (1 - 4 * time % 1)).astype("float32"), RATE)
    return path


def write_text(path: Path, text: str) -> Path:
    path.parent.mkdir(parents=True, exist_ok=True)
    path.write_text(text, encoding="utf-8")
    return path
