"""Emotify: excerpts of four genres with the emotions that listeners of a game ticked."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field
from pathlib import Path
from typing import Annotated, Any, Literal

from pydantic import Field

from musicemo.contracts import Target, Track
from musicemo_builtin.datasets._layout import Layout, inside, song_file
from musicemo_builtin.datasets._preset import Preset
from musicemo_builtin.datasets._problems import Problems
from musicemo_builtin.datasets._recordings import Recordings
from musicemo_builtin.datasets._sheet import Row, Sheet

__all__ = ["EMOTIONS", "GENRES", "Emotify"]

#: The nine factors of the Geneva Emotional Music Scale; `joyful_activation` and the others as columns name them.
EMOTIONS = (
    *("amazement", "solemnity", "tenderness", "nostalgia", "calmness", "power"),
    *("joyful_activation", "tension", "sadness"),
)

#: Genre -> what is added to a file's number to make the track's id.
_OFFSETS = {"classical": 0, "electronic": 200, "pop": 300, "rock": 100}
GENRES = tuple(_OFFSETS)
_PER_GENRE = 100

_ANSWERS = ("annotations.csv", "data.csv")

_LAYOUT = Layout(
    "Emotify",
    "http://www2.projects.science.uu.nl/memotion/emotifydata/",
    """\
  classical/1.mp3 ...  electronic/  pop/  rock/    or these four in a folder audio
  data.csv                                         or annotations.csv""",
)


@dataclass
class _Song:
    row: Row
    genre: str
    number: int
    answers: dict[str, list[float]] = field(default_factory=lambda: {name: [] for name in EMOTIONS})


@dataclass(kw_only=True, eq=False)
class Emotify(Preset):
    """Nine emotions as the share of a song's listeners who ticked them, and the genre.

    The folder is the original one, or one with the genres in `audio` and the answers in `annotations.csv`. Each
    row of the answers is one listener and one song. A song's file is its id minus 0 (classical), 100 (rock),
    200 (electronic) or 300 (pop). Songs without an answer are left out.

    Targets are `amazement`, `solemnity`, `tenderness`, `nostalgia`, `calmness`, `power`, `joyful_activation`,
    `tension` and `sadness` in [0, 1], `genre`, and the tags `emotions`: those that at least the share `tag_share` of
    the song's listeners ticked. `Track.ratings` has each listener's answer, 0 or 1. A track's id is its file without
    suffix, such as ``rock/12``, and tracks are ordered by file name as text.
    There is no official split, and the artists are unknown.

    A. Aljanaki, F. Wiering, R. C. Veltkamp, "Studying emotion induced by music through a crowdsourcing game",
    Information Processing & Management 52(1), 2016.

    Args:
        minimum_raters: Minimum number of listeners of a song; songs with fewer have a genre but no emotions.
        tag_share: Minimum share of a song's listeners who ticked an emotion, for it to be one of the song's tags.
        genres: Genres whose songs are read; by default all.

    Raises:
        InputError: A file is missing, or an answer is not as described; with file, line and column.
    """

    minimum_raters: Annotated[int, Field(ge=1)] = 1
    tag_share: Annotated[float, Field(gt=0, le=1)] = 0.3
    genres: Annotated[list[Literal["classical", "electronic", "pop", "rock"]], Field(min_length=1)] | None = (
        None
    )

    citation = (
        'A. Aljanaki, F. Wiering, R. C. Veltkamp, "Studying emotion induced by music through a crowdsourcing game", '
        "Information Processing & Management 52(1), 115-128, 2016."
    )
    licence = "Music by Magnatune artists, CC BY-NC-SA; see the dataset's page."

    layout = _LAYOUT
    drawn_from = ("magnatune",)
    id_space = "emotify"
    learnt = len(EMOTIONS)

    def read(self, recordings: Recordings, problems: Problems) -> Sequence[Target]:
        """Add every song and return the targets."""
        answers = _LAYOUT.find_any(self.root, *_ANSWERS)
        audio = folder if (folder := inside(self.root, "audio")).is_dir() else self.root
        for song in _read(answers, problems):
            if self.genres is not None and song.genre not in self.genres:
                continue
            enough = len(song.answers[EMOTIONS[0]]) >= self.minimum_raters
            shares = {
                name: sum(song_answers) / len(song_answers) if enough and song_answers else None
                for name, song_answers in song.answers.items()
            }
            track = Track(
                f"{song.genre}/{song.number}",
                None,
                {**shares, "genre": song.genre, "emotions": self._tags(shares)},
                audio=song_file(inside(audio, song.genre), str(song.number)),
                ratings={
                    name: song_answers
                    for name, song_answers in song.answers.items()
                    if shares[name] is not None
                },
            )
            recordings.add(song.row.where, track)
        return [
            *(Target(name, "regression", range=(0.0, 1.0)) for name in EMOTIONS),
            Target("genre", "classification", classes=GENRES),
            Target("emotions", "tags", classes=EMOTIONS),
        ]

    def _tags(self, shares: Mapping[str, float | None]) -> tuple[str, ...] | None:
        if None in shares.values():
            return None
        return tuple(name for name, share in shares.items() if share is not None and share >= self.tag_share)

    @classmethod
    def recognise(cls, path: Path) -> Mapping[str, Any] | None:
        """Return the parameters, without the root, for a folder of this dataset; None for another folder."""
        recognized = _LAYOUT.fits(path, *GENRES) and any(inside(path, name).is_file() for name in _ANSWERS)
        return {} if recognized else None


def _read(path: Path, problems: Problems) -> list[_Song]:
    """Return the songs, each with its listeners' answers, in the order of their names."""
    needs = {"the song": "track id", **{name: name for name in ("genre", *EMOTIONS)}}
    songs: dict[str, _Song] = {}
    for row in Sheet(path, needs, problems, ",", missing=()):
        song = _song(row)
        if song is None:
            continue
        song = songs.setdefault(f"{song.genre}/{song.number}.", song)
        for name in EMOTIONS:
            answer = row.one_of(name, ("0", "1"), "is not an answer; allowed:")
            if answer is not None:
                song.answers[name].append(float(answer))
            elif not row.cells[name]:
                row.blame(name, "is empty, but must be 0 or 1")
    return [songs[name] for name in sorted(songs)]


def _song(row: Row) -> _Song | None:
    genre = row.one_of("genre", GENRES, "is not a genre of Emotify; allowed:")
    if genre is None:
        return None
    low = _OFFSETS[genre] + 1
    cell = row.cells["track id"]
    number = int(cell) - _OFFSETS[genre] if cell.isascii() and cell.isdecimal() else 0
    if not 1 <= number <= _PER_GENRE:
        row.blame("track id", f"{row.cells['track id']!r} is not a song of {genre} ({low} to {low + 99})")
        return None
    return _Song(row, genre, number)
