"""What the code says of itself: summaries, parameters and attributes, for help and reference."""

from __future__ import annotations

import ast
import inspect
import itertools
import re
import textwrap
from typing import Any

__all__ = ["attribute_docs", "paragraphs", "parameter_docs", "sections", "summary"]

#: The headings of Google's style that stand alone on a line.
_HEADINGS = ("Args", "Attributes", "Raises", "Returns", "Yields")
_ENTRY = re.compile(r"(\w+)(?: \([^)]*\))?: *(.*)")


def sections(thing: Any) -> dict[str, str]:
    """Return a docstring's text outside of its headings, under "", and what stands under each heading."""
    found: dict[str, list[str]] = {"": []}
    lines = found[""]
    text = thing.__doc__ if inspect.isclass(thing) else inspect.getdoc(thing)  # not that of a class above it
    for line in inspect.cleandoc(text or "").splitlines():
        heading = line.removesuffix(":")
        if line.endswith(":") and heading in _HEADINGS:
            lines = found.setdefault(heading, [])
            continue
        if line and not line.startswith(" "):  # what stands under a heading is indented
            lines = found[""]
        lines.append(line)
    return {name: textwrap.dedent("\n".join(text)).strip() for name, text in found.items()}


def paragraphs(thing: Any) -> list[str]:
    """Return the paragraphs of a docstring outside of its headings."""
    text = sections(thing)[""]
    return [part for part in re.split(r"\n\s*\n", text) if part.strip()]


def summary(thing: Any) -> str:
    """Return the first paragraph of a docstring in one line."""
    return " ".join(next(iter(paragraphs(thing)), "").split())


def parameter_docs(component: Any) -> dict[str, str]:
    """Return parameter -> what the docstrings say of it under "Args", in one line each.

    A class says what is to be said of its own parameters; of those that it inherits, the classes above it do.
    """
    classes = component.__mro__[-2::-1] if inspect.isclass(component) else ()
    documented = [thing for kind in classes for thing in (kind, vars(kind).get("__init__"))] or [component]
    found: dict[str, list[str]] = {}
    for text in (sections(thing).get("Args", "") for thing in documented if thing is not None):
        name = ""
        for line in text.splitlines():
            entry = _ENTRY.fullmatch(line) if not line.startswith(" ") else None
            if entry:
                name = entry[1]
                found[name] = [entry[2]]
            elif name:
                found[name].append(line.strip())
    return {name: " ".join(filter(None, lines)) for name, lines in found.items()}


def attribute_docs(kind: type, base: type = object) -> dict[str, str]:
    """Return attribute -> what is said of it in a class and those between it and `base`, in one line each.

    That is the comment of ``#:`` lines right above it, or the text right below it.
    """
    found: dict[str, str] = {}
    for parent in reversed([parent for parent in kind.__mro__ if parent not in base.__mro__]):
        try:
            source = textwrap.dedent(inspect.getsource(parent))
        except (OSError, TypeError):  # of an interpreter's own classes, or made at run time
            continue
        found |= _of_source(source)
    return found


def _of_source(source: str) -> dict[str, str]:
    lines = source.splitlines()
    (definition,) = ast.parse(source).body
    body = definition.body if isinstance(definition, ast.ClassDef) else []
    found = {}
    for statement, following in itertools.zip_longest(body, body[1:]):
        if not isinstance(statement, ast.AnnAssign) or not isinstance(statement.target, ast.Name):
            continue
        above = itertools.takewhile(
            lambda line: line.lstrip().startswith("#:"), reversed(lines[: statement.lineno - 1])
        )
        text = " ".join(line.lstrip().removeprefix("#:").strip() for line in reversed(list(above)))
        if isinstance(following, ast.Expr) and isinstance(following.value, ast.Constant):
            text = text or " ".join(str(following.value.value).split())
        if text:
            found[statement.target.id] = text
    return found
