"""Read the ``#:`` comments above attributes as their docstrings, for the reference."""

from __future__ import annotations

import itertools
from typing import Any

import griffe


class Comments(griffe.Extension):
    """Docstrings of attributes from the comments above them."""

    def on_attribute(self, *, attr: griffe.Attribute, **_: Any) -> None:
        """Give an attribute the comment above it."""
        if attr.docstring is not None or attr.lineno is None or attr.is_alias:
            return
        try:
            lines = attr.lines_collection[attr.filepath]
        except (KeyError, ValueError, griffe.BuiltinModuleError):
            return
        above = reversed(lines[: attr.lineno - 1])
        comment = list(itertools.takewhile(lambda line: line.lstrip().startswith("#:"), above))
        text = "\n".join(line.lstrip().removeprefix("#:").strip() for line in reversed(comment))
        if text:
            attr.docstring = griffe.Docstring(text, parent=attr)
