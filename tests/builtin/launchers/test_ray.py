"""The launcher ``ray``, with a real Ray on this machine."""

import sys

import pytest
from musicemo_builtin.launchers.ray import Ray

from musicemo.contracts import Needs
from musicemo.testing import check_launcher


def test_without_ray_the_command_that_installs_it_is_named(monkeypatch):
    monkeypatch.setitem(sys.modules, "ray", None)
    with pytest.raises(ImportError, match=r"pip install 'musicemo\[ray\]'"):
        Ray()


@pytest.mark.slow
@pytest.mark.timeout(900)  # its processes start slowly beside other tests
@pytest.mark.filterwarnings("ignore")  # Ray's own
def test_contract():
    ray = pytest.importorskip("ray", reason="needs the library ray")
    ray.init(
        num_cpus=2, include_dashboard=False, log_to_driver=False, logging_level="error"
    )  # which is then used
    try:
        check_launcher("ray", {"jobs": 2, "attempts": 2})
    finally:
        ray.shutdown()


@pytest.mark.slow
def test_a_lost_run_is_resumed_and_all_are_those_of_one_process(losing_a_worker):
    pytest.importorskip("ray", reason="needs the library ray")
    losing_a_worker("--launcher", "ray", "--jobs", "2")


@pytest.mark.slow
@pytest.mark.parametrize(
    ("parameters", "needs", "workers"),
    [
        ({"jobs": 3}, Needs(), 3),
        ({"jobs": 300}, Needs(), 100),
        ({"address": "auto"}, Needs(), 100),
        ({"gpus": 0.25}, Needs(), 100),
    ],
)
def test_a_cluster_decides_how_many_runs_are_executed(parameters, needs, workers):
    pytest.importorskip("ray", reason="needs the library ray")
    assert Ray(**parameters).workers(100, needs) == workers


@pytest.mark.slow
def test_an_interruption_is_recorded_by_every_run(interrupted):
    pytest.importorskip("ray", reason="needs the library ray")
    interrupted("--launcher", "ray", "--jobs", "2")
