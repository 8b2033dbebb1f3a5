"""``musicemo plugins``."""

from __future__ import annotations

import json

import fakes as fakes_module
import pytest
from typer.testing import CliRunner

from musicemo.cli._app import make_app


def call(*arguments):
    found = CliRunner().invoke(make_app(), ["plugins", *arguments], catch_exceptions=False)
    assert found.exit_code == 0
    return found.stdout


@pytest.mark.usefixtures("fakes")
def test_every_component_is_a_row():
    rows = json.loads(call("--json"))
    assert all(list(row) == ["kind", "name", "distribution", "version"] for row in rows)
    assert {(row["kind"], row["name"]) for row in rows} == {
        (kind, name) for kind, name, _ in fakes_module.FAKES
    }
    assert {(row["distribution"], row["version"]) for row in rows} == {("fake", "1.0")}


@pytest.mark.usefixtures("fakes")
def test_the_table_says_the_same():
    header, *lines = call().splitlines()
    assert header.split() == ["kind", "name", "distribution", "version"]
    rows = [tuple(row.values()) for row in json.loads(call("--json"))]
    assert [tuple(line.split()) for line in lines] == rows


def test_nothing_is_imported(install):
    install("model", "absent", "no_such_module:Model")
    assert [row["name"] for row in json.loads(call("--json"))] == ["absent"]


def test_both_claimants_of_a_name_are_listed(install):
    install("loss", "mse", "a:A", distribution="one", version="1")
    install("loss", "mse", "b:B", distribution="two", version="2")
    assert [row["distribution"] for row in json.loads(call("--json"))] == ["one", "two"]


def test_long_names_are_not_cut(install):
    name, distribution = "a-rather-long-name-of-a-weighting", "musicemo-" + "x" * 60
    install("weighting", name, "a:A", distribution=distribution)
    assert any(line.split() == ["weighting", name, distribution, "1.0"] for line in call().splitlines())


def test_the_built_ins_are_musicemos():
    rows = json.loads(call("--json"))
    found = {(row["kind"], row["name"]) for row in rows if row["distribution"] == "musicemo"}
    assert {("model", "cnn"), ("loss", "soft-spearman"), ("plugin", "history"), ("dataset", "synth")} <= found
