"""Files with a matrix: variants, what each is, and what is wrong with a matrix."""

import re
import tomllib

import pytest
from fakes import EXPERIMENT, MeanModel
from faults import problems

from musicemo import toml
from musicemo.errors import InputError
from musicemo.experiment import load_experiment, load_experiments

pytestmark = pytest.mark.usefixtures("fakes")

MATRIX = """
[matrix]
"dataset.classes" = [2, 3]
"weighting.type" = ["sum", "learned"]

[matrix.loss]
default = {}
squared.tasks.genre = {}
squared.tasks.valence.loss = [{ type = "mse", weight = 0.5 }]
"""


@pytest.fixture
def write(tmp_path):
    def write(matrix: str = MATRIX, name: str = "e.toml", text: str = EXPERIMENT):
        path = tmp_path / name
        path.write_text(text + matrix)
        return path

    return write


def names(path, *overrides, only=()):
    return [found.name for found in load_experiments(path, overrides, only)]


def test_every_combination_is_an_experiment(write):
    found = load_experiments(write())
    assert [experiment.name for experiment in found] == [
        f"small-classes{classes}-{weighting}-{loss}"
        for classes in (2, 3)
        for weighting in ("sum", "learned")
        for loss in ("default", "squared")
    ]
    for experiment in found:
        classes, weighting, loss = experiment.variant.values()
        assert list(experiment.variant) == ["classes", "type", "loss"]
        assert experiment.dataset.parameters["classes"] == classes
        assert experiment.weighting.name == weighting
        expected = [(0.5, "mse")] if loss == "squared" else [(1.0, "squared-error")]
        assert [(weight, one.name) for weight, one, _ in experiment.losses["valence"]] == expected


def test_a_file_without_a_matrix_is_one_experiment(write):
    (found,) = load_experiments(write(""))
    assert (found.name, found.variant) == ("small", {})


def test_a_resolved_variant_holds_no_matrix_and_is_that_experiment(write, tmp_path):
    for number, found in enumerate(load_experiments(write())):
        assert "matrix" not in found.resolved()
        again = tmp_path / f"{number}.toml"
        again.write_text(toml.write(found.resolved(), found.source))
        assert load_experiment(again).resolved() == found.resolved()


def test_the_name_of_the_file_stands_in_for_a_name(write):
    path = write(text=EXPERIMENT.replace('name = "small"', ""), name="mine.toml")
    assert names(path)[0] == "mine-classes2-sum-default"


@pytest.mark.parametrize(
    ("values", "labels"),
    [
        ("[0.001, 1e-5]", ["lr0.001", "lr1e-05"]),
        ("[1, 2]", ["lr1", "lr2"]),
    ],
)
def test_numbers_are_called_by_their_axis(write, values, labels):
    path = write(f'[matrix]\n"training.optimizer.lr" = {values}\n')
    assert names(path) == [f"small-{label}" for label in labels]


def test_text_and_truth_in_names(write):
    path = write('[matrix]\n"training.bucket" = [true, false]\n"description" = ["a b/c", "d"]\n')
    assert names(path) == [f"small-bucket{b}-{d}" for b in ("true", "false") for d in ("a-b-c", "d")]


def test_overrides_apply_to_every_variant_and_have_the_last_word(write):
    found = load_experiments(write(), ["training.epochs=9", "dataset.tracks=41", "name=other"])
    assert {experiment.training.epochs for experiment in found} == {9}
    assert {experiment.dataset.parameters["tracks"] for experiment in found} == {41}
    assert found[0].name == "other-classes2-sum-default"
    assert names(write(), 'matrix."dataset.classes"=[5]')[0] == "small-classes5-sum-default"


@pytest.mark.parametrize(
    ("override", "told"),
    [
        ("weighting.type=learned", "weighting.type is an axis .*Select variants with --only type=learned "),
        (
            "weighting = { type = 'sum' }",
            r"weighting.type is an axis .* --only type=VALUE \(values: sum, learned\)",
        ),
        (
            "dataset.classes=4",
            r"--only classes=VALUE \(values: 2, 3\), or .* --set 'matrix.\"dataset.classes\"=\[...\]'",
        ),
        (
            "dataset.classes=3",
            r"dataset.classes is an axis of the matrix \(.*e.toml:\d+\), .* --only classes=3 ",
        ),
        ("dataset={ type = 'other' }", r"dataset.classes is an axis"),
    ],
)
def test_what_variants_are_called_by_is_not_overridden(override, told, write):
    with pytest.raises(InputError, match=f"^--set {re.escape(override)}: .*{told}"):
        load_experiments(write(), [override])


def test_what_named_variants_set_may_be_overridden(write):
    path = write("[matrix.size]\nsmall.model.hidden = 4\nlarge.model.hidden = 16\n")
    found = load_experiments(path, ["model.hidden=2"])
    assert {one.model.parameters["hidden"] for one in found} == {2}


def test_a_component_of_another_type_replaces_the_whole_of_it(write):
    path = write(
        '[matrix.model]\nwide.model = { hidden = 16 }\nother.dataset = { type = "memory", tracks = 30 }\n'
    )
    wide, other = load_experiments(path)
    assert (wide.model.parameters["hidden"], other.dataset.parameters["tracks"]) == (16, 30)


def test_combinations_are_excluded(write):
    path = write(
        MATRIX.replace(
            "[matrix]", '[matrix]\nexclude = [{ classes = 2, type = "sum" }, { loss = ["squared"] }]'
        )
    )
    assert names(path) == [
        "small-classes2-learned-default",
        "small-classes3-sum-default",
        "small-classes3-learned-default",
    ]
    (problem,) = problems(path, 'matrix.exclude=[{ loss = ["squared", "default"] }]')
    assert problem.endswith("matrix.exclude: leaves no variant")


def test_some_combinations_have_more_keys(write):
    path = write(
        MATRIX + '[[matrix.override]]\nwhere = { classes = 2, loss = "default" }\nset = { model.hidden = 5 }\n'
    )
    for found in load_experiments(path):
        special = found.variant["classes"] == 2 and found.variant["loss"] == "default"
        assert found.model.parameters["hidden"] == (5 if special else 8)


def test_a_matrix_is_inherited_axis_by_axis(write, tmp_path):
    write(name="base.toml")
    path = tmp_path / "heir.toml"
    path.write_text('extends = "base.toml"\nname = "heir"\n[matrix]\n"dataset.classes" = [4]\n')
    assert names(path) == [
        f"heir-classes4-{weighting}-{loss}"
        for weighting in ("sum", "learned")
        for loss in ("default", "squared")
    ]


def test_errors_of_variants_name_the_line_of_the_matrix_and_are_told_once(write):
    matrix = MATRIX.replace("[2, 3]", "[2, 30]").replace('"mse", weight = 0.5', '"msee"')
    path = write(matrix)
    line = path.read_text().splitlines().index('"dataset.classes" = [2, 30]') + 1
    unknown, large = problems(path)
    assert unknown.startswith(
        f"e.toml:{line + 6}: tasks.valence.loss[0].type: no loss has the name 'msee'; did you mean"
    )
    assert large == (
        f"e.toml:{line}: dataset.classes: input should be less than or equal to 6, not 30 (variants "
        "small-classes30-sum-default, small-classes30-sum-squared, small-classes30-learned-default and 1 more)"
    )


class Wide(MeanModel):
    """Another model with the key `hidden`, and one that the first lacks."""

    def __init__(self, *, input_size: int, hidden: int = 64, heads: int = 1) -> None:
        super().__init__(input_size=input_size, hidden=hidden)


AXES = ['"model.hidden" = [5, 7]', '"model.type" = ["means", "wide"]']


@pytest.mark.parametrize("axes", [AXES, AXES[::-1]])
def test_the_order_of_a_type_and_its_keys_does_not_matter(write, fakes, axes):
    """Every variant has the values that it is called by, and so has what its run would record."""
    fakes("model", "wide", Wide)
    found = load_experiments(write("[matrix]\n" + "\n".join(axes)))
    assert len(found) == 4
    for one in found:
        assert (one.model.name, one.model.parameters["hidden"]) == (one.variant["type"], one.variant["hidden"])
        assert one.resolved()["model"]["hidden"] == one.variant["hidden"]


def test_a_type_of_a_named_variant_takes_the_keys_of_other_axes(write, fakes):
    fakes("model", "wide", Wide)
    path = write(
        '[matrix]\n"model.hidden" = [5, 7]\nkind.a = {}\nkind.b.model = { type = "wide", heads = 2 }\n'
    )
    assert [one.resolved()["model"] for one in load_experiments(path)] == [
        {"type": "means", "hidden": 5},
        {"type": "wide", "hidden": 5, "heads": 2},
        {"type": "means", "hidden": 7},
        {"type": "wide", "hidden": 7, "heads": 2},
    ]


def test_a_key_that_one_type_lacks_is_an_error_of_its_variants(write, fakes):
    fakes("model", "wide", Wide)
    path = write('[matrix]\n"model.heads" = [2, 3]\n"model.type" = ["means", "wide"]\n')
    assert problems(path) == [
        "e.toml:24: model.heads: unknown key (allowed: hidden, type); type is 'means' "
        "(variants small-heads2-means, small-heads3-means)"
    ]
    assert names(path, only=["type=wide"]) == ["small-heads2-wide", "small-heads3-wide"]


@pytest.mark.parametrize(
    ("matrix", "expected"),
    [
        (  # a rule's type would drop what the variants are called by
            '"model.hidden" = [5, 7]\nkind = { a = {}, b = {} }\n'
            'override = [{ where = { kind = "b" }, set = { model.type = "wide" } }]',
            "e.toml:24: model.hidden: this value is lost: e.toml:26 replaces it (variants small-hidden5-b, "
            "small-hidden7-b)",
        ),
        (
            '"model.hidden" = [5, 7]\noverride = [{ where = { hidden = 5 }, set = { model.hidden = 6 } }]',
            "e.toml:24: model.hidden: this value is lost: e.toml:25 replaces it (variant small-hidden5)",
        ),
        (
            '"model.hidden" = [5]\nsize = { a = { model.hidden = 6 }, b = {} }',
            "e.toml:24: model.hidden: this value is lost: e.toml:25 replaces it (variant small-hidden5-a)",
        ),
        (
            "size = { a = { model.hidden = 6 } }\nkind = { b = { model.hidden = 7 } }",
            "e.toml:24: model.hidden: this value is lost: e.toml:25 replaces it",
        ),
        (  # two names of one element
            "size = { a = { tasks.valence.loss = [{ type = 'mse', weight = 1 }] } }\n"
            "weight = { b = { tasks.valence.loss.0.weight = 2 } }",
            "e.toml:24: tasks.valence.loss: this value is lost: e.toml:24 replaces it",
        ),
    ],
)
def test_a_value_that_does_not_stand_is_an_error(write, fakes, matrix, expected):
    fakes("model", "wide", Wide)
    assert problems(write(f"[matrix]\n{matrix}\n")) == [expected]


def test_a_type_from_the_command_line_does_not_take_an_axis_away(write, fakes):
    fakes("model", "wide", Wide)
    path = write('[matrix]\n"model.hidden" = [5, 7]\n')
    (first,) = problems(path, "model.type=wide")
    assert first.startswith("--set model.type=wide: model.hidden is an axis of the matrix (")
    named = write("[matrix]\nsize = { a.model.hidden = 5, b.model.hidden = 7 }\n")
    assert problems(named, "model.type=wide") == [
        "e.toml:24: model.hidden: this value is lost: --set model.type=wide replaces it"
    ]
    assert names(named, "model.type=wide", "model.hidden=9") == ["small-a", "small-b"]


def test_what_is_not_finite_is_a_value_of_an_axis(write, fakes):
    class Limited(MeanModel):
        def __init__(self, *, input_size: int, limit: float = 1.0) -> None:
            super().__init__(input_size=input_size)

    fakes("model", "limited", Limited)
    matrix = '[matrix]\n"model.type" = ["limited"]\n"model.limit" = [inf, -inf, nan, 1e-3]\n'
    path = write(matrix + "exclude = [{ limit = nan }]")
    assert names(path) == ["small-limited-limitinf", "small-limited-limit-inf", "small-limited-limit0.001"]
    path = write(matrix)
    (found,) = load_experiments(path, only=["limit=nan"])
    assert str(found.model.parameters["limit"]) == "nan"
    assert found.variant["limit"] == "nan", "as results.json can hold it"
    assert names(path, only=["limit=+inf", "limit=0.1e-2"]) == [
        "small-limited-limitinf",
        "small-limited-limit0.001",
    ]
    assert problems(write('[matrix]\n"model.limit" = [nan, nan, 1, 1.0]\n')) == [
        "e.toml:24: matrix.model.limit[1]: is given twice",
        "e.toml:24: matrix.model.limit[3]: is given twice",
    ]


def test_a_matrix_has_a_limit(write):
    axes = "\n".join(f'"model.x{n}" = {list(range(100))}' for n in range(4))
    (problem,) = problems(write(f"[matrix]\n{axes}\n"))
    assert problem == "e.toml:23: matrix: has 100,000,000 combinations, more than 10,000: use fewer values"


def test_what_is_chosen(write):
    assert names(write(), only=["classes=3", "loss=squared"]) == [
        "small-classes3-sum-squared",
        "small-classes3-learned-squared",
    ]
    assert len(names(write(), only=["classes=3", "classes=2", "type=sum"])) == 4
    assert load_experiment(write(), only=["classes=3", "loss=squared", "type=sum"]).name.endswith("sum-squared")


@pytest.mark.parametrize(
    ("only", "expected"),
    [
        (
            "clases=3",
            "--only clases=3: unknown axis 'clases'; did you mean 'classes'? (axes: classes, type, loss)",
        ),
        (
            "type=learnt",
            "--only type=learnt: 'type' has no value 'learnt'; did you mean 'learned'? (values: sum,",
        ),
        ("type", "--only type: must have the form AXIS=VALUE"),
    ],
)
def test_a_wrong_choice(write, only, expected):
    (problem,) = problems(write(), only=[only])
    assert problem.startswith(expected)


def test_a_choice_without_a_matrix_and_one_that_is_excluded(write):
    (problem,) = problems(write(""), only=["a=b"])
    assert problem == "--only a=b: e.toml has no matrix"
    path = write(MATRIX.replace("[matrix]", "[matrix]\nexclude = [{ classes = 2 , type = 'sum'}]"))
    (problem,) = problems(path, only=["classes=2", "type=sum"])
    assert problem == "--only classes=2 --only type=sum: e.toml excludes this variant"


def test_one_experiment_is_asked_for_and_there_are_several(write):
    with pytest.raises(
        InputError, match=r"has 8 variants, small-classes2-sum-default to .*--only classes=VALUE"
    ):
        load_experiment(write())


@pytest.mark.parametrize(
    ("matrix", "expected"),
    [
        ("matrix = 3", ["matrix: must be a table of axes, not 3"]),
        ("[matrix]", ["matrix: has no axis"]),
        ("[matrix]\nsplit = 3", ["matrix.split: must be a list of values or a table of variants, not 3"]),
        ('[matrix]\n"split.seed" = []', ["matrix.split.seed: has no value"]),
        (
            "[matrix]\nsplit.seed = [1, 2]",
            [
                "matrix.split.seed: must be a table of the keys that it sets (write the values of a dotted key as "
                '"split.seed" = [...], with quotes), not [1, 2]'
            ],
        ),
        ("[matrix]\nmodel.a = 3", ["matrix.model.a: must be a table of the keys that it sets, not 3"]),
        (
            '[matrix]\n"model.a" = [[1]]',
            [
                "matrix.model.a[0]: must be text, a number, true or false. Use [matrix.NAME] to name other values"
            ],
        ),
        ('[matrix]\n"split.seed" = [1, 1]', ["matrix.split.seed[1]: is given twice"]),
        ('[matrix]\n"a b" = [1]', ["matrix.a b: 'a b' is not a valid TOML key: "]),
        (
            '[matrix]\n"split.seed" = [1]\n"dataset.seed" = [2]',
            ["matrix.dataset.seed: another axis is also named 'seed'. Write one of them"],
        ),
        (
            "[matrix]\nseeds = [1, 2]",
            ["matrix.seeds: cannot be varied: replicates are not variants: set seeds = [...]"],
        ),
        (
            "[matrix.a.b]\nname = 'x'",
            ["matrix.a.b.name: cannot be varied: the names of the variants are derived from the axes"],
        ),
        ("[matrix.'a b'.c]", ["matrix.a b: the name of an axis must consist of letters"]),
        ("[matrix.a.'b.c']", ["matrix.a.b.c: the name of a variant must consist of letters"]),
        ("[matrix]\na.b = {}\nexclude = 3", ["matrix.exclude: must be a list of tables, not 3"]),
        ("[matrix]\na.b = {}\nexclude = [{ c = 1 }]", ["matrix.exclude[0].c: there is no such axis (axes: a)"]),
        (
            "[matrix]\na.bee = {}\nexclude = [{ a = 'be' }]",
            ["matrix.exclude[0].a: 'be' is not a value of this axis; did you mean 'bee'? (values: bee)"],
        ),
        (
            "[matrix]\na.b = {}\noverride = [{ where = { a = 'b' } }]",
            ["matrix.override[0]: must be a table of where ="],
        ),
        (
            "[matrix]\na.b = {}\noverride = [{ where = { a = 'b' }, set = { seed = 1 } }]",
            ["matrix.override[0].set.seed: cannot be varied"],
        ),
        (
            "[matrix]\na = { x-y = {}, x = {} }\nb = { z = {}, y-z = {} }",
            ["matrix: more than one variant would have the name small-x-y-z"],
        ),
    ],
)
def test_what_is_wrong_with_a_matrix(write, matrix, expected):
    text = EXPERIMENT
    if matrix.startswith("matrix"):
        text, matrix = f"{matrix}\n{EXPERIMENT}", ""
    found = problems(write(matrix, text=text))
    assert len(found) == len(expected)
    for problem, start in zip(found, expected, strict=True):
        place, _, rest = problem.partition(": ")
        assert place.startswith("e.toml:")
        assert rest.startswith(start)


def test_a_wrong_override_of_the_matrix_names_the_override(write):
    assert problems(write(), "matrix.loss=3") == [
        "--set matrix.loss=3: matrix.loss: must be a list of values or a table of variants, not 3"
    ]


# A loss for every task of a kind.


def test_losses_by_kind(write):
    text = EXPERIMENT.replace('loss = { type = "squared-error" }', "")
    path = write('\n[losses]\nregression = [{ type = "squared-error", weight = 2.0 }]\n', text=text)
    found = load_experiment(path)
    assert tomllib.loads(toml.write(found.resolved()))["losses"] == {
        "regression": [{"type": "squared-error", "weight": 2.0}]
    }
    from musicemo.experiment.tracks import read_tracks

    completed = found.completed(read_tracks(found))
    assert "losses" not in completed.resolved()
    tasks = completed.resolved()["tasks"]
    assert tasks["valence"]["loss"] == [{"type": "squared-error", "weight": 2.0}]
    assert tasks["genre"]["loss"] == [{"type": "cross-entropy", "balanced": False, "weight": 1.0}]


@pytest.mark.parametrize(
    ("override", "expected"),
    [
        (
            "losses.regression.type=cross-entropy",
            "losses.regression.type: 'cross-entropy' is for classification",
        ),
        (
            "losses.regression=[{ type = 'mes' }]",
            "losses.regression[0].type: no loss has the name 'mes'; did you mean",
        ),
        ("losses.ranking.type=mse", "losses.ranking: input should be 'regression', 'classification', 'tags', "),
        ("losses=3", "losses: must be a table, not 3"),
    ],
)
def test_wrong_losses_by_kind(write, override, expected):
    (problem,) = problems(write(""), override)
    assert problem.startswith(f"--set {override}: {expected}")
