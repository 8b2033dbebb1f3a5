import dataclasses

import numpy as np
import pytest
import torch
from examples import examples, rows
from musicemo_builtin.augmentations.pitch_shift import PitchShift

from musicemo.errors import InputError
from musicemo.testing import check_augmentation


def test_it_holds_its_contract():
    check_augmentation("pitch-shift")
    check_augmentation("pitch-shift", {"limit": 12})


def test_bands_and_pitch_classes_move_together():
    """The bands are six semitones apart: with twelve, a shift is by two bands and by all pitch classes."""
    random = np.random.default_rng(0)
    scale, offset = (random.uniform(0.5, 2, 18).astype(np.float32) for _ in range(2))
    tracks = examples([3] * 150)
    shifted = PitchShift(rows=dataclasses.replace(rows(), scale=scale, offset=offset), limit=12)(
        tracks, random
    ).x
    before, after = (x * torch.from_numpy(scale) + torch.from_numpy(offset) for x in (tracks.x, shifted))
    seen = set()
    for row in range(150):
        (shift,) = (
            n
            for n in range(12)
            if torch.allclose(after[row, :, 6:], before[row, :, 6:].roll(n, dims=1), atol=1e-4)
        )
        low = [before[row, :, min(max(band, 0), 5)] for band in range(-2, 8)]  # from band -2 on
        octave = {
            0: [[low[band + 2 + bands] for band in range(6)] for bands in (-2, 0, 2)],
            6: [[low[band + 2 + bands] for band in range(6)] for bands in (-1, 1)],
        }.get(shift)
        if octave:
            matching = [torch.allclose(after[row, :, :6], torch.stack(one, dim=1), atol=1e-3) for one in octave]
            assert any(matching)
            seen.add((shift, matching.index(True)))
    assert seen == {(0, 0), (0, 1), (0, 2), (6, 0), (6, 1)}


def test_between_bands_values_are_interpolated_by_frequency():
    tracks = examples([4] * 60)
    centers = torch.tensor([100.0 * 2 ** (band / 2) for band in range(6)])
    tracks = dataclasses.replace(tracks, x=torch.cat([centers.expand(60, 4, 6), tracks.x[:, :, 6:]], dim=2))
    shifted = PitchShift(rows=rows(), limit=2)(tracks, np.random.default_rng(0)).x[:, 0, 2:4]
    factors = {round(float(12 * torch.log2(one[0] / centers[2])), 3) for one in shifted}
    assert factors == {-2.0, -1.0, 0.0, 1.0, 2.0}, "the value is the frequency: it is linear between bands"


def test_it_needs_a_declaration():
    with pytest.raises(InputError, match="needs frequency bands or pitch classes, but the features"):
        PitchShift(rows=dataclasses.replace(rows(), bands=[]))
