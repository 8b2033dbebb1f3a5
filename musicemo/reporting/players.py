"""Players of a page: excerpts of the dataset's audio, in files beside it."""

from __future__ import annotations

import logging
import re
from collections.abc import Collection, Sequence
from pathlib import Path
from typing import TYPE_CHECKING, BinaryIO

from musicemo.errors import InputError
from musicemo.files import make_folder, write_atomically
from musicemo.progress import Progress
from musicemo.reporting.blocks import Page
from musicemo.reporting.charts import Excerpt
from musicemo.runs import RunRecord, open_replicates

if TYPE_CHECKING:
    import numpy as np
    from numpy.typing import NDArray

    from musicemo.features import Audio

__all__ = ["add_players"]

_log = logging.getLogger(__name__)

_SECONDS = 30.0
"""Length of an excerpt."""

_LONGEST = 600.0
"""Maximum length of an excerpt of a track that a chart shows over time, in seconds."""

_RATE = 22050
"""Sample rate of an excerpt in Hz."""

_FORMAT = "MP3"
"""Every browser plays it, and an excerpt takes a tenth of the space of a WAV file."""

_EXAMPLES = 3
"""Tracks without a player that a warning lists."""

_LONGEST_NAME = 60
"""Characters of a track's id in the name of its file."""

_UNNEEDED = ("augmentation", "features", "launcher", "loss", "model", "plugin", "sharing", "weighting")
"""Kinds of components that need not be installed to read a dataset."""


def add_players(page: Page, path: Path, run: Path, *, trust_local_code: bool = False) -> Page:
    """Return the page with a player for each track that its tables and charts name, if it has audio on this machine.

    Excerpts of 30 s, as MP3 at 22,050 Hz, are written to the folder ``<page>-audio`` beside the page. They begin where
    ``excerpt`` in ``[features]`` does. Those of tracks that a chart shows over time have the time of the chart. A
    warning counts the tracks without a player, or gives the reason why the dataset cannot be read.

    Args:
        page: The page.
        path: The file of the page.
        run: The run directory or the experiment's folder that the page shows.
        trust_local_code: Whether to execute the run's copies of local Python files.

    Raises:
        InputError: There is no such run, or libsndfile cannot write MP3.
        RunError: A file cannot be written.
    """
    import soundfile

    if _FORMAT not in soundfile.available_formats():
        version = soundfile.__libsndfile_version__
        raise InputError(f"libsndfile {version} cannot write {_FORMAT} files. Install libsndfile 1.1 or later")
    if not page.tracks:
        _log.warning(f"{run}: the report has no players, because it lists no tracks")
        return page
    record = open_replicates(run, unfinished=True)[0]
    try:
        audio, offset = _find_audio(record, set(page.tracks), trust_local_code=trust_local_code)
    except InputError as error:
        _log.warning(f"{run}: the report has no players, because the dataset cannot be read: {error}")
        return page
    silent = [track for track in page.tracks if track not in audio]
    _warn("the dataset has no audio of them", page, [repr(track) for track in silent])
    folder = path.with_name(f"{path.stem}-audio")
    excerpts: dict[str, Excerpt] = {}
    unreadable: list[str] = []
    spans = page.spans
    heard = {track: number for number, track in enumerate(page.tracks, 1) if track in audio}
    with Progress("Writing excerpts", "tracks") as progress:
        for track, number in progress.watch(heard.items(), len(heard)):
            start, end = spans.get(track, (offset, offset + _SECONDS))
            start = max(start, 0.0)
            samples = _read(audio[track], start, min(end - start, _LONGEST))
            if isinstance(samples, str):
                unreadable.append(samples)
                continue
            make_folder(folder)
            excerpts[track] = Excerpt(folder / f"{number:03d}-{_plain(track)}.{_FORMAT.lower()}", start)
            _write(samples, excerpts[track].file)
    _warn("their audio cannot be read", page, unreadable)
    return page.with_players(excerpts)


def _find_audio(
    record: RunRecord, wanted: Collection[str], *, trust_local_code: bool
) -> tuple[dict[str, Audio], float]:
    """Return the audio of each wanted track that has audio, and where the model begins to listen, in seconds.

    Raises:
        InputError: The dataset cannot be read.
    """
    from musicemo.experiment import load_experiment  # slow to import, and not needed for a page without players

    experiment = load_experiment(
        record.directory / "experiment.toml",
        local_code="kept" if trust_local_code else "refuse",
        unneeded=_UNNEEDED,
    )
    starts = [(table.settings.excerpt or [0.0])[0] for table in experiment.features]
    audio = {
        track.id: track.audio
        for track in experiment.build_dataset().tracks()
        if track.id in wanted and track.audio is not None
    }
    return audio, min(starts, default=0.0)


def _read(audio: Audio, offset: float, seconds: float) -> NDArray[np.float32] | str:
    """Return the samples of an excerpt, or the reason why it cannot be read."""
    from musicemo.features import failure_of, read_audio

    try:
        return read_audio(audio, _RATE, offset, seconds)
    except Exception as error:  # computed audio may be anybody's code
        name = str(audio) if isinstance(audio, Path) else audio.identity
        return f"{name}: {failure_of(name, error, 'read').reason}"


def _write(samples: NDArray[np.float32], path: Path) -> None:
    import soundfile

    def write(file: BinaryIO) -> None:
        # A descriptor: soundfile would write to a Python file in callbacks, which swallow Ctrl+C and a full disk.
        try:
            soundfile.write(file.fileno(), samples, _RATE, format=_FORMAT, closefd=False)
        except soundfile.LibsndfileError as error:
            raise OSError(str(error)) from error

    write_atomically(path, write)


def _plain(track: str) -> str:
    """Return a track's id as a part of a file's name."""
    return re.sub(r"[^A-Za-z0-9_.-]+", "-", track).strip("-.")[:_LONGEST_NAME]


def _warn(reason: str, page: Page, examples: Sequence[str]) -> None:
    """Warn of tracks without a player, if there are any."""
    if examples:
        more = f" and {len(examples) - _EXAMPLES} more" if len(examples) > _EXAMPLES else ""
        _log.warning(
            f"{len(examples)} of {len(page.tracks)} tracks have no player, because {reason}: "
            f"{', '.join(examples[:_EXAMPLES])}{more}"
        )
