"""The built-in components hold their contracts, with default parameters and others, as any author's would."""

import pytest

from musicemo.components import registry
from musicemo.testing import check_loss, check_model


def own(kind):
    return [claim.name for claim in registry.claims(kind) if claim.distribution == "musicemo"]


REQUIRED = {"ensemble": {"members": [{"type": "mean"}, {"type": "genre-mean", "weight": 2.0}]}}


@pytest.mark.slow
@pytest.mark.parametrize("name", own("model"))
def test_models(name):
    check_model(name, REQUIRED.get(name), input_sizes=[140] if name == "multi-kernel" else [12, 140])


@pytest.mark.slow
@pytest.mark.parametrize("name", own("model"))
def test_models_take_one_vector_per_track(name):
    check_model(name, REQUIRED.get(name), input_sizes=[140 if name == "multi-kernel" else 20], lengths=[1, 1])


@pytest.mark.parametrize("name", own("loss"))
def test_losses(name):
    check_loss(name)


@pytest.mark.slow
@pytest.mark.parametrize(
    ("name", "parameters"),
    [
        ("cnn", {"pooling": "mean-max", "channels": [3, 5, 6], "kernels": [5, 4, 3], "dropout": 0.2}),
        ("cnn", {"pooling": "flatten", "frames": 30, "channels": [4], "kernels": [5]}),
        ("mlp", {"pooling": "mean-std", "hidden": [7, 5], "norm": "layer", "activation": "gelu"}),
        ("mlp", {"pooling": "attention", "hidden": [6], "norm": "batch", "activation": "tanh"}),
        ("mlp", {"hidden": []}),
        (
            "tdnn",
            {"pooling": "attentive-statistics", "channels": 4, "dilations": [3], "stride": 1, "drop_path": 0.2},
        ),
        *(
            ("transformer", {"width": 8, "heads": 2, "layers": 1, "stride": 2, "window": 5, "pooling": pooling})
            for pooling in ("mean", "attention", "cls")
        ),
        *(
            ("lstm", {"layers": 2, "bidirectional": both, "pooling": pooling})
            for pooling in ("last", "mean", "attention")
            for both in (False, True)
        ),
    ],
)
def test_models_with_other_parameters(name, parameters):
    check_model(name, parameters)


@pytest.mark.parametrize(
    ("name", "parameters"),
    [
        ("soft-spearman", {"form": "soft", "regularization": "kl"}),
        ("soft-spearman", {"form": "study"}),
        ("cross-entropy", {"class_weights": "balanced", "label_smoothing": 0.1}),
        ("cross-entropy", {"class_weights": {"rock": 3.0}}),
        ("bce", {"positive_weight": "balanced", "label_smoothing": 0.1}),
        ("focal", {"gamma": 0.5, "alpha": 0.25}),
        ("ranknet", {"scale": 3.0, "min_difference": 0.05}),
    ],
)
def test_losses_with_other_parameters(name, parameters):
    check_loss(name, parameters)
