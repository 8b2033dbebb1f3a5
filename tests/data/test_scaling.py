import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from sklearn.preprocessing import MinMaxScaler, StandardScaler

from musicemo.data import fit_scaling


def tracks(count=20, size=5, seed=0, scale=1.0, offset=0.0) -> list[np.ndarray]:
    random = np.random.default_rng(seed)
    spread = 10.0 ** random.uniform(-2, 2, size)
    return [
        (offset + scale * spread * random.normal(size=(int(random.integers(1, 30)), size))).astype("float32")
        for _ in range(count)
    ]


@pytest.mark.parametrize(("method", "scaler"), [("standard", StandardScaler), ("minmax", MinMaxScaler)])
@pytest.mark.parametrize(("scale", "offset"), [(1, 0), (1e-1, 5), (1e4, -80)])
def test_equals_scikit_learn(method, scaler, scale, offset):
    found = tracks(scale=scale, offset=offset)
    together = np.concatenate(found).astype("float64")
    reference = scaler().fit(together)
    scaling = fit_scaling(method, found, 5)
    assert scaling.offset.dtype == scaling.scale.dtype == np.float32
    for track in found:
        assert scaling(track).dtype == np.float32
        assert np.allclose(scaling(track), reference.transform(track.astype("float64")), rtol=1e-4, atol=2e-3)


@settings(deadline=None, max_examples=40)
@given(st.integers(0, 1000), st.integers(1, 30), st.floats(-1e4, 1e4))
def test_merging_track_by_track_equals_the_whole(seed, count, offset):
    found = tracks(count, seed=seed, offset=offset)
    together = np.concatenate(found).astype("float64")
    scaling = fit_scaling("standard", found, 5)
    assert np.allclose(scaling.offset, together.mean(axis=0), rtol=1e-5, atol=1e-5)
    changes = np.ptp(together, axis=0) > 0
    assert np.allclose(scaling.scale[changes], together.std(axis=0)[changes], rtol=1e-5)


def test_a_large_offset_does_not_cancel():
    found = [np.array([[1e6], [1e6 + 1]], dtype="float32")] * 50
    assert fit_scaling("standard", found, 1).scale[0] == pytest.approx(0.5)


@pytest.mark.parametrize("method", ["standard", "minmax"])
@pytest.mark.parametrize("value", [0.0, 3.0, -80.0, 1e30])
def test_a_constant_row_is_shifted_and_not_stretched(method, value):
    found = [np.full((4, 2), value, dtype="float32") for _ in range(7)]
    found[0][0, 1] += 1 + abs(value)
    scaling = fit_scaling(method, found, 2)
    assert scaling.scale[0] == 1
    assert np.array_equal(scaling(found[1])[:, 0], np.zeros(4))
    assert np.isfinite(scaling(found[0])).all()


def test_minmax_spans_the_unit_interval_and_goes_beyond():
    scaling = fit_scaling("minmax", [np.array([[2.0], [4.0]], "float32")], 1)
    assert scaling(np.array([[2.0], [3.0], [4.0], [6.0]], "float32")).ravel().tolist() == [0, 0.5, 1, 2]


def test_none_changes_nothing_and_reads_nothing():
    def unread():
        raise AssertionError
        yield

    found = tracks(1)[0]
    assert np.array_equal(fit_scaling("none", unread(), 5)(found), found)


def test_balanced_outputs_have_a_total_variance_of_one():
    found = tracks(size=6)
    together = np.concatenate(found).astype("float64")
    scaling = fit_scaling("balanced", found, 6, [(slice(0, 2), False), (slice(2, 6), True)])
    scaled = scaling(together)
    assert np.allclose(scaled.mean(axis=0), 0, atol=1e-5)
    assert np.allclose(scaled[:, :2].var(axis=0), 1 / 2, rtol=1e-4)
    assert scaled[:, 2:].var(axis=0).sum() == pytest.approx(1, rel=1e-4)
    proportions = scaled[:, 2:].std(axis=0) / together[:, 2:].std(axis=0)
    assert np.allclose(proportions, proportions[0], rtol=1e-4)


def test_balanced_rows_that_do_not_change_take_no_share():
    found = tracks(size=4)
    for track in found:
        track[:, [0, 3]] = 7
    for common_unit in (False, True):
        scaling = fit_scaling("balanced", found, 4, [(slice(0, 4), common_unit)])
        scaled = scaling(np.concatenate(found))
        assert scaled.var(axis=0).sum() == pytest.approx(1, rel=1e-4)
        assert np.array_equal(scaled[:, [0, 3]], np.zeros((len(scaled), 2)))
