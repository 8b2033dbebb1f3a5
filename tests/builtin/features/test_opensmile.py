import sys

import numpy as np
import pytest
from musicemo_builtin.features import opensmile as module
from musicemo_builtin.features.opensmile import OpenSmile
from signals import song

from musicemo.errors import InputError
from musicemo.testing import check_features


@pytest.fixture(scope="module")
def opensmile():
    return pytest.importorskip("opensmile", reason="pip install 'musicemo[opensmile]'")


@pytest.mark.slow
@pytest.mark.parametrize(
    "parameters",
    [
        {},
        {"level": "lld", "sample_rate": 16000},
        {"window": 0.5, "hop": 0.25},
        {"feature_set": "IS09", "level": "deltas"},
    ],
)
def test_contract(opensmile, parameters):
    check_features("opensmile", parameters, window=0.5, seconds=2.0)


@pytest.mark.parametrize(
    ("feature_set", "functionals", "descriptors"),
    [("eGeMAPSv02", 88, 25), ("GeMAPSv01b", 62, 18), ("IS09", 384, 16)],
)
def test_the_values_are_those_of_the_package(opensmile, feature_set, functionals, descriptors):
    samples = 0.9 * song(1.0, rate=16000) / np.abs(song(1.0, rate=16000)).max()
    for level, name, rows in (
        ("functionals", "Functionals", functionals),
        ("lld", "LowLevelDescriptors", descriptors),
    ):
        extractor = OpenSmile(feature_set=feature_set, level=level, sample_rate=16000)
        output = extractor.extract(samples, [level]).outputs[level]
        smile = opensmile.Smile(opensmile.FeatureSet[feature_set], opensmile.FeatureLevel[name])
        expected = smile.process_signal(samples, 16000)
        np.testing.assert_array_equal(output.values, expected.to_numpy())
        assert list(extractor.names[level]) == list(expected.columns)
        assert output.values.shape[1] == rows


def test_windows_are_full_and_end_with_the_clip(opensmile):
    samples = song(1.1, rate=16000)
    extractor = OpenSmile(window=0.5, hop=0.25, sample_rate=16000)
    output = extractor.extract(samples, ["functionals"]).outputs["functionals"]
    np.testing.assert_allclose(output.edges, [0, 0.25, 0.5, 0.75, 1.0, 1.1])
    whole = OpenSmile(sample_rate=16000)
    for row, begin in zip(output.values, (0.0, 0.25, 0.5, 0.6, 0.6), strict=True):
        part = samples[round(begin * 16000) :][:8000]
        np.testing.assert_array_equal(
            row, whole.extract(part, ["functionals"]).outputs["functionals"].values[0]
        )


def test_the_loudest_sample_does_not_wrap(opensmile):
    extractor = OpenSmile(level="lld", sample_rate=16000)
    rows = []
    for peak in (1.0, 0.9999):
        samples = np.tile(np.float32([peak, -peak]), 8000)
        rows.append(extractor.extract(samples, ["lld"]).outputs["lld"].values)
    np.testing.assert_allclose(rows[0][:, 0], rows[1][:, 0], rtol=1e-2)


@pytest.mark.slow
def test_blocks_have_the_values_of_one_pass(opensmile, monkeypatch):
    samples = song(6.0)
    whole = OpenSmile(level="lld").extract(samples, ["lld"]).outputs["lld"]
    monkeypatch.setattr(module, "_BLOCK", 2.0)
    monkeypatch.setattr(module, "_CONTEXT", 1.0)
    extractor = OpenSmile(level="lld")
    blocks = extractor.extract(samples, ["lld"]).outputs["lld"]
    np.testing.assert_allclose(blocks.edges, whole.edges, atol=1e-6)
    stateful = [
        index for index, name in enumerate(extractor.names["lld"]) if "jitter" in name or "shimmer" in name
    ]
    same = np.isclose(
        np.delete(blocks.values, stateful, 1), np.delete(whole.values, stateful, 1), rtol=1e-3, atol=1e-3
    )
    assert same.mean() > 0.999


@pytest.mark.parametrize(
    ("parameters", "words"),
    [
        ({"level": "deltas"}, "the feature set eGeMAPSv02 does not have it"),
        ({"level": "lld", "window": 1.0}, "are for level = \"functionals\", not 'lld'"),
        ({"hop": 1.0}, "hop = 1: needs a window"),
        ({"window": 1.0, "hop": 2.0}, "hop = 2: needs a window that is at least as long"),
    ],
)
def test_parameters_that_do_not_fit(opensmile, parameters, words):
    with pytest.raises(InputError, match=words):
        OpenSmile(**parameters)


def test_a_missing_package(monkeypatch):
    monkeypatch.setitem(sys.modules, "opensmile", None)
    with pytest.raises(InputError, match=r"pip install 'musicemo\[opensmile\]'"):
        OpenSmile()
