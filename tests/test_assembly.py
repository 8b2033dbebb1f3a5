"""What one seed and one fold are trained with."""

from __future__ import annotations

import sys
from pathlib import Path

import fakes as fakes_module
import numpy as np
import pytest
import torch

sys.path.insert(0, str(Path(__file__).parent / "training"))

from harness import CPU, assemble, load

from musicemo.assembly import Assembly, read_tracks, split_tracks
from musicemo.errors import InputError

pytestmark = pytest.mark.usefixtures("fakes")


def test_the_parts_have_their_batches(tmp_path):
    made = assemble(tmp_path)
    assert {part: len(batches.indices) for part, batches in made.batches.items()} == {
        "train": 36,
        "val": 12,
        "test": 12,
    }
    first, second = ([list(batch) for batch in made.batches["train"].order(epoch)] for epoch in (1, 2))
    assert first != second
    for part in ("val", "test"):
        assert [list(b) for b in made.batches[part].order(1)] == [list(b) for b in made.batches[part].order(2)]


def test_an_empty_part_has_none(tmp_path):
    made = assemble(tmp_path, "split.validation=0.0", "training.early_stopping.monitor='train/loss'")
    assert list(made.batches) == ["train", "test"]
    with pytest.raises(InputError, match=r"monitor: is 'val/loss' but the validation part is empty"):
        assemble(tmp_path, "split.validation=0.0")


def test_scaling_is_fitted_on_the_training_part(tmp_path):
    made = assemble(tmp_path)
    frames = np.concatenate([made.features[i] for i in made.batches["train"].indices])
    np.testing.assert_allclose(frames.mean(axis=0), 0, atol=1e-5)
    np.testing.assert_allclose(frames.std(axis=0), 1, atol=1e-5)
    frames = np.concatenate([made.features[i] for i in made.batches["test"].indices])
    assert abs(frames.mean(axis=0)).max() > 1e-3


def test_the_seed_decides_weights_and_order_and_nothing_else(tmp_path):
    first, again, other = (assemble(tmp_path, f"seed={seed}") for seed in (1, 1, 2))
    states = [made.network.state_dict() for made in (first, again, other)]
    assert all(torch.equal(states[0][name], states[1][name]) for name in states[0])
    assert not torch.equal(states[0]["backbone.dense.weight"], states[2]["backbone.dense.weight"])
    orders = [[list(batch) for batch in made.batches["train"].order(1)] for made in (first, again, other)]
    assert orders[0] == orders[1] != orders[2]
    assert set(first.batches["test"].indices) == set(other.batches["test"].indices)
    assert np.array_equal(first.scaling.offset, other.scaling.offset)


def test_a_task_without_a_loss_has_the_one_of_its_kind(tmp_path):
    made = assemble(tmp_path, "tasks.energy={}")
    losses = {
        task: [type(term.loss).__name__ for term in terms] for task, terms in made.objective.terms.items()
    }
    assert losses == {"valence": ["SquaredError"], "genre": ["CrossEntropy"], "energy": ["SquaredError"]}


def test_terms_keep_their_weights(tmp_path):
    terms = "[{ type = 'mse', weight = 0.25 }, { type = 'squared-error' }]"
    made = assemble(tmp_path, f"tasks.valence.loss={terms}")
    assert [term.weight for term in made.objective.terms["valence"]] == [0.25, 1.0]


def test_a_loss_is_given_the_training_tracks_of_each_class(tmp_path):
    made = assemble(tmp_path, "tasks.genre.loss={ type = 'cross-entropy', balanced = true }")
    labels = made.batches["train"]._targets[made.batches["train"].indices, 1]
    counts = [int((labels == index).sum()) for index in range(3)]
    assert sum(counts) == 36
    assert made.objective.terms["genre"][0].loss.weights.tolist() == pytest.approx([1 / n for n in counts])


def test_the_heads_are_the_experiments_or_the_tasks_own(tmp_path):
    made = assemble(tmp_path, "head.hidden=[7]", "tasks.genre.head={ hidden = [], dropout = 0.0 }")
    assert [head[0].out_features for head in made.network.heads.values()] == [7, 3]


def test_everything_is_on_the_device_before_the_rehearsal(fakes, tmp_path):
    """A loss with a buffer must meet predictions that are where it is."""

    class Strict(fakes_module.CrossEntropy):
        def forward(self, prediction, target):
            assert self.weights.device == prediction.device == target.device
            return super().forward(prediction, target)

    fakes("loss", "strict", Strict)
    experiment = load(tmp_path, "tasks.genre.loss={ type = 'strict', balanced = true }")
    tracks = read_tracks(experiment)
    made = Assembly(experiment, tracks, split_tracks(experiment, tracks), 0, CPU)
    assert {p.device for p in made.network.parameters()} == {CPU}


@pytest.mark.gpu
@pytest.mark.skipif(not torch.cuda.is_available(), reason="needs a CUDA device")
def test_an_experiment_is_assembled_on_the_gpu(tmp_path):
    experiment = load(tmp_path, "tasks.genre.loss={ type = 'cross-entropy', balanced = true }")
    tracks = read_tracks(experiment)
    made = Assembly(experiment, tracks, split_tracks(experiment, tracks), 0, torch.device("cuda"))
    assert made.objective.terms["genre"][0].loss.weights.is_cuda


def test_overfitted_batches_are_always_the_same(tmp_path):
    made = assemble(tmp_path, "training.batch_size=4", overfit_batches=2)
    assert list(made.batches) == ["train"]
    orders = [[list(batch) for batch in made.batches["train"].order(epoch)] for epoch in (1, 2, 3)]
    assert orders[0] == orders[1] == orders[2]
    assert [len(batch) for batch in orders[0]] == [4, 4]
    assert made.training.early_stopping.patience is False


def test_every_problem_of_the_tasks_is_told_at_once(tmp_path):
    experiment = load(
        tmp_path, "tasks.tempo={}", "tasks.genre.classes={ polka = 'pop' }", "tasks.valence.classes={ a = 'b' }"
    )
    with pytest.raises(InputError) as caught:
        read_tracks(experiment)
    assert len(caught.value.problems) == 3
    assert "'genre' has no class 'polka'" in str(caught.value)
    assert "'valence' is a regression target" in str(caught.value)
