"""``musicemo report``."""

from __future__ import annotations

import shutil

import pytest
from complaints import warns


@pytest.fixture
def copied(trained, tmp_path):
    """Return a copy of the experiment's folder."""
    return shutil.copytree(trained.replicates, tmp_path / "songs")


def test_a_run_has_had_one_since_it_finished_and_gets_it_anew(command, copied):
    path = sorted(copied.iterdir())[0] / "report.html"
    path.unlink()
    finished = command("report", path.parent)
    assert (finished.code, finished.out, finished.err) == (0, f"{path}\n", "")
    assert "<h1>songs" in path.read_text()


def test_replicates_have_theirs_in_the_experiments_folder(command, copied):
    finished = command("report", copied)
    assert (finished.code, finished.out, finished.err) == (0, f"{copied / 'report.html'}\n", "")


@pytest.mark.slow
def test_another_file_and_figures(command, trained, tmp_path):
    page, figures = tmp_path / "page.html", tmp_path / "figures"
    finished = command("report", trained.first, "--output", page, "--figures", figures)
    count = len(list(figures.iterdir()))
    assert (finished.code, finished.err) == (0, "")
    assert finished.out == f"{page}\n{count} files in {figures}\n"
    assert count > 6
    assert page.exists()


def test_players_of_a_dataset_without_audio_are_a_warning(command, trained, tmp_path):
    page = tmp_path / "page.html"
    with warns("the dataset has no audio of them: 'clip"):
        finished = command("report", trained.first, "--audio", "--output", page)
    assert (finished.code, finished.out) == (0, f"{page}\n")
    assert "tracks have no player, because the dataset has no audio of them: 'clip" in " ".join(
        finished.err.split()
    )
    assert "<audio" not in page.read_text()


@pytest.mark.parametrize(
    ("arguments", "message"),
    [
        (["nothing"], "error: nothing: there is no such run directory"),
        (["runs"], "error: runs: is not a run directory; it holds those of songs"),
        (
            ["one=runs/songs", "two=runs/songs", "--audio"],
            "error: --audio: needs one run or experiment. A comparison lists no tracks",
        ),
        (
            ["runs/songs", "--output", "none/page.html"],
            "error: --output none/page.html: the folder none does not exist",
        ),
    ],
)
def test_what_is_wrong_is_told(command, arguments, message):
    finished = command("report", *arguments)
    assert finished.code == 2
    assert finished.err.strip() == message


def test_several_experiments_are_compared(command, trained, tmp_path):
    given = ["one=runs/songs", f"<two>={trained.second}"]
    finished = command("report", *given, "--baseline", "one", "--output", tmp_path / "page.html")
    assert (finished.code, finished.out, finished.err) == (0, f"{tmp_path / 'page.html'}\n", "")
    assert "<h1>one · &lt;two&gt;" in (tmp_path / "page.html").read_text()


def test_a_comparison_is_in_the_working_directory_unless_told_otherwise(command, copied):
    finished = command("report", f"a={copied}", f"b={copied}", folder=copied.parent)
    assert (finished.code, finished.out) == (0, "report.html\n")
    assert (copied.parent / "report.html").exists()


def test_a_baseline_that_is_not_there(command):
    finished = command("report", "one=runs/songs", "two=runs/songs", "--baseline", "ones", "--output", "x.html")
    assert finished.code == 2
    assert "error: ones: no experiment of this name is compared; did you mean 'one'?" in finished.err
