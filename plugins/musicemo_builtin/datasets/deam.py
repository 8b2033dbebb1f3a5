"""DEAM: 1,802 songs and excerpts with valence and arousal, from the MediaEval benchmark."""

from __future__ import annotations

import logging
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any, Literal

import numpy as np

from musicemo.contracts import Label, Series, Target, Track
from musicemo.errors import InputError
from musicemo_builtin.datasets._cells import is_missing
from musicemo_builtin.datasets._layout import Layout, inside, song_file
from musicemo_builtin.datasets._over_time import by_song, of_listeners
from musicemo_builtin.datasets._preset import Preset
from musicemo_builtin.datasets._problems import Problems
from musicemo_builtin.datasets._recordings import Recordings
from musicemo_builtin.datasets._rows import read_rows
from musicemo_builtin.datasets._sheet import Part, Sheet

__all__ = ["Deam"]

_log = logging.getLogger(__name__)

#: File of the songs' ratings -> the part that its songs are in.
_FILES: dict[str, Part] = {
    "static_annotations_averaged_songs_1_2000.csv": "train",
    "static_annotations_averaged_songs_2000_2058.csv": "test",
}

#: Target -> its column and its range.
_TARGETS = {
    "valence": ("valence_mean", (1.0, 9.0)),
    "arousal": ("arousal_mean", (1.0, 9.0)),
    "valence_std": ("valence_std", (0.0, 4.0)),
    "arousal_std": ("arousal_std", (0.0, 4.0)),
}

#: Dimensions that were rated over time, and the range of these ratings.
_OVER_TIME = ("valence", "arousal")
_RANGE_OVER_TIME = (-1.0, 1.0)
_PER_SECOND = "dynamic (per second annotations)"

#: Targets of the first 1,000 songs that emoMusic's files have the other way round.
_EXCHANGED = {
    "valence": "arousal",
    "arousal": "valence",
    "valence_std": "arousal_std",
    "arousal_std": "valence_std",
}
_LAST_OF_2013 = 1000

#: Year of the benchmark -> the songs that it added.
_YEARS = {2013: range(1, 1001), 2014: range(1001, 2001), 2015: range(2001, 2059)}
#: Minimum number of songs that are compared, and minimum difference of the correlations that is reported.
_COMPARED, _DIFFERENCE = 20, 0.1

#: Number of excerpts in the development set of MediaEval 2015.
_DEVELOPMENT = 431

_LAYOUT = Layout(
    "DEAM",
    "https://cvml.unige.ch/databases/DEAM/",
    """\
  MEMD_audio/2.mp3 ...                                     DEAM_audio.zip
  annotations/annotations averaged per song/song_level/    DEAM_Annotations.zip
    static_annotations_averaged_songs_1_2000.csv
    static_annotations_averaged_songs_2000_2058.csv
  annotations/annotations averaged per song/dynamic (per second annotations)/
    arousal.csv, valence.csv                               for over_time
  annotations/annotations per each rater/dynamic (per second annotations)/
    arousal/2.csv ..., valence/2.csv ...                   for over_time = "listeners"
  metadata/metadata_2013.csv, _2014.csv, _2015.csv         metadata.zip; may be absent
(the archives may be unpacked into folders of their own)""",
)


@dataclass(kw_only=True, eq=False)
class Deam(Preset):
    """Valence and arousal of whole excerpts or songs and over time: mean and standard deviation over the listeners.

    Targets are `valence` and `arousal` in [1, 9], and `valence_std` and `arousal_std` in [0, 4]; with `over_time`, also
    `valence_over_time` and `arousal_over_time` in [-1, 1], twice a second from 15 s. The official split has the 1,744
    excerpts of 45 s (songs 1 to 2000) for training and the 58 full songs (2001 to 2058), the test set of MediaEval
    2015, for the test; see `development`. The group is the artist, if the metadata name one. A track's id is the number
    of the song.

    Valence and arousal of the 744 songs up to number 1000 are exchanged in comparison with emoMusic, which has the same
    songs; see `static_labels`.

    A. Aljanaki, Y.-H. Yang, M. Soleymani, "Developing a benchmark for emotional analysis of music", PLoS ONE
    12(3), 2017.

    Args:
        root: Folder of the dataset; the files can be at any place in it.
        development: File with the numbers of the 431 excerpts that were the development set of MediaEval 2015, one in
            each line: the other excerpts are left out. By default all 1,744 excerpts are the training set. DEAM's
            archives do not have this list.
        static_labels: Ratings of whole songs up to number 1000: ``as-published`` in DEAM's files, or ``as-emomusic``,
            with valence and arousal exchanged. By default as published, with a warning.
        over_time: Ratings over time: ``no``, their ``mean`` over the listeners, or also those of single ``listeners``.

    Raises:
        InputError: A file is missing, or a rating is not as described; with file, line and column.
    """

    development: Path | None = None
    static_labels: Literal["as-published", "as-emomusic"] | None = None
    over_time: Literal["no", "mean", "listeners"] = "no"

    citation = (
        'A. Aljanaki, Y.-H. Yang, M. Soleymani, "Developing a benchmark for emotional analysis of music", '
        "PLoS ONE 12(3), e0173392, 2017."
    )
    licence = (
        "Annotations for research, see the dataset's page; the songs are under Creative Commons licences of "
        "their artists'."
    )

    layout = _LAYOUT
    drawn_from = ("fma", "jamendo", "medleydb")
    id_space = "deam"
    learnt = 2

    def read(self, recordings: Recordings, problems: Problems) -> Sequence[Target]:
        """Add every song and return the targets."""
        audio = _LAYOUT.find(self.root, "MEMD_audio")
        artists = _artists(self.root, problems)
        development = None if self.development is None else _numbers(self.development)
        over_time = {
            f"{name}_over_time": by_song(
                _LAYOUT.find(self.root, f"{name}.csv"), "song_id", _RANGE_OVER_TIME, problems
            )
            for name in (_OVER_TIME if self.over_time != "no" else ())
        }
        per_second = None
        if self.over_time == "listeners":
            per_second = inside(_LAYOUT.find(self.root, "annotations per each rater"), _PER_SECOND)
        early = 0
        tracks: list[Track] = []
        needs = {"the song": "song_id", **{name: column for name, (column, _) in _TARGETS.items()}}
        for name, part in _FILES.items():
            for song, row in Sheet(_LAYOUT.find(self.root, name), needs, problems, ",").tracks("song_id"):
                if part == "train" and development is not None and song not in development:
                    continue
                rated: dict[str, Label | None] = {
                    target: row.number(column, *bounds) for target, (column, bounds) in _TARGETS.items()
                }
                if song.isdecimal() and int(song) <= _LAST_OF_2013:
                    early += 1
                    if self.static_labels == "as-emomusic":
                        rated = {target: rated[_EXCHANGED[target]] for target in rated}
                track = Track(
                    song,
                    None,
                    {**rated, **{target: series.get(song) for target, series in over_time.items()}},
                    audio=song_file(audio, song),
                    group=artists.get(song),
                    part=part,
                    ratings={} if per_second is None else _of_listeners(per_second, song, problems),
                )
                recordings.add(row.where, track)
                tracks.append(track)
        if over_time:
            _warn_of_exchanged(self.root, tracks)
        if early and self.static_labels is None:
            _log.warning(
                f"{self.root}: valence and arousal of {early} songs up to number {_LAST_OF_2013} are exchanged in "
                'comparison with emoMusic, which has the same songs. Set static_labels = "as-emomusic" to exchange '
                'them, or "as-published" to keep them'
            )
        elif early and self.static_labels == "as-emomusic":
            _log.info(f"{self.root}: valence and arousal of {early} songs are exchanged, as in emoMusic")
        return [
            *(Target(name, "regression", range=bounds) for name, (_, bounds) in _TARGETS.items()),
            *(Target(name, "series", range=_RANGE_OVER_TIME) for name in over_time),
        ]

    @classmethod
    def recognise(cls, path: Path) -> Mapping[str, Any] | None:
        """Return the parameters, without the root, for a folder of this dataset; None for another folder."""
        return {} if _LAYOUT.fits(path, "MEMD_audio", *_FILES) else None


def _warn_of_exchanged(root: Path, tracks: Sequence[Track]) -> None:
    """Warn of years in which valence of whole songs agrees with arousal over time, and the reverse.

    Agreement is Pearson's correlation over the songs, with the mean of the ratings over time of each song.
    """
    for year, songs in _YEARS.items():
        rows: list[list[float]] = []
        for track in tracks:
            series = [track.targets[f"{name}_over_time"] for name in _OVER_TIME]
            static = [track.targets[name] for name in _OVER_TIME]
            if track.id.isdecimal() and int(track.id) in songs and None not in (*static, *series):
                rows.append(
                    [*(float(rating) for rating in static if isinstance(rating, float))]
                    + [float(np.nanmean(one.values)) for one in series if isinstance(one, Series)]
                )
        ratings = np.array(rows)
        if len(rows) < _COMPARED or not ratings.std(axis=0).all():
            continue
        same, other = np.corrcoef(ratings.T)[:2, 2:], np.corrcoef(ratings.T)[:2, :1:-1]
        if (np.diag(other) > np.diag(same) + _DIFFERENCE).all():
            _log.warning(
                f"{root}: songs of {year}: valence of whole songs correlates {other[0, 0]:.2f} with arousal over time, "
                f"{same[0, 0]:.2f} with valence over time; arousal {other[1, 1]:.2f} with valence over time, "
                f"{same[1, 1]:.2f} with arousal over time. The two are probably exchanged"
            )


def _of_listeners(folder: Path, song: str, problems: Problems) -> dict[str, Sequence[Series]]:
    """Return target -> the ratings over time of a song's listeners, from the files that exist."""
    files = {f"{name}_over_time": inside(folder, f"{name}/{song}.csv") for name in _OVER_TIME}
    return {
        target: of_listeners(path, _RANGE_OVER_TIME, problems)
        for target, path in files.items()
        if path.is_file()
    }


def _numbers(path: Path) -> set[str]:
    """Return the numbers in a file, one in each line.

    Raises:
        InputError: The file cannot be read, or a line is not the number of an excerpt.
    """
    try:
        lines = path.read_text(encoding="utf-8-sig").split()
    except (OSError, UnicodeDecodeError) as error:
        raise InputError(f"{path}: cannot be read ({error})") from error
    for number, line in enumerate(lines, start=1):
        if not (line.isascii() and line.isdecimal() and 1 <= int(line) <= 2000):
            raise InputError(f"{path}: entry {number}: {line!r} is not the number of an excerpt (1 to 2000)")
    numbers = {str(int(line)) for line in lines}
    if len(numbers) != _DEVELOPMENT:
        _log.warning(
            f"{path}: has {len(numbers)} excerpts; the development set of MediaEval 2015 had {_DEVELOPMENT}, so "
            "results are not comparable with its results"
        )
    return numbers


def _artists(root: Path, problems: Problems) -> dict[str, str]:
    """Return song -> artist; the rows have cells of more than their columns at the end, which do not matter."""
    artists: dict[str, str] = {}
    for year in (2013, 2014, 2015):
        for path in _LAYOUT.candidates(root, f"metadata_{year}.csv")[:1]:
            (_, header), *rows = read_rows(path, ",", strict=False)
            columns = [name.lower() for name in header]
            if "artist" not in columns:
                continue
            place = columns.index("artist")
            for line, cells in rows:
                cell = cells[place] if len(cells) > place else ""
                if not is_missing(cell):
                    artists[cells[0]] = cell
                elif cell:
                    problems.note_missing(str(path), f"line {line}", header[place], cell)
    return artists
