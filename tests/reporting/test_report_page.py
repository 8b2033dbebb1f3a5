import contextlib
import json
import re

import numpy as np
import pytest
from reading_html import Reader
from recorded_runs import TOML, evaluation, write_run

from musicemo.errors import InputError
from musicemo.evaluation import Evaluation, TaskEvaluation
from musicemo.reporting import make_report, render
from musicemo.reporting.charts import Excerpt
from musicemo.reporting.sections.tracks import other_tracks
from musicemo.runs import RunDirectory

HOSTILE = '<script>alert("1")</script><img src=x onerror="alert(2)">&amp;\'{{ 7 * 7 }}{% raw %}'


def read(path) -> Reader:
    return Reader(render(make_report(path)))


def change(directory, **results):
    path = directory / "results.json"
    path.write_text(json.dumps(json.loads(path.read_text()) | results))


def headings(page: Reader) -> list[str]:
    return page.texts["h2"]


def test_a_finished_run_has_every_section_that_it_has_something_for(directory):
    page = read(directory)
    assert page.texts["h1"] == ["written"]
    assert "Two tasks, by hand" in page.text
    assert headings(page) == [
        "Results",
        "Predicted against true",
        "Classes",
        "Worst predicted tracks",
        "Median and best predicted tracks",
        "Ratings",
        "Training",
        "Weights of the tasks",
        "Other sets",
        "Experiment",
        "Environment",
    ]
    links = [link["href"] for link in page.named("a")]
    ids = [f"#{element['id']}" for _, element in page.elements if "id" in element]
    assert set(links) <= set(ids)
    assert len(ids) == len(set(ids))


def test_it_is_one_file_that_fetches_nothing_and_executes_nothing(directory):
    html = render(make_report(directory))
    page = Reader(html)
    assert not {"script", "link", "iframe", "object", "embed", "img", "form", "base"} & {
        tag for tag, _ in page.elements
    }
    for _, attributes in page.elements:
        assert not {"src", "srcset", "data", "action", "xlink:href"} & set(attributes)
        assert not [name for name in attributes if name.startswith("on")]
        assert (attributes.get("href") or "#").startswith("#")
    assert not re.search(r"https?:|//[a-z]|url\(|@import|javascript:", html)
    (policy,) = (meta["content"] for meta in page.named("meta") if "http-equiv" in meta)
    assert policy == "default-src 'none'; style-src 'unsafe-inline'"
    assert len(html) < 150_000


def test_metrics_are_those_of_the_run(directory):
    results = json.loads((directory / "results.json").read_text())
    page = read(directory)
    for task, metric in (("valence", "spearman"), ("genre", "accuracy")):
        found = results["metrics"]["test"][task][metric]
        assert f"{found['value']:.3f}" in page.text
        assert f"[{found['low']:.2f}, {found['high']:.2f}]".replace("-", "−") in page.text
    assert "3 of 4" in page.text
    assert "12,345" in page.text
    assert "1 min 02 s" in page.text
    assert re.search(
        r"training set\s*validation set\s*test set\s*tracks\s*24\s*0{12}\s*9\s*0{12}\s*12\s*0{12}", page.text
    )


def test_the_worst_predicted_tracks_are_named_worst_first(directory):
    page = make_report(directory)
    (section,) = (section for section in page.sections if section.title == "Worst predicted tracks")
    ratings, classes = section.blocks
    test = evaluation(12, prefix="test")
    valence, genre = test.tasks["valence"], test.tasks["genre"]
    error = abs(valence.prediction - valence.target)
    assert [row[0].text for row in ratings.tables[0].rows] == [valence.ids[k] for k in (-error).argsort()[:5]]
    wrong = [name for name, a, b in zip(genre.ids, genre.target, genre.prediction, strict=True) if a != b]
    listed = [name for row in classes.rows for name in row[3].text.split(", ")]
    assert sorted(listed) == sorted(wrong)


def test_the_median_and_the_best_predicted_tracks_are_not_among_the_worst(tmp_path):
    ids = [f"track{index:02d}" for index in range(13)]
    target = np.linspace(2, 8, 13)
    errors = np.array([0.01 * 3**k for k in (6, 2, 0, 4, 3, 1, 5)] + [-0.5, -0.6, -0.7, -0.8, -0.9, -1.0])
    task = TaskEvaluation("regression", ids, target, target + errors)
    (section,) = [other_tracks(Evaluation({"valence": task}))]
    rows = section.blocks[0].tables[0].rows
    order = [ids[place] for place in np.argsort(-abs(errors))]
    assert [(row[0].text, row[0].note) for row in rows] == [
        (order[6], "median error"),
        (order[11], "among the best"),
        (order[12], "among the best"),
    ]
    few = TaskEvaluation("regression", ids[:5], target[:5], target[:5] + errors[:5])
    assert other_tracks(Evaluation({"valence": few})).blocks == []


def test_artist_and_classes_stand_beside_tracks_and_in_the_titles_of_points(directory):
    path = directory / "split.json"
    split = json.loads(path.read_text())
    (section,) = (one for one in make_report(directory).sections if one.title == "Worst predicted tracks")
    worst, second = (row[0].text for row in section.blocks[0].tables[0].rows[:2])
    split |= {
        "groups": {worst: "Muse", second: "<b>"},
        "classes": {"genre": {worst: "Rock"}, "mood": {worst: "sad"}},
    }
    path.write_text(json.dumps(split))
    page = make_report(directory)
    (section,) = (one for one in page.sections if one.title == "Worst predicted tracks")
    notes = {row[0].text: row[0].note for row in section.blocks[0].tables[0].rows}
    assert [notes.pop(name) for name in (worst, second)] == ["Muse, Rock, sad", "<b>"]
    assert set(notes.values()) == {""}
    titles = [
        title for _, chart in page.charts() for mark in chart.marks for title in getattr(mark, "titles", ())
    ]
    assert [title for title in titles if title.startswith(f"{worst} (Muse, Rock, sad): true ")]
    excerpts = {track: Excerpt(directory / "1.mp3") for track in page.tracks}
    players = Reader(render(page.with_players(excerpts), directory)).named("audio")
    assert f"{worst} (Muse, Rock, sad)" in {one["aria-label"] for one in players}


def test_every_chart_says_what_it_is(directory):
    page = read(directory)
    charts = [svg for svg in page.named("svg") if svg["class"] == "chart"]
    assert len(charts) > 8
    assert all(svg["role"] == "img" and len(svg["aria-label"]) > 10 for svg in charts)
    labels = " ".join(svg["aria-label"] for svg in charts)
    for expected in ("Predicted against true valence", "Confusion matrix of genre", "epochs: training"):
        assert expected in labels
    assert "true valence (1 to 9)" in page.text
    assert "best: 3" in page.text


def test_hostile_names_are_text_wherever_they_stand(tmp_path):
    genres = [f"{HOSTILE} {number}" for number in range(3)]
    ids = [f"{HOSTILE}{number}" for number in range(8)]
    one = evaluation(8, genres=genres)
    tasks = {
        f"{HOSTILE}{name}": TaskEvaluation(task.kind, ids, task.target, task.prediction, task.classes)
        for name, task in one.tasks.items()
    }
    toml = TOML.replace("Two tasks, by hand", HOSTILE.replace('"', '\\"').replace("{", "{{").replace("}", "}}"))
    directory = write_run(
        tmp_path / "runs" / "written",
        parts={"test": evaluation(8, genres=genres)},
        toml=toml,
        genres=genres,
        warnings=[HOSTILE],
        error=HOSTILE,
    )
    from musicemo.evaluation import EvaluationSettings

    written = Evaluation(tasks)
    RunDirectory(directory).write_predictions({"test": written})
    change(
        directory,
        name=HOSTILE,
        tasks={
            name: {"kind": task.kind, "target": HOSTILE, "classes": list(task.classes)}
            for name, task in tasks.items()
        },
        metrics={"test": written.to_json(EvaluationSettings(resamples=100))},
    )
    lines = [{"epoch": k, f"train/{HOSTILE}valence/loss": 1.0, f"weight/{HOSTILE}genre": k} for k in (1, 2)]
    lines[1][f"gradient/{HOSTILE}valence:{HOSTILE}genre/cosine"] = 0.5
    (directory / "history.jsonl").write_text("".join(json.dumps(line) + "\n" for line in lines))
    environment = {HOSTILE: HOSTILE, "packages": {HOSTILE: HOSTILE}, "command": [HOSTILE]}
    (directory / "environment.json").write_text(json.dumps(environment))
    html = render(make_report(directory))
    page = Reader(html)
    assert not {"script", "img"} & {tag for tag, _ in page.elements}
    assert not [name for _, attributes in page.elements for name in attributes if name.startswith("on")]
    assert page.texts["h1"] == [HOSTILE]
    assert page.text.count(HOSTILE) > 15
    assert "{{ 7 * 7 }}" in page.text


@pytest.mark.parametrize("status", ["failed", "interrupted", "running", "killed"])
def test_a_run_that_is_not_finished_is_shown_as_far_as_it_got(tmp_path, status):
    recorded = "running" if status == "killed" else status
    directory = write_run(tmp_path / "runs" / "written", status=recorded, error="a loss is <nan>")
    if status == "failed":
        (directory / "error.txt").write_text("Traceback: here\n")
    with RunDirectory(directory) if status == "running" else contextlib.nullcontext():
        page = read(directory)
    assert headings(page) == ["Training", "Weights of the tasks", "Experiment", "Environment"]
    expected = {
        "failed": "the run failed: a loss is <nan>",
        "interrupted": "the run was interrupted; musicemo run --resume continues it",
        "killed": "the run was interrupted: its process ended without recording a reason; musicemo run --resume",
        "running": "the run is not finished (status: running)",
    }[status]
    assert expected in page.text
    assert ("Traceback: here" in page.text) == (status == "failed")
    assert {"killed": "interrupted (killed)"}.get(status, status) in page.texts["span"]


def test_a_run_that_failed_before_its_first_epoch(tmp_path):
    directory = write_run(tmp_path / "runs" / "written", status="failed", epochs=0, error="no memory")
    assert headings(read(directory)) == ["Experiment", "Environment"]


def test_no_test_part_is_said(tmp_path):
    parts = {"train": evaluation(12, prefix="train"), "val": evaluation(9, prefix="val")}
    page = read(write_run(tmp_path / "runs" / "written", parts=parts))
    assert "The run has no test set: these are the metrics of the validation set." in page.text
    assert headings(page)[0] == "Results"


def test_missing_and_damaged_files_are_said(directory):
    (directory / "environment.json").unlink()
    (directory / "history.jsonl").write_text("{")
    (directory / "predictions.csv").write_text("what\n1\n")
    page = read(directory)
    for text in (
        "environment.json is missing",
        "history.jsonl: cannot be read",
        "predictions.csv: cannot be read",
    ):
        assert text in page.text
    assert headings(page) == ["Results", "Classes", "Other sets", "Experiment", "Environment"]


def test_results_of_an_earlier_version_or_with_next_to_nothing_in_them(directory):
    (directory / "results.json").write_text('{"status": "done", "metrics": {"test": {}}}')
    assert "Experiment" in headings(read(directory))
    for path in directory.iterdir():
        if path.is_file() and path.name != "results.json":
            path.unlink()
    assert headings(read(directory)) == ["Environment"]


def test_warnings_and_a_check_by_heart_are_said(directory):
    change(directory, warnings=["the loss of task 'valence' is negative"], overfit_batches=2)
    page = read(directory)
    assert "the loss of task 'valence' is negative" in page.text
    assert "a check that the network can memorize 2 batches" in page.text


def test_metrics_that_are_not_defined(directory):
    results = json.loads((directory / "results.json").read_text())
    for metric in results["metrics"]["test"]["valence"].values():
        if isinstance(metric, dict):
            metric.update(value=None, low=None, high=None)
    change(directory, metrics=results["metrics"])
    assert "n/a" in read(directory).text


def test_gradient_conflict_is_shown_where_it_was_recorded(directory):
    history = [
        {
            "epoch": epoch,
            "gradient/conflict": 0.25,
            "gradient/valence/norm": 2.0,
            "gradient/genre/norm": 0.5,
            "gradient/valence:genre/cosine": None if epoch == 2 else -0.5,
        }
        for epoch in range(1, 101)
    ]
    (directory / "history.jsonl").write_text("".join(json.dumps(line) + "\n" for line in history))
    gradients = {
        "every": 10,
        "steps": 40,
        "conflict": 0.25,
        "norms": {"valence": 2.0, "genre": 0.5},
        "cosines": {"valence": {"genre": -0.5}},
        "conflicts": {"valence": {"genre": 0.25}},
    }
    change(directory, gradients=gradients)
    page = read(directory)
    assert "Gradient conflict" in headings(page)
    assert "25 %" in page.text
    assert "40 steps" in page.text
    assert page.text.count("−0.50") == 2
    assert "valence · genre" in page.text


def test_replicates_that_are_of_one_folder(directory):
    write_run(directory.parent, "20260102-030406-seed1", seed=1)
    assert "2 runs of one experiment" in read(directory.parent).text


@pytest.mark.parametrize("path", [".", "nothing", "runs"])
def test_what_is_no_run(directory, monkeypatch, path):
    from pathlib import Path

    monkeypatch.chdir(directory.parents[2])
    with pytest.raises(InputError, match=r"is not a run directory|there is no such run"):
        make_report(Path(path))
