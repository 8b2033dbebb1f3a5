"""The folders of the original study: features of clips from the Free Music Archive, with genres or emotions."""

from __future__ import annotations

import re
from collections.abc import Iterator
from pathlib import Path
from typing import Literal

from musicemo.contracts import FEATURE_ROWS, ArrayFile, Proposal, Target, Track
from musicemo.errors import InputError
from musicemo_builtin.datasets._arrays import FUSED_ROWS, array_shape
from musicemo_builtin.datasets._cells import is_missing, parse_number
from musicemo_builtin.datasets._layout import is_companion
from musicemo_builtin.datasets._problems import Problems
from musicemo_builtin.datasets._rows import read_rows

__all__ = ["EMOTIONS", "GENRES", "Lab"]

#: Genres of the study's clips, before any is merged or dropped.
GENRES = (
    *("Blues", "Chiptune", "Classical", "Electronic", "Folk", "Hip-Hop", "Indie-Rock", "International"),
    *("Jazz", "Metal", "Old-Time", "Pop", "Post-Punk", "Post-Rock", "Psych-Folk", "Psych-Rock", "Punk"),
    *("Rock", "Soundtrack", "Trip-Hop"),
)

#: Columns of an emotion label file, each within [0, 1].
EMOTIONS = ("valence", "energy", "danceability")

_SUFFIX = ".fused.full.npy"
_Layout = Literal["genre", "emotion"]
_Part = Literal["train", "test"]
#: What the study calls the folder of a layout; the beat-synchronous one has a suffix.
_FOLDERS: dict[_Layout, str] = {"genre": "fma_genre_spectrograms", "emotion": "multitask_dataset"}
_BEAT = "_beat"
_HEADERS: dict[_Layout, list[str]] = {"genre": ["Id", "Genre"], "emotion": ["Id", *EMOTIONS]}
_DELIMITERS: dict[_Layout, str] = {"genre": "\t", "emotion": ","}
_LAYOUT = """Expected a folder with
  train/ID.fused.full.npy   arrays [140, frames]
  train_labels.txt          'Id<TAB>Genre' or 'Id,valence,energy,danceability'
  test/ID.fused.full.npy    the same for the test part
  test_labels.txt           may be absent"""


class Lab:
    """One of the study's folders, with genres or with emotions.

    The header of `train_labels.txt` determines the layout. Genre labels are separated by tabs and declare the
    target `genre`; emotion labels are separated by commas and declare `valence`, `energy` and `danceability` in
    [0, 1]. A label belongs to the clip whose name is the text before the first dot of its `Id`. The clip's
    array is `ID.fused.full.npy`, `[140, frames]`: 128 rows of mel spectrogram in dB and 12 of chromagram.
    Arrays are memory-mapped.

    A track's id is the name of its clip. If a clip is in both sets, the one in the test set has the id
    ``test/ID``. An array without a label is a track without targets, and a set without a label file has only
    such tracks; `unlabelled` counts them. Training tracks come before test tracks, ordered by number. The
    classes of `genre` are the study's twenty and any other in the labels.

    Everything is checked on construction; only the headers of the arrays are read.

    Args:
        root: Folder that contains `train`, `train_labels.txt`, `test` and, possibly, `test_labels.txt`; or, with
            `layout`, the folder that contains the study's four folders.
        features: Feature rows: the mel spectrogram, the chromagram or both.
        layout: Which of the study's folders below `root`: "genre" is `fma_genre_spectrograms`, "emotion" is
            `multitask_dataset`, each followed by `_beat` if `sync` is "beat".
        sync: Feature columns of the arrays: one per beat or one per frame. Required with `layout`. Without it, trained
            runs cannot predict songs unless ``--sync`` is given.

    Raises:
        InputError: The folder, a label or an array is not as described; up to twenty problems in one error.
    """

    citation = (
        'The dataset "patreco3-multitask-affective-music" on Kaggle; its clips are of M. Defferrard, K. Benzi, '
        'P. Vandergheynst, X. Bresson, "FMA: a dataset for music analysis", International Society for Music '
        "Information Retrieval Conference (ISMIR), 2017."
    )
    licence = "See the dataset's page; each clip is under the Creative Commons licence that its artist chose."

    drawn_from = ("fma",)

    def __init__(
        self,
        *,
        root: Path,
        features: Literal["mel", "chroma", "fused"] = "fused",
        layout: _Layout | None = None,
        sync: Literal["beat", "frame"] | None = None,
    ) -> None:
        if layout is not None:
            if sync is None:
                raise InputError("`layout` requires `sync`, because the study has one folder for each")
            root = root / (_FOLDERS[layout] + _BEAT * (sync == "beat"))
        self.root = root
        self.features = features
        self.sync = sync
        self.rows = FEATURE_ROWS[features]
        self.extraction = sync and {"type": "mel-chroma", "outputs": ["mel", "chroma"], "grid": sync}
        self._problems = Problems()
        if not root.is_dir():
            raise InputError(f"{root}: no such folder. {_LAYOUT}")
        if not (root / "train_labels.txt").is_file():
            raise InputError(f"{root}: does not contain train_labels.txt{_better(root)}. {_LAYOUT}")
        self.layout: _Layout = _layout(root / "train_labels.txt")
        if layout not in (None, self.layout):
            raise InputError(
                f"{root / 'train_labels.txt'}:1: contains {self.layout} labels, but layout is {layout}"
            )
        self._classes = set(GENRES)
        train = self._part("train")
        test = self._part("test")
        self._problems.raise_if_any()
        in_train = {track.id for track in train}
        self._tracks = train + [_renamed(track) if track.id in in_train else track for track in test]
        #: How many tracks of each part have no label.
        self.unlabelled = {
            part: sum(1 for track in tracks if not track.targets)
            for part, tracks in (("train", train), ("test", test))
        }
        self.targets = (
            [Target("genre", "classification", classes=tuple(sorted(self._classes)))]
            if self.layout == "genre"
            else [Target(name, "regression", range=(0.0, 1.0)) for name in EMOTIONS]
        )

    @classmethod
    def propose(cls, path: Path) -> Proposal | None:
        """Return a proposal for a folder in the study's layout; None for another folder."""
        if not (path / "train_labels.txt").is_file():
            return None
        dataset = cls(root=path)
        return Proposal({"root": path}, dataset._tracks, dataset.targets)

    def tracks(self) -> Iterator[Track]:
        """Yield the training tracks, then the test tracks."""
        yield from self._tracks

    def _part(self, part: _Part) -> list[Track]:
        folder = self.root / part
        labels = self.root / f"{part}_labels.txt"
        if not folder.is_dir() and (part == "train" or labels.is_file()):
            self._problems.add(f"{folder}: no such folder, but {labels.name} exists")
            return []
        names = [path.name for path in folder.glob(f"*{_SUFFIX}") if not is_companion(path.name)]
        clips = sorted((name[: -len(_SUFFIX)] for name in names), key=_numerically)
        if not clips and folder.is_dir():
            self._problems.add(f"{folder}: contains no arrays (expected files named ID{_SUFFIX})")
            return []
        targets = self._labels(labels, part, set(clips)) if labels.is_file() else {}
        tracks = []
        for clip in clips:
            path = folder / f"{clip}{_SUFFIX}"
            try:
                array_shape(path, FUSED_ROWS)
            except InputError as error:
                self._problems.add(str(error))
            tracks.append(Track(clip, ArrayFile(path, "rows-time"), targets.get(clip, {}), part=part))
        return tracks

    def _labels(self, path: Path, part: _Part, clips: set[str]) -> dict[str, dict[str, float | str | None]]:
        try:
            layout = _layout(path)
            if layout != self.layout:
                raise InputError(
                    f"{path}:1: contains {layout} labels, but train_labels.txt contains {self.layout} labels"
                )
            rows = read_rows(path, _DELIMITERS[layout])[1:]
        except InputError as error:
            self._problems.add(str(error))
            return {}
        if not rows:
            self._problems.add(f"{path}: has a header but no labels")
        labels: dict[str, dict[str, float | str | None]] = {}
        lines: dict[str, int] = {}
        for line, cells in rows:
            where = f"{path}:{line}"
            clip = cells[0].split(".", 1)[0]
            columns = 2 if self.layout == "genre" else 1 + len(EMOTIONS)
            if len(cells) != columns or not clip or not all(cells):
                actual = f"{len(cells)} cell{'s' * (len(cells) != 1)}, {sum(not cell for cell in cells)} empty"
                self._problems.add(f"{where}: malformed row, expected {columns} non-empty cells, got {actual}")
                continue
            if clip in lines:
                self._problems.add(f"{where}: track {clip} already has a label in line {lines[clip]}")
                continue
            lines[clip] = line
            if self.layout == "genre" and is_missing(cells[1]):
                self._problems.add(f"{where}: track {clip}: {cells[1]!r} marks a missing value. Remove the row")
                continue
            if clip not in clips:
                self._problems.add(f"{where}: track {clip} has no array, {part}/{clip}{_SUFFIX} is missing")
                continue
            labels[clip] = self._targets(where, clip, cells[1:])
        return labels

    def _targets(self, where: str, clip: str, cells: list[str]) -> dict[str, float | str | None]:
        if self.layout == "genre":
            self._classes.add(cells[0])
            return {"genre": cells[0]}
        targets: dict[str, float | str | None] = {}
        for name, cell in zip(EMOTIONS, cells, strict=True):
            try:
                targets[name] = parse_number(cell, 0.0, 1.0)
            except ValueError as error:
                self._problems.add(f"{where}: track {clip}, {name}: {error}")
        return targets


def _layout(path: Path) -> _Layout:
    """Tell the layout of a folder from the header of a label file."""
    for layout, header in _HEADERS.items():
        if read_rows(path, _DELIMITERS[layout])[0][1] == header:
            return layout
    cells = ", ".join(repr(cell) for cell in read_rows(path)[0][1])
    raise InputError(
        f"{path}:1: the header must be 'Id<TAB>Genre' or 'Id,valence,energy,danceability', not {cells}"
    )


def _renamed(track: Track) -> Track:
    return Track(f"test/{track.id}", track.features, track.targets, part="test")


def _better(root: Path) -> str:
    """Name the folders below `root` that have the layout, if any."""
    names = sorted(path.parent.name for path in root.glob("*/train_labels.txt"))
    return f"; did you mean one of its folders {', '.join(names)}?" if names else ""


def _numerically(clip: str) -> tuple[tuple[int, str], ...]:
    """Sort key under which 9 comes before 10."""
    parts = re.split(r"([0-9]+)", clip)
    return tuple((int(part), "") if re.fullmatch(r"[0-9]+", part) else (-1, part) for part in parts)
