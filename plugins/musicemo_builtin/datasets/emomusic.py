"""emoMusic, the "1000 songs": 744 excerpts with valence and arousal and the split of MediaEval 2013."""

from __future__ import annotations

from collections.abc import Iterator
from pathlib import Path

from musicemo.contracts import Proposal, Target, Track
from musicemo_builtin.datasets._layout import Layout, song_file
from musicemo_builtin.datasets._problems import Problems
from musicemo_builtin.datasets._recordings import Duration, Features, Offset, OnError, Recordings, Sync
from musicemo_builtin.datasets._sheet import Part, Row, Sheet

__all__ = ["EmoMusic"]

#: Target -> its column and its range.
_TARGETS = {
    "valence": ("mean_valence", (1.0, 9.0)),
    "arousal": ("mean_arousal", (1.0, 9.0)),
    "valence_std": ("std_valence", (0.0, 4.0)),
    "arousal_std": ("std_arousal", (0.0, 4.0)),
}

_SPLIT = "Mediaeval 2013 set"
_PARTS: dict[str, Part] = {"development": "train", "evaluation": "test"}

_LAYOUT = Layout(
    "emoMusic",
    "https://cvml.unige.ch/databases/emoMusic/",
    """\
  annotations/static_annotations.csv
  annotations/songs_info.csv
  clips_45seconds/2.mp3 ...            or clips_45sec, or clips_45sec/clips_45seconds""",
)


class EmoMusic:
    """Valence and arousal of excerpts of 45 s: mean and standard deviation over at least ten listeners.

    Targets are `valence` and `arousal` in [1, 9], `valence_std` and `arousal_std` in [0, 4], and `genre`. The parts
    are those of MediaEval 2013: 619 excerpts train (development), 125 test (evaluation). The group is the artist.
    A track's id is the song's number.

    M. Soleymani, M. N. Caro, E. M. Schmidt, C.-Y. Sha, Y.-H. Yang, "1000 songs for emotional analysis of music",
    ACM International Workshop on Crowdsourcing for Multimedia, 2013.

    Args:
        root: The folder.
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
        "M. Soleymani, M. N. Caro, E. M. Schmidt, C.-Y. Sha, Y.-H. Yang, "
        '"1000 songs for emotional analysis of music", ACM International Workshop on Crowdsourcing for '
        "Multimedia (CrowdMM), 2013."
    )
    licence = (
        "Annotations for research, see the dataset's page; the songs, from the Free Music Archive, are under "
        "Creative Commons licences of their artists'."
    )

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
        self._recordings = Recordings("emomusic", root, features, sync, offset, duration, cache, on_error)
        self.rows = self._recordings.rows
        self.sync, self.recipe = self._recordings.sync, self._recordings.recipe
        problems = Problems()
        ratings, songs = (_LAYOUT.find(root, name) for name in ("static_annotations.csv", "songs_info.csv"))
        clips = _LAYOUT.find_any(root, "clips_45sec/clips_45seconds", "clips_45seconds", "clips_45sec")
        infos = _infos(songs, problems)
        needs = {"the song": "song_id", **{name: column for name, (column, _) in _TARGETS.items()}}
        for song, row in Sheet(ratings, needs, problems, ",").tracks("song_id"):
            info = infos.get(song)
            if info is None:
                row.blame("song_id", f"song {song} is not in {songs}")
                continue
            targets: dict[str, float | str | None] = {
                name: row.number(column, *bounds) for name, (column, bounds) in _TARGETS.items()
            }
            track = Track(
                song,
                song_file(clips, song),
                {**targets, "genre": info.text("Genre")},
                group=info.text("Artist"),
                part=info.part(_SPLIT, _PARTS),
            )
            self._recordings.add(row.where, track)
        self._recordings.check(problems, _LAYOUT.advice)
        genres = {info.text("Genre") for info in infos.values()} - {None}
        self.targets = [
            *(Target(name, "regression", range=bounds) for name, (_, bounds) in _TARGETS.items()),
            Target("genre", "classification", classes=tuple(sorted(str(genre) for genre in genres))),
        ]

    @classmethod
    def propose(cls, path: Path) -> Proposal | None:
        """Return what it would make of a folder, if that is its own."""
        if not _LAYOUT.fits(path, "static_annotations.csv", "songs_info.csv"):
            return None
        made = cls(root=path)
        return made._recordings.proposal(made.targets, 2, root=path)

    def tracks(self) -> Iterator[Track]:
        """Yield the songs in the order of the ratings; analyse those that the cache has not."""
        yield from self._recordings.tracks()


def _infos(path: Path, problems: Problems) -> dict[str, Row]:
    """Return song -> what is known of it; cells end in tabs, quoted ones as well, which are no part of them."""
    needs = {"the song": "song_id", "the artist": "Artist", "the genre": "Genre", "the part": _SPLIT}
    return dict(Sheet(path, needs, problems, ",", strict=False).tracks("song_id"))
