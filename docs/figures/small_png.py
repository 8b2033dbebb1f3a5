"""Save figures as PNG files that are small enough for the repository."""

from __future__ import annotations

import io
from pathlib import Path

from matplotlib.figure import Figure
from PIL import Image

__all__ = ["save"]


def save(figure: Figure, path: Path) -> None:
    """Save a figure with 48 colors, and print its size."""
    drawn = io.BytesIO()
    figure.savefig(drawn, dpi=75)
    Image.open(drawn).convert("RGB").quantize(48).save(path, optimize=True)
    print(f"{path}: {path.stat().st_size / 1000:.0f} kB")
