"""Components in an experiment: their tables, their construction and their paths."""

import dataclasses
import enum
from collections.abc import Callable, Iterable
from pathlib import Path
from typing import Annotated

import pytest
import torch
from fakes import EXPERIMENT, MeanModel, MemoryDataset, SquaredError
from faults import problems
from pydantic import BaseModel, DirectoryPath, Field, FilePath, field_serializer
from typing_extensions import TypedDict

from musicemo.errors import InputError, RunError
from musicemo.experiment import load_experiment
from musicemo.experiment.tracks import read_tracks

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
        "musicemo.components.registry.load", lambda kind, name: needy if kind == "weighting" else MemoryDataset
    )
    path = write('[dataset]\ntype = "a"\n[model]\ntype = "b"\n[tasks.v]\n')
    assert problems(path) == ["e.toml:1: weighting.power: is required"]


def test_a_component_whose_annotations_cannot_be_read(write, fakes):
    def model(*, size: "Nowhere") -> object:  # noqa: F821  # the point
        return object()

    fakes("model", "odd", model)
    (problem,) = problems(write(), "model.type=odd")
    assert problem.startswith(
        f"--set model.type=odd: model.type: the parameters of {__name__}.model cannot be read"
    )


def test_a_parameter_that_seems_meant_to_be_filled_in(write, fakes):
    def model(*, input_dim: int, depth: int) -> object:
        return object()

    fakes("model", "odd", model)
    assert [problem.partition("model.")[2] for problem in problems(write(), "model={type='odd'}")] == [
        "input_dim: is required; did you mean 'input_size'? musicemo fills in this parameter",
        "depth: is required",
    ]


def test_a_parameter_without_a_type(write, fakes):
    def model(size=3) -> object:
        return object()

    fakes("model", "odd", model)
    (problem,) = problems(write(), "model.type=odd", "model.size=many")
    assert f"the parameter 'size' of {__name__}.model needs a type" in problem
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
    found = load_experiment(write(EXPERIMENT.replace('loss = { type = "squared-error" }', "")))
    assert "loss" not in found.resolved()["tasks"]["genre"]
    resolved = found.completed(read_tracks(found)).resolved()["tasks"]
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


# What no table can hold is the component's fault, and its message names the parameter and the component.


class Loose(BaseModel):
    """A table of a component's that forbids nothing."""

    size: int = 1
    file: Path | None = None


@dataclasses.dataclass
class Record:
    size: int = 1
    file: Path | None = None


class Typed(TypedDict, total=False):
    size: int
    file: Path


class Deep(BaseModel):
    inner: Loose = Loose()


class Shade(enum.Enum):
    LIGHT = "light"


class Containers:
    def __init__(
        self,
        *,
        input_size: int,
        loose: Loose = Loose(),  # noqa: B008
        record: Record = Record(),  # noqa: B008
        typed: Typed = {},  # noqa: B006
        deep: Deep = Deep(),  # noqa: B008
        many: list[Loose] | None = None,
        named: dict[str, Record] | None = None,
        either: Loose | int = 0,
        files: frozenset[Path] = frozenset(),
        shades: dict[Shade, int] | None = None,
        default: Loose = Loose(file=Path("d")),  # noqa: B008
    ) -> None:
        pass


@pytest.mark.parametrize("table", ["loose", "record", "typed", "deep.inner", "many[0]", "named.a", "either"])
def test_nested_tables_are_as_strict_as_the_components_own(write, fakes, table):
    fakes("model", "containers", Containers)
    name, dot, inner = table.removesuffix("[0]").partition(".")
    value = f"{{ {inner} = {{ sise = 2 }} }}" if dot else "[{ sise = 2 }]" if "[" in table else "{ sise = 2 }"
    text = "\n".join(problems(write(), f"model={{ type = 'containers', {name} = {value} }}"))
    assert f"model.{table}.sise: unknown key; did you mean 'size'? (allowed: file, size)" in text


def test_paths_in_nested_tables_are_relative_to_where_they_were_written(write, fakes, tmp_path, monkeypatch):
    fakes("model", "containers", Containers)
    tables = """
loose.file = "a"
record.file = "b"
typed.file = "c"
deep.inner.file = "d"
many = [{ file = "e" }, {}]
named.x.file = "f"
either.file = "g"
files = ["h", "/i"]
"""
    path = write(EXPERIMENT.replace('"means"', f'"containers"{tables}'), "sub/e.toml")
    monkeypatch.chdir(tmp_path)
    found = load_experiment(path).model.parameters
    folder = tmp_path / "sub"
    assert found["loose"].file == folder / "a"
    assert found["record"].file == folder / "b"
    assert found["typed"]["file"] == folder / "c"
    assert found["deep"].inner.file == folder / "d"
    assert found["many"][0].file == folder / "e"
    assert found["named"]["x"].file == folder / "f"
    assert found["either"].file == folder / "g"
    assert found["files"] == {folder / "h", Path("/i")}
    assert found["default"].file == folder / "d", "a default too"
    assert Containers.__init__.__kwdefaults__["default"].file == Path("d"), "the class's own is left alone"


def test_files_that_must_exist_are_looked_for_beside_the_experiment(write, fakes, tmp_path, monkeypatch):
    class Existing:
        def __init__(
            self, *, input_size: int, file: FilePath, folders: list[DirectoryPath] | None = None
        ) -> None:
            pass

    fakes("model", "existing", Existing)
    path = write(EXPERIMENT.replace('"means"', '"existing"\nfile = "e.toml"'), "sub/e.toml")
    (tmp_path / "sub" / "d").mkdir()
    monkeypatch.chdir(tmp_path)
    assert load_experiment(path).model.parameters["file"] == path
    path.write_text(path.read_text().replace('"e.toml"', '"e.toml"\nfolders = ["d"]'))
    assert load_experiment(path).model.parameters["folders"] == [tmp_path / "sub" / "d"]
    assert "model.file: path does not point to a file" in "\n".join(problems(path, "model.file=none"))


@pytest.mark.parametrize("text", ["~nobody-of-this-name/x", "a\\u0000b"])
def test_odd_paths(write, fakes, tmp_path, text):
    fakes("dataset", "files", Files)
    path = write(EXPERIMENT.replace('"memory"', f'"files"\nroot = "{text}"'))
    if "~" in text:
        assert load_experiment(path).dataset.parameters["root"] == tmp_path / text
    else:
        assert "dataset.root: 'a\\x00b' cannot be a path" in "\n".join(problems(path))


def takes_type(*, type: str = "a") -> object:
    return object()


def takes_function(*, activation: Callable[[int], int]) -> object:
    return object()


def may_take_function(*, activation: Callable[[int], int] | None = None) -> object:
    return object()


def has_function(*, activation: object = torch.relu) -> object:
    return object()


def takes_class(*, activation: type[torch.nn.Module] = torch.nn.ReLU) -> object:
    return object()


def takes_instance(*, activation: torch.device) -> object:
    return object()


def takes_iterator(*, activation: Iterable[int]) -> object:
    return object()


def by_position(activation: int, /) -> object:
    return object()


def bad_number(*, activation: int = 0.5) -> object:
    return object()


def bad_range(*, activation: Annotated[int, Field(gt=3)] = 1) -> object:
    return object()


def bad_nested(*, activation: Loose = Loose.model_construct(size="x")) -> object:  # noqa: B008
    return object()


def holed(*, activation: list[int | None] = [None]) -> object:  # noqa: B006
    return object()


@pytest.mark.parametrize(
    ("component", "words"),
    [
        (
            takes_type,
            "the parameter 'type' of {} cannot be set: musicemo itself uses the key type of its table",
        ),
        (
            takes_function,
            "the parameter 'activation' of {} is a collections.abc.Callable[[int], int], which TOML",
        ),
        (may_take_function, "the parameter 'activation' of {} is a "),
        (
            has_function,
            "the default of 'activation' of {} does not match its annotation: TOML cannot hold",
        ),
        (takes_class, "the parameter 'activation' of {} is a type[torch.nn.modules.module.Module], which TOML"),
        (takes_instance, "the parameter 'activation' of {} is a device, which TOML cannot hold"),
        (takes_iterator, "the parameter 'activation' of {} is a collections.abc.Iterable[int], which TOML"),
        (by_position, "the parameter 'activation' of {} is positional-only"),
        (
            bad_number,
            "the default of 'activation' of {} does not match its annotation: input should be a",
        ),
        (
            bad_range,
            "the default of 'activation' of {} does not match its annotation: input should be g",
        ),
        (bad_nested, "the default of 'activation.size' of {} does not match its annotation: input"),
        (holed, "the default of 'activation' of {} does not match its annotation: TOML cannot hold"),
    ],
)
def test_what_a_table_cannot_hold_is_the_components_fault(write, fakes, component, words):
    fakes("model", "odd", component)
    (problem,) = problems(write(), "model={ type = 'odd' }")
    assert words.format(f"{__name__}.{component.__name__}") in problem
    assert problem.startswith("--set model={ type = 'odd' }: model.type: ")


def test_a_loss_cannot_take_the_weight_of_its_term(write, fakes):
    class Weighted(SquaredError):
        def __init__(self, *, weight: float = 1.0) -> None:
            super().__init__()

    fakes("loss", "weighted", Weighted)
    (problem,) = problems(write(), "tasks.valence.loss={ type = 'weighted' }")
    assert "tasks.valence.loss.type: the parameter 'weight' of" in problem


def test_a_dataset_cannot_take_the_keys_of_joining(write, fakes):
    class Named(MemoryDataset):
        def __init__(self, tracks: int = 60, split: str = "a") -> None:
            super().__init__(tracks)

    fakes("dataset", "named", Named)
    load_experiment(write(), ["dataset={ type = 'named', split = 'b' }"])
    text = EXPERIMENT.replace("[dataset]", "[[dataset]]").replace('"memory"', '"named"')
    found = "\n".join(problems(write(text + '[[dataset]]\ntype = "memory"\n')))
    assert "dataset[0].type: 'named' has a parameter 'split', which is a key of [[dataset]] itself" in found


class Renamed(BaseModel):
    size: int = Field(default=1, alias="dim", serialization_alias="width")


class Halved(BaseModel):
    size: int = 2

    @field_serializer("size")
    def _half(self, size: int) -> int:
        return size // 2


@pytest.mark.parametrize("kind", [Renamed, Halved])
def test_what_reads_back_as_something_else_is_the_components_fault(write, fakes, kind):
    class Odd(MeanModel):
        def __init__(self, *, input_size: int, part: kind | None = None) -> None:
            super().__init__(input_size=input_size)

    Odd.__init__.__annotations__["part"] = kind | None
    fakes("model", "odd", Odd)
    key = "dim" if kind is Renamed else "size"
    (problem,) = problems(write(), f"model={{ type = 'odd', part = {{ {key} = 8 }} }}")
    assert "model: " in problem
    assert "read" in problem


def test_a_dataclass_is_a_component_with_the_defaults_that_it_makes(write, fakes):
    @dataclasses.dataclass
    class Built:
        sizes: list[int] = dataclasses.field(default_factory=lambda: [1, 2])

    fakes("model", "built", Built)
    found = load_experiment(write(), ["model={ type = 'built' }"])
    assert found.resolved()["model"] == {"type": "built", "sizes": [1, 2]}


def test_a_path_that_is_not_utf8_is_an_error(write, fakes, tmp_path, monkeypatch):
    fakes("dataset", "files", Files)
    folder = tmp_path / "caf\udce9"
    try:
        folder.mkdir()
    except (OSError, UnicodeError):
        pytest.skip("this file system has names in Unicode only")
    (folder / "e.toml").write_text(EXPERIMENT.replace('"memory"', '"files"\nroot = "data"'))
    with pytest.raises(InputError, match=r"is not valid UTF-8, so it cannot be recorded") as caught:
        load_experiment(folder / "e.toml")
    assert ":6: dataset.root: " in str(caught.value)
    (folder / "e.toml").write_text(EXPERIMENT)
    monkeypatch.chdir(folder)
    assert load_experiment(Path("e.toml")).name == "small"
