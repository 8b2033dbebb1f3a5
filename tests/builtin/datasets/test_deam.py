"""On a tiny copy of the folders that its three archives make."""

from pathlib import Path

import pytest
from dataset_conformance import assert_conforms, assert_knows_its_folder
from musicemo_builtin.datasets.deam import Deam
from songs import write_song, write_text

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
    return Deam(root=root, **parameters)


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
        f"{path}:3: track '2' is already in line 2",
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
    assert_knows_its_folder(Deam, root, "valence", "arousal")
