import librosa
import numpy as np
import pytest
from musicemo_builtin.features.log_mel import LogMel
from signals import song

from musicemo.errors import InputError
from musicemo.testing import check_features


def spectrogram(samples, **parameters):
    """Return what the core computes of a whole clip without pooling, `[time, bands]`."""
    extractor = LogMel(**parameters)
    output = extractor.extract(samples, ["mel"]).outputs["mel"]
    return extractor.finish({"mel": output.values})["mel"]


@pytest.mark.slow
@pytest.mark.parametrize(
    "parameters",
    [
        {},
        {"scale": "log", "bands": 40, "mel_scale": "htk", "norm": "none", "fmin": 30.0, "fmax": 8000.0},
        {"scale": "log1p", "sample_rate": 16000, "window": 512, "hop": 256, "bands": 96, "norm": "none"},
        {"scale": "db", "reference": 1.0, "top_db": 0.0},
        {"scale": "power", "window": 1024, "hop": 441, "bands": 64},
        {"scale": "pcen", "time_constant": 0.02},
    ],
)
def test_contract(parameters):
    window = parameters.get("window", 2048) / parameters.get("sample_rate", 22050) / 2
    window += 30 * parameters.get("time_constant", 0.0)  # the filter forgets a click to below the tolerance
    check_features("log-mel", parameters, window=window, seconds=3.0)


@pytest.mark.slow
def test_memory_does_not_grow_with_the_clip():
    check_features("log-mel", memory=True)


@pytest.mark.slow
@pytest.mark.parametrize("mel_scale", ["slaney", "htk"])
@pytest.mark.parametrize("norm", ["slaney", "none"])
@pytest.mark.parametrize(("rate", "window", "hop", "bands"), [(22050, 2048, 512, 128), (16000, 512, 160, 40)])
def test_the_power_is_that_of_librosa(mel_scale, norm, rate, window, hop, bands):
    samples = song(2.0, rate=rate)
    expected = librosa.feature.melspectrogram(
        y=samples, sr=rate, n_fft=window, hop_length=hop, n_mels=bands, fmin=20, fmax=7600,
        htk=mel_scale == "htk", norm=None if norm == "none" else norm, pad_mode="constant",
    )  # fmt: skip
    actual = spectrogram(
        samples, sample_rate=rate, window=window, hop=hop, bands=bands, fmin=20.0, fmax=7600.0,
        mel_scale=mel_scale, norm=norm, scale="power",
    )  # fmt: skip
    np.testing.assert_allclose(actual, expected.T, rtol=1e-3, atol=1e-5 * expected.max())


@pytest.mark.parametrize(("reference", "top"), [("max", 80.0), ("max", 0.0), (1.0, 80.0), (0.5, 40.0)])
def test_decibels_are_those_of_librosa(reference, top):
    samples = song(2.0)
    power = librosa.feature.melspectrogram(y=samples, sr=22050, pad_mode="constant")
    expected = librosa.power_to_db(power, ref=np.max if reference == "max" else reference, top_db=top or None)
    actual = spectrogram(samples, reference=reference, top_db=top)
    np.testing.assert_allclose(actual, expected.T, atol=1e-2)


def test_logarithms():
    samples = song(1.0)
    power = spectrogram(samples, scale="power")
    np.testing.assert_allclose(spectrogram(samples, scale="log", offset=0.01), np.log(0.01 + power), rtol=1e-4)
    np.testing.assert_allclose(
        spectrogram(samples, scale="log1p", gain=100.0), np.log10(1 + 100 * power), rtol=1e-4, atol=1e-6
    )


@pytest.mark.parametrize(
    "parameters",
    [
        {},
        {"strength": 0.8, "bias": 10.0, "power": 0.25, "time_constant": 0.06, "eps": 1e-9},
        {"bias": 0.0, "hop": 441},
        {"power": 0.0, "gain": 2.0**31},
    ],
)
def test_energy_normalization_is_that_of_librosa(parameters):
    samples = song(2.0)
    power = spectrogram(samples, scale="power", hop=parameters.get("hop", 512)).T
    settings = {"hop_length" if name == "hop" else name: value for name, value in parameters.items()}
    factor = settings.pop("gain", 10000.0)
    settings["gain"] = settings.pop("strength", 0.98)
    expected = librosa.pcen(power * factor, sr=22050, **settings)
    actual = spectrogram(samples, scale="pcen", **parameters)
    np.testing.assert_allclose(actual, expected.T, rtol=1e-4, atol=1e-4)


def test_energy_normalization_removes_the_level_of_a_recording():
    samples = song(4.0)
    loud, quiet = (spectrogram(samples * level, scale="pcen", strength=1.0)[100:] for level in (1.0, 0.1))
    np.testing.assert_allclose(quiet, loud, atol=0.02 * loud.max())
    assert spectrogram(samples, scale="pcen", strength=0.0)[100:].max() > 10 * loud.max()


def test_a_part_of_a_clip_is_relative_to_its_own_maximum():
    extractor = LogMel()
    samples = song(4.0)
    samples[len(samples) // 2 :] *= 0.1
    values = extractor.extract(samples, ["mel"]).outputs["mel"].values
    quiet = extractor.finish({"mel": values[len(values) // 2 + 5 :]})["mel"]
    assert quiet.max() == 0
    assert quiet.min() >= -80
    assert extractor.finish({"mel": values})["mel"][len(values) // 2 + 5 :].max() < -10


def test_silence_has_the_lowest_level():
    silence = np.zeros(5000, np.float32)
    np.testing.assert_allclose(spectrogram(silence, reference=1.0), -100, rtol=1e-5)
    assert not spectrogram(silence).any()


@pytest.mark.parametrize(
    ("parameters", "words"),
    [
        ({"fmin": 8000.0, "fmax": 4000.0}, "fmax = 4000: must be above fmin"),
        ({"fmax": 12000.0}, "at most half the sample rate"),
        ({"fmin": 12000.0}, "fmin = 12000: must be below half the sample rate"),
        ({"window": 256, "bands": 128}, "contain no frequency of a frame of 256 samples"),
    ],
)
def test_frequencies_that_do_not_fit(parameters, words):
    with pytest.raises(InputError, match=words):
        LogMel(**parameters)
