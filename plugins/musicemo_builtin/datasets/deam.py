"""DEAM: 1,802 songs and excerpts with valence and arousal, from the MediaEval benchmark."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Any

from musicemo.contracts import Target, Track
from musicemo_builtin.datasets._cells import is_missing
from musicemo_builtin.datasets._layout import Layout, song_file
from musicemo_builtin.datasets._preset import Preset
from musicemo_builtin.datasets._problems import Problems
from musicemo_builtin.datasets._recordings import Recordings
from musicemo_builtin.datasets._rows import read_rows
from musicemo_builtin.datasets._sheet import Part, Sheet

__all__ = ["Deam"]

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

_LAYOUT = Layout(
    "DEAM",
    "https://cvml.unige.ch/databases/DEAM/",
    """\
  MEMD_audio/2.mp3 ...                                     DEAM_audio.zip
  annotations/annotations averaged per song/song_level/    DEAM_Annotations.zip
    static_annotations_averaged_songs_1_2000.csv
    static_annotations_averaged_songs_2000_2058.csv
  metadata/metadata_2013.csv, _2014.csv, _2015.csv         metadata.zip; may be absent
(the archives may be unpacked into folders of their own)""",
)


class Deam(Preset):
    """Valence and arousal of whole excerpts or songs: mean and standard deviation over the listeners.

    Targets are `valence` and `arousal` in [1, 9], and `valence_std` and `arousal_std` in [0, 4]. The official
    split is that of the benchmark's last year: the 1,744 excerpts of 45 s (songs 1 to 2000) for training, the
    58 full songs (2001 to 2058) for the test. The group is the artist, if the metadata name one. A track's id
    is the number of the song.

    A. Aljanaki, Y.-H. Yang, M. Soleymani, "Developing a benchmark for emotional analysis of music", PLoS ONE
    12(3), 2017.

    Args:
        root: Folder of the dataset; the files can be at any place in it.

    Raises:
        InputError: A file is missing, or a rating is not as described; with file, line and column.
    """

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
        needs = {"the song": "song_id", **{name: column for name, (column, _) in _TARGETS.items()}}
        for name, part in _FILES.items():
            for song, row in Sheet(_LAYOUT.find(self.root, name), needs, problems, ",").tracks("song_id"):
                targets = {target: row.number(column, *bounds) for target, (column, bounds) in _TARGETS.items()}
                track = Track(
                    song, None, targets, audio=song_file(audio, song), group=artists.get(song), part=part
                )
                recordings.add(row.where, track)
        return [Target(name, "regression", range=bounds) for name, (_, bounds) in _TARGETS.items()]

    @classmethod
    def recognise(cls, path: Path) -> Mapping[str, Any] | None:
        """Return the parameters, without the root, for a folder of this dataset; None for another folder."""
        return {} if _LAYOUT.fits(path, "MEMD_audio", *_FILES) else None


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
