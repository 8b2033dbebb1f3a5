"""Both folders of the lab's layout in one experiment, on the fixtures beside the project where they are."""

from collections import Counter
from pathlib import Path

import numpy as np
import pytest

from musicemo.experiment import load_experiment, load_experiments
from musicemo.experiment.tracks import read_tracks, split_tracks

ROOT = Path(__file__).parents[3]
DATA = ROOT.parent / "shared" / "data" / "lab"
GENRES, EMOTIONS = DATA / "fma_genre_spectrograms_beat", DATA / "multitask_dataset_beat"

pytestmark = pytest.mark.skipif(not DATA.is_dir(), reason="needs the fixtures of the lab's layout")


@pytest.fixture(scope="module")
def joint():
    overrides = [f"dataset.genres.root={DATA}", f"dataset.emotions.root={DATA}"]
    experiment = load_experiment(ROOT / "experiments/lab/joint.toml", overrides)
    tracks = read_tracks(experiment)
    return tracks, split_tracks(experiment, tracks)


def test_each_folder_trains_its_own_tasks(joint):
    tracks, split = joint
    assert [task.name for task in tracks.tasks] == ["genre", "valence", "energy", "danceability"]
    known = {name: np.isfinite(tracks.targets[indices]) for name, indices in tracks.sources.items()}
    assert known["genres"].all(axis=0).tolist() == [True, False, False, False]
    assert known["emotions"].all(axis=0).tolist() == [False, True, True, True]
    counts = {part: Counter(tracks.tracks[i].source for i in split.parts[part]) for part in split.parts}
    assert all(set(found) == {"genres", "emotions"} for found in counts.values())
    assert counts["test"]["genres"] == len((GENRES / "test_labels.txt").read_text().splitlines()) - 1
    assert len(tracks.unlabelled) == len(list((EMOTIONS / "test").iterdir()))


@pytest.mark.parametrize("labels", ["genre", "valence", "emotions"])
def test_single_tasks_have_the_same_clips_in_the_same_parts(labels, joint):
    _, split = joint
    (experiment,) = load_experiments(
        ROOT / "experiments/lab/single.toml", [f"dataset.0.root={DATA}"], [f"labels={labels}"]
    )
    alone = read_tracks(experiment)
    parts = split_tracks(experiment, alone)
    for part in ("train", "val", "test"):
        source = "genres" if labels == "genre" else "emotions"
        expected = [name for name in split.track_ids(part) if name.startswith(f"{source}/")]
        assert parts.track_ids(part) == expected
