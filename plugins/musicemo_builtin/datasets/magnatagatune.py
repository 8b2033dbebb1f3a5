"""MagnaTagATune: clips of Magnatune's songs with tags that the players of a game agreed on."""

from __future__ import annotations

from collections import Counter
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, replace
from pathlib import Path
from typing import Any, Literal

from musicemo.contracts import Target, Track
from musicemo_builtin.datasets._layout import AUDIO_SUFFIXES, Layout, song_file
from musicemo_builtin.datasets._preset import Preset
from musicemo_builtin.datasets._problems import Problems
from musicemo_builtin.datasets._recordings import Recordings
from musicemo_builtin.datasets._sheet import Part, Sheet

__all__ = ["MagnaTagATune"]

_FLAGS = ("0", "1")
#: Number of tags in published results.
_TOP = 50

#: First letter of the audio's path, its folder -> the part that its clips are in.
_FOLDERS: dict[str, Part] = {
    **dict.fromkeys("0123456789ab", "train"),
    "c": "val",
    **dict.fromkeys("def", "test"),
}

_LAYOUT = Layout(
    "MagnaTagATune",
    "https://mirg.city.ac.uk/codeapps/the-magnatagatune-dataset",
    """\
  annotations_final.csv
  clip_info_final.csv
  0/ ... 9/, a/ ... f/    unpacked from mp3.zip.001 to .003; or these sixteen in a folder mp3 or audio""",
)


@dataclass(kw_only=True, eq=False)
class MagnaTagATune(Preset):
    """Tags of 25,863 clips of 29 s, which the players of a game agreed on.

    The target is `tags`: the 50 most frequent of 188 tags, or all. Some tags are synonyms (``vocal`` and ``vocals``) or
    say that something is absent (``no vocals``); they are kept as they are. A clip may have none of the 50. The
    official split is by folder: 0 to b for training (18,709 clips), c for validation (1,825), d to f for the test
    (5,329). No song is in two of its sets, but artists are. The group is the artist. A track's id is its `clip_id`.

    Three clips have no audio in their files (35644, 55753, 57881): set ``features.on_error = "skip"``.

    E. Law, K. West, M. Mandel, M. Bay, J. S. Downie, "Evaluation of algorithms using games: the case of music tagging",
    ISMIR 2009.

    Args:
        tags: The 50 most frequent tags (``top50``), or ``all``.

    Raises:
        InputError: A file is missing, or a cell is not as described; with file, line and column.
    """

    tags: Literal["top50", "all"] = "top50"

    citation = (
        "E. Law, K. West, M. Mandel, M. Bay, J. S. Downie, "
        '"Evaluation of algorithms using games: the case of music tagging", International Society for Music '
        "Information Retrieval Conference (ISMIR), 387-392, 2009."
    )
    licence = "Music by Magnatune artists, CC BY-NC-SA; see the dataset's page."

    layout = _LAYOUT
    drawn_from = ("magnatagatune",)
    id_space = "magnatagatune"
    learnt = 1

    def read(self, recordings: Recordings, problems: Problems) -> Sequence[Target]:
        """Add every clip and return the target."""
        annotations, infos = (
            _LAYOUT.find_any(self.root, name) for name in ("annotations_final.csv", "clip_info_final.csv")
        )
        folder = _LAYOUT.find_any(self.root, "mp3", "audio", *_FOLDERS)
        audio = self.root if folder.name in _FOLDERS else folder
        info_needs = {"the clip": "clip_id", "the artist": "artist"}
        artists = {
            clip: row.text("artist") for clip, row in Sheet(infos, info_needs, problems, "\t").tracks("clip_id")
        }
        sheet = Sheet(annotations, {"the clip": "clip_id", "the audio": "mp3_path"}, problems, "\t")
        names = [name for name in sheet.header if name not in ("clip_id", "mp3_path")]
        clips: list[tuple[str, Track, list[str]]] = []
        counts: Counter[str] = Counter()
        for clip, row in sheet.tracks("clip_id"):
            applied = [name for name in names if row.cells[name] == "1"]
            for name in names:
                if row.cells[name] not in _FLAGS:
                    row.blame(name, f"{row.cells[name]!r} is not 0 or 1")
            counts.update(applied)
            place = row.cells["mp3_path"]
            if (part := _FOLDERS.get(place.partition("/")[0])) is None:
                row.blame("mp3_path", f"{place!r} is not in one of the folders 0 to 9 and a to f")
                continue
            stem = place.removesuffix(AUDIO_SUFFIXES[0]).rpartition("/")
            path = song_file(audio / stem[0], stem[2])
            clips.append(
                (row.where, Track(clip, None, group=artists.get(clip), audio=path, part=part), applied)
            )
        kept = set(names)
        if self.tags == "top50":
            kept = {name for name, _ in counts.most_common(_TOP)}
        for where, track, applied in clips:
            recordings.add(
                where, replace(track, targets={"tags": tuple(name for name in applied if name in kept)})
            )
        return [Target("tags", "tags", classes=tuple(sorted(kept)))]

    @classmethod
    def recognise(cls, path: Path) -> Mapping[str, Any] | None:
        """Return the parameters, without the root, for a folder of this dataset; None for another folder."""
        names = ("annotations_final.csv", "clip_info_final.csv")
        return {} if all((path / name).is_file() for name in names) else None
