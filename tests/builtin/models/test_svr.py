import numpy as np
import pytest
import torch
from estimator_properties import GENRE, TARGETS, VALENCE, assert_learns, predict, songs
from musicemo_builtin.models._statistics import pooled
from musicemo_builtin.models.svr import SVR
from sklearn import svm
from sklearn.preprocessing import StandardScaler

from musicemo.contracts import Target


def statistics(tracks):
    return torch.cat([pooled(track[None], torch.tensor([len(track)])) for track in tracks]).double().numpy()


@pytest.mark.slow
def test_it_learns():
    assert_learns(lambda: SVR(targets=TARGETS, C=1.0))


@pytest.mark.slow
@pytest.mark.parametrize("settings", [{}, {"C": 2.0, "epsilon": 0.1, "classification_C": 0.5, "gamma": 0.02}])
@pytest.mark.parametrize("classes", [2, 3, 5])
def test_its_predictions_are_those_of_scikit_learn(settings, classes):
    tracks, targets = songs()
    targets["genre"] = (torch.arange(60) % classes).float()
    genre = Target("genre", "classification", classes=("a", "b", "c", "d", "e")[:classes])
    model = SVR(targets=[VALENCE, genre], **settings)
    model.fit(tracks[:45], {name: values[:45] for name, values in targets.items()})
    found = predict(model, tracks[45:], targets)
    scaler = StandardScaler().fit(statistics(tracks[:45]))
    x, rest = scaler.transform(statistics(tracks[:45])), scaler.transform(statistics(tracks[45:]))
    gamma = settings.get("gamma", "scale")
    regression = svm.SVR(C=settings.get("C", 0.1), epsilon=settings.get("epsilon", 0.02), gamma=gamma)
    expected = regression.fit(x, targets["valence"][:45]).predict(rest)
    np.testing.assert_allclose(found["valence"].numpy(), expected, rtol=1e-3, atol=1e-4)
    classifier = svm.SVC(C=settings.get("classification_C", 3.0), gamma=gamma).fit(x, targets["genre"][:45])
    scores = classifier.decision_function(rest)
    scores = np.stack([-scores, scores], 1) if classes == 2 else scores
    factor = float(model.factors[1])
    logits = found["genre"].numpy() / factor
    assert np.array_equal(logits.argmax(1), scores.argmax(1))
    if classes > 2:
        np.testing.assert_allclose(logits, scores, rtol=1e-3, atol=1e-3)


def test_one_vector_per_track_is_as_in_scikit_learn():
    """The percentiles are copies of the mean, and the deviations count for nothing."""
    x = torch.randn(60, 20, generator=torch.Generator().manual_seed(0))
    ratings = (x[:, 0] / 8 + 0.5).clamp(0, 1)
    for settings in ({}, {"statistics": ["mean"]}):
        model = SVR(targets=[VALENCE], **settings)
        model.fit([vector[None] for vector in x[:40]], {"valence": ratings[:40]})
        predicted = predict(model, [vector[None] for vector in x[40:]], {"valence": ratings[40:]})["valence"]
        scaler = StandardScaler().fit(x[:40])
        regression = svm.SVR(C=0.1, epsilon=0.02, gamma=1 / 20).fit(scaler.transform(x[:40]), ratings[:40])
        np.testing.assert_allclose(
            predicted, regression.predict(scaler.transform(x[40:])), rtol=1e-3, atol=1e-4
        )


def test_probabilities_are_calibrated_and_leave_the_classes_as_they_are():
    """On noise the best factor is near 0; on what can be told apart it is far from it."""
    tracks, targets = songs()
    told = SVR(targets=[GENRE])
    told.fit(tracks, targets)
    shuffled = targets["genre"][torch.randperm(60, generator=torch.Generator().manual_seed(3))]
    noise = SVR(targets=[GENRE])
    noise.fit(tracks, {"genre": shuffled})
    assert float(noise.factors[0]) < 0.5 < 1 < float(told.factors[0])
    found = predict(told, tracks, targets)["genre"].softmax(1)
    assert found.amax(1).mean() > 0.8


def test_a_class_without_a_training_track_is_never_predicted():
    tracks, targets = songs(30)
    targets["genre"][targets["genre"] == 1] = 2
    model = SVR(targets=[GENRE])
    model.fit(tracks, targets)
    found = predict(model, tracks, targets)["genre"]
    assert found.isfinite().all()
    assert set(found.argmax(1).tolist()) == {0, 2}


@pytest.mark.parametrize("tracks", [2, 12])
def test_one_training_track_of_a_class_is_enough(tracks):
    features, _ = songs(tracks)
    genre = Target("genre", "classification", classes=("a", "b"))
    model = SVR(targets=[genre])
    model.fit(features, {"genre": (torch.arange(tracks) == 0).float()})
    assert predict(model, features, {})["genre"].isfinite().all()


def test_a_tag_that_all_training_tracks_have():
    tracks, targets = songs(30)
    targets["mood"][:, 0] = 1
    targets["mood"][:5, 0] = torch.nan
    model = SVR(targets=TARGETS)
    model.fit(tracks, targets)
    torch.testing.assert_close(
        predict(model, tracks, targets)["mood"][:, 0].sigmoid(), torch.full((30,), 26 / 27)
    )
