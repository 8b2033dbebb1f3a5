"""Calls of plugin code that keep the program running and its global state unchanged."""

from __future__ import annotations

import os
import signal
import sys
import threading
from collections.abc import Iterator
from contextlib import contextmanager, suppress
from pathlib import Path
from typing import Any

from musicemo.errors import MusicemoError, describe_error
from musicemo.terminal import aside

__all__ = ["PluginFailed", "contained", "loading", "undisturbed"]


class PluginFailed(Exception):
    """An exception in the code of a plugin, with its type, message and place."""


@contextmanager
def contained() -> Iterator[None]:
    """Convert every exception, including `SystemExit`, to `PluginFailed`.

    `MusicemoError` and `KeyboardInterrupt` are not converted.
    """
    try:
        yield
    except (MusicemoError, KeyboardInterrupt):
        raise
    except BaseException as error:
        raise PluginFailed(_text(error)) from error


@contextmanager
def loading() -> Iterator[None]:
    """Contain the import or construction of a component or plugin.

    Its output goes to standard error, its exceptions become `PluginFailed`, and signal handlers and the state that
    `undisturbed` names are restored. `KeyboardInterrupt` is raised if the user interrupted.
    """
    interruptions: list[int] = []
    with _watched(interruptions), aside(), undisturbed():
        try:
            with contained():
                yield
        except KeyboardInterrupt as error:
            if interruptions:
                raise
            raise PluginFailed(_text(error)) from error


@contextmanager
def undisturbed(network: Any = None) -> Iterator[None]:
    """Restore the working directory, random states, modes of torch and the modes of a network's modules.

    Args:
        network: A `torch.nn.Module` whose modules keep their training or evaluation mode.
    """
    import random

    folder = _folder()
    python = random.getstate()
    numpy = _loaded("numpy", "random")
    legacy = numpy.random.get_state() if numpy else None
    torch = _loaded("torch", "get_rng_state")
    if torch:
        state, cuda = torch.get_rng_state(), torch.cuda.is_initialized() and torch.cuda.get_rng_state_all()
        modes = torch.is_grad_enabled(), torch.get_default_dtype(), torch.get_num_threads()
    training = [(module, module.training) for module in network.modules()] if network is not None else []
    try:
        yield
    finally:
        if folder is not None and _folder() != folder:
            with suppress(OSError):
                os.chdir(folder)
        random.setstate(python)
        if numpy:
            numpy.random.set_state(legacy)
        if torch:
            torch.set_rng_state(state)
            if cuda:
                torch.cuda.set_rng_state_all(cuda)
            torch.set_grad_enabled(modes[0])
            torch.set_default_dtype(modes[1])
            if torch.get_num_threads() != modes[2]:
                torch.set_num_threads(modes[2])
        for module, mode in training:
            module.training = mode


@contextmanager
def _watched(interruptions: list[int]) -> Iterator[None]:
    """Append the signals that interrupt to a list, and restore their handlers."""
    if threading.current_thread() is not threading.main_thread():
        yield  # only the main thread is interrupted
        return
    handlers = {number: signal.getsignal(number) for number in (signal.SIGINT, signal.SIGTERM)}

    def handle(number: int, frame: Any) -> None:
        interruptions.append(number)
        handler = handlers[signal.Signals(number)]
        assert callable(handler)
        handler(number, frame)

    for number, handler in handlers.items():
        if callable(handler):
            signal.signal(number, handle)
    try:
        yield
    finally:
        for number, handler in handlers.items():
            if handler is not None:  # one that Python did not set cannot be set again
                signal.signal(number, handler)


def _loaded(name: str, attribute: str) -> Any:
    """Return a module if its import has finished."""
    module = sys.modules.get(name)
    return module if hasattr(module, attribute) else None


def _folder() -> Path | None:
    with suppress(OSError):  # it may have been removed
        return Path.cwd()
    return None


def _text(error: BaseException) -> str:
    try:
        return f"{type(error).__name__}: {error}" if isinstance(error, ImportError) else describe_error(error)
    except Exception:  # its __str__ is a plugin's code too
        return type(error).__name__
