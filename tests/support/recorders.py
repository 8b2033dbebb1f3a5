"""Lifecycle plugins, right and wrong ones, in a module that is light to import."""

from typing import Any

from musicemo.hookspecs import hookimpl
from musicemo.tracking import Tracker


class Recorder:
    """Remembers what was called."""

    def __init__(self) -> None:
        self.seen: list[Any] = []

    @hookimpl
    def musicemo_run_started(self, run):
        self.seen.append(("started", run.seed, len(run.history)))

    @hookimpl
    def musicemo_epoch_finished(self, run, record):
        self.seen.append(int(record["epoch"]))

    @hookimpl
    def musicemo_run_failed(self, run, error):
        self.seen.append(type(error).__name__)

    @hookimpl
    def musicemo_run_finished(self, results):
        self.seen.append(results["status"])


class NeedsArguments(Recorder):
    def __init__(self, path: str) -> None:
        super().__init__()


class Misspelt:
    @hookimpl
    def musicemo_epoch_begun(self):
        pass


class Unmarked(Recorder):
    def musicemo_epoch_started(self):
        pass


class Nothing:
    pass


class Raises(Recorder):
    @hookimpl
    def musicemo_batch_finished(self, losses):
        raise KeyError("valance")


class OneRunOnly:
    """Does not expect a second replicate."""

    def __init__(self) -> None:
        self.open = True

    @hookimpl
    def musicemo_run_finished(self):
        assert self.open, "closed already"
        self.open = False


class FreshRunsOnly:
    """Does not expect a run that is resumed."""

    @hookimpl
    def musicemo_run_started(self, run):
        assert not run.history


class Commands:
    @hookimpl
    def musicemo_commands(self, app):
        @app.command()
        def sonata(tempo: int = 3) -> None:
            """Play."""


class Speechless:
    @hookimpl
    def musicemo_commands(self, app):
        @app.command()
        def sonata() -> None:
            pass


class NoCommands:
    @hookimpl
    def musicemo_commands(self, app):
        pass


class Unreachable(Tracker):
    def start_run(self, run):
        raise ConnectionError("no network")

    def log_metrics(self, metrics, epoch):
        pass

    def end_run(self, run, status):
        pass
