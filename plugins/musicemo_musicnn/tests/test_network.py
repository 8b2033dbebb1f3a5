"""The network against a second implementation, in NumPy with double precision, from the same weights."""

from __future__ import annotations

import numpy as np
import pytest
import torch
from musicemo_musicnn.network import MusiCNN
from musicemo_musicnn.weights import PACKAGED, content_hash, load_weights
from numpy.lib.stride_tricks import sliding_window_view

HASHES = {
    "MSD_musicnn": "50d99c46c84cb77d5a63398ae177104314c10bdbb30d7910c5f43e49d8b54c3b",
    "MTT_musicnn": "1659900a281ec2dd36df4a7eb9a8c2ab36105a7ea693e6412f5d765a34c84b1b",
}


def reference(weights, x):
    """Return layer -> values for one log-mel spectrogram `[frames, bands]`."""
    w = {name: values.astype(np.float64) for name, values in weights.items()}

    def numbered(name, number):
        return f"{name}_{number}" if number else name

    def norm(x, number):
        name = numbered("batch_normalization", number)
        deviation = np.sqrt(w[f"{name}/moving_variance"] + 1e-3)
        return w[f"{name}/gamma"] * (x - w[f"{name}/moving_mean"]) / deviation + w[f"{name}/beta"]

    def convolve(x, number):
        """Return `[frames, places, filters]` for `[frames, bands]`."""
        kernel = w[f"{numbered('conv2d', number)}/kernel"][:, :, 0]
        height, width = kernel.shape[:2]
        padded = np.pad(x, (((height - 1) // 2, height // 2), (0, 0)))
        patches = sliding_window_view(padded, (height, width))
        result = np.einsum("tphw,hwf->tpf", patches, kernel, optimize=True)
        return norm(np.maximum(result + w[f"{numbered('conv2d', number)}/bias"], 0), number + 1)

    x = norm(x.astype(np.float64), 0)
    timbral = np.concatenate([convolve(x, n).max(1) for n in (0, 1)], 1)
    temporal = np.concatenate([convolve(x, n).max(1) for n in (2, 3, 4)], 1)
    front = np.concatenate([timbral, temporal], 1)
    cnn1 = convolve(front, 5)[:, 0]
    cnn2 = convolve(cnn1, 6)[:, 0] + cnn1
    cnn3 = convolve(cnn2, 7)[:, 0] + cnn2
    everything = np.concatenate([front, cnn1, cnn2, cnn3], 1)
    pools = np.empty(2 * everything.shape[1])
    pools[0::2], pools[1::2] = everything.max(0), everything.mean(0)
    hidden = norm(pools, 9) @ w["dense/kernel"] + w["dense/bias"]
    penultimate = norm(np.maximum(hidden, 0), 10)
    logits = penultimate @ w["dense_1/kernel"] + w["dense_1/bias"]
    return {
        **{"timbral": timbral, "temporal": temporal, "cnn1": cnn1, "cnn2": cnn2, "cnn3": cnn3},
        **{"mean_pool": everything.mean(0), "max_pool": everything.max(0), "penultimate": penultimate},
        "tags": 1 / (1 + np.exp(-logits)),
    }


@pytest.mark.parametrize("model", HASHES)
def test_layers_are_those_of_the_reference(model):
    weights = load_weights(PACKAGED / f"{model}.npz")
    generator = np.random.default_rng(0)
    x = 3 * generator.random((2, 40, 96), np.float32) * generator.random((2, 40, 1), np.float32)
    layers = MusiCNN(weights)(torch.from_numpy(x))
    for index in range(2):
        for name, expected in reference(weights, x[index]).items():
            np.testing.assert_allclose(
                layers[name][index].numpy(),
                expected,
                rtol=1e-4,
                atol=2e-5 * np.abs(expected).max(),
                err_msg=name,
            )


@pytest.mark.parametrize("model", HASHES)
def test_the_packaged_weights_are_those_of_the_readme(model):
    assert content_hash(load_weights(PACKAGED / f"{model}.npz")) == HASHES[model]
    assert HASHES[model] in (PACKAGED.parents[2] / "README.md").read_text(encoding="utf-8")
