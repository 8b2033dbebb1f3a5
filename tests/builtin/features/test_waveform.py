import numpy as np
import pytest
from musicemo_builtin.features.waveform import Waveform
from signals import song

from musicemo.testing import check_features


@pytest.mark.parametrize("rate", [8000, 16000])
def test_contract(rate):
    check_features("waveform", {"sample_rate": rate}, window=0.0)


def test_the_samples_are_copied():
    samples = song(1.0)
    output = Waveform().extract(samples, ["samples"]).outputs["samples"]
    np.testing.assert_array_equal(output.values[:, 0], samples)
    assert not np.shares_memory(output.values, samples)
    assert output.edges[-1] == pytest.approx(len(samples) / 22050)
