"""Augmented batches: seeds, shares, probabilities and labels."""

import dataclasses

import numpy as np
import pytest
import torch

from musicemo.contracts import Examples, Track
from musicemo.data import AppliedAugmentation, Augmentations, Batches, Features, Task
from musicemo.data.series import TimedRatings
from musicemo.errors import InputError

TASKS = [
    Task("valence", "valence", "regression"),
    Task("mood", "mood", "tags", classes=("calm", "sad")),
    Task("arousal", "arousal", "series"),
]


class Shifted:
    """Adds one random number to each example."""

    def __call__(self, examples, random):
        shift = torch.from_numpy(random.uniform(1, 2, (len(examples.x), 1, 1)).astype("float32"))
        return dataclasses.replace(examples, x=(examples.x + shift) * examples.mask[:, :, None])


class Halved:
    """The first half of each example."""

    aligned = False

    def __call__(self, examples, random):
        lengths = (examples.lengths + 1) // 2
        return Examples(
            examples.x * (torch.arange(examples.x.shape[1]) < lengths[:, None])[:, :, None],
            lengths,
            examples.labels,
        )


class Swapped:
    """Three parts of each example and one of the next."""

    def __call__(self, examples, random):
        return examples.mixed(torch.arange(len(examples.x)).roll(-1), 0.75)


def batches(*applied, series=False, **options):
    random = np.random.default_rng(0)
    lengths = [4, 6, 5, 7, 6, 5]
    tracks = [
        Track(f"t{n}", random.uniform(1, 2, (length, 3)).astype("float32"), {})
        for n, length in enumerate(lengths)
    ]
    targets = np.array([[n / 10, n % 2, 1 - n % 2] for n in range(6)])
    rated = [
        TimedRatings(
            np.arange(length) + 0.5,
            np.full(length, 1.0 * n),
            np.arange(length + 1.0),
            np.full(length, n, np.float32),
        )
        for n, length in enumerate(lengths)
    ]
    augmentations = Augmentations(
        [one if isinstance(one, AppliedAugmentation) else AppliedAugmentation("test", one) for one in applied],
        TASKS,
        5,
    )
    how = {"seed": 3, "augmentations": augmentations, **options}
    return Batches(
        Features(tracks, slice(None)),
        targets,
        range(6),
        4,
        series={"arousal": rated} if series else None,
        **how,
    )


def test_examples_depend_on_seed_epoch_and_batch_alone():
    first, again = (list(batches(Shifted()).epoch(2)) for _ in range(2))
    assert all(torch.equal(one.x, other.x) for one, other in zip(first, again, strict=True))
    resumed = next(batches(Shifted()).epoch(2, batches=slice(1, None)))
    assert torch.equal(resumed.x, first[1].x)
    plain = list(batches().epoch(2))
    shifts = {
        float(one.x[row, 0, 0] - other.x[row, 0, 0])
        for one, other in zip(first, plain, strict=True)
        for row in range(len(one.x))
    }
    assert len(shifts) == 6
    third = torch.cat([one.x[:, 0, 0] for one in batches(Shifted()).epoch(3)])
    assert not set(third.tolist()) & set(torch.cat([one.x[:, 0, 0] for one in first]).tolist())
    twice = next(batches(Halved(), Shifted()).epoch(2))
    assert not torch.equal(twice.x[:, 0], first[0].x[:, 0]), "each draws from its own generator"


def test_epoch_0_is_not_changed():
    for one, other in zip(
        batches(Shifted(), Halved()).epoch(), batches(augmentations=None).epoch(), strict=True
    ):
        assert torch.equal(one.x, other.x)
        assert not one.more


@pytest.mark.parametrize("series", [False, True])
def test_the_examples_of_a_share_are_those_of_the_batch(series):
    chain = [Shifted(), Swapped()] if series else [Halved(), Shifted(), Swapped()]
    whole = list(batches(*chain, series=series).epoch(1))
    for rows in (slice(0, 1), slice(1, 4)):
        for one, other in zip(
            batches(*chain, series=series).epoch(1, lambda indices, rows=rows: indices[rows]),
            whole,
            strict=True,
        ):
            share = other.x[rows]
            assert torch.equal(one.lengths, other.lengths[rows])
            assert torch.equal(one.x, share if series else share[:, : int(one.lengths.max())])
            assert torch.equal(one.targets, other.targets)
            assert torch.equal(one.more[0].targets, other.more[0].targets)
            assert one.indices.tolist() == other.indices.tolist()


def test_some_examples_are_changed_and_lose_labels():
    applied = AppliedAugmentation("test", Halved(), probability=0.5, lost=["valence"])
    changed = total = 0
    for epoch in range(1, 20):
        for one, other in zip(batches(applied).epoch(epoch), batches().epoch(epoch), strict=True):
            halved = one.lengths != other.lengths
            assert torch.equal(one.lengths[halved], (other.lengths[halved] + 1) // 2)
            assert torch.equal(one.targets[:, 0].isnan(), halved)
            assert torch.equal(one.targets[~halved], other.targets[~halved])
            assert torch.equal(one.targets[:, 1:], other.targets[:, 1:])
            for row in range(len(one.x)):
                length = int(one.lengths[row])
                assert torch.equal(one.x[row, :length], other.x[row, :length])
                assert not one.x[row, length:].any()
            changed, total = changed + int(halved.sum()), total + len(halved)
    assert 0.35 < changed / total < 0.65


def test_mixed_labels_follow_their_tracks():
    lost = AppliedAugmentation("test", Shifted(), lost=["mood", "arousal"], probability=0.5)
    some = AppliedAugmentation("test", Swapped(), probability=0.5)
    mixes = 0
    for epoch in range(1, 10):
        chain = batches(lost, some, series=True)
        for one, other in zip(chain.epoch(epoch), batches(series=True).epoch(epoch), strict=True):
            if not one.more:
                continue
            (second,) = one.more
            assert (one.weight, second.weight) == (0.75, 0.25)
            assert one.indices.tolist() == other.indices.tolist()
            place = {index: row for row, index in enumerate(other.indices.tolist())}
            partners = [place[index] for index in second.indices.tolist()]
            assert torch.equal(second.targets[:, 0], other.targets[partners, 0])
            mixes += sum(row != partner for row, partner in enumerate(partners))
            gone = one.targets[:, 1].isnan()
            assert torch.equal(second.targets[:, 1].isnan(), gone[partners])
            assert torch.equal(one.series["arousal"].isnan().all(dim=1), gone)
            within = (torch.arange(one.x.shape[1]) < one.lengths[:, None]) & (
                torch.arange(one.x.shape[1]) < one.lengths[partners][:, None]
            )
            expected = other.targets[partners, 0:1].expand(-1, one.x.shape[1]) * 10
            rated = within & ~gone[partners][:, None]
            torch.testing.assert_close(second.series["arousal"][rated], expected[rated])
            assert second.series["arousal"][~rated].isnan().all()
    assert mixes


class Broken:
    def __init__(self, change):
        self.change = change

    def __call__(self, examples, random):
        return self.change(examples)


def labelled(examples, **changes):
    return dataclasses.replace(examples, labels=[dataclasses.replace(examples.labels[0], **changes)])


@pytest.mark.parametrize(
    ("change", "message"),
    [
        (lambda one: one.x, "returns Tensor; it must return Examples"),
        (lambda one: one.select(torch.tensor([0])), r"shape \[1, 6, 3\]; it must be float32 \[4, time, 3\]"),
        (lambda one: dataclasses.replace(one, x=one.x.double()), "x of type torch.float64"),
        (lambda one: dataclasses.replace(one, x=one.x / 0), "values that are not finite"),
        (lambda one: dataclasses.replace(one, x=one.x + 1), "values other than zero beyond the length"),
        (lambda one: dataclasses.replace(one, lengths=one.lengths.int()), "lengths of type torch.int32"),
        (lambda one: dataclasses.replace(one, lengths=one.lengths + 9), "they must be from 1 to 6"),
        (lambda one: Halved()(one, None), "examples of other lengths; declare it with aligned = False"),
        (lambda one: dataclasses.replace(one, labels=[*one.labels] * 2), "weights do not add up to 1"),
        (
            lambda one: labelled(one, places=torch.arange(3)),
            "labels whose places are not 4 of those of its input",
        ),
        (lambda one: labelled(one, places=one.labels[0].places + 1), "labels whose places are not 4 of those"),
        (
            lambda one: labelled(one, lost={"energy": torch.ones(4)}),
            r"labels whose lost is not bool \[4\] for each task",
        ),
        (
            lambda one: labelled(one, lost={"valense": torch.ones(4, dtype=torch.bool)}),
            "labels whose lost names 'valense', which is not a task.*; did you mean 'valence'",
        ),
    ],
)
def test_a_broken_augmentation_is_named(change, message):
    with pytest.raises(InputError, match=f"augmentation 'test' .*{message}"):
        list(batches(Broken(change)).epoch(1))
