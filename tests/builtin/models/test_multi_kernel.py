import numpy as np
import pytest
import torch
from backbone_properties import padded
from complaints import warns
from estimator_properties import ENERGY, GENRE, TARGETS, VALENCE
from musicemo_builtin.features import _descriptors
from musicemo_builtin.features._descriptors import DESCRIPTORS, SIZES, describe
from musicemo_builtin.models._kernels import NormalKernel, StandardizedKernel, VectorKernel
from musicemo_builtin.models.multi_kernel import MultiKernel
from sklearn.kernel_ridge import KernelRidge
from sklearn.metrics import roc_auc_score
from sklearn.svm import SVC

from musicemo.contracts import Target
from musicemo.errors import InputError
from musicemo.testing import check_model


def songs(count, seed=0):
    """Return tracks in decibels with a chroma; level tells the valence, liveliness the energy, bands the genre."""
    random = np.random.default_rng(seed)
    valence, energy = random.uniform(size=(2, count))
    genre = np.arange(count) % 3
    tracks = []
    for index in range(count):
        steps = int(random.integers(60, 90))
        mel = -45 + 20 * valence[index] + (2 + 8 * energy[index]) * random.normal(size=(steps, 128))
        mel[:, 40 * genre[index] : 40 * genre[index] + 40] += 10
        chroma = random.uniform(size=(steps, 12))
        features = np.concatenate([mel.clip(-80, 0), chroma], 1)
        tracks.append(torch.from_numpy(features.astype(np.float32)))
    mood = np.stack([valence > 0.6, energy > 0.7], 1)
    targets = {"valence": valence, "energy": energy, "genre": genre, "mood": mood}
    return tracks, {name: torch.from_numpy(values).float() for name, values in targets.items()}


@torch.no_grad()
def predict(model, tracks):
    return model.eval()(*padded(tracks), {})


@pytest.mark.slow
@pytest.mark.parametrize("parameters", [{}, {"regression": {"bands": 1.0}, "gamma": {"bands": 0.5}}])
def test_it_holds_what_every_estimator_must(parameters):
    check_model("multi-kernel", parameters, input_sizes=[140])


@pytest.mark.slow
def test_it_learns():
    model = MultiKernel(input_size=140, targets=TARGETS)
    model.fit(*songs(60))
    tracks, targets = songs(30, seed=1)
    found = predict(model, tracks)
    for name in ("valence", "energy"):
        assert torch.corrcoef(torch.stack([found[name], targets[name]]))[0, 1] > 0.8
    assert (found["genre"].argmax(1) == targets["genre"]).float().mean() > 0.9
    assert roc_auc_score(targets["mood"], found["mood"]) > 0.85


@pytest.mark.slow
def test_predictions_are_those_of_scikit_learn_with_the_same_kernel():
    tracks, targets = songs(45)
    weights = {"statistics": 3.0, "bands": 1.0}
    model = MultiKernel(
        input_size=140, targets=[VALENCE, GENRE], alpha=0.5, C=2.0, regression=weights, classification=weights
    )
    model.fit(tracks[:30], {name: values[:30] for name, values in targets.items()})
    found = predict(model, tracks[30:])
    described = [describe(track.numpy()) for track in tracks]
    every = {name: torch.from_numpy(np.stack([one[name] for one in described])) for name in weights}
    mixed = (
        sum(weight / 4 * model.kernels[name](every[name]) for name, weight in weights.items()).double().numpy()
    )
    train, rest = mixed[:30], mixed[30:]
    ratings = targets["valence"][:30].double().numpy()
    ridge = KernelRidge(alpha=0.5, kernel="precomputed").fit(train, ratings - ratings.mean())
    expected = ridge.predict(rest) + ratings.mean()
    np.testing.assert_allclose(found["valence"].numpy(), expected, rtol=1e-4, atol=1e-5)
    scores = SVC(C=2.0, kernel="precomputed").fit(train, targets["genre"][:30]).decision_function(rest)
    logits = found["genre"].numpy() / float(model.factors[1])
    np.testing.assert_allclose(logits, scores, rtol=1e-3, atol=1e-3)


@pytest.mark.slow
def test_a_missing_target_leaves_its_track_to_the_others():
    tracks, targets = songs(30)
    hidden = {**targets, "valence": targets["valence"].clone()}
    hidden["valence"][20:] = torch.nan
    some = MultiKernel(input_size=140, targets=[VALENCE, ENERGY])
    some.fit(tracks, hidden)
    every = MultiKernel(input_size=140, targets=[VALENCE, ENERGY])
    every.fit(tracks, targets)
    torch.testing.assert_close(predict(some, tracks)["energy"], predict(every, tracks)["energy"])
    assert (some.coefficients[20:, 0] == 0).all()
    assert (some.coefficients[:20, 0] != 0).all()


def test_only_kernels_that_a_task_needs_are_computed():
    assert set(MultiKernel(input_size=140, targets=[GENRE]).kernels) == set(DESCRIPTORS)
    assert set(MultiKernel(input_size=140, targets=[VALENCE]).kernels) == {"statistics", "timbre", "bands"}


def test_what_it_cannot_use_is_refused():
    with pytest.raises(
        InputError, match=r"128 rows of a mel .* \(rows of the streams: features 128\)\. Add one"
    ):
        MultiKernel(input_size=128, targets=TARGETS)
    streams = {"mel-chroma": slice(0, 128), "clap": slice(128, 131)}
    with pytest.raises(InputError, match=r"\(rows of the streams: mel-chroma 128, clap 3\)"):
        MultiKernel(input_size=131, targets=TARGETS, streams=streams)
    with pytest.raises(InputError, match="a stream of features is called 'timbre'"):
        MultiKernel(input_size=3, targets=TARGETS, streams={"timbre": slice(0, 3)})
    with pytest.raises(InputError, match=r"`classification`: unknown kernel 'tibre'; did you mean 'timbre'\?"):
        MultiKernel(input_size=140, targets=TARGETS, classification={"tibre": 1.0})
    with pytest.raises(InputError, match=r"`gamma`: unknown kernel 'chords'"):
        MultiKernel(input_size=140, targets=TARGETS, gamma={"chords": 1.0})
    with pytest.raises(InputError, match=r"'clip'; did you mean 'clap'\?"):
        MultiKernel(input_size=3, targets=TARGETS, streams={"clap": slice(0, 3)}, regression={"clip": 1.0})


def embedded(count, seed=0, size=7):
    """Return tracks of two streams, of which only `clap`, one vector per track, has to do with the targets."""
    random = np.random.default_rng(seed)
    vectors = random.normal(size=(count, size))
    steps = random.integers(1, 5, size=count)
    tracks = [
        torch.from_numpy(
            np.concatenate([random.normal(size=(some, 4)), vector[None].repeat(some, 0)], 1)
        ).float()
        for vector, some in zip(vectors, steps, strict=True)
    ]
    targets = {"valence": vectors[:, 0] / 6 + 0.5, "genre": vectors[:, 1] > 0}
    return tracks, {name: torch.from_numpy(values).float() for name, values in targets.items()}


STREAMS = {"noise": slice(0, 4), "clap": slice(4, 11)}
TWO = [VALENCE, Target("genre", "classification", classes=("folk", "jazz"))]


def test_a_stream_has_a_kernel_on_its_mean_and_deviation():
    """With scikit-learn's kernel of the standardized vectors, whose deviation over time is 0 and ignored."""
    tracks, targets = embedded(60)
    weights = {"clap": 1.0}
    model = MultiKernel(
        input_size=11,
        targets=TWO,
        streams=STREAMS,
        regression=weights,
        classification=weights,
        gamma={"clap": 0.5},
    )
    model.fit(tracks[:40], {name: values[:40] for name, values in targets.items()})
    x = torch.stack([track[0, 4:] for track in tracks]).double().numpy()
    x = ((x - x[:40].mean(0)) / x[:40].std(0)).clip(-4, 4)
    ratings = targets["valence"][:40].double().numpy()
    ridge = KernelRidge(alpha=0.2, kernel="rbf", gamma=0.5 / 7).fit(x[:40], ratings - ratings.mean())
    predictions = predict(model, tracks[40:])
    np.testing.assert_allclose(
        predictions["valence"], ridge.predict(x[40:]) + ratings.mean(), rtol=1e-3, atol=1e-4
    )
    assert (predictions["genre"].argmax(1) == targets["genre"][40:]).float().mean() > 0.8


def test_ratings_correct_each_other_by_their_leave_one_out_predictions():
    tracks, targets = embedded(30)
    random = np.random.default_rng(5)
    valence = targets["valence"].double().numpy()
    targets["energy"] = torch.from_numpy(3 * valence + random.normal(size=30)).float()
    targets["energy"][[3, 8]] = torch.nan
    settings = {"input_size": 11, "targets": [VALENCE, ENERGY], "streams": STREAMS, "regression": {"clap": 1.0}}
    apart, coupled = MultiKernel(**settings), MultiKernel(**settings, coupling=0.75)
    ratings = np.stack([targets[name].double().numpy() for name in ("valence", "energy")], 1)
    for model in (apart, coupled):
        model.fit(tracks, targets)
    x = torch.stack([track[0, 4:] for track in tracks]).double().numpy()
    x = ((x - x.mean(0)) / x.std(0)).clip(-4, 4)
    gram = np.exp(-0.8 / 7 * np.square(x[:, None] - x).sum(2))
    left = np.full_like(ratings, np.nan)
    for task, y in enumerate(ratings.T):
        has = np.flatnonzero(np.isfinite(y))
        for one in has:
            rest = has[has != one]
            matrix = gram[np.ix_(rest, rest)] + 0.2 * np.eye(len(rest))
            left[one, task] = gram[one, rest] @ np.linalg.solve(matrix, y[rest] - y[has].mean())
    both = np.isfinite(ratings).all(1)
    mean, deviation = np.nanmean(ratings, 0), np.nanstd(ratings, 0)
    e, z = left[both] / deviation, (ratings[both] - mean) / deviation
    t = np.trace(e.T @ e) / 3 / 2
    b = np.linalg.solve(e.T @ e + t * np.eye(2), e.T @ z + t * np.eye(2))
    new, _ = embedded(6, seed=1)
    predictions = [
        np.stack([predict(model, new)[name].double().numpy() for name in ("valence", "energy")], 1)
        for model in (apart, coupled)
    ]
    expected = (predictions[0] - mean) / deviation @ b * deviation + mean
    np.testing.assert_allclose(predictions[1], expected, rtol=1e-4, atol=1e-5)
    assert np.abs(predictions[1] - predictions[0]).max() > 0.01


def test_weights_of_streams_say_what_counts():
    tracks, targets = embedded(90)
    correlations = []
    for weights in ({"clap": 1.0}, {"clap": 1.0, "noise": 1.0}, {"noise": 1.0}):
        model = MultiKernel(input_size=11, targets=TWO[:1], streams=STREAMS, regression=weights)
        model.fit(tracks[:60], {name: values[:60] for name, values in targets.items()})
        predicted = predict(model, tracks[60:])["valence"]
        correlations.append(float(torch.corrcoef(torch.stack([predicted, targets["valence"][60:]]))[0, 1]))
    assert correlations[0] > correlations[1] > correlations[2] + 0.3


def test_further_streams_are_beside_the_descriptors():
    size = {"clap": slice(0, 3), "mel-chroma": slice(3, 143), "keys.2": slice(143, 145)}
    model = MultiKernel(input_size=145, targets=TARGETS, streams=size)
    assert list(model.weights["regression"]) == ["statistics", "timbre", "bands", "clap", "keys.2"]
    assert sum(model.weights["regression"].values()) == pytest.approx(1)
    assert model.weights["regression"]["clap"] == model.weights["regression"]["statistics"]


@pytest.mark.slow
def test_descriptors_are_those_of_their_stream():
    tracks, targets = songs(24)
    alone = MultiKernel(input_size=140, targets=TARGETS)
    alone.fit(tracks, targets)
    weights = {"regression": {"statistics": 2.0, "timbre": 1.0, "bands": 1.0}}
    streams = {"clap": slice(0, 3), "mel-chroma": slice(3, 143)}
    beside = MultiKernel(input_size=143, targets=TARGETS[:2], streams=streams, **weights)
    wide = [torch.cat([torch.randn(len(track), 3), track], 1) for track in tracks]
    beside.fit(wide, targets)
    torch.testing.assert_close(predict(beside, wide)["energy"], predict(alone, tracks)["energy"])
    described = [describe(track.numpy()) for track in tracks]
    vectors = [torch.from_numpy(np.concatenate([one[name] for name in DESCRIPTORS]))[None] for one in described]
    ready = MultiKernel(input_size=sum(SIZES.values()), targets=TARGETS)
    ready.fit(vectors, targets)
    for name, values in predict(alone, tracks).items():
        torch.testing.assert_close(predict(ready, vectors)[name], values, rtol=1e-4, atol=1e-4)
    with pytest.raises(InputError, match="variances that are not positive"):
        ready.fit([vector - vectors[0] for vector in vectors], targets)


@pytest.mark.slow
def test_scaled_features_are_warned_of():
    tracks, targets = songs(12)
    with warns(r'scaling = \{ method = "none" \}'):
        MultiKernel(input_size=140, targets=TARGETS).fit([track + 50 for track in tracks], targets)


def test_a_track_is_described_once(monkeypatch):
    tracks, _ = songs(2, seed=77)
    calls = []
    real = _descriptors._describe
    monkeypatch.setattr(_descriptors, "_describe", lambda features: calls.append(1) or real(features))
    first = describe(tracks[0].numpy())
    assert describe(tracks[0].numpy().copy()) is first
    describe(tracks[1].numpy())
    assert len(calls) == 2
    monkeypatch.setattr(_descriptors, "_KEPT", 1)
    describe(tracks[1].numpy() - 1)
    describe(tracks[0].numpy())
    assert len(calls) == 4


def positive(random, size):
    root = random.normal(size=(size, 2 * size))
    return root @ root.T / size + 0.1 * np.eye(size)


def test_the_bhattacharyya_distance_is_that_of_its_integral():
    """In one dimension, -log of the integral of sqrt(p q)."""
    kernel = NormalKernel(1.0)
    kernel.fit(torch.tensor([[0.3, 0.8], [-1.0, 2.5]], dtype=torch.float64))
    x = np.linspace(-30, 30, 200_001)

    def density(mean, variance):
        return np.exp(-((x - mean) ** 2) / (2 * variance)) / np.sqrt(2 * np.pi * variance)

    expected = -np.log(np.sum(np.sqrt(density(0.3, 0.8) * density(-1.0, 2.5))) * (x[1] - x[0]))
    assert float(kernel.distance(kernel.points)[0, 1]) == pytest.approx(expected, rel=1e-6)


def test_the_bhattacharyya_distance_is_symmetric_and_that_of_numpy():
    random = np.random.default_rng(0)
    means, covariances = random.normal(size=(5, 4)), [positive(random, 4) for _ in range(5)]
    points = torch.from_numpy(np.stack([np.r_[m, c.ravel()] for m, c in zip(means, covariances, strict=True)]))
    kernel = NormalKernel(1.0)
    kernel.fit(points)
    found = kernel.distance(points)
    torch.testing.assert_close(found, kernel.distance(points.clone()))
    torch.testing.assert_close(found.diagonal(), torch.zeros(5, dtype=torch.float64))
    between = (covariances[0] + covariances[3]) / 2
    apart = means[0] - means[3]
    logs = [np.linalg.slogdet(matrix)[1] for matrix in (between, covariances[0], covariances[3])]
    expected = apart @ np.linalg.solve(between, apart) / 8 + (logs[0] - (logs[1] + logs[2]) / 2) / 2
    assert float(found[0, 3]) == pytest.approx(expected)


@pytest.mark.parametrize("kind", [VectorKernel, StandardizedKernel])
def test_a_kernel_is_one_with_itself_and_its_matrix_positive(kind):
    x = torch.randn(30, 7, generator=torch.Generator().manual_seed(0), dtype=torch.float64)
    kernel = kind(0.8)
    kernel.fit(x)
    gram = kernel(x)
    torch.testing.assert_close(gram.diagonal(), torch.ones(30, dtype=torch.float64))
    assert torch.linalg.eigvalsh(gram).min() > -1e-10
    if kind is VectorKernel:
        above = gram[tuple(torch.triu_indices(30, 30, 1))]
        assert float(above.median()) == pytest.approx(np.exp(-0.8), rel=1e-3)
