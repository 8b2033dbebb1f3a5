import json

import pytest
from complaints import warns
from harness import only_run, run_all, train
from musicemo_builtin.observers.report import Report

pytestmark = pytest.mark.usefixtures("fakes")


@pytest.mark.slow
def test_a_finished_run_has_a_report(tmp_path):
    train(tmp_path, plugins=[Report()])
    directory = only_run(tmp_path)
    text = (directory / "report.html").read_text()
    results = json.loads((directory / "results.json").read_text())
    assert '<span class="status done">done</span>' in text
    assert f"{results['metrics']['test']['valence']['spearman']['value']:.3f}".replace("-", "−") in text
    assert "notice" not in text.partition("</style>")[2]


@pytest.mark.slow
def test_without_a_history_file_the_curves_are_there(tmp_path):
    train(tmp_path, plugins=[Report()])
    assert '<section id="training"' in (only_run(tmp_path) / "report.html").read_text()


@pytest.mark.slow
def test_every_replicate_has_its_own(tmp_path):
    outcomes = run_all(tmp_path, "seeds=[0, 1]", plugins=[Report()])
    assert all((outcome.directory / "report.html").exists() for outcome in outcomes)


@pytest.mark.slow
def test_whatever_a_report_fails_of_is_a_warning(tmp_path, monkeypatch):
    from musicemo import reporting as report

    def broken(*_):
        raise KeyError("nothing there")

    monkeypatch.setattr(report, "report_finished", broken)
    with warns("could not be written: KeyError: 'nothing there'. Use `musicemo report` to try"):
        train(tmp_path, plugins=[Report()])
    assert json.loads((only_run(tmp_path) / "results.json").read_text())["status"] == "done"


@pytest.mark.slow
def test_a_report_that_cannot_be_made_is_a_warning(tmp_path, monkeypatch):
    from musicemo import reporting as report
    from musicemo.errors import RunError

    def full(*_):
        raise RunError("report.html: cannot be written: No space left on device")

    monkeypatch.setattr(report, "report_finished", full)
    with warns(r"could not be written: report.html: .*\. Use `musicemo report` to try again"):
        train(tmp_path, plugins=[Report()])
    assert json.loads((only_run(tmp_path) / "results.json").read_text())["status"] == "done"
