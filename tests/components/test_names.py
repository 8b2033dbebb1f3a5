"""Names, who claims them, and what they stand for."""

import importlib.metadata
import os
import subprocess
import sys

import fakes as components
import pytest

from musicemo.components import registry
from musicemo.errors import InputError


def test_an_unknown_name_is_answered_with_choices_and_the_nearest(fakes):
    with pytest.raises(InputError) as caught:
        registry.load("weighting", "learnt")
    assert str(caught.value) == (
        "no weighting has the name 'learnt'; did you mean 'learned'? (installed: constant, learned, sum). If "
        "another package provides it, install that package with pip"
    )
    with pytest.raises(InputError) as caught:
        registry.load("model", "transformer")
    assert str(caught.value).startswith("no model has the name 'transformer' (installed: means). ")


def test_nothing_installed(install):
    with pytest.raises(InputError, match=r"no model has the name 'cnn' \(installed: none installed\)"):
        registry.load("model", "cnn")


def test_a_name_belongs_to_its_kind(fakes):
    assert registry.load("model", "means") is components.MeanModel
    with pytest.raises(InputError, match="no loss has the name 'means'"):
        registry.load("loss", "means")


def test_a_duplicate_names_both_claimants(install):
    install("model", "means", components.MeanModel, "first-package", "1.0")
    install("model", "means", "other.place:Model", "second-package", "2.1")
    with pytest.raises(InputError) as caught:
        registry.load("model", "means")
    assert str(caught.value) == (
        "model 'means' is provided more than once, by first-package 1.0 (fakes:MeanModel) and "
        "second-package 2.1 (other.place:Model). Uninstall all but one, or ignore one with --without DISTRIBUTION"
    )
    assert [(claim.name, claim.distribution) for claim in registry.claims("model")] == [
        ("means", "first-package"),
        ("means", "second-package"),
    ]


def test_a_stranger_who_claims_the_name_of_a_built_in(fakes_beside):
    fakes_beside("loss", "ccc", components.SquaredError, "stranger", "0.1")
    with pytest.raises(InputError, match=r"by musicemo .*\(musicemo_builtin.* and stranger 0\.1"):
        registry.load("loss", "ccc")


def test_the_same_claim_seen_twice_is_one(install):
    install("model", "means", components.MeanModel)
    install("model", "means", components.MeanModel)
    assert len(registry.claims("model")) == 1
    assert registry.load("model", "means") is components.MeanModel


@pytest.mark.parametrize(
    ("code", "reason"),
    [
        (
            "import a_module_that_is_not_there",
            "ModuleNotFoundError: No module named 'a_module_that_is_not_there'",
        ),
        ("1 / 0", "ZeroDivisionError: division by zero"),
        ("raise SystemExit('no licence')", "SystemExit: no licence"),
        ("def broken(:", "SyntaxError"),
        ("", "AttributeError: module 'broken_module' has no attribute 'Model'"),
    ],
)
def test_a_broken_import_is_reported_with_its_distribution(fakes, tmp_path, monkeypatch, code, reason):
    components.write_module(tmp_path, "broken_module", code)
    monkeypatch.syspath_prepend(tmp_path)
    monkeypatch.delitem(sys.modules, "broken_module", raising=False)
    fakes("model", "broken", "broken_module:Model", "some-package", "3.2")
    with pytest.raises(InputError) as caught:
        registry.load("model", "broken")
    assert str(caught.value).startswith(
        "model 'broken' of some-package 3.2 (broken_module:Model) cannot be imported: "
    )
    assert reason in str(caught.value)
    assert [claim.name for claim in registry.claims("model")] == ["broken", "means"]
    assert registry.load("model", "means") is components.MeanModel


def test_listing_imports_nothing(tmp_path):
    """In a process of its own, with a real distribution whose module leaves a trace when it is imported."""
    trace = tmp_path / "imported"
    components.write_module(tmp_path, "tracing_module", f"open({str(trace)!r}, 'w').close()\nModel = object")
    components.write_distribution(tmp_path, [("model", "tracing", "tracing_module:Model")], "tracer", "4.5")
    code = """if True:
        import sys
        from musicemo.components import registry
        for kind in registry.GROUPS:
            for claim in registry.claims(kind):
                print(claim.kind, claim.name, claim.distribution, claim.version)
        assert "tracing_module" not in sys.modules and "torch" not in sys.modules
        assert not any(name.startswith("musicemo_builtin") for name in sys.modules)
        open(sys.argv[1] + ".listed", "w").close()
        registry.load("model", "tracing")
    """
    environment = {"PYTHONPATH": str(tmp_path), "PATH": "/usr/bin:/bin"}
    done = subprocess.run(
        [sys.executable, "-c", code, str(trace)], capture_output=True, text=True, env=environment, check=False
    )
    assert done.returncode == 0, done.stderr
    assert "model tracing tracer 4.5" in done.stdout
    assert "model cnn musicemo" in done.stdout
    assert trace.exists(), "loading does import"


def test_installed_components_are_listed_with_their_distribution():
    distribution = importlib.metadata.distribution("musicemo")
    for kind, name in (("dataset", "synth"), ("model", "cnn"), ("loss", "mse"), ("weighting", "constant")):
        claim = next(claim for claim in registry.claims(kind) if claim.name == name)
        assert (claim.kind, claim.distribution, claim.version) == (kind, "musicemo", distribution.version)


def test_claims_without_a_distribution(install, monkeypatch):
    point = importlib.metadata.EntryPoint("lonely", "fakes:MeanModel", "musicemo.models")
    monkeypatch.setattr(registry, "entry_points", lambda group: [point])
    assert registry.claims("model")[0].distribution == "unknown"


def test_without_in_an_environment_that_is_cleared_meanwhile(monkeypatch):
    monkeypatch.delenv("MUSICEMO_DISABLE_PLUGINS", raising=False)
    with registry.without(["progress"]):
        del os.environ["MUSICEMO_DISABLE_PLUGINS"]  # monkeypatch would put it back for the tests that follow
