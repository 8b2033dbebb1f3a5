"""The tracker `mlflow`, with MLflow's store in a folder: a database takes seconds to set up."""

from __future__ import annotations

import importlib.util
import warnings

import pytest
from complaints import warns
from harness import load, run_all
from musicemo_builtin.observers.mlflow import MLflow

from musicemo.errors import InputError
from musicemo.hookspecs import hookimpl
from musicemo.runs import open_run

pytest.importorskip("mlflow", reason="needs MLflow: pip install 'musicemo[mlflow]'")
pytestmark = [pytest.mark.usefixtures("fakes"), pytest.mark.slow]


class Interrupts:
    @hookimpl
    def musicemo_epoch_started(self, epoch):
        if epoch == 2:
            raise KeyboardInterrupt("by the user")


@pytest.fixture
def store(tmp_path, monkeypatch):
    """Return the address of a store, and a function that reads its runs."""
    monkeypatch.setenv("MLFLOW_ALLOW_FILE_STORE", "true")
    uri = (tmp_path / "mlruns").as_uri()

    def read():
        with warnings.catch_warnings():
            warnings.simplefilter("ignore")
            from mlflow.tracking import MlflowClient

            client = MlflowClient(tracking_uri=uri)
            experiment = client.get_experiment_by_name("study")
            runs = client.search_runs([experiment.experiment_id], order_by=["attributes.run_name ASC"])
        parents = [run for run in runs if run.data.tags["musicemo.kind"] == "experiment"]
        return client, parents, [run for run in runs if run not in parents]

    return uri, read


def test_seeds_are_children_of_the_experiment(store, tmp_path):
    uri, read = store
    outcomes = run_all(tmp_path, "seeds=[0, 1]", plugins=[MLflow(tracking_uri=uri, experiment="study")])
    client, (parent,), children = read()
    assert (parent.info.run_name, parent.info.status) == ("small", "FINISHED")
    assert [run.info.run_name for run in children] == ["seed 0", "seed 1"]
    for run, outcome in zip(children, outcomes, strict=True):
        assert run.info.status == "FINISHED"
        assert run.data.tags["mlflow.parentRunId"] == parent.info.run_id
        assert run.data.tags["musicemo.run"] == f"small/{outcome.directory.name}"
        assert run.data.tags["musicemo.fingerprint"] == outcome.results["fingerprint"]
        assert run.data.params["seed"] == str(outcome.seed)
        assert run.data.params["training.optimizer.type"] == "adam"
        history = open_run(outcome.directory).history
        logged = client.get_metric_history(run.info.run_id, "val/valence/spearman")
        assert [(one.step, one.value) for one in logged] == [
            (record["epoch"], record["val/valence/spearman"]) for record in history
        ]
        metrics = outcome.results["metrics"]["test"]["valence"]
        assert run.data.metrics["final/test/valence/rmse"] == metrics["rmse"]["value"]
        files = {file.path for file in client.list_artifacts(run.info.run_id)}
        assert {"experiment.toml", "results.json", "history.jsonl", "predictions.csv"} <= files
        assert (
            '"done"'
            in (tmp_path / "mlruns")
            .joinpath(*run.info.artifact_uri.split("/")[-3:], "results.json")
            .read_text()
        )


def test_an_interrupted_run_is_killed_and_its_resumption_continues_it(store, tmp_path):
    uri, read = store
    tracker = MLflow(tracking_uri=uri, experiment="study")
    with pytest.raises(KeyboardInterrupt):
        run_all(tmp_path, plugins=[Interrupts(), tracker])
    _, (parent,), (run,) = read()
    assert (parent.info.status, run.info.status) == ("KILLED", "KILLED")
    assert run.data.tags["musicemo.error"] == "by the user"
    run_all(tmp_path, plugins=[tracker], resume=True)
    client, (parent,), (again,) = read()
    assert (parent.info.status, again.info.status) == ("FINISHED", "FINISHED")
    assert again.info.run_id == run.info.run_id
    assert "musicemo.error" not in again.data.tags
    assert [one.step for one in client.get_metric_history(run.info.run_id, "train/loss")] == [1, 2, 3]


def test_a_recorded_run_is_imported_once_with_its_times(store, tmp_path):
    uri, read = store
    (outcome,) = run_all(tmp_path)
    tracker = MLflow(tracking_uri=uri, experiment="study", artifacts=("results.json", "checkpoints/best.pt"))
    record = open_run(outcome.directory)
    for _ in range(2):
        tracker.import_run(record)
    client, (parent,), (run,) = read()
    assert (parent.info.status, run.info.status) == ("FINISHED", "FINISHED")
    assert run.info.start_time == int(record.started.timestamp() * 1000) <= run.info.end_time
    for key in ("val/loss", "final/test/valence/rmse"):
        times = [one.timestamp for one in client.get_metric_history(run.info.run_id, key)]
        assert len(times) == (3 if key == "val/loss" else 1)
        assert all(run.info.start_time <= time <= run.info.end_time for time in times)
    assert [file.path for file in client.list_artifacts(run.info.run_id)] == ["checkpoints", "results.json"]
    assert [file.path for file in client.list_artifacts(run.info.run_id, "checkpoints")] == [
        "checkpoints/best.pt"
    ]


def test_a_server_that_cannot_be_reached_does_not_end_the_run(tmp_path, monkeypatch):
    monkeypatch.setenv("MLFLOW_HTTP_REQUEST_MAX_RETRIES", "0")
    with warns(r"MLflow: .* is not tracked further; `musicemo import`"):
        (outcome,) = run_all(tmp_path, plugins=[MLflow(tracking_uri="http://127.0.0.1:9")])
    assert outcome.results["status"] == "done"


def test_a_password_in_the_address_is_refused():
    with pytest.raises(InputError, match="contains a password"):
        MLflow(tracking_uri="http://me:secret@localhost:5000")


def test_without_mlflow_the_table_is_an_error(monkeypatch, fakes, tmp_path):
    fakes("plugin", "mlflow", MLflow)
    experiment = load(tmp_path, "plugins.mlflow={}")
    monkeypatch.setattr(importlib.util, "find_spec", lambda name: None)
    with pytest.raises(InputError, match=r"pip install 'musicemo\[mlflow\]'"):
        experiment.plugins["mlflow"].build()
