import json
import tomllib

import numpy as np
import pytest
import torch

from musicemo import toml
from musicemo.errors import InputError
from musicemo.experiment.features import stream_of
from musicemo.prediction import TrainedRun, evaluate_run, find_runs


def edit(copied, **changes):
    path = copied / "results.json"
    path.write_text(json.dumps(json.loads(path.read_text()) | changes))


def checkpoint(copied, **changes):
    path = copied / "checkpoints" / "best.pt"
    state = torch.load(path, weights_only=True)
    for name, value in changes.items():
        if value is None:
            del state[name]
        else:
            state[name] = value
    torch.save(state, path)


def test_a_run_is_rebuilt_in_evaluation_mode(run, directory):
    assert run.directory == directory
    assert not any(module.training for module in run.network.modules())
    state = torch.load(directory / "checkpoints" / "best.pt", weights_only=True)
    for name, tensor in run.network.state_dict().items():
        torch.testing.assert_close(tensor, state["network"][name], rtol=0, atol=0)


def test_the_description_is_plain(directory):
    state = torch.load(directory / "checkpoints" / "last.pt", weights_only=True)["description"]
    assert json.loads(json.dumps(state)) == state
    assert state["rows"] == [0, 140]
    assert state["streams"] == {"features": [140, 1]}
    assert [json.loads(table) for table in state["extraction"]] == [
        {"type": "mel-chroma", "grid": "beat", "hop": 512}
    ]
    assert [task["name"] for task in state["tasks"]] == ["valence", "genre"]
    assert state["tasks"][1]["classes"] == ["folk", "jazz", "rock"]


def test_a_folder_that_is_no_run_is_refused(tmp_path):
    with pytest.raises(InputError, match=r"has no results\.json"):
        TrainedRun.load(tmp_path)
    with pytest.raises(InputError, match="there is no such run directory"):
        find_runs(tmp_path / "nowhere")
    with pytest.raises(InputError, match="is not a run directory"):
        find_runs(tmp_path)


@pytest.mark.parametrize("status", ["running", "failed", "interrupted"])
def test_a_run_must_be_finished(components, copied, status):
    edit(copied, status=status)
    shown = {"running": r"interrupted \(killed\)"}.get(status, status)  # since no process works on it
    with pytest.raises(InputError, match=f"the run is not finished .status '{shown}'"):
        TrainedRun.load(copied)


@pytest.mark.parametrize("text", ["{", "[]", "", '"done"'])
def test_damaged_results_are_told(components, copied, text):
    (copied / "results.json").write_text(text)
    with pytest.raises(InputError, match=r"results\.json"):
        find_runs(copied)


def test_a_missing_or_damaged_experiment_is_told(components, copied):
    (copied / "experiment.toml").write_text("name = ")
    with pytest.raises(InputError, match=r"experiment\.toml"):
        TrainedRun.load(copied)
    (copied / "experiment.toml").unlink()
    with pytest.raises(InputError, match=r"experiment\.toml"):
        TrainedRun.load(copied)


def test_a_missing_or_damaged_checkpoint_is_told(components, copied):
    path = copied / "checkpoints" / "best.pt"
    path.write_bytes(path.read_bytes()[:1000])
    with pytest.raises(InputError, match=r"best\.pt: is not a readable checkpoint"):
        TrainedRun.load(copied)
    path.unlink()
    with pytest.raises(InputError, match=r"best\.pt: the checkpoint does not exist"):
        TrainedRun.load(copied)


def test_a_checkpoint_without_a_description_is_of_an_earlier_version(components, copied):
    checkpoint(copied, description=None)
    with pytest.raises(InputError, match="written by an earlier version of musicemo"):
        TrainedRun.load(copied)


@pytest.mark.parametrize(
    "description",
    [
        {},
        [],
        "text",
        {"tasks": [{}], "input_size": 1, "rows": [0, 1], "sync": None, "recipe": None, "lengths": [1, 1, 1]},
        {
            "tasks": [],
            "input_size": 1,
            "rows": [0, 1],
            "sync": None,
            "recipe": {"hop": 0},
            "lengths": [1, 1, 1],
        },
        {"tasks": [], "input_size": 1, "rows": [0, 1], "sync": None, "recipe": None, "lengths": [1]},
    ],
)
def test_a_damaged_description_is_told(components, copied, description):
    checkpoint(copied, description=description)
    with pytest.raises(InputError, match=r"best\.pt: its description is damaged"):
        TrainedRun.load(copied)


@pytest.mark.parametrize("scaling", [{}, {"offset": torch.zeros(3), "scale": torch.ones(3)}, "text"])
def test_a_damaged_scaling_is_told(components, copied, scaling):
    checkpoint(copied, scaling=scaling)
    with pytest.raises(InputError, match=r"best\.pt: its scaling is"):
        TrainedRun.load(copied)


def test_a_checkpoint_of_another_experiment_is_told(components, copied, trained):
    other = trained("training.epochs=1", 'tasks.mood.target="valence"')
    (copied / "checkpoints" / "best.pt").write_bytes((other.directory / "checkpoints" / "best.pt").read_bytes())
    with pytest.raises(InputError, match="the tasks differ"):
        TrainedRun.load(copied)


def test_a_checkpoint_of_another_network_is_told(components, copied):
    path = copied / "experiment.toml"
    path.write_text(path.read_text().replace("hidden = 8", "hidden = 9"))
    with pytest.raises(InputError, match="is of another network"):
        TrainedRun.load(copied)
    checkpoint(copied, network={})
    with pytest.raises(InputError, match="is of another network"):
        TrainedRun.load(copied)


def test_a_model_that_is_not_installed_is_told(components, copied):
    path = copied / "experiment.toml"
    path.write_text(path.read_text().replace('type = "means"', 'type = "gone"'))
    with pytest.raises(InputError, match=r"experiment\.toml:\d+: model\.type: no model has the name 'gone'"):
        TrainedRun.load(copied)


def test_packages_that_are_not_installed_are_proposed_from_where_they_came(components, copied):
    path = copied / "environment.json"
    recorded = {"plugins": {"sonatina": "1.2", "fugue": "0.3"}, "origins": {"fugue": "--editable ../fugue"}}
    path.write_text(json.dumps(json.loads(path.read_text()) | recorded))
    experiment = copied / "experiment.toml"
    experiment.write_text(experiment.read_text().replace('type = "means"', 'type = "gone"'))
    with pytest.raises(InputError) as caught:
        TrainedRun.load(copied)
    text = str(caught.value)
    assert "requires sonatina 1.2, which is not installed: pip install sonatina==1.2" in text
    assert "requires fugue 0.3, which is not installed: pip install --editable ../fugue" in text


def test_only_the_model_and_the_features_need_to_be_installed(components, run, copied):
    path = copied / "experiment.toml"
    tables = tomllib.loads(path.read_text())
    tables["dataset"]["type"] = "gone-dataset"
    tables["weighting"] = {"type": "./gone.py:Weighting", "what": 1}
    tables["plugins"] = {"gone-tracker": {"server": "http://localhost"}}
    for task in tables["tasks"].values():
        task["loss"] = [{"type": "gone-loss", "weight": 1.0, "slope": 2}]
    path.write_text(toml.write(tables))
    loaded = TrainedRun.load(copied)
    clips = [torch.rand(30, run.description.input_size).numpy()]
    for name, prediction in run.predict(clips).items():
        np.testing.assert_array_equal(loaded.predict(clips)[name], prediction)
    with pytest.raises(InputError, match="no dataset has the name 'gone-dataset'"):
        evaluate_run(loaded)


class Permitted:
    """An extractor that can be allowed to execute code of a file."""

    sample_rate, outputs, fingerprint, executes = 1000, {"one": 1}, "1", "trust"

    def __init__(self, *, trust: bool = False) -> None:
        self.trust = trust

    def extract(self, samples, outputs):
        raise AssertionError


@pytest.mark.parametrize("trust", [True, False])
def test_a_run_that_executes_code_of_files_is_loaded_only_if_it_is_trusted(install, copied, trust):
    install.beside()
    install("features", "permitted", Permitted)
    path = copied / "experiment.toml"
    path.write_text(f'{path.read_text()}\n[features]\ntype = "permitted"\ntrust = {str(trust).lower()}\n')
    if trust:
        with pytest.raises(
            InputError, match=r"features.trust: lets 'permitted' execute .* with --trust-local-code"
        ):
            TrainedRun.load(copied)
    assert TrainedRun.load(copied, trust_local_code=trust).trusted is trust


def test_ready_made_features_cannot_name_an_extractor_that_executes_code(install):
    install("features", "permitted", Permitted)
    assert stream_of({"type": "permitted", "trust": False}).type == "permitted"
    with pytest.raises(
        InputError, match=r"'permitted': trust is allowed in the experiment's own \[features\] only"
    ):
        stream_of({"type": "permitted", "trust": True})
