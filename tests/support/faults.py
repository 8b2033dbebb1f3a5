"""What is wrong with an experiment file."""

from pathlib import Path

import pytest

from musicemo.errors import InputError
from musicemo.experiment import load_experiments


def problems(path: Path, *overrides: str, only=()) -> list[str]:
    """Return every problem, files named relative to the folder of this one."""
    with pytest.raises(InputError) as caught:
        load_experiments(path, overrides, only)
    assert caught.value.exit_code == 2
    return [problem.replace(f"{path.parent}/", "") for problem in caught.value.problems]
