"""A page as plain data: sections of tables, charts and texts; and how it becomes one HTML file."""

from __future__ import annotations

import re
from collections.abc import Iterable, Sequence
from dataclasses import dataclass, field
from functools import cache
from importlib import resources
from typing import TYPE_CHECKING, Any, get_args

from musicemo.reporting.charts import Chart, legend, to_svg
from musicemo.terminal import visible

if TYPE_CHECKING:
    from jinja2 import Template

__all__ = ["Cell", "Charts", "Code", "Facts", "Notice", "Page", "Section", "Table", "Tables", "Text", "render"]


@dataclass(frozen=True)
class Cell:
    """A table's cell with what stands smaller behind it."""

    text: str
    more: str = ""
    strong: bool = False


@dataclass(frozen=True)
class Text:
    """A paragraph."""

    text: str


@dataclass(frozen=True)
class Notice:
    """A paragraph that must not be overlooked."""

    text: str
    #: ``note``, ``warning`` or ``error``.
    kind: str = "note"
    #: Shown as it is, line by line.
    detail: str = ""


@dataclass(frozen=True)
class Facts:
    """Names and values."""

    rows: Sequence[tuple[str, str]]


@dataclass(frozen=True)
class Table:
    """Rows under named columns; the first column names the row, numbers stand to the right."""

    columns: Sequence[str]
    rows: Sequence[Sequence[str | Cell]]
    title: str = ""
    note: str = ""
    #: Columns of text, which stand to the left.
    texts: frozenset[int] = frozenset({0})


@dataclass(frozen=True)
class Charts:
    """Small charts beside one another."""

    charts: Sequence[Chart]
    title: str = ""
    note: str = ""


@dataclass(frozen=True)
class Code:
    """Text to be copied, folded."""

    title: str
    text: str


@dataclass(frozen=True)
class Tables:
    """Small tables beside one another."""

    tables: Sequence[Table]


Block = Text | Notice | Facts | Table | Tables | Charts | Code


@dataclass(frozen=True)
class Section:
    """A part of the page with a heading."""

    title: str
    blocks: Sequence[Block]

    @property
    def slug(self) -> str:
        """Its name in links."""
        return re.sub(r"[^a-z0-9]+", "-", self.title.lower()).strip("-")


@dataclass(frozen=True)
class Page:
    """The page as a whole."""

    #: What kind of page it is.
    kind: str
    title: str
    description: str
    #: done, running, failed, interrupted; nothing where there are several.
    status: str
    #: What must be seen first: names and values.
    facts: Sequence[tuple[str, str]]
    notices: Sequence[Notice]
    sections: Sequence[Section]
    footer: Sequence[str] = field(default_factory=tuple)

    def charts(self) -> Iterable[tuple[str, Chart]]:
        """Yield every chart, with the name that a file of it has."""
        for section in self.sections:
            for block in section.blocks:
                if isinstance(block, Charts):
                    for chart in block.charts:
                        yield f"{section.slug}-{chart.name or chart.title}", chart


def render(page: Page) -> str:
    """Return the page as HTML that stands alone: no script, nothing that is fetched."""
    return visible(_template().render(page=page, style=_resource("style.css")))


def _resource(name: str) -> str:
    return (resources.files(__package__) / name).read_text(encoding="utf-8")


@cache
def _template() -> Template:
    import jinja2
    from markupsafe import Markup

    environment = jinja2.Environment(
        autoescape=True, undefined=jinja2.StrictUndefined, trim_blocks=True, lstrip_blocks=True
    )
    environment.filters["svg"] = lambda chart: Markup(to_svg(chart))  # it escapes what it writes

    def keys(chart: Chart) -> list[tuple[Markup, str]]:
        return [(Markup(drawn), label) for drawn, label in legend(chart)]  # likewise

    environment.filters["legend"] = keys
    environment.filters["cell"] = lambda value: value if isinstance(value, Cell) else Cell(str(value))
    environment.tests |= {kind.__name__.lower(): _is(kind) for kind in get_args(Block)}
    return environment.from_string(_resource("page.html"))


def _is(kind: type) -> Any:
    return lambda block: isinstance(block, kind)
