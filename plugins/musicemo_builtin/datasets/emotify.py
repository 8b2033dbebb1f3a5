"""Emotify: excerpts of four genres with the emotions that listeners of a game ticked."""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import dataclass, field
from pathlib import Path
from typing import Annotated

from pydantic import Field

from musicemo.contracts import Proposal, Target, Track
from musicemo.errors import InputError
from musicemo_builtin.datasets._layout import Layout, song_file
from musicemo_builtin.datasets._problems import Problems
from musicemo_builtin.datasets._recordings import Duration, Features, Offset, OnError, Recordings, Sync
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


class Emotify:
    """Nine emotions as the share of a song's listeners who ticked them, and the genre.

    The folder is the original one, or one whose genres are below `audio` and whose answers are in
    `annotations.csv`. A row of the answers is a listener and a song; a song's file is its id less 0 (classical),
    100 (rock), 200 (electronic) or 300 (pop). Songs without an answer are left out.

    Targets are `amazement`, `solemnity`, `tenderness`, `nostalgia`, `calmness`, `power`, `joyful_activation`,
    `tension` and `sadness` in [0, 1], and `genre`; a listener's answer, 0 or 1, is in `Track.ratings`. A track's id
    is its file without suffix, such as ``rock/12``, and tracks come in the order of their files' names as text.
    There is no official split, and artists are not known.

    A. Aljanaki, F. Wiering, R. C. Veltkamp, "Studying emotion induced by music through a crowdsourcing game",
    Information Processing & Management 52(1), 2016.

    Args:
        root: The folder.
        minimum_raters: A song with fewer listeners has no emotion, its genre only.
        features: Rows to use: the mel spectrogram, the chromagram or both.
        sync: Columns: one a beat or one a frame.
        offset: Where the excerpt that is analysed begins, in seconds.
        duration: Its length in seconds; None is the rest of the song.
        cache: Folder for the features; None is `$MUSICEMO_CACHE`, or `musicemo` in the user's cache folder.
        on_error: What a song does that is missing or cannot be analysed: ``raise`` an error that lists all, or be
            left out (``skip``) with a warning.

    Raises:
        InputError: Something is missing, or an answer is not as described; with file, line and column.
    """

    citation = (
        'A. Aljanaki, F. Wiering, R. C. Veltkamp, "Studying emotion induced by music through a crowdsourcing game", '
        "Information Processing & Management 52(1), 115-128, 2016."
    )
    licence = "Music by Magnatune artists, CC BY-NC-SA; see the dataset's page."

    def __init__(
        self,
        *,
        root: Path,
        minimum_raters: Annotated[int, Field(ge=1)] = 1,
        features: Features = "fused",
        sync: Sync = "beat",
        offset: Offset = 0.0,
        duration: Duration = None,
        cache: Path | None = None,
        on_error: OnError = "raise",
    ) -> None:
        self._recordings = Recordings("emotify", root, features, sync, offset, duration, cache, on_error)
        self.rows = self._recordings.rows
        self.sync, self.recipe = self._recordings.sync, self._recordings.recipe
        self.targets = [
            *(Target(name, "regression", range=(0.0, 1.0)) for name in EMOTIONS),
            Target("genre", "classification", classes=GENRES),
        ]
        problems = Problems()
        answers = _LAYOUT.find_any(root, *_ANSWERS)
        audio = root / "audio" if (root / "audio").is_dir() else root
        for song in _read(answers, problems):
            enough = len(song.answers[EMOTIONS[0]]) >= minimum_raters
            shares = {
                name: sum(given) / len(given) if enough and given else None
                for name, given in song.answers.items()
            }
            track = Track(
                f"{song.genre}/{song.number}",
                song_file(audio / song.genre, str(song.number)),
                {**shares, "genre": song.genre},
                ratings={name: given for name, given in song.answers.items() if shares[name] is not None},
            )
            self._recordings.add(song.row.where, track)
        self._recordings.check(problems, _LAYOUT.advice)

    @classmethod
    def propose(cls, path: Path) -> Proposal | None:
        """Return what it would make of a folder, if that is its own."""
        if not (_LAYOUT.fits(path, *GENRES) and any((path / name).is_file() for name in _ANSWERS)):
            return None
        made = cls(root=path)
        return made._recordings.proposal(made.targets, len(EMOTIONS), root=path)

    def tracks(self) -> Iterator[Track]:
        """Yield the songs in the order of their files' names; analyse those that the cache has not."""
        yield from self._recordings.tracks()


def _read(path: Path, problems: Problems) -> list[_Song]:
    """Return the songs, each with its listeners' answers, in the order of their names."""
    needs = {"the song": "track id", **{name: name for name in ("genre", *EMOTIONS)}}
    songs: dict[str, _Song] = {}
    for row in Sheet(path, needs, problems, ","):
        song = _song(row)
        if song is None:
            continue
        song = songs.setdefault(f"{song.genre}/{song.number}.", song)
        for name in EMOTIONS:
            answer = row.one_of(name, ("0", "1"), "is no answer; answers are")
            if answer is not None:
                song.answers[name].append(float(answer))
            elif not row.cells[name]:
                row.blame(name, "is empty; an answer is 0 or 1")
    return [songs[name] for name in sorted(songs)]


def _song(row: Row) -> _Song | None:
    genre = row.one_of("genre", GENRES, "is no genre of Emotify, which has")
    if genre is None:
        return None
    low = _OFFSETS[genre] + 1
    try:
        number = int(row.cells["track id"]) - _OFFSETS[genre]
        if not 1 <= number <= _PER_GENRE:
            raise InputError
    except ValueError:
        row.blame("track id", f"{row.cells['track id']!r} is no song of {genre}, which has {low} to {low + 99}")
        return None
    return _Song(row, genre, number)
