"""Export of runs whose features an ONNX model computes: one graph from the samples of a clip on."""

import json
import re

import harness
import numpy as np
import pytest
import torch
from songs import write_song

from musicemo.contracts import Extraction, Output
from musicemo.errors import InputError, RunError
from musicemo.features import FeatureSettings, Stream
from musicemo.prediction import TrainedRun, export_onnx
from musicemo.prediction.audio_graph import Noise, Pooling, obstacle
from musicemo.prediction.songs import find_streams

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
        (
            [stream(Graphed), stream(Graphed, name="other")],
            "the run has 2 streams of features; one is supported",
        ),
        ([stream()], "'blocks' is not an ONNX model"),
        ([stream(Finished)], "changes the features after pooling"),
        ([stream(Graphed, grid="beat")], "a graph does not track beats"),
        ([stream(Graphed, grid="track", pool="median")], r"pool = 'median' \(supported: mean, std, mean-std\)"),
        ([stream(Graphed, grid="frame", pool="median")], ""),
    ],
)
def test_features_that_a_graph_cannot_compute(streams, reason):
    assert re.search(reason, obstacle(streams))
    assert bool(obstacle(streams)) == bool(reason)


@pytest.fixture
def run(tmp_path, install, monkeypatch, request) -> TrainedRun:
    """Return a run on songs of a table, whose features a small graph computes."""
    from onnx import TensorProto, helper, numpy_helper

    nodes = [
        helper.make_node("Reshape", ["audio", "shape"], ["blocks"]),
        helper.make_node("Abs", ["blocks"], ["level"]),
        helper.make_node("MatMul", ["level", "weights"], ["rows"]),
    ]
    weights = np.random.default_rng(0).normal(size=(100, 3)).astype(np.float32)
    constants = {"shape": np.array([0, -1, 100]), "weights": weights}
    graph = helper.make_graph(
        nodes,
        "graph",
        [helper.make_tensor_value_info("audio", TensorProto.FLOAT, ["n", 2000])],
        [helper.make_tensor_value_info("rows", TensorProto.FLOAT, ["n", 20, 3])],
        [numpy_helper.from_array(value, name) for name, value in constants.items()],
    )
    model = helper.make_model(graph, opset_imports=[helper.make_opsetid("", 15)], ir_version=8)
    onnx.save(model, tmp_path / "levels.onnx")
    install.beside()
    monkeypatch.setattr("musicemo.features._store._WORTH_STARTING", 100)  # in this process
    for number in range(12):
        write_song(tmp_path / f"{number}.wav", number, seconds=1.0)
    lines = ["id,audio,samples", *(f"{number},{number}.wav,{number}" for number in range(12))]
    (tmp_path / "songs.csv").write_text("\n".join(lines) + "\n")
    text = f"""
        name = "levels"
        [dataset]
        type = "table"
        path = "{tmp_path}/songs.csv"
        audio = "audio"
        regression = {{ samples = [0, 12] }}
        [model]
        type = "mlp"
        hidden = [4]
        [training]
        epochs = 1
        device = "cpu"
        [split]
        method = "random"
        [tasks.samples]
        [features]
        type = "onnx"
        model = "./levels.onnx"
        sample_rate = 8000
        margin = 300
        grid = "segment"
        segment = 0.25
        cache = "{tmp_path}/cache"
    """
    (outcome,) = harness.run_all(tmp_path, *getattr(request, "param", ()), text=text)
    return TrainedRun.load(outcome.directory)


@pytest.mark.slow
@pytest.mark.parametrize(
    ("run", "shape"),
    [
        ((), (4, 3)),
        (("features.grid='frame'",), (80, 3)),
        (("features.grid='track'", "features.pool='std'"), (1, 3)),
    ],
    indirect=["run"],
)
def test_a_run_is_one_graph_from_audio_on(run, tmp_path, shape):
    exported = export_onnx(run, tmp_path / "model.onnx")
    assert exported.input == "audio"
    assert exported.difference < 1e-5
    session = onnxruntime.InferenceSession(str(tmp_path / "model.onnx"))
    assert [one.name for one in session.get_inputs()] == ["samples"]
    assert [one.name for one in session.get_outputs()] == ["samples_"]
    samples = Noise(1.0, 8000).samples()[0]
    (stream,) = find_streams(run, None)
    clip = stream.compute(Noise(1.0, 8000)).values["rows"]
    assert clip.shape == shape
    np.testing.assert_allclose(
        session.run(None, {"samples": samples})[0], run.predict([clip])["samples"], atol=1e-4
    )
    metadata = {key: json.loads(value) for key, value in session.get_modelmeta().custom_metadata_map.items()}
    assert (metadata["input"], metadata["sample_rate"]) == ("audio", 8000)
    assert metadata["features"][0]["type"] == "onnx"


@pytest.mark.slow
def test_the_input_can_be_features(run, tmp_path):
    assert export_onnx(run, tmp_path / "model.onnx", input="features").input == "features"
    session = onnxruntime.InferenceSession(str(tmp_path / "model.onnx"))
    assert [one.name for one in session.get_inputs()] == ["features", "lengths"]


@pytest.mark.slow
def test_a_graph_that_computes_something_else_is_not_written(run, tmp_path, monkeypatch):
    pooled = Pooling._pooled
    monkeypatch.setattr(Pooling, "_pooled", lambda *arguments: 2 * pooled(*arguments))
    with pytest.raises(RunError, match=r"from audio on differs .* by .* --input features"):
        export_onnx(run, tmp_path / "model.onnx")
    assert not (tmp_path / "model.onnx").exists()


def test_audio_as_input_is_an_error_if_the_extractor_is_no_graph(directory, tmp_path):
    with pytest.raises(InputError, match=r"cannot be exported from audio on: .* is not an ONNX model"):
        export_onnx(TrainedRun.load(directory), tmp_path / "model.onnx", input="audio")
