"""With a stand-in for the library, which is no dependency."""

import math
import sys
import types
from pathlib import Path

import numpy as np
import pytest
from complaints import any_warnings, warns
from dataset_conformance import assert_conforms
from musicemo_builtin.datasets.mirdata import Mirdata
from songs import write_song

from musicemo.errors import InputError


class FakeTrack:
    def __init__(self, home: Path, name: str) -> None:
        self.track_id = name
        self.genre, _, number = name.partition(".")
        self.audio_path = str(home / "genres" / f"{name}.wav")
        self.tempo = float("nan") if number == "2" else 100.0 + int(number)
        self.artist = f"artist of {self.genre}"
        self.split = "validation" if number == "2" else "train"
        self.nothing = None

    @property
    def beats(self):
        raise FileNotFoundError("annotations/beats.txt")


class FakeDataset:
    def __init__(self, home: Path, names: tuple[str, ...]) -> None:
        self.data_home = str(home)
        self.track_ids = list(names)

    def track(self, name: str) -> FakeTrack:
        return FakeTrack(Path(self.data_home), name)


@pytest.fixture
def home(tmp_path: Path, monkeypatch) -> Path:
    names = ("blues.1", "blues.2", "jazz.1")
    for number, name in enumerate(names):
        write_song(tmp_path / "genres" / f"{name}.wav", number)

    def initialize(loader: str, data_home: str | None = None, version: str = "default"):
        if version != "default":
            raise ValueError(f"Invalid version {version}. Must be one of default.")
        if loader == "beatles":
            raise FileNotFoundError("This dataset's index must be downloaded. Did you run .download()?")
        return FakeDataset(Path(data_home or tmp_path), names)

    library = types.ModuleType("mirdata")
    library.initialize = initialize
    library.list_datasets = lambda: ["beatles", "gtzan_genre"]
    monkeypatch.setitem(sys.modules, "mirdata", library)
    return tmp_path


def mirdata(home: Path, **parameters) -> Mirdata:
    return Mirdata(**{"loader": "gtzan_genre", "data_home": home} | parameters)


def test_conforms(home):
    dataset = mirdata(home, classification=["genre"], regression={"tempo": [40.0, 240.0]}, group="artist")
    tracks = assert_conforms(dataset)
    assert [(target.name, target.range, target.classes) for target in dataset.targets] == [
        ("tempo", (40.0, 240.0), ()),
        ("genre", (0.0, 1.0), ("blues", "jazz")),
    ]
    assert [(track.id, dict(track.targets), track.group, track.part) for track in tracks] == [
        ("blues.1", {"tempo": 101.0, "genre": "blues"}, "artist of blues", "train"),
        ("blues.2", {"tempo": None, "genre": "blues"}, "artist of blues", "val"),
        ("jazz.1", {"tempo": 101.0, "genre": "jazz"}, "artist of jazz", "train"),
    ]


def test_tracks_without_audio_in_the_index_are_left_out_with_skip(home, monkeypatch):
    def track(self, name):
        made = FakeTrack(home, name)
        made.audio_path = None if name == "blues.2" else made.audio_path
        return made

    monkeypatch.setattr(FakeDataset, "track", track)
    with warns(r"1 track without a file ignored: gtzan_genre: track 'blues\.2': audio_path"):
        dataset = mirdata(home, classification=["genre"], on_error="skip")
    assert [found.id for found in dataset.tracks()] == ["blues.1", "jazz.1"]
    with pytest.raises(InputError, match=r"track 'blues\.2': audio_path is empty"):
        mirdata(home, classification=["genre"])


def test_a_loader_whose_library_is_missing_names_the_command(home, monkeypatch):
    def initialize(loader, data_home=None, version="default"):
        try:
            raise ModuleNotFoundError("No module named 'music21'")
        except ImportError:
            raise ImportError  # noqa: B904  # as the loaders do, which log the reason

    monkeypatch.setattr(sys.modules["mirdata"], "initialize", initialize)
    with pytest.raises(
        ImportError, match=r"'beatles' requires .*No module named 'music21'.*pip install 'mirdata\[beatles\]'"
    ):
        mirdata(home, loader="beatles", classification=["genre"])


@pytest.mark.parametrize(
    ("values", "genre", "tempo"),
    [
        ({"genre": "NA", "tempo": "nan"}, None, None),
        ({"genre": math.nan, "tempo": np.float64("nan")}, None, None),
        ({"genre": "", "tempo": "97.5"}, None, 97.5),
        ({"tempo": np.float32(97.5)}, "blues", 97.5),
    ],
)
def test_missing_values_in_any_spelling(home, monkeypatch, values, genre, tempo):
    def track(self, name):
        made = FakeTrack(home, name)
        if name == "blues.1":
            vars(made).update(values)
        return made

    monkeypatch.setattr(FakeDataset, "track", track)
    with any_warnings() as caught:
        dataset = mirdata(home, classification=["genre"], regression={"tempo": [40.0, 240.0]})
    assert next(iter(dataset.tracks())).targets == {"genre": genre, "tempo": tempo}
    assert all("1 cell is read as a missing value ('" in one for one in caught)
    assert all("in track 'blues.1')" in one for one in caught)
    assert len(caught) == sum(value in ("NA", "nan") for value in values.values() if isinstance(value, str))


@pytest.mark.parametrize("value", [True, "1_00", "0x40", math.inf])
def test_what_is_no_number(home, monkeypatch, value):
    track = types.SimpleNamespace(tempo=value, audio_path=str(home / "genres" / "jazz.1.wav"))
    monkeypatch.setattr(FakeDataset, "track", lambda self, name: track)
    with pytest.raises(InputError, match="tempo"):
        mirdata(home, regression={"tempo": [40.0, 240.0]})


def test_its_own_folder_by_default(home):
    dataset = Mirdata(loader="gtzan_genre", classification={"genre": ["jazz", "blues"]})
    assert dataset.targets[0].classes == ("jazz", "blues")
    assert len(list(dataset.tracks())) == 3


@pytest.mark.parametrize(
    ("parameters", "message"),
    [
        ({}, "mirdata: at least one target is required"),
        ({"loader": "gtzan"}, "mirdata has no loader 'gtzan'; did you mean 'gtzan_genre'?"),
        (
            {"loader": "beatles"},
            r"index of 'beatles' is missing.*initialize\('beatles', data_home=.*download\(\)",
        ),
        ({"version": "9"}, "loader 'gtzan_genre': Invalid version 9"),
        ({"classification": ["gener"]}, r"track 'blues\.1': gener: is not an attribute.*did you mean 'genre'"),
        ({"classification": ["tempo"]}, r"track 'jazz\.1': tempo: is float, not text"),
        ({"classification": {"genre": ["blues"]}}, r"'jazz' is not a class \(allowed: blues\)"),
        ({"regression": {"tempo": [40.0, 60.0]}}, r"tempo: 101 is outside \[40, 60\]"),
        ({"regression": {"genre": [40.0, 60.0]}}, "genre: 'blues' is not a number"),
        ({"regression": {"beats": [40.0, 60.0]}}, "beats: cannot be read: FileNotFoundError: annotations"),
        ({"audio": "nothing"}, "nothing is empty, but every track needs audio"),
    ],
)
def test_problems(home, parameters, message):
    if "loader" in parameters or "version" in parameters or "audio" in parameters:
        parameters = {"classification": ["genre"]} | parameters
    with pytest.raises(InputError, match=message):
        mirdata(home, **parameters)


def test_missing_audio_says_how_to_fetch_it(home):
    (home / "genres").rename(home / "other")
    with pytest.raises(InputError, match=r"blues\.1\.wav: no such file.*mirdata\.initialize\('gtzan_genre'"):
        mirdata(home, classification=["genre"])


def test_without_the_library_the_command_that_installs_it_is_named(monkeypatch):
    monkeypatch.setitem(sys.modules, "mirdata", None)
    with pytest.raises(ImportError, match=r"requires the library mirdata: pip install 'musicemo\[mirdata\]'"):
        Mirdata(loader="gtzan_genre", classification=["genre"])


class SplitDataset(FakeDataset):
    """As mirdata's MTG-Jamendo: its tracks have no attribute `split`."""

    def get_track_splits(self, split_number: int = 0) -> dict[str, list[str]]:
        return {"train": ["blues.1"], "validation": ["blues.2"], "test": ["jazz.1"]}


def test_tags_as_lists_and_as_confidences(home, monkeypatch):
    lists = {"blues.1": ["sad", "slow"], "blues.2": [], "jazz.1": None}
    confidences = {
        "blues.1": {"piano": 0.9, "flute": 0.2},
        "blues.2": {"flute": 0.5},
        "jazz.1": {"bass": np.float64(1)},
    }

    def track(self, name):
        made = FakeTrack(home, name)
        made.tags, made.instruments = lists[name], confidences[name]
        return made

    monkeypatch.setattr(FakeDataset, "track", track)
    dataset = mirdata(home, tags=["tags", "instruments"])
    tracks = assert_conforms(dataset)
    assert {target.name: (target.kind, target.classes) for target in dataset.targets} == {
        "tags": ("tags", ("sad", "slow")),
        "instruments": ("tags", ("bass", "flute", "piano")),
    }
    assert [dict(track.targets) for track in tracks] == [
        {"tags": ("sad", "slow"), "instruments": {"piano": True, "flute": False}},
        {"tags": (), "instruments": {"flute": None}},
        {"tags": None, "instruments": {"bass": True}},
    ]
    assert mirdata(home, tags={"tags": ["slow", "sad"]}).targets[0].classes == ("slow", "sad")
    with pytest.raises(
        InputError, match=r"track 'blues\.1': tags: 'sad' is not a tag \(allowed: slow, sat\).*'sat'"
    ):
        mirdata(home, tags={"tags": ["slow", "sat"]})
    confidences["jazz.1"] = {"bass": 2}
    with pytest.raises(InputError, match="the confidence of 'bass' is 2, not a number from 0 to 1"):
        mirdata(home, tags=["instruments"])
    with pytest.raises(InputError, match="genre: is str, not a list of tags"):
        mirdata(home, tags=["genre"])
    lists["jazz.1"] = [("rock", "0.1")]
    with pytest.raises(InputError, match="tags: contains tuple, not only text"):
        mirdata(home, tags=["tags"])


def test_a_split_of_the_dataset(home, monkeypatch):
    def initialize(loader, data_home=None, version="default"):
        return SplitDataset(home, ("blues.1", "blues.2", "jazz.1"))

    monkeypatch.setattr(sys.modules["mirdata"], "initialize", initialize)
    assert [track.part for track in mirdata(home, classification=["genre"]).tracks()] == [
        "train",
        "val",
        "test",
    ]
