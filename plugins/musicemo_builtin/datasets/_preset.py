"""Base class of published datasets that are a folder of songs: their parameters, and how they are read."""

# The annotations are types, not text: pydantic reads them in the modules of the classes that inherit them, too.

from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any, ClassVar

from musicemo.contracts import Proposal, Target, Track
from musicemo_builtin.datasets._layout import Layout
from musicemo_builtin.datasets._problems import Problems
from musicemo_builtin.datasets._recordings import OnError, Recordings

__all__ = ["Preset"]


@dataclass(kw_only=True, eq=False)
class Preset:
    """A folder of songs in the layout of a published dataset. Everything is checked on construction.

    It is a dataclass; a dataset with more parameters declares them as fields.

    Args:
        root: Folder of the dataset.
        on_error: How to treat songs without a file: ``raise`` one error that lists all, or ``skip`` them with a
            warning.
    """

    root: Path
    on_error: OnError = "raise"

    layout: ClassVar[Layout]
    #: Corpora that its songs come from.
    drawn_from: ClassVar[Sequence[str]] = ()
    #: Name of the catalogue that its ids are from.
    id_space: ClassVar[str | None] = None
    #: How many of its targets, the first, ``musicemo init`` proposes to learn.
    learnt: ClassVar[int]

    def __post_init__(self) -> None:
        self._recordings = Recordings(self.root, self.on_error)
        problems = Problems()
        self.targets = self.read(self._recordings, problems)
        self._recordings.check(problems, self.layout.advice)

    def read(self, recordings: Recordings, problems: Problems) -> Sequence[Target]:
        """Add every song, collect problems, and return the targets."""
        raise NotImplementedError

    @classmethod
    def recognise(cls, path: Path) -> Mapping[str, Any] | None:
        """Return the parameters, without the root, for a folder of this dataset; None for another folder."""
        raise NotImplementedError

    @classmethod
    def propose(cls, path: Path) -> Proposal | None:
        """Return a proposal for a folder of this dataset; None for another folder."""
        if (parameters := cls.recognise(path)) is None:
            return None
        dataset = cls(root=path, **parameters)
        return dataset._recordings.proposal(dataset.targets, cls.learnt, root=path, **parameters)

    def tracks(self) -> Iterator[Track]:
        """Yield the songs in the order in which they were read."""
        yield from self._recordings.tracks()
