"""musicemo: experiments in music emotion recognition that can be believed, compared and repeated.

The functions here do what the commands of the same name do. They are imported when they are first used, so that
``import musicemo`` takes no time.
"""

from __future__ import annotations

from typing import TYPE_CHECKING

from musicemo._lazy import lazy

if TYPE_CHECKING:
    from musicemo.comparison.compare import compare as compare
    from musicemo.experiment import load_experiment as load_experiment
    from musicemo.prediction import Predictor as Predictor
    from musicemo.running.cross import cross as cross
    from musicemo.running.sweep import run as run
    from musicemo.runs import open_run as open_run

__all__ = ["Predictor", "__version__", "compare", "cross", "load_experiment", "open_run", "run"]

__version__ = "0.1.0"

#: Name -> the module that defines it.
_MODULES = {
    "Predictor": "musicemo.prediction",
    "compare": "musicemo.comparison.compare",
    "cross": "musicemo.running.cross",
    "load_experiment": "musicemo.experiment",
    "open_run": "musicemo.runs",
    "run": "musicemo.running.sweep",
}


__getattr__ = lazy(__name__, _MODULES)


def __dir__() -> list[str]:
    return [*globals(), *_MODULES]
