"""FMA: music of the Free Music Archive with genres, artists, a split, and Echonest's audio features."""

from __future__ import annotations

import csv
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
from musicemo_builtin.datasets._rows import long_cells
from musicemo_builtin.datasets._sheet import Part, Row

__all__ = ["ECHONEST", "GENRES", "Fma"]

#: Top-level genres, in alphabetical order.
GENRES = (
    *("Blues", "Classical", "Country", "Easy Listening", "Electronic", "Experimental", "Folk", "Hip-Hop"),
    *("Instrumental", "International", "Jazz", "Old-Time / Historic", "Pop", "Rock", "Soul-RnB", "Spoken"),
)

#: Echonest's audio features and their ranges; the tempo is in beats per minute.
ECHONEST = {
    **dict.fromkeys(
        ("acousticness", "danceability", "energy", "instrumentalness", "liveness", "speechiness", "valence"),
        (0.0, 1.0),
    ),
    "tempo": (0.0, 300.0),
}

Subset = Literal["small", "medium", "large", "full"]

#: Each is part of the next one; a track's cell names the smallest that it is in.
_SUBSETS: tuple[Subset, ...] = ("small", "medium", "large", "full")
_PARTS: dict[str, Part] = {"training": "train", "validation": "val", "test": "test"}

#: Header rows joined by a slash -> what they are for.
_TRACK_COLUMNS = {
    "set/split": "part",
    "set/subset": "subset",
    "artist/id": "artist",
    "track/genre_top": "genre",
}
_ECHONEST_COLUMNS = {f"echonest/audio_features/{name}": name for name in ECHONEST}

_LAYOUT = Layout(
    "FMA",
    "https://github.com/mdeff/fma",
    """\
  fma_metadata/tracks.csv, echonest.csv      fma_metadata.zip
  fma_small/000/000002.mp3 ...               fma_small.zip; or fma_medium, fma_large, fma_full""",
)


@dataclass(kw_only=True, eq=False)
class Fma(Preset):
    """Genres of 8,000 (small), 25,000 (medium) or 106,574 (large, full) tracks, and Echonest's values for some of them.

    Targets are `genre`, a top-level genre or missing, and for 13,129 tracks `valence`, `energy`,
    `danceability`, `acousticness`, `instrumentalness`, `liveness` and `speechiness` in [0, 1], and `tempo` in
    beats per minute. These were computed by Echonest's program, not rated by listeners. The split is the
    official one, by artist; the group is the artist's number. A track's id is its number. Clips are 30 s long;
    in `full`, they are whole songs.

    M. Defferrard, K. Benzi, P. Vandergheynst, X. Bresson, "FMA: a dataset for music analysis", ISMIR 2017.

    Args:
        root: Folder that contains `fma_metadata` and the folder of the audio.
        subset: Subset of the tracks; the audio can be that of a larger subset.
        on_error: How to treat songs that are missing or cannot be analyzed: ``raise`` one error that lists all, or
            ``skip`` them with a warning. Three clips of the small subset have no audio, so it needs ``skip``.

    Raises:
        InputError: A file is missing, or the metadata are not as described; with file, line and column.
    """

    subset: Subset = "small"

    citation = (
        'M. Defferrard, K. Benzi, P. Vandergheynst, X. Bresson, "FMA: a dataset for music analysis", '
        "International Society for Music Information Retrieval Conference (ISMIR), 2017."
    )
    licence = "Metadata CC BY 4.0; each song under the Creative Commons licence that its artist chose."

    layout = _LAYOUT
    drawn_from = ("fma",)
    id_space = "fma"
    learnt = 1

    def read(self, recordings: Recordings, problems: Problems) -> Sequence[Target]:
        """Add every song and return the targets."""
        metadata, echonest = (
            _LAYOUT.find_any(self.root, f"fma_metadata/{name}", name) for name in ("tracks.csv", "echonest.csv")
        )
        subsets = _SUBSETS[_SUBSETS.index(self.subset) :]
        audio = _LAYOUT.find_any(self.root, *(f"fma_{name}" for name in subsets))
        smaller = _SUBSETS[: _SUBSETS.index(self.subset) + 1]
        analysed = {
            row.cells["track_id"]: {name: row.number(name, *bounds) for name, bounds in ECHONEST.items()}
            for row in _rows(echonest, 3, _ECHONEST_COLUMNS, problems)
        }
        genres = set(GENRES)
        for row in _rows(metadata, 2, _TRACK_COLUMNS, problems):
            if row.one_of("subset", _SUBSETS, "is not a subset; allowed:") not in smaller:
                continue
            number, genre = row.cells["track_id"], row.text("genre")
            genres.update([genre] if genre else [])
            stem = f"{int(number):06}"
            track = Track(
                number,
                None,
                {**analysed.get(number, {}), "genre": genre},
                group=row.text("artist"),
                audio=song_file(audio / stem[:3], stem),
                part=row.part("part", _PARTS),
            )
            recordings.add(row.where, track)
        return [
            Target("genre", "classification", classes=tuple(sorted(genres))),
            *(Target(name, "regression", range=bounds) for name, bounds in ECHONEST.items()),
        ]

    @classmethod
    def recognise(cls, path: Path) -> Mapping[str, Any] | None:
        """Return the parameters, without the root, for a folder of this dataset; None for another folder."""
        subsets = [name for name in _SUBSETS if (path / f"fma_{name}").is_dir()]
        if not subsets or not any(
            (path / name).is_file() for name in ("fma_metadata/tracks.csv", "tracks.csv")
        ):
            return None
        return {"subset": subsets[0]}


def _rows(path: Path, levels: int, columns: dict[str, str], problems: Problems) -> Iterator[Row]:
    """Yield a file's rows, with those cells alone that `columns` names; the file is not held in memory.

    The names of a column stand below each other in `levels` rows, and a row follows that names the index.

    Raises:
        InputError: The file cannot be read, or its header is not as described.
    """
    lines = _lines(path)
    header = [cells for _, (_, cells) in zip(range(levels), lines, strict=False)]
    names = ["/".join(parts) for parts in zip(*header, strict=False)]
    missing = [name for name in columns if names.count(name) != 1]
    if missing:
        raise InputError(
            *(
                f"{path}:1: the {levels} rows of the header do not contain the column ({', '.join(name.split('/'))})"
                for name in missing
            )
        )
    places = {use: names.index(name) for name, use in columns.items()}
    seen: set[str] = set()
    for line, cells in lines:
        where = f"{path}:{line}"
        if not cells or cells[0] == "track_id":
            continue
        if len(cells) != len(names):
            problems.add(f"{where}: malformed row, expected {len(names)} cells, got {len(cells)}")
        elif not (cells[0].isascii() and cells[0].isdecimal()):
            problems.add(f"{where}: column 'track_id': {cells[0]!r} is not a track number")
        elif cells[0] in seen:
            problems.add(f"{where}: track {cells[0]} is a duplicate")
        else:
            seen.add(cells[0])
            used_cells = {use: cells[place].strip() for use, place in places.items()}
            yield Row(where, {"track_id": cells[0], **used_cells}, problems)


def _lines(path: Path) -> Iterator[tuple[int, list[str]]]:
    """Yield line number and cells; biographies may be longer than what the csv module takes by default."""
    line = 1
    try:
        with long_cells(), path.open(encoding="utf-8-sig", newline="") as file:
            reader = csv.reader(file, strict=True)
            for cells in reader:
                yield line, cells
                line = reader.line_num + 1
    except csv.Error as error:
        raise InputError(f"{path}:{line}: malformed row ({error})") from None
    except UnicodeDecodeError as error:
        raise InputError(
            f"{path}:{line}: is not UTF-8 text, in this row or soon after ({error.reason})"
        ) from None
    except OSError as error:
        raise InputError(f"{path}: cannot be read ({error.strerror or error})") from None
