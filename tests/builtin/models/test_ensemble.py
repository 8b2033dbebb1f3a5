import csv

import fakes
import pytest
import torch
from estimator_properties import ENERGY, GENRE, MOOD, TARGETS, assert_learns, predict, songs
from harness import load, run_all
from musicemo_builtin.models.ensemble import Ensemble, MemberSettings
from musicemo_builtin.models.ridge import Ridge
from musicemo_builtin.models.svr import SVR

from musicemo.components import registry
from musicemo.components.spec import make_component
from musicemo.errors import InputError
from musicemo.testing import check_model

SIZE = 6


def ensemble(*members, targets=TARGETS, streams=None):
    component = make_component(
        "model", "ensemble", registry.load("model", "ensemble"), {"members": list(members)}
    )
    return component.build(input_size=SIZE, targets=targets, streams=streams)


@pytest.mark.slow
def test_it_holds_what_every_estimator_must():
    members = [{"type": "ridge", "weight": 2.0}, {"type": "svr"}, {"type": "genre-mean"}]
    check_model("ensemble", {"members": members})


@pytest.mark.slow
def test_it_learns():
    assert_learns(lambda: ensemble({"type": "ridge"}, {"type": "svr", "C": 1.0}))


@pytest.mark.slow
def test_predictions_are_the_weighted_means_of_ratings_and_probabilities():
    tracks, targets = songs()
    together = ensemble({"type": "ridge", "weight": 3.0}, {"type": "svr", "C": 1.0})
    members = [Ridge(targets=TARGETS), SVR(targets=TARGETS, C=1.0)]
    for model in (together, *members):
        model.fit(tracks[:45], {name: values[:45] for name, values in targets.items()})
    mean = predict(together, tracks[45:], targets)
    first, second = (predict(member, tracks[45:], targets) for member in members)
    for name, probability in (
        (ENERGY.name, torch.nn.Identity()),
        (GENRE.name, torch.nn.Softmax(1)),
        (MOOD.name, torch.nn.Sigmoid()),
    ):
        expected = 0.75 * probability(first[name]) + 0.25 * probability(second[name])
        torch.testing.assert_close(probability(mean[name]), expected)


def test_a_member_gets_its_streams():
    """Of tracks whose first rows are noise, the members see the others, in the order that they name."""
    tracks, targets = songs()
    streams = {"noise": slice(0, 2), "loud": slice(2, 5), "soft": slice(5, 6)}
    together = ensemble({"type": "ridge", "streams": ["soft", "loud"]}, streams=streams)
    alone = Ridge(targets=TARGETS)
    together.fit(tracks, targets)
    alone.fit([track[:, [5, 2, 3, 4]] for track in tracks], targets)
    expected = predict(alone, [track[:, [5, 2, 3, 4]] for track in tracks], targets)
    predictions = predict(together, tracks, targets)
    torch.testing.assert_close(predictions["energy"], expected["energy"])
    torch.testing.assert_close(predictions["genre"].softmax(1), expected["genre"].softmax(1))


def test_a_member_knows_the_places_of_its_streams():
    streams = {"noise": slice(0, 2), "loud": slice(2, 5), "soft": slice(5, 6)}
    member = {"type": "multi-kernel", "streams": ["soft", "loud"], "regression": {"loud": 1.0, "soft": 1.0}}
    together = ensemble(member, targets=[ENERGY], streams=streams)
    assert together.members[0].columns == {"soft": slice(0, 1), "loud": slice(1, 4)}


@pytest.mark.parametrize(
    ("members", "words"),
    [
        ([{"type": "ridge"}, {"type": "cnn"}], r"`members\[1\]`: 'cnn' is trained by gradients"),
        ([{"type": "svr", "streams": ["clips"]}], r"`members\[0\]\.streams`: unknown stream 'clips'"),
        ([{"type": "rigde"}], r"members\[0\]: no model has the name 'rigde'; did you mean 'ridge'\?"),
        ([{"type": "ridge", "alpha": 2.0}], r"members\[0\]\.alpha: extra inputs"),
        ([{"type": "ridge", "weight": 0.0}], r"members\[0\]\.weight: input should be greater than 0"),
    ],
)
def test_members_that_do_not_fit(members, words):
    with pytest.raises(InputError, match=words):
        ensemble(*members)


MEMBERS = [{"type": "ridge"}, {"type": "svr", "C": 2.0}]
EXPERIMENT = f"""\
name = "NAME"
dataset.type = '{fakes.__file__}:MemoryDataset'
split = {{ method = "kfold", folds = 3, validation = 0 }}
training.device = "cpu"
tasks.valence = {{}}
tasks.genre = {{}}
"""


@pytest.mark.slow
def test_out_of_fold_it_is_the_mean_of_the_separate_runs(tmp_path):
    models = {"ridge": MEMBERS[0], "svr": MEMBERS[1], "both": {"type": "ensemble", "members": MEMBERS}}
    columns = {}
    for name, model in models.items():
        text = EXPERIMENT.replace("NAME", name) + f"model = {inline(model)}\n"
        outcomes = run_all(tmp_path, text=text)
        assert len(outcomes) == 3
        columns[name] = {
            row["track"]: float(row["prediction"])
            for outcome in outcomes
            for row in csv.DictReader((outcome.directory / "predictions.csv").read_text().splitlines())
            if row["part"] == "test" and row["task"] == "valence"
        }
    assert len(columns["both"]) == 60
    for track, value in columns["both"].items():
        assert value == pytest.approx((columns["ridge"][track] + columns["svr"][track]) / 2, abs=1e-4)


def inline(value):
    if isinstance(value, dict):
        return "{ " + ", ".join(f"{key} = {inline(inner)}" for key, inner in value.items()) + " }"
    return "[" + ", ".join(map(inline, value)) + "]" if isinstance(value, list) else repr(value)


def test_problems_of_members_name_file_line_and_key(tmp_path):
    text = """\
name = "bad"
dataset.type = "synth"
tasks.valence = {}
[model]
type = "ensemble"
members = [
  { type = "svr", CC = 1.0 },
  { type = "ridge", weight = -1.0, stream = ["a"] },
]
"""
    with pytest.raises(InputError) as caught:
        load(tmp_path, text=text)
    problems = caught.value.problems
    assert any("model.members[0].CC: unknown key; did you mean 'C'?" in problem for problem in problems)
    assert any(
        "model.members[1].stream: unknown key; did you mean 'streams'?" in problem for problem in problems
    )
    assert any("model.members[1].weight: input should be greater than 0" in problem for problem in problems)


def test_a_recorded_experiment_reads_back_the_same(tmp_path):
    text = EXPERIMENT.replace("NAME", "one")
    experiment = load(tmp_path, text=text + f"model = {inline({'type': 'ensemble', 'members': MEMBERS})}\n")
    members = experiment.model.to_table()["members"]
    assert [member["type"] for member in members] == ["ridge", "svr"]
    assert (members[0]["weight"], members[1]["C"], members[1]["epsilon"]) == (1.0, 2.0, 0.02)
    again = load(tmp_path, text=text + f"model = {inline(experiment.model.to_table())}\n")
    assert again.model.to_table() == experiment.model.to_table()
    assert isinstance(again.model.parameters["members"][0].settings, MemberSettings)
    assert again.model.factory is Ensemble
