"""Any dataset that the library mirdata has a loader for, whose tracks have audio and a label."""

from __future__ import annotations

import math
from collections.abc import Iterator, Mapping, Sequence, Set
from numbers import Real
from pathlib import Path
from typing import Annotated, Any

from pydantic import Field

from musicemo.contracts import Label, Target, Track
from musicemo.errors import InputError, nearest
from musicemo.files import expanded
from musicemo_builtin.datasets._cells import is_missing, parse_number
from musicemo_builtin.datasets._problems import Problems
from musicemo_builtin.datasets._recordings import OnError, Recordings
from musicemo_builtin.datasets._sheet import PARTS, Part
from musicemo_builtin.datasets._targets import check_names, check_ranges

__all__ = ["Mirdata"]


class Mirdata:
    """Tracks of a mirdata loader.

    ::

        [dataset]
        type = "mirdata"
        loader = "gtzan_genre"
        data_home = "data/gtzan_genre"
        classification = ["genre"]

    Nothing is downloaded: `mirdata.initialize(loader, data_home=...).download()` fetches the loader's index
    and, if the license allows it, the data. Tracks are in the order of the index. If a loader's tracks have an
    attribute `split` with the values train, validation or test, it is the official split.

    R. M. Bittner, M. Fuentes, D. Rubinstein, A. Jansson, K. Choi, T. Kell, "mirdata: Software for reproducible usage
    of datasets", ISMIR 2019.

    Args:
        loader: Name of the loader; `mirdata.list_datasets()` lists them.
        data_home: Folder of the data; by default mirdata's own, ``~/mir_datasets/<loader>``.
        version: Version of the dataset's index.
        regression: Numeric attribute of the tracks -> lowest and highest possible value.
        classification: Attributes that are class names: as a list, with all classes that occur, in alphabetical
            order; or attribute -> allowed classes, in this order.
        tags: Attributes that are lists of tags: as a list, with all tags that occur, in alphabetical order; or
            attribute -> allowed tags, in this order. If an attribute is a mapping from tag to confidence, tags
            above 0.5 apply, those below do not, and the others are unknown.
        audio: Attribute with the path of the audio.
        group: Attribute of the group that a grouped split keeps in one set: the artist, the album.
        on_error: How to treat songs without a file: ``raise`` one error that lists all, or ``skip`` them with a
            warning.

    Raises:
        ImportError: mirdata is not installed.
        InputError: The loader, the index or an attribute does not exist, or an attribute is not as described.
    """

    citation = (
        "R. M. Bittner, M. Fuentes, D. Rubinstein, A. Jansson, K. Choi, T. Kell, "
        '"mirdata: Software for reproducible usage of datasets", International Society for Music Information '
        "Retrieval Conference (ISMIR), 2019; and what mirdata.initialize(loader).cite() prints."
    )
    licence = "That of the loader's dataset: mirdata.initialize(loader).license() prints it."

    def __init__(
        self,
        *,
        loader: str,
        data_home: Path | None = None,
        version: str = "default",
        regression: dict[str, Annotated[list[float], Field(min_length=2, max_length=2)]] | None = None,
        classification: list[str] | dict[str, list[str]] | None = None,
        tags: list[str] | dict[str, list[str]] | None = None,
        audio: str = "audio_path",
        group: str | None = None,
        on_error: OnError = "raise",
    ) -> None:
        ranges = check_ranges(regression or {})
        classes: Mapping[str, list[str]] = (
            classification if isinstance(classification, dict) else {name: [] for name in classification or []}
        )
        lists: Mapping[str, list[str]] = tags if isinstance(tags, dict) else {name: [] for name in tags or []}
        check_names("mirdata", {"regression": ranges, "classification": classes, "tags": lists})
        dataset = _initialize(loader, data_home, version)
        source = Path(dataset.data_home)
        self._recordings = Recordings(source, on_error)
        problems = Problems()
        labels: dict[str, set[str]] = {name: set() for name in (*classes, *lists)}
        parts = _parts(dataset)
        for name in dataset.track_ids:
            attributes = _Attributes(loader, name, dataset.track(name), problems)
            targets: dict[str, Label | None] = {
                target: attributes.number(target, *bounds) for target, bounds in ranges.items()
            }
            for target, allowed in classes.items():
                label = attributes.text(target, allowed)
                targets[target] = label
                labels[target].update([label] if label else [])
            for target, allowed in lists.items():
                named = attributes.tags(target, allowed)
                targets[target] = named
                labels[target].update(named or ())
            path = attributes.text(audio)
            if path is None:
                if attributes.has(audio):
                    self._recordings.leave_out(
                        f"{attributes.where}: {audio} is empty, but every track needs audio"
                    )
                continue
            track = Track(
                name,
                None,
                targets,
                group=attributes.text(group) if group else None,
                part=parts.get(name) or _part(attributes.track),
                audio=Path(path),
            )
            self._recordings.add(loader, track)
        self._recordings.check(problems, f"mirdata expects its files in {source}: {_fetch(loader, data_home)}")
        self.targets = [
            *(Target(name, "regression", range=bounds) for name, bounds in ranges.items()),
            *(
                Target(name, "classification", classes=tuple(allowed or sorted(labels[name])))
                for name, allowed in classes.items()
            ),
            *(
                Target(name, "tags", classes=tuple(allowed or sorted(labels[name])))
                for name, allowed in lists.items()
            ),
        ]

    def tracks(self) -> Iterator[Track]:
        """Yield the tracks in the order of the index."""
        yield from self._recordings.tracks()


def _initialize(loader: str, data_home: Path | None, version: str) -> Any:
    """Return mirdata's own dataset.

    Raises:
        ImportError: mirdata is not installed.
        InputError: There is no such loader or version, or its index is not there.
    """
    try:
        import mirdata
    except ImportError as error:
        raise ImportError(f"requires the library mirdata: pip install 'musicemo[mirdata]' ({error})") from error
    loaders = mirdata.list_datasets()
    if loader not in loaders:
        raise InputError(
            f"mirdata has no loader {loader!r}{nearest(loader, loaders)} (loaders: {', '.join(loaders)})"
        )
    home = str(expanded(data_home)) if data_home else None
    try:
        dataset = mirdata.initialize(loader, data_home=home, version=version)
        if not list(dataset.track_ids):
            raise InputError(f"mirdata's loader {loader!r} has no tracks")
    except ImportError as error:
        reason = str(error) or str(
            error.__context__ or ""
        )  # a loader logs its reason and raises a bare ImportError
        raise ImportError(
            f"mirdata's loader {loader!r} requires a library that is not installed{reason and f' ({reason})'}: "
            f"pip install 'mirdata[{loader}]'"
        ) from error
    except FileNotFoundError as error:
        raise InputError(
            f"mirdata's index of {loader!r} is missing ({error}): {_fetch(loader, data_home)}"
        ) from error
    except (ValueError, AttributeError) as error:
        raise InputError(f"mirdata's loader {loader!r}: {error}") from error
    return dataset


def _fetch(loader: str, data_home: Path | None) -> str:
    home = f", data_home={str(data_home)!r}" if data_home else ""
    command = f'python -c "import mirdata; mirdata.initialize({loader!r}{home}).download()"'
    return f"{command} downloads the files that are freely available"


def _parts(dataset: Any) -> dict[str, Part]:
    """Return track -> set, for loaders whose split is an attribute of the dataset rather than of its tracks.

    `mtg_jamendo_autotagging_moodtheme` is one; it has five splits, of which this is the first.
    """
    if "get_track_splits" not in vars(type(dataset)):
        return {}
    return {
        name: part
        for split, names in dataset.get_track_splits().items()
        if (part := PARTS.get(split))
        for name in names
    }


def _part(track: Any) -> Part | None:
    split = getattr(track, "split", None)
    return PARTS.get(split) if isinstance(split, str) else None


class _Attributes:
    """The attributes of a mirdata track; what is wrong with one is noted as a problem."""

    def __init__(self, loader: str, name: str, track: Any, problems: Problems) -> None:
        self.where, self.track, self._problems = f"{loader}: track {name!r}", track, problems
        self._loader, self._name = loader, name

    def has(self, name: str) -> bool:
        """Tell whether the loader has an attribute of this name that can be read."""
        try:
            getattr(self.track, name)
        except Exception:  # noted by `_get`
            return False
        return True

    def number(self, name: str, low: float, high: float) -> float | None:
        """Return a number within [low, high]; None if it is missing or NaN."""
        value = self._get(name)
        if value is None or (isinstance(value, Real) and math.isnan(value)):
            return None
        if isinstance(value, str):
            return self._parsed(name, value.strip(), low, high)
        if isinstance(value, bool) or not isinstance(value, Real):
            self._blame(name, f"is {type(value).__name__}, not a number")
            return None
        number = float(value)
        if not low <= number <= high:
            self._blame(name, f"{number:g} is outside [{low:g}, {high:g}]")
            return None
        return number

    def text(self, name: str, allowed: list[str] | None = None) -> str | None:
        """Return a text, one of `allowed` if there are any; None if it is missing or NaN."""
        value = self._get(name)
        if value is None or (isinstance(value, float) and math.isnan(value)):
            return None
        if not isinstance(value, str | Path):
            self._blame(name, f"is {type(value).__name__}, not text")
            return None
        text = str(value)
        if allowed and text in allowed:
            return text
        if is_missing(text.strip()):
            if text.strip():
                self._problems.note_missing(self._loader, f"track {self._name!r}", name, text)
            return None
        if allowed:
            self._blame(
                name, f"{text!r} is not a class (allowed: {', '.join(allowed)}){nearest(text, allowed)}"
            )
            return None
        return text

    def tags(self, name: str, allowed: list[str]) -> tuple[str, ...] | dict[str, bool | None] | None:
        """Return the tags that apply, or tag -> whether it applies; None if they are missing."""
        value = self._get(name)
        if value is None:
            return None
        if isinstance(value, str) or not isinstance(value, Mapping | Sequence | Set):
            self._blame(name, f"is {type(value).__name__}, not a list of tags")
            return None
        for tag in value:
            if not isinstance(tag, str):
                self._blame(name, f"contains {type(tag).__name__}, not only text")
                return None
            if allowed and tag not in allowed:
                self._blame(
                    name, f"{tag!r} is not a tag (allowed: {', '.join(allowed)}){nearest(tag, allowed)}"
                )
                return None
        if not isinstance(value, Mapping):
            return tuple(value)
        for tag, confidence in value.items():
            if (
                isinstance(confidence, bool)
                or not isinstance(confidence, Real)
                or not 0 <= float(confidence) <= 1
            ):
                self._blame(name, f"the confidence of {tag!r} is {confidence!r}, not a number from 0 to 1")
                return None
        return {tag: None if confidence == 0.5 else bool(confidence > 0.5) for tag, confidence in value.items()}

    def _parsed(self, name: str, text: str, low: float, high: float) -> float | None:
        if is_missing(text):
            if text:
                self._problems.note_missing(self._loader, f"track {self._name!r}", name, text)
            return None
        try:
            return parse_number(text, low, high)
        except ValueError as error:
            self._blame(name, str(error))
            return None

    def _get(self, name: str) -> Any:
        try:
            return getattr(self.track, name)
        except AttributeError:
            names = sorted(name for name in dir(self.track) if not name.startswith("_"))
            self._blame(
                name, f"is not an attribute of the track{nearest(name, names)} (attributes: {', '.join(names)})"
            )
            return None
        except Exception as error:  # a loader reads its files when an attribute is asked for
            self._blame(name, f"cannot be read: {type(error).__name__}: {error}")
            return None

    def _blame(self, name: str, message: str) -> None:
        self._problems.add(f"{self.where}: {name}: {message}", column=name)
