"""Players of a page: excerpts of the dataset's audio, in files beside it."""

from __future__ import annotations

import contextlib
import hashlib
import logging
import re
from collections.abc import Collection, Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING, BinaryIO

from musicemo.errors import InputError, RunError
from musicemo.files import make_folder, write_atomically
from musicemo.progress import Progress
from musicemo.reporting.blocks import Page
from musicemo.reporting.charts import Excerpt, Points
from musicemo.reporting.charts.axes import drawable
from musicemo.runs import RunRecord, open_replicates
from musicemo.workers import run_tasks

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

_PLAYED = 60
"""Points of a chart that play their tracks, at most, unless tables name more of them."""

_WORTH_STARTING = 16
"""Excerpts for which worker processes are started; fewer are written sooner without them."""

_EXAMPLES = 3
"""Tracks without a player that a warning lists."""

_LONGEST_NAME = 60
"""Characters of a track's id in the name of its file."""

_UNNEEDED = ("augmentation", "features", "launcher", "loss", "model", "plugin", "sharing", "weighting")
"""Kinds of components that need not be installed to read a dataset."""


def add_players(page: Page, path: Path, run: Path, *, trust_local_code: bool = False) -> Page:
    """Return the page with players for tracks that its tables and charts name, if they have audio on this machine.

    Every track in a table and every track that is shown over time has a player. So have the points of these tracks, and
    others as far from them and from each other as possible, until 60 points of a chart have one.

    Excerpts of 30 s, as MP3 at 22,050 Hz, are written to the folder ``<page>-audio`` beside the page, several at a
    time. They begin where ``excerpt`` in ``[features]`` does. Those of tracks that are shown over time have the
    time of the chart. A file that is already there is kept: its name has a checksum of the audio's identity and of the
    time. A warning counts the tracks without a player, or gives the reason why the dataset cannot be read.

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
    tracks = _choose(page)
    if not tracks:
        _log.warning(f"{run}: the report has no players, because it lists no tracks")
        return page
    record = open_replicates(run, unfinished=True)[0]
    try:
        audio, offset = _find_audio(record, set(tracks), trust_local_code=trust_local_code)
    except InputError as error:
        _log.warning(f"{run}: the report has no players, because the dataset cannot be read: {error}")
        return page
    silent = [repr(track) for track in tracks if track not in audio]
    _warn("the dataset has no audio of them", len(tracks), silent)
    spans = page.spans
    tasks = [
        _Task.of(track, audio[track], spans.get(track, (offset, offset + _SECONDS)), path)
        for track in tracks
        if track in audio
    ]
    reasons = _write_all(tasks)
    _warn("their audio cannot be read", len(tracks), list(reasons.values()))
    return page.with_players(
        {task.track: Excerpt(task.file, task.start) for task in tasks if task.track not in reasons}
    )


def _choose(page: Page) -> list[str]:
    """Return the tracks that get a player: all that tables and curves name, and of the points of a chart some."""
    chosen = dict.fromkeys(page.named)
    for _, chart in page.charts():
        places = {
            track: (chart.x.place(x), chart.y.place(y))
            for mark in chart.marks
            if isinstance(mark, Points)
            for track, x, y in zip(mark.tracks, mark.x, mark.y, strict=False)
            if drawable(x) and drawable(y)
        }
        first = [track for track in places if track in chosen]
        chosen |= dict.fromkeys(_spread(places, first, _PLAYED))
    return list(chosen)


def _spread(places: Mapping[str, tuple[float, float]], first: Sequence[str], count: int) -> list[str]:
    """Return `count` tracks, or all: the first ones, and one after another the one that is farthest from its nearest.

    Args:
        places: Track -> its place.
        first: Tracks that are among them.
        count: Number of tracks.
    """
    import numpy as np

    tracks = list(places)
    at = np.array([places[track] for track in tracks])
    chosen = list(first)
    nearest = np.full(len(tracks), np.inf)
    for place in [tracks.index(track) for track in first]:
        nearest = np.minimum(nearest, np.hypot(*(at - at[place]).T))
    while len(chosen) < min(count, len(tracks)):
        place = int(nearest.argmax())
        chosen.append(tracks[place])
        nearest = np.minimum(nearest, np.hypot(*(at - at[place]).T))
        nearest[place] = -1.0  # also where several tracks are at one place
    return chosen


@dataclass(frozen=True)
class _Task:
    """An excerpt to be written."""

    track: str
    audio: Audio
    start: float
    seconds: float
    file: Path

    @classmethod
    def of(cls, track: str, audio: Audio, span: tuple[float, float], page: Path) -> _Task:
        """Return the excerpt of a track between two times in seconds, in the folder beside a page."""
        start = max(span[0], 0.0)
        seconds = min(span[1] - start, _LONGEST)
        key = hashlib.sha256(repr((_identity(audio), start, seconds, _RATE)).encode()).hexdigest()[:12]
        folder = page.with_name(f"{page.stem}-audio")
        return cls(track, audio, start, seconds, folder / f"{_plain(track)}-{key}.{_FORMAT.lower()}")


def _identity(audio: Audio) -> object:
    """Return what changes if the audio does."""
    if not isinstance(audio, Path):
        return audio.identity
    try:
        status = audio.stat()
    except OSError:  # reading it gives the reason
        return str(audio)
    return str(audio.resolve()), status.st_size, status.st_mtime_ns


def _write_all(tasks: Sequence[_Task]) -> dict[str, str]:
    """Write the excerpts that are not there yet; return track -> reason of those that cannot be read."""
    missing = [task for task in tasks if not task.file.is_file()]
    if not missing:
        return {}
    make_folder(missing[0].file.parent)
    jobs = None if len(missing) >= _WORTH_STARTING else 0
    reasons: dict[str, str] = {}
    with (
        Progress("Writing excerpts", "tracks") as progress,
        contextlib.closing(run_tasks(_excerpt, missing, jobs)) as outcomes,
    ):
        for outcome in progress.watch(outcomes, len(missing)):
            if isinstance(outcome.error, RunError):  # the track is not to blame
                raise outcome.error
            if reason := outcome.value or (outcome.error and _reason(outcome.task.audio, outcome.error)):
                reasons[outcome.task.track] = reason
    return {task.track: reasons[task.track] for task in tasks if task.track in reasons}


def _excerpt(task: _Task) -> str:
    """Write an excerpt; return the reason why it cannot be read, or an empty text."""
    samples = _read(task.audio, task.start, task.seconds)
    if isinstance(samples, str):
        return samples
    _write(samples, task.file)
    return ""


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
    from musicemo.features import read_audio

    try:
        return read_audio(audio, _RATE, offset, seconds)
    except Exception as error:  # computed audio may be anybody's code
        return _reason(audio, error)


def _reason(audio: Audio, error: Exception) -> str:
    from musicemo.features import failure_of

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


def _warn(reason: str, count: int, examples: Sequence[str]) -> None:
    """Warn of tracks without a player, if there are any."""
    if examples:
        more = f" and {len(examples) - _EXAMPLES} more" if len(examples) > _EXAMPLES else ""
        _log.warning(
            f"{len(examples)} of {count} tracks have no player, because {reason}: "
            f"{', '.join(examples[:_EXAMPLES])}{more}"
        )
