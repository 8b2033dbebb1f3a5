"""Documentation of components: docstrings, parameters and places of definition."""

from __future__ import annotations

import ast
import functools
import importlib.machinery
import importlib.util
import inspect
import re
import textwrap
from collections.abc import Iterator
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from musicemo.components.registry import Claim

__all__ = [
    "Definition",
    "ReadParameter",
    "definition_in",
    "find_definition",
    "paragraphs",
    "parameter_docs",
    "read_parameters",
    "row_of",
    "sections",
    "summary",
]

#: Section headings of Google style docstrings.
_HEADINGS = ("Args", "Attributes", "Raises", "Returns", "Yields")
_ENTRY = re.compile(r"(\w+)(?: \([^)]*\))?: *(.*)")

#: Maximum number of modules through which an imported name is followed.
_HOPS = 5


@dataclass(frozen=True, slots=True)
class Definition:
    """The place where a component is defined, and the first sentence of its docstring."""

    file: Path | None = None
    line: int = 0
    summary: str = ""
    #: Why its import will fail; empty if no problem is known.
    problem: str = ""


@functools.cache
def find_definition(value: str) -> Definition:
    """Find the definition of ``module:attribute``, or of a module, in its source. Nothing is imported."""
    module, _, attribute = value.partition(":")
    return _find(module.strip(), attribute.strip().partition(".")[0], _HOPS)


def definition_in(file: Path, attribute: str) -> Definition:
    """Find the definition of a name in a file."""
    return _look(file, attribute, None, 0)


@dataclass(frozen=True, slots=True)
class ReadParameter:
    """A parameter of a constructor, read from its source."""

    name: str
    annotation: str
    required: bool
    #: None if it is not a literal.
    default: Any = None


def read_parameters(content: bytes, attribute: str) -> list[ReadParameter] | None:
    """Return the parameters of a class or a function from the source of its file, or None if they are unclear.

    Raises:
        SyntaxError: The file is not Python.
        ValueError: The file is not Python.
    """
    try:
        tree = ast.parse(content)
    except (RecursionError, MemoryError) as error:
        raise ValueError("it is nested too deep") from error
    nodes = [
        node
        for node in _statements(tree)
        if isinstance(node, ast.ClassDef | ast.FunctionDef) and node.name == attribute
    ]
    if len(nodes) != 1 or nodes[0].decorator_list:
        return None
    node: ast.stmt = nodes[0]
    if isinstance(node, ast.ClassDef):
        constructors = [one for one in node.body if isinstance(one, ast.FunctionDef) and one.name == "__init__"]
        if len(constructors) != 1 or constructors[0].decorator_list or node.keywords:
            return None
        node = constructors[0]
    assert isinstance(node, ast.FunctionDef)
    positional = [*node.args.posonlyargs, *node.args.args]
    defaults: list[ast.expr | None] = [None] * (len(positional) - len(node.args.defaults))
    pairs = [*zip(positional, [*defaults, *node.args.defaults], strict=True)]
    pairs = [
        *pairs[isinstance(nodes[0], ast.ClassDef) :],
        *zip(node.args.kwonlyargs, node.args.kw_defaults, strict=True),
    ]
    return [
        ReadParameter(
            argument.arg,
            ast.unparse(argument.annotation) if argument.annotation else "",
            default is None,
            _literal(default),
        )
        for argument, default in pairs
    ]


def _literal(node: ast.expr | None) -> Any:
    try:
        return None if node is None else ast.literal_eval(node)
    except (ValueError, TypeError, SyntaxError, MemoryError, RecursionError):
        return None


def _find(module: str, attribute: str, hops: int) -> Definition:
    try:
        spec = _spec(module)
    except Exception as error:  # a name of any form; import hooks may raise anything
        return Definition(problem=f"{type(error).__name__}: {error}")
    if spec is None or not spec.origin or not spec.origin.endswith(".py"):
        return Definition()  # compiled, or a folder: there is nothing to read
    return _look(Path(spec.origin), attribute, spec, hops)


def _look(file: Path, attribute: str, spec: importlib.machinery.ModuleSpec | None, hops: int) -> Definition:
    try:
        tree = ast.parse(file.read_bytes())
    except SyntaxError as error:
        return Definition(file, error.lineno or 0, problem=f"SyntaxError: {error.msg} ({file}:{error.lineno})")
    except OSError as error:
        return Definition(file, problem=f"{file}: {error.strerror}")
    except (
        ValueError,
        RecursionError,
        MemoryError,
    ) as error:  # null bytes, expressions that are nested too deep
        return Definition(file, problem=f"{type(error).__name__}: {error}")
    if not attribute:
        return Definition(file, 1, _summary(tree))
    for node in _statements(tree):
        if isinstance(node, ast.ClassDef | ast.FunctionDef) and node.name == attribute:
            return Definition(file, node.lineno, _summary(node))
        if isinstance(node, ast.ImportFrom) and spec and hops:
            for alias in node.names:
                if (alias.asname or alias.name) == attribute:
                    return _find(_absolute(node, spec), alias.name, hops - 1)
    return Definition(file, 1, _summary(tree))


def _spec(module: str) -> importlib.machinery.ModuleSpec | None:
    """Find a module without importing the packages that it is in."""
    names = module.split(".")
    spec = importlib.util.find_spec(names[0])
    for depth in range(2, len(names) + 1):
        if spec is None or spec.submodule_search_locations is None:
            break
        locations = list(spec.submodule_search_locations)
        spec = importlib.machinery.PathFinder.find_spec(".".join(names[:depth]), locations)
        if spec is None:
            raise ModuleNotFoundError(f"No module named {'.'.join(names[:depth])!r}")
    if spec is None:
        raise ModuleNotFoundError(f"No module named {names[0]!r}")
    return spec


def _statements(tree: ast.Module) -> Iterator[ast.stmt]:
    """Yield the statements that run when a module is imported, including those in ``try`` and ``if``."""
    waiting: list[ast.stmt] = list(tree.body)
    while waiting:
        node = waiting.pop(0)
        yield node
        if isinstance(node, ast.If | ast.Try):
            waiting = [*node.body, *node.orelse, *waiting]


def _absolute(node: ast.ImportFrom, spec: importlib.machinery.ModuleSpec) -> str:
    if not node.level:
        return node.module or ""
    package = spec.name if spec.submodule_search_locations is not None else spec.name.rpartition(".")[0]
    parts = package.split(".")
    return ".".join([*parts[: len(parts) - node.level + 1], *filter(None, [node.module])])


def _summary(node: ast.Module | ast.ClassDef | ast.FunctionDef) -> str:
    first = (ast.get_docstring(node) or "").partition("\n\n")[0]
    sentence, period, _ = " ".join(first.split()).partition(". ")
    return sentence + "." if period else sentence


def row_of(claim: Claim) -> dict[str, Any]:
    """Return the row of `musicemo plugins --json` from metadata and source files; nothing is imported."""
    definition = find_definition(claim.entry_point.value)
    return {
        "kind": claim.kind,
        "name": claim.name,
        "distribution": claim.distribution,
        "version": claim.version,
        "defined": claim.entry_point.value,
        "file": str(definition.file) if definition.file else None,
        "line": definition.line or None,
        "summary": definition.summary,
    }


def sections(thing: Any) -> dict[str, str]:
    """Return the text of a docstring by section heading; the text outside of sections under ""."""
    texts: dict[str, list[str]] = {"": []}
    lines = texts[""]
    text = thing.__doc__ if inspect.isclass(thing) else inspect.getdoc(thing)  # not that of a base class
    for line in inspect.cleandoc(text or "").splitlines():
        heading = line.removesuffix(":")
        if line.endswith(":") and heading in _HEADINGS:
            lines = texts.setdefault(heading, [])
            continue
        if line and not line.startswith(" "):  # the text of a section is indented
            lines = texts[""]
        lines.append(line)
    return {name: textwrap.dedent("\n".join(text)).strip() for name, text in texts.items()}


def paragraphs(thing: Any) -> list[str]:
    """Return the paragraphs of a docstring outside of sections."""
    text = sections(thing)[""]
    return [part for part in re.split(r"\n\s*\n", text) if part.strip()]


def summary(thing: Any) -> str:
    """Return the first paragraph of a docstring in one line."""
    return " ".join(next(iter(paragraphs(thing)), "").split())


def parameter_docs(component: Any) -> dict[str, str]:
    """Return the description of each parameter under "Args" in the docstrings of a class and its bases."""
    classes = component.__mro__[-2::-1] if inspect.isclass(component) else ()
    documented = [thing for kind in classes for thing in (kind, vars(kind).get("__init__"))] or [component]
    texts: dict[str, list[str]] = {}
    for text in (sections(thing).get("Args", "") for thing in documented if thing is not None):
        name = ""
        for line in text.splitlines():
            entry = _ENTRY.fullmatch(line) if not line.startswith(" ") else None
            if entry:
                name = entry[1]
                texts[name] = [entry[2]]
            elif name:
                texts[name].append(line.strip())
    return {name: " ".join(filter(None, lines)) for name, lines in texts.items()}
