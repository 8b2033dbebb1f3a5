"""PMEmo: choruses of popular songs with valence and arousal."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any, Literal

import numpy as np

from musicemo.contracts import Label, Series, Target, Track
from musicemo_builtin.datasets._layout import Layout, song_file
from musicemo_builtin.datasets._over_time import series_of
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
  annotations/dynamic_annotations.csv    for over_time
  metadata.csv
  chorus/1.mp3 ...""",
)


@dataclass(kw_only=True, eq=False)
class PMEmo(Preset):
    """Valence and arousal of choruses: means over at least ten listeners.

    Targets are `valence` and `arousal` in [0, 1]; with `over_time`, also `valence_over_time` and `arousal_over_time` in
    [0, 1], twice a second from 15.5 s. The group is the artist. There is an official split for the ratings over time
    only, that of the authors' baselines: 77 of 767 songs for the test, the others for training. It is computed by their
    rule, a shuffle of the songs with seed 3. Artists of 51 of its test songs are in the training set, too. A track's id
    is the song's `musicId`.

    K. Zhang, H. Zhang, S. Li, C. Yang, L. Sun, "The PMEmo dataset for music emotion recognition", International
    Conference on Multimedia Retrieval, 2018.

    Args:
        root: The folder PMEmo2019, or the folder that contains it.
        over_time: Ratings over time: ``no``, or their ``mean`` over the listeners.

    Raises:
        InputError: A file is missing, or a rating is not as described; with file, line and column.
    """

    over_time: Literal["no", "mean"] = "no"

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
        over_time: Mapping[str, Mapping[str, Series | None]] = {}
        if self.over_time == "mean":
            over_time = _over_time(_LAYOUT.find(self.root, "dynamic_annotations.csv"), problems)
        test = _test_songs(over_time)
        song_sheet = Sheet(songs, {"the song": "musicId", "the artist": "artist"}, problems, ",")
        artists = {song: row.text("artist") for song, row in song_sheet.tracks("musicId")}
        for song, row in Sheet(ratings, {"the song": "musicId", **_TARGETS}, problems, ",").tracks("musicId"):
            targets: dict[str, Label | None] = {
                name: row.number(column, 0.0, 1.0) for name, column in _TARGETS.items()
            }
            track = Track(
                song,
                None,
                {**targets, **over_time.get(song, {})},
                audio=song_file(chorus, song),
                group=artists.get(song),
                part=("test" if song in test else "train") if song in over_time else None,
            )
            recordings.add(row.where, track)
        return [
            *(Target(name, "regression", range=(0.0, 1.0)) for name in _TARGETS),
            *(
                Target(f"{name}_over_time", "series", range=(0.0, 1.0))
                for name in (_TARGETS if self.over_time == "mean" else ())
            ),
        ]

    @classmethod
    def recognise(cls, path: Path) -> Mapping[str, Any] | None:
        """Return the parameters, without the root, for a folder of this dataset; None for another folder."""
        return {} if _LAYOUT.fits(path, "static_annotations.csv", "metadata.csv", "chorus") else None


def _over_time(path: Path, problems: Problems) -> dict[str, dict[str, Series | None]]:
    """Return song -> target -> ratings over time, from a file with a row for each song and time."""
    ratings: dict[str, dict[str, dict[float, float]]] = {}
    for row in Sheet(path, {"the song": "musicId", "the time": "frameTime", **_TARGETS}, problems, ","):
        time = row.number("frameTime", 0.0, 3600.0)
        song = ratings.setdefault(row.cells["musicId"], {name: {} for name in _TARGETS})
        values = {name: row.number(column, 0.0, 1.0) for name, column in _TARGETS.items()}
        if any(time in times for times in song.values()):
            row.blame("frameTime", f"song {row.cells['musicId']} has another row for {time:g} s")
        for name, value in values.items():
            if time is not None and value is not None:
                song[name][time] = value
    return {
        song: {
            f"{name}_over_time": series_of(times, f"{path}: song {song}", problems)
            for name, times in of_song.items()
        }
        for song, of_song in ratings.items()
    }


def _test_songs(songs: Mapping[str, object]) -> set[str]:
    """Return the test songs of the authors' baselines: a tenth of the songs, the first after a shuffle with seed 3.

    Source: dynamic_MER.ipynb in the dataset's repository, `sklearn.utils.shuffle(songs, random_state=3)`.
    """
    order = np.arange(len(songs))
    np.random.RandomState(3).shuffle(order)  # the published split is of this generator
    names = sorted(songs, key=lambda song: (len(song), song))
    return {names[place] for place in order[: round(len(songs) * 0.1)]}
