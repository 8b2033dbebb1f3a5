"""Reports of seeds and folds taken together."""

import json
import re

import numpy as np
import pytest
from reading_html import Reader
from recorded_runs import TOML, evaluation, write_run

from musicemo.comparison import compare, read_replicates
from musicemo.reporting import make_report, render
from musicemo.reporting.blocks import Text

FOLDS = TOML + '\n[split]\nmethod = "kfold"\nfolds = 3\nfold = {fold}\n'


def parts(seed):
    return {part: evaluation(count, seed=seed, prefix=part) for part, count in (("val", 9), ("test", 12))}


@pytest.fixture
def seeds(tmp_path):
    folder = tmp_path / "runs" / "written"
    for seed in range(3):
        write_run(folder, f"20260102-03040{seed}-seed{seed}", seed=seed, parts=parts(seed))
    return folder


@pytest.fixture
def folds(tmp_path):
    folder = tmp_path / "runs" / "folded"
    for fold in range(3):
        one = {"val": evaluation(6, prefix="val"), "test": evaluation(10 + fold, prefix=f"fold{fold}-")}
        directory = write_run(folder, f"20260102-03040{fold}-fold{fold}", fold=fold, parts=one)
        (directory / "experiment.toml").write_text(
            FOLDS.format(name="folded", seed=0, epochs=4, fold=fold), encoding="utf-8"
        )
    return folder


def section(page, title):
    (found,) = (section for section in page.sections if section.title == title)
    return found


def test_metrics_are_those_of_a_comparison_of_the_one_experiment(seeds):
    (row,) = (row for row in compare([read_replicates(seeds)]).rows if row.task == "valence")
    text = Reader(render(make_report(seeds))).text
    (score,) = row.scores
    assert f"{score.mean:.3f} ± {score.deviation:.3f}" in text
    assert "Mean ± standard deviation over 3 seeds, test set, 12 tracks." in text
    for seed in range(3):
        assert re.search(rf"seed {seed}{score.values[seed]:.3f}", text)


def test_ratings_are_means_over_the_seeds_and_classes_are_counted_once_a_seed(seeds):
    page = make_report(seeds)
    (charts,) = section(page, "Predicted against true").blocks
    _, dots, _ = charts.charts[0].marks
    every = [evaluation(12, seed=seed, prefix="test").tasks["valence"].prediction for seed in range(3)]
    np.testing.assert_allclose(sorted(dots.y), sorted(np.mean(every, axis=0)))
    confusion, tables = section(page, "Classes").blocks
    assert sum(int(text or 0) for row in confusion.charts[0].marks[0].texts for text in row) == 36
    assert "Each track is counted 3 times, over 3 seeds." in confusion.note
    assert [row[-1] for row in tables.tables[0].rows] == ["12", "12", "12"]


def test_curves_have_a_line_a_run(seeds):
    page = make_report(seeds)
    losses = section(page, "Training").blocks[0].charts[0]
    assert [mark.faint for mark in losses.marks[:-1]] == [True] * 6
    assert len(losses.marks[-1].x) == 3


def test_folds_are_scored_as_one(folds):
    text = Reader(render(make_report(folds))).text
    assert "Seed 0, 3 folds combined, test set, 33 tracks." in text
    assert "With one seed, the variation between seeds is unknown." in text
    assert "seed 0, fold 2" in text
    assert re.search(r"fold 2\s*6\s*0{12}\s*12\s*0{12}", text)


def test_runs_that_cannot_be_taken_together_are_shown_one_by_one(seeds):
    path = sorted(seeds.iterdir())[1] / "results.json"
    results = json.loads(path.read_text())
    results["split"]["test"] = "f" * 64
    path.write_text(json.dumps(results))
    page = make_report(seeds)
    assert "The runs cannot be combined: " in page.notices[0].text
    assert section(page, "Results").blocks[0].title == "Each run's leading metrics"


def test_unfinished_replicates_are_told(seeds):
    write_run(seeds, "20260102-030409-seed9", seed=9, status="failed", error="no memory")
    page = make_report(seeds)
    assert page.status == "unfinished"
    assert page.notices[0].text == "20260102-030409-seed9: the run failed: no memory"
    texts = [block.text for block in section(page, "Results").blocks if isinstance(block, Text)]
    assert any("over 3 seeds" in text for text in texts)


def test_none_finished(tmp_path):
    for seed in range(2):
        write_run(tmp_path / "x", f"2026010{seed}-030405-seed{seed}", seed=seed, status="interrupted")
    page = make_report(tmp_path / "x")
    assert page.status == "interrupted"
    assert next(one.title for one in page.sections) == "Training"
