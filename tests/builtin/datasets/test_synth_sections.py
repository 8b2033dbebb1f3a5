import numpy as np
import pytest
from dataset_conformance import assert_conforms
from musicemo_builtin.datasets._synthesis import EMOTIONS, Panel, make
from musicemo_builtin.datasets.synth import Synth, render

from musicemo.contracts import Series
from musicemo.errors import InputError

TINY = {"tracks": 3, "duration": 9.0, "sections": 3}


@pytest.fixture(scope="module")
def cache(tmp_path_factory):
    return tmp_path_factory.mktemp("cache")


def test_conforms_with_series(cache):
    for track in assert_conforms(Synth(**TINY, cache=cache)):
        for name in ("valence_over_time", "energy_over_time"):
            series = track.targets[name]
            assert (series.start, series.rate, len(series.values)) == (2.0, 2.0, 14)
            listeners = np.array([one.values for one in track.ratings[name]])
            assert listeners.shape == (8, 14)
            np.testing.assert_allclose(series.values, listeners.mean(axis=0))


def test_clips_of_one_section_have_no_series(cache):
    dataset = Synth(tracks=1, duration=3.0, cache=cache)
    assert not any(target.kind == "series" for target in dataset.targets)
    assert not any(isinstance(value, Series) for track in dataset.tracks() for value in track.targets.values())


def test_sections_fill_the_clip_and_have_one_tempo_and_tonic():
    clip = make(0, 1, 9.0, 3)
    starts = [section.start for section in clip.sections]
    assert starts[0] == 0.0
    assert starts == sorted(starts)
    assert len(clip.samples) == 9 * 22050
    assert np.abs(clip.samples).max() == pytest.approx(0.9, rel=1e-5)
    assert len({(section.score.tempo, section.score.tonic) for section in clip.sections}) == 1
    assert len({section.score.intensity for section in clip.sections}) == 3
    np.testing.assert_array_equal(render(0, 1, 9.0, 3), clip.samples)


def test_without_noise_listeners_follow_the_sections_with_a_delay():
    panel = Panel(0.0, np.random.default_rng(0))
    calm, loud = dict.fromkeys(EMOTIONS, 0.2), dict.fromkeys(EMOTIONS, 0.8)
    times = np.arange(2.0, 30.0, 0.5)
    ratings = panel.follow([(0.0, calm), (10.0, loud)], times, np.random.default_rng(1), 5)
    assert list(ratings) == ["valence", "energy"]
    energy = ratings["energy"]
    np.testing.assert_allclose(energy[:, times <= 10], 0.2, atol=0.006)
    np.testing.assert_allclose(energy[:, times >= 25], 0.8, atol=0.006)
    assert (np.diff(energy, axis=1) >= 0).all()
    assert ((energy[:, times == 11] > 0.3) & (energy[:, times == 11] < 0.79)).all()


def test_a_slider_drifts_about_the_truth_with_the_noise_of_a_rating():
    panel = Panel(0.1, np.random.default_rng(0), size=400)
    panel._gains[:], panel._leanings[:] = 1.0, 0.0
    still = dict.fromkeys(EMOTIONS, 0.5)
    values = panel.follow([(0.0, still)], np.arange(0, 60, 0.5), np.random.default_rng(1), 400)["valence"]
    assert values.mean() == pytest.approx(0.5, abs=0.01)
    assert values.std() == pytest.approx(0.1, abs=0.01)
    assert values.std(axis=1).mean() < 0.08  # a part of the error is constant


def test_sections_need_time():
    with pytest.raises(
        InputError, match=r"duration: 12 s are too short for 20 sections.*duration = 40 or more"
    ):
        Synth(sections=20)
