import json

import pytest
from dataset_conformance import assert_conforms
from musicemo_builtin.datasets.musav import MusAV

from musicemo.contracts import Judgement
from musicemo.errors import InputError

ANSWERS = {
    "arousal": [("x1", "x2", "a"), ("x1", "x2", "ab"), ("x1", "x3", "b"), ("x2", "x3", "not_selected")],
    "valence": [("x1", "x2", "b"), ("x4", "x5", "a")],
}


@pytest.fixture
def root(tmp_path):
    """Return a folder in the layout of the dataset, with five songs."""
    (tmp_path / "annotations").mkdir()
    for target, answers in ANSWERS.items():
        lines = [
            json.dumps({"tripletid": "t", "songid_a": a, "songid_b": b, "type": target, "higher_value": higher})
            for a, b, higher in answers
        ]
        (tmp_path / "annotations" / f"annotations.{target}.all").write_text("\n".join(lines) + "\n")
    for index in range(1, 6):
        folder = tmp_path / "audio_chunks" / "audio.001" / f"x{index}"[:2]
        folder.mkdir(parents=True, exist_ok=True)
        (folder / f"x{index}.mp3").touch()
    return tmp_path


def test_reads_the_answers(root):
    dataset = MusAV(root=root)
    tracks = {track.id: dict(track.targets) for track in assert_conforms(dataset)}
    assert [(target.name, target.kind) for target in dataset.targets] == [
        ("arousal", "pairs"),
        ("valence", "pairs"),
    ]
    assert tracks == {
        "x1": {
            "arousal": (Judgement("x2", 1.0, 0.0), Judgement("x2", 0.5, 0.5), Judgement("x3", 0.0, 1.0)),
            "valence": (Judgement("x2", 0.0, 1.0),),
        },
        "x2": {},
        "x3": {},
        "x4": {"valence": (Judgement("x5", 1.0, 0.0),)},
        "x5": {},
    }


@pytest.mark.parametrize(
    ("line", "message"),
    [
        ("{'songid_a': 'x1'}", ":5: is not a JSON object with songid_a, songid_b, higher_value"),
        (
            '{"songid_a": "x1", "songid_b": "x2", "higher_value": "c"}',
            ":5: higher_value is 'c', but must be one of",
        ),
        ('{"songid_a": "x1", "songid_b": "x1", "higher_value": "a"}', ":5: compares 'x1' with itself"),
        ('{"songid_a": "x1", "songid_b": "y9", "higher_value": "a"}', "y9.mp3: no such file"),
    ],
)
def test_wrong_lines_and_missing_songs(root, line, message):
    with (root / "annotations" / "annotations.arousal.all").open("a") as file:
        file.write(line + "\n")
    with pytest.raises(InputError) as caught:
        MusAV(root=root)
    assert any(message in problem for problem in caught.value.problems)


def test_a_missing_folder_says_where_the_data_is(tmp_path):
    with pytest.raises(InputError, match="MusAV is available at"):
        MusAV(root=tmp_path)
    assert MusAV.propose(tmp_path) is None


def test_init_says_that_the_experiment_is_to_be_written(root):
    with pytest.raises(InputError, match=r"is MusAV, whose targets are pairs.*\[tasks.arousal\]"):
        MusAV.propose(root)
