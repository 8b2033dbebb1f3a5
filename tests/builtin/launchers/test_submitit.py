"""The launcher ``submitit``, with processes of this machine as its cluster."""

import sys

import pytest
from musicemo_builtin.launchers.submitit import Submitit

from musicemo.testing import check_launcher


def test_without_submitit_the_command_that_installs_it_is_named(monkeypatch):
    monkeypatch.setitem(sys.modules, "submitit", None)
    with pytest.raises(ImportError, match=r"pip install 'musicemo\[submitit\]'"):
        Submitit()


@pytest.mark.slow
def test_contract(tmp_path):
    pytest.importorskip("submitit", reason="needs the library submitit")
    local = {"cluster": "local", "folder": str(tmp_path), "poll": 0.1}
    check_launcher("submitit", {**local, "jobs": 2, "attempts": 2})


@pytest.mark.slow
def test_a_lost_run_is_resumed_and_all_are_those_of_one_process(losing_a_worker):
    pytest.importorskip("submitit", reason="needs the library submitit")
    losing_a_worker(
        "--launcher", "submitit", "--jobs", "2", "--set", "launcher={type='submitit',cluster='local'}"
    )
