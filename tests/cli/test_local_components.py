"""Components from a file of the user's own: found, run, kept beside the run, and executed only where asked for."""

from __future__ import annotations

import hashlib
import json
import textwrap
import tomllib

import pytest
from typer.testing import CliRunner

from musicemo.cli._app import make_app
from musicemo.components.local import LocalCode
from musicemo.errors import InputError
from musicemo.experiment import load_experiment
from musicemo.prediction import TrainedRun

MODULE = """
    from dataclasses import dataclass
    from typing import Annotated

    import fakes
    from pydantic import Field
    from torch import nn

    from musicemo import contracts


    @dataclass(frozen=True)
    class Kept:
        size: int = 4


    class MyModel(fakes.MeanModel):
        '''A mean of my own.'''

        def __init__(self, *, input_size: int, width: Annotated[int, Field(gt=0)] = 5) -> None:
            super().__init__(input_size=input_size, hidden=width)
            self.kept = Kept()


    class MyLoss(nn.Module):
        kind = "regression"

        def forward(self, prediction, target):
            return (prediction - target).abs().mean()


    class MyWeighting(contracts.Weighting):
        def combine(self, losses):
            return sum(losses.values())


    class MyDataset(fakes.MemoryDataset):
        pass


    SIZE = 3
"""

EXPERIMENT = """
    name = "mine"

    [dataset]
    type = "../code of mine/parts.py:MyDataset"
    tracks = 40

    [model]
    type = "../code of mine/parts.py:MyModel"
    width = 7

    [weighting]
    type = "../code of mine/parts.py:MyWeighting"

    [training]
    epochs = 2
    device = "cpu"

    [tasks.valence]
    loss = [{ type = "../code of mine/parts.py:MyLoss", weight = 2.0 }, { type = "mse" }]
"""


@pytest.fixture
def folder(tmp_path):
    (tmp_path / "code of mine").mkdir()
    (tmp_path / "experiments").mkdir()
    (tmp_path / "code of mine" / "parts.py").write_text(textwrap.dedent(MODULE))
    (tmp_path / "experiments" / "mine.toml").write_text(textwrap.dedent(EXPERIMENT))
    return tmp_path


@pytest.fixture
def small(folder):
    """Return what writes a file beside an experiment on the fakes, and the experiment."""

    def write(code: str, name: str = "./my_model.py:MyModel"):
        import fakes

        (folder / "my_model.py").write_text(textwrap.dedent(code))
        file = folder / "small.toml"
        file.write_text(fakes.EXPERIMENT.replace('type = "means"', f'type = "{name}"'))
        return file

    return write


def problem(file, *overrides):
    with pytest.raises(InputError) as caught:
        load_experiment(file, overrides)
    return str(caught.value)


@pytest.mark.slow
def test_a_run_of_them_is_kept_with_their_code(launcher, folder):
    """Validated, run, repeated from the run directory, and predicted with where that is asked for."""
    said = launcher.run("validate", "experiments/mine.toml", folder=folder)
    assert said.code == 0, said.err
    assert "; runs code from ./code of mine/parts.py" in said.out
    assert said.out.splitlines()[0].count("parts.py") == 3, "the model, the dataset, and the file once"

    ran = launcher.run("run", "experiments/mine.toml", folder=folder)
    assert ran.code == 0, ran.err
    (run,) = (folder / "runs" / "mine").iterdir()
    (kept,) = (run / "code").iterdir()
    assert kept.read_text() == textwrap.dedent(MODULE)
    assert kept.name.startswith("parts-")
    resolved = tomllib.loads((run / "experiment.toml").read_text())
    assert resolved["model"] == {"type": f"code/{kept.name}:MyModel", "width": 7}
    assert resolved["tasks"]["valence"]["loss"][0]["type"] == f"code/{kept.name}:MyLoss"
    (told,) = json.loads((run / "environment.json").read_text())["code"].items()
    assert told[0] == f"code/{kept.name}"
    assert told[1]["from"] == str(folder / "code of mine" / "parts.py")
    assert kept.stem.endswith(told[1]["sha256"][:8])

    again = launcher.run("run", run / "experiment.toml", "--runs", folder / "again", folder=folder)
    assert again.code == 0, again.err
    (repeated,) = (folder / "again" / "mine").iterdir()
    for file in ("predictions.csv", "experiment.toml"):
        assert (repeated / file).read_text() == (run / file).read_text()
    assert [path.name for path in (repeated / "code").iterdir()] == [kept.name]

    refused = launcher.run("evaluate", run, folder=folder)
    assert refused.code == 2
    assert (
        "is code that came with the experiment; read it, then execute it with --trust-local-code" in refused.err
    )
    trusted = launcher.run("evaluate", run, "--trust-local-code", "--format", "json", folder=folder)
    assert trusted.code == 0, trusted.err

    kept.write_text(kept.read_text() + "\n")
    changed = launcher.run("evaluate", run, "--trust-local-code", folder=folder)
    assert changed.code == 2
    assert "has changed since the run executed it" in changed.err


def test_all_of_a_kept_files_hash_is_checked(folder):
    """What else begins with the same digits is found by the hash that the run recorded."""
    kept = folder / "run" / "code"
    kept.mkdir(parents=True)
    content = b"A = 1\n"
    digest = hashlib.sha256(content).hexdigest()
    path = kept / f"parts-{digest[:8]}.py"
    path.write_bytes(content)
    name = f"{path}:A"
    assert LocalCode.find(name, folder, {}).sha256 == digest
    recorded = folder / "run" / "environment.json"
    recorded.write_text(json.dumps({"code": {f"code/{path.name}": {"sha256": digest}}}))
    assert LocalCode.find(name, folder, {}).sha256 == digest
    recorded.write_text(json.dumps({"code": {f"code/{path.name}": {"sha256": digest[:8] + 56 * "0"}}}))
    with pytest.raises(InputError, match="has changed since the run executed it"):
        LocalCode.find(name, folder, {})


@pytest.mark.slow
def test_a_file_that_is_edited_in_mid_sweep_is_in_no_run(launcher, small, folder):
    """Each process would read it again for each of its runs."""
    code = """
        import fakes

        class MyModel(fakes.MeanModel):
            def __init__(self, *, input_size: int) -> None:
                super().__init__(input_size=input_size)
                with open("my_model.py", "a") as file:
                    file.write("# edited\\n")
    """
    small(code)
    before = (folder / "my_model.py").read_bytes()
    finished = launcher.run(
        "run",
        "small.toml",
        "--jobs",
        "2",
        "--set",
        "seeds=[0, 1, 2, 3]",
        "--set",
        "training.epochs=1",
        folder=folder,
    )
    assert finished.code == 0, finished.err
    assert (folder / "my_model.py").read_bytes().count(b"\n# edited") >= 4
    kept = [path.read_bytes() for path in folder.glob("runs/small/*/code/*.py")]
    assert kept == [before] * 4


@pytest.mark.slow
def test_resuming_heeds_a_change_of_the_code(launcher, folder):
    launcher.run("run", "experiments/mine.toml", folder=folder)
    launcher.run("run", "experiments/mine.toml", "--resume", folder=folder)
    assert len(list((folder / "runs" / "mine").iterdir())) == 1
    with (folder / "code of mine" / "parts.py").open("a") as file:
        file.write("# another version\n")
    launcher.run("run", "experiments/mine.toml", "--resume", folder=folder)
    assert len(list((folder / "runs" / "mine").iterdir())) == 2


@pytest.mark.slow
def test_loading_a_run_executes_nothing_unasked(launcher, small, folder):
    trace = folder / "executed"
    file = small(f"from fakes import MeanModel as MyModel\nopen({str(trace)!r}, 'w').close()\n")
    assert launcher.run("run", file, folder=folder).code == 0
    (run,) = (folder / "runs" / "small").iterdir()
    trace.unlink()
    with pytest.raises(InputError, match="--trust-local-code"):
        TrainedRun.load(run)
    assert not trace.exists()


def in_process(*arguments):
    return CliRunner().invoke(make_app(), [str(argument) for argument in arguments], catch_exceptions=False)


BOOBY_TRAP = """
from pathlib import Path

Path(__file__).with_name("executed").touch()


class MyModel(Something):
    def __init__(self, *, input_size: int, width: int, depth: int = 2, file: Path | None = None, size=lambda: 3):
        pass


Other = MyModel
"""


@pytest.mark.slow
def test_showing_and_checking_an_experiment_executes_none_of_its_code(small, folder, fakes):
    """Its keys are compared with the source, which is only read."""
    file = small(BOOBY_TRAP)
    text = file.read_text().replace("hidden = 8", "")
    file.write_text(text.replace('MyModel"', 'MyModel"\nwidth = 3\nfile = "a/b"'))
    assert in_process("show", file).exit_code == 0
    shown = tomllib.loads(in_process("show", file).stdout)
    code = f"{folder / 'my_model.py'}:MyModel"
    assert shown["model"] == {"type": code, "depth": 2, "width": 3, "file": str(folder / "a" / "b")}
    line = in_process("validate", "--no-data", file).stdout
    assert "valid: ./my_model.py:MyModel on memory" in line
    assert "my_model.py (not executed)\n" in line
    file.write_text(text.replace('MyModel"', 'MyModel"\nwidht = 3'))
    for command in (["show"], ["validate", "--no-data"]):
        with pytest.raises(InputError) as caught:
            in_process(*command, file)
        unknown, missing = caught.value.problems
        assert unknown.endswith(
            "model.widht: unknown key; did you mean 'width'? (allowed: depth, file, size, type, width)"
        )
        assert missing.endswith("model.width: is required")
    file.write_text(text.replace("MyModel", "Other"))
    assert (
        "; the keys of ./my_model.py:Other were not checked\n"
        in in_process("validate", "--no-data", file).stdout
    )
    (folder / "my_model.py").write_text("def (")
    with pytest.raises(InputError, match=r"my_model\.py:1: SyntaxError"):
        in_process("show", file)
    assert not (folder / "executed").exists()


@pytest.fixture
def run(launcher, small, folder):
    """Return the directory of a run on local code that leaves a trace when it is executed."""
    file = small("from fakes import MeanModel as MyModel\nopen('executed', 'w').close()\n")
    assert launcher.run("run", file, "--set", "training.epochs=1", folder=folder).code == 0
    (found,) = (folder / "runs" / "small").iterdir()
    return found


@pytest.mark.slow
def test_trust_is_limited_to_the_code_that_the_run_keeps(run, folder, monkeypatch, fakes_beside):
    """Not to what an experiment names elsewhere: by an absolute path, by .., or through a link."""
    monkeypatch.chdir(folder)
    TrainedRun.load(run, trust_local_code=True)
    (folder / "executed").unlink(missing_ok=True)
    experiment = run / "experiment.toml"
    text = experiment.read_text()
    (kept,) = (run / "code").iterdir()
    evil = folder / "evil.py"
    evil.write_text("from fakes import MeanModel as MyModel\nopen('executed', 'w').close()\n#\n")
    (run / "code" / "link.py").symlink_to(evil)
    (run / "linked").symlink_to(folder)
    (run / "code" / "inner").mkdir()
    (run / "code" / "inner" / "evil.py").write_bytes(evil.read_bytes())
    for place in (evil, "../../../evil.py", "code/../../../../evil.py", "code/link.py", "linked/evil.py"):
        experiment.write_text(text.replace(f"code/{kept.name}", str(place)))
        with pytest.raises(
            InputError, match="is not in the run's folder code; --trust-local-code executes only"
        ):
            TrainedRun.load(run, trust_local_code=True)
    experiment.write_text(text)
    (run / "code").rename(folder / "elsewhere")
    (run / "code").symlink_to(folder / "elsewhere")
    with pytest.raises(InputError, match="is not in the run's folder code"):
        TrainedRun.load(run, trust_local_code=True)
    assert not (folder / "executed").exists()


def test_it_is_relative_to_the_file_that_writes_it(folder, fakes):
    (folder / "experiments" / "inner").mkdir()
    file = folder / "experiments" / "inner" / "extended.toml"
    file.write_text('extends = "../mine.toml"\n[training]\nepochs = 3\n')
    experiment = load_experiment(file)
    assert experiment.model.name == "../code of mine/parts.py:MyModel"
    assert {code.path for code in experiment.code} == {folder / "code of mine" / "parts.py"}
    assert experiment.resolved()["model"]["type"] == f"{folder}/code of mine/parts.py:MyModel"


def test_it_is_named_in_the_experiment_alone(small, fakes):
    file = small("from fakes import MeanModel as MyModel")
    load_experiment(file)
    said = problem(file, "model.type=./my_model.py:MyModel")
    assert said == (
        "--set model.type=./my_model.py:MyModel: model.type: './my_model.py:MyModel': a file of code must be named in "
        "the experiment file itself"
    )


@pytest.mark.parametrize(
    ("name", "words"),
    [
        ("./my_model.py", "must have the form FILE.py:NAME"),
        ("./my_model:MyModel", "must have the form FILE.py:NAME"),
        ("./my_model.py:My-Model", "must have the form FILE.py:NAME"),
        ("./absent.py:MyModel", "there is no file"),
        ("./my_model.py:MyMode", "has no 'MyMode'; did you mean 'MyModel'? (it defines: MyModel, helper)"),
        ("./my_model.py:SIZE", "'SIZE' is a int, not a class or function"),
    ],
)
def test_names_that_lead_nowhere(small, fakes, name, words):
    file = small(
        """
        import torch
        SIZE = 3
        def helper():
            pass
        class MyModel(torch.nn.Module):
            pass
        """,
        name,
    )
    said = problem(file)
    assert words in said
    assert said.startswith(f"{file}:8: model.type: ")


@pytest.mark.parametrize(
    ("code", "words"),
    [
        ("import torch\n\nx = 1 / 0\n", "my_model.py:3: ZeroDivisionError: division by zero"),
        ("import torch\nclass MyModel(\n", "my_model.py:2: SyntaxError: "),
        (
            "import no_such\n",
            "my_model.py:1: ModuleNotFoundError: No module named 'no_such'. Only installed packages",
        ),
        ("raise SystemExit('no')\n", "my_model.py:1: SystemExit: no"),
    ],
)
def test_errors_of_the_file_are_told_with_its_line(small, fakes, code, words):
    assert words in problem(small(code))


MISTAKES = """
    from fakes import MeanModel


    class MyModel(MeanModel):
        def __init__(self, *, input_size: int, mistake: str = "") -> None:
            super().__init__(input_size=input_size)
            self.mistake = mistake
            if mistake == "construction":
                {}["key"]

        def forward(self, x, lengths):
            if self.mistake == "embedding" or (self.mistake == "training" and self.training):
                return x @ x
            return super().forward(x, lengths)
"""


@pytest.mark.slow
@pytest.mark.parametrize(
    ("mistake", "line", "code"), [("construction", 10, 2), ("embedding", 14, 2), ("training", 14, 2)]
)
def test_errors_in_use_are_told_with_its_line(launcher, small, folder, mistake, line, code):
    file = small(MISTAKES)
    done = launcher.run("run", file, "--set", f"model.mistake={mistake}", folder=folder)
    assert done.code == code
    assert f"{folder / 'my_model.py'}:{line}" in done.err
    assert "Traceback" not in done.err


@pytest.mark.slow
def test_an_error_while_tracks_are_read(launcher, folder):
    path = folder / "code of mine" / "parts.py"
    code = textwrap.dedent(MODULE).replace("    pass\n", "    def tracks(self):\n        return self.absent\n")
    path.write_text(code)
    done = launcher.run("run", "experiments/mine.toml", folder=folder)
    assert done.code == 2
    line = code.splitlines().index("        return self.absent") + 1
    assert done.err == f"error: {path}:{line}: AttributeError: 'MyDataset' object has no attribute 'absent'\n"
