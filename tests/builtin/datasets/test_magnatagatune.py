"""On a tiny copy of its layout."""

from pathlib import Path

import pytest
from dataset_conformance import assert_conforms, assert_knows_its_folder
from musicemo_builtin.datasets.magnatagatune import MagnaTagATune
from songs import write_song, write_text

from musicemo.errors import InputError

#: Clip -> file, artist, tags.
CLIPS = {
    "2": ("f/american_bach_soloists-01-30-59", "American Bach Soloists", ("opera", "violin")),
    "6": ("0/a-01-0-29", "Kay", ("no vocals",)),
    "7": ("b/b-02-0-29", "Kay", ()),
    "12": ("c/c-03-0-29", "Nina", ("opera", "no vocals")),
}
TAGS = ("no vocals", "opera", "violin")


def table(rows: list[tuple[object, ...]]) -> str:
    return "".join("\t".join(f'"{cell}"' for cell in row) + "\n" for row in rows)


def annotations(extra: tuple[str, ...] = ()) -> str:
    rows = [
        (clip, *(int(tag in tags) for tag in TAGS), *[int(not tags)] * len(extra), f"{file}.mp3")
        for clip, (file, _, tags) in CLIPS.items()
    ]
    return table([("clip_id", *TAGS, *extra, "mp3_path"), *rows])


@pytest.fixture(params=["", "mp3"])
def root(tmp_path: Path, request) -> Path:
    for number, (file, _, _) in enumerate(CLIPS.values()):
        write_song(tmp_path / request.param / f"{file}.mp3", number)
    write_text(tmp_path / "annotations_final.csv", annotations())
    infos = [(clip, 1, "title", artist, "album") for clip, (_, artist, _) in CLIPS.items()]
    write_text(
        tmp_path / "clip_info_final.csv",
        table([("clip_id", "track_number", "title", "artist", "album"), *infos]),
    )
    return tmp_path


def magnatagatune(root: Path, **parameters) -> MagnaTagATune:
    return MagnaTagATune(root=root, **parameters)


def test_conforms(root):
    dataset = magnatagatune(root)
    tracks = assert_conforms(dataset)
    (target,) = dataset.targets
    assert (target.name, target.kind, target.classes) == ("tags", "tags", TAGS)
    assert [(track.id, track.group, track.part, track.targets["tags"]) for track in tracks] == [
        ("2", "American Bach Soloists", "test", ("opera", "violin")),
        ("6", "Kay", "train", ("no vocals",)),
        ("7", "Kay", "train", ()),
        ("12", "Nina", "val", ("no vocals", "opera")),
    ]


@pytest.mark.parametrize("root", ["mp3"], indirect=True)
def test_the_most_frequent_tags(root):
    rare = tuple(f"rare {number}" for number in range(60))
    write_text(root / "annotations_final.csv", annotations(rare))
    (target,) = magnatagatune(root).targets
    assert len(target.classes) == 50
    assert {"opera", "no vocals"} <= set(target.classes), "each is a tag of two clips, the others of one"
    assert len(magnatagatune(root, tags="all").targets[0].classes) == 63


@pytest.mark.parametrize("root", ["mp3"], indirect=True)
def test_problems_name_file_line_and_column(root):
    path = root / "annotations_final.csv"
    text = path.read_text().replace('"6"\t"1"', '"6"\t"2"').replace("b/b-02", "g/b-02").replace('"12"', '"2"')
    write_text(path, text)
    with pytest.raises(InputError) as caught:
        magnatagatune(root)
    assert list(caught.value.problems) == [
        f"{path}:3: column 'no vocals': '2' is not 0 or 1",
        f"{path}:4: column 'mp3_path': 'g/b-02-0-29.mp3' is not in one of the folders 0 to 9 and a to f",
        f"{path}:5: track '2' is already in line 2, with '0' instead of '1' in column 'no vocals'",
    ]


@pytest.mark.parametrize("root", ["mp3"], indirect=True)
@pytest.mark.parametrize("missing", ["mp3", "annotations_final.csv", "clip_info_final.csv"])
def test_says_what_is_missing_and_where_it_is(root, missing):
    (root / missing).rename(root / "other")
    with pytest.raises(InputError, match=r"does not contain .*MagnaTagATune is available at https"):
        magnatagatune(root)


def test_its_own_folder_is_known(root):
    assert_knows_its_folder(MagnaTagATune, root, "tags")
