"""emoMusic, the "1000 songs": 744 excerpts with valence and arousal and the split of MediaEval 2013."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any, Literal

from musicemo.contracts import Label, Target, Track
from musicemo_builtin.datasets._layout import Layout, song_file
from musicemo_builtin.datasets._over_time import by_song
from musicemo_builtin.datasets._preset import Preset
from musicemo_builtin.datasets._problems import Problems
from musicemo_builtin.datasets._recordings import Recordings
from musicemo_builtin.datasets._sheet import Part, Row, Sheet

__all__ = ["EmoMusic"]

#: Target -> its column and its range.
_TARGETS = {
    "valence": ("mean_valence", (1.0, 9.0)),
    "arousal": ("mean_arousal", (1.0, 9.0)),
    "valence_std": ("std_valence", (0.0, 4.0)),
    "arousal_std": ("std_arousal", (0.0, 4.0)),
}

_OVER_TIME = ("valence", "arousal")
_RANGE_OVER_TIME = (-1.0, 1.0)

_SPLIT = "Mediaeval 2013 set"
_PARTS: dict[str, Part] = {"development": "train", "evaluation": "test"}

_LAYOUT = Layout(
    "emoMusic",
    "https://cvml.unige.ch/databases/emoMusic/",
    """\
  annotations/static_annotations.csv
  annotations/songs_info.csv
  annotations/arousal_cont_average.csv, valence_cont_average.csv     for over_time
  clips_45seconds/2.mp3 ...            or clips_45sec, or clips_45sec/clips_45seconds""",
)


@dataclass(kw_only=True, eq=False)
class EmoMusic(Preset):
    """Valence and arousal of excerpts of 45 s: mean and standard deviation over at least ten listeners.

    Targets are `valence` and `arousal` in [1, 9], `valence_std` and `arousal_std` in [0, 4], and `genre`; with
    `over_time`, also `valence_over_time` and `arousal_over_time` in [-1, 1], twice a second from 15 s. The official
    split is that of MediaEval 2013: 619 excerpts for training (development), 125 for the test (evaluation). The group
    is the artist. A track's id is the number of the song.

    M. Soleymani, M. N. Caro, E. M. Schmidt, C.-Y. Sha, Y.-H. Yang, "1000 songs for emotional analysis of music",
    ACM International Workshop on Crowdsourcing for Multimedia, 2013.

    Args:
        over_time: Ratings over time: ``no``, or their ``mean`` over the listeners.

    Raises:
        InputError: A file is missing, or a rating is not as described; with file, line and column.
    """

    over_time: Literal["no", "mean"] = "no"

    citation = (
        "M. Soleymani, M. N. Caro, E. M. Schmidt, C.-Y. Sha, Y.-H. Yang, "
        '"1000 songs for emotional analysis of music", ACM International Workshop on Crowdsourcing for '
        "Multimedia (CrowdMM), 2013."
    )
    licence = (
        "Annotations for research, see the dataset's page; the songs, from the Free Music Archive, are under "
        "Creative Commons licences of their artists'."
    )

    layout = _LAYOUT
    drawn_from = ("fma",)
    id_space = "deam"  # its songs are 744 of DEAM's, with their numbers
    learnt = 2

    def read(self, recordings: Recordings, problems: Problems) -> Sequence[Target]:
        """Add every song and return the targets."""
        ratings, songs = (
            _LAYOUT.find(self.root, name) for name in ("static_annotations.csv", "songs_info.csv")
        )
        clips = _LAYOUT.find_any(self.root, "clips_45sec/clips_45seconds", "clips_45seconds", "clips_45sec")
        infos = _infos(songs, problems)
        over_time = {
            f"{name}_over_time": by_song(
                _LAYOUT.find(self.root, f"{name}_cont_average.csv"), "song_id", _RANGE_OVER_TIME, problems
            )
            for name in (_OVER_TIME if self.over_time == "mean" else ())
        }
        needs = {"the song": "song_id", **{name: column for name, (column, _) in _TARGETS.items()}}
        for song, row in Sheet(ratings, needs, problems, ",").tracks("song_id"):
            info = infos.get(song)
            if info is None:
                row.blame("song_id", f"song {song} is not in {songs}")
                continue
            targets: dict[str, Label | None] = {
                name: row.number(column, *bounds) for name, (column, bounds) in _TARGETS.items()
            }
            track = Track(
                song,
                None,
                {
                    **targets,
                    "genre": info.text("Genre"),
                    **{name: series.get(song) for name, series in over_time.items()},
                },
                group=info.text("Artist"),
                audio=song_file(clips, song),
                part=info.part(_SPLIT, _PARTS),
            )
            recordings.add(row.where, track)
        genres = {info.text("Genre") for info in infos.values()} - {None}
        return [
            *(Target(name, "regression", range=bounds) for name, (_, bounds) in _TARGETS.items()),
            Target("genre", "classification", classes=tuple(sorted(str(genre) for genre in genres))),
            *(Target(name, "series", range=_RANGE_OVER_TIME) for name in over_time),
        ]

    @classmethod
    def recognise(cls, path: Path) -> Mapping[str, Any] | None:
        """Return the parameters, without the root, for a folder of this dataset; None for another folder."""
        return {} if _LAYOUT.fits(path, "static_annotations.csv", "songs_info.csv") else None


def _infos(path: Path, problems: Problems) -> dict[str, Row]:
    """Return song -> what is known of it; cells end in tabs, quoted ones as well, which are no part of them."""
    needs = {"the song": "song_id", "the artist": "Artist", "the genre": "Genre", "the part": _SPLIT}
    return dict(Sheet(path, needs, problems, ",", strict=False).tracks("song_id"))
