"""Songs to fit estimators to, and whether they learn from them."""

import torch
from backbone_properties import padded, tracks_of
from sklearn.metrics import log_loss, roc_auc_score

from musicemo.contracts import Target

VALENCE = Target("valence", "regression")
ENERGY = Target("energy", "regression")
GENRE = Target("genre", "classification", classes=("folk", "jazz", "rock"))
MOOD = Target("mood", "tags", classes=("happy", "wild"))
TARGETS = (VALENCE, ENERGY, GENRE, MOOD)


def songs(count=60, size=6, seed=0):
    """Return tracks whose mean and liveliness determine valence, energy, genre and tags, and these targets."""
    generator = torch.Generator().manual_seed(seed)
    valence, energy = torch.rand(2, count, generator=generator)
    genre = torch.arange(count) % 3
    lengths = torch.randint(20, 40, (count,), generator=generator).tolist()
    found = tracks_of(lengths, size, seed=seed + 1)
    for index, track in enumerate(found):
        track[:, 0] += 6 * valence[index]
        track[:, 1] *= 1 + 4 * energy[index]
        track[:, 2 + int(genre[index])] += 2
    mood = torch.stack([valence > 0.6, energy > 0.7], 1).float()
    return found, {"valence": valence, "energy": energy, "genre": genre.float(), "mood": mood}


def labels_of(estimator, targets):
    return {name: targets[name] for name in estimator.given}


@torch.no_grad()
def predict(estimator, tracks, targets):
    return estimator.eval()(*padded(tracks), labels_of(estimator, targets))


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
    assert roc_auc_score(targets["mood"], found["mood"]) > 0.85
    assert log_loss(targets["mood"].ravel(), found["mood"].sigmoid().ravel()) < 0.6
