"""The typer application, and how errors and warnings reach the user."""

from __future__ import annotations

import signal
import sys
import threading
import traceback
import warnings
from collections.abc import Sequence
from typing import Annotated, NoReturn

import typer

from musicemo import __version__, registry
from musicemo.cli import (
    _cache,
    _compare,
    _data,
    _environment,
    _evaluate,
    _experiments,
    _export,
    _extract,
    _init,
    _plugin,
    _plugins,
    _predict,
    _report,
    _run,
    _tensorboard,
)
from musicemo.cli._output import say
from musicemo.errors import InputError, MusicemoError

__all__ = ["main"]

_INTERRUPTED = 130

_REPORT = " (if none of them is of code of yours, musicemo environment prints what a bug report needs)"

_EPILOG = "Start with: musicemo run experiments/multitask.toml"


def _version(wanted: bool) -> None:
    if wanted:
        typer.echo(f"musicemo {__version__}")
        raise typer.Exit


def make_app() -> typer.Typer:
    """Return the application with the built-in commands."""
    app = typer.Typer(
        name="musicemo",
        help="Experiments in music emotion recognition that can be believed, compared and repeated.",
        epilog=_EPILOG,
        no_args_is_help=True,
        rich_markup_mode=None,  # importing what draws its boxes takes longer than all the rest
        context_settings={"help_option_names": ["-h", "--help"]},
        pretty_exceptions_enable=False,
    )

    @app.callback()
    def root(
        version: Annotated[
            bool, typer.Option("--version", callback=_version, is_eager=True, help="Print the version.")
        ] = False,
        without: Annotated[
            list[str] | None,
            typer.Option(
                metavar="NAME", help="Leave a component, a plugin or a package out; of every command."
            ),
        ] = None,
    ) -> None:
        pass

    for group in (
        _init,
        _run,
        _experiments,
        _data,
        _tensorboard,
        _extract,
        _predict,
        _evaluate,
        _compare,
        _report,
        _export,
        _cache,
        _plugins,
        _plugin,
        _environment,
    ):
        group.add_commands(app)
    return app


def main() -> NoReturn:
    """Run the command line and exit: 0 done, 1 failed, 2 wrong input, 130 interrupted."""
    warnings.showwarning = lambda message, *_, **__: say("warning", "yellow", str(message))
    threading.excepthook = _thread_failed
    signal.signal(signal.SIGTERM, signal.default_int_handler)  # a scheduler's polite end is an interruption
    app = make_app()
    try:
        left_out, arguments = take_without(sys.argv[1:])
        with registry.without(left_out):
            hooks = registry.load_hooks()
            hooks("commands", app=app)
            app(args=arguments, obj=hooks)
    except MusicemoError as error:
        for problem in getattr(error, "problems", None) or (str(error),):
            say("error", "bold red", problem)
        sys.exit(error.exit_code)
    except KeyboardInterrupt:
        sys.exit(_interrupted())
    except Exception as error:
        traceback.print_exception(error)
        what = "".join(traceback.format_exception_only(error)).strip()
        say(
            "error",
            "bold red",
            f"{what}: nobody has foreseen this; the lines above say where it happened{_REPORT}",
        )
        sys.exit(1)
    except SystemExit as end:  # typer makes one of an interruption that reaches it
        sys.exit(_interrupted() if end.code == _INTERRUPTED else end.code)
    sys.exit(0)


def take_without(arguments: Sequence[str]) -> tuple[list[str], list[str]]:
    """Return the names after ``--without``, wherever it stands, and the other arguments.

    Plugins add commands, so that what is left out must be known before the command line can be parsed.
    """
    names: list[str] = []
    rest: list[str] = []
    waiting = list(arguments)
    while waiting:
        word = waiting.pop(0)
        if word == "--":
            return names, [*rest, word, *waiting]
        option, equals, value = word.partition("=")
        if option != "--without":
            rest.append(word)
        elif equals or waiting:
            names += (value if equals else waiting.pop(0)).split(",")
        else:
            raise InputError("--without: needs the name of a component, a plugin or a package")
    return names, rest


def _thread_failed(failure: threading.ExceptHookArgs) -> None:
    """Say in a line what Python says in a traceback: TensorBoard writes in a thread, and disks are sometimes full."""
    say("warning", "yellow", f"a thread failed: {failure.exc_type.__name__}: {failure.exc_value}")


def _interrupted() -> int:
    hints = {
        "extract": "the same command goes on where it stopped",
        "predict": "the output has the songs that were predicted before",
        "run": "musicemo run with --resume goes on where a run stopped",
    }
    say("interrupted", "yellow", hints.get(next(iter(sys.argv[1:]), ""), "nothing was left half-written"))
    return _INTERRUPTED
