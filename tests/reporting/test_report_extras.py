"""Sections on what only some runs have."""

import pytest


def test_how_the_epoch_was_chosen(read):
    page = read(
        selection={
            "monitor": "val/loss",
            "metrics": {"valence": "spearman", "genre": "accuracy"},
            "criteria": {
                "val/loss": {
                    "epoch": 3,
                    "tasks": {"valence": {"val": 0.4321, "excess": 0.125}, "genre": {"val": 0.5, "excess": 0}},
                },
                "val/genre/loss": {"epoch": 7, "tasks": {"genre": {"val": 0.75, "excess": None}}},
            },
        }
    )
    assert "Choice of the epoch" in page.texts["h2"]
    for text in ("0.432", "+12.5 %", "val/genre/loss", "0.750", "n/a", "The run used val/loss."):
        assert text in page.text


def test_where_weights_came_from(read):
    page = read(
        transfer={
            "from": "runs/<genre>",
            "loaded": ["backbone.a", "backbone.b"],
            "new": ["heads.c"],
            "frozen": [],
        }
    )
    for text in ("runs/<genre>", "2 tensors", "1 tensor", "0 tensors", "backbone.b", "heads.c"):
        assert text in page.text


def test_a_variant_names_its_axes(read):
    page = read(variant={"model.type": "lstm"})
    assert "model.type" in page.texts["dt"]
    assert "lstm" in page.texts["dd"]


@pytest.mark.parametrize("key", ["selection", "transfer", "reliability", "controlled", "calibration"])
@pytest.mark.parametrize("value", [None, {}, [], "text"])
def test_what_is_empty_has_no_section(read, key, value):
    titles = read(**{key: value}).texts["h2"]
    assert titles == read().texts["h2"]
