"""The extractor: the contract, the spectrogram, and the arrangement of windows."""

from __future__ import annotations

import os
from pathlib import Path

import numpy as np
import pytest
import torch
from musicemo_musicnn import TAGS
from musicemo_musicnn.extractor import PRETRAINED_ON, MusiCNNFeatures
from musicemo_musicnn.spectrogram import log_mel
from musicemo_musicnn.weights import PACKAGED, load_weights

from musicemo.contracts import Output
from musicemo.errors import InputError
from musicemo.testing import check_features

CPU = torch.device("cpu")


@pytest.fixture(scope="module")
def extractor():
    """Windows of 1.5 s, 93 frames, every 0.5 s, 31 frames."""
    return MusiCNNFeatures(window=1.5, hop=0.5, device="cpu")


def noise(seconds, seed=0):
    generator = np.random.default_rng(seed)
    samples = round(16000 * seconds)
    return (generator.normal(size=samples) * generator.random(samples) / 10).astype(np.float32)


@pytest.mark.slow
def test_contract():
    check_features("musicnn", {"window": 0.2, "hop": 0.16, "device": "cpu"}, window=0.2, seconds=1.0)


def test_memory_does_not_grow_with_the_clip(monkeypatch):
    """A batch of windows has the spectrogram of those windows only."""
    extractor = MusiCNNFeatures(window=0.16, hop=0.08, batch_size=3, device="cpu")
    asked = []

    def spy(samples, first, stop, device):
        asked.append((first, stop))
        return log_mel(samples, first, stop, device)

    monkeypatch.setattr("musicemo_musicnn.extractor.log_mel", spy)
    list(extractor.extract(noise(2), ["tags"]))
    assert asked[:2] == [(0, 20), (15, 35)]
    assert max(stop - first for first, stop in asked) == 20


@pytest.mark.slow
@pytest.mark.parametrize("seconds", [0.5, 3.0])
def test_the_spectrogram_is_librosas(seconds):
    librosa = pytest.importorskip("librosa")
    samples = noise(seconds)
    mel = librosa.feature.melspectrogram(
        y=samples.astype(np.float64), sr=16000, n_fft=512, hop_length=256, n_mels=96
    )
    expected = np.log10(10000 * mel.T + 1)
    computed = log_mel(samples, 0, len(expected), CPU).numpy()
    np.testing.assert_allclose(computed, expected, atol=2e-5)
    np.testing.assert_allclose(log_mel(samples, 10, 20, CPU).numpy(), computed[10:20], atol=1e-5)
    assert not log_mel(samples, len(expected) + 1, len(expected) + 5, CPU).any()


def test_loud_music_does_not_overflow():
    loud = np.sign(noise(1)) * np.float32(1)
    assert log_mel(loud, 0, 62, CPU).isfinite().all()


def extracted(extractor, samples, outputs):
    """Return output -> values and edges, with the blocks joined."""
    blocks = list(extractor.extract(samples, outputs))
    joined = {}
    for name in outputs:
        parts = [block.outputs[name] for block in blocks]
        values = np.concatenate([part.values for part in parts])
        joined[name] = Output(values, np.concatenate([parts[0].edges[:1], *(part.edges[1:] for part in parts)]))
    return joined


def layers_of(extractor, samples, start):
    """Return the layers of one window that starts at a frame."""
    with torch.inference_mode():
        return extractor.network(log_mel(samples, start, start + extractor.window, CPU)[None])


def test_windows_begin_every_hop_and_the_last_one_ends_with_the_clip(extractor):
    samples = noise(2.6)  # 162 frames: windows from frames 0, 31 and 62, and the last one from 69
    outputs = extracted(extractor, samples, list(extractor.outputs))
    pooled, frames = outputs["max_pool"], outputs["cnn2"]
    np.testing.assert_allclose(pooled.edges, [0, 0.496, 0.992, 1.488, 2.6])
    np.testing.assert_allclose(frames.edges, [*(np.arange(162) * 0.016), 2.6])
    for index, (start, begin, end) in enumerate([(0, 0, 31), (31, 31, 62), (62, 62, 93), (69, 93, 162)]):
        layers = layers_of(extractor, samples, start)
        np.testing.assert_allclose(pooled.values[[index]], layers["max_pool"][0].numpy(), rtol=1e-4, atol=1e-4)
        expected = layers["cnn2"][0, begin - start : end - start].numpy()
        np.testing.assert_allclose(frames.values[begin:end], expected, rtol=1e-4, atol=1e-4)


def test_steps_of_vgg_last_until_the_next_one():
    extractor = MusiCNNFeatures(model="MSD_vgg", window=2.2, device="cpu")
    samples = noise(3.2)  # 200 frames: windows of 137, from frame 0, and from 63 for the frames from 137 on
    outputs = extracted(extractor, samples, ["pool4", "pool5", "tags"])
    for name, begins in {
        "pool4": [0, 16, 32, 48, 64, 80, 96, 112, 137, 143, 159, 175],
        "pool5": [0, 64, 137],
        "tags": [0, 137],
    }.items():
        np.testing.assert_allclose(outputs[name].edges, [*(np.array(begins) * 0.016), 3.2], err_msg=name)
    layers = layers_of(extractor, samples, 63)
    for name, last in (("pool4", 4), ("pool5", 1), ("tags", 1)):
        expected = layers[name][0, -last:].numpy()
        np.testing.assert_allclose(outputs[name].values[-last:], expected, rtol=1e-4, atol=1e-4)


def test_a_window_of_three_seconds_has_187_frames():
    extractor = MusiCNNFeatures()
    assert (extractor.window, extractor.hop) == (187, 187)
    outputs = extracted(extractor, noise(3.0), ["penultimate", "cnn1"])
    assert [outputs[name].values.shape for name in ("penultimate", "cnn1")] == [(1, 200), (187, 64)]
    assert set(outputs) == {"penultimate", "cnn1"}


def test_a_short_clip_is_followed_by_silence(extractor):
    short = noise(0.7)
    padded = np.append(short, np.zeros(16000, np.float32))
    of_short, of_padded = (extracted(extractor, samples, ["tags", "cnn3"]) for samples in (short, padded))
    np.testing.assert_allclose(of_short["tags"].values[0], of_padded["tags"].values[0], atol=1e-5)
    np.testing.assert_allclose(
        of_short["cnn3"].values[:31], of_padded["cnn3"].values[:31], rtol=1e-4, atol=1e-4
    )
    np.testing.assert_array_equal(of_short["tags"].edges, [0, 0.7])


def test_the_fingerprint_is_that_of_the_weights(tmp_path):
    fingerprints = {MusiCNNFeatures(model=model).fingerprint for model in TAGS}
    weights = load_weights(PACKAGED / "MSD_musicnn.npz")
    np.savez(tmp_path / "same.npz", **weights)
    fingerprints.add(MusiCNNFeatures(weights=tmp_path / "same.npz").fingerprint)
    assert len(fingerprints) == len(TAGS)
    weights["dense/bias"] = weights["dense/bias"] + 1
    np.savez(tmp_path / "other.npz", **weights)
    assert MusiCNNFeatures(weights=tmp_path / "other.npz").fingerprint not in fingerprints


def test_weights_of_other_sizes(tmp_path):
    weights = load_weights(PACKAGED / "MSD_musicnn.npz")
    for name in ("dense_1/kernel", "dense_1/bias"):
        weights[name] = weights[name][..., :7]
    np.savez(tmp_path / "seven.npz", **weights)
    assert MusiCNNFeatures(weights=tmp_path / "seven.npz").outputs["tags"] == 7


@pytest.mark.parametrize("name", ["dense/bias", "conv2d_5/kernel"])
def test_weights_of_another_network_are_an_error(tmp_path, name):
    weights = load_weights(PACKAGED / "MSD_musicnn.npz")
    np.savez(tmp_path / "less.npz", **{key: values for key, values in weights.items() if key != name})
    np.savez(tmp_path / "cut.npz", **{**weights, name: weights[name][..., :-1]})
    for file in ("less.npz", "cut.npz"):
        with pytest.raises(InputError, match=f"{file}: not the weights of MusiCNN"):
            MusiCNNFeatures(weights=tmp_path / file)
    with pytest.raises(InputError, match=r"MSD_musicnn\.npz: not the weights of VGG"):
        MusiCNNFeatures(model="MSD_vgg", weights=PACKAGED / "MSD_musicnn.npz")


def test_parameters_that_do_not_fit_are_an_error():
    with pytest.raises(InputError, match="hop: 4 s is longer than the window of 3 s"):
        MusiCNNFeatures(hop=4.0)
    with pytest.raises(InputError, match="window: 4 s is not possible with MSD_vgg"):
        MusiCNNFeatures(model="MSD_vgg", window=4.0)
    with pytest.raises(InputError, match="device: 'cuda:77' is not available"):
        MusiCNNFeatures(device="cuda:77")


def test_every_model_names_its_tags_and_corpora():
    assert set(TAGS) == set(PRETRAINED_ON)
    for model, tags in TAGS.items():
        extractor = MusiCNNFeatures(model=model)
        assert len(set(tags)) == extractor.outputs["tags"] == 50
        assert extractor.pretrained_on == PRETRAINED_ON[model]


README = {
    "joram-moments_of_clarity-08-solipsism-59-88.mp3": (
        *(
            "techno",
            "electronic",
            "synth",
            "fast",
            "beat",
            "drums",
            "no vocals",
            "no vocal",
            "dance",
            "ambient",
        ),
    ),
    "TRWJAZW128F42760DD_test.mp3": ("guitar", "piano", "fast"),
}


@pytest.mark.filterwarnings("ignore:.*slated for removal:DeprecationWarning")
@pytest.mark.parametrize("clip", README)
def test_the_tags_of_the_original_readme(clip):
    folder = os.environ.get("MUSICNN_AUDIO")
    if not folder:
        pytest.skip("needs the folder audio of github.com/jordipons/musicnn in MUSICNN_AUDIO")
    librosa = pytest.importorskip("librosa")
    samples, _ = librosa.load(Path(folder) / clip, sr=16000)
    tags = extracted(MusiCNNFeatures(model="MTT_musicnn"), samples, ["tags"])["tags"].values.mean(0)
    ranked = [TAGS["MTT_musicnn"][row] for row in np.argsort(-tags)]
    assert tuple(ranked[: len(README[clip])]) == README[clip]
