"""The features are those of the original study."""

import numpy as np
import pytest
from references import (
    GOLDEN,
    Reference,
    assert_same,
    assert_same_but_for_the_machine,
    plain,
    song_of,
    stored,
)

from musicemo.features import analyse

pytestmark = pytest.mark.skipif(not GOLDEN, reason="the reference features are not here")
SONGS = [
    pytest.param(golden, id=golden.stem, marks=() if golden.stem == "pop-3" else pytest.mark.slow)
    for golden in GOLDEN
]


@pytest.mark.slow
@pytest.mark.parametrize("golden", GOLDEN, ids=lambda path: path.stem)
def test_features_are_those_of_the_study(golden):
    analysis = analyse(song_of(golden))
    assert analysis.frame.dtype == analysis.beat.dtype == np.float32
    assert_same_but_for_the_machine(analysis, stored(golden))


@pytest.mark.slow
@pytest.mark.filterwarnings("ignore::DeprecationWarning")  # of librosa's imports
@pytest.mark.parametrize("golden", SONGS)
def test_features_are_those_of_librosa_on_this_machine(golden):
    assert_same(analyse(song_of(golden)), plain(song_of(golden)))


@pytest.mark.parametrize("index", [0, 5, -1])
def test_one_beat_by_one_frame_is_the_most_that_a_machine_may_change(index):
    golden = stored(GOLDEN[0])
    moved = golden.beat_frames.copy()
    moved[index] += 1
    segments = golden.beat.copy()
    place = segments.shape[1] - len(moved) + index % len(moved)
    segments[:, max(place - 1, 0) : place + 1] += 0.5
    assert_same_but_for_the_machine(Reference(golden.frame, segments, moved), golden)
    with pytest.raises(AssertionError):
        assert_same_but_for_the_machine(Reference(golden.frame, segments, golden.beat_frames), golden)
    moved[index] += 1
    with pytest.raises(AssertionError):
        assert_same_but_for_the_machine(Reference(golden.frame, segments, moved), golden)
