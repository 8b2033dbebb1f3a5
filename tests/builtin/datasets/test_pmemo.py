"""On a tiny copy of its layout."""

from pathlib import Path

import numpy as np
import pytest
import sklearn.utils
from dataset_conformance import assert_conforms, assert_knows_its_folder
from musicemo_builtin.datasets.pmemo import PMEmo, _test_songs
from songs import write_song, write_text

from musicemo.contracts import Series
from musicemo.errors import InputError


@pytest.fixture
def root(tmp_path: Path) -> Path:
    for number, name in enumerate((1, 4, 5)):
        write_song(tmp_path / f"PMEmo2019/chorus/{name}.mp3", number)
    write_text(
        tmp_path / "PMEmo2019/annotations/static_annotations.csv",
        "musicId,Arousal(mean),Valence(mean)\n1,0.4,0.575\n4,0.2625,0.2875\n5,0.15,0.2\n",
    )
    write_text(
        tmp_path / "PMEmo2019/metadata.csv",
        "musicId,fileName,title,artist,album,duration,chorus_start_time,chorus_end_time\n"
        "1,1.mp3,Good Drank,2 Chainz;Gucci Mane,Pretty Girls,30,02:28,03:00\n"
        "4,4.mp3,夜空,歌手,,30,02:28,03:00\n"
        "9,9.mp3,Without rating,Nobody,,30,02:28,03:00\n",
    )
    return tmp_path


def pmemo(root: Path, **parameters) -> PMEmo:
    return PMEmo(root=root, **parameters)


@pytest.mark.parametrize("below", ["", "PMEmo2019"])
def test_conforms(root, below):
    dataset = pmemo(root / below)
    tracks = assert_conforms(dataset)
    assert {target.name: target.range for target in dataset.targets} == {
        "valence": (0.0, 1.0),
        "arousal": (0.0, 1.0),
    }
    assert [(track.id, track.group, track.part) for track in tracks] == [
        ("1", "2 Chainz;Gucci Mane", None),
        ("4", "歌手", None),
        ("5", None, None),
    ]
    assert tracks[0].targets == {"valence": 0.575, "arousal": 0.4}


def test_a_quotation_mark_of_another_encoding_is_mended(root):
    metadata = root / "PMEmo2019/metadata.csv"
    metadata.write_text(metadata.read_text().replace("2 Chainz", "\x93Weird\x94 Al"))
    assert next(iter(pmemo(root).tracks())).group == "“Weird” Al;Gucci Mane"


def test_songs_in_another_format_serve_as_well(root):
    chorus = root / "PMEmo2019/chorus"
    (chorus / "4.mp3").unlink()
    write_song(chorus / "4.wav")
    assert len(list(pmemo(root).tracks())) == 3


def test_problems_name_file_line_and_column(root):
    ratings = root / "PMEmo2019/annotations/static_annotations.csv"
    write_text(ratings, ratings.read_text().replace("0.2875", "2.9").replace("Arousal(mean)", "Arousal"))
    with pytest.raises(
        InputError, match=r"static_annotations\.csv:1: no column 'Arousal\(mean\)' \(for arousal\)"
    ):
        pmemo(root)
    write_text(ratings, ratings.read_text().replace("Arousal", "Arousal(mean)"))
    with pytest.raises(InputError) as caught:
        pmemo(root)
    assert str(caught.value) == f"{ratings}:3: column 'Valence(mean)': 2.9 is outside [0, 1]"


@pytest.mark.parametrize("missing", ["chorus", "metadata.csv", "annotations/static_annotations.csv"])
def test_says_what_is_missing_and_where_it_is(root, missing):
    (root / "PMEmo2019" / missing).rename(root / "other")
    with pytest.raises(InputError, match=f"does not contain {Path(missing).name}. PMEmo is available at https"):
        pmemo(root)


def test_its_own_folder_is_known(root):
    assert_knows_its_folder(PMEmo, root, "valence", "arousal")


def test_ratings_over_time_and_their_split(root):
    with pytest.raises(InputError, match=r"does not contain dynamic_annotations\.csv. PMEmo is available"):
        pmemo(root, over_time="mean")
    songs = range(1, 11)
    lines = "".join(
        f"{song},{time},0.{song},0.5\n" for song in songs if song != 5 for time in (15.5, 16.0, 17.0)
    )
    path = write_text(
        root / "PMEmo2019/annotations/dynamic_annotations.csv",
        f"musicId,frameTime,Arousal(mean),Valence(mean)\n{lines}",
    )
    first, second, third = assert_conforms(pmemo(root, over_time="mean"))
    assert first.targets["arousal_over_time"] == Series(np.array([0.1, 0.1, np.nan, 0.1]), 15.5, 2.0)
    assert first.targets["valence_over_time"] == Series(np.array([0.5, 0.5, np.nan, 0.5]), 15.5, 2.0)
    assert (first.part, second.part, third.part) == ("train", "train", None), "song 5 is not rated over time"
    write_text(path, path.read_text() + "1,15.5,0.9,0.5\n1,18,9,0.5\n")
    with pytest.raises(InputError) as caught:
        pmemo(root, over_time="mean")
    assert list(caught.value.problems) == [
        f"{path}:29: column 'frameTime': song 1 has another row for 15.5 s",
        f"{path}:30: column 'Arousal(mean)': 9 is outside [0, 1]",
    ]


@pytest.mark.parametrize("count", [9, 104, 767])
def test_the_split_is_a_shuffle_of_the_songs_by_number(count):
    songs = sorted(np.random.default_rng(count).choice(1001, count, replace=False).tolist())
    expected = sklearn.utils.shuffle(songs, random_state=3)[: round(count * 0.1)]
    assert _test_songs(dict.fromkeys(map(str, reversed(songs)))) == set(map(str, expected))
