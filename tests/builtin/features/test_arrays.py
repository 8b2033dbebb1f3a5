"""Ready-made arrays in files, which `musicemo.features.with_features` reads; see tests/features/test_store.py."""

import re

import numpy as np
import pytest
import soundfile
from musicemo_builtin.features.arrays import Arrays

from musicemo.contracts import ArrayFile, ArrayReader
from musicemo.data import Features
from musicemo.errors import InputError
from musicemo.experiment import load_experiment
from musicemo.experiment.tracks import read_tracks
from musicemo.features import FeatureSettings, StoredArray, Stream


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
            r"must be a floating-point array \[rows\], not float64 \[4, 2\]. Vectors over time have",
        ),
        (
            np.ones(4),
            "time-rows",
            r"must be a floating-point array \[time, rows\], not float64 \[4\]. One vector for the track has",
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
        ({"grid": "track"}, "grid: 'arrays' reads ready-made arrays as they are, and cannot apply this key"),
        ({"outputs": ["layer5"], "combine": "weighted-sum"}, "outputs, combine: 'arrays' reads"),
        ({"excerpt": [0.0, 1.0]}, "excerpt: 'arrays' reads"),
        ({"pool": "max"}, "pool: 'arrays' reads"),
    ],
)
def test_settings_of_extractors_are_errors(settings, problem):
    with pytest.raises(InputError, match=re.escape(problem)):
        Stream("arrays", {}, Arrays, FeatureSettings(**settings))
