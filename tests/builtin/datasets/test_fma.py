"""On a tiny copy of its layout, the headers of two and three rows included."""

from pathlib import Path

import pytest
from dataset_conformance import assert_conforms, assert_knows_its_folder
from musicemo_builtin.datasets.fma import ECHONEST, GENRES, Fma
from songs import write_song, write_text

from musicemo.errors import InputError

TRACKS = """\
,album,album,artist,artist,set,set,track,track
,comments,title,bio,id,split,subset,genre_top,title
track_id,,,,,,,,
2,0,AWOL,"<p>One
two, ""three""</p>",1,training,small,Hip-Hop,Food
3,0,AWOL,,1,validation,medium,Hip-Hop,Electric
1005,1,Café,{bio},12,test,small,Old-Time / Historic,Song
140,0,,,54,test,large,,Song
"""
ECHONEST_ROWS = """\
,echonest,echonest,echonest,echonest,echonest,echonest,echonest,echonest,echonest,echonest
,audio_features,audio_features,audio_features,audio_features,audio_features,audio_features,audio_features,\
audio_features,metadata,temporal_features
,acousticness,danceability,energy,instrumentalness,liveness,speechiness,tempo,valence,album_name,000
track_id,,,,,,,,,,
2,0.4166752327,0.6758939853,0.6344762684,0.0106280683,0.1776465712,0.1593100648,165.9220000000,0.5766609880,,0.877
140,0.3744077685,0.5286430621,0.8174611317,0.0018511032,0.1058799438,0.4618181276,126.9570000000,,,0.534
"""


@pytest.fixture
def root(tmp_path: Path) -> Path:
    for number, name in enumerate(("000/000002", "000/000003", "001/001005", "000/000140")):
        write_song(tmp_path / f"fma_large/{name}.mp3", number)
    write_text(tmp_path / "fma_metadata/tracks.csv", TRACKS.format(bio="b" * 200_000))
    write_text(tmp_path / "fma_metadata/echonest.csv", ECHONEST_ROWS)
    return tmp_path


def fma(root: Path, **parameters) -> Fma:
    return Fma(root=root, **parameters)


def test_conforms(root):
    dataset = fma(root, subset="large")
    tracks = assert_conforms(dataset)
    assert dataset.targets[0].classes == GENRES
    assert {target.name: target.range for target in dataset.targets[1:]} == ECHONEST
    assert [(track.id, track.group, track.part) for track in tracks] == [
        ("2", "1", "train"),
        ("3", "1", "val"),
        ("1005", "12", "test"),
        ("140", "54", "test"),
    ]
    assert tracks[0].targets["genre"] == "Hip-Hop"
    assert tracks[0].targets["valence"] == 0.576660988
    assert tracks[0].targets["tempo"] == 165.922
    assert tracks[1].targets == {"genre": "Hip-Hop"}
    assert tracks[3].targets["genre"] is None
    assert tracks[3].targets["energy"] == 0.8174611317
    assert tracks[3].targets["valence"] is None


@pytest.mark.parametrize(
    ("subset", "ids"),
    [("small", ["2", "1005"]), ("medium", ["2", "3", "1005"]), ("large", ["2", "3", "1005", "140"])],
)
def test_subsets_are_nested(root, subset, ids):
    assert [track.id for track in fma(root, subset=subset).tracks()] == ids


def test_the_audio_is_that_of_the_subset_or_a_larger_one(root):
    with pytest.raises(
        InputError, match=r"does not contain fma_full\. FMA is available at https://github\.com/mdeff/fma"
    ):
        fma(root, subset="full")
    (root / "fma_large").rename(root / "fma_small")
    with pytest.raises(InputError, match="does not contain fma_medium or fma_large or fma_full"):
        fma(root, subset="medium")
    assert len(list(fma(root).tracks())) == 2


def test_a_header_without_the_row_of_the_index(root):
    for name in ("tracks", "echonest"):
        path = root / f"fma_metadata/{name}.csv"
        lines = path.read_text().splitlines(keepends=True)
        write_text(path, "".join(line for line in lines if not line.startswith("track_id")))
    assert [track.id for track in fma(root).tracks()] == ["2", "1005"]


def test_problems_name_file_line_and_column(root):
    tracks, echonest = root / "fma_metadata/tracks.csv", root / "fma_metadata/echonest.csv"
    write_text(
        tracks,
        TRACKS.format(bio="").replace(",validation,", ",valid,").replace("140,0", "x,0")
        + "2,0,,,1,test,small,,\n8,0\n9,0,,,1,test,tiny,,\n",
    )
    write_text(echonest, ECHONEST_ROWS.replace("165.9220000000", "fast").replace("0.374", "3.74"))
    with pytest.raises(InputError) as caught:
        fma(root, subset="medium")
    assert list(caught.value.problems) == [
        f"{echonest}:5: column 'tempo': 'fast' is not a number",
        f"{echonest}:6: column 'acousticness': 3.744077685 is outside [0, 1]".replace(
            "3.744077685", "3.744077685"
        ),
        f"{tracks}:6: column 'part': 'valid' is not a set of a split; allowed: training, validation, test; "
        "did you mean 'validation'?",
        f"{tracks}:8: column 'track_id': 'x' is not a track number",
        f"{tracks}:9: track 2 is a duplicate",
        f"{tracks}:10: malformed row, expected 9 cells, got 2",
        f"{tracks}:11: column 'subset': 'tiny' is not a subset; allowed: small, medium, large, full",
    ]


def test_a_header_of_another_form(root):
    path = write_text(root / "fma_metadata/tracks.csv", "track_id,title,genre\n2,Food,Hip-Hop\n")
    with pytest.raises(InputError) as caught:
        fma(root)
    assert (
        caught.value.problems[0] == f"{path}:1: the 2 rows of the header do not contain the column (set, split)"
    )


@pytest.mark.parametrize(
    ("text", "message"), [('2,"x', ":4: malformed row"), ("2,caf\udce9", ":4: is not UTF-8")]
)
def test_files_that_cannot_be_read(root, text, message):
    path = root / "fma_metadata/tracks.csv"
    path.write_bytes(("".join(TRACKS.splitlines(keepends=True)[:3]) + text).encode(errors="surrogateescape"))
    with pytest.raises(InputError, match=rf"tracks\.csv{message}"):
        fma(root)


@pytest.mark.parametrize("missing", ["fma_large", "fma_metadata/tracks.csv", "fma_metadata/echonest.csv"])
def test_says_what_is_missing_and_where_it_is(root, missing):
    (root / missing).rename(root / "other")
    with pytest.raises(InputError, match=r"does not contain fma_.*FMA is available at https") as caught:
        fma(root)
    assert "fma_metadata.zip" in str(caught.value)


def test_its_own_folder_is_known(root):
    assert_knows_its_folder(Fma, root, "genre")
