import numpy as np
import pytest
from musicemo_builtin.datasets._synthesis import EMOTIONS, Panel
from musicemo_builtin.datasets.synth import Synth

from musicemo.contracts import Target
from musicemo.data import TaskSettings, make_task
from musicemo.data.pairs import find_pairs


@pytest.mark.slow
def test_the_clips_of_a_set_are_compared_in_threes(tmp_path):
    tracks = list(Synth(tracks=5, duration=3, pair_listeners=6, cache=tmp_path).tracks())
    pairs, unknown = find_pairs(tracks, "valence_pairs")
    assert not unknown
    assert pairs.members.tolist() == [[0, 1], [0, 2], [1, 2], [3, 4]]
    np.testing.assert_array_equal(pairs.listeners.sum(axis=1), 6)


def test_targets_are_declared_with_listeners_only(tmp_path):
    declared = [target for target in Synth(pair_listeners=1, cache=tmp_path).targets if target.kind == "pairs"]
    assert declared == [Target(f"{name}_pairs", "pairs") for name in EMOTIONS]
    assert "pairs" not in [target.kind for target in Synth(cache=tmp_path).targets]
    assert make_task("valence_pairs", TaskSettings(), declared).width == 0


def test_listeners_agree_with_what_is_played_without_noise():
    clips = [dict.fromkeys(EMOTIONS, value) for value in (0.2, 0.8, 0.8)]
    judged = Panel(0.0, np.random.default_rng(0)).compare(clips, np.random.default_rng(1), 5)
    assert judged["energy"] == {(0, 1): (0.0, 5.0), (0, 2): (0.0, 5.0), (1, 2): (2.5, 2.5)}
