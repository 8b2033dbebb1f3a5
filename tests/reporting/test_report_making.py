import json
import os
import stat
import subprocess
import sys

import pytest
from recorded_runs import write_run

from musicemo.errors import RunError
from musicemo.reporting import make_report, report_finished, write_figures, write_report


def test_a_report_replaces_the_one_before_and_others_may_read_it(directory):
    path = directory / "report.html"
    path.write_text("the one before")
    assert write_report(make_report(directory), path) == path
    assert path.read_text().startswith("<!doctype html>")
    assert stat.S_IMODE(path.stat().st_mode) & 0o044 == 0o044
    assert [found.name for found in directory.glob(".*")] == []


@pytest.mark.skipif(os.getuid() == 0, reason="nothing stops root")
def test_a_folder_that_may_not_be_written(directory):
    directory.chmod(0o500)
    with pytest.raises(RunError, match=r"report.html: cannot be written"):
        write_report(make_report(directory), directory / "report.html")


def test_a_run_that_is_being_finished_is_shown_with_what_is_about_to_be_written(directory):
    results = json.loads((directory / "results.json").read_text())
    (directory / "results.json").write_text('{"status": "running"}')
    (directory / "history.jsonl").unlink()
    path = report_finished(directory, results, [{"epoch": 1, "train/loss": float("nan"), "val/loss": 1.0}])
    text = path.read_text()
    assert '<span class="status done">' in text
    assert f"{results['metrics']['test']['valence']['spearman']['value']:.3f}" in text


@pytest.mark.slow
def test_figures_are_png_and_svg_of_every_chart(directory, tmp_path):
    page = make_report(directory)
    written = write_figures(page, tmp_path / "new" / "figures")
    charts = list(page.charts())
    assert len(written) == 2 * len(charts) > 10
    assert len({path.name.casefold() for path in written}) == len(written)
    for path in written:
        start = path.read_bytes()[:5]
        assert start == (b"\x89PNG\r" if path.suffix == ".png" else b"<?xml")
    names = {path.name for path in written}
    assert {
        "results-spearman-intervals.svg",
        "predicted-against-true-valence.png",
        "classes-genre.svg",
    } <= names


def test_a_folder_of_figures_that_cannot_be_made(directory, tmp_path):
    (tmp_path / "file").write_text("")
    with pytest.raises(RunError, match="cannot be created: Not a directory"):
        write_figures(make_report(directory), tmp_path / "file" / "figures")


@pytest.mark.slow
def test_names_of_figures_do_not_leave_the_folder(tmp_path):
    directory = write_run(tmp_path / "runs" / "written")
    results = (directory / "results.json").read_text().replace('"valence"', '"../../valence"')
    (directory / "results.json").write_text(results)
    (directory / "predictions.csv").unlink()
    folder = tmp_path / "figures"
    assert all(path.parent == folder for path in write_figures(make_report(directory), folder))


@pytest.mark.slow
def test_a_report_of_a_finished_run_needs_neither_torch_nor_matplotlib_nor_sklearn(directory):
    code = """if True:
        import sys
        from pathlib import Path
        from musicemo.reporting import make_report, render
        render(make_report(Path(sys.argv[1])))
        heavy = {"torch", "matplotlib", "sklearn", "scipy"} & set(sys.modules)
        assert not heavy, heavy
    """
    done = subprocess.run(
        [sys.executable, "-c", code, str(directory)], capture_output=True, text=True, check=False
    )
    assert done.returncode == 0, done.stderr
