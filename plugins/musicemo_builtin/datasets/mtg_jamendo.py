"""MTG-Jamendo: songs with tags of mood and theme, genre and instrument, and five published splits."""

from __future__ import annotations

from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any, Literal

from musicemo.contracts import Target, Track
from musicemo.errors import InputError
from musicemo_builtin.datasets._layout import Layout, song_file
from musicemo_builtin.datasets._preset import Preset
from musicemo_builtin.datasets._problems import Problems
from musicemo_builtin.datasets._recordings import Recordings
from musicemo_builtin.datasets._rows import read_rows
from musicemo_builtin.datasets._sheet import Part

__all__ = ["MtgJamendo"]

Subset = Literal["moodtheme", "genre", "instrument", "top50tags", "all"]

#: Part -> its name in the files of a split.
_PARTS: dict[Part, str] = {"train": "train", "val": "validation", "test": "test"}

_HEADER = ["TRACK_ID", "ARTIST_ID", "ALBUM_ID", "PATH", "DURATION", "TAGS"]
#: Between the category of a tag and its name: ``mood/theme---happy``.
_HYPHEN = "---"

_LAYOUT = Layout(
    "MTG-Jamendo",
    "https://github.com/MTG/mtg-jamendo-dataset",
    """\
  data/splits/split-0/autotagging_moodtheme-train.tsv, -validation.tsv, -test.tsv ...    the repository
  audio/48/948.mp3 ...    or audio-low/48/948.low.mp3: what its scripts/download/download.py unpacks
(with dataset.audio, the audio can be in another folder)""",
)


@dataclass(kw_only=True, eq=False)
class MtgJamendo(Preset):
    """Tags of songs from Jamendo, given by those who uploaded them: 56 of mood and theme by default.

    The target has the name of the subset: `moodtheme` (56 tags), `genre` (87), `instrument` (40), `top50tags` (the 50
    most frequent of the three categories) or `all` (183). A track has the tags that its line lists and none of the
    others. A tag has no category: ``happy``, not ``mood/theme---happy``. Tags are ordered as in the published lists, by
    category and name. The split is one of the five official ones, which share no artist between their sets; in split 0
    the subset `moodtheme` has 9,949 tracks for training, 3,802 for validation and 4,231 for the test. The group is the
    artist's number. A track's id is its `TRACK_ID`.

    D. Bogdanov, M. Won, P. Tovstogan, A. Porter, X. Serra, "The MTG-Jamendo dataset for automatic music tagging",
    Machine Learning for Music Discovery Workshop, ICML 2019.

    Args:
        root: The unpacked repository.
        subset: Tags to read, and the tracks that have one of them.
        split: Number of the official split.
        audio: Folder of the audio; by default `audio` or `audio-low` in `root`.

    Raises:
        InputError: A file is missing, or a line is not as described; with file and line.
    """

    subset: Subset = "moodtheme"
    split: Literal[0, 1, 2, 3, 4] = 0
    audio: Path | None = None

    citation = (
        "D. Bogdanov, M. Won, P. Tovstogan, A. Porter, X. Serra, "
        '"The MTG-Jamendo dataset for automatic music tagging", Machine Learning for Music Discovery Workshop, '
        "International Conference on Machine Learning (ICML), 2019."
    )
    licence = "Metadata CC BY-NC-SA 4.0; each song under the Creative Commons licence that its artist chose."

    layout = _LAYOUT
    drawn_from = ("mtg-jamendo",)
    id_space = "jamendo"
    learnt = 1

    def read(self, recordings: Recordings, problems: Problems) -> Sequence[Target]:
        """Add every song and return the target."""
        name = "autotagging" if self.subset == "all" else f"autotagging_{self.subset}"
        files = {
            part: _LAYOUT.find_any(self.root, f"data/splits/split-{self.split}/{name}-{suffix}.tsv")
            for part, suffix in _PARTS.items()
        }
        if self.audio is None:
            audio = _LAYOUT.find_any(self.root, "audio", "audio-low")
        else:
            _LAYOUT.check(audio := self.audio)
        lines: dict[str, str] = {}
        tags: set[str] = set()
        for part, path in files.items():
            for where, cells in _rows(path, problems):
                song, artist, _, place, _, *labels = cells
                if song in lines:
                    problems.add(f"{where}: track {song!r} is already in {lines[song]}")
                    continue
                lines[song] = where
                tags.update(labels)
                track = Track(
                    song,
                    None,
                    {self.subset: tuple(map(_short, labels))},
                    group=artist,
                    audio=_song(audio, Path(place)),
                    part=part,
                )
                recordings.add(where, track)
        return [Target(self.subset, "tags", classes=tuple(map(_short, sorted(tags))))]

    @classmethod
    def recognise(cls, path: Path) -> Mapping[str, Any] | None:
        """Return the parameters, without the root, for a folder of this dataset; None for another folder."""
        folder = path / "data" / "splits" / "split-0"
        return {} if (folder / "autotagging_moodtheme-train.tsv").is_file() else None


def _rows(path: Path, problems: Problems) -> Iterator[tuple[str, list[str]]]:
    """Yield file and line, and the cells of a row, in which each tag has a cell.

    Raises:
        InputError: The file cannot be read, or its header is not as described.
    """
    (line, header), *rows = read_rows(path, "\t")
    if header != _HEADER:
        raise InputError(f"{path}:{line}: the header is not {', '.join(_HEADER)}, but {', '.join(header)}")
    for line, cells in rows:
        where = f"{path}:{line}"
        if len(cells) < len(_HEADER) or not all(cells):
            problems.add(
                f"{where}: malformed row, expected {len(_HEADER) - 1} cells and one for each tag, got {len(cells)}"
            )
        elif wrong := [label for label in cells[len(_HEADER) - 1 :] if _HYPHEN not in label]:
            problems.add(f"{where}: column 'TAGS': {wrong[0]!r} is not a tag with its category (genre---rock)")
        else:
            yield where, cells


def _short(label: str) -> str:
    """Return a tag without its category; no name is in two categories."""
    return label.partition(_HYPHEN)[2]


def _song(audio: Path, place: Path) -> Path:
    """Return a song's file, in full or in low quality."""
    full, low = (song_file(audio / place.parent, f"{place.stem}{quality}") for quality in ("", ".low"))
    return low if low.is_file() and not full.is_file() else full
