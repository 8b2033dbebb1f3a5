import json
import math

import fakes as components
import pytest
from harness import train

from musicemo.hookspecs import hookimpl

pytestmark = pytest.mark.usefixtures("fakes")


def read(path):
    def refuse(name):
        raise AssertionError(f"{name} is no JSON")

    return [json.loads(line, parse_constant=refuse) for line in path.read_text().splitlines()]


def test_a_line_an_epoch_with_everything_recorded(tmp_path):
    recorder = train(tmp_path)
    lines = read(recorder.run.directory / "history.jsonl")
    assert lines == recorder.run.history
    assert [line["epoch"] for line in lines] == [1, 2, 3]
    assert next(iter(lines[0])) == "epoch"


class Watch:
    """Reads the file while it is being written."""

    def __init__(self):
        self.lines = []

    @hookimpl
    def musicemo_epoch_started(self, run, epoch):
        self.lines.append(len(read(run.directory / "history.jsonl")))


def test_the_file_is_there_from_the_start_and_grows(tmp_path):
    watch = Watch()
    train(tmp_path, plugins=[watch])
    assert watch.lines == [0, 1, 2]


class Spoiled(components.SquaredError):
    """Has quantities that are not defined, as a metric of one class would be."""

    def diagnostics(self, prediction, target):
        return {"nan": math.nan, "odd": -math.inf}


def test_what_is_not_defined_is_null(fakes, tmp_path):
    fakes("loss", "spoiled", Spoiled)
    recorder = train(tmp_path, "tasks.valence.loss={ type = 'spoiled' }")
    lines = read(recorder.run.directory / "history.jsonl")
    assert [(line["train/valence/nan"], line["train/valence/odd"]) for line in lines] == [(None, None)] * 3
    assert all(math.isfinite(line["val/valence/ccc"]) for line in lines)
