"""Limit the threads of the linear algebra library, on which the last bits of its results depend."""

from __future__ import annotations

import contextlib
import threading
from collections.abc import Iterator

__all__ = ["one_thread"]

_lock = threading.Lock()
_users = 0
_limits = contextlib.ExitStack()


@contextlib.contextmanager
def one_thread() -> Iterator[None]:
    """Let BLAS work in one thread, in all of the process, until the last of those who asked for it has finished.

    A matrix product that is split over threads is rounded in another order than one that is not, so that its last
    bits depend on the number of cores. The libraries that are to be limited must have been imported.
    """
    global _users
    from threadpoolctl import threadpool_limits

    with _lock:
        if not _users:
            _limits.enter_context(threadpool_limits(limits=1, user_api="blas"))
        _users += 1
    try:
        yield
    finally:
        with _lock:
            _users -= 1
            if not _users:
                _limits.close()
