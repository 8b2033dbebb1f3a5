"""The tables [plugins.NAME] of an experiment."""

from __future__ import annotations

import json
import tomllib
from typing import Annotated

import jsonschema
import pytest
from complaints import warns
from harness import load
from pydantic import Field

from musicemo.components import registry
from musicemo.components.hooks import Hooks, load_hooks
from musicemo.errors import InputError
from musicemo.experiment import load_experiment
from musicemo.experiment.json_schema import experiment_schema
from musicemo.hookspecs import hookimpl
from musicemo.running.execute import run_experiment
from musicemo.running.prepare import RunOptions
from musicemo.running.preview import check_experiment
from musicemo.runs import open_run

CALLS: list[str] = []


class Noted:
    """Notes each run.

    Args:
        word: Word to note.
        limit: Largest number of letters.
    """

    def __init__(self, word: str = "default", limit: Annotated[int, Field(gt=0)] = 9) -> None:
        if len(word) > limit:
            raise InputError(f"word {word!r} has more than {limit} letters")
        self.word = word

    @hookimpl
    def musicemo_run_started(self):
        CALLS.append(self.word)


class Asked(Noted):
    """Notes each run if it is configured."""

    opt_in = True


class Needy(Noted):
    """Notes each run.

    Args:
        word: Word to note.
    """

    def __init__(self, word: str) -> None:
        super().__init__(word)


class Fails(Noted):
    @hookimpl
    def musicemo_run_started(self):
        CALLS.append(self.word)
        raise ValueError("broken")


@pytest.fixture
def noted(fakes, one_thread):
    """Register the plugins, and return the function that runs an experiment with overrides."""
    for name, plugin in {"noted": Noted, "asked": Asked, "needy": Needy, "fails-if-asked": Fails}.items():
        if name == "fails-if-asked":
            plugin.opt_in = True
        fakes("plugin", name, plugin)

    def run(folder, *overrides, **options):
        CALLS.clear()
        experiment = load(folder, "training.epochs=1", *overrides)
        outcomes = list(run_experiment(experiment, folder / "runs", load_hooks(), RunOptions(**options)))
        return outcomes, list(CALLS)

    return run


def test_a_plugin_without_a_table_is_called_unless_it_opts_in(noted, tmp_path):
    assert noted(tmp_path, resume=False)[1] == ["default"]


def test_a_table_configures_enables_and_disables(noted, tmp_path):
    def calls(*overrides):
        return noted(tmp_path, *overrides, resume=False)[1]

    assert calls('plugins.noted.word="mine"') == ["mine"]
    assert calls("plugins.noted.enabled=false") == []
    assert sorted(calls('plugins.asked={ word = "a" }', 'plugins.needy.word="b"')) == ["a", "b", "default"]
    two = ('plugins.one={ type = "noted", word = "1" }', 'plugins.two={ type = "noted", word = "2" }')
    assert sorted(calls(*two)) == ["1", "2"]


@pytest.mark.parametrize(
    ("override", "problem"),
    [
        ("plugins.notd={}", r"plugins\.notd\.type: no plugin has the name 'notd'; did you mean 'noted'\?"),
        (
            "plugins.noted.wrd=1",
            r"plugins\.noted\.wrd: unknown key; did you mean 'word'\? \(allowed: .*enabled",
        ),
        ("plugins.noted.limit=0", r"plugins\.noted\.limit: input should be greater than 0"),
        ("plugins.noted.enabled=1", r"plugins\.noted\.enabled: input should be a valid boolean"),
        ("plugins.needy={}", r"plugins\.needy\.word: is required"),
        ("plugins.noted=1", r"plugins\.noted: must be a table"),
    ],
)
def test_a_wrong_table_is_reported_with_its_key(noted, tmp_path, override, problem):
    with pytest.raises(InputError, match=problem):
        load(tmp_path, override)


def test_a_constructor_that_refuses_is_reported_with_its_line_before_training(noted, tmp_path):
    file = tmp_path / "small.toml"
    text = load(tmp_path).source.file.read_text() + '\n[plugins.noted]\nword = "too long to note"\n'
    file.write_text(text)
    line = text.splitlines().index("[plugins.noted]") + 1
    experiment = load_experiment(file)
    for act in (check_experiment, lambda one: list(run_experiment(one, tmp_path / "runs", Hooks()))):
        with pytest.raises(InputError, match=rf"small\.toml:{line}: plugins\.noted: .*more than 9 letters"):
            act(experiment)
    assert not (tmp_path / "runs").exists()


def test_a_run_records_its_plugins_and_is_the_same_with_others(noted, tmp_path):
    (first,), _ = noted(tmp_path, 'plugins.noted.word="first"', resume=False)
    record = open_run(first.directory)
    assert record.experiment["plugins"] == {
        "noted": {"type": "noted", "enabled": True, "word": "first", "limit": 9}
    }
    assert record.environment["lifecycle_plugins"] == ["noted"]
    (again,), calls = noted(tmp_path, 'plugins.noted.word="second"', "plugins.asked={}", resume=True)
    assert again.skipped
    assert again.directory == first.directory
    assert calls == []
    with_its_file = load_experiment(first.directory / "experiment.toml")
    assert with_its_file.plugins["noted"].parameters["word"] == "first"


def test_a_plugin_that_fails_is_not_called_in_the_next_run(noted, tmp_path):
    with warns("plugin 'fails-if-asked' failed in run_started"):
        _, calls = noted(
            tmp_path, 'plugins.fails-if-asked.word="f"', "seeds=[0, 1]", "plugins.noted.enabled=false"
        )
    assert calls == ["f"]


def test_one_object_sees_all_runs_with_the_same_settings(noted, tmp_path):
    experiment = load(tmp_path, "plugins.noted={}")
    hooks = load_hooks()
    objects = [hooks.of(experiment.plugins, experiment.source).manager.get_plugin("noted") for _ in range(2)]
    assert objects[0] is objects[1] is not None


def test_an_ignored_plugin_is_left_out(noted, tmp_path):
    with registry.without(["noted"]):
        assert load(tmp_path, 'plugins.noted.word="x"').plugins == {}


def test_an_object_has_no_settings(fakes, tmp_path):
    fakes("plugin", "object", Noted("object"))
    assert not jsonschema.Draft202012Validator(experiment_schema()).is_valid(
        {"plugins": {"object": {"word": "x"}}}
    )
    assert load(tmp_path, "plugins.object.enabled=false").plugins["object"].settings.enabled is False
    with pytest.raises(InputError, match=r"plugins\.object\.word: unknown key"):
        load(tmp_path, 'plugins.object.word="x"')


def test_a_plugin_in_a_file_beside_the_experiment(fakes, one_thread, tmp_path):
    (tmp_path / "mine.py").write_text(
        "from pathlib import Path\nfrom musicemo.hookspecs import hookimpl\n"
        "class Mine:\n    def __init__(self, file: Path) -> None:\n        self.file = file\n"
        "    @hookimpl\n    def musicemo_run_finished(self, run):\n        self.file.write_text(run.label)\n"
    )
    text = load(tmp_path).source.file.read_text()
    file = tmp_path / "small.toml"
    file.write_text(text + '\n[plugins.mine]\ntype = "./mine.py:Mine"\nfile = "done.txt"\n')
    (outcome,) = list(run_experiment(load_experiment(file), tmp_path / "runs", Hooks()))
    assert (tmp_path / "done.txt").read_text() == f"small/{outcome.directory.name}"
    record = open_run(outcome.directory)
    assert record.experiment["plugins"]["mine"]["type"].startswith("code/mine-")
    file.write_text(text)
    (plain,) = list(run_experiment(load_experiment(file), tmp_path / "runs", Hooks(), RunOptions(resume=True)))
    assert plain.skipped


def test_the_json_schema_knows_the_tables(noted):
    validator = jsonschema.Draft202012Validator(experiment_schema())

    def problems(text):
        return [error.message for error in validator.iter_errors(tomllib.loads('extends = "a.toml"\n' + text))]

    assert problems('[plugins.noted]\nword = "x"\nenabled = false') == []
    assert problems('[plugins.other]\ntype = "noted"\nword = "x"') == []
    assert problems('[plugins.other]\ntype = "./my.py:Mine"\nwhatever = 1') == []
    assert problems('[plugins.noted]\nwrd = "x"')
    assert problems("[plugins.noted]\nlimit = 0")
    assert problems('[plugins.other]\ntype = "noted"\nlimit = 0')
    assert json.dumps(validator.schema).count("Largest number of letters.")
