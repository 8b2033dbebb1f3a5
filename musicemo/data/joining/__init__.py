"""Several datasets as one: tracks under qualified ids, targets under the tasks' names and in one unit."""

from musicemo.data.joining.joined import Joined
from musicemo.data.joining.settings import JoiningSettings
from musicemo.data.joining.splitting import split_joined

__all__ = ["Joined", "JoiningSettings", "split_joined"]
