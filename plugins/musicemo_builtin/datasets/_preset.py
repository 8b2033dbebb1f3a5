"""What the datasets have in common that are published as a folder of songs: their parameters, and how they are read."""

# The annotations are types, not text: pydantic reads them in the modules of the classes that inherit them, too.

from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any, ClassVar

from musicemo.contracts import Proposal, Target, Track
from musicemo_builtin.datasets._layout import Layout
from musicemo_builtin.datasets._problems import Problems
from musicemo_builtin.datasets._recordings import Duration, Features, Offset, OnError, Recordings, Sync

__all__ = ["Preset"]


@dataclass(kw_only=True, eq=False)
class Preset:
    """A folder of songs in the layout of a published dataset; all is checked on construction.

    A dataclass, so that one that has more parameters declares them as fields.

    Args:
        root: The folder.
        features: Rows to use: the mel spectrogram, the chromagram or both.
        sync: Columns: one a beat or one a frame.
        offset: Where the excerpt that is analysed begins, in seconds.
        duration: Its length in seconds; by default the rest of the song.
        cache: Folder for the features; by default `$MUSICEMO_CACHE`, or `musicemo` in the user's cache folder.
        on_error: What a song does that is missing or cannot be analysed: ``raise`` an error that lists all, or be
            left out (``skip``) with a warning.
    """

    root: Path
    features: Features = "fused"
    sync: Sync = "beat"
    offset: Offset = 0.0
    duration: Duration = None
    cache: Path | None = None
    on_error: OnError = "raise"

    layout: ClassVar[Layout]
    #: How many of its targets, the first, ``musicemo init`` proposes to learn.
    learnt: ClassVar[int]

    def __post_init__(self) -> None:
        name = type(self).layout.name.lower()
        self._recordings = Recordings(
            name, self.root, self.features, self.sync, self.offset, self.duration, self.cache, self.on_error
        )
        self.rows, self.recipe = self._recordings.rows, self._recordings.recipe
        problems = Problems()
        self.targets = self.read(self._recordings, problems)
        self._recordings.check(problems, self.layout.advice)

    def read(self, recordings: Recordings, problems: Problems) -> Sequence[Target]:
        """Add every song, note what is wrong, and return what is known of the songs."""
        raise NotImplementedError

    @classmethod
    def recognise(cls, path: Path) -> Mapping[str, Any] | None:
        """Return the parameters beside the root with which it reads a folder; None if that is not its own."""
        raise NotImplementedError

    @classmethod
    def propose(cls, path: Path) -> Proposal | None:
        """Return what it would make of a folder, if that is its own."""
        if (parameters := cls.recognise(path)) is None:
            return None
        made = cls(root=path, **parameters)
        return made._recordings.proposal(made.targets, cls.learnt, root=path, **parameters)

    def tracks(self) -> Iterator[Track]:
        """Yield the songs in the order in which they were read; analyse those that the cache has not."""
        yield from self._recordings.tracks()
