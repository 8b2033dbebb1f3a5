from pathlib import Path

import numpy as np
import pytest
from dataset_conformance import assert_conforms, assert_knows_its_folder
from musicemo_builtin.datasets.lab import EMOTIONS, GENRES, Lab

from musicemo.contracts import ArrayFile
from musicemo.errors import InputError

SHARED = Path(__file__).parents[4] / "shared" / "data" / "lab"
FOLDERS = [
    "fma_genre_spectrograms",
    "fma_genre_spectrograms_beat",
    "multitask_dataset",
    "multitask_dataset_beat",
]


def array(folder: Path, clip: object, shape: tuple[int, ...] = (140, 5), dtype: str = "float32") -> Path:
    folder.mkdir(parents=True, exist_ok=True)
    path = folder / f"{clip}.fused.full.npy"
    np.save(path, np.zeros(shape, dtype))
    return path


@pytest.fixture
def genre(tmp_path: Path) -> Path:
    for clip in (10, 9, 1042):
        array(tmp_path / "train", clip)
    array(tmp_path / "test", 7)
    (tmp_path / "train_labels.txt").write_text(
        "Id\tGenre\n10.fused.full.npy.gz\tRock\n9.beatsync.fused.npy.gz\tPsych-Rock\n1042.full.fused.npy.gz\tJazz\n"
    )
    (tmp_path / "test_labels.txt").write_text("Id\tGenre\n7.full.fused.npy.gz\tBlues\n")
    return tmp_path


@pytest.fixture
def emotion(tmp_path: Path) -> Path:
    for clip in (1, 2):
        array(tmp_path / "train", clip)
    for clip in (3, 4):
        array(tmp_path / "test", clip)
    (tmp_path / "train_labels.txt").write_text("Id,valence,energy,danceability\n2,0.25,0.5,1.0\n1,0,0.1,0.2\n")
    return tmp_path


@pytest.mark.parametrize("name", FOLDERS)
@pytest.mark.parametrize("features", ["mel", "chroma", "fused"])
def test_the_real_folders_conform(name, features):
    root = SHARED / name
    if not root.is_dir():
        pytest.skip("the shared data is not here")
    tracks = assert_conforms(Lab(root=root, features=features))
    for part in ("train", "test"):
        assert sum(track.part == part for track in tracks) == len(list((root / part).iterdir()))


@pytest.mark.parametrize("layout", ["genre", "emotion"])
@pytest.mark.parametrize("sync", ["beat", "frame"])
def test_a_folder_is_found_by_its_layout(layout, sync):
    if not SHARED.is_dir():
        pytest.skip("the shared data is not here")
    dataset = Lab(root=SHARED, layout=layout, sync=sync)
    assert dataset.root.name == FOLDERS[2 * (layout == "emotion") + (sync == "beat")]
    assert (dataset.layout, dataset.sync) == (layout, sync)


def test_a_layout_needs_a_sync_and_must_be_the_folders(genre, tmp_path):
    with pytest.raises(InputError, match="`layout` requires `sync`"):
        Lab(root=tmp_path, layout="genre")
    above = tmp_path / "above"
    above.mkdir()
    (above / "multitask_dataset_beat").symlink_to(genre)
    with pytest.raises(InputError, match="contains genre labels, but layout is emotion"):
        Lab(root=above, layout="emotion", sync="beat")
    with pytest.raises(InputError, match="fma_genre_spectrograms: no such folder"):
        Lab(root=above, layout="genre", sync="frame")


def test_genre_layout(genre):
    dataset = Lab(root=genre)
    tracks = assert_conforms(dataset)
    assert [(t.id, t.targets["genre"], t.part) for t in tracks] == [
        ("9", "Psych-Rock", "train"),
        ("10", "Rock", "train"),
        ("1042", "Jazz", "train"),
        ("7", "Blues", "test"),
    ]
    assert dataset.targets[0].classes == tuple(sorted(GENRES))
    assert len(GENRES) == 20
    assert tracks[0].features == ArrayFile(genre / "train" / "9.fused.full.npy", "rows-time")


def test_a_genre_that_the_study_has_not_becomes_a_class_too(genre):
    (genre / "test_labels.txt").write_text("Id\tGenre\n7\tYodel\n")
    assert Lab(root=genre).targets[0].classes == tuple(sorted({*GENRES, "Yodel"}))


def test_emotion_layout_with_a_test_part_without_labels(emotion):
    dataset = Lab(root=emotion)
    tracks = assert_conforms(dataset)
    assert [t.name for t in dataset.targets] == list(EMOTIONS)
    assert dict(tracks[1].targets) == {"valence": 0.25, "energy": 0.5, "danceability": 1.0}
    assert [(t.id, dict(t.targets), t.part) for t in tracks[2:]] == [("3", {}, "test"), ("4", {}, "test")]
    assert dataset.unlabelled == {"train": 0, "test": 2}


@pytest.mark.parametrize(("features", "rows"), [("mel", (0, 128)), ("chroma", (128, 140)), ("fused", (0, 140))])
def test_features_choose_rows(emotion, features, rows):
    assert Lab(root=emotion, features=features).rows == slice(*rows)


def test_an_array_without_a_label_is_an_unlabelled_track(genre):
    array(genre / "train", 77)
    dataset = Lab(root=genre)
    assert dataset.unlabelled == {"train": 1, "test": 0}
    assert {t.id: dict(t.targets) for t in dataset.tracks()}["77"] == {}


def test_a_clip_in_both_parts_keeps_ids_unique(emotion):
    array(emotion / "test", 1)
    ids = [track.id for track in assert_conforms(Lab(root=emotion))]
    assert ids == ["1", "2", "test/1", "3", "4"]


def test_other_files_are_ignored(genre):
    (genre / "train" / "notes.txt").write_text("hello")
    assert len(list(Lab(root=genre).tracks())) == 4


def problem(root: Path) -> str:
    with pytest.raises(InputError) as caught:
        Lab(root=root)
    return str(caught.value)


def test_missing_root_says_what_it_should_look_like(tmp_path):
    text = problem(tmp_path / "nowhere")
    assert f"{tmp_path / 'nowhere'}: no such folder" in text
    assert "train/ID.fused.full.npy" in text


def test_a_folder_of_such_folders_names_them(genre):
    text = problem(genre.parent)
    assert "does not contain train_labels.txt" in text
    assert genre.name in text


def test_unknown_header(genre):
    (genre / "train_labels.txt").write_text("Id,Genre\n9,Rock\n")
    assert "train_labels.txt:1: the header must be" in problem(genre)


def test_empty_label_file(genre):
    (genre / "train_labels.txt").write_text("")
    assert "train_labels.txt: is empty" in problem(genre)


def test_label_file_with_a_header_only(genre):
    (genre / "test_labels.txt").write_text("Id\tGenre\n")
    assert "test_labels.txt: has a header but no labels" in problem(genre)


def test_labels_that_are_not_text(genre):
    (genre / "train_labels.txt").write_bytes(b"Id\tGenre\n9\tCaf\xe9\n")
    assert "train_labels.txt:2: is not UTF-8" in problem(genre)


def test_parts_of_two_layouts(genre):
    (genre / "test_labels.txt").write_text("Id,valence,energy,danceability\n7,0,0,0\n")
    assert "test_labels.txt:1: contains emotion labels, but train_labels.txt contains genre labels" in problem(
        genre
    )


def test_every_problem_is_reported_with_its_line(emotion):
    (emotion / "train_labels.txt").write_text(
        "Id,valence,energy,danceability\n"
        "1,0.5,1.5,0.5\n"  # outside
        "1,0.5,0.5,0.5\n"  # twice
        "2,0.5,0.5\n"  # short
        "2,nan,x,0.5\n"  # no numbers
        "5,0.5,0.5,0.5\n"  # no array
        ".fused,0.5,0.5,0.5\n"  # no clip
        "6,0.5,,0.5\n"  # empty cell
    )
    array(emotion / "test", 3, shape=(128, 4))
    lines = problem(emotion).splitlines()
    for where, what in (
        ("train_labels.txt:2: track 1, energy: ", "1.5 is outside [0, 1]"),
        ("train_labels.txt:3: track 1", "already has a label in line 2"),
        ("train_labels.txt:4: malformed row", "expected 4 non-empty cells"),
        ("train_labels.txt:5: track 2, valence: ", "'nan' is not a finite number"),
        ("train_labels.txt:5: track 2, energy: ", "'x' is not a number"),
        ("train_labels.txt:6: track 5 has no array", "train/5.fused.full.npy is missing"),
        ("train_labels.txt:7: malformed row", "expected 4 non-empty cells"),
        ("train_labels.txt:8: malformed row", "1 empty"),
        ("3.fused.full.npy: has shape [128, 4]", "expected [140, frames]"),
    ):
        assert any(where in line and what in line for line in lines), (where, what, lines)
    assert len(lines) == 9


def test_many_problems_are_counted(genre):
    rows = "".join(f"{clip}\tRock\n" for clip in range(2000, 2030))
    (genre / "train_labels.txt").write_text("Id\tGenre\n" + rows)
    lines = problem(genre).splitlines()
    assert len(lines) == 4
    assert lines[-1] == "  ... and 27 more of this kind (30 in all)"


@pytest.mark.parametrize("marker", ["nan", "NA", "None", "-"])
def test_a_missing_marker_is_no_genre(genre, marker):
    text = (genre / "train_labels.txt").read_text()
    first = text.splitlines()[1]
    (genre / "train_labels.txt").write_text(text.replace(first, first.split("\t")[0] + f"\t{marker}"))
    assert f"train_labels.txt:2: track 10: {marker!r} marks a missing value" in problem(genre)


def test_files_that_macos_adds_are_no_arrays(genre):
    (genre / "train" / "._1.fused.full.npy").write_bytes(b"\0\5\x16\7")
    Lab(root=genre)


def test_missing_and_empty_parts(genre):
    for path in (genre / "test").iterdir():
        path.unlink()
    assert f"{genre / 'test'}: contains no arrays" in problem(genre)
    (genre / "test").rmdir()
    assert f"{genre / 'test'}: no such folder" in problem(genre)
    (genre / "test_labels.txt").unlink()
    assert {track.part for track in Lab(root=genre).tracks()} == {"train"}


def test_its_own_folder_is_known(emotion):
    assert_knows_its_folder(Lab, emotion, "valence", "energy", "danceability")
