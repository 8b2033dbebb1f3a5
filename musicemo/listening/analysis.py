"""One song as the page shows it: audio to hear, spectrogram with beats, predictions with their errors."""

from __future__ import annotations

import filecmp
import math
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass, field
from functools import cached_property
from pathlib import Path
from typing import Any, Literal

import numpy as np
from numpy.typing import NDArray

from musicemo.errors import InputError
from musicemo.experiment import load_experiment
from musicemo.features import Analysis, Audio, analyse, decode
from musicemo.listening.uncertainty import HeldOut, read_held_out
from musicemo.prediction import (
    EnsemblePredictor,
    Predictor,
    SongPrediction,
    TaskPrediction,
    TrainedEnsemble,
    TrainedRun,
    find_trained,
    predictor_of,
)
from musicemo.reporting.song_figure import frequency_ticks, spectrogram
from musicemo.reporting.words import plural
from musicemo.training import choose_device

__all__ = ["Heard", "Listener", "Ranking", "Rating"]

LONGEST = 20 * 60.0
"""Duration of a song in seconds, at most."""

_RATE = 44_100
"""Sample rate in Hz of the audio that the page plays."""

_CLASSES, _TAGS = 5, 8
"""Classes and tags that are shown, the most probable ones."""

#: Kinds of components that need not be installed to read a dataset.
_UNNEEDED = ("augmentation", "features", "launcher", "loss", "model", "plugin", "sharing", "weighting")


@dataclass(frozen=True)
class Rating:
    """Prediction of a rating, or of a score without units."""

    name: str
    kind: str
    value: float
    #: Scale of the ratings; None for scores.
    range: tuple[float, float] | None
    #: The sentence on the page about its error.
    text: str
    #: Value minus and plus the error, within the range; None if the error is unknown.
    interval: tuple[float, float] | None
    #: Middle of each window or step in seconds, and the rating there.
    times: NDArray[np.float64]
    curve: NDArray[np.float64]
    #: Rating in the dataset, of a track of the run.
    label: float | None = None
    #: Lowest and highest rating of the held-out tracks; None if they have no ratings.
    span: tuple[float, float] | None = None
    #: Error of a single moment of ratings over time; None if it is unknown.
    moment: float | None = None

    @property
    def band(self) -> tuple[NDArray[np.float64], NDArray[np.float64]] | None:
        """The curve minus and plus the error of a moment, within the scale."""
        if self.moment is None:
            return None
        low, high = (
            np.clip(self.curve + side * self.moment, *(self.range or (-math.inf, math.inf))) for side in (-1, 1)
        )
        return low, high

    @property
    def digits(self) -> int:
        """Decimal places to show."""
        low, high = self.range or (0.0, 1.0)
        return max(0, 2 - math.floor(math.log10(max(high - low, 1e-9))))

    def shown(self, value: float) -> str:
        """Return a value in the units of the ratings as text."""
        return f"{round(value, self.digits) + 0.0:.{self.digits}f}".replace("-", "−")


@dataclass(frozen=True)
class Ranking:
    """The most probable classes, or tags."""

    name: str
    kind: str
    #: Class, probability, and whether it is predicted.
    rows: Sequence[tuple[str, float, bool]]
    text: str
    label: str = ""


@dataclass(frozen=True)
class Heard:
    """A song that was analyzed."""

    title: str
    duration: float
    #: Seconds of each beat.
    beats: Sequence[float]
    #: Height from the foot of the spectrogram, as a share, and frequency in Hz.
    frequencies: Sequence[tuple[float, str]]
    ratings: Sequence[Rating]
    rankings: Sequence[Ranking]
    notes: Sequence[str]
    warnings: Sequence[str] = ()


@dataclass(frozen=True)
class Listener:
    """Predicts songs with a run, and reads how far its predictions of held-out tracks were from their labels.

    Args:
        predictor: The runs, with the windows in which a song's value is predicted.
        window: Length in seconds of the windows of the course over time.
        hop: Seconds from one of these windows to the next.
        trust_local_code: Whether to execute the run's copies of local Python files.
    """

    predictor: Predictor | EnsemblePredictor
    window: float = 10.0
    hop: float = 2.0
    trust_local_code: bool = False
    #: Why the dataset's tracks cannot be heard; empty if they can.
    silence: list[str] = field(default_factory=list, init=False)

    def __post_init__(self) -> None:
        self.predictor.with_windows(self.window, self.hop)  # refuse wrong windows at once

    @classmethod
    def of_run(
        cls,
        run: str | Path,
        *,
        window: float = 10.0,
        hop: float = 2.0,
        sync: Literal["beat", "frame"] | None = None,
        device: str = "auto",
        trust_local_code: bool = False,
    ) -> Listener:
        """Load a run, or the replicates in the folder of an experiment or an ensemble, with the held-out tracks.

        Args:
            run: ``runs/<name>/<run id>``, or ``runs/<name>``.
            window: See the class.
            hop: See the class.
            sync: Time grid of the features, for a run whose dataset does not record it.
            device: Device of the predictions.
            trust_local_code: See the class.

        Raises:
            InputError: The run cannot be loaded, was trained on ready-made arrays, or a file of it is damaged.
        """
        runs = find_trained(Path(run), choose_device(device), trust_local_code=trust_local_code)
        try:
            predictor = predictor_of(runs, sync=sync)
        except InputError as error:
            if all(member.description.extraction for member in runs[0].members):
                raise
            raise InputError(
                *error.problems, f"{run}: `musicemo listen` needs a run that was trained on features of audio"
            ) from error
        listener = cls(predictor, window, hop, trust_local_code)
        _ = listener.held_out
        return listener

    @property
    def runs(self) -> Sequence[TrainedRun] | Sequence[TrainedEnsemble]:
        """The runs, or the ensembles."""
        return self.predictor.runs

    @cached_property
    def held_out(self) -> HeldOut:
        """The predictions of held-out tracks.

        Raises:
            InputError: A file of the runs is damaged.
        """
        return read_held_out([run.record for run in self.runs])

    @cached_property
    def tracks(self) -> Mapping[str, Audio]:
        """Track -> audio, of the run's dataset; empty if it cannot be read, see `silence`."""
        run = self.runs[0].members[0]  # all have the same data
        try:
            experiment = load_experiment(
                run.directory / "experiment.toml",
                local_code="kept" if self.trust_local_code else "refuse",
                unneeded=_UNNEEDED,
            )
            tracks = {
                track.id: track.audio
                for track in experiment.build_dataset().tracks()
                if track.audio is not None and not (isinstance(track.audio, Path) and not track.audio.exists())
            }
        except InputError as error:
            self.silence.append(f"The run's dataset cannot be read: {error.problems[0]}.")
            return {}
        except Exception as error:  # a dataset may be anybody's code
            self.silence.append(f"The run's dataset cannot be read: {type(error).__name__}: {error}.")
            return {}
        if not tracks:
            self.silence.append("The audio of the run's dataset is not on this machine.")
        return tracks

    def sets(self, track: str) -> list[str]:
        """Return the set of a track in each run: ``train``, ``val``, ``test``, or empty.

        In an ensemble, it is ``train`` if any member learned from it, else ``val`` if it selected the epoch of any.
        """
        return [next((part for part, tracks in sets.items() if track in tracks), "") for sets in self._sets]

    @cached_property
    def _sets(self) -> list[dict[str, set[str]]]:
        return [
            {
                part: {track for member in run.members for track in member.record.split.get(part, ())}
                for part in ("train", "val", "test")
            }
            for run in self.runs
        ]

    def identify(self, song: Path) -> str | None:
        """Return the track of the dataset that a file is a copy of; None if it is another song."""
        try:
            size = song.stat().st_size
            for track, audio in self.tracks.items():
                if isinstance(audio, Path) and audio.stat().st_size == size and filecmp.cmp(audio, song, False):
                    return track
        except OSError:  # the analysis reports it
            return None
        return None

    def listen(
        self, song: Path, title: str, folder: Path, track: str | None, progress: Callable[[str], None]
    ) -> Heard:
        """Analyze a song, and write ``audio.wav`` and ``spectrogram.png`` to a folder.

        Args:
            song: The audio file.
            title: Its name on the page.
            folder: The folder, which exists.
            track: The id of the dataset's track that it is.
            progress: Gets the name of each step.

        Raises:
            InputError: The song is too long, or cannot be analyzed or predicted.
        """
        progress("reading the audio")
        _write_audio(song, folder / "audio.wav")
        progress("computing the features")
        features = self.predictor.extract(song)
        progress("predicting")
        runs, notes, warnings = self._unbiased(track)
        predictor: Any = self.predictor.with_runs(runs)  # the features are those of its kind
        prediction: SongPrediction = predictor.predict(song, features)
        course: SongPrediction | None = None
        try:
            course = predictor.with_windows(self.window, self.hop).predict(song, features)
        except InputError as error:
            reason = "; ".join(error.problems).removeprefix(f"{song}: ")
            warnings.append(f"There are no predictions over time in windows of {self.window:g} s: {reason}")
        progress("finding beats")
        analysis = analyse(song)
        _draw(analysis, folder / "spectrogram.png")
        ratings, rankings = self._results(prediction, course or prediction, track)
        if beyond := [name for name, task in prediction.tasks.items() if task.beyond]:
            warnings.append(
                f"Outside the range of the ratings: {', '.join(beyond)}. Predictions are not clipped."
            )
        if course and len(course.windows) == 1 and any(one.kind != "series" for one in ratings):
            notes.append(
                "There are no predictions over time: the run's features are one vector per song, or the song is not "
                f"longer than a window of {self.window:g} s."
            )
        if (count := len(prediction.windows)) > 1 and any(one.kind != "series" for one in ratings):
            notes.append(
                f"The predictions of the whole song are means over {count} overlapping windows of the length in "
                "training."
            )
        return Heard(
            title,
            prediction.duration,
            (analysis.beat_frames / analysis.recipe.frame_rate).tolist(),
            [(place / analysis.recipe.mels, text) for place, text in frequency_ticks(analysis.recipe)],
            ratings,
            rankings,
            notes,
            warnings,
        )

    def _unbiased(self, track: str | None) -> tuple[Sequence[int], list[str], list[str]]:
        """Return the runs that did not learn from a track, or all if every run did, by place; notes and warnings."""
        count = len(self.runs)
        every = range(count)
        size = self._size(every)
        several = [f"The predictions are means over {size}."] if size else []
        if track is None:
            return every, several, []
        sets = self.sets(track)
        unseen = [place for place, part in enumerate(sets) if part not in ("train", "val")]
        this = f"This is {track!r}, a track of the"
        if unseen and len(unseen) < count:
            text = f"{this} run's dataset. It is predicted by {len(unseen)} of {count} {self._noun}s, "
            text += "without those that learned from it."
            return unseen, [text], []
        if unseen:
            return unseen, [f"{this} run's dataset, but not of its training set.", *several], []
        if "train" in sets:
            text = f"{this} training set of the {self._noun}. The model has learned from it"
        else:
            text = f"{this} validation set of the {self._noun}. The validation set selected the epoch"
        text += ", so that the predictions can be closer to its labels than those of a new song."
        return every, several, [text]

    @property
    def _noun(self) -> str:
        return "ensemble" if isinstance(self.predictor, EnsemblePredictor) else "run"

    def _size(self, places: Sequence[int]) -> str:
        """Return the number of runs in words; empty for a single one."""
        members = sum(len(self.runs[place].members) for place in places)
        if members < 2:
            return ""
        of = "the ensemble" if len(places) == 1 else f"{len(places)} ensembles"
        return plural(members, "run") + (f", the members of {of}" if self._noun == "ensemble" else "")

    def _labels(self, task: str, track: str | None) -> Any:
        """Return the target of a task of a track; None if it is unknown."""
        if track is None:
            return None
        for run in self.runs:
            for evaluation in run.record.evaluations.values():
                one = evaluation.tasks.get(task)
                if one is not None and track in one.ids:
                    return one.target[list(one.ids).index(track)]
        return None

    def _results(
        self, whole: SongPrediction, course: SongPrediction, track: str | None
    ) -> tuple[list[Rating], list[Ranking]]:
        ratings, rankings = [], []
        for name, task in whole.tasks.items():
            label = self._labels(name, track)
            if task.classes:
                rankings.append(self._ranking(name, task, label))
                continue
            windows = course.windows_of(name)
            text, interval = self._error(name, task)
            moment = self.held_out.moment_error(name)
            ratings.append(
                Rating(
                    name,
                    task.kind,
                    float(task.value),
                    None if task.kind == "pairs" else task.range,
                    text,
                    interval,
                    windows.mean(axis=1),
                    course.tasks[name].curve,
                    None if label is None or task.kind == "pairs" else float(np.nanmean(label)),
                    self.held_out.span(name),
                    moment.within if moment else None,
                )
            )
        return ratings, rankings

    def _error(self, name: str, task: TaskPrediction) -> tuple[str, tuple[float, float] | None]:
        """Return a sentence on the error of a rating, and the interval."""
        source = self.held_out.source
        if task.kind == "pairs":
            score = self.held_out.score(name)
            measured = (
                f" {_sentence(source)}, {_percent(score)} of the pairs were in the order of the listeners."
            )
            return "A score without units: only its differences between songs count." + (
                measured if math.isfinite(score) else ""
            ), None
        error = self.held_out.rating_error(name)
        if error is None:
            return "Its error is unknown: the run predicted fewer than four held-out tracks.", None
        digits = Rating(name, task.kind, 0.0, task.range, "", None, np.empty(0), np.empty(0)).digits
        text = (
            f"{_sentence(source)}, {error.count} of {plural(error.tracks, 'track')} "
            f"({_percent(error.count / error.tracks)}) were within {error.within:.{digits}f}."
        )
        text += f" The mean rating of all tracks: within {error.constant:.{digits}f}."
        if moment := self.held_out.moment_error(name):
            text += (
                f" Single moments: 80\xa0% of {moment.moments:,} moments were within {moment.within:.{digits}f}; "
                f"of the mean rating: within {moment.constant:.{digits}f}."
            )
        low, high = np.clip(float(task.value) + error.within * np.array([-1.0, 1.0]), *task.range)
        return text, (float(low), float(high))

    def _ranking(self, name: str, task: TaskPrediction, label: Any) -> Ranking:
        values, source = task.value, self.held_out.source
        if task.thresholds is not None:
            predicted = [bool(value >= limit) for value, limit in zip(values, task.thresholds, strict=True)]
            rows = [
                (task.classes[place], float(values[place]), predicted[place]) for place in task.ranked[:_TAGS]
            ]
            counts = [self.held_out.precision(name, place) for place in task.ranked if predicted[place]]
            right, count = (sum(numbers) for numbers in zip(*counts, strict=True)) if counts else (0, 0)
            text = (
                f"{_sentence(source)}, {right} of {plural(count, 'prediction')} of these tags were right "
                f"({_percent(right / count)})."
                if count
                else ""
            )
            there = "" if label is None else ", ".join(np.array(task.classes)[np.asarray(label) > 0]) or "none"
            return Ranking(name, task.kind, rows, text, there)
        first = task.ranked[0]
        rows = [(task.classes[place], float(values[place]), place == first) for place in task.ranked[:_CLASSES]]
        right, count = self.held_out.precision(name, first)
        score, chance = self.held_out.score(name), self.held_out.chance(name)
        text = ""
        if count:
            text = (
                f"{_sentence(source)}, {right} of {plural(count, 'prediction')} of {task.classes[first]!r} were right "
                f"({_percent(right / count)})."
            )
        elif source:
            text = f"{_sentence(source)}, {task.classes[first]!r} was never predicted."
        if math.isfinite(score):
            text += (
                f" The accuracy over all classes is {_percent(score)}; always the most frequent class: "
                f"{_percent(chance)}."
            )
        return Ranking(name, task.kind, rows, text, "" if label is None else str(task.classes[int(label)]))


def _percent(share: float) -> str:
    return f"{100 * share:.0f}\xa0%"


def _sentence(text: str) -> str:
    return text[:1].upper() + text[1:]


def _write_audio(song: Path, path: Path) -> None:
    """Write the song as the models hear it, mono, so that a browser can play every format.

    Raises:
        InputError: It cannot be decoded, or is too long.
    """
    import soundfile

    samples = decode(song, _RATE, 0.0, LONGEST + 1)
    if len(samples) > LONGEST * _RATE:
        raise InputError(f"{song}: is longer than {LONGEST / 60:g} minutes")
    peak = float(np.abs(samples).max())
    soundfile.write(path, samples / max(peak, 1.0), _RATE, "PCM_16", format="WAV")


def _draw(analysis: Analysis, path: Path) -> None:
    from matplotlib import image

    image.imsave(path, spectrogram(analysis), cmap="magma", origin="lower", vmin=-80, vmax=0, format="png")
