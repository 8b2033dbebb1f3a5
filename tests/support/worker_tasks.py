"""Tasks for worker processes, which import them by name."""

import codecs
import os
import sys
import time
from pathlib import Path

from musicemo.errors import InputError
from musicemo.workers import unbroken


def square(number, power=2):
    if number < 0:
        raise InputError(f"{number} is negative", "and that is that")
    return number**power


def itself(task):
    return task


def threads(_):
    import numpy as np  # not before the worker has begun
    from threadpoolctl import threadpool_info

    np.ones((2, 2)) @ np.ones((2, 2))
    return [library["num_threads"] for library in threadpool_info()]


def process(_):
    return os.getpid()


def perish(how):
    if isinstance(how, int):
        os.kill(os.getpid(), how)
    elif how == "exit":
        sys.stderr.write("out of ideas\n")
        sys.stderr.flush()
        os._exit(3)
    return how


class Stubborn(Exception):
    def __init__(self, first, second):
        super().__init__(f"{first} and {second}")


def fail(how):
    if how == "error":
        raise Stubborn(1, 2)
    if how == "divide":
        return 1 / 0
    return lambda: how


class Unreadable:
    """A function that no other process can load."""

    def __init__(self, how):
        self.how = how

    def __reduce__(self):
        return (os._exit, (7,)) if self.how == "exit" else (codecs.lookup, ("nowhere",))


def leave(code):
    if code is not None:
        os._exit(code)
    return "stayed"


def meet(task):
    """Return the value of a variable of this worker once two workers are there."""
    folder, name = task
    Path(folder, os.environ[name]).touch()
    wait_for(lambda: len(list(Path(folder).iterdir())) == 2)
    return os.environ[name]


def dawdle(path):
    Path(path).write_text(str(os.getpid()))
    time.sleep(60)


def write_slowly(path):
    with unbroken():
        Path(path).write_text("half")
        time.sleep(0.5)
        Path(path).write_text("whole")
    time.sleep(60)


def wait_for(happened, seconds=120.0):
    end = time.monotonic() + seconds
    while not happened():
        assert time.monotonic() < end, "nothing happened"
        time.sleep(0.02)


def is_running(pid):
    try:
        os.kill(pid, 0)
    except ProcessLookupError:
        return False
    return True
