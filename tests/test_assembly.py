"""What one seed and one fold are trained with."""

from __future__ import annotations

import logging

import fakes as fakes_module
import numpy as np
import pytest
import torch
from complaints import any_warnings, warns
from harness import CPU, assemble, load, train

from musicemo.data import fit_scaling
from musicemo.errors import InputError
from musicemo.experiment.tracks import read_tracks, split_tracks
from musicemo.messages import collected
from musicemo.prediction import TrainedRun
from musicemo.running.prepare import ScaledFeatures, prepare
from musicemo.training.randomness import seed_everything

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
    with pytest.raises(InputError, match=r"monitor: is 'val/loss' but the validation set is empty"):
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
    made = prepare(experiment, tracks, split_tracks(experiment, tracks), 0, CPU)
    assert {p.device for p in made.network.parameters()} == {CPU}


@pytest.mark.gpu
@pytest.mark.skipif(not torch.cuda.is_available(), reason="needs a CUDA device")
def test_an_experiment_is_assembled_on_the_gpu(tmp_path):
    experiment = load(tmp_path, "tasks.genre.loss={ type = 'cross-entropy', balanced = true }")
    tracks = read_tracks(experiment)
    made = prepare(experiment, tracks, split_tracks(experiment, tracks), 0, torch.device("cuda"))
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


class Normalized(fakes_module.MeanModel):
    """Batch normalization, which cannot be trained on one track."""

    def __init__(self, *, input_size: int) -> None:
        super().__init__(input_size=input_size)
        self.norm = torch.nn.BatchNorm1d(8)
        self.dropout = torch.nn.Dropout(0.5)
        self.calls = 0

    def forward(self, x, lengths):
        self.calls += 1
        return self.dropout(self.norm(super().forward(x, lengths)))


@pytest.mark.parametrize("bucket", ["false", "true"])
def test_a_last_batch_of_one_track_is_joined_if_the_model_needs_it(bucket, fakes, tmp_path):
    settings = [f"training.bucket={bucket}", "training.batch_size=5", "model.type='normalized'"]
    fakes("model", "normalized", Normalized)
    with warns("The last batch, of one track, is merged with the batch before it"):
        made = assemble(tmp_path, *settings)
    sizes = sorted(len(batch) for batch in made.batches["train"].order(1))
    assert sizes == [5] * 6 + [6]
    assert len(made.batches["train"]) == 7
    assert sorted(np.concatenate(made.batches["train"].order(2))) == sorted(made.batches["train"].indices)
    with warns("merged with the batch"):
        assert train(tmp_path, *settings, "training.epochs=1").run.history
    other = assemble(tmp_path, "training.batch_size=5")
    assert sorted(len(batch) for batch in other.batches["train"].order(1)) == [1] + [5] * 7


@any_warnings()
def test_batches_of_one_track_are_refused_if_the_model_needs_more(fakes, tmp_path):
    fakes("model", "normalized", Normalized)
    with pytest.raises(InputError, match=r"batch_size.*: is 1, but the model .* Use 2 or more"):
        assemble(tmp_path, "training.batch_size=1", "model.type='normalized'")


def test_a_model_that_fails_in_training_is_reported_before_it(fakes, tmp_path):
    class Strict(Normalized):
        def forward(self, x, lengths):
            assert not self.training, "not in training"
            return super().forward(x, lengths)

    fakes("model", "strict", Strict)
    with pytest.raises(InputError, match=r"model: fails in training, in float32, .*not in training"):
        assemble(tmp_path, "model.type='strict'")


def test_the_rehearsal_leaves_no_trace(fakes, tmp_path):
    fakes("model", "normalized", Normalized)
    made = assemble(tmp_path, "model.type='normalized'")
    backbone = made.network.backbone
    assert backbone.calls == 0
    assert backbone.norm.num_batches_tracked == 0
    assert all(parameter.grad is None for parameter in made.network.parameters())
    drawn = torch.rand(3)
    seed_everything(0)
    rebuilt = made.rebuild()
    assert torch.equal(rebuilt.backbone.dense.weight, backbone.dense.weight)
    assert torch.equal(torch.rand(3), drawn)


@pytest.mark.slow
@pytest.mark.parametrize(
    ("dtype", "precision"), [("double", "float32"), ("half", "float32"), ("double", "bfloat16")]
)
def test_an_embedding_of_any_precision_is_trained_on(dtype, precision, fakes, tmp_path):
    class Other(fakes_module.MeanModel):
        def forward(self, x, lengths):
            return getattr(super().forward(x, lengths), dtype)()

    fakes("model", "other", Other)
    run = train(tmp_path, "model.type='other'", f"training.precision='{precision}'", "training.epochs=1").run
    assert TrainedRun.load(run.directory).predict([np.zeros((4, fakes_module.ROWS), np.float32)])


def test_an_embedding_of_whole_numbers_is_refused(fakes, tmp_path):
    class Whole(fakes_module.MeanModel):
        def forward(self, x, lengths):
            return super().forward(x, lengths).long()

    fakes("model", "whole", Whole)
    with pytest.raises(InputError, match=r"model: the embedding is of type torch\.int64"):
        assemble(tmp_path, "model.type='whole'")


class Lazy(torch.nn.Module):
    """A layer that takes its size from the first batch."""

    embedding_size = 6

    def __init__(self) -> None:
        super().__init__()
        self.dense, self.norm = torch.nn.LazyLinear(6), torch.nn.LazyBatchNorm1d()

    def forward(self, x, lengths):
        return self.norm(self.dense(x.sum(1) / lengths[:, None]))


@pytest.mark.slow
@pytest.mark.filterwarnings("ignore:Lazy modules are a new feature")
def test_lazy_layers_are_trained_and_loaded_again(fakes, tmp_path):
    fakes("model", "lazy", Lazy)
    made = assemble(tmp_path, "model.type='lazy'")
    assert made.network.parameter_count > 6 * fakes_module.ROWS
    run = train(tmp_path, "model.type='lazy'", "training.epochs=2").run
    loaded = TrainedRun.load(run.directory).network.backbone
    assert torch.equal(loaded.dense.weight, run.network.backbone.dense.weight)
    overrides = [
        "model.type='lazy'",
        "training.epochs=1",
        f"transfer={{ from = '{run.directory}', leaks = 'warn' }}",
    ]
    with any_warnings():
        assert "backbone.dense.weight" in train(tmp_path, *overrides, runs="after").run.transfer["loaded"]


def test_runs_with_the_same_sets_and_scaling_share_their_features(monkeypatch, tmp_path):
    def fit(*arguments):
        logging.getLogger("musicemo").warning("row 3 is constant")
        return fit_scaling(*arguments)

    monkeypatch.setattr("musicemo.running.prepare.fit_scaling", fit)
    experiment = load(tmp_path, "split.method=random")
    tracks = read_tracks(experiment)
    experiment = experiment.completed(tracks)
    scaled = ScaledFeatures()

    def prepared(experiment, seed):
        split = split_tracks(experiment, tracks)
        with warns("row 3"), collected() as messages:
            return prepare(experiment, tracks, split, seed, CPU, scaled=scaled), messages.texts

    (first, texts), (second, again) = (prepared(experiment, seed) for seed in (0, 1))
    assert second.features is first.features
    assert texts == again == ["row 3 is constant"]
    with warns("row 3"):
        fresh = prepare(experiment, tracks, split_tracks(experiment, tracks), 1, CPU)
    assert all((fresh.features[index] == second.features[index]).all() for index in range(len(fresh.features)))
    for override in ("split.seed=1", "scaling.method=minmax"):
        other, _ = prepared(load(tmp_path, "split.method=random", override).completed(tracks), 0)
        assert other.features is not first.features
