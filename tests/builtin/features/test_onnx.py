"""With small graphs that are made here; and basic-pitch's model, if that package is installed."""

import importlib.util
import sys
from pathlib import Path

import numpy as np
import pytest
from extraction import outputs_of

onnx = pytest.importorskip("onnx", reason="needs onnx")
onnxruntime = pytest.importorskip("onnxruntime", reason="needs onnxruntime")

from musicemo_builtin.features.onnx import ONNX  # noqa: E402
from onnx import TensorProto, helper, numpy_helper  # noqa: E402

from musicemo.errors import InputError  # noqa: E402
from musicemo.testing import check_features  # noqa: E402

RATE, WINDOW, STEP = 1000, 200, 10
WEIGHTS = np.random.default_rng(0).normal(size=(3, STEP, 4)).astype(np.float32)


def write(path: Path, nodes, inputs, outputs, constants, opset=17, **options) -> Path:
    info = lambda name, shape: helper.make_tensor_value_info(name, TensorProto.FLOAT, shape)  # noqa: E731
    graph = helper.make_graph(
        nodes,
        "graph",
        [info(name, shape) for name, shape in inputs.items()],
        [info(name, shape) for name, shape in outputs.items()],
        [numpy_helper.from_array(value, name) for name, value in constants.items()],
    )
    model = helper.make_model(graph, opset_imports=[helper.make_opsetid("", opset)], ir_version=8)
    onnx.checker.check_model(model)
    onnx.save(model, path, **options)
    return path


def frames(path: Path, samples=WINDOW, batch="n", weights=WEIGHTS, **options) -> Path:
    """Write a graph: frames of 10 samples times a matrix, plus what both neighbors give; and the frames' mean."""
    kernel = np.ascontiguousarray(weights.transpose(2, 1, 0))
    nodes = [
        helper.make_node("Reshape", ["audio", "shape"], ["blocks"]),
        helper.make_node("Transpose", ["blocks"], ["channels"], perm=[0, 2, 1]),
        helper.make_node("Conv", ["channels", "kernel"], ["filtered"], pads=[1, 1], kernel_shape=[3]),
        helper.make_node("Transpose", ["filtered"], ["graph/frames:0"], perm=[0, 2, 1]),
        helper.make_node("ReduceMean", ["graph/frames:0"], ["graph/mean:0"], axes=[1], keepdims=0),
    ]
    outputs = {"graph/frames:0": [batch, None, 4], "graph/mean:0": [batch, 4]}
    constants = {"shape": np.array([0, -1, STEP]), "kernel": kernel}
    return write(path, nodes, {"audio": [batch, samples, 1]}, outputs, constants, **options)


def noise(count: int) -> np.ndarray:
    return np.random.default_rng(1).normal(0, 0.1, count).astype(np.float32)


def whole(samples: np.ndarray) -> np.ndarray:
    """Return the frames of a clip that is not cut into windows."""
    blocks = np.pad(samples, (STEP, STEP + -len(samples) % STEP)).reshape(-1, STEP)
    return sum(blocks[shift : len(blocks) - 2 + shift] @ WEIGHTS[shift] for shift in range(3))


@pytest.fixture(scope="module")
def path(tmp_path_factory) -> Path:
    return frames(tmp_path_factory.mktemp("models") / "frames.onnx")


@pytest.mark.slow
def test_contract(path):
    parameters = {"model": str(path), "sample_rate": RATE, "margin": 10}
    check_features("onnx", parameters, window=WINDOW / RATE, seconds=1.3)


@pytest.mark.parametrize("count", [1, 170, 180, 185, 200, 999, 2000])
def test_windows_with_a_margin_equal_the_whole_clip(path, count):
    samples = noise(count)
    extractor = ONNX(model=path, sample_rate=RATE, margin=10, arrays={"frames": "graph/frames:0"}, batch_size=3)
    output = outputs_of(extractor, samples, ["frames"])["frames"]
    np.testing.assert_allclose(output.values, whole(samples), atol=1e-6)
    np.testing.assert_allclose(output.edges * RATE, [*range(0, count, STEP), count])


def test_without_a_margin_each_window_is_computed_by_itself(path):
    samples = noise(400)
    output = outputs_of(ONNX(model=path, sample_rate=RATE), samples, ["graph/frames:0"])["graph/frames:0"]
    np.testing.assert_allclose(output.values[20:], whole(samples[200:]), atol=1e-6)


def test_an_array_without_time_has_one_step_per_window(path):
    samples = noise(500)
    extractor = ONNX(model=path, sample_rate=RATE, margin=50)
    assert extractor.outputs == {"graph/frames:0": 4, "graph/mean:0": 4}
    output = outputs_of(extractor, samples, ["graph/mean:0"])["graph/mean:0"]
    np.testing.assert_allclose(output.edges, [0, 0.1, 0.2, 0.3, 0.4, 0.5])
    padded = np.pad(samples, 50)
    windows = [whole(padded[start : start + WINDOW]).mean(0) for start in range(0, 401, 100)]
    np.testing.assert_allclose(output.values, windows, atol=1e-6)


def test_arrays_without_an_axis_of_windows_are_computed_one_window_at_a_time(path):
    arrays = {"mean": "graph/mean:0"}
    extractors = [
        ONNX(model=path, sample_rate=RATE, arrays=arrays, output_axes=axes)
        for axes in (["window", "rows"], ["time", "rows"])
    ]
    values = [outputs_of(extractor, noise(500), ["mean"])["mean"].values for extractor in extractors]
    np.testing.assert_allclose(*values, atol=1e-7)


@pytest.mark.parametrize("step", [5, {"frames": 5}])
def test_the_duration_of_a_step_can_be_set(path, step):
    extractor = ONNX(model=path, sample_rate=RATE, arrays={"frames": "graph/frames:0"}, step=step)
    output = outputs_of(extractor, noise(WINDOW), ["frames"])["frames"]
    np.testing.assert_allclose(output.edges[:3] * RATE, [0, 5, 10])


@pytest.mark.parametrize(
    ("shape", "axes", "window"),
    [
        ([WINDOW], None, None),
        ([1, WINDOW], None, None),
        (["n", WINDOW], None, None),
        (["n", 1, WINDOW], None, None),
        (["n", "t"], None, WINDOW),
        (["n", "c", "t"], ["window", "channel", "samples"], WINDOW),
        ([WINDOW, "n"], ["samples", "window"], None),
    ],
)
def test_layouts_of_the_input(path, tmp_path, shape, axes, window):
    order = [1, 0] if axes == ["samples", "window"] else list(range(len(shape)))
    nodes = [
        helper.make_node("Transpose", ["audio"], ["turned"], perm=order),
        helper.make_node("Reshape", ["turned", "shape"], ["blocks"]),
        helper.make_node("MatMul", ["blocks", "weights"], ["rows"]),
    ]
    constants = {"shape": np.array([-1, WINDOW // STEP, STEP]), "weights": WEIGHTS[1]}
    outputs = {"rows": [None, WINDOW // STEP, 4]}
    model = write(tmp_path / "model.onnx", nodes, {"audio": shape}, outputs, constants)
    samples = noise(500)
    extractor = ONNX(
        model=model, sample_rate=RATE, input_axes=axes, window=window, output_axes=["window", "time", "rows"]
    )
    expected = samples.reshape(-1, STEP) @ WEIGHTS[1]
    np.testing.assert_allclose(outputs_of(extractor, samples, ["rows"])["rows"].values, expected, atol=1e-6)


class TestGraph:
    """The graph of a whole extractor: windows, model and the selection of time steps."""

    @pytest.mark.parametrize(
        "parameters",
        [
            {},
            {"margin": 10},
            {"margin": 33},
            {"margin": 50, "step": 7.5},
            {"output_axes": ["window", "time", "rows"]},
        ],
    )
    def test_it_computes_what_extract_does(self, path, parameters):
        extractor = ONNX(model=path, sample_rate=RATE, **parameters)
        session = onnxruntime.InferenceSession(extractor.graph(list(extractor.outputs)).SerializeToString())
        names = [one.name for one in session.get_outputs()]
        assert names == [text for name in extractor.outputs for text in (name, f"{name}.edges")]
        for count in (1, 95, 180, 200, 201, 999):
            samples = noise(count)
            expected = outputs_of(extractor, samples)
            results = dict(zip(names, session.run(names, {"samples": samples}), strict=True))
            for name, output in expected.items():
                np.testing.assert_allclose(results[name], output.values, atol=1e-6)
                np.testing.assert_allclose(results[f"{name}.edges"], output.edges, atol=1e-9)

    def test_other_layouts_and_an_older_version_of_the_operators(self, tmp_path):
        nodes = [
            helper.make_node("Reshape", ["audio", "shape"], ["blocks"]),
            helper.make_node("Transpose", ["blocks"], ["rows"], perm=[0, 2, 1]),
        ]
        inputs, outputs = {"audio": ["n", 1, WINDOW]}, {"rows": [None, STEP, None]}
        constants = {"shape": np.array([0, -1, STEP])}
        model = write(tmp_path / "model.onnx", nodes, inputs, outputs, constants, opset=11)
        extractor = ONNX(model=model, sample_rate=RATE, output_axes=["window", "rows", "time"])
        session = onnxruntime.InferenceSession(extractor.graph(["rows"]).SerializeToString())
        samples = noise(500)
        expected = outputs_of(extractor, samples, ["rows"])["rows"].values
        np.testing.assert_array_equal(session.run(["rows"], {"samples": samples})[0], expected)

    def test_a_model_of_one_window_has_none(self, tmp_path):
        extractor = ONNX(model=frames(tmp_path / "model.onnx", batch=1), sample_rate=RATE)
        with pytest.raises(InputError, match="computes one window at a time"):
            extractor.graph(["graph/frames:0"])


def test_rows_before_time(tmp_path):
    nodes = [
        helper.make_node("Reshape", ["audio", "shape"], ["blocks"]),
        helper.make_node("Transpose", ["blocks"], ["rows"], perm=[0, 2, 1]),
    ]
    model = write(
        tmp_path / "model.onnx",
        nodes,
        {"audio": ["n", WINDOW]},
        {"rows": [None, STEP, None]},
        {"shape": np.array([0, -1, STEP])},
    )
    extractor = ONNX(model=model, sample_rate=RATE, output_axes=["window", "rows", "time"])
    assert extractor.outputs == {"rows": STEP}
    samples = noise(400)
    values = outputs_of(extractor, samples, ["rows"])["rows"].values
    np.testing.assert_array_equal(values, samples.reshape(-1, STEP))


def test_the_fingerprint_is_that_of_the_weights(path, tmp_path):
    same = frames(tmp_path / "same.onnx")
    other = frames(tmp_path / "other.onnx", weights=2 * WEIGHTS)
    prints = [ONNX(model=model, sample_rate=RATE).fingerprint for model in (path, same, other)]
    assert prints[0] == prints[1] != prints[2]
    assert prints[0].startswith(f"onnxruntime {onnxruntime.__version__} ")


def test_the_fingerprint_contains_external_data(tmp_path):
    outside = {"save_as_external_data": True, "location": "weights.bin", "size_threshold": 100}
    prints = []
    for factor in (1, 2):
        folder = tmp_path / str(factor)
        folder.mkdir()
        model = frames(folder / "model.onnx", weights=factor * WEIGHTS, **outside)
        assert (folder / "weights.bin").stat().st_size >= WEIGHTS.nbytes
        prints.append(ONNX(model=model, sample_rate=RATE).fingerprint)
    assert (tmp_path / "1/model.onnx").read_bytes() == (tmp_path / "2/model.onnx").read_bytes()
    assert prints[0] != prints[1]


@pytest.mark.parametrize(
    ("options", "parameters", "message"),
    [
        ({}, {"window": 100}, r"window: the graph reads 200 samples \(shape \['n', 200, 1\]\), not 100"),
        ({"samples": "t"}, {}, r"window: is required, because the graph does not fix it"),
        ({"batch": 4}, {}, "the graph computes 4 windows at once"),
        ({}, {"margin": 100}, "margin: must be below half a window, 100 samples, not 100"),
        ({}, {"input": "sound"}, r"input: the graph has no input 'sound' \(it has 'audio'\)"),
        (
            {},
            {"arrays": {"f": "graph/frame:0"}},
            r"arrays.f: the graph has no array .*did you mean 'graph/frames:0'",
        ),
        ({}, {"step": {"frames": 3}}, "step.frames: is not an output"),
        ({}, {"input_axes": ["window", "samples"]}, "input_axes: must name each axis"),
        ({}, {"input_axes": ["window", "channel", "samples"]}, "has 200 channels; audio is mono"),
        ({}, {"output_axes": ["window", "time"]}, "output_axes: must name each axis once, with rows"),
        (
            {},
            {"output_axes": ["time", "window", "rows"]},
            r"shape \[2, 20, 4\] for 2 windows, which does not match",
        ),
    ],
)
def test_parameters_that_do_not_fit_the_graph(tmp_path, options, parameters, message):
    model = frames(tmp_path / "model.onnx", **options)
    with pytest.raises(InputError, match=message):
        ONNX(model=model, sample_rate=RATE, **parameters)


def test_a_graph_with_a_second_input(tmp_path):
    nodes = [helper.make_node("Mul", ["audio", "rate"], ["rows"])]
    inputs = {"audio": ["n", WINDOW], "rate": [1]}
    model = write(tmp_path / "model.onnx", nodes, inputs, {"rows": ["n", WINDOW]}, {})
    with pytest.raises(
        InputError, match=r"has 2 inputs \('audio', 'rate'\); a graph whose only input is audio"
    ):
        ONNX(model=model, sample_rate=RATE)


def test_files_that_are_no_model(tmp_path, monkeypatch):
    with pytest.raises(InputError, match=r"model: the file .*model.onnx does not exist"):
        ONNX(model=tmp_path / "model.onnx", sample_rate=RATE)
    (tmp_path / "model.onnx").write_bytes(b"no model")
    with pytest.raises(InputError, match="is not a usable ONNX model"):
        ONNX(model=tmp_path / "model.onnx", sample_rate=RATE)
    monkeypatch.setitem(sys.modules, "onnxruntime", None)
    with pytest.raises(InputError, match=r"pip install 'musicemo\[onnx\]'"):
        ONNX(model=tmp_path / "model.onnx", sample_rate=RATE)


@pytest.mark.slow
def test_basic_pitch_finds_the_notes_that_sound():
    package = importlib.util.find_spec("basic_pitch")
    if package is None:
        pytest.skip("needs basic-pitch: pip install --no-deps basic-pitch==0.4.0")
    model = Path(package.origin).parent / "saved_models/icassp_2022/nmp.onnx"
    extractor = ONNX(
        model=model,
        sample_rate=22050,
        margin=3840,
        step=256,
        arrays={"notes": "StatefulPartitionedCall:1", "contours": "StatefulPartitionedCall:0"},
    )
    assert extractor.outputs == {"notes": 88, "contours": 264}
    time = np.arange(5 * 22050) / 22050
    keys = np.where(time < 2.5, 60, 67)  # of MIDI; the first row is key 21
    phase = 2 * np.pi * np.cumsum(440 * 2 ** ((keys - 69) / 12)) / 22050
    samples = sum(np.sin(partial * phase) / partial for partial in range(1, 6)) / 4
    notes = outputs_of(extractor, samples.astype(np.float32), ["notes"])["notes"]
    middle = (notes.edges[1:] + notes.edges[:-1]) / 2
    for begin, end, key in ((0.3, 2.3, 60), (2.7, 4.8, 67)):
        inside = notes.values[(middle > begin) & (middle < end)]
        assert (inside.argmax(1) == key - 21).mean() > 0.95
        assert np.median(inside[:, key - 21]) > 0.5
