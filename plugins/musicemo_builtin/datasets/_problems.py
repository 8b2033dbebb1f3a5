"""Gather what is wrong with somebody's data, so that it can be mended in one go."""

from __future__ import annotations

from musicemo.errors import InputError

__all__ = ["Problems"]


class Problems:
    """Messages about one dataset, raised together as one `InputError`.

    Args:
        limit: How many messages are shown; the rest is counted.
    """

    def __init__(self, limit: int = 20) -> None:
        self.limit = limit
        self._messages: list[str] = []

    def add(self, message: str) -> None:
        """Note one problem; the message names the file and, where there is one, the line."""
        self._messages.append(message)

    def __len__(self) -> int:
        return len(self._messages)

    def raise_if_any(self) -> None:
        """Raise what was gathered.

        Raises:
            InputError: At least one problem was noted.
        """
        if not self._messages:
            return
        shown = self._messages[: self.limit]
        if len(self._messages) > self.limit:
            shown.append(f"... and {len(self._messages) - self.limit} more")
        raise InputError(*shown)
