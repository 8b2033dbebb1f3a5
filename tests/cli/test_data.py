"""``musicemo data``."""

from __future__ import annotations

import json
from collections.abc import Iterator

import fakes as fakes_module
import pytest
from typer.testing import CliRunner

from musicemo.cli._app import make_app
from musicemo.contracts import Target, Track
from musicemo.errors import InputError


def call(*arguments):
    found = CliRunner().invoke(make_app(), ["data", *map(str, arguments)], catch_exceptions=False)
    assert found.exit_code == 0
    return found.stdout


@pytest.mark.usefixtures("fakes")
def test_tables_of_parts_ratings_and_classes_fit_80_columns(experiment_file):
    text = call(experiment_file, "--set", "dataset.missing=0.2", "--set", "split.method='random'")
    assert "memory: 5" in text
    assert "Split: random, hash " in text
    assert "valence: ratings in their own units" in text
    assert "genre: tracks of each class" in text
    assert "suspected leak: " in text
    assert 'method = "grouped" keeps each in one set' in text
    lines = [line for line in text.splitlines() if not line.startswith(("memory:", "suspected leak:"))]
    assert max(len(line.rstrip()) for line in lines) <= 80


@pytest.mark.usefixtures("fakes")
def test_json_holds_what_the_tables_show(experiment_file):
    overrides = [
        *("--set", "dataset.classes=4"),
        *("--set", "tasks.genre.classes={ jazz = 'folk', pop = false }"),
        *("--set", "dataset.missing=0.1"),
        *("--set", "split.method='grouped'"),
    ]
    found = json.loads(call(experiment_file, "--json", *overrides))
    parts = found["parts"]
    assert sum(parts.values()) == found["tracks"]
    assert found["tracks"] + found["unlabelled"] == 60
    assert found["feature_rows"] == fakes_module.ROWS
    assert found["leaks"] == []
    assert {name: merged["becomes"] for name, merged in found["merged"]["genre"].items()} == {
        "folk": "folk",
        "jazz": "folk",
        "metal": "metal",
        "pop": None,
    }
    classes = found["classes"]["genre"]
    assert set(classes) == {"folk", "metal", "missing"}
    for part, count in parts.items():
        assert sum(counts[part] for counts in classes.values()) == count
        ratings = found["ratings"]["valence"][part]
        assert ratings["count"] + ratings["missing"] == count
        assert 1 <= ratings["min"] <= ratings["median"] <= ratings["max"] <= 9
        low, median, high = found["frames"][part]
        assert 5 <= low <= median <= high <= 20
    text = call(experiment_file, *overrides)
    assert "genre: classes before merging" in text
    assert "dropped" in text
    assert "No suspected leak" in text


class Marked:
    """Class names that would mean something to the library that draws the tables."""

    names = ("[bold]rock", "R&B [/live]", "[red]")
    targets = (Target("genre", "classification", classes=names),)
    rows = slice(0, 4)

    def tracks(self) -> Iterator[Track]:
        source = fakes_module.MemoryDataset().tracks()
        for index, track in enumerate(source):
            yield Track(track.id, track.features[:4], {"genre": self.names[index % 3]})


def test_class_names_are_shown_as_they_are(fakes, tmp_path):
    fakes("dataset", "marked", Marked)
    path = tmp_path / "marked.toml"
    path.write_text(
        'dataset.type = "marked"\nmodel.type = "means"\n'
        "[tasks.genre]\nclasses = { '[bold]rock' = '[/x] metal', '[red]' = '[blue]' }\n"
    )
    text = call(path)
    for name in (*Marked.names, "[/x] metal", "[blue]"):
        assert name in text


@pytest.mark.usefixtures("fakes")
def test_several_datasets_are_counted_and_what_is_in_two_of_them_is_told(experiment_file):
    text = experiment_file.read_text().replace("[dataset]", '[[dataset]]\nname = "a"')
    experiment_file.write_text(text.replace("[model]", '[[dataset]]\ntype = "memory"\nname = "b"\n[model]'))
    shown = call(experiment_file, "--set", "dataset.b.split.method='random'")
    assert "a + b: 120 labelled tracks" in shown
    assert "a           36   12    12" in shown
    assert "in more than one set, as tracks with equal features: 'a/track" in shown
    assert "a and b share 60 tracks and 15 artists, with equal features: 'a/track000' and 'b/track000'" in shown
    assert "Labels of the shared tracks of a and b" in shown
    found = json.loads(call(experiment_file, "--json"))
    assert found["datasets"] == {
        "a": {"train": 36, "val": 12, "test": 12},
        "b": {"train": 36, "val": 12, "test": 12},
    }
    assert not [leak for leak in found["leaks"] if "equal features" in leak], "split alike, a clip has one side"


@pytest.mark.usefixtures("fakes")
def test_variants_of_a_matrix_with_the_same_data_are_one(experiment_file):
    text = experiment_file.read_text()
    experiment_file.write_text(f'{text}\n[matrix]\n"training.epochs" = [1, 2]\n')
    found = CliRunner().invoke(make_app(), ["data", str(experiment_file)], catch_exceptions=False)
    assert "the other variants have the same tracks and split" in found.stderr
    assert "valence: ratings in their own units" in found.stdout
    experiment_file.write_text(f'{text}\n[matrix]\n"split.seed" = [1, 2]\n')
    with pytest.raises(InputError, match=r"choose one with --only seed=VALUE"):
        call(experiment_file)
