import json
import sys

import clips
import numpy as np
import pytest
from clips import columns

from musicemo.errors import InputError, RunError
from musicemo.prediction import export_onnx

onnx = pytest.importorskip("onnx")
onnxruntime = pytest.importorskip("onnxruntime")

CNN = 'model={type="cnn", channels=[2, 3], kernels=[3, 4]'
MODELS = {
    "mean": 'model={type="means"}',
    "cnn": CNN + "}",
    "cnn mean-max": CNN + ', pooling="mean-max"}',
    "cnn flatten": CNN + ', pooling="flatten", frames=14}',
    "lstm": 'model={type="lstm", hidden=5}',
    "lstm mean": 'model={type="lstm", hidden=5, layers=2, pooling="mean"}',
    "lstm both ways": 'model={type="lstm", hidden=5, bidirectional=true}',
    "short-chunk-cnn": 'model={type="short-chunk-cnn", channels=[2, 3], chunk=4}',
    "tdnn": 'model={type="tdnn", channels=3, dilations=[1, 2], embedding=4, stride=2}',
    "tdnn attentive-statistics": 'model={type="tdnn", channels=3, dilations=[2], pooling="attentive-statistics"}',
    "crnn": 'model={type="crnn", channels=[2, 3], strides=[2, 2], hidden=4}',
    "excerpts": "augment=[{ type = 'crop', length = 5, evaluation = 3 }]",
    "mean of the targets": 'model={type="mean"}',
    "ridge": 'model={type="ridge"}',
    "svr": 'model={type="svr"}',
    "mlp": 'model={type="mlp", hidden=[5], pooling="mean-std", norm="batch"}',
    "transformer": 'model={type="transformer", width=8, heads=2, layers=1, window=3, stride=2}',
    "transformer cls": 'model={type="transformer", width=8, heads=2, layers=1, pooling="cls"}',
    "lstm attention": 'model={type="lstm", hidden=5, bidirectional=true, pooling="attention"}',
}


def session(path):
    return onnxruntime.InferenceSession(str(path), providers=["CPUExecutionProvider"])


def some_clips(*lengths):
    found = [np.ascontiguousarray(columns(length, seed=seed).T) for seed, length in enumerate(lengths)]
    for clip in found:
        clip.setflags(write=False)  # as those of a pack are
    return found


def padded(found, extra=0, value=0.0):
    features = np.full((len(found), max(map(len, found)) + extra, 140), value, np.float32)
    for row, clip in enumerate(found):
        features[row, : len(clip)] = clip
    return {"features": features, "lengths": np.array([len(clip) for clip in found], np.int64)}


@pytest.mark.slow
@pytest.mark.parametrize("model", MODELS.values(), ids=MODELS)
def test_the_graph_computes_what_torch_does(trained, tmp_path, model):
    run = trained(model, "training.epochs=1")
    exported = export_onnx(run, tmp_path / "model.onnx")
    assert exported.clips == 16
    assert exported.difference < 1e-5
    graph = session(tmp_path / "model.onnx")
    for lengths in ([7], [14, 3, 9], [5, 5], [1, 13, 2, 8, 6]):
        found = some_clips(*lengths)
        expected = run.predict(found)
        # What lies beyond a clip's length has no influence, not even a NaN.
        for value in (0.0, 1e6, np.nan):
            outputs = graph.run(["valence", "genre"], padded(found, value=value))
            np.testing.assert_allclose(outputs[0], expected["valence"], atol=1e-4)
            np.testing.assert_allclose(outputs[1], expected["genre"], atol=1e-5)


def test_batch_and_time_are_dynamic_and_lengths_are_kept(run, tmp_path):
    export_onnx(run, tmp_path / "model.onnx")
    inputs = {given.name: given for given in session(tmp_path / "model.onnx").get_inputs()}
    assert inputs["features"].shape == ["batch", "time", 140]
    assert inputs["lengths"].shape == ["batch"]
    outputs = {given.name: given.shape for given in session(tmp_path / "model.onnx").get_outputs()}
    assert outputs == {"valence": ["batch"], "genre": ["batch", 3]}


def test_the_metadata_say_how_to_use_it(run, tmp_path):
    export_onnx(run, tmp_path / "model.onnx")
    model = onnx.load(tmp_path / "model.onnx")
    onnx.checker.check_model(model)
    found = {entry.key: json.loads(entry.value) for entry in model.metadata_props}
    assert found["tasks"] == [
        {"name": "valence", "output": "valence", "kind": "regression", "range": [1.0, 9.0]},
        {"name": "genre", "output": "genre", "kind": "classification", "classes": ["folk", "jazz", "rock"]},
    ]
    assert found["rows"] == [0, 140]
    assert found["features"] == [{"type": "mel-chroma", "grid": "beat", "hop": 512}]
    assert found["streams"] == {"features": [140, 1]}
    assert found["lengths"]["median"] == run.description.lengths[1]
    np.testing.assert_allclose(found["scaling"]["offset"], run.scaling.offset, rtol=1e-6)
    assert found["experiment"] == "songs"
    assert found["run"] == run.directory.name


@pytest.mark.slow
def test_clips_may_be_given_where_the_dataset_is_gone(run, tmp_path, monkeypatch):
    def refuse(*_, **__):
        raise InputError("the folder is gone")

    monkeypatch.setattr(clips.Clips, "tracks", refuse)
    with pytest.raises(InputError, match="the folder is gone") as caught:
        export_onnx(run, tmp_path / "model.onnx")
    assert "--check SONG" in str(caught.value)
    assert export_onnx(run, tmp_path / "model.onnx", some_clips(20)).clips == 1


def test_a_task_may_have_the_name_of_an_input(trained, tmp_path):
    text = clips.TEXT.replace("[tasks.genre]", "[tasks.lengths]\ntarget = 'genre'")
    export_onnx(trained(text=text), tmp_path / "model.onnx")
    assert [given.name for given in session(tmp_path / "model.onnx").get_outputs()] == ["valence", "lengths_"]


@pytest.mark.parametrize(
    ("model", "message"),
    [
        (
            "untraceable",
            "model 'untraceable' cannot be exported to ONNX: NotImplementedError: this model cannot",
        ),
        ("genre-mean", "model 'genre-mean' cannot be exported to ONNX: .*predicts from the label of 'genre'"),
        ("moody", "model 'moody' cannot be exported: its graph differs from torch by"),
    ],
)
def test_a_model_that_cannot_be_exported_is_told_and_leaves_no_file(trained, tmp_path, model, message):
    run = trained(f'model.type="{model}"')
    with pytest.raises(RunError, match=message):
        export_onnx(run, tmp_path / "model.onnx")
    assert not (tmp_path / "model.onnx").exists()


@pytest.mark.parametrize("package", ["onnx", "onnxruntime"])
def test_missing_packages_are_told_with_the_command(run, tmp_path, monkeypatch, package):
    monkeypatch.setitem(sys.modules, package, None)
    with pytest.raises(InputError, match=r"pip install 'musicemo\[onnx\]'"):
        export_onnx(run, tmp_path / "model.onnx")


def test_a_missing_folder_is_told(run, tmp_path):
    with pytest.raises(InputError, match=r"the folder .* does not exist"):
        export_onnx(run, tmp_path / "nowhere" / "model.onnx")
