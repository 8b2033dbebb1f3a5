"""MusAV: pairs of songs of which listeners judged the higher valence and arousal."""

from __future__ import annotations

import json
from collections import defaultdict
from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from musicemo.contracts import Judgement, Target, Track
from musicemo.errors import InputError
from musicemo_builtin.datasets._layout import AUDIO_SUFFIXES, Layout
from musicemo_builtin.datasets._preset import Preset
from musicemo_builtin.datasets._problems import Problems
from musicemo_builtin.datasets._recordings import Recordings

__all__ = ["MusAV"]

_TARGETS = ("arousal", "valence")

#: Answer -> share of the listener for the first song; None if no answer was given.
_ANSWERS = {"a": 1.0, "b": 0.0, "ab": 0.5, "not_selected": None}

_KEYS = ("songid_a", "songid_b", "higher_value")

_LAYOUT = Layout(
    "MusAV",
    "https://github.com/MTG/musav-dataset (annotations) and https://zenodo.org/record/7448344 (audio, on request)",
    """\
  annotations/annotations.arousal.all, annotations.valence.all    one answer per line
  audio_chunks/.../3V/3VGna0Rewe9Mzvrdycsyg2.mp3 ...""",
)


@dataclass(kw_only=True, eq=False)
class MusAV(Preset):
    """Which of two songs has the higher arousal, and the higher valence, by three listeners for each pair.

    Targets are the pairs `arousal` and `valence`. The songs form groups of three that share no song, and all pairs of
    a group are judged. All answers are read: ties count half for each song, answers that were not given are left out.
    A track's id is its id at Spotify. There is no official split. The audio are previews of 30 seconds.

    D. Bogdanov, X. Lizarraga-Seijas, P. Alonso-Jiménez, X. Serra, "MusAV: A dataset of relative arousal-valence
    annotations for validation of audio models", ISMIR 2022.

    Raises:
        InputError: A file is missing, or an answer is not as described; with file and line.
    """

    citation = (
        'D. Bogdanov, X. Lizarraga-Seijas, P. Alonso-Jiménez, X. Serra, "MusAV: A dataset of relative arousal-valence '
        'annotations for validation of audio models", International Society for Music Information Retrieval '
        "Conference (ISMIR), 2022."
    )
    licence = "Annotations CC BY-NC-SA 4.0; audio previews for non-commercial scientific research only."

    layout = _LAYOUT
    id_space = "spotify"
    learnt = len(_TARGETS)

    def read(self, recordings: Recordings, problems: Problems) -> Sequence[Target]:
        """Add every song and return the targets."""
        judgements: dict[str, dict[str, list[Judgement]]] = defaultdict(lambda: defaultdict(list))
        places: dict[str, str] = {}
        for target in _TARGETS:
            path = _LAYOUT.find(self.root, f"annotations.{target}.all")
            for where, first, second, share in _answers(path, problems):
                for song in (first, second):
                    places.setdefault(song, where)
                if share is not None:
                    judgements[first][target].append(Judgement(second, share, 1 - share))
        audio = _LAYOUT.find(self.root, "audio_chunks")
        files = {path.stem: path for path in sorted(audio.rglob("*")) if path.suffix.lower() in AUDIO_SUFFIXES}
        for song in sorted(places):
            targets = {name: tuple(of_song) for name, of_song in judgements.get(song, {}).items()}
            file = files.get(song, audio / song[:2] / f"{song}.mp3")
            recordings.add(places[song], Track(song, None, targets, audio=file))
        return [Target(name, "pairs") for name in _TARGETS]

    @classmethod
    def recognise(cls, path: Path) -> Mapping[str, Any] | None:
        """Raise an error for a folder of this dataset: ``musicemo init`` drafts no experiments with pairs.

        Raises:
            InputError: It is such a folder.
        """
        if _LAYOUT.fits(path, *(f"annotations.{target}.all" for target in _TARGETS)):
            raise InputError(
                f"{path}: is MusAV, whose targets are pairs. Write the experiment by hand, with dataset.type = "
                '"musav" and [tasks.arousal]; docs/pairs.md has an example'
            )
        return None


def _answers(path: Path, problems: Problems) -> Iterator[tuple[str, str, str, float | None]]:
    """Yield file and line, both songs, and the share for the first one, of each line that is as described."""
    try:
        lines = path.read_text(encoding="utf-8").splitlines()
    except (OSError, UnicodeDecodeError) as error:
        raise InputError(f"{path}: cannot be read: {error}") from error
    for number, line in enumerate(lines, start=1):
        if not line.strip():
            continue
        where = f"{path}:{number}"
        try:
            answer = json.loads(line)
            first, second, higher = (answer[key] for key in _KEYS)
        except (ValueError, KeyError, TypeError):
            problems.add(f"{where}: is not a JSON object with {', '.join(_KEYS)}", "form")
            continue
        if higher not in _ANSWERS:
            problems.add(
                f"{where}: higher_value is {higher!r}, but must be one of {', '.join(_ANSWERS)}", "answer"
            )
        elif first == second:
            problems.add(f"{where}: compares {first!r} with itself", "itself")
        else:
            yield where, str(first), str(second), _ANSWERS[higher]
