"""The progress of long work: lines where there is no terminal, a bar where there is one."""

import pytest

from musicemo import progress
from musicemo.progress import Progress


@pytest.fixture
def clock(monkeypatch):
    class Clock:
        now = 100.0

        def monotonic(self):
            return self.now

    clock = Clock()
    monkeypatch.setattr(progress, "time", clock)
    return clock


def test_lines_now_and_then(capsys, clock):
    with Progress("Making music", "clips") as bar:
        clock.now += 5
        for done in range(101):
            bar.update(done, 100)
            clock.now += 1
    out, err = capsys.readouterr()
    assert out == ""
    lines = err.splitlines()
    assert lines[0] == "Making music: 100 clips"
    assert lines[1] == "Making music: 11 of 100 clips, 1.0 a second, 1 min 29 s left"
    assert lines[-1] == "Making music: 100 clips in 1 min 41 s"
    assert len(lines) == 11


def test_the_start_of_processes_is_not_part_of_the_rate(capsys, clock):
    with Progress("Extracting", "songs") as bar:
        bar.update(0, 80)
        clock.now += 56
        for done in range(1, 81):
            bar.update(done, 80)
            clock.now += 1
    lines = capsys.readouterr().err.splitlines()
    assert lines[1] == "Extracting: 1 of 80 songs"
    assert lines[2] == "Extracting: 12 of 80 songs, 1.0 a second, 1 min 08 s left"
    assert lines[-1] == "Extracting: 80 songs in 2 min 16 s"


def test_the_number_of_pieces_is_printed_once(capsys):
    with Progress("Running", "runs") as bar:
        for total in (3, 2, 1, 0):  # runs that were finished before do not count
            bar.update(0, total)
    assert capsys.readouterr().err == "Running: 3 runs\n"


def test_nothing_to_do_says_nothing(capsys):
    with Progress("Making music", "clips"):
        pass
    assert capsys.readouterr() == ("", "")


def test_an_error_is_not_the_end_of_the_work(capsys):
    def work():
        yield "a"
        raise KeyError

    with pytest.raises(KeyError), Progress("Making [music]", "clips") as bar:
        list(bar.watch(work(), 3))
    assert capsys.readouterr().err == "Making [music]: 3 clips\n"


def test_watching(capsys):
    with Progress("Packing", "songs") as bar:
        assert list(bar.watch("abc", 3)) == ["a", "b", "c"]
    assert capsys.readouterr().err == "Packing: 3 songs\nPacking: 3 songs in 0 s\n"


def test_a_bar_on_a_terminal(capsys, monkeypatch):
    monkeypatch.setenv("FORCE_COLOR", "1")
    with Progress("Making music", "clips") as bar:
        for done in range(4):
            bar.update(done, 3)
    err = capsys.readouterr().err
    assert "\x1b[" in err
    assert "3/3" in err
    assert " in " not in err


def test_times():
    assert [progress.duration(seconds) for seconds in (0.4, 59.6, 61, 3599.7, 3725)] == [
        "0 s",
        "1 min 00 s",
        "1 min 01 s",
        "1 h 00 min",
        "1 h 02 min",
    ]


def test_the_time_left_of_long_pieces_side_by_side(capsys, clock):
    """Eight runs of 60 s, four at a time: once the first is done, one more minute is left."""
    with Progress("Running", "runs") as bar:
        bar.update(0, 8)
        clock.now += 60
        bar.update(1, 8, 60.0, 4)
    assert "Running: 1 of 8 runs, 1 min 00 s each, 1 min 00 s left" in capsys.readouterr().err


def test_the_time_left_covers_the_pieces_that_have_not_begun(capsys, clock):
    """The workers took 90 s to start, and the first runs are short: eight of ten are left, six have not begun."""
    with Progress("Running", "runs") as bar:
        bar.update(0, 10)
        clock.now += 90
        bar.update(2, 10, 4.0, 2)
        clock.now += 90
        bar.update(9, 10, 4.0, 2)
    assert capsys.readouterr().err.splitlines()[1:3] == [
        "Running: 2 of 10 runs, 4 s each, 12 s left",
        "Running: 9 of 10 runs, 4 s each",
    ]


def test_a_long_title_leaves_room_for_the_count_on_a_narrow_terminal(capsys, monkeypatch):
    monkeypatch.setenv("FORCE_COLOR", "1")
    monkeypatch.setenv("COLUMNS", "80")
    with Progress("Extracting mel-chroma into " + "folder/" * 20, "songs") as bar:
        bar.update(17, 60, 3.0, 2)
    err = capsys.readouterr().err
    assert "Extracting" in err
    assert "17/60" in err
    assert "songs, 3 s each, 1 min 30 s left" in err


def test_the_progress_of_the_pieces_in_work_follows_the_count(capsys, clock):
    with Progress("Running", "runs") as bar:
        bar.update(0, 3)
        bar.detail("epochs 2/9, 4/9")
        clock.now += 20
        bar.update(1, 3)
        bar.detail("")
        clock.now += 20
        bar.update(2, 3)
    assert capsys.readouterr().err.splitlines()[1:3] == [
        "Running: 1 of 3 runs, epochs 2/9, 4/9",
        "Running: 2 of 3 runs, 20 s each, 20 s left",
    ]
