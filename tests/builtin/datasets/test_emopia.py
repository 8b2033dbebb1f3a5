"""On a tiny copy of its clips, and of the files of its labels and its split."""

from pathlib import Path

import pytest
from dataset_conformance import assert_conforms, assert_knows_its_folder
from musicemo_builtin.datasets.emopia import Emopia
from songs import write_song, write_text

from musicemo.errors import InputError

CLIPS = ("Q1_0vLPYiPN7qY_0", "Q2_--2B4d4lQhs_3", "Q3__vZOEQCYSaY_0", "Q4_xgtwQGeB6_0_0", "Q1_xgtwQGeB6_0_11")


@pytest.fixture
def root(tmp_path: Path) -> Path:
    for number, name in enumerate(CLIPS):
        write_song(tmp_path / f"EMOPIA/audios/seg/{name}.mp3", number)
    for name, clips in (("train", CLIPS[:2]), ("val", CLIPS[2:3]), ("test", CLIPS[3:4])):
        lines = "".join(f"{clip},{clip[:2]}\n" for clip in clips)
        write_text(tmp_path / f"EMOPIA/split/{name}.csv", f"fname,label\n{lines}")
    lines = "".join(f"{clip},{clip[1]},D\n" for clip in CLIPS)
    write_text(tmp_path / "EMOPIA/label.csv", f"ID,4Q,annotator\n{lines}")
    return tmp_path / "EMOPIA"


def emopia(root: Path, **parameters) -> Emopia:
    return Emopia(root=root, **parameters)


def test_conforms(root):
    dataset = emopia(root)
    tracks = assert_conforms(dataset)
    assert {target.name: target.classes for target in dataset.targets} == {
        "quadrant": ("Q1", "Q2", "Q3", "Q4"),
        "valence_class": ("low", "high"),
        "arousal_class": ("low", "high"),
    }
    assert [(track.id, track.group, track.part, *track.targets.values()) for track in tracks] == [
        (CLIPS[0], "0vLPYiPN7qY", "train", "Q1", "high", "high"),
        (CLIPS[1], "--2B4d4lQhs", "train", "Q2", "low", "high"),
        (CLIPS[2], "_vZOEQCYSaY", "val", "Q3", "low", "low"),
        (CLIPS[3], "xgtwQGeB6_0", "test", "Q4", "high", "low"),
    ]


def test_all_clips_have_no_split(root):
    (root / "split").rename(root.parent / "split")
    tracks = list(emopia(root, clips="all").tracks())
    assert [(track.id, track.part, track.targets["quadrant"]) for track in tracks] == [
        (clip, None, clip[:2]) for clip in CLIPS
    ]
    assert tracks[-1].group == "xgtwQGeB6_0"
    with pytest.raises(InputError, match=r"does not contain train\.csv\. EMOPIA is available at https"):
        emopia(root)


def test_problems_name_file_and_line(root):
    path = write_text(root / "split/val.csv", f"fname,label\n{CLIPS[0]},Q1\n{CLIPS[2]},Q2\nsong,Q3\nQ1_a_0,5\n")
    with pytest.raises(InputError) as caught:
        emopia(root)
    assert list(caught.value.problems) == [
        f"{path}:2: track {CLIPS[0]!r} is already in {root}/split/train.csv:2",
        f"{path}:3: {CLIPS[2]!r} is not the name of a clip of Q2 (Q2_SONG_NUMBER)",
        f"{path}:4: 'song' is not the name of a clip of Q3 (Q3_SONG_NUMBER)",
        f"{path}:5: column 'label': '5' is not a quadrant; allowed: Q1, Q2, Q3, Q4",
    ]


@pytest.mark.parametrize("missing", ["audios", "split/test.csv"])
def test_says_what_is_missing_and_where_it_is(root, missing):
    (root / missing).rename(root / "other")
    with pytest.raises(InputError, match=r"does not contain .*EMOPIA is available at https") as caught:
        emopia(root)
    assert "EMOPIA_cls, dataset/split" in str(caught.value)


def test_its_own_folder_is_known(root):
    assert_knows_its_folder(Emopia, root, "quadrant")
    write_text(root / "split/train.csv", "file,label\n1.mp3,a\n")
    assert Emopia.recognise(root) == {"clips": "all"}
    (root / "label.csv").unlink()
    assert Emopia.recognise(root) is None
