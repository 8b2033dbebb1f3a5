"""A lifecycle plugin that ends its own process at a chosen moment, as a power cut would, or politely.

The environment variable ``MUSICEMO_TEST_KILL_AT`` names the moment: a hook and what it is called with, such as
``epoch_started:2``, ``batch_finished:2:1`` or ``evaluated:val``; or the n-th call of a function that changes what
is on the disk, ``before:os.replace:7`` or ``after:os.replace:7``. ``MUSICEMO_TEST_SIGNAL`` is the signal. With the path
of a file in ``MUSICEMO_TEST_KILL_ONCE``, only the process that creates the file is ended.
"""

from __future__ import annotations

import os
import signal
from typing import Any

from musicemo.hookspecs import hookimpl

_MOMENT = os.environ.get("MUSICEMO_TEST_KILL_AT", "")
_ONCE = os.environ.get("MUSICEMO_TEST_KILL_ONCE", "")
_SIGNAL = int(os.environ.get("MUSICEMO_TEST_SIGNAL", signal.SIGKILL))


def _reach(*moment: object) -> None:
    if ":".join(map(str, moment)) == _MOMENT and _is_first():
        os.kill(os.getpid(), _SIGNAL)


def _is_first() -> bool:
    try:
        return not _ONCE or bool(os.open(_ONCE, os.O_CREAT | os.O_EXCL))
    except FileExistsError:
        return False


def _watch(name: str) -> None:
    function, count = getattr(os, name), 0

    def watched(*arguments: Any, **more: Any) -> Any:
        nonlocal count
        count += 1
        _reach("before", f"os.{name}", count)
        result = function(*arguments, **more)
        _reach("after", f"os.{name}", count)
        return result

    setattr(os, name, watched)


if _MOMENT.startswith(("before", "after")):
    for _name in ("replace", "link", "fsync"):
        _watch(_name)


@hookimpl
def musicemo_run_started() -> None:
    _reach("run_started")


@hookimpl
def musicemo_epoch_started(epoch: int) -> None:
    _reach("epoch_started", epoch)


@hookimpl
def musicemo_batch_finished(epoch: int, batch: int) -> None:
    _reach("batch_finished", epoch, batch)


@hookimpl(tryfirst=True)
def musicemo_epoch_finished(record: dict[str, float]) -> None:
    _reach("epoch_finished", record["epoch"])


@hookimpl
def musicemo_evaluated(part: str) -> None:
    _reach("evaluated", part)


@hookimpl
def musicemo_run_finished() -> None:
    _reach("run_finished")
