"""Tables with a row, or a column, for each listener of a track."""

import numpy as np
import pytest
from complaints import warns
from dataset_conformance import assert_conforms
from musicemo_builtin.datasets.table import Table

from musicemo.errors import InputError

ROWS = """\
VP;Datei;Valenz;Erregung;Genre;Jahr
p1;a.npy;6;3;Jazz;train
p1;b.npy;2;;Rock;test
p2;a.npy;7,5;NA;;train
p2;b.npy;2;;Rock;
"""
WIDE = """\
file,valence,V [1]*,valence_p1,valence_p2,p1 arousal,p2 arousal
a.npy,1,3,6,7,2,
b.npy,1,4,2,NA,1,
c.npy,1,5,,,,
"""


@pytest.fixture
def build(tmp_path):
    for name in "abc":
        np.save(tmp_path / f"{name}.npy", np.zeros((7, 3 + ord(name) - 97), np.float32))

    def build(text=ROWS, **parameters):
        path = tmp_path / "songs.csv"
        path.write_text(text)
        defaults = {
            "regression": {"valence": [1, 9], "arousal": [1, 9]},
            "classification": ["Genre"],
            "columns": {"valence": "Valenz", "arousal": "Erregung"},
            **{
                "id": "Datei",
                "file": "Datei",
                "listener": "VP",
                "part": "Jahr",
                "missing": ["NA"],
                "decimal": ",",
            },
        }
        return Table(
            path=path,
            **(defaults if text.startswith(("VP", "XX")) else {"file": "file", "id": "file"}) | parameters,
        )

    return build


@pytest.mark.parametrize("listener", ["VP", True])
def test_a_rating_is_the_mean_over_the_rows_of_a_track(build, listener):
    first, second = assert_conforms(build(listener=listener))
    assert (first.id, first.part, first.targets) == (
        "a.npy",
        "train",
        {"valence": 6.75, "arousal": 3.0, "Genre": "Jazz"},
    )
    assert first.ratings == {"valence": [6.0, 7.5], "arousal": [3.0]}
    assert second.targets == {"valence": 2.0, "arousal": None, "Genre": "Rock"}
    assert (second.part, second.ratings) == ("test", {"valence": [2.0, 2.0]})


@pytest.mark.parametrize(
    ("row", "message"),
    [
        ("p3;a.npy;5;5;jazz;train", r":6: column 'Genre': track 'a.npy' has 'jazz' here and 'Jazz' in line 2"),
        ("p3;a.npy;5;5;Jazz;test", r":6: column 'Jahr': track 'a.npy' has 'test' here and 'train' in line 2"),
        (
            "p2;a.npy;5;5;;train",
            r":6: listener 'p2': track 'a.npy' is already in line 4, with '7,5' instead of '5'",
        ),
        (";a.npy;5;5;;train", r":6: column 'VP': is empty, but every row needs a listener"),
        ("p3;;5;5;;train", r":6: column 'Datei': is empty, but every row needs a track"),
        ("p3;a.npy;10;5;;train", r":6: column 'Valenz': 10 is outside \[1, 9\]"),
    ],
)
def test_rows_that_do_not_fit_name_their_lines(build, row, message):
    with pytest.raises(InputError, match=message):
        build(f"{ROWS}{row}\n")


def test_identical_rows_of_a_listener_count_once(build):
    twice = f"{ROWS}p2;b.npy;2;;Rock;\n"
    with warns(r"1 row is ignored because of an identical earlier row \(line 6 like line 5\)"):
        assert len(list(build(twice).tracks())[1].ratings["valence"]) == 2
    assert len(list(build(twice, listener=True).tracks())[1].ratings["valence"]) == 3


def test_a_column_for_each_listener(build):
    ranges = {"valence": [1, 9], "arousal": [1, 9], "V": [1, 9]}
    columns = {"valence": "valence_p*", "arousal": "p* arousal", "V": "V [1]*"}
    with warns("1 cell is read as a missing value"):
        dataset = build(WIDE, regression=ranges, columns=columns)
    first, second, third = assert_conforms(dataset)
    assert first.targets == {"valence": 6.5, "arousal": 2.0, "V": 3.0}
    assert first.ratings == {"valence": [6.0, 7.0], "arousal": [2.0]}
    assert second.ratings["valence"] == [2.0]
    assert (third.targets["valence"], third.ratings) == (None, {})
    with pytest.raises(InputError, match=r"no column is like columns.valence = 'valence_q\*'"):
        build(WIDE, regression={"valence": [1, 9]}, columns={"valence": "valence_q*"})


def test_rounding_leaves_the_mean_within_the_ratings(build):
    rows = "".join(f"p{n};a.npy;0,1;0,1;;\n" for n in range(3))
    dataset = build(
        ROWS.split("\n")[0] + "\n" + rows + "p1;b.npy;0;0;Rock;\n",
        regression={"valence": [0, 0.1]},
        columns={"valence": "Valenz"},
    )
    assert next(iter(dataset.tracks())).targets["valence"] == 0.1
