"""Ready-made arrays in files, which `musicemo.features.with_features` reads; see tests/features/test_store.py."""

import re
from functools import partial

import numpy as np
import pytest
import soundfile
from musicemo_builtin.features.arrays import Arrays

from musicemo.contracts import ArrayFile, ArrayReader, Track
from musicemo.data import Features
from musicemo.errors import InputError
from musicemo.experiment import load_experiment
from musicemo.experiment.tracks import read_tracks
from musicemo.features import FeatureSettings, StoredArray, Stream, with_features


@pytest.mark.parametrize("dtype", ["float16", "float32", "float64"])
@pytest.mark.parametrize(("layout", "shape"), [("time-rows", (5, 3)), ("rows-time", (3, 5)), ("vector", (15,))])
def test_layouts(tmp_path, layout, shape, dtype):
    values = np.arange(15, dtype=dtype).reshape(shape)
    np.save(tmp_path / "a.npy", values)
    (file,) = Arrays(layout=layout).locate(tmp_path / "a.npy")
    assert file == ArrayFile(tmp_path / "a.npy", layout)
    stored = StoredArray(file)
    expected = {"time-rows": values, "rows-time": values.T, "vector": values[None]}[layout]
    assert stored.shape == expected.shape
    np.testing.assert_array_equal(stored.read(), expected)
    assert stored.read().dtype == dtype


def test_arrays_of_an_archive(tmp_path):
    path = tmp_path / "a.npz"
    np.savez(path, layer5=np.ones((4, 2)), layer6=np.zeros((4, 3)))
    files = Arrays(keys=["layer6", "layer5"]).locate(path)
    assert files == [ArrayFile(path, "time-rows", "layer6"), ArrayFile(path, "time-rows", "layer5")]
    assert [StoredArray(file).shape for file in files] == [(4, 3), (4, 2)]
    np.savez_compressed(path, only=np.ones((4, 2)))
    (file,) = Arrays().locate(path)
    np.testing.assert_array_equal(StoredArray(file).read(), np.ones((4, 2)))


@pytest.mark.parametrize(
    ("keys", "problem"),
    [
        (None, 'has several arrays (layer5, layer6). Choose with features.keys, for example keys = ["layer5"]'),
        (["layer7"], "has no array 'layer7'; did you mean 'layer6'? (arrays: layer5, layer6)"),
    ],
)
def test_which_array_of_an_archive(tmp_path, keys, problem):
    path = tmp_path / "a.npz"
    np.savez(path, layer5=np.ones((4, 2)), layer6=np.zeros((4, 3)))
    with pytest.raises(InputError, match=re.escape(f"{path}: {problem}")):
        Arrays(keys=keys).locate(path)


def test_files_that_cannot_be_used(tmp_path):
    (tmp_path / "a.npz").write_bytes(b"PK\x03\x04 no archive")
    for path, problem in (
        (tmp_path / "a.npz", "cannot be read as a .npz file"),
        (tmp_path / "none.npz", "there is no such file"),
    ):
        with pytest.raises(InputError, match=re.escape(f"{path}: {problem}")):
            Arrays().locate(path)
    with pytest.raises(InputError, match=r"a\.npy: is not a \.npz file, and features\.keys selects"):
        Arrays(keys=["layer5"]).locate(tmp_path / "a.npy")


@pytest.mark.parametrize(
    ("values", "layout", "problem"),
    [
        (
            np.ones((4, 2)),
            "vector",
            r"must be a floating-point array \[rows\], not float64 \[4, 2\]. For this shape, set .*rows-time",
        ),
        (
            np.ones(4),
            "time-rows",
            r"must be a floating-point array \[time, rows\], not float64 \[4\]. For this shape, set .*vector",
        ),
        (np.ones((4, 2), "int64"), "rows-time", r"must be a floating-point array \[rows, time\], not int64"),
    ],
)
def test_arrays_of_another_form(tmp_path, values, layout, problem):
    np.save(tmp_path / "a.npy", values)
    (file,) = Arrays(layout=layout).locate(tmp_path / "a.npy")
    with pytest.raises(InputError, match=rf"a\.npy: {problem}"):
        StoredArray(file).shape  # noqa: B018


def test_it_reads_and_does_not_extract():
    assert isinstance(Arrays(rate=2.0), ArrayReader)
    assert Arrays(rate=2.0).rate == 2.0


def test_layers_of_a_network(tmp_path):
    values = np.arange(12.0).reshape(3, 4)
    np.save(tmp_path / "a.npy", values)

    def stored(**parameters):
        (file,) = Arrays(layout="layers", **parameters).locate(tmp_path / "a.npy")
        return StoredArray(file)

    for array, expected in ((stored(), values), (stored(layers=[2, 0]), values[[2, 0]])):
        assert array.shape == (1, expected.size)
        np.testing.assert_array_equal(array.read(), expected.reshape(1, -1))
    with pytest.raises(InputError, match="has 3 layers, counted from 0, and no layer 3"):
        stored(layers=[3]).shape  # noqa: B018
    with pytest.raises(InputError, match='layers: requires layout = "layers"'):
        Arrays(layers=[3])


@pytest.mark.parametrize(
    ("pool", "statistics"),
    [("mean", (np.mean,)), ("max", (np.max,)), ("median", (np.median,)), ("mean-std", (np.mean, np.std))],
)
def test_arrays_can_be_pooled(tmp_path, pool, statistics):
    values = np.random.default_rng(0).normal(size=(7, 3))
    np.savez(tmp_path / "a.npz", first=values, second=values + 1)
    settings = FeatureSettings(grid="track", pool=pool)
    for keys in (["first"], ["second", "first"]):
        stream = Stream("arrays", {}, partial(Arrays, keys=keys), settings)
        (track,) = with_features([Track("a", tmp_path / "a.npz")], [stream], "d")
        joined = np.concatenate([values + (key == "second") for key in keys], axis=1)
        expected = np.concatenate([statistic(joined, axis=0) for statistic in statistics])
        assert track.features.shape == (1, len(expected))
        np.testing.assert_allclose(track.features.read(), expected[None], rtol=1e-5, atol=1e-6)


@pytest.mark.parametrize(
    ("array", "problem"),
    [
        (
            lambda n: np.ones((5, 3 + n)),
            "layout: the arrays differ in their rows.*axes are probably exchanged",
        ),
        (
            lambda n: np.ones((5 + n, 3 + (n == 2))),
            "layout: the arrays differ in their rows: track 't2' has 4. 19 of 20",
        ),
        (
            lambda n: np.ones(5),
            r'(.|\n)*not float64 \[5\]. For this shape, set layout = "vector"(.|\n)* 17 more',
        ),
    ],
)
def test_errors_of_arrays_have_the_line_of_the_experiment(tmp_path, array, problem):
    rows = ""
    for number in range(20):
        rows += f"t{number},{number}.npz,0.5\n"
        np.savez(tmp_path / f"{number}.npz", array(number))
    (tmp_path / "t.csv").write_text(f"id,features,valence\n{rows}")
    (tmp_path / "e.toml").write_text("""
[dataset]
type = "table"
path = "t.csv"
regression = { valence = [0, 1] }
[features]
type = "arrays"
[model]
type = "ridge"
[tasks.valence]
""")
    with pytest.raises(InputError, match=rf"e\.toml:6: features: {problem}") as caught:
        read_tracks(load_experiment(tmp_path / "e.toml"))
    assert len(caught.value.problems) == 1


@pytest.mark.parametrize("form", ["vectors", "layers", "columns"])
def test_an_experiment_on_ready_made_arrays(tmp_path, form):
    """Vectors, named layers of archives, and arrays whose second axis is time."""
    random = np.random.default_rng(0)
    lines, expected = ["id,features,valence"], []
    for index in range(20):
        first, second = random.normal(size=(2, 4 + index % 3, 5)).astype("float16")
        name = f"{index}.npz" if form == "layers" else f"{index}.npy"
        if form == "layers":
            np.savez(tmp_path / name, layer5=first, layer6=second, other=np.zeros(3))
            expected.append(np.concatenate([second, first], axis=1))
        else:
            np.save(tmp_path / name, first[0] if form == "vectors" else first.T)
            expected.append(first[:1] if form == "vectors" else first)
        lines.append(f"t{index},{name},{index / 20}")
    (tmp_path / "t.csv").write_text("\n".join(lines) + "\n")
    features = {
        "vectors": 'layout = "vector"',
        "layers": 'keys = ["layer6", "layer5"]',
        "columns": 'layout = "rows-time"',
    }
    (tmp_path / "e.toml").write_text(f"""
[dataset]
type = "table"
path = "t.csv"
regression = {{ valence = [0, 1] }}
[features]
type = "arrays"
{features[form]}
[split]
method = "random"
[model]
type = "ridge"
[tasks.valence]
""")
    experiment = load_experiment(tmp_path / "e.toml")
    tracks = read_tracks(experiment)
    assert experiment.completed(tracks).resolved()["features"]["type"] == "arrays"
    read = Features(tracks.tracks, tracks.rows)
    for index, array in enumerate(expected):
        np.testing.assert_array_equal(read[index], array.astype("float32"))


def test_audio_is_no_ready_made_array(tmp_path):
    soundfile.write(tmp_path / "a.wav", 0.1 * np.random.default_rng(0).standard_normal(8000), 8000)
    (tmp_path / "t.csv").write_text("id,file,valence\n" + "".join(f"t{i},a.wav,0.5\n" for i in range(3)))
    (tmp_path / "e.toml").write_text("""
[dataset]
type = "table"
path = "t.csv"
audio = "file"
regression = { valence = [0, 1] }
[features]
type = "arrays"
[model]
type = "ridge"
[tasks.valence]
""")
    with pytest.raises(InputError, match=r"track 't0' has audio, and 'arrays' reads ready-made arrays"):
        read_tracks(load_experiment(tmp_path / "e.toml"))


@pytest.mark.parametrize(
    ("settings", "problem"),
    [
        ({"grid": "beat"}, "grid: 'arrays' reads ready-made arrays, and can pool them to \"track\" only"),
        ({"outputs": ["layer5"], "combine": "weighted-sum"}, "outputs, combine: 'arrays' reads"),
        ({"excerpt": [0.0, 1.0]}, "excerpt: 'arrays' reads"),
        ({"pool": "max"}, 'pool: ready-made arrays are pooled with grid = "track"'),
    ],
)
def test_settings_of_extractors_are_errors(settings, problem):
    with pytest.raises(InputError, match=re.escape(problem)):
        Stream("arrays", {}, Arrays, FeatureSettings(**settings))
