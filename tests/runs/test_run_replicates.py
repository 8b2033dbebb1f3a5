import pytest
from complaints import warns
from recorded_runs import write_run

from musicemo.errors import InputError
from musicemo.runs import find_replicates

FIRST, SECOND, THIRD = (f"20260102-03040{second}-run" for second in range(3))


def test_finished_replicates_in_the_order_of_seeds_and_folds(tmp_path):
    write_run(tmp_path, FIRST, seed=1)
    write_run(tmp_path, SECOND, seed=0)
    write_run(tmp_path, THIRD, seed=7, status="failed")
    assert [path.name for path in find_replicates(tmp_path)] == [SECOND, FIRST]


def test_unfinished_ones_stand_in_where_nothing_is_finished(tmp_path):
    write_run(tmp_path, FIRST, seed=0)
    write_run(tmp_path, SECOND, seed=0, status="failed")
    write_run(tmp_path, THIRD, seed=1, status="interrupted")
    assert [path.name for path in find_replicates(tmp_path, unfinished=True)] == [FIRST, THIRD]


def test_a_finished_run_replaces_an_earlier_unfinished_one(tmp_path):
    write_run(tmp_path, FIRST, status="failed")
    write_run(tmp_path, SECOND)
    assert [path.name for path in find_replicates(tmp_path, unfinished=True)] == [SECOND]


def test_runs_that_never_began(tmp_path):
    path = write_run(tmp_path, FIRST, status="failed")
    (path / "experiment.toml").unlink()
    with pytest.raises(InputError, match="none of its 1 runs has begun"):
        find_replicates(tmp_path, unfinished=True)


def test_another_version_of_the_experiment_is_left_out(tmp_path):
    write_run(tmp_path, FIRST, seed=0)
    write_run(tmp_path, SECOND, seed=1, epochs=9)
    write_run(tmp_path, THIRD, seed=2, epochs=9, status="failed")
    with warns("1 finished run of another version of the experiment or of other data left out"):
        assert [path.name for path in find_replicates(tmp_path)] == [SECOND]


def test_runs_whose_value_is_nan_are_of_one_version(tmp_path):
    for seed, name in enumerate((FIRST, SECOND)):
        path = write_run(tmp_path, name, seed=seed) / "experiment.toml"
        path.write_text(path.read_text() + "\n[extra]\nlimit = nan\n")
    assert [path.name for path in find_replicates(tmp_path)] == [FIRST, SECOND]
