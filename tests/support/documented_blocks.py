"""The fenced blocks of the pages, in order, and what their comments say of how to test them."""

from __future__ import annotations

import re
import shlex
from collections.abc import Iterator
from dataclasses import dataclass, field
from pathlib import Path

ROOT = Path(__file__).parents[2]
PAGES = sorted(ROOT.glob("docs/**/*.md"))

_FENCE = re.compile(r"^```(\w+)?([^\n]*)\n(.*?)^```$|^<!-- test: (.*?) -->$", re.DOTALL | re.MULTILINE)
_TITLE = re.compile(r'title="([^"]+)"')


@dataclass(frozen=True)
class Block:
    """One block: its language, the name of the file that it is, its text, and where it stands."""

    page: Path
    line: int
    language: str
    title: str
    text: str
    #: What the comments ``<!-- test: ... -->`` right before it say.
    directives: list[str] = field(default_factory=list)

    def __str__(self) -> str:
        return f"{self.page.relative_to(ROOT / 'docs')}:{self.line}"

    def commands(self) -> Iterator[list[str]]:
        """Yield the commands of a console or shell block as words."""
        for line in self.text.replace("\\\n", " ").splitlines():
            prompt = line.startswith("$ ")
            if (prompt or self.language == "sh") and (
                words := shlex.split(line.removeprefix("$ "), comments=True)
            ):
                yield words


def blocks(page: Path) -> list[Block]:
    """Return the blocks of a page."""
    text = page.read_text(encoding="utf-8")
    found: list[Block] = []
    directives: list[str] = []
    for match in _FENCE.finditer(text):
        language, rest, body, directive = match.groups()
        if directive:
            directives.append(directive)
            continue
        title = _TITLE.search(rest or "")
        line = text.count("\n", 0, match.start()) + 1
        found.append(Block(page, line, language or "", title[1] if title else "", body, directives))
        directives = []
    return found
