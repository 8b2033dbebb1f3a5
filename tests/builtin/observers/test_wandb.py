"""The tracker `wandb`, offline: its files are read back."""

from __future__ import annotations

import json
import struct
import time

import pytest
from complaints import warns
from harness import run_all
from musicemo_builtin.observers.wandb import WandB

from musicemo.hookspecs import hookimpl
from musicemo.runs import open_run

pytest.importorskip("wandb", reason="needs wandb: pip install 'musicemo[wandb]'")
pytestmark = [pytest.mark.usefixtures("fakes"), pytest.mark.slow]


class Interrupts:
    @hookimpl
    def musicemo_epoch_started(self, epoch):
        if epoch == 2:
            raise KeyboardInterrupt


@pytest.fixture(autouse=True)
def _without_a_key(monkeypatch, tmp_path):
    monkeypatch.setenv("HOME", str(tmp_path / "home"))
    for name in ("WANDB_API_KEY", "WANDB_MODE"):
        monkeypatch.delenv(name, raising=False)


def records(content):
    """Yield the records of a W&B file: a log of LevelDB with blocks of 32 KiB after a header of 7 bytes."""
    from wandb.proto import wandb_internal_pb2

    assert content[:4] == b":W&B"
    place, parts = 7, b""
    while place + 7 <= len(content):
        if 32768 - place % 32768 < 7:
            place += 32768 - place % 32768
            continue
        _, length, kind = struct.unpack_from("<IHB", content, place)
        parts += content[place + 7 : place + 7 + length]
        place += 7 + length
        if kind in (1, 4):  # whole, or the last part
            record = wandb_internal_pb2.Record()
            record.ParseFromString(parts)
            yield record
            parts = b""


def values(items):
    return {item.key or "/".join(item.nested_key): json.loads(item.value_json) for item in items}


def read(folder):
    """Return the offline runs in a folder, which W&B's process may still be writing."""
    for _ in range(50):
        runs = read_once(folder)
        if all("exit" in run for run in runs):
            break
        time.sleep(0.1)
    return sorted(runs, key=lambda run: run["run"].start_time.ToNanoseconds())


def read_once(folder):
    """Return the runs in files: the run, its history by step, its summary, exit code and files."""
    runs = []
    for file in sorted(folder.glob("wandb/offline-run-*/run-*.wandb")):
        run = {"history": {}, "summary": {}, "files": {path.name for path in (file.parent / "files").iterdir()}}
        for record in records(file.read_bytes()):
            kind = record.WhichOneof("record_type")
            if kind == "run":
                run["run"] = record.run
            elif kind == "history":
                logged = values(record.history.item)
                run["history"][logged["_step"]] = logged
            elif kind == "summary":
                run["summary"] |= values(record.summary.update)
            elif kind == "exit":
                run["exit"] = record.exit.exit_code
        runs.append(run)
    return runs


def test_seeds_are_a_group(tmp_path):
    outcomes = run_all(tmp_path, "seeds=[0, 1]", plugins=[WandB(project="study", mode="offline")])
    runs = read(tmp_path / "runs")
    assert [run["run"].display_name for run in runs] == ["seed 0", "seed 1"]
    for run, outcome in zip(runs, outcomes, strict=True):
        assert (run["run"].run_group, run["run"].project, run["exit"]) == ("small", "study", 0)
        config = values(run["run"].config.update)
        assert config["seed"] == outcome.seed
        assert config["training.optimizer.type"] == "adam"
        history = open_run(outcome.directory).history
        assert {step: logged["val/loss"] for step, logged in run["history"].items()} == {
            record["epoch"]: pytest.approx(record["val/loss"]) for record in history
        }
        value = outcome.results["metrics"]["test"]["valence"]["rmse"]["value"]
        assert run["summary"]["final/test/valence/rmse"] == pytest.approx(value)
        assert {"results.json", "experiment.toml", "predictions.csv"} <= run["files"]


def test_an_interrupted_run_is_closed_as_killed_and_continued_in_the_same_run(tmp_path):
    tracker = WandB(mode="offline")
    with pytest.raises(KeyboardInterrupt):
        run_all(tmp_path, plugins=[Interrupts(), tracker])
    (outcome,) = run_all(tmp_path, plugins=[tracker], resume=True)
    first, second = read(tmp_path / "runs")
    assert first["run"].run_id == second["run"].run_id
    assert (first["exit"], second["exit"]) == (255, 0)
    assert (list(first["history"]), list(second["history"])) == ([1], [2, 3])
    assert outcome.results["status"] == "done"


def test_a_recorded_run_is_imported_once(tmp_path):
    (outcome,) = run_all(tmp_path)
    for _ in range(2):
        WandB(mode="offline", folder=tmp_path).import_run(open_run(outcome.directory))
    (run,) = read(tmp_path)
    assert list(run["history"]) == [1, 2, 3]
    assert run["exit"] == 0


def test_without_a_key_the_run_goes_on(tmp_path):
    with warns(r"WandB: RuntimeError: there is no API key\. .*`musicemo import`"):
        (outcome,) = run_all(tmp_path, plugins=[WandB()])
    assert outcome.results["status"] == "done"
