"""On a tiny copy of its layout."""

from pathlib import Path

import numpy as np
import pytest
from dataset_conformance import assert_conforms, assert_knows_its_folder
from musicemo_builtin.datasets.deam import Deam
from musicemo_builtin.datasets.emomusic import EmoMusic
from songs import write_song, write_text

from musicemo.contracts import Series
from musicemo.errors import InputError

CLIPS = ("clips_45seconds", "clips_45sec", "clips_45sec/clips_45seconds")


@pytest.fixture(params=CLIPS)
def root(tmp_path: Path, request) -> Path:
    for number, name in enumerate((2, 3, 7)):
        write_song(tmp_path / f"{request.param}/{name}.mp3", number)
    write_text(
        tmp_path / "annotations/static_annotations.csv",
        "song_id,mean_arousal,std_arousal,mean_valence,std_valence\n2,3.1,0.99,3,0.66\n3,3.5,1.84,3.3,1.7\n7,5.8,1,6,1\n",
    )
    write_text(
        tmp_path / "annotations/songs_info.csv",
        "song_id,file_name,Artist,Song title,start of the segment (min.sec),end of the segment (min.sec),Genre,"
        "Mediaeval 2013 set\n"
        "2,2.mp3,The New Mystikal Troubadours\t,Tonight A Lonely Century\t,3.47,4.32,Blues\t,development\n"
        '3,3.mp3,"Kevin, Godfrey"\t,One\t,1.1,1.46,Rock\t,evaluation\n'
        "7,7.mp3,The New Mystikal Troubadours\t,Two\t,1.1,1.46,Blues\t,development\n",
    )
    return tmp_path


def emomusic(root: Path, **parameters) -> EmoMusic:
    return EmoMusic(root=root, **parameters)


def test_conforms(root):
    dataset = emomusic(root)
    tracks = assert_conforms(dataset)
    assert {target.name: target.range for target in dataset.targets if target.kind == "regression"} == {
        "valence": (1.0, 9.0),
        "arousal": (1.0, 9.0),
        "valence_std": (0.0, 4.0),
        "arousal_std": (0.0, 4.0),
    }
    assert dataset.targets[-1].classes == ("Blues", "Rock")
    assert [(track.id, track.part, track.group) for track in tracks] == [
        ("2", "train", "The New Mystikal Troubadours"),
        ("3", "test", "Kevin, Godfrey"),
        ("7", "train", "The New Mystikal Troubadours"),
    ]
    assert tracks[0].targets == {
        "valence": 3.0,
        "arousal": 3.1,
        "valence_std": 0.66,
        "arousal_std": 0.99,
        "genre": "Blues",
    }


@pytest.mark.parametrize("root", CLIPS[:1], indirect=True)
def test_problems_name_file_line_and_column(root):
    songs, ratings = root / "annotations/songs_info.csv", root / "annotations/static_annotations.csv"
    text = songs.read_text()
    write_text(songs, text[: text.index("7,7.mp3")].replace("evaluation", "testing"))
    write_text(ratings, ratings.read_text().replace("3.1,", "0.1,"))
    with pytest.raises(InputError) as caught:
        emomusic(root)
    assert list(caught.value.problems) == [
        f"{ratings}:2: column 'mean_arousal': 0.1 is outside [1, 9]",
        f"{songs}:3: column 'Mediaeval 2013 set': 'testing' is not a set of a split; allowed: development, evaluation",
        f"{ratings}:4: column 'song_id': song 7 is not in {songs}",
    ]


@pytest.mark.parametrize("root", CLIPS[:1], indirect=True)
@pytest.mark.parametrize("missing", ["clips_45seconds", "annotations/songs_info.csv"])
def test_says_what_is_missing_and_where_it_is(root, missing):
    (root / missing).rename(root / "other")
    with pytest.raises(
        InputError, match=r"does not contain (clips_45sec|songs_info).*emoMusic is available at https"
    ):
        emomusic(root)


def test_its_own_folder_is_known(root):
    assert_knows_its_folder(EmoMusic, root, "valence", "arousal")


@pytest.mark.parametrize("root", CLIPS[:1], indirect=True)
def test_ratings_over_time(root):
    with pytest.raises(InputError, match=r"does not contain valence_cont_average\.csv. emoMusic is available"):
        emomusic(root, over_time="mean")
    for name, sign in (("valence", -1), ("arousal", 1)):
        write_text(
            root / f"annotations/{name}_cont_average.csv",
            f"song_id,sample_15000ms,sample_15500ms\n2,{sign * 0.1},{sign * 0.2}\n7,{sign * 0.3},\n",
        )
    dataset = emomusic(root, over_time="mean")
    first, second, third = assert_conforms(dataset)
    assert [target.name for target in dataset.targets[-2:]] == ["valence_over_time", "arousal_over_time"]
    assert first.targets["valence_over_time"] == Series(np.array([-0.1, -0.2]), 15.0, 2.0)
    assert first.targets["arousal_over_time"] == Series(np.array([0.1, 0.2]), 15.0, 2.0)
    assert second.targets["arousal_over_time"] is None
    assert third.targets["arousal_over_time"] == Series(np.array([0.3]), 15.0, 2.0)


def test_its_ids_are_those_of_deam():
    assert EmoMusic.id_space == Deam.id_space == "deam"
