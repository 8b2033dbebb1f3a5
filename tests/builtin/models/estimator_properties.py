"""What every estimator must hold, as assertions, and data to fit them to."""

import torch
from backbone_properties import padded, tracks_of

from musicemo.contracts import Target

VALENCE = Target("valence", "regression")
ENERGY = Target("energy", "regression")
GENRE = Target("genre", "classification", classes=("folk", "jazz", "rock"))
TARGETS = (VALENCE, ENERGY, GENRE)


def songs(count=60, size=6, seed=0):
    """Return tracks whose mean and liveliness tell valence, energy and genre, and these targets."""
    generator = torch.Generator().manual_seed(seed)
    valence, energy = torch.rand(2, count, generator=generator)
    genre = torch.arange(count) % 3
    lengths = torch.randint(20, 40, (count,), generator=generator).tolist()
    found = tracks_of(lengths, size, seed=seed + 1)
    for index, track in enumerate(found):
        track[:, 0] += 6 * valence[index]
        track[:, 1] *= 1 + 4 * energy[index]
        track[:, 2 + int(genre[index])] += 2
    return found, {"valence": valence, "energy": energy, "genre": genre.float()}


def labels_of(estimator, targets):
    return {name: targets[name] for name in estimator.given}


@torch.no_grad()
def predict(estimator, tracks, targets):
    return estimator.eval()(*padded(tracks), labels_of(estimator, targets))


def assert_same(first, second, **tolerance):
    assert first.keys() == second.keys()
    for name in first:
        torch.testing.assert_close(first[name], second[name], **tolerance)


@torch.no_grad()
def assert_estimator(make):
    """Shapes, padding, order, missing targets, the state dict and determinism, after a fit."""
    tracks, targets = songs()
    targets["valence"][5:9] = torch.nan
    targets["genre"][3] = torch.nan
    estimator = make()
    estimator.fit(iter(tracks), targets)
    found = predict(estimator, tracks, targets)
    assert {name: tuple(values.shape) for name, values in found.items()} == {
        "valence": (60,),
        "energy": (60,),
        "genre": (60, 3),
    }
    assert all(values.isfinite().all() for values in found.values())
    every = padded(tracks)
    extra = torch.nn.functional.pad(every[0], (0, 0, 0, 7)), every[1]
    close = {"rtol": 1e-4, "atol": 1e-4}
    assert_same(estimator(*extra, labels_of(estimator, targets)), found, **close)
    alone = predict(estimator, tracks[7:8], {name: values[7:8] for name, values in targets.items()})
    assert_same(alone, {name: values[7:8] for name, values in found.items()}, **close)
    order = torch.randperm(60, generator=torch.Generator().manual_seed(1))
    other = predict(
        estimator, [tracks[index] for index in order], {name: values[order] for name, values in targets.items()}
    )
    assert_same(other, {name: values[order] for name, values in found.items()}, **close)
    fresh = make()
    fresh.load_state_dict(estimator.state_dict())
    assert_same(predict(fresh, tracks, targets), found, rtol=0, atol=0)
    again = make()
    again.fit(iter(tracks), targets)
    assert_same(predict(again, tracks, targets), found, rtol=0, atol=0)
    assert not list(estimator.parameters())


@torch.no_grad()
def assert_learns(make, correlation=0.8, accuracy=0.9):
    """It predicts other songs of the same kind."""
    estimator = make()
    estimator.fit(*songs(90))
    tracks, targets = songs(60, seed=50)
    found = predict(estimator, tracks, targets)
    for name in ("valence", "energy"):
        assert torch.corrcoef(torch.stack([found[name], targets[name]]))[0, 1] > correlation
    assert (found["genre"].argmax(1) == targets["genre"]).float().mean() > accuracy
