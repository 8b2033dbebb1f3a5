"""The display, on a terminal and elsewhere."""

from __future__ import annotations

import io
import math
import re

import pytest
from harness import Recorder, run_all, train
from musicemo_builtin.observers import _display
from musicemo_builtin.observers.progress import Progress
from rich.console import Console

from musicemo import terminal
from musicemo.hookspecs import hookimpl
from musicemo.progress import duration

pytestmark = pytest.mark.usefixtures("fakes")


@pytest.fixture
def screen(monkeypatch):
    """Return what is written to a terminal of 80 columns."""
    written = io.StringIO()

    def console(**how):
        return Console(file=written, force_terminal=True, width=80, height=25, legacy_windows=False, **how)

    monkeypatch.setattr(terminal, "console", console)
    return written


@pytest.mark.slow
def test_elsewhere_there_is_a_plain_line_an_epoch(tmp_path, capsys):
    recorder = train(tmp_path, plugins=[Progress()])
    lines = capsys.readouterr().out.splitlines()
    first = r"small: seed 0, 36 train, 12 val, 12 test, 1,208 parameters, 2 tasks, on cpu"
    assert re.fullmatch(first, lines[0])
    assert len(lines) == 4
    for epoch, (line, record) in enumerate(zip(lines[1:], recorder.run.history, strict=True), start=1):
        assert line.startswith(f"epoch {epoch}/3  train loss {record['train/loss']:.4f}  val loss ")
        assert f"valence rho {record['val/valence/spearman']:.4f}" in line
        assert f"genre accuracy {record['val/genre/accuracy']:.4f}" in line
        assert re.search(r"best \d \(val/loss \d\.\d{4}\)  at most \d+ s left$", line)
        assert "\x1b" not in line


@pytest.mark.slow
def test_a_log_stays_readable(tmp_path, capsys):
    train(tmp_path, "training.epochs=33", "training.batch_size=64", plugins=[Progress()])
    shown = [int(re.match(r"epoch (\d+)/", line)[1]) for line in capsys.readouterr().out.splitlines()[1:]]
    assert shown == [*range(1, 11), 20, 30]


def test_a_terminal_shows_a_bar_losses_the_best_epoch_and_the_time_left(screen, tmp_path):
    recorder = train(tmp_path, plugins=[Progress()])
    text = re.sub(r"\x1b\[[0-9;?]*[A-Za-z]", "", screen.getvalue())
    last = recorder.run.history[-1]
    for shown in ("3/3", f"{last['val/loss']:.4f}", f"{last['train/genre/accuracy']:.4f}", "left"):
        assert shown in text
    assert f"best epoch so far: {recorder.run.stopping.best_epoch} (val/loss" in text
    assert screen.getvalue().rstrip().endswith("\x1b[2K")  # the live table is gone in the end
    assert "\x1b[?25h" in screen.getvalue()  # and the cursor is back


class Stop:
    """An interruption in the second epoch."""

    @hookimpl
    def musicemo_epoch_started(self, epoch):
        if epoch == 2:
            raise KeyboardInterrupt


def test_an_interruption_leaves_the_terminal_as_it_was(screen, tmp_path):
    progress = Progress()
    with pytest.raises(KeyboardInterrupt):
        run_all(tmp_path, plugins=[Stop(), progress])
    assert screen.getvalue().count("\x1b[?25l") == screen.getvalue().count("\x1b[?25h") == 1
    assert progress._display is None


@pytest.mark.slow
def test_a_resumed_run_says_so(tmp_path, capsys):
    with pytest.raises(KeyboardInterrupt):
        run_all(tmp_path, plugins=[Stop()])
    train(tmp_path, plugins=[Progress()], resume=True)
    out = capsys.readouterr().out
    assert "on cpu, resumed after epoch 1\nepoch 2/3" in out


@pytest.mark.slow
def test_several_runs_are_shown_one_after_the_other(screen, tmp_path):
    run_all(tmp_path, "seeds=[0, 1]", "training.epochs=1", plugins=[Progress()])
    assert screen.getvalue().count("\x1b[?25l") == screen.getvalue().count("\x1b[?25h") == 2


@pytest.mark.parametrize(
    ("seconds", "text"), [(0.4, "0 s"), (59.6, "1 min 00 s"), (125, "2 min 05 s"), (7384, "2 h 03 min")]
)
def test_durations(seconds, text):
    assert duration(seconds) == text


def test_numbers_that_are_not_there():
    assert _display._number(None) == ""
    assert _display._number(math.nan) == "n/a"


def test_training_alone_is_shown_where_nothing_is_held_out(tmp_path, capsys):
    recorder = Recorder()
    run_all(tmp_path, "training.epochs=1", plugins=[Progress(), recorder], overfit_batches=1)
    line = capsys.readouterr().out.splitlines()[1]
    assert "val" not in line.replace("valence", "")
    assert f"valence rho {recorder.run.history[0]['train/valence/spearman']:.4f}" in line
