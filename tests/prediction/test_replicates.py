import json
import shutil

import pytest
from complaints import warns

from musicemo.errors import InputError
from musicemo.prediction import find_runs


@pytest.fixture
def folder(replicates, tmp_path):
    """Return a copy of the replicates' folder that can be changed."""
    return shutil.copytree(replicates, tmp_path / "runs" / "songs")


def again(folder, name, **changes):
    """Copy the first run to a later one, with changes in its results."""
    first = sorted(folder.iterdir())[0]
    path = shutil.copytree(first, folder / name)
    results = json.loads((path / "results.json").read_text()) | changes
    (path / "results.json").write_text(json.dumps(results))
    return path


def seeds(runs):
    return [run.results["seed"] for run in runs]


def test_a_run_directory_is_one_run(directory):
    assert [run.directory for run in find_runs(directory)] == [directory]


def test_an_experiments_folder_is_its_replicates(replicates):
    assert seeds(find_runs(replicates)) == [0, 1]


def test_of_a_seed_that_was_run_twice_the_later_one_counts(components, folder):
    later = again(folder, "29990101-000000-seed0")
    assert find_runs(folder)[0].directory == later
    assert seeds(find_runs(folder)) == [0, 1]


def test_runs_that_are_not_finished_do_not_count(components, folder):
    again(folder, "29990101-000000-seed7", status="failed", seed=7)
    (folder / "empty").mkdir()
    assert seeds(find_runs(folder)) == [0, 1]


def test_a_damaged_run_is_passed_over(components, folder):
    (again(folder, "29990101-000000-seed7") / "results.json").write_text("{")
    with warns("The run is ignored"):
        assert seeds(find_runs(folder)) == [0, 1]


def test_another_version_of_the_experiment_is_left_out(components, folder):
    later = again(folder, "29990101-000000-seed5", seed=5)
    text = (later / "experiment.toml").read_text()
    (later / "experiment.toml").write_text(text.replace("epochs = 2", "epochs = 3"))
    with warns("2 finished runs of another version of the experiment or"):
        assert seeds(find_runs(folder)) == [5]


def test_the_seed_the_fold_and_the_device_are_no_other_version(components, folder):
    later = again(folder, "29990101-000000-seed5", seed=5)
    text = (later / "experiment.toml").read_text()
    text = text.replace("seed = 0", "seed = 5", 1).replace('device = "cpu"', 'device = "auto"')
    (later / "experiment.toml").write_text(text)
    assert seeds(find_runs(folder)) == [0, 1, 5]


def test_none_finished_is_an_error(components, folder):
    for path in folder.glob("*/results.json"):
        path.write_text('{"status": "failed"}')
    with pytest.raises(InputError, match="none of its 2 runs is finished"):
        find_runs(folder)


def test_the_folder_of_all_runs_names_its_experiments(components, folder):
    with pytest.raises(InputError, match="is not a run directory; it holds those of songs"):
        find_runs(folder.parent)
