"""The features are those of the original study."""

from pathlib import Path

import numpy as np
import pytest

from musicemo.audio import analyse

SHARED = Path(__file__).parents[3] / "shared"
GOLDEN = sorted((SHARED / "golden" / "extraction").glob("*.npz"))


@pytest.mark.skipif(not GOLDEN, reason="the reference features are not here")
@pytest.mark.parametrize("golden", GOLDEN, ids=lambda path: path.stem)
def test_features_are_those_of_the_study(golden):
    genre, _, number = golden.stem.partition("-")
    analysis = analyse(SHARED / "data" / "emotify" / "audio" / genre / f"{number}.mp3")
    with np.load(golden) as reference:
        np.testing.assert_array_equal(analysis.beat_frames, reference["beat_frames"])
        for name in ("frame", "beat"):
            ours, theirs = getattr(analysis, name), reference[name]
            assert ours.dtype == np.float32
            np.testing.assert_allclose(ours[:128], theirs[:128], rtol=0, atol=1e-3)
            np.testing.assert_allclose(ours[128:], theirs[128:], rtol=0, atol=1e-4)
