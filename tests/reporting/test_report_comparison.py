"""Reports of several experiments beside one another."""

import re
from urllib.parse import unquote

import pytest
from reading_html import Reader
from recorded_runs import TOML, evaluation, write_run

from musicemo.comparison import compare, read_experiments
from musicemo.errors import InputError
from musicemo.reporting import make_comparison, render, write_figures, write_report
from musicemo.reporting.sections.comparison import notes, verdicts

OTHER = TOML.replace('[dataset]\ntype = "memory"', '[dataset]\ntype = "memory"\ntracks = 7')


def parts(seed, count=12):
    return {part: evaluation(size, seed=seed, prefix=part) for part, size in (("val", 9), ("test", count))}


@pytest.fixture
def given(tmp_path, monkeypatch):
    """Return three experiments: three seeds, two seeds with another dataset, and one run."""
    monkeypatch.chdir(tmp_path)
    for seed in range(3):
        write_run(tmp_path / "plain", f"2026010{seed}-030405-seed{seed}", seed=seed, parts=parts(seed))
    for seed in range(2):
        found = parts(seed + 10)
        write_run(tmp_path / "other", f"2026010{seed}-030405-seed{seed}", seed=seed, parts=found, toml=OTHER)
    write_run(tmp_path / "single", "20260101-030405-seed0", parts=parts(20))
    return ["plain", "other", "<b>alone</b>=single/20260101-030405-seed0"]


def test_it_says_what_the_comparison_says(given):
    page = Reader(render(make_comparison(given)))
    comparison = compare(read_experiments(given))
    for text in (*verdicts(comparison), *notes(comparison)):
        assert text in page.text
    for row in comparison.rows:
        for score in row.scores:
            assert f"{score.mean:.3f}" in page.text
            assert not score.difference or f"{score.difference.value:+.3f}".replace("-", "−") in page.text
    titles = ["Verdict", "Scores", "All pairs", "Differences", "Training", "What differs", "Experiments"]
    assert page.texts["h2"] == titles
    assert page.texts["h1"] == ["plain · other · <b>alone</b>"]


def test_what_differs_are_the_keys_of_the_files_that_are_no_replicates_own(given):
    page = make_comparison(given)
    (section,) = (one for one in page.sections if one.title == "What differs")
    (table,) = section.blocks
    assert [column.title for column in table.columns] == ["key", "plain", "other", "<b>alone</b>"]
    assert table.rows == [["dataset.tracks", "", "7", ""]]


def test_an_experiment_has_one_colour_everywhere(given):
    page = make_comparison(given)
    blocks = {one.title: one.blocks for one in page.sections}
    forest = blocks["Scores"][0].charts[0]
    assert [mark.colour for mark in forest.marks if type(mark).__name__ == "Intervals"] == [0, 1, 2]
    curves = blocks["Training"][0].charts[0]
    assert {mark.label: mark.colour for mark in curves.marks} == {"plain": 0, "other": 1, "<b>alone</b>": 2}
    assert {mark.colour for mark in blocks["Differences"][0].charts[0].marks[1:]} == {1}


def test_a_baseline_may_be_named(given):
    text = Reader(render(make_comparison(given, baselines=["other"]))).text
    assert "minus that of other" in text
    with pytest.raises(InputError, match="no experiment of this name is compared"):
        make_comparison(given, baselines=["othr"])


def test_parts_that_differ_are_refused_unless_told(given, tmp_path):
    write_run(
        tmp_path / "apart", parts=parts(0, count=15), split={"test": "f" * 64, "val": "e" * 64, "train": ""}
    )
    with pytest.raises(InputError, match="their test parts differ"):
        make_comparison(["plain", "apart"])
    text = Reader(render(make_comparison(["plain", "apart"], allow_different=True))).text
    assert "apart: tested on other tracks than the baseline" in text


def test_a_run_that_is_not_finished_is_refused(given, tmp_path):
    path = write_run(tmp_path / "broken", status="failed")
    with pytest.raises(InputError, match=r"the run is not finished \(status 'failed'\)"):
        make_comparison(["plain", str(path)])


def test_what_was_left_out_is_told_on_the_page(given, tmp_path):
    write_run(tmp_path / "plain", "20260109-030405-seed5", seed=5, parts=parts(5), epochs=9)
    page = make_comparison(given)
    assert (
        "3 finished runs of another version of the experiment or of other data left out" in page.notices[0].text
    )


@pytest.mark.slow
def test_figures_of_a_comparison(given, tmp_path):
    names = {path.name for path in write_figures(make_comparison(given), tmp_path / "figures")}
    assert {"scores-valence-intervals.png", "training-genre.svg"} <= names


def test_a_comparison_links_to_the_reports_of_its_runs(given, tmp_path):
    first, *_ = read_experiments(given)
    (first.directories[0] / "report.html").write_text("page")
    page = make_comparison(given)
    folder = tmp_path / "pages"
    folder.mkdir()
    text = write_report(page, folder / "comparison.html").read_text()
    link = re.search(r'href="([^"#]*report\.html)"', text)[1]
    assert (folder / unquote(link)).resolve() == (first.directories[0] / "report.html").resolve()
    assert "report.html" not in re.findall(r'href="([^"]*)"', render(page)), "no links without a place"
