"""Damaged run directories: what reads them reports an `InputError`, whatever a file holds."""

from __future__ import annotations

import json
import os
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any

import pytest
from complaints import any_warnings
from recorded_runs import write_run

from musicemo.comparison import analyse_replicates, compare, read_replicates
from musicemo.errors import InputError
from musicemo.evaluation import EvaluationSettings
from musicemo.reporting import make_report, render
from musicemo.runs import find_run, open_run

ENDS = {"value": 0.5, "low": 0.25, "high": 0.75}
CEILING = {"reliability": ENDS, "ceiling": 0.8, "reached": {"test": ENDS}}
SCORES = dict.fromkeys(("spearman", "group_alone", "gain", "within", "partial"), ENDS)

#: Every section that `results.json` may have.
MORE: dict[str, Any] = {
    "fingerprint": "a",
    "identity": {"experiment": "b", "labels": "c"},
    "started": "2026-01-02T03:04:05.000000Z",
    "variant": {"hidden": 4},
    "resumed_after_epoch": 1,
    "selection": {
        "monitor": "val/loss",
        "epoch": 3,
        "metrics": {"valence": "spearman", "genre": "accuracy"},
        "criteria": {"val/loss": {"epoch": 3, "tasks": {"valence": {"loss": 1.0, "excess": 0.1, "val": 0.4}}}},
    },
    "gradients": {
        "every": 10,
        "steps": 40,
        "conflict": 0.25,
        "norms": {"valence": 2.0, "genre": 0.5},
        "cosines": {"valence": {"genre": -0.5}, "genre": {"valence": -0.5}},
        "conflicts": {"valence": {"genre": 0.25}},
    },
    "transfer": {"from": "runs/genre", "loaded": ["a"], "new": ["b"], "frozen": []},
    "reliability": {
        "valence": {
            "tracks": 60,
            "raters": {"min": 2, "median": 3.5, "max": 7},
            "spearman": CEILING,
            "pearson": CEILING,
        }
    },
    "controlled": {
        "by": "genre",
        "parts": {
            "test": {"valence": {**SCORES, "tracks": 9, "groups": {"Folk": {"tracks": 3, "spearman": None}}}}
        },
    },
    "calibration": {
        "method": "affine",
        "tasks": {
            "valence": {
                "tracks": 9,
                "map": {"method": "affine", "x": [0.0, 1.0], "y": [1.0, 9.0]},
                "parts": {
                    "test": {name: {"before": 1.0, "after": 0.5} for name in ("rmse", "mae", "ccc", "spearman")}
                },
            },
            "energy": {"skipped": "too few"},
        },
    },
}

#: What a value is replaced by; the last one removes it.
WRONG = (None, "text", 3, -1, 10**17, [], [{}], {}, {"a": {"b": [1]}}, True, "remove")


@pytest.fixture(scope="module")
def directory(tmp_path_factory) -> Path:
    return write_run(tmp_path_factory.mktemp("damage") / "written", epochs=2, **MORE)


def places(value: Any, place: tuple[Any, ...] = ()) -> Iterator[tuple[Any, ...]]:
    """Yield where values stand; of a list, the first."""
    yield place
    pairs = (
        value.items()
        if isinstance(value, dict)
        else list(enumerate(value))[:1]
        if isinstance(value, list)
        else ()
    )
    for key, inner in pairs:
        yield from places(inner, (*place, key))


def replaced(value: Any, place: tuple[Any, ...], new: Any) -> Any:
    """Return a value in which another stands at a place."""
    if not place:
        return new
    first, *rest = place
    changed = dict(value) if isinstance(value, dict) else list(value)
    if not rest and new == "remove":
        del changed[first]
    else:
        changed[first] = replaced(value[first], tuple(rest), new)
    return changed


def read_everything(directory: Path) -> list[str]:
    """Read a run in every way; return the errors, which must be `InputError`."""
    errors = []

    def attempt(read: Callable[[], object]) -> None:
        try:
            read()
        except InputError as error:
            errors.append(str(error))

    def compared() -> None:
        replicates = read_replicates([directory])
        settings = replicates.records[0].evaluation_settings
        rows = compare([replicates], settings=EvaluationSettings(resamples=100)).rows
        analyse_replicates(replicates, rows, settings)

    with any_warnings():
        attempt(lambda: find_run(directory.parent, "a"))
        attempt(lambda: render(make_report(directory)))
        attempt(compared)
    return errors


def damage(directory: Path, name: str, text: str | bytes) -> list[str]:
    """Read a run in which a file holds something else, then give it back its own content."""
    path = directory / name
    before = path.read_bytes()
    try:
        path.write_bytes(text if isinstance(text, bytes) else text.encode())
        return read_everything(directory)
    finally:
        path.write_bytes(before)


def test_a_whole_run_has_no_errors(directory):
    assert read_everything(directory) == []
    assert open_run(directory).problems == []


@pytest.mark.slow
@pytest.mark.parametrize("wrong", range(len(WRONG)))
def test_values_of_other_types_in_results(directory, wrong):
    """Each value of `results.json` in turn; the shapes of the parts are the same, so one is enough."""
    results = json.loads((directory / "results.json").read_text())
    every = [
        place
        for place in places(results)
        if place[:2] not in (("metrics", "train"), ("metrics", "val"))
        and not (len(place) > 4 and "low" in place)
    ]
    assert len(every) > 150
    told = 0
    for place in every[wrong % 5 :: 5]:  # each with several of the wrong values
        if place or WRONG[wrong] != "remove":
            errors = damage(directory, "results.json", json.dumps(replaced(results, place, WRONG[wrong])))
            told += bool(errors)
            assert all("results.json" in error or str(directory) in error for error in errors), (place, errors)
    assert told or WRONG[wrong] == "remove"


@pytest.mark.slow
@pytest.mark.parametrize("name", ["split.json", "environment.json"])
def test_values_of_other_types_in_other_files(directory, name):
    content = json.loads((directory / name).read_text())
    for number, place in enumerate(places(content)):
        wrong = WRONG[number % len(WRONG)]
        if place or wrong != "remove":
            read_everything(directory)
            damage(directory, name, json.dumps(replaced(content, place, wrong)))


HISTORY = [
    '{"epoch": "1"}',
    '{"epoch": 1, "val/loss": "x"}',
    "[]",
    "3",
    '{"val/loss": 1}',
    '{"epoch": 0}',
    '{"epoch"',
]
EXPERIMENT = [
    "split = 3",
    "training = []",
    'evaluation = { confidence = "x" }',
    "evaluation = { a = 1 }",
    "tasks = { valence = 3 }",
    "tasks = { valence = { loss = [1] } }",
    "model = 1",
    "name = 3",
    "dataset = 1979-05-27",
    "transfer = 1.5",
    "a = " + "[" * 1000 + "]" * 1000,
]
PREDICTIONS = [
    "",
    "track,part\n",
    "track,part,task,target,prediction\na,test,valence,1\n",
    "track,part,task,target,prediction\na,test,valence,x,1\n",
    "track,part,task,target,prediction\na,test,valence,nan,1\n",
    "track,part,task,target,prediction\na,test,tempo,1,1\n",
    "track,part,task,target,prediction\na,test,genre,Polka,Folk\n",
    "track,part,task,target,prediction\na,test,valence,1,1\na,test,valence,1,1\n",
    'track,part,task,target,prediction\n"a,test,valence,1,1\n',
    b"\xff\xfe",
]


@pytest.mark.parametrize(
    ("name", "texts"),
    [("history.jsonl", HISTORY), ("experiment.toml", EXPERIMENT), ("predictions.csv", PREDICTIONS)],
)
def test_files_of_another_shape(directory, name, texts):
    for text in texts:
        errors = damage(directory, name, text)
        if name == "predictions.csv":
            assert errors, text


DEEP = "[" * 1000 + "]" * 1000
JSON = {
    "a number that is not finite": '{"status": NaN}',
    "a number that is too large": '{"status": "done", "seed": 1e999}',
    "an integer of many digits": '{"status": "done", "seed": ' + "9" * 5000 + "}",
    "deep": '{"status": "done", "more": ' + DEEP + "}",
    "deeper": '{"status": "done", "more": ' + "[" * 200_000 + "]" * 200_000 + "}",
    "half": '{"status": "do',
    "nothing": "",
    "half a pair": '{"status": "done", "name": "\\ud800"}',
    "not UTF-8": b"\xff",
}


@pytest.mark.parametrize("case", JSON)
def test_json_that_cannot_be_read(directory, case):
    errors = damage(directory, "results.json", JSON[case])
    assert len(errors) == 2
    assert all("written/20260102-030405-seed0/results.json: " in error for error in errors)
    for name in ("split.json", "environment.json", "history.jsonl"):
        assert damage(directory, name, JSON[case]) == []


def test_what_is_not_a_file(directory, tmp_path):
    path = directory / "results.json"
    before = path.read_bytes()
    path.unlink()
    try:
        os.mkfifo(path)  # which would be waited for
        with pytest.raises(InputError, match=r"results\.json: cannot be read: it is not a file"):
            open_run(directory)
        path.unlink()
        path.mkdir()
        with pytest.raises(InputError, match=r"results\.json: "):
            open_run(directory)
        path.rmdir()
    finally:
        path.write_bytes(before)


def test_a_file_that_is_too_large_is_not_read(directory):
    path = directory / "history.jsonl"
    before = path.read_bytes()
    try:
        os.truncate(path, 2**40)
        assert open_run(directory).problems == [
            "history.jsonl: cannot be read: it has 1,099,511,627,776 bytes; at most 268,435,456 are read"
        ]
    finally:
        path.write_bytes(before)


def test_a_damaged_section_is_left_out_and_reported(directory):
    results = json.loads((directory / "results.json").read_text())
    results["selection"]["criteria"]["val/loss"]["epoch"] = "three"
    path = directory / "results.json"
    before = path.read_bytes()
    try:
        path.write_text(json.dumps(results))
        run = open_run(directory)
        assert "selection" not in run.results
        (problem,) = run.problems
        assert problem.startswith(
            "results.json: selection.criteria.val/loss.epoch: input should be a valid integer"
        )
    finally:
        path.write_bytes(before)
