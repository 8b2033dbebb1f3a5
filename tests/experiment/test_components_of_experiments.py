"""Components in an experiment: their tables, their construction and their paths."""

from pathlib import Path
from typing import Annotated

import pytest
from fakes import EXPERIMENT, MemoryDataset, SquaredError
from faults import problems
from pydantic import BaseModel, Field

from musicemo.data import Task
from musicemo.errors import InputError, RunError
from musicemo.experiment import load_experiment

pytestmark = pytest.mark.usefixtures("fakes")


class Files:
    """A dataset of files, for paths."""

    def __init__(
        self,
        *,
        root: Path,
        cache: Path = Path("cache"),
        extra: Path | None = None,
        more: list[Path] | None = None,
        named: dict[str, Path] | None = None,
        pair: tuple[Path, int] | None = None,
        label: str = "x/y",
    ) -> None:
        pass


def test_a_required_parameter_is_asked_for_where_the_table_was_opened(write, fakes):
    fakes("dataset", "files", Files)
    path = write(EXPERIMENT.replace('"memory"', '"files"'))
    assert problems(path, "dataset.label=a") == ["e.toml:4: dataset.root: is required"]


def test_a_default_weighting_that_needs_a_parameter(write, install, monkeypatch):
    def needy(*, power: int) -> object:
        return object()

    monkeypatch.setattr(
        "musicemo.registry.load", lambda kind, name: needy if kind == "weighting" else MemoryDataset
    )
    path = write('[dataset]\ntype = "a"\n[model]\ntype = "b"\n[tasks.v]\n')
    assert problems(path) == ["e.toml:1: weighting.power: is required"]


def test_a_component_whose_annotations_cannot_be_read(write, fakes):
    def model(*, size: "Nowhere") -> object:  # noqa: F821  # the point
        return object()

    fakes("model", "odd", model)
    (problem,) = problems(write(), "model.type=odd")
    assert problem.startswith(
        "--set model.type=odd: model.type: the parameters of test_components_of_experiments.model cannot be read"
    )


def test_a_parameter_that_seems_meant_to_be_filled_in(write, fakes):
    def model(*, input_dim: int, depth: int) -> object:
        return object()

    fakes("model", "odd", model)
    assert [problem.partition("model.")[2] for problem in problems(write(), "model={type='odd'}")] == [
        "input_dim: is required; did you mean 'input_size'? That is filled in by musicemo",
        "depth: is required",
    ]


def test_a_parameter_without_a_type(write, fakes):
    def model(size=3) -> object:
        return object()

    fakes("model", "odd", model)
    (problem,) = problems(write(), "model.type=odd", "model.size=many")
    assert "the parameter 'size' of test_components_of_experiments.model needs a type" in problem
    assert "size: int" in problem


@pytest.mark.parametrize(("kind", "words"), [(None, "declares no kind"), ("rank", "declares the kind 'rank'")])
def test_a_loss_that_does_not_say_what_it_is_for(write, fakes, kind, words):
    class Odd(SquaredError):
        pass

    Odd.kind = kind
    fakes("loss", "odd", Odd)
    path = write(EXPERIMENT + '[losses.regression]\ntype = "odd"\n')
    (problem,) = problems(path)
    assert f"losses.regression.type: loss 'odd' {words}" in problem
    assert 'kind = "regression" or kind = "classification"' in problem


class Picky:
    def __init__(self, *, mode: int = 0) -> None:
        if mode == 1:
            raise InputError("first", "second")
        if mode == 2:
            raise ImportError("needs spam: pip install spam")
        if mode == 3:
            raise ValueError("odd")
        if mode == 4:
            raise KeyError("a bug")
        if mode == 5:
            raise KeyboardInterrupt


@pytest.mark.parametrize(
    ("mode", "expected"),
    [
        (1, ("model 'picky': first", "model 'picky': second")),
        (2, ("model 'picky': needs spam: pip install spam",)),
        (3, ("model 'picky': odd",)),
    ],
)
def test_a_constructor_that_refuses(fakes, write, mode, expected):
    fakes("model", "picky", Picky)
    found = load_experiment(write(), ["model={ type = 'picky' }", f"model.mode={mode}"])
    with pytest.raises(InputError) as caught:
        found.model.build(input_size=3)
    assert caught.value.problems == expected


def test_a_bug_in_a_constructor_is_told_with_its_component_distribution_and_line(fakes, write):
    fakes("model", "picky", Picky, distribution="strange-models", version="3.1")
    line = next(n for n, text in enumerate(Path(__file__).read_text().splitlines(), 1) if '"a bug"' in text)
    with pytest.raises(RunError) as caught:
        load_experiment(write(), ["model={ type = 'picky', mode = 4 }"]).model.build()
    assert str(caught.value) == (
        f"model 'picky' of strange-models 3.1 ({__name__}:Picky) cannot be constructed: KeyError: 'a bug' "
        f"({__file__}:{line})"
    )
    assert isinstance(caught.value.__cause__, KeyError)


def test_an_interruption_in_a_constructor_passes(fakes, write):
    fakes("model", "picky", Picky)
    with pytest.raises(KeyboardInterrupt):
        load_experiment(write(), ["model={ type = 'picky', mode = 5 }"]).model.build()


def test_build_provides_what_the_constructor_names(write):
    found = load_experiment(write())
    assert found.model.build(input_size=12, class_counts={}).dense.in_features == 12
    assert found.weighting.build(tasks=["valence"]).tasks == ("valence",)


def test_a_task_without_a_loss_gets_the_one_of_its_kind_and_it_is_resolved(write):
    tasks = [Task("valence", "valence", "regression"), Task("genre", "genre", "classification")]
    found = load_experiment(write(EXPERIMENT.replace('loss = { type = "squared-error" }', "")))
    assert "loss" not in found.resolved()["tasks"]["genre"]
    resolved = found.completed(tasks).resolved()["tasks"]
    assert resolved["valence"]["loss"] == [{"type": "mse", "weight": 1.0}]
    assert resolved["genre"]["loss"] == [{"type": "cross-entropy", "balanced": False, "weight": 1.0}]


class Small(BaseModel, extra="forbid"):
    size: int = 1


class Large(BaseModel, extra="forbid"):
    width: int


class Nested:
    def __init__(
        self,
        *,
        input_size: int,
        stages: list[Annotated[Small, Field(title="stage")]] | None = None,
        either: Small | Large | None = None,
        named: dict[str, Small] | None = None,
    ) -> None:
        pass


@pytest.mark.parametrize(
    ("table", "expected"),
    [
        ("stages = [{ size = 1 }, { sise = 1 }]", "model.stages[1].sise: unknown key; did you mean 'size'?"),
        (
            "named = { a = { sise = 1 } }",
            "model.named.a.sise: unknown key; did you mean 'size'? (allowed: size)",
        ),
        ("either = { widht = 1 }", "model.either.widht: unknown key; did you mean 'width'? (allowed: width)"),
        ("either = { size = 'x' }", "model.either.size: input should be a valid integer"),
    ],
)
def test_tables_within_a_components_table(fakes, write, table, expected):
    fakes("model", "nested", Nested)
    assert expected in "\n".join(problems(write(), f"model={{ type = 'nested', {table} }}"))


def test_paths_are_relative_to_where_they_were_written(write, fakes, tmp_path, monkeypatch):
    fakes("dataset", "files", Files)
    text = EXPERIMENT.replace('"memory"', '"files"\nroot = "data"\nmore = ["a", "/b"]\nextra = "~/x"')
    write(text, "bases/base.toml")
    path = write('extends = "../bases/base.toml"\n[dataset]\nnamed = { one = "1" }\n', "top/e.toml")
    elsewhere = tmp_path / "elsewhere"
    elsewhere.mkdir()
    monkeypatch.chdir(elsewhere)
    monkeypatch.setenv("HOME", str(tmp_path / "home"))
    found = load_experiment(path, ["dataset.pair=['here', 1]"]).dataset.parameters
    assert found["root"] == tmp_path / "bases" / "data"
    assert found["more"] == [tmp_path / "bases" / "a", Path("/b")]
    assert found["extra"] == tmp_path / "home" / "x"
    assert found["named"] == {"one": tmp_path / "top" / "1"}
    assert found["pair"] == (elsewhere / "here", 1)
    assert found["label"] == "x/y"
    assert found["cache"].is_absolute(), "a default must mean the same when the resolved file is read elsewhere"
    assert load_experiment(path, ["dataset.root=.."]).dataset.parameters["root"] == tmp_path


def test_a_relative_name_of_the_experiment_file(write, fakes, tmp_path, monkeypatch):
    fakes("dataset", "files", Files)
    write(EXPERIMENT.replace('"memory"', '"files"\nroot = "../data"'), "sub/e.toml")
    monkeypatch.chdir(tmp_path / "sub")
    assert load_experiment(Path("e.toml")).dataset.parameters["root"] == tmp_path / "data"
