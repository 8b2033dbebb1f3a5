"""Without torchjd or a solver: said when a weighting is made, with the command that mends it, and not before."""

import importlib
import subprocess
import sys

import pytest
from musicemo_builtin.weightings import cagrad, excess_mtl, mean, pcgrad, upgrad
from weighting_steps import TASKS

from musicemo.components import registry
from musicemo.errors import InputError


@pytest.fixture
def without(monkeypatch):
    def hide(*names):
        for name in names:
            monkeypatch.setitem(sys.modules, name, None)

    return hide


@pytest.mark.parametrize(
    ("hidden", "factory", "missing"),
    [
        (["torchjd", "torchjd.aggregation"], pcgrad.PCGrad, "torchjd"),
        (["quadprog"], upgrad.UPGrad, "quadprog"),
        (["cvxpy", "clarabel"], cagrad.CAGrad, "cvxpy and clarabel"),
    ],
)
def test_is_said_at_construction(hidden, factory, missing, without):
    without(*hidden)
    with pytest.raises(InputError, match=rf"needs {missing}, .*pip install 'musicemo\[torchjd\]'"):
        factory(tasks=TASKS)


@pytest.mark.parametrize("factory", [excess_mtl.ExcessMTL, mean.Mean])
def test_what_needs_neither_is_made(factory, without):
    without("torchjd", "torchjd.aggregation", "cvxpy", "quadprog")
    factory(tasks=TASKS)


@pytest.mark.slow
def test_importing_the_weightings_imports_neither():
    modules = [
        claim.entry_point.module for claim in registry.claims("weighting") if claim.distribution == "musicemo"
    ]
    code = "import sys, importlib\nfor name in sys.argv[1:]: importlib.import_module(name)\n"
    code += "assert not {'torchjd', 'cvxpy', 'qpsolvers', 'quadprog'} & set(sys.modules)"
    done = subprocess.run([sys.executable, "-c", code, *modules], capture_output=True, text=True, check=False)
    assert done.returncode == 0, done.stderr
    assert importlib.import_module("torchjd")
