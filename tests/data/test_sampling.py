import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st

from musicemo.data import Batches, Features, Proportions

FIRST, SECOND = np.arange(0, 90), np.arange(100, 110)


def made(*proportions: float) -> Proportions:
    return Proportions([FIRST, SECOND], proportions)


def test_an_epoch_is_as_long_as_the_training_part_and_has_the_proportions():
    assert made(1, 1).counts == [50, 50]
    assert made(3, 1).counts == [75, 25]
    assert made(0.9, 0.1).counts == [90, 10]
    order = made(3, 1).draw(0, 1)
    assert len(order) == 100
    assert (order < 100).sum() == 75


@pytest.mark.slow
@given(
    sizes=st.lists(st.integers(1, 40), min_size=1, max_size=4),
    weights=st.lists(st.floats(0.01, 100), min_size=4, max_size=4),
    seed=st.integers(0, 2**32 - 1),
)
def test_tracks_of_a_dataset_come_equally_often_over_the_epochs(sizes, weights, seed):
    datasets = [np.arange(size) + 100 * number for number, size in enumerate(sizes)]
    drawn = Proportions(datasets, weights[: len(sizes)])
    assert sum(drawn.counts) == sum(sizes)
    every = np.concatenate([drawn.draw(seed, epoch) for epoch in (1, 2, 3)])
    for indices, count in zip(datasets, drawn.counts, strict=True):
        often = np.array([(every == index).sum() for index in indices])
        assert often.sum() == 3 * count
        assert often.max() - often.min() <= 1


@pytest.mark.parametrize("size", [4, 10, 25])
def test_every_batch_has_the_proportions(size):
    order = made(1, 1).draw(7, 3)
    for start in range(0, 100, size):
        of_second = (order[start : start + size] >= 100).sum()
        assert abs(of_second - size / 2) <= 2


def test_what_is_drawn_depends_on_seed_and_epoch_alone():
    one = made(1, 2)
    first, second = one.draw(5, 1), one.draw(5, 2)
    np.random.seed(1)  # noqa: NPY002  # the point
    assert np.array_equal(made(1, 2).draw(5, 2), second), "an epoch is drawn without those before it"
    assert np.array_equal(one.draw(5, 1), first)
    assert not np.array_equal(first, second)
    assert not np.array_equal(made(1, 2).draw(6, 1), first)


@pytest.mark.parametrize("bucket", [False, True])
def test_batches_of_proportions(bucket):
    class Lengths(Features):
        def __init__(self) -> None:
            self.lengths = np.arange(200)

    batches = Batches(
        Lengths(),
        np.zeros((200, 1)),
        np.concatenate([FIRST, SECOND]),
        8,
        seed=1,
        bucket=bucket,
        proportions=made(1, 1),
    )
    order = batches.order(2)
    assert len(order) == len(batches) == 13
    assert (np.concatenate(order) >= 100).sum() == 50
    assert sorted(np.concatenate(order)) == sorted(made(1, 1).draw(1, 2))
