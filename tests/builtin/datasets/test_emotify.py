"""On copies of both layouts, tiny: the original one, and the one with `audio` and `annotations.csv`."""

from pathlib import Path

import pytest
from dataset_conformance import assert_conforms, assert_knows_its_folder
from musicemo_builtin.datasets.emotify import EMOTIONS, Emotify
from songs import write_song, write_text

from musicemo.errors import InputError

HEADER = (
    "track id, genre, amazement, solemnity, tenderness, nostalgia, calmness, power, joyful_activation, tension, "
    "sadness, mood, liked, disliked, age, gender, mother tongue\n"
)
ROWS = (
    "1,classical,0,1,0,0,0,0,1,1,0,3,1,0,21,1,English\n"
    "1,classical,0,0,0,1,0,0,0,0,0,3,0,1,41,1,Dutch\n"
    "1,classical,0,0,0,1,0,0,0,0,1,3,0,0,24,1,English\n"
    "102,rock,0,0,0,0,0,1,1,0,0,3,0,0,24,1,English\n"
    "110,rock,0,0,0,0,0,1,0,0,0,4,0,0,24,1,English\n"
    "201,electronic,1,0,0,0,0,0,0,0,0,3,0,0,24,1,English\n"
    "110,rock,0,0,0,0,0,0,0,0,0,4,0,0,24,1,English\n"
    "400,pop,0,0,1,0,0,0,0,0,0,3,0,0,24,1,English\n"
)
SONGS = ("classical/1", "electronic/1", "pop/100", "rock/10", "rock/2")


@pytest.fixture(params=["audio", "original"])
def root(tmp_path: Path, request) -> Path:
    below, answers = ("audio/", "annotations.csv") if request.param == "audio" else ("", "data.csv")
    for number, name in enumerate(SONGS):
        write_song(tmp_path / f"{below}{name}.mp3", number)
    write_text(tmp_path / answers, HEADER + ROWS)
    return tmp_path


def emotify(root: Path, **parameters) -> Emotify:
    return Emotify(root=root, **parameters)


def answers(root: Path, text: str) -> Path:
    """Put rows in the place of the answers."""
    (path,) = (root / name for name in ("annotations.csv", "data.csv") if (root / name).exists())
    return write_text(path, HEADER + text)


def test_genres_are_selected(root):
    dataset = emotify(root, genres=["pop", "classical"])
    assert [track.id for track in dataset.tracks()] == ["classical/1", "pop/100"]
    assert dataset.targets[-2].classes == ("classical", "electronic", "pop", "rock")


def test_conforms(root):
    dataset = emotify(root)
    tracks = {track.id: track for track in assert_conforms(dataset)}
    assert tuple(tracks) == SONGS
    assert [target.name for target in dataset.targets] == [*EMOTIONS, "genre", "emotions"]
    assert {target.range for target in dataset.targets} == {(0.0, 1.0)}
    assert dataset.targets[-2].classes == ("classical", "electronic", "pop", "rock")
    classical = tracks["classical/1"]
    assert classical.targets["nostalgia"] == pytest.approx(2 / 3)
    assert classical.targets["amazement"] == 0.0
    assert classical.ratings["nostalgia"] == [0.0, 1.0, 1.0]
    assert tracks["rock/10"].targets["power"] == 0.5
    assert tracks["rock/10"].ratings["power"] == [1.0, 0.0]
    assert {track.group for track in tracks.values()} == {None}
    assert {track.part for track in tracks.values()} == {None}


def test_songs_with_few_listeners_keep_their_genre_only(root):
    tracks = {track.id: track for track in assert_conforms(emotify(root, minimum_raters=3))}
    assert tracks["classical/1"].targets["solemnity"] == pytest.approx(1 / 3)
    assert {tracks["rock/10"].targets[name] for name in EMOTIONS} == {None}
    assert tracks["rock/10"].targets["genre"] == "rock"
    assert tracks["rock/10"].ratings == {}


def test_problems_name_file_line_and_column(root):
    good = ROWS.splitlines(keepends=True)[0]
    path = answers(
        root,
        good
        + good.replace("classical", "clasical")
        + good.replace("1,classical", "101,classical")
        + good.replace("1,classical", "one,classical")
        + good.replace("classical,0,1", "classical,2,")
        + "1,classical\n",
    )
    with pytest.raises(InputError) as caught:
        emotify(root)
    problems = list(caught.value.problems)
    for line, column, what in (
        (3, "column 'genre'", "did you mean 'classical'?"),
        (4, "column 'track id'", "'101' is not a song of classical (1 to 100)"),
        (5, "column 'track id'", "'one' is not a song"),
        (6, "column 'amazement'", "'2' is not an answer; allowed: 0, 1"),
        (6, "column 'solemnity'", "is empty, but must be 0 or 1"),
        (7, "malformed row", "expected 17 cells, got 2"),
    ):
        assert any(one.startswith(f"{path}:{line}: {column}") and what in one for one in problems), (
            line,
            problems,
        )
    assert len(problems) == 6


def test_a_song_without_a_file(root):
    path = answers(root, ROWS + "5,classical,0,0,0,1,0,0,0,0,0,3,0,1,41,1,Dutch\n")
    with pytest.raises(
        InputError, match=r"csv:10: track 'classical/5': .*classical/5\.mp3: no such file"
    ) as caught:
        emotify(root)
    assert str(path) in str(caught.value)


@pytest.mark.parametrize("exists", [True, False])
def test_says_where_it_is_and_what_it_looks_like(tmp_path, exists):
    root = tmp_path if exists else tmp_path / "none"
    missing = "does not contain annotations.csv or data.csv" if exists else "no such folder"
    with pytest.raises(InputError, match=missing) as caught:
        emotify(root)
    assert "Emotify is available at http" in str(caught.value)
    assert "classical/1.mp3" in str(caught.value)


@pytest.mark.slow
def test_real_songs():
    root = Path(__file__).parents[4] / "shared" / "data" / "emotify"
    if not root.is_dir():
        pytest.skip("the songs are not here")
    dataset = emotify(root)
    songs = dataset._recordings._tracks
    assert len(songs) == 280
    assert [song.id for song in songs] == sorted((song.id for song in songs), key=lambda name: f"{name}.")
    assert {len(song.ratings) for song in songs} == {9}
    assert sum(len(song.ratings["power"]) for song in songs) == 5857


def test_its_own_folder_is_known(root):
    assert_knows_its_folder(Emotify, root, *EMOTIONS)


def test_emotions_that_enough_listeners_ticked_are_tags(root):
    tracks = {track.id: track.targets for track in Emotify(root=root, tag_share=0.6).tracks()}
    assert tracks["classical/1"]["emotions"] == ("nostalgia",)
    assert tracks["rock/10"]["emotions"] == ()
    tracks = {track.id: track.targets for track in Emotify(root=root, tag_share=0.5, minimum_raters=2).tracks()}
    assert tracks["rock/10"]["emotions"] == ("power",)
    assert tracks["rock/2"]["emotions"] is None
