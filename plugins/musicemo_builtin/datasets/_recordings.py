"""Audio files of a dataset's tracks, some of which may be missing."""

from __future__ import annotations

import logging
import os
from collections.abc import Iterator, Sequence
from pathlib import Path
from typing import Literal

from musicemo.contracts import Proposal, Target, Track
from musicemo.errors import InputError
from musicemo_builtin.datasets._problems import Problems

__all__ = ["OnError", "Recordings"]

OnError = Literal["raise", "skip"]

_log = logging.getLogger(__name__)
_NAMED = 3
_HINT = 'dataset.on_error = "skip" ignores these tracks'


class Recordings:
    """Tracks with an audio file each.

    Args:
        source: Location of the dataset's files: a folder or a table.
        on_error: ``raise`` one error that lists all songs without a file, or ``skip`` them with a warning.
    """

    def __init__(self, source: Path, on_error: OnError) -> None:
        self._source, self._on_error = source.resolve(), on_error
        self._tracks: list[Track] = []
        self._missing: list[str] = []

    def add(self, where: str, track: Track) -> None:
        """Add a track; `where` is the file and line that name it."""
        assert isinstance(track.audio, Path)
        if os.path.isfile(track.audio):  # noqa: PTH113  # a folder that cannot be read is no error here
            self._tracks.append(track)
        else:
            self.leave_out(f"{where}: track {track.id!r}: {track.audio}: no such file")

    def leave_out(self, message: str) -> None:
        """Record a track without an audio file, with its place and the reason; see `on_error`."""
        self._missing.append(message)

    def check(self, problems: Problems, advice: str = "") -> None:
        """Raise the collected problems and missing files, with `advice` if all files are missing.

        Raises:
            InputError: There is a problem.
        """
        advice = advice and f"; {advice}"
        if not self._tracks and self._missing:
            raise InputError(f"{self._missing[0]}, and the files of all other tracks are missing too{advice}")
        if self._missing and self._on_error == "raise":
            problems.add(f"{self._source}: {_count(self._missing)} without a file. {_HINT}")
            for message in self._missing:
                problems.add(message, "no file")
        problems.raise_if_any()
        if self._missing:
            shown = "; ".join(self._missing[:_NAMED])
            more = f"; and {len(self._missing) - _NAMED} more" if len(self._missing) > _NAMED else ""
            _log.warning(f"{self._source}: {_count(self._missing)} without a file ignored: {shown}{more}")

    def proposal(self, targets: Sequence[Target], learn: int, **parameters: object) -> Proposal:
        """Return the proposal for ``musicemo init``, for a folder of the dataset.

        The first `learn` targets are the recommended tasks.
        """
        return Proposal(parameters, list(self._tracks), targets[:learn], targets[learn:])

    def tracks(self) -> Iterator[Track]:
        """Yield the tracks."""
        yield from self._tracks


def _count(messages: Sequence[str]) -> str:
    return f"{len(messages)} track{'s' if len(messages) > 1 else ''}"
