import importlib.metadata
import subprocess
import sys
import warnings
from pathlib import Path
from typing import TYPE_CHECKING, Annotated, Literal

import fakes as components
import pytest
from pydantic import Field, ValidationError

from musicemo import registry
from musicemo.contracts import PROVIDED
from musicemo.errors import InputError, RunError
from musicemo.hookspecs import hookimpl

if TYPE_CHECKING:
    from nowhere import Unknown

# Names.


def test_an_unknown_name_is_answered_with_choices_and_the_nearest(fakes):
    with pytest.raises(InputError) as caught:
        registry.load("weighting", "learnt")
    assert str(caught.value) == (
        "no weighting is called 'learnt'; did you mean 'learned'? (installed: constant, learned, sum); one of a "
        "package of its own comes with pip install PACKAGE"
    )
    with pytest.raises(InputError) as caught:
        registry.load("model", "transformer")
    assert str(caught.value).startswith("no model is called 'transformer' (installed: means); ")


def test_nothing_installed(install):
    with pytest.raises(InputError, match=r"no model is called 'cnn' \(installed: none installed\)"):
        registry.load("model", "cnn")


def test_a_name_belongs_to_its_kind(fakes):
    assert registry.load("model", "means") is components.MeanModel
    with pytest.raises(InputError, match="no loss is called 'means'"):
        registry.load("loss", "means")


def test_a_duplicate_names_both_claimants(install):
    install("model", "means", components.MeanModel, "first-package", "1.0")
    install("model", "means", "other.place:Model", "second-package", "2.1")
    with pytest.raises(InputError) as caught:
        registry.load("model", "means")
    assert str(caught.value) == (
        "model 'means' is claimed more than once, by first-package 1.0 (fakes:MeanModel) and "
        "second-package 2.1 (other.place:Model); uninstall all but one, or leave one out with --without DISTRIBUTION"
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
        from musicemo import registry
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


# The schema of a constructor.


class Everything:
    def __init__(
        self,
        whole: int,
        *,
        number: float = 0.5,
        switch: bool = False,
        name: str | None = None,
        size: Annotated[int, Field(gt=0, le=10)] = 3,
        norm: Literal["l2", "kl"] = "l2",
        folder: Path = Path("data"),
        pair: tuple[int, int] = (1, 2),
        weights: dict[str, float] | None = None,
        input_size: int = 0,
        **more: object,
    ) -> None:
        self.whole = whole


@pytest.fixture
def schema():
    return registry.schema(Everything, PROVIDED["model"])


def errors(schema, table) -> dict[tuple, str]:
    with pytest.raises(ValidationError) as caught:
        registry.validate(schema, table)
    return {details["loc"]: details["type"] for details in caught.value.errors()}


def test_the_signature_is_the_schema(schema):
    assert list(schema.model_fields) == [
        *("whole", "number", "switch", "name", "size", "norm", "folder", "pair", "weights")
    ]
    found = registry.validate(schema, {"whole": 1})
    assert found.model_dump() == {
        **{"whole": 1, "number": 0.5, "switch": False, "name": None, "size": 3, "norm": "l2"},
        **{"folder": Path("data"), "pair": (1, 2), "weights": None},
    }


def test_provided_parameters_are_no_keys(schema):
    assert errors(schema, {"whole": 1, "input_size": 12}) == {("input_size",): "extra_forbidden"}
    assert "input_size" in registry.schema(Everything).model_fields


def test_every_error_is_found(schema):
    assert errors(schema, {"size": 0, "norm": "l1", "extra": 1}) == {
        ("whole",): "missing",
        ("size",): "greater_than",
        ("norm",): "literal_error",
        ("extra",): "extra_forbidden",
    }


@pytest.mark.parametrize(
    ("key", "value", "expected"),
    [
        ("number", 3, 3.0),
        ("folder", "a/b", Path("a/b")),
        ("pair", [3, 4], (3, 4)),
        ("weights", {"a": 1, "b": 0.5}, {"a": 1.0, "b": 0.5}),
        ("name", "x", "x"),
    ],
)
def test_toml_types_are_taken_as_they_are_meant(schema, key, value, expected):
    found = getattr(registry.validate(schema, {"whole": 1, key: value}), key)
    assert found == expected
    assert type(found) is type(expected)


@pytest.mark.parametrize(
    ("key", "value"),
    [
        ("whole", "3"),
        ("whole", True),
        ("whole", 3.0),
        ("number", "0.5"),
        ("number", True),
        ("switch", 1),
        ("switch", "true"),
        ("name", 3),
        ("size", 11),
        ("folder", 3),
        ("pair", [1]),
        ("pair", [1, "2"]),
        ("pair", [1, 2, 3]),
    ],
)
def test_types_are_strict(schema, key, value):
    assert [loc[0] for loc in errors(schema, {"whole": 1, key: value})] == [key]


def test_components_without_parameters():
    class Plain:
        pass

    def function() -> Plain:
        return Plain()

    for component in (Plain, function, components.SquaredError):
        assert errors(registry.schema(component), {"x": 1}) == {("x",): "extra_forbidden"}
        registry.validate(registry.schema(component), {})


def test_a_function_may_be_a_component():
    def build(*, size: int = 3) -> object:
        return object()

    assert registry.validate(registry.schema(build), {"size": 4}).model_dump() == {"size": 4}


def test_parameters_named_like_pydantics_own(recwarn):
    def build(*, copy: bool = False, schema: str = "a", json: int = 1, model_type: str = "x") -> object:
        return object()

    table = {"copy": True, "schema": "b", "json": 2, "model_type": "y"}
    assert registry.validate(registry.schema(build), table).model_dump() == table
    found = registry.validate(registry.schema(build), {})
    assert [getattr(found, name) for name in table] == [False, "a", 1, "x"]
    assert not recwarn


def test_an_annotation_that_cannot_be_resolved_is_the_components_fault():
    def build(*, size: "Unknown") -> object:
        return object()

    with pytest.raises(
        InputError, match=r"the parameters of test_registry\.build cannot be read: NameError.*Unknown"
    ):
        registry.schema(build)


def test_a_parameter_without_annotation_takes_anything():
    def build(size=3) -> object:
        return object()

    assert registry.validate(registry.schema(build), {"size": [1, "a"]}).size == [1, "a"]


# Hooks.


class Recorder:
    def __init__(self) -> None:
        self.seen = []

    @hookimpl
    def musicemo_epoch_started(self, epoch):
        self.seen.append(epoch)

    @hookimpl
    def musicemo_run_failed(self, run, error):
        self.seen.append((run, error))


class Misspelt:
    @hookimpl
    def musicemo_epoch_begun(self, run):
        pass


class WrongArguments:
    @hookimpl
    def musicemo_epoch_started(self, epoch):
        pass

    @hookimpl
    def musicemo_run_started(self, trainer):
        pass


class Broken(Recorder):
    @hookimpl
    def musicemo_epoch_started(self, epoch):
        self.seen.append(epoch)
        raise ValueError("broken")


def test_hooks_receive_the_arguments_that_they_name():
    hooks, recorder = registry.Hooks(), Recorder()
    hooks.register(recorder, "recorder")
    hooks("epoch_started", run=None, epoch=3)
    hooks("run_failed", run="run", error="error")
    hooks("run_finished", run=None, results={})
    assert recorder.seen == [3, ("run", "error")]


def test_a_class_is_made_without_arguments():
    hooks = registry.Hooks()
    hooks.register(Recorder, "recorder")
    hooks("epoch_started", run=None, epoch=3)
    assert hooks.manager.get_plugin("recorder").seen == [3]


def test_a_misspelt_hook_is_refused():
    hooks, recorder = registry.Hooks(), Recorder()
    with pytest.raises(
        InputError, match=r"plugin 'wrong': unknown hook 'musicemo_epoch_begun'.*musicemo_epoch_started"
    ):
        hooks.register(Misspelt(), "wrong")
    hooks.register(recorder, "recorder")
    hooks("epoch_started", run=None, epoch=1)
    assert recorder.seen == [1]


def test_an_argument_that_a_hook_does_not_have_is_refused():
    hooks = registry.Hooks()
    with pytest.raises(InputError, match=r"plugin 'wrong': .*\n?.*trainer"):
        hooks.register(WrongArguments(), "wrong")
    assert not hooks.manager.get_plugins()
    hooks("epoch_started", run=None, epoch=1)


def test_a_hook_wrapper_is_refused_since_it_would_never_run():
    class Wrapper:
        @hookimpl(wrapper=True)
        def musicemo_run_finished(self):
            yield

    hooks = registry.Hooks()
    with pytest.raises(InputError, match=r"plugin 'wrapper': musicemo_run_finished is a hook wrapper"):
        hooks.register(Wrapper, "wrapper")
    assert not hooks.manager.has_plugin("wrapper")


def test_a_hook_that_raises_is_left_out_and_the_others_go_on():
    hooks = registry.Hooks()
    first, broken, last = Recorder(), Broken(), Recorder()
    for name, plugin in (("first", first), ("broken", broken), ("last", last)):
        hooks.register(plugin, name)
    with pytest.warns(UserWarning, match=r"plugin 'broken' failed in epoch_started .*: ValueError: broken"):
        hooks("epoch_started", run=None, epoch=1)
    hooks("epoch_started", run=None, epoch=2)
    hooks("run_failed", run=0, error=0)
    assert first.seen == last.seen == [1, 2, (0, 0)]
    assert broken.seen == [1]


def test_a_broken_hook_is_left_out_even_where_warnings_are_errors():
    hooks, broken = registry.Hooks(), Broken()
    hooks.register(broken, "broken")
    with warnings.catch_warnings():
        warnings.simplefilter("error")
        with pytest.raises(UserWarning):
            hooks("epoch_started", run=None, epoch=1)
        hooks("epoch_started", run=None, epoch=2)
    assert broken.seen == [1]


@pytest.mark.parametrize("error", [InputError("theirs"), RunError("theirs"), KeyboardInterrupt()])
def test_what_is_meant_for_the_user_passes(error):
    class Raises:
        @hookimpl
        def musicemo_epoch_started(self, run, epoch):
            raise error

    hooks = registry.Hooks()
    hooks.register(Raises(), "raises")
    with pytest.raises(type(error)):
        hooks("epoch_started", run=None, epoch=1)


def test_hooks_are_called_last_first_and_honour_tryfirst():
    order = []

    def plugin(name, **options):
        class Plugin:
            @hookimpl(**options)
            def musicemo_epoch_started(self):
                order.append(name)

        return Plugin()

    hooks = registry.Hooks()
    hooks.register(plugin("first", tryfirst=True), "first")
    hooks.register(plugin("a"), "a")
    hooks.register(plugin("b"), "b")
    hooks.register(plugin("last", trylast=True), "last")
    hooks("epoch_started", run=None, epoch=1)
    assert order == ["first", "b", "a", "last"]


def test_load_hooks_warns_of_what_cannot_be_loaded_and_goes_on(install):
    class NeedsArguments:
        def __init__(self, path):
            pass

    install("plugin", "good", Recorder)
    install("plugin", "absent", "no_such_module:Plugin", "lost", "1.2")
    install("plugin", "needy", NeedsArguments)
    install("plugin", "misspelt", Misspelt)
    install("plugin", "wrong", WrongArguments)
    with pytest.warns(UserWarning, match="is left out") as caught:
        hooks = registry.load_hooks()
    said = [str(warning.message) for warning in caught]
    assert len(said) == 4
    assert "plugin 'absent' of lost 1.2 (no_such_module:Plugin)" in said[0]
    assert "ModuleNotFoundError" in said[0]
    assert "unknown hook" in said[1]
    assert "TypeError" in said[2]
    assert "trainer" in said[3]
    assert [name for name, _ in hooks.manager.list_name_plugin()] == ["good of fake"]


def test_the_installed_plugins_load():
    hooks = registry.load_hooks()
    assert {"history of musicemo", "progress of musicemo", "tensorboard of musicemo"} <= {
        name for name, _ in hooks.manager.list_name_plugin()
    }
