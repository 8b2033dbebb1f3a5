"""``musicemo import``."""

from __future__ import annotations

import pytest
from harness import run_all
from typer.testing import CliRunner

from musicemo.cli._app import make_app
from musicemo.errors import InputError
from musicemo.tracking import Tracker

SENT: list[tuple[str, str, str]] = []


class Notes(Tracker):
    """Notes runs.

    Args:
        word: Word of the tracker.
    """

    def __init__(self, word: str = "default") -> None:
        self.word = word

    def start_run(self, run):
        return 0

    def log_metrics(self, metrics, epoch):
        pass

    def end_run(self, run, status):
        SENT.append((self.word, run.directory.name, status))


@pytest.fixture
def call(fakes, one_thread):
    fakes("plugin", "notes", Notes)
    SENT.clear()
    return lambda *arguments: CliRunner().invoke(
        make_app(), ["import", *map(str, arguments)], catch_exceptions=False
    )


def test_all_runs_of_an_experiment_are_sent_with_the_settings_of_each(call, tmp_path):
    outcomes = run_all(tmp_path, "seeds=[0, 1]", 'plugins.notes.word="recorded"')
    SENT.clear()
    names = [outcome.directory.name for outcome in outcomes]
    result = call(tmp_path / "runs" / "small", "--to", "notes")
    assert result.exit_code == 0
    assert [line.partition(":")[2] for line in result.stdout.splitlines()] == [" sent to notes (done)"] * 2
    assert [("recorded", name, "done") for name in names] == SENT
    SENT.clear()
    call(outcomes[0].directory, "--to", "notes", "--set", "word=mine")
    assert [("mine", names[0], "done")] == SENT


@pytest.mark.parametrize(
    ("arguments", "problem"),
    [
        (("--to", "note"), "no tracker has the name 'note'; did you mean 'notes'"),
        (("--to", "notes", "--set", "word"), "--set word: must have the form KEY=VALUE"),
        (("--to", "notes", "--set", "wrd=1"), r"plugins\.notes\.wrd: "),
    ],
)
def test_wrong_arguments(call, tmp_path, arguments, problem):
    (outcome,) = run_all(tmp_path)
    with pytest.raises(InputError, match=problem):
        call(outcome.directory, *arguments)


def test_a_folder_without_runs(call, tmp_path):
    with pytest.raises(InputError, match="is not a run directory"):
        call(tmp_path, "--to", "notes")
