"""Collection of the mistakes in a user's data, so that all of them can be corrected at once."""

from __future__ import annotations

import logging
from collections import defaultdict

from musicemo.errors import InputError, problem_kind, summarize_problems

__all__ = ["Problems"]

_log = logging.getLogger(__name__)

_EXAMPLES = 3


class Problems:
    """Problems of one dataset, raised together as one `InputError`.

    More than three mistakes of one kind are one message with their number and three examples.

    Args:
        limit: Maximum number of messages that are shown; the others are counted.
        hint: Advice for cells that were read as missing values by mistake.
    """

    def __init__(self, limit: int = 20, hint: str = "") -> None:
        self.limit = limit
        self._hint = hint
        self._messages: list[tuple[tuple[str, str], str]] = []
        self._missing: dict[tuple[str, str], list[tuple[str, str]]] = defaultdict(list)

    def add(self, message: str, kind: str | None = None, column: str = "") -> None:
        """Add a problem.

        Args:
            message: The message, with the file and, if there is one, the line.
            kind: Text that is the same for mistakes of one kind; by default the message without its names and numbers.
            column: The affected column; mistakes in two columns are of two kinds.
        """
        self._messages.append(((column, kind or problem_kind(message)), message))

    def note_missing(self, source: str, place: str, column: str, cell: str) -> None:
        """Note a cell that is not empty and was read as a missing value.

        Args:
            source: The file, or the name of the loader.
            place: The line or track in it, as messages name it.
            column: The cell's column or attribute.
            cell: The cell.
        """
        self._missing[source, column].append((cell, place))

    def __len__(self) -> int:
        return len(self._messages)

    def raise_if_any(self) -> None:
        """Raise what was gathered, or warn of the cells that were read as missing values.

        Raises:
            InputError: At least one problem was noted.
        """
        if self._messages:
            raise InputError(*summarize_problems(self._messages, self.limit))
        for (source, column), cells in self._missing.items():
            examples = ", ".join(f"{cell!r} in {place}" for cell, place in cells[:_EXAMPLES])
            count = "1 cell is read as a missing value"
            if len(cells) > 1:
                count = f"{len(cells)} cells are read as missing values"
            hint = f"; {self._hint}" if self._hint else ""
            _log.warning(f"{source}: column {column!r}: {count} ({examples}){hint}")
        self._missing.clear()
