"""Draw a report as shown by a browser: on a wide screen in the light theme, on a phone in the dark one. Needs Chromium.

musicemo run experiments/joint.toml
python docs/figures/report.py runs/joint/RUN/report.html docs/figures/report.png
"""

from __future__ import annotations

import sys
import tempfile
from pathlib import Path

from PIL import Image

sys.path.insert(0, str(Path(__file__).parents[2] / "tests" / "support"))

from browser import Browser, find_chromium

WIDE, PHONE, HEIGHT = 1240, 400, 1500
GAP = 40
COLOURS = 160


def main(report: Path, out: Path) -> None:
    """Write both pictures beside one another."""
    chromium = find_chromium()
    if chromium is None:
        sys.exit("there is no Chromium")
    views = [(WIDE, HEIGHT, False, 1), (PHONE, HEIGHT, True, 1)]
    with Browser(chromium) as browser, tempfile.TemporaryDirectory() as folder:
        pictures = []
        for width, height, dark, scale in views:
            browser.open(report, width=width, height=height, dark=dark, scale=scale)
            path = Path(folder) / f"{width}.png"
            browser.screenshot(path, whole=False)
            pictures.append(Image.open(path).convert("RGB"))
    whole = Image.new("RGB", (sum(one.width for one in pictures) + GAP, HEIGHT), "white")
    whole.paste(pictures[0], (0, 0))
    whole.paste(pictures[1], (pictures[0].width + GAP, 0))
    whole.quantize(COLOURS, method=Image.Quantize.MAXCOVERAGE, dither=Image.Dither.NONE).save(
        out, optimize=True
    )


if __name__ == "__main__":
    main(Path(sys.argv[1]), Path(sys.argv[2]))
