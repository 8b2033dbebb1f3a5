"""The networks against a second implementation, in NumPy with double precision, from the same weights."""

from __future__ import annotations

import numpy as np
import pytest
import torch
from musicemo_musicnn.musicnn import MusiCNN
from musicemo_musicnn.vgg import VGG
from musicemo_musicnn.weights import PACKAGED, content_hash, load_weights
from numpy.lib.stride_tricks import sliding_window_view

HASHES = {
    "MSD_musicnn": "50d99c46c84cb77d5a63398ae177104314c10bdbb30d7910c5f43e49d8b54c3b",
    "MSD_vgg": "d5f1c91b5f44ab773edd7f2e99051417812f394b573a995f342e09ba3c4065ff",
    "MTT_musicnn": "1659900a281ec2dd36df4a7eb9a8c2ab36105a7ea693e6412f5d765a34c84b1b",
}


def numbered(name, number):
    return f"{name}_{number}" if number else name


def normalized(w, x, number):
    name = numbered("batch_normalization", number)
    deviation = np.sqrt(w[f"{name}/moving_variance"] + 1e-3)
    return w[f"{name}/gamma"] * (x - w[f"{name}/moving_mean"]) / deviation + w[f"{name}/beta"]


def musicnn(w, x):
    """Return layer -> values `[steps, rows]` for one log-mel spectrogram `[frames, bands]`."""

    def convolve(x, number):
        """Return `[frames, places, filters]` for `[frames, bands]`."""
        kernel = w[f"{numbered('conv2d', number)}/kernel"][:, :, 0]
        height, width = kernel.shape[:2]
        padded = np.pad(x, (((height - 1) // 2, height // 2), (0, 0)))
        patches = sliding_window_view(padded, (height, width))
        result = np.einsum("tphw,hwf->tpf", patches, kernel, optimize=True)
        return normalized(w, np.maximum(result + w[f"{numbered('conv2d', number)}/bias"], 0), number + 1)

    x = normalized(w, x, 0)
    timbral = np.concatenate([convolve(x, n).max(1) for n in (0, 1)], 1)
    temporal = np.concatenate([convolve(x, n).max(1) for n in (2, 3, 4)], 1)
    front = np.concatenate([timbral, temporal], 1)
    cnn1 = convolve(front, 5)[:, 0]
    cnn2 = convolve(cnn1, 6)[:, 0] + cnn1
    cnn3 = convolve(cnn2, 7)[:, 0] + cnn2
    everything = np.concatenate([front, cnn1, cnn2, cnn3], 1)
    pools = np.empty(2 * everything.shape[1])
    pools[0::2], pools[1::2] = everything.max(0), everything.mean(0)
    hidden = normalized(w, pools, 9) @ w["dense/kernel"] + w["dense/bias"]
    penultimate = normalized(w, np.maximum(hidden, 0), 10)
    logits = penultimate @ w["dense_1/kernel"] + w["dense_1/bias"]
    frames = {"timbral": timbral, "temporal": temporal, "cnn1": cnn1, "cnn2": cnn2, "cnn3": cnn3}
    windows = {
        "mean_pool": everything.mean(0),
        "max_pool": everything.max(0),
        "penultimate": penultimate,
        "tags": 1 / (1 + np.exp(-logits)),
    }
    return frames | {name: values[None] for name, values in windows.items()}


def vgg(w, x):
    """Return layer -> values `[steps, rows]` for one log-mel spectrogram `[frames, bands]`."""
    x = normalized(w, x[..., None], 0)
    layers = {}
    for number, (height, width, stride) in enumerate([(4, 1, 2), *[(2, 2, 2)] * 3, (4, 4, 4)], 1):
        patches = sliding_window_view(np.pad(x, ((1, 1), (1, 1), (0, 0))), (3, 3), axis=(0, 1))
        x = np.tensordot(patches, w[f"{number}CNN/kernel"], ([3, 4, 2], [0, 1, 2])) + w[f"{number}CNN/bias"]
        x = normalized(w, np.maximum(x, 0), number)
        x = sliding_window_view(x, (height, width), axis=(0, 1))[::stride, ::stride].max((3, 4))
        layers[f"pool{number}"] = x.reshape(len(x), -1)
    logits = x.ravel() @ w["dense/kernel"] + w["dense/bias"]
    return layers | {"tags": 1 / (1 + np.exp(-logits))[None]}


@pytest.mark.parametrize(
    ("model", "network", "reference", "shape"),
    [
        ("MSD_musicnn", MusiCNN, musicnn, (2, 40, 96)),
        ("MTT_musicnn", MusiCNN, musicnn, (2, 40, 96)),
        ("MSD_vgg", VGG, vgg, (1, 150, 96)),
    ],
)
def test_layers_are_those_of_the_reference(model, network, reference, shape):
    weights = load_weights(PACKAGED / f"{model}.npz")
    precise = {name: values.astype(np.float64) for name, values in weights.items()}
    generator = np.random.default_rng(0)
    x = 3 * generator.random(shape, np.float32) * generator.random((*shape[:2], 1), np.float32)
    layers = network(weights)(torch.from_numpy(x))
    for index, spectrogram in enumerate(x):
        expected = reference(precise, spectrogram.astype(np.float64))
        assert list(layers) == list(expected)
        for name, values in expected.items():
            np.testing.assert_allclose(
                layers[name][index].numpy(),
                values,
                rtol=1e-4,
                atol=2e-5 * np.abs(values).max(),
                err_msg=name,
            )


def test_vgg_needs_two_steps_of_its_last_layer():
    weights = load_weights(PACKAGED / "MSD_vgg.npz")
    for name, values in weights.items():  # two filters
        if "normalization_" in name or "CNN/bias" in name:
            weights[name] = values[:2]
        elif "CNN/kernel" in name:
            weights[name] = values[:, :, :2, :2]
    weights["dense/kernel"] = weights["dense/kernel"].reshape(2, -1, 50)[:, :2].reshape(-1, 50)
    network = VGG(weights)
    for frames in (VGG.frames[0], VGG.frames[-1]):
        assert network(torch.zeros(1, frames, 96))["pool5"].shape == (1, 2, 2)
    for frames in (VGG.frames[0] - 1, VGG.frames[-1] + 1):
        with pytest.raises(RuntimeError, match="shapes"):
            network(torch.zeros(1, frames, 96))


@pytest.mark.parametrize("model", HASHES)
def test_the_packaged_weights_are_those_of_the_readme(model):
    assert content_hash(load_weights(PACKAGED / f"{model}.npz")) == HASHES[model]
    assert HASHES[model] in (PACKAGED.parents[2] / "README.md").read_text(encoding="utf-8")
