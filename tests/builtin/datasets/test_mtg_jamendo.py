"""On a tiny copy of the repository's layout."""

from pathlib import Path

import pytest
from dataset_conformance import assert_conforms, assert_knows_its_folder
from musicemo_builtin.datasets.mtg_jamendo import MtgJamendo
from songs import write_song, write_text

from musicemo.errors import InputError

HEADER = "TRACK_ID\tARTIST_ID\tALBUM_ID\tPATH\tDURATION\tTAGS\n"
TRACKS = {
    "train": (
        "track_0000948\tartist_000087\talbum_000149\t48/948.mp3\t212.7\tmood/theme---film\n"
        "track_0000950\tartist_000087\talbum_000149\t50/950.mp3\t248.0\tmood/theme---dark\tmood/theme---film\n"
    ),
    "validation": "track_0003525\tartist_000530\talbum_000552\t25/3525.mp3\t66.1\tmood/theme---happy\n",
    "test": "track_0014882\tartist_000696\talbum_000751\t82/14882.mp3\t210.4\tmood/theme---dark\n",
}


@pytest.fixture
def root(tmp_path: Path) -> Path:
    for number, name in enumerate(("48/948", "50/950", "25/3525", "82/14882")):
        write_song(tmp_path / f"audio/{name}.mp3", number)
    for part, lines in TRACKS.items():
        for name, other in (
            ("split-0/autotagging_moodtheme", lines),
            ("split-3/autotagging_moodtheme", lines.replace("---dark", "---sad")),
            ("split-0/autotagging", lines.replace("mood/theme---happy", "genre---techno")),
        ):
            write_text(tmp_path / f"data/splits/{name}-{part}.tsv", HEADER + other)
    return tmp_path


def jamendo(root: Path, **parameters) -> MtgJamendo:
    return MtgJamendo(root=root, **parameters)


def test_conforms(root):
    dataset = jamendo(root)
    tracks = assert_conforms(dataset)
    (target,) = dataset.targets
    assert (target.name, target.kind, target.classes) == ("moodtheme", "tags", ("dark", "film", "happy"))
    assert [(track.id, track.group, track.part, track.targets["moodtheme"]) for track in tracks] == [
        ("track_0000948", "artist_000087", "train", ("film",)),
        ("track_0000950", "artist_000087", "train", ("dark", "film")),
        ("track_0003525", "artist_000530", "val", ("happy",)),
        ("track_0014882", "artist_000696", "test", ("dark",)),
    ]
    assert tracks[0].audio == root / "audio/48/948.mp3"


def test_other_splits_and_subsets(root):
    assert jamendo(root, split=3).targets[0].classes == ("film", "happy", "sad")
    (target,) = jamendo(root, subset="all").targets
    assert (target.name, target.classes) == ("all", ("techno", "dark", "film")), "by category, then by name"
    with pytest.raises(InputError, match=r"does not contain data/splits/split-0/autotagging_genre-train\.tsv"):
        jamendo(root, subset="genre")


def test_audio_of_low_quality_in_another_folder(root):
    for path in sorted((root / "audio").rglob("*.mp3")):
        path.rename(path.with_suffix(".low.mp3"))
    (root / "audio").rename(root / "elsewhere")
    with pytest.raises(InputError, match="does not contain audio or audio-low"):
        jamendo(root)
    first = next(iter(jamendo(root, audio=root / "elsewhere").tracks()))
    assert first.audio == root / "elsewhere/48/948.low.mp3"
    with pytest.raises(InputError, match=r"nowhere: no such folder\. MTG-Jamendo is available at https"):
        jamendo(root, audio=root / "nowhere")


def test_problems_name_file_and_line(root):
    path = root / "data/splits/split-0/autotagging_moodtheme-test.tsv"
    text = HEADER + TRACKS["train"].splitlines(keepends=True)[0]
    write_text(
        path, text + "track_1\tartist_1\talbum_1\t1/1.mp3\t3\ntrack_2\tartist_1\talbum_1\t1/1.mp3\t3\tdark\n"
    )
    with pytest.raises(InputError) as caught:
        jamendo(root)
    train = path.with_name("autotagging_moodtheme-train.tsv")
    assert list(caught.value.problems) == [
        f"{path}:2: track 'track_0000948' is already in {train}:2",
        f"{path}:3: malformed row, expected 5 cells and one for each tag, got 5",
        f"{path}:4: column 'TAGS': 'dark' is not a tag with its category (genre---rock)",
    ]
    write_text(path, "TRACK_ID\tPATH\ntrack_1\t1/1.mp3\n")
    with pytest.raises(
        InputError, match=r"-test\.tsv:1: the header is not TRACK_ID, ARTIST_ID,.* but TRACK_ID, PATH"
    ):
        jamendo(root)


def test_its_own_folder_is_known(root):
    assert_knows_its_folder(MtgJamendo, root, "moodtheme")
