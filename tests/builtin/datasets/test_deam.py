"""On a tiny copy of the folders that its three archives make."""

import contextlib
from pathlib import Path

import numpy as np
import pytest
from complaints import warns
from dataset_conformance import assert_conforms, assert_knows_its_folder
from musicemo_builtin.datasets.deam import Deam
from songs import write_song, write_text

from musicemo.contracts import Series
from musicemo.errors import InputError

EXCERPTS = "static_annotations_averaged_songs_1_2000.csv"
FULL = "static_annotations_averaged_songs_2000_2058.csv"


@pytest.fixture
def root(tmp_path: Path) -> Path:
    for number, name in enumerate((2, 3, 10, 2001)):
        write_song(tmp_path / f"DEAM_audio/MEMD_audio/{name}.mp3", number)
    ratings = tmp_path / "DEAM_Annotations/annotations/annotations averaged per song/song_level"
    write_text(
        ratings / EXCERPTS,
        "song_id, valence_mean, valence_std, arousal_mean, arousal_std\n"
        "2,3.1,0.94,3,0.63\n3,3.5,1.75,3.3,1.62\n10,5.7,1.42,,\n",
    )
    write_text(
        ratings / FULL,
        "song_id, valence_mean, valence_std, valence_ max_mean, valence_max_std, valence_min_mean, valence_min_std, "
        "arousal_mean, arousal_std, arousal_max_mean, arousal_max_std, arousal_min_mean, arousal_min_std\n"
        "2001,5.2,1.1,6,1,4,1,4.8,1.3,6,1,4,1\n",
    )
    write_text(
        tmp_path / "metadata/metadata_2013.csv",
        "song_id,file_name,Artist,Song title,start of the segment (min.sec),end of the segment (min.sec),Genre\n"
        "2,2.mp3,The New Mystikal Troubadours\t,Tonight A Lonely Century\t,3.47,4.32,Blues\t\n",
    )
    write_text(
        tmp_path / "metadata/metadata_2014.csv",
        "Id,Artist,Album,Track,Genre,segment start,segment end,last.fm labels\n"
        "10,Nina,Album,Track,Jazz,1,2,jazz,soul,more\n",
    )
    (tmp_path / "metadata/metadata_2015.csv").write_bytes(
        b'id,Filename,title,artist,album,genre\n2001,2001.mp3,Caf\xe9 "x,Ren\xe9e,Album,Pop\n\n'
    )
    return tmp_path


def deam(root: Path, **parameters) -> Deam:
    return Deam(root=root, **{"static_labels": "as-published"} | parameters)


def write_series(root: Path) -> None:
    """Write the ratings over time; song 10 has none, song 2 a gap, and the rows end early or in empty cells."""
    per_song = (
        root / "DEAM_Annotations/annotations/annotations averaged per song/dynamic (per second annotations)"
    )
    header = "song_id,sample_15000ms,sample_15500ms,sample_16000ms,sample_16500ms\n"
    write_text(per_song / "arousal.csv", header + "2,-0.1,,0.2,\n3,0.1,0.2,0.3,0.4\n2001,0.5,0.5\n")
    write_text(per_song / "valence.csv", header + "2,0,0.1,0.2,\n3,,,,\n2001,0.5,0.5,-1,1\n")
    per_rater = (
        root / "DEAM_Annotations/annotations/annotations per each rater/dynamic (per second annotations)"
    )
    write_text(
        per_rater / "arousal/2.csv", "WorkerId,sample_15000ms,sample_15500ms\n4bc,-0.2,0.1\n8d6,0,\n71f,,\n"
    )
    write_text(per_rater / "arousal/3.csv", "sample_15500ms,sample_16000ms\n0.5,1\n")


@pytest.mark.slow
def test_conforms(root):
    dataset = deam(root)
    tracks = assert_conforms(dataset)
    assert {target.name: target.range for target in dataset.targets} == {
        "valence": (1.0, 9.0),
        "arousal": (1.0, 9.0),
        "valence_std": (0.0, 4.0),
        "arousal_std": (0.0, 4.0),
    }
    assert [(track.id, track.part) for track in tracks] == [
        ("2", "train"),
        ("3", "train"),
        ("10", "train"),
        ("2001", "test"),
    ]
    assert tracks[0].targets == {"valence": 3.1, "arousal": 3.0, "valence_std": 0.94, "arousal_std": 0.63}
    assert tracks[2].targets["arousal"] is None
    assert tracks[3].targets == {"valence": 5.2, "arousal": 4.8, "valence_std": 1.1, "arousal_std": 1.3}
    assert [track.group for track in tracks[:3]] == ["The New Mystikal Troubadours", None, "Nina"]
    assert tracks[3].group


def test_works_without_metadata(root):
    for path in (root / "metadata").iterdir():
        path.unlink()
    assert {track.group for track in deam(root).tracks()} == {None}


def test_problems_name_file_line_and_column(root):
    (path,) = root.rglob(EXCERPTS)
    write_text(path, path.read_text().replace("3.1,", "31,").replace("3,3.5,", "2,x,"))
    with pytest.raises(InputError) as caught:
        deam(root)
    assert list(caught.value.problems) == [
        f"{path}:2: column 'valence_mean': 31 is outside [1, 9]",
        f"{path}:3: track '2' is already in line 2, with '31' instead of 'x' in column 'valence_mean'",
        f"{path}:3: column 'valence_mean': 'x' is not a number",
    ]


@pytest.mark.parametrize("missing", ["MEMD_audio", EXCERPTS, FULL])
def test_says_what_is_missing_and_where_it_is(root, missing):
    (path,) = root.rglob(missing)
    path.rename(path.with_name("other"))
    with pytest.raises(InputError, match=f"does not contain {missing}. DEAM is available at https") as caught:
        deam(root)
    assert "DEAM_Annotations.zip" in str(caught.value)


def test_two_copies_are_ambiguous(root):
    write_text(root / "copy" / FULL, "song_id\n")
    with pytest.raises(InputError, match=f"more than one {FULL}"):
        deam(root)


def test_its_own_folder_is_known(root):
    with warns("exchanged in comparison with emoMusic"):
        assert_knows_its_folder(Deam, root, "valence", "arousal")


def test_labels_of_the_first_thousand_songs_are_exchanged_on_request(root, caplog):
    write_text(next(root.rglob(EXCERPTS)), next(root.rglob(EXCERPTS)).read_text() + "1001,2,0.5,7,0.6\n")
    write_song(root / "DEAM_audio/MEMD_audio/1001.mp3")
    published = {track.id: dict(track.targets) for track in deam(root).tracks()}
    with caplog.at_level("INFO"):
        exchanged = {
            track.id: dict(track.targets) for track in deam(root, static_labels="as-emomusic").tracks()
        }
    assert "valence and arousal of 3 songs are exchanged, as in emoMusic" in caplog.text
    assert exchanged["2"] == {"valence": 3.0, "arousal": 3.1, "valence_std": 0.63, "arousal_std": 0.94}
    assert exchanged["10"]["valence"] is None
    assert {song: published[song] for song in ("1001", "2001")} == {
        song: exchanged[song] for song in ("1001", "2001")
    }, "whether these are exchanged is not known"
    with warns(r"of 3 songs up to number 1000 .* Set static_labels"):
        assert [dict(track.targets) for track in deam(root, static_labels=None).tracks()] == [
            *published.values()
        ]


def test_the_development_set_of_2015_is_a_list(root, tmp_path):
    path = write_text(tmp_path / "development.txt", "2\n010\n")
    with warns("has 2 excerpts; the development set of MediaEval 2015 had 431"):
        tracks = list(deam(root, development=path).tracks())
    assert [(track.id, track.part) for track in tracks] == [("2", "train"), ("10", "train"), ("2001", "test")]
    for text, message in (
        ("2001\n", "'2001' is not the number of an excerpt"),
        ("a.mp3\n", "entry 1: 'a.mp3' is not"),
    ):
        with pytest.raises(InputError, match=message):
            deam(root, development=write_text(path, text))
    with pytest.raises(InputError, match=r"nowhere\.txt: cannot be read"):
        deam(root, development=tmp_path / "nowhere.txt")


def test_ratings_over_time(root):
    with pytest.raises(InputError, match=r"does not contain valence\.csv. DEAM is available at https"):
        deam(root, over_time="mean")
    write_series(root)
    dataset = deam(root, over_time="listeners")
    tracks = {track.id: track for track in assert_conforms(dataset)}
    assert [(target.name, target.range) for target in dataset.targets if target.kind == "series"] == [
        ("valence_over_time", (-1.0, 1.0)),
        ("arousal_over_time", (-1.0, 1.0)),
    ]
    assert tracks["2"].targets["arousal_over_time"] == Series(np.array([-0.1, np.nan, 0.2]), 15.0, 2.0)
    assert tracks["2001"].targets["arousal_over_time"] == Series(np.array([0.5, 0.5]), 15.0, 2.0)
    assert tracks["3"].targets["valence_over_time"] is None, "no rating"
    assert tracks["10"].targets["arousal_over_time"] is None, "no row"
    assert tracks["2"].ratings == {
        "arousal_over_time": [Series(np.array([-0.2, 0.1]), 15.0, 2.0), Series(np.array([0.0]), 15.0, 2.0)]
    }
    assert tracks["3"].ratings["arousal_over_time"] == [Series(np.array([0.5, 1.0]), 15.5, 2.0)]
    assert not any(track.ratings for track in deam(root, over_time="mean").tracks())


def test_ratings_over_time_are_not_exchanged(root):
    write_series(root)
    tracks = next(deam(root, over_time="mean", static_labels="as-emomusic").tracks())
    assert tracks.targets["valence_over_time"] == Series(np.array([0.0, 0.1, 0.2]), 15.0, 2.0)


def test_problems_of_ratings_over_time(root):
    write_series(root)
    (path,) = root.rglob("arousal.csv")
    text = path.read_text().replace("sample_16500ms", "sample_16700ms").replace("-0.1", "-1.1")
    write_text(path, text + "3,0.1\n3,1,1,1,1,1\n")
    with pytest.raises(InputError) as caught:
        deam(root, over_time="mean")
    assert list(caught.value.problems) == [
        f"{path}:2: column 'sample_15000ms': -1.1 is outside [-1, 1]",
        f"{path}:3: the rating at 16.7 s is not a multiple of 0.5 s after that at 15 s",
        f"{path}:6: malformed row, expected 5 cells, got 6",
    ]
    write_text(path, "song_id,mean\n2,1\n")
    with pytest.raises(InputError, match=r"arousal\.csv:1: no column has ratings over time"):
        deam(root, over_time="mean")


@pytest.mark.parametrize(("first", "year"), [(101, 2013), (1001, 2014), (2002, 2015)])
@pytest.mark.parametrize("exchanged", [False, True])
def test_ratings_over_time_show_which_songs_are_exchanged(root, first, year, exchanged):
    write_series(root)
    songs = range(first, first + 25)
    valence, arousal = np.random.default_rng(first).uniform(-0.4, 0.4, (2, 25))
    whole = [arousal, valence] if exchanged else [valence, arousal]
    (path,) = root.rglob(FULL if year == 2015 else EXCERPTS)
    end = ",1" * 8 if year == 2015 else ""
    lines = "".join(
        f"{song},{5 + 4 * a:.3f},1,{5 + 4 * b:.3f},1{end}\n" for song, a, b in zip(songs, *whole, strict=True)
    )
    if year == 2015:
        header = path.read_text().splitlines()[0]
        columns = header.split(", ")
        order = ["song_id", "valence_mean", "valence_std", "arousal_mean", "arousal_std"]
        others = [name for name in columns if name not in order]
        write_text(path, ",".join([*order, *others]) + "\n" + lines)
    else:
        write_text(path, path.read_text() + lines)
    for name, values in (("valence", valence), ("arousal", arousal)):
        (file,) = root.rglob(f"{name}.csv")
        write_text(
            file, file.read_text() + "".join(f"{song},{v:.4f}\n" for song, v in zip(songs, values, strict=True))
        )
    for number, song in enumerate(songs):
        write_song(root / f"DEAM_audio/MEMD_audio/{song}.mp3", number, 0.05)
    message = rf"songs of {year}: valence of whole songs correlates [01]\.\d+ with arousal over time"
    with warns(message) if exchanged else contextlib.nullcontext():
        deam(root, over_time="mean")
    if year == 2013:
        with contextlib.nullcontext() if exchanged else warns(message):
            deam(root, over_time="mean", static_labels="as-emomusic")
