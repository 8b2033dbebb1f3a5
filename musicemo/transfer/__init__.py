"""What an earlier run learnt, as the beginning of another one."""

from musicemo.transfer.sources import find_source
from musicemo.transfer.transfer import Transfer

__all__ = ["Transfer", "find_source"]
