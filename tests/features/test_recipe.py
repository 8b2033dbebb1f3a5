"""The parameters of extraction and their fingerprint."""

import dataclasses
import subprocess
import sys

import pytest

from musicemo.errors import InputError
from musicemo.features import Recipe


def test_the_default_is_the_study():
    recipe = Recipe()
    assert (recipe.sample_rate, recipe.hop, recipe.n_fft, recipe.mels, recipe.rows) == (
        22050,
        512,
        2048,
        128,
        140,
    )
    assert recipe.frame_rate == pytest.approx(43.066, abs=1e-3)


def test_equal_recipes_have_equal_fingerprints():
    assert Recipe(offset=1).fingerprint == Recipe(offset=1.0).fingerprint
    assert Recipe(duration=30).fingerprint == Recipe(duration=30.0).fingerprint


@pytest.mark.slow
def test_the_fingerprint_is_the_same_in_every_process():
    command = "from musicemo.features import Recipe; print(Recipe(mels=64).fingerprint)"
    done = subprocess.run([sys.executable, "-c", command], capture_output=True, text=True, check=True)
    assert done.stdout.strip() == Recipe(mels=64).fingerprint


@pytest.mark.parametrize(
    "change",
    [{"sample_rate": 44100}, {"hop": 256}, {"n_fft": 4096}, {"mels": 64}, {"offset": 1.0}, {"duration": 1.0}],
)
def test_each_parameter_is_in_the_fingerprint(change):
    assert dataclasses.replace(Recipe(), **change).fingerprint != Recipe().fingerprint


@pytest.mark.parametrize(
    ("change", "message"),
    [
        ({"hop": 0}, "recipe.hop is 0; it must be a whole number above 0"),
        ({"mels": 1.5}, "recipe.mels is 1.5"),
        ({"mels": True}, "recipe.mels is True"),
        ({"sample_rate": 8000}, "at least 9000 Hz"),
        ({"n_fft": 1023, "hop": 100}, "must be even"),
        ({"hop": 1500}, "at most half of n_fft"),
        ({"offset": -1.0}, "recipe.offset is -1.0"),
        ({"duration": 0.0}, "recipe.duration is 0.0"),
        ({"duration": float("nan")}, "recipe.duration is nan"),
    ],
)
def test_a_value_out_of_range_is_named(change, message):
    with pytest.raises(InputError, match=message):
        Recipe(**change)


def test_all_problems_are_named_at_once():
    with pytest.raises(InputError) as caught:
        Recipe(hop=-1, mels=0, offset=-2.0)
    assert len(caught.value.problems) == 3
