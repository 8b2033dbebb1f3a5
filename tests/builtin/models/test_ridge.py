import numpy as np
import pytest
import torch
from estimator_properties import TARGETS, VALENCE, assert_learns, predict, songs
from musicemo_builtin.models._statistics import pooled
from musicemo_builtin.models.ridge import Ridge
from sklearn.linear_model import RidgeCV
from sklearn.preprocessing import StandardScaler


def statistics(tracks):
    return torch.cat([pooled(track[None], torch.tensor([len(track)])) for track in tracks]).double().numpy()


def test_it_learns():
    assert_learns(lambda: Ridge(targets=TARGETS))


@pytest.mark.parametrize("alphas", [(3.0,), (0.01, 1.0, 1e4)])
def test_it_is_scikit_learns_ridge_on_standardized_statistics(alphas):
    tracks, targets = songs()
    model = Ridge(targets=TARGETS, alphas=alphas)
    model.fit(tracks, targets)
    x = StandardScaler().fit_transform(statistics(tracks))
    expected = RidgeCV(list(alphas)).fit(x, targets["valence"].numpy()).predict(x)
    found = predict(model, tracks, targets)
    np.testing.assert_allclose(found["valence"].numpy(), expected, rtol=1e-4, atol=1e-4)
    wanted = np.eye(3)[targets["genre"].long()] * 2 - 1
    scores = RidgeCV(list(alphas)).fit(x, wanted).predict(x)
    assert np.array_equal(found["genre"].argmax(1).numpy(), scores.argmax(1))


def test_a_row_that_never_changes_counts_for_nothing():
    tracks, targets = songs()
    constant = [torch.cat([track, torch.full((len(track), 1), 0.1)], 1) for track in tracks]
    models = [Ridge(targets=[VALENCE]) for _ in range(2)]
    for model, given in zip(models, (tracks, constant), strict=True):
        model.fit(given, targets)
    changed = [torch.cat([track, torch.full((len(track), 1), 5.0)], 1) for track in tracks]
    plain, other = predict(models[0], tracks, targets), predict(models[1], changed, targets)
    torch.testing.assert_close(plain["valence"], other["valence"])
