"""PMEmo: choruses of popular songs with valence and arousal."""

from __future__ import annotations

from collections.abc import Iterator
from pathlib import Path

from musicemo.contracts import Proposal, Target, Track
from musicemo_builtin.datasets._layout import Layout, song_file
from musicemo_builtin.datasets._problems import Problems
from musicemo_builtin.datasets._recordings import Duration, Features, Offset, OnError, Recordings, Sync
from musicemo_builtin.datasets._sheet import Sheet

__all__ = ["PMEmo"]

#: Target -> its column.
_TARGETS = {"valence": "Valence(mean)", "arousal": "Arousal(mean)"}

_LAYOUT = Layout(
    "PMEmo",
    "https://github.com/HuiZhangDB/PMEmo",
    """\
  annotations/static_annotations.csv
  metadata.csv
  chorus/1.mp3 ...""",
)


class PMEmo:
    """Valence and arousal of choruses: means over at least ten listeners.

    Targets are `valence` and `arousal` in [0, 1]. The group is the artist. There is no official split. A track's id
    is the song's `musicId`.

    K. Zhang, H. Zhang, S. Li, C. Yang, L. Sun, "The PMEmo dataset for music emotion recognition", International
    Conference on Multimedia Retrieval, 2018.

    Args:
        root: The folder, PMEmo2019 or the one that holds it.
        features: Rows to use: the mel spectrogram, the chromagram or both.
        sync: Columns: one a beat or one a frame.
        offset: Where the excerpt that is analysed begins, in seconds.
        duration: Its length in seconds; None is the rest of the song.
        cache: Folder for the features; None is `$MUSICEMO_CACHE`, or `musicemo` in the user's cache folder.
        on_error: What a song does that is missing or cannot be analysed: ``raise`` an error that lists all, or be
            left out (``skip``) with a warning.

    Raises:
        InputError: Something is missing, or a rating is not as described; with file, line and column.
    """

    citation = (
        'K. Zhang, H. Zhang, S. Li, C. Yang, L. Sun, "The PMEmo dataset for music emotion recognition", '
        "ACM International Conference on Multimedia Retrieval (ICMR), 135-142, 2018."
    )
    licence = "For research, see the dataset's page; the choruses are excerpts of songs under copyright."

    def __init__(
        self,
        *,
        root: Path,
        features: Features = "fused",
        sync: Sync = "beat",
        offset: Offset = 0.0,
        duration: Duration = None,
        cache: Path | None = None,
        on_error: OnError = "raise",
    ) -> None:
        self._recordings = Recordings("pmemo", root, features, sync, offset, duration, cache, on_error)
        self.rows = self._recordings.rows
        self.sync, self.recipe = self._recordings.sync, self._recordings.recipe
        self.targets = [Target(name, "regression", range=(0.0, 1.0)) for name in _TARGETS]
        problems = Problems()
        ratings, songs, chorus = (
            _LAYOUT.find(root, name) for name in ("static_annotations.csv", "metadata.csv", "chorus")
        )
        known = Sheet(songs, {"the song": "musicId", "the artist": "artist"}, problems, ",")
        artists = {song: row.text("artist") for song, row in known.tracks("musicId")}
        for song, row in Sheet(ratings, {"the song": "musicId", **_TARGETS}, problems, ",").tracks("musicId"):
            targets = {name: row.number(column, 0.0, 1.0) for name, column in _TARGETS.items()}
            track = Track(song, song_file(chorus, song), targets, group=artists.get(song))
            self._recordings.add(row.where, track)
        self._recordings.check(problems, _LAYOUT.advice)

    @classmethod
    def propose(cls, path: Path) -> Proposal | None:
        """Return what it would make of a folder, if that is its own."""
        if not _LAYOUT.fits(path, "static_annotations.csv", "metadata.csv", "chorus"):
            return None
        made = cls(root=path)
        return made._recordings.proposal(made.targets, 2, root=path)

    def tracks(self) -> Iterator[Track]:
        """Yield the songs in the order of the ratings; analyse those that the cache has not."""
        yield from self._recordings.tracks()
