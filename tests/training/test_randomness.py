"""Random numbers: seeded, kept and restored."""

import random

import numpy as np
import pytest
import torch

from musicemo.training import load_checkpoint
from musicemo.training.checkpoint import save_checkpoint
from musicemo.training.randomness import random_state, restore_random_state, seed_everything


def draw():
    """Draw from every generator, the older ones of numpy and Python included."""
    found = [random.random(), random.gauss(0, 1), np.random.random(), np.random.normal()]  # noqa: NPY002
    return [*found, *torch.rand(3).tolist()]


def test_every_generator_continues():
    seed_everything(5)
    draw()  # leaves a normal deviate behind in two of them
    kept = random_state()
    expected = draw()
    restore_random_state(kept)
    assert draw() == expected


def test_the_generators_state_survives_a_checkpoint(tmp_path):
    save_checkpoint(tmp_path, {"random": random_state()}, best=False)
    expected = draw()
    restore_random_state(load_checkpoint(tmp_path / "last.pt")["random"])
    assert draw() == expected


@pytest.mark.parametrize("seed", [0, 1, 2**32, 2**40 + 3])
def test_any_seed_seeds_every_generator(seed):
    seed_everything(seed)
    first = draw()
    seed_everything(seed)
    assert draw() == first
