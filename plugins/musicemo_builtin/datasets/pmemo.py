"""PMEmo: choruses of popular songs with valence and arousal."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Any

from musicemo.contracts import Target, Track
from musicemo_builtin.datasets._layout import Layout, song_file
from musicemo_builtin.datasets._preset import Preset
from musicemo_builtin.datasets._problems import Problems
from musicemo_builtin.datasets._recordings import Recordings
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


class PMEmo(Preset):
    """Valence and arousal of choruses: means over at least ten listeners.

    Targets are `valence` and `arousal` in [0, 1]. The group is the artist. There is no official split. A track's id
    is the song's `musicId`.

    K. Zhang, H. Zhang, S. Li, C. Yang, L. Sun, "The PMEmo dataset for music emotion recognition", International
    Conference on Multimedia Retrieval, 2018.

    Args:
        root: The folder PMEmo2019, or the folder that contains it.

    Raises:
        InputError: A file is missing, or a rating is not as described; with file, line and column.
    """

    citation = (
        'K. Zhang, H. Zhang, S. Li, C. Yang, L. Sun, "The PMEmo dataset for music emotion recognition", '
        "ACM International Conference on Multimedia Retrieval (ICMR), 135-142, 2018."
    )
    licence = "For research, see the dataset's page; the choruses are excerpts of songs under copyright."

    layout = _LAYOUT
    id_space = "pmemo"
    learnt = 2

    def read(self, recordings: Recordings, problems: Problems) -> Sequence[Target]:
        """Add every song and return the targets."""
        ratings, songs, chorus = (
            _LAYOUT.find(self.root, name) for name in ("static_annotations.csv", "metadata.csv", "chorus")
        )
        song_sheet = Sheet(songs, {"the song": "musicId", "the artist": "artist"}, problems, ",")
        artists = {song: row.text("artist") for song, row in song_sheet.tracks("musicId")}
        for song, row in Sheet(ratings, {"the song": "musicId", **_TARGETS}, problems, ",").tracks("musicId"):
            targets = {name: row.number(column, 0.0, 1.0) for name, column in _TARGETS.items()}
            track = Track(song, None, targets, audio=song_file(chorus, song), group=artists.get(song))
            recordings.add(row.where, track)
        return [Target(name, "regression", range=(0.0, 1.0)) for name in _TARGETS]

    @classmethod
    def recognise(cls, path: Path) -> Mapping[str, Any] | None:
        """Return the parameters, without the root, for a folder of this dataset; None for another folder."""
        return {} if _LAYOUT.fits(path, "static_annotations.csv", "metadata.csv", "chorus") else None
