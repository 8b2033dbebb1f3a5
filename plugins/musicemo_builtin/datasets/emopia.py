"""EMOPIA: clips of pop piano music in the four quadrants of valence and arousal."""

from __future__ import annotations

import re
from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any, Literal

from musicemo.contracts import Target, Track
from musicemo_builtin.datasets._layout import Layout, song_file
from musicemo_builtin.datasets._preset import Preset
from musicemo_builtin.datasets._problems import Problems
from musicemo_builtin.datasets._recordings import Recordings
from musicemo_builtin.datasets._sheet import Part, Row, Sheet

__all__ = ["QUADRANTS", "Emopia"]

#: Quadrant -> the halves of valence and of arousal that it is in.
QUADRANTS = {"Q1": ("high", "high"), "Q2": ("low", "high"), "Q3": ("low", "low"), "Q4": ("high", "low")}

_AUDIO = ("audios/seg", "seg", "audios", "audio")
_FILES: dict[str, Part] = {"train.csv": "train", "val.csv": "val", "test.csv": "test"}

#: ``Q1_0vLPYiPN7qY_2``: quadrant, the song's id on YouTube, number of the clip.
_CLIP = re.compile(r"(Q[1-4])_(.+)_[0-9]+")

_LAYOUT = Layout(
    "EMOPIA",
    "https://annahung31.github.io/EMOPIA/ (labels, and the times of the clips on YouTube) and "
    "https://github.com/SeungHeonDoh/EMOPIA_cls (split)",
    """\
  audios/seg/Q1_0vLPYiPN7qY_0.mp3 ...    clips that its scripts/timestamp2clip.py cuts; or seg, audios, audio
  train.csv, val.csv, test.csv           EMOPIA_cls, dataset/split
  label.csv                              only for clips = "all\"""",
)


@dataclass(kw_only=True, eq=False)
class Emopia(Preset):
    """The quadrant of valence and arousal that a clip expresses, and its halves.

    Targets are classes: `quadrant` (Q1 to Q4: high valence and high arousal, low and high, low and low, high and low),
    `valence_class` and `arousal_class` (low, high). Each clip was labeled by one of four annotators. The official split
    has 767 clips for training, 198 for validation and 86 for the test, and no song is in two of its sets. The
    group is the song. A track's id is the clip's name, such as ``Q1_0vLPYiPN7qY_0``.

    H.-T. Hung, J. Ching, S. Doh, N. Kim, J. Nam, Y.-H. Yang, "EMOPIA: a multi-modal pop piano dataset for emotion
    recognition and emotion-based music generation", ISMIR 2021.

    Args:
        clips: ``split`` reads the 1,051 clips of the official split; ``all`` reads the 1,078 clips of `label.csv`,
            without a split.

    Raises:
        InputError: A file is missing, or a label is not as described; with file, line and column.
    """

    clips: Literal["split", "all"] = "split"

    citation = (
        'H.-T. Hung, J. Ching, S. Doh, N. Kim, J. Nam, Y.-H. Yang, "EMOPIA: a multi-modal pop piano dataset for '
        'emotion recognition and emotion-based music generation", International Society for Music Information '
        "Retrieval Conference (ISMIR), 2021."
    )
    licence = "Labels CC BY-NC-SA 4.0; the audio is on YouTube, under the copyright of its performers."

    layout = _LAYOUT
    drawn_from = ("emopia",)
    id_space = "emopia"
    learnt = 1

    def read(self, recordings: Recordings, problems: Problems) -> Sequence[Target]:
        """Add every clip and return the targets."""
        audio = _LAYOUT.find_any(self.root, *_AUDIO)
        places: dict[str, str] = {}
        for part, clip, quadrant, row in self._labels(problems):
            if clip in places:
                problems.add(f"{row.where}: track {clip!r} is already in {places[clip]}")
                continue
            places[clip] = row.where
            if quadrant is None:
                continue
            if (name := _CLIP.fullmatch(clip)) is None or name[1] != quadrant:
                problems.add(
                    f"{row.where}: {clip!r} is not the name of a clip of {quadrant} ({quadrant}_SONG_NUMBER)"
                )
                continue
            valence, arousal = QUADRANTS[quadrant]
            targets = {"quadrant": quadrant, "valence_class": valence, "arousal_class": arousal}
            track = Track(clip, None, targets, group=name[2], audio=song_file(audio, clip), part=part)
            recordings.add(row.where, track)
        return [
            Target("quadrant", "classification", classes=tuple(QUADRANTS)),
            Target("valence_class", "classification", classes=("low", "high")),
            Target("arousal_class", "classification", classes=("low", "high")),
        ]

    def _labels(self, problems: Problems) -> Iterator[tuple[Part | None, str, str | None, Row]]:
        """Yield the set, the name, the quadrant and the row of each clip."""
        if self.clips == "all":
            for row in Sheet(
                _LAYOUT.find(self.root, "label.csv"), {"the clip": "ID", "the label": "4Q"}, problems, ","
            ):
                number = row.one_of("4Q", "1234", "is not a quadrant; allowed:")
                yield None, row.cells["ID"], number and f"Q{number}", row
            return
        for name, part in _FILES.items():
            needs = {"the clip": "fname", "the label": "label"}
            for row in Sheet(_LAYOUT.find(self.root, name), needs, problems, ","):
                quadrant = row.one_of("label", QUADRANTS, "is not a quadrant; allowed:")
                yield part, row.cells["fname"], quadrant, row

    @classmethod
    def recognise(cls, path: Path) -> Mapping[str, Any] | None:
        """Return the parameters, without the root, for a folder of this dataset; None for another folder."""
        if not path.is_dir() or not any((path / name).is_dir() for name in _AUDIO):
            return None
        for clips, name, header in (
            ("split", "train.csv", "fname,label"),
            ("all", "label.csv", "ID,4Q,annotator"),
        ):
            for file in _LAYOUT.candidates(path, name):
                if file.is_file() and file.read_bytes().partition(b"\n")[0].strip() == header.encode():
                    return {"clips": clips}
        return None
