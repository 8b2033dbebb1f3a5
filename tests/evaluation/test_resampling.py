import time

import numpy as np
import pytest

from musicemo.evaluation.intervals import ClassificationResampler, RegressionResampler, draw_counts
from musicemo.evaluation.metrics import CLASSIFICATION, REGRESSION, of_confusion, regression


def drawn(counts: np.ndarray) -> np.ndarray:
    """Return the tracks of each resample, `[resamples, n]`."""
    return np.array([np.repeat(np.arange(len(row)), row.astype(int)) for row in counts])


def counts_of(count: int, resamples: int = 40, stream: int = 0) -> np.ndarray:
    return np.concatenate(list(draw_counts(count, resamples, stream)))


def cases() -> dict[str, tuple[np.ndarray, np.ndarray]]:
    random = np.random.default_rng(0)
    target = random.uniform(1, 9, 30)
    prediction = target + random.normal(size=30)
    spoilt = prediction.copy()
    spoilt[[3, 4]] = np.nan, np.inf
    return {
        "usual": (prediction, target),
        "ties": (prediction.round(), target.round()),
        "few values": ((prediction > 5).astype(float), (target > 5).astype(float)),
        "far from zero": (prediction + 1e3, target + 1e3),
        "constant prediction": (np.full(30, 0.1), target),
        "constant target": (prediction, np.full(30, 0.1)),
        "not finite": (spoilt, target),
        "nearly constant but for one track": (
            np.append(1e-6 * prediction[1:], 1e3),
            np.append(1e-6 * target[1:], 1e3),
        ),
        "nearly constant but for one prediction": (np.append(1e-6 * prediction[1:], 1e3), target),
        "two tracks": (prediction[:2], target[:2]),
        "three tracks, two of them equal": (np.array([0.3, 0.3, 0.7]), np.array([0.1, 0.2, 0.2])),
    }


@pytest.mark.parametrize("name", cases())
def test_counts_give_what_the_drawn_tracks_give(name):
    prediction, target = cases()[name]
    counts = counts_of(len(target))
    found = RegressionResampler(prediction, target)(counts)
    tracks = drawn(counts)
    expected = regression(prediction[tracks], target[tracks])
    assert tuple(found) == REGRESSION
    for metric, values in expected.items():
        assert found[metric] == pytest.approx(
            values, rel=1e-12, abs=1e-9 if name == "far from zero" else 1e-12, nan_ok=True
        )


def test_counts_of_classes_give_what_the_drawn_tracks_give():
    random = np.random.default_rng(0)
    target, prediction = random.integers(4, size=(2, 25))
    counts = counts_of(25)
    found = ClassificationResampler(prediction, target, 4)(counts)
    assert tuple(found) == CLASSIFICATION
    tracks = drawn(counts)
    for row, some in enumerate(tracks):
        confusion = np.zeros((4, 4))
        np.add.at(confusion, (target[some], prediction[some]), 1)
        for metric, value in of_confusion(confusion).items():
            assert found[metric][row] == pytest.approx(float(value), abs=1e-12)


def test_some_metrics_alone_are_what_they_are_among_all():
    prediction, target = cases()["usual"]
    counts = counts_of(len(target))
    resampler = RegressionResampler(prediction, target)
    every = resampler(counts)
    for name in REGRESSION:
        assert list(resampler(counts, [name])) == [name]
        assert np.array_equal(resampler(counts, [name])[name], every[name])


def test_draws():
    assert (counts_of(7).sum(axis=1) == 7).all()
    assert np.array_equal(counts_of(7), counts_of(7))
    assert not np.array_equal(counts_of(7), counts_of(7, stream=1))
    assert counts_of(7, 2000).mean(axis=0) == pytest.approx(1, abs=0.1)


def test_a_thousand_resamples_cost_less_than_drawing_and_ranking_them():
    random = np.random.default_rng(0)
    target, prediction = random.uniform(size=(2, 300))
    counts = counts_of(300, 1000)
    tracks = drawn(counts)

    def seconds(work) -> float:
        began = time.process_time()
        work()
        return time.process_time() - began

    by_counts = min(seconds(lambda: RegressionResampler(prediction, target)(counts)) for _ in range(3))
    by_drawing = min(seconds(lambda: regression(prediction[tracks], target[tracks])) for _ in range(3))
    assert by_counts < by_drawing
