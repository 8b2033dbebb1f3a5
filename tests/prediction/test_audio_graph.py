"""Export of runs whose features an ONNX model computes: one graph from the samples of a clip on."""

import json
from types import SimpleNamespace

import numpy as np
import pytest
import torch

from musicemo.contracts import Extraction, Output
from musicemo.errors import InputError, RunError
from musicemo.features import FeatureSettings, Stream
from musicemo.prediction import TrainedRun, export_onnx
from musicemo.prediction.audio_graph import Noise, Pooling, obstacle

onnx = pytest.importorskip("onnx", reason="needs onnx")
onnxruntime = pytest.importorskip("onnxruntime", reason="needs onnxruntime")

RATE = 1000


class Blocks:
    """Samples in blocks of 10, without the pooling of whole windows that real extractors need."""

    sample_rate, outputs, fingerprint = RATE, {"blocks": 10, "mean": 1}, "1"

    def extract(self, samples, outputs):
        count = len(samples) // 10
        values = samples[: 10 * count].reshape(count, 10)
        edges = np.append(np.arange(count) / 100.0, len(samples) / RATE)
        arrays = {"blocks": values, "mean": values.mean(1, keepdims=True)}
        return Extraction({name: Output(arrays[name], edges) for name in outputs})


class Finished(Blocks):
    def graph(self, outputs):
        raise AssertionError

    def finish(self, values):
        return values


class Graphed(Blocks):
    def graph(self, outputs):
        raise AssertionError


def stream(build=Blocks, **settings) -> Stream:
    return Stream("blocks", {}, build, FeatureSettings(**settings))


@pytest.mark.parametrize(
    "settings",
    [
        {"grid": "frame"},
        {"grid": "track"},
        {"grid": "track", "pool": "mean-std"},
        {"grid": "segment", "segment": 0.5},
        {"grid": "segment", "segment": 0.25, "pool": "mean-std", "outputs": ["mean"]},
        {"grid": "segment", "segment": 0.004, "pool": "std"},  # shorter than a step of the extractor
    ],
    ids=str,
)
@pytest.mark.parametrize("seconds", [0.11, 0.5, 1.234, 2.0])
def test_pooling_is_that_of_the_features(settings, seconds):
    one = stream(**settings)
    noise = Noise(seconds, RATE)
    expected = np.concatenate(list(one.compute(noise).values.values()), axis=1)
    outputs = Blocks().extract(noise.samples()[0], list(one.outputs)).outputs.values()
    arrays = [torch.from_numpy(array) for output in outputs for array in (output.values, output.edges)]
    features, lengths = Pooling(one, slice(0, one.size))(*arrays)
    assert lengths.tolist() == [len(expected)]
    np.testing.assert_allclose(features[0], expected, atol=1e-6)


@pytest.mark.parametrize(
    ("streams", "reason"),
    [
        ([stream(Graphed), stream(Graphed, name="other")], "the run has 2 streams of features; one is supported"),
        ([stream()], "'blocks' is not an ONNX model"),
        ([stream(Finished)], "changes the features after pooling"),
        ([stream(Graphed, grid="beat")], "a graph does not track beats"),
        ([stream(Graphed, grid="track", pool="median")], r"pool = 'median' \(supported: mean, std, mean-std\)"),
        ([stream(Graphed, grid="frame", pool="median")], ""),
    ],
)
def test_features_that_a_graph_cannot_compute(streams, reason):
    import re

    assert re.search(reason, obstacle(streams))
    assert bool(obstacle(streams)) == bool(reason)
