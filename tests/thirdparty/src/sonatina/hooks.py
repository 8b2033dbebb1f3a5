"""The `sonatina-diary` hooks, and the command ``musicemo sonata``."""

import typer

from musicemo.hookspecs import hookimpl


class Diary:
    """Writes `diary.txt` into the run directory."""

    @hookimpl
    def musicemo_commands(self, app):
        """Add ``sonata``."""

        @app.command()
        def sonata(movements: int = 3) -> None:
            """Say what a sonata is made of."""
            typer.echo(" ".join(["allegro", "adagio", "presto"][:movements]))

    @hookimpl
    def musicemo_run_started(self, run):
        """Begin a page."""
        self.lines = [f"{run.name}: {', '.join(task.name for task in run.tasks)}"]

    @hookimpl
    def musicemo_epoch_finished(self, record):
        """Write a line."""
        self.lines.append(f"epoch {record['epoch']:.0f}: {record['train/loss']:.4f}")

    @hookimpl
    def musicemo_run_finished(self, run, results):
        """Close the book."""
        (run.directory / "diary.txt").write_text("\n".join([*self.lines, results["status"]]) + "\n")
