"""Processes that other ones are served by: one task after the other, until the parent hangs up."""

from __future__ import annotations

import contextlib
import os
import pickle
import queue
import signal
import threading
import time
import traceback
from collections.abc import Callable, Iterator
from dataclasses import dataclass
from multiprocessing.connection import Connection
from typing import Any, Generic, TypeVar

from musicemo.errors import MusicemoError

__all__ = ["LONG_PATIENCE", "PATIENCE", "Outcome", "attempt", "interruptible", "serve", "unbroken"]

_T = TypeVar("_T")
_R = TypeVar("_R")

#: Seconds that a process which is to end has for what is unbroken.
PATIENCE = 5.0
#: Seconds that it has for what is interruptible, such as writing down how far it got on a busy disk.
LONG_PATIENCE = 30.0

_unbroken = threading.Lock()
_interruptible = threading.Lock()


@dataclass(frozen=True, slots=True)
class Outcome(Generic[_T, _R]):
    """What became of a task: a value, or the error that it raised."""

    task: _T
    value: _R | None = None
    error: Exception | None = None


def attempt(function: Callable[[_T], _R], task: _T) -> Outcome[_T, _R]:
    """Call `function` with a task, whatever it raises."""
    try:
        return Outcome(task, function(task))
    except Exception as error:
        return Outcome(task, error=error)


@contextlib.contextmanager
def unbroken() -> Iterator[None]:
    """Do something, such as replacing a file, that the end of a process waits for."""
    with _unbroken:
        yield


@contextlib.contextmanager
def interruptible() -> Iterator[None]:
    """Do something that the end of a process interrupts, as Ctrl-C does, and waits for: it can say how far it got."""
    if threading.current_thread() is threading.main_thread():
        signal.signal(signal.SIGINT, signal.default_int_handler)  # a shell's background processes ignore it
    with _interruptible:
        yield


def serve(descriptor: int) -> None:
    """Read a function, then tasks, and answer each, until the parent hangs up; then end at once."""
    connection: Connection[Any, Any] = Connection(descriptor)
    function = connection.recv()
    connection.send(None)
    tasks: queue.SimpleQueue[Any] = queue.SimpleQueue()
    threading.Thread(target=_listen, args=(connection, tasks), daemon=True).start()
    while True:
        outcome = attempt(function, tasks.get())
        if outcome.error is not None:
            outcome = Outcome(outcome.task, error=_portable(outcome.error))
        try:
            connection.send(outcome)
        except OSError:
            time.sleep(2 * LONG_PATIENCE)  # the parent is gone, and the listener ends this process
        except Exception as error:
            connection.send(Outcome(outcome.task, error=_portable(error)))


def _listen(connection: Connection[Any, Any], tasks: queue.SimpleQueue[Any]) -> None:
    try:
        while True:
            tasks.put(connection.recv())
    except (EOFError, OSError):
        main = threading.main_thread().ident
        if _interruptible.locked() and main is not None:
            signal.pthread_kill(main, signal.SIGINT)  # unlike _thread.interrupt_main, it ends a wait, too
            _interruptible.acquire(timeout=LONG_PATIENCE)
        _unbroken.acquire(timeout=PATIENCE)
        os._exit(0)


def _portable(error: Exception) -> Exception:
    """Return an error that can be sent; one that nobody has foreseen says where it was raised."""
    if not isinstance(error, MusicemoError):
        error.add_note("".join(traceback.format_exception(error)).rstrip())
    try:
        pickle.loads(pickle.dumps(error))  # noqa: S301  # made here
    except Exception:
        return RuntimeError(f"{type(error).__name__}: {error}")
    return error
