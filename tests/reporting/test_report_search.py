"""The report of a search: history, importance, parallel coordinates, slices, and how often each set was used."""

from __future__ import annotations

import re
import sys

import pytest
from complaints import warns
from reading_html import Reader
from recorded_runs import write_run

from musicemo.reporting import make_report, render, write_figures
from musicemo.reporting.charts import Points
from musicemo.reporting.sections.search import looks, search_sections, trial_line
from musicemo.runs.search import ABOUT, ERROR, HASH, OVERRIDES, TESTED, open_journal, read_search

optuna = pytest.importorskip("optuna", reason="needs the library optuna")

SPACE = {
    "model.type": optuna.distributions.CategoricalDistribution(["cnn", "lstm"]),
    "training.optimizer.lr": optuna.distributions.FloatDistribution(1e-4, 1e-1, log=True),
    "training.batch_size": optuna.distributions.CategoricalDistribution(["8", "16", "32"]),
}
HIDDEN = {"model.hidden (model.type = lstm)": optuna.distributions.IntDistribution(8, 64)}


def add(study, value, state="COMPLETE", tested=(), **parameters):
    names = {name.rpartition(".")[2]: name for name in SPACE}
    values = {names[name]: one for name, one in parameters.items() if name in names}
    distributions = SPACE
    if "hidden" in parameters:
        values |= dict.fromkeys(HIDDEN, parameters["hidden"])
        distributions = SPACE | HIDDEN
    overrides = {name.partition(" ")[0]: one for name, one in values.items()}
    study.add_trial(
        optuna.trial.create_trial(
            state=optuna.trial.TrialState[state],
            value=value if state == "COMPLETE" else None,
            params=values,
            distributions=distributions,
            intermediate_values={} if state == "FAIL" else {1: value / 2, 2: value},
            user_attrs={
                OVERRIDES: overrides,
                HASH: str(sorted(overrides.items())),
                **({ERROR: "a <fault> of the model"} if state == "FAIL" else {}),
            },
        )
    )


@pytest.fixture
def folder(tmp_path):
    """Return the folder of a search that was written by hand."""
    path = tmp_path / "runs" / "written"
    path.mkdir(parents=True)
    study = optuna.create_study(storage=open_journal(path), study_name="a", direction="maximize")
    about = {
        "key": "a",
        "metric": "val/mean_rank",
        "sampler": "tpe",
        "pruner": "median",
        "runs": 2,
        "trials": 9,
    }
    study.set_user_attr(ABOUT, about | {"begun": 1.0})
    for place in range(8):
        kind = "lstm" if place % 2 else "cnn"
        more = {"hidden": 8 * place} if kind == "lstm" else {}
        add(study, 0.1 * place + 0.01, type=kind, lr=10 ** (-4 + place / 4), batch_size="16", **more)
    add(study, 0.05, "PRUNED", type="cnn", lr=1e-4, batch_size="8")
    add(study, 0.0, "FAIL", type="cnn", lr=1e-1, batch_size="32")
    study.set_user_attr(TESTED, [7])
    return path


def test_the_page_has_the_result_and_a_chart_for_each_question(folder):
    page = make_report(folder)
    assert page.kind == "search"
    assert dict(page.facts)["trials"] == "8 complete, 1 pruned, 1 failed"
    charts = dict(page.charts())
    assert list(charts) == [
        "trials-History",
        "trials-Importance",
        "trials-Parallel coordinates",
        "trials-slice model.type",
        "trials-slice training.optimizer.lr",
        "trials-slice training.batch_size",
        "trials-slice model.hidden (model.type = lstm)",
    ]
    html = Reader(render(page))
    assert "[model]" in html.text
    assert "a <fault> of the model" in html.text


def test_the_history_has_every_trial_and_the_best_so_far(folder):
    (history,) = (chart for name, chart in make_report(folder).charts() if name == "trials-History")
    complete, best, pruned = history.marks
    assert complete.x == [0, 1, 2, 3, 4, 5, 6, 7]
    assert complete.y == pytest.approx([0.1 * place + 0.01 for place in range(8)])
    assert best.y == complete.y
    assert (pruned.x, pruned.y) == ([8], [0.05])


def test_the_importance_is_of_the_parameters_of_all_trials(folder):
    (chart,) = (chart for name, chart in make_report(folder).charts() if name == "trials-Importance")
    assert {text for _, text in chart.y.named} == {"lr", "type", "batch_size"}
    (ends,) = (mark for mark in chart.marks if isinstance(mark, Points))
    assert sum(ends.x) == pytest.approx(1)
    assert chart.y.named[0][1] == "lr"  # which the values follow


def test_parallel_coordinates_pass_only_the_keys_of_a_trial(folder):
    (chart,) = (chart for name, chart in make_report(folder).charts() if "Parallel" in name)
    names = [text for _, text in chart.x.named]
    assert names == ["type", "lr", "batch_size", "hidden (lstm)", "mean_rank"]
    best = chart.marks[-1]
    assert best.label == "best"
    assert best.x == (0, 1, 2, 3, 4)
    assert best.y == (1, 1, 0, 1, 1)  # of complete trials, all have one batch size
    assert {line.x for line in chart.marks[:-1]} == {(0, 1, 2, 4), (0, 1, 2, 3, 4)}


def test_slices_have_the_trials_with_the_parameter(folder):
    slices = {name: chart for name, chart in make_report(folder).charts() if "slice" in name}
    assert slices["trials-slice training.optimizer.lr"].x.log
    assert len(slices["trials-slice training.optimizer.lr"].marks[0].x) == 8
    assert len(slices["trials-slice model.hidden (model.type = lstm)"].marks[0].x) == 4
    assert [text for _, text in slices["trials-slice training.batch_size"].x.named] == ["16"]


def test_all_trials_are_in_a_table_with_the_best_first(folder):
    (table,) = next(one for one in search_sections(read_search(folder)) if one.title == "All trials").blocks
    assert [row[0] for row in table.rows] == [*map(str, range(7, -1, -1)), "8", "9"]
    assert table.rows[0][4:] == ["lstm", "0.005623", "16", "56"]
    assert [row[1] for row in table.rows[-2:]] == ["pruned", "failed"]


@pytest.mark.parametrize(
    ("tested", "expected"),
    [
        ([7], r"validation set 10 times.*test set was evaluated once, for the best trial\. .*optimistic"),
        ([3, 7], r"test set was evaluated twice, for the trials 3, 7: the search was extended"),
        ([], r"validation set 10 times, once for each of its distinct trials\. The validation value"),
    ],
)
def test_the_report_counts_the_looks_at_each_set(folder, tested, expected):
    study = optuna.load_study(storage=open_journal(folder), study_name="a")
    study.set_user_attr(TESTED, tested)
    assert re.search(expected, looks(read_search(folder)).text)


def test_a_trial_is_a_line(folder):
    (study,) = read_search(folder).studies
    lines = {one.number: f"{trial_line(one, study).lead}{trial_line(one, study).text}" for one in study.trials}
    assert lines[8].startswith('trial 8: 0.0500, pruned after 2 epochs; model.type = "cnn", ')
    assert lines[9].startswith("trial 9: failed: a <fault> of the model; ")
    assert lines[0].endswith("; best 0.7100 (trial 7)")


def test_a_report_without_optuna_has_all_but_the_search(folder, monkeypatch):
    write_run(folder)
    titles = {section.title for section in make_report(folder).sections}
    assert {"Search", "Trials", "All trials"} < titles
    monkeypatch.setitem(sys.modules, "optuna", None)
    with warns(r"its search is not shown: .*pip install 'musicemo\[search\]'"):
        page = make_report(folder)
    assert {section.title for section in page.sections} == titles - {"Search", "Trials", "All trials"}


@pytest.mark.slow
def test_the_charts_are_written_as_files(folder, tmp_path):
    written = write_figures(make_report(folder), tmp_path / "figures")
    assert len(written) == 2 * 7
    assert all(path.stat().st_size for path in written)
