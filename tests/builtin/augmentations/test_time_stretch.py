import dataclasses

import numpy as np
import pytest
import torch
from examples import examples, rows
from musicemo_builtin.augmentations.time_stretch import TimeStretch

from musicemo.errors import InputError
from musicemo.testing import check_augmentation


def test_it_holds_its_contract():
    check_augmentation("time-stretch")
    check_augmentation("time-stretch", {"limit": 1.0})


def test_a_ramp_stays_a_ramp_of_another_length():
    tracks = examples([100, 60] * 40)
    middles = (torch.arange(100) + 0.5) / tracks.lengths[:, None]  # as shares of the track
    tracks = dataclasses.replace(tracks, x=(middles * tracks.mask)[:, :, None].expand(-1, -1, 18).contiguous())
    stretched = TimeStretch(rows=rows(), limit=0.5)(tracks, np.random.default_rng(0))
    speeds = tracks.lengths / stretched.lengths
    assert 0.66 < float(speeds.min()) < 0.75
    assert 1.35 < float(speeds.max()) < 1.52
    assert float(speeds.log().mean()) == pytest.approx(0, abs=0.06)
    for row, length in enumerate(stretched.lengths.tolist()):
        expected = (torch.arange(length) + 0.5) / length
        found = stretched.x[row, :length, 3]
        torch.testing.assert_close(found[1:-1], expected[1:-1], rtol=0, atol=1e-5)


@pytest.mark.parametrize("grid", ["beat", "track"])
def test_a_grid_that_does_not_depend_on_the_tempo_is_refused(grid):
    with pytest.raises(InputError, match=f"'mel-chroma' has one time step per {grid}, at any tempo"):
        TimeStretch(rows=dataclasses.replace(rows(), grids={"mel-chroma": grid}))
    mixed = {"mel-chroma": "frame", "embedding": grid}
    if grid == "track":  # its vector is repeated for each time step
        TimeStretch(rows=dataclasses.replace(rows(), grids=mixed))
