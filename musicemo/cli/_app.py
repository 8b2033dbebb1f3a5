"""The typer application, and how errors and warnings reach the user."""

from __future__ import annotations

import contextlib
import logging
import os
import signal
import sys
import threading
import traceback
from collections.abc import Sequence
from pathlib import Path
from typing import TYPE_CHECKING, Annotated, Any, NoReturn

import typer
import typer.core
import typer.main

from musicemo import __version__, messages, terminal
from musicemo.cli import (
    _bench,
    _cache,
    _compare,
    _cross,
    _data,
    _environment,
    _evaluate,
    _experiments,
    _export,
    _extract,
    _import,
    _init,
    _listen,
    _plugin,
    _plugins,
    _predict,
    _report,
    _run,
    _tensorboard,
)
from musicemo.components import registry
from musicemo.errors import InputError, MusicemoError
from musicemo.files import can_write, expanded, private_folder
from musicemo.terminal import say

if TYPE_CHECKING:
    from musicemo.components.hooks import Hooks

__all__ = ["main"]

_log = logging.getLogger(__name__)

_INTERRUPTED = 130

#: Commands whose results are files: they go on without a terminal, and succeed without output.
_RECORDING = ("run", "bench", "cross", "extract")

_REPORT = (
    "\nUnexpected error. Please report the traceback above with the output of `musicemo environment`, "
    "unless the error comes from your own code."
)

_EPILOG = "Start with: musicemo run experiments/multitask.toml"


def _version(wanted: bool) -> None:
    if wanted:
        typer.echo(f"musicemo {__version__}")
        raise typer.Exit


class _Commands(typer.core.TyperGroup):
    """The commands, whose options are refused without the words of the library that reads them."""

    def invoke(self, ctx: Any) -> Any:
        """Run the command of the context."""
        try:
            return super().invoke(ctx)
        except typer.BadParameter as error:
            from musicemo.settings import without_prefix

            error.message = without_prefix(error.message)
            raise


def make_app() -> typer.Typer:
    """Return the application with the built-in commands."""
    app = typer.Typer(
        name="musicemo",
        cls=_Commands,
        help="Train, evaluate and compare models for music emotion recognition.",
        epilog=_EPILOG,
        no_args_is_help=True,
        rich_markup_mode=None,  # importing what draws its boxes takes longer than all the rest
        context_settings={"help_option_names": ["-h", "--help"]},
        pretty_exceptions_enable=False,
    )

    @app.callback()
    def root(
        version: Annotated[
            bool,
            typer.Option("--version", callback=_version, is_eager=True, help="Print the version and exit."),
        ] = False,
        without: Annotated[
            list[str] | None,
            typer.Option(
                metavar="NAME", help="Ignore a component, plugin or package. Works with every command."
            ),
        ] = None,
    ) -> None:
        pass

    for group in (
        _init,
        _run,
        _bench,
        _experiments,
        _data,
        _tensorboard,
        _extract,
        _predict,
        _listen,
        _evaluate,
        _compare,
        _cross,
        _report,
        _export,
        _import,
        _cache,
        _plugins,
        _plugin,
        _environment,
    ):
        group.add_commands(app)
    return app


def main() -> NoReturn:
    """Run the command line and exit: 0 done, 1 failed, 2 wrong input, 130 interrupted."""
    threading.excepthook = _thread_failed
    signal.signal(signal.SIGTERM, signal.default_int_handler)  # a scheduler's polite end is an interruption
    if not can_write(expanded("~")):  # otherwise every process makes a list of all fonts, and forgets it
        with contextlib.suppress(InputError):
            os.environ.setdefault("MPLCONFIGDIR", str(private_folder() / "matplotlib"))
    with terminal.Streams() as streams:
        with messages.shown():
            code = _execute()
        if (failure := streams.failure) is not None and code == 0:
            say("warning", "yellow", f"output is missing: {failure.strerror or failure}")
            code = 0 if _command() in _RECORDING else 1
    sys.exit(code)


def _execute() -> int | str | None:
    """Run the command line and return its exit code."""
    app = make_app()
    try:
        _check_folder()
        left_out, arguments = take_without(sys.argv[1:])
        help_last = arguments[-1:] in (["-h"], ["--help"])
        if help_last and not left_out and not registry.third_party_plugins() and _print_help(app, arguments):
            return 0
        from musicemo.components.hooks import load_hooks

        logging.getLogger("matplotlib").setLevel(logging.ERROR)  # messages about its font cache help nobody
        with registry.without(left_out):
            if _command() in _RECORDING:
                terminal.survive_hangup()
            hooks = load_hooks()
            _add_plugins_commands(app, hooks)
            if not (help_last and _print_help(app, arguments)):
                app(args=arguments, obj=hooks)
    except MusicemoError as error:
        for problem in getattr(error, "problems", None) or (str(error),):
            say("error", "bold red", problem)
        return error.exit_code
    except KeyboardInterrupt:
        return _interrupted()
    except Exception as error:
        text = "".join(traceback.format_exception(error))
        terminal.console(stderr=True).print(text, markup=False, end="")
        say("error", "bold red", "".join(traceback.format_exception_only(error)).strip() + _REPORT)
        return 1
    except SystemExit as end:  # typer makes one of an interruption that reaches it
        return _interrupted() if end.code == _INTERRUPTED else end.code
    return 0


def _print_help(app: typer.Typer, arguments: Sequence[str]) -> bool:
    """Print the help of a command and return True if the arguments are the names of commands and ``--help``.

    It does not parse the arguments, because typer imports pydantic to do so.
    """
    group: Any = typer.main.get_command(app)
    context = group.context_class(group, info_name="musicemo", **group.context_settings)
    for name in arguments[:-1]:
        command = getattr(context.command, "commands", {}).get(name)
        if command is None:
            return False
        context = command.context_class(command, info_name=name, parent=context, **command.context_settings)
    option = context.command.get_help_option(context)
    if option is None or arguments[-1] not in option.opts:
        return False
    typer.echo(context.get_help())
    return True


def _add_plugins_commands(app: typer.Typer, hooks: Hooks) -> None:
    """Add the commands of plugins. Ignore a command whose name is taken or that cannot be read, and warn."""
    before: dict[str, Any] = vars(app).copy()
    entries: dict[str, list[Any]] = {
        "registered_commands": [*app.registered_commands],
        "registered_groups": [*app.registered_groups],
    }
    owners: dict[str, str] = {}
    for plugin in hooks.each("commands", app=app):
        lists = {kind: getattr(app, kind) for kind in entries}
        vars(app).update(before, **{kind: [*listed] for kind, listed in entries.items()})
        for kind, listed in entries.items():
            for entry in lists[kind] if hooks.manager.has_plugin(plugin) else ():
                if not any(entry is one for one in listed):
                    owners = owners or dict.fromkeys(_names(app), "musicemo")
                    if problem := _claim(entry, kind, plugin, owners):
                        _log.warning(f"plugin {plugin!r}: {problem}")
                    else:
                        listed.append(entry)
        vars(app).update({kind: [*listed] for kind, listed in entries.items()})


def _claim(entry: Any, kind: str, plugin: str, owners: dict[str, str]) -> str:
    """Enter a plugin's command, or group of commands, into `owners`; return why that cannot be."""
    part = typer.Typer()
    setattr(part, kind, [entry])
    try:
        names = _names(part)
    except Exception as error:  # typer reads the signature of the plugin's function
        return f"one of its commands is ignored: {type(error).__name__}: {error}"
    if taken := [name for name in names if name in owners]:
        return f"its command {taken[0]!r} is ignored because {owners[taken[0]]} has a command of this name"
    owners.update(dict.fromkeys(names, f"plugin {plugin!r}"))
    return ""


def _names(app: typer.Typer) -> list[str]:
    """Return the names of an application's commands."""
    part = typer.Typer(add_completion=False, rich_markup_mode=None)
    part.callback()(lambda: None)  # so that it is a group, of a single command too
    part.registered_commands, part.registered_groups = app.registered_commands, app.registered_groups
    group: Any = typer.main.get_group(part)
    return list(group.commands)


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
            raise InputError("--without: needs the name of a component, plugin or package")
    return names, rest


def _thread_failed(failure: threading.ExceptHookArgs) -> None:
    """Report an error of a thread in one line instead of a traceback, for example TensorBoard's on a full disk."""
    say("warning", "yellow", f"a thread failed: {failure.exc_type.__name__}: {failure.exc_value}")


def _check_folder() -> None:
    """Refuse a working directory that has been removed: some libraries end the process in it."""
    try:
        Path.cwd()
    except OSError as error:
        raise InputError(
            f"the working directory: {error.strerror}. Change to a directory that exists (cd DIRECTORY)"
        ) from None


def _command() -> str:
    """Return the name of the command on the command line."""
    with contextlib.suppress(InputError):
        return next(iter(take_without(sys.argv[1:])[1]), "")
    return ""


def _interrupted() -> int:
    hints = {
        "bench": "run `musicemo bench` with --resume to continue",
        "cross": "run the same command again to continue",
        "extract": "run the same command again to continue",
        "import": "run the same command again to complete the runs that were sent",
        "predict": "the output contains the songs that were predicted before",
        "run": "run `musicemo run` with --resume to continue",
    }
    say("interrupted", "yellow", hints.get(_command(), "no file was left incomplete"))
    return _INTERRUPTED
