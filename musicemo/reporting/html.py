"""A page as one HTML file."""

from __future__ import annotations

import base64
import hashlib
import os
from functools import cache, partial
from importlib import resources
from pathlib import Path
from typing import TYPE_CHECKING, Any, get_args
from urllib.parse import quote

from musicemo.reporting.blocks import Block, Cell, Label, Page, as_cell
from musicemo.reporting.charts import Chart, legend, to_svg
from musicemo.terminal import visible

if TYPE_CHECKING:
    from jinja2 import Template

__all__ = ["render"]


def render(page: Page, folder: Path | None = None) -> str:
    """Return the page as HTML that stands alone.

    Only the files of its players are fetched, and only a page with players has a script.

    Args:
        page: The page.
        folder: The folder in which it is written, to which links to other files are relative. None: no links and
            no players.
    """
    style, script = _resource("style.css"), _resource("players.js")
    return visible(_template().render(page=page, style=style, script=script, folder=folder))


def _relative(link: Path, folder: Path) -> str:
    return quote(Path(os.path.relpath(link, folder)).as_posix())


def _digest(script: str) -> str:
    """Return the checksum that a security policy has of a script."""
    return base64.b64encode(hashlib.sha256(script.encode()).digest()).decode()


def _resource(name: str) -> str:
    return (resources.files(__package__) / name).read_text(encoding="utf-8")


def _shown(cell: Cell) -> dict[str, Any]:
    """Return a cell's text and its smaller text; numbers get minus signs."""
    cell = as_cell(cell)
    minus = "-" if isinstance(cell, Label) else "−"
    more = " ".join(filter(None, [cell.interval.replace("-", minus), cell.note]))
    link, players = (cell.link, cell.players) if isinstance(cell, Label) else (None, {})
    return {
        "text": cell.text.replace("-", minus),
        "more": more,
        "strong": cell.strong,
        "link": link,
        "players": players,
    }


@cache
def _template() -> Template:
    import jinja2
    from markupsafe import Markup

    environment = jinja2.Environment(
        autoescape=True, undefined=jinja2.StrictUndefined, trim_blocks=True, lstrip_blocks=True
    )

    # SVG keeps a page small: 6 kB a chart against 118 kB of a PNG, and its colours follow the reader's theme.
    def drawn(chart: Chart, folder: Path | None) -> Markup:
        return Markup(
            to_svg(chart, None if folder is None else partial(_relative, folder=folder))
        )  # it escapes

    environment.filters["svg"] = drawn

    def keys(chart: Chart) -> list[tuple[Markup, str]]:
        return [(Markup(symbol), label) for symbol, label in legend(chart)]  # likewise

    environment.filters["legend"] = keys
    environment.filters["cell"] = _shown
    environment.filters["relative"] = _relative
    environment.filters["digest"] = _digest
    environment.tests |= {kind.__name__.lower(): _is(kind) for kind in get_args(Block)}
    return environment.from_string(_resource("page.html"))


def _is(kind: type) -> Any:
    return lambda block: isinstance(block, kind)
