"""What an earlier run learnt, as the beginning of another one."""

from musicemo.running.transfer.sources import find_source
from musicemo.running.transfer.transfer import Transfer

__all__ = ["Transfer", "find_source"]
