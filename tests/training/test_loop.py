import math

import fakes as components
import numpy as np
import pytest
import torch
from harness import CPU, LINEAR, Average, assemble, only_run, results_of, train
from torch import nn
from torch.nn import functional as F

from musicemo.contracts import Target, Track
from musicemo.errors import InputError
from musicemo.training import load_checkpoint

pytestmark = pytest.mark.usefixtures("fakes")


@pytest.fixture(autouse=True)
def _average(fakes):
    fakes("model", "average", Average)


class Plane:
    """Tracks whose rating is a plane over three features, and noise."""

    targets = (Target("valence", "regression"),)
    rows = slice(0, 3)

    def tracks(self):
        random = np.random.default_rng(0)
        for index in range(40):
            x = random.normal(size=3).clip(-2, 2)
            rating = 0.5 + 0.05 * x @ [1, -2, 0.5] + random.normal(scale=0.05)
            features = np.repeat(x[None], 1 + index % 4, axis=0).astype(np.float32)
            yield Track(f"track{index}", features, {"valence": float(np.clip(rating, 0, 1))})


@pytest.mark.slow
def test_the_loop_finds_the_least_squares_solution(fakes, tmp_path):
    fakes("dataset", "plane", Plane)
    overrides = [
        "dataset={ type = 'plane' }",
        "split.validation=0.0",
        "training={ epochs = 60, batch_size = 64, device = 'cpu' }",
        "training.early_stopping={ monitor = 'train/loss', patience = false }",
        "training.optimizer={ type = 'sgd', lr = 0.3, momentum = 0.5 }",
    ]
    made = assemble(tmp_path, *overrides, text=LINEAR)
    recorder = train(tmp_path, *overrides, text=LINEAR)
    x = np.array([made.features[i].mean(axis=0) for i in made.batches["train"].indices], dtype=np.float64)
    y = made.batches["train"]._targets[made.batches["train"].indices, 0].numpy().astype(np.float64)
    design = np.column_stack([x, np.ones(len(x))])
    solution = np.linalg.lstsq(design, y, rcond=None)[0]
    weights = load_checkpoint(only_run(tmp_path) / "checkpoints" / "last.pt")["network"]
    found = torch.cat([weights["heads.valence.0.weight"][0], weights["heads.valence.0.bias"]]).numpy()
    np.testing.assert_allclose(found, solution, atol=1e-5)
    best = float(((design @ solution - y) ** 2).mean())
    assert recorder.run.history[-1]["train/loss"] == pytest.approx(best, rel=1e-5)


@pytest.mark.slow
@pytest.mark.parametrize("bucket", ["false", "true"])
def test_a_bare_loop_over_the_same_batches_gives_the_same_weights_to_the_bit(bucket, tmp_path):
    overrides = ["weighting.type='learned'", "training.batch_size=10", f"training.bucket={bucket}"]
    recorder = train(tmp_path, *overrides)
    made = assemble(tmp_path, *overrides)

    w = {name: p.detach().clone().requires_grad_() for name, p in made.network.named_parameters()}
    s = torch.zeros(2, requires_grad=True)
    optimizer = torch.optim.Adam([*w.values(), s], lr=1e-2, fused=True)
    for epoch in (1, 2, 3):
        for batch in made.batches["train"].epoch(epoch):
            mean = batch.x.sum(dim=1) / batch.lengths[:, None].to(batch.x)
            embedding = F.linear(mean, w["backbone.dense.weight"], w["backbone.dense.bias"])
            predictions = {}
            for task in ("valence", "genre"):
                hidden = F.linear(embedding, w[f"heads.{task}.0.weight"], w[f"heads.{task}.0.bias"])
                hidden = F.dropout(F.relu(hidden), 0.2, training=True)
                predictions[task] = F.linear(hidden, w[f"heads.{task}.3.weight"], w[f"heads.{task}.3.bias"])
            valence = ((predictions["valence"].flatten() - batch.targets[:, 0]) ** 2).mean()
            genre = F.cross_entropy(predictions["genre"], batch.targets[:, 1].long())
            optimizer.zero_grad()
            (torch.exp(-s[0]) * valence + s[0] + torch.exp(-s[1]) * genre + s[1]).backward()
            optimizer.step()
        for name, weight in recorder.weights[epoch - 1].items():
            assert torch.equal(weight, w[name]), (epoch, name)
    state = load_checkpoint(recorder.run.directory / "checkpoints" / "last.pt")
    assert torch.equal(state["weighting"]["s"], s.detach())


def test_hooks_are_called_in_order_once_with_what_they_are_promised(tmp_path):
    recorder = train(tmp_path, "training.epochs=2", "training.batch_size=13")
    names = [call[:3] for call in recorder.calls]
    epoch = [("batch_finished", 1), ("batch_finished", 2), ("batch_finished", 3)]
    expected = [("run_started",)]
    for number in (1, 2):
        expected.append(("epoch_started", number))
        expected += [("batch_finished", number, batch) for _, batch in epoch]
        expected.append(("epoch_finished", number))
    expected += [("evaluated", "train"), ("evaluated", "val"), ("evaluated", "test"), ("run_finished", "done")]
    assert names == expected
    losses = [call[3] for call in recorder.calls if call[0] == "batch_finished"]
    assert all(list(found) == ["valence", "genre"] for found in losses)
    assert all(isinstance(value, float) for found in losses for value in found.values())


def test_an_epoch_records_losses_metrics_rate_and_weights(tmp_path):
    recorder = train(tmp_path, "training.epochs=1")
    record = recorder.run.history[0]
    scores = ["spearman", "pearson", "ccc", "r2", "rmse", "mae"]
    expected = {"epoch", "train/loss", "val/loss", "train/objective", "train/gradient_norm", "learning_rate"}
    for part in ("train", "val"):
        expected |= {f"{part}/valence/{name}" for name in ["loss", *scores]}
        expected |= {f"{part}/genre/{name}" for name in ("loss", "accuracy", "macro_f1", "weighted_f1")}
    assert set(record) == expected | {"weight/valence", "weight/genre", "val/mean_improvement"}
    assert record["learning_rate"] == 1e-2
    assert record["train/loss"] == pytest.approx(record["train/valence/loss"] + record["train/genre/loss"])


class RootMeanSquare(nn.Module):
    """A loss whose mean over batches is not its value on the whole."""

    kind = "regression"

    def forward(self, prediction, target):
        assert prediction.shape == target.shape
        return ((prediction - target) ** 2).mean().sqrt()

    def diagnostics(self, prediction, target):
        return {"tracks": len(prediction)}


@pytest.mark.slow
def test_losses_and_diagnostics_are_those_of_a_whole_part(fakes, tmp_path):
    fakes("loss", "rms", RootMeanSquare)
    recorder = train(tmp_path, "tasks.valence.loss={ type = 'rms' }", "training.batch_size=7")
    record = recorder.run.history[-1]
    network = recorder.run.network
    network.load(recorder.weights[-1], "the last epoch")
    network.eval()
    made = assemble(tmp_path, "tasks.valence.loss={ type = 'rms' }")
    errors = []
    for index in made.batches["val"].indices:
        x = torch.from_numpy(made.features[int(index)])[None]
        prediction = network(x, torch.tensor([x.shape[1]]))[1]["valence"]
        errors.append(prediction.item() - float(made.batches["val"]._targets[index, 0]))
    assert record["val/valence/loss"] == pytest.approx(np.sqrt(np.mean(np.square(errors))), rel=1e-5)
    assert record["val/valence/rmse"] == pytest.approx(8 * record["val/valence/loss"], rel=1e-5)
    assert record["train/valence/tracks"] == 36.0
    # the training part's loss is on its predictions as they were made, in its own units' rmse too
    assert record["train/valence/rmse"] == pytest.approx(8 * record["train/valence/loss"], rel=1e-5)


class Watching(components.MeanModel):
    """Notes whether it is in training mode."""

    modes: list[tuple[bool, bool]] = []  # noqa: RUF012  # shared on purpose

    def forward(self, x, lengths):
        self.modes.append((self.training, torch.is_grad_enabled()))
        return super().forward(x, lengths)


@pytest.mark.slow
def test_the_network_trains_in_training_mode_and_is_evaluated_in_the_other(fakes, tmp_path):
    fakes("model", "watching", Watching)
    Watching.modes.clear()
    train(tmp_path, "model.type='watching'", "training.epochs=2", "training.batch_size=18")
    training, evaluating = (True, True), (False, False)
    rehearsal, epoch, parts = [*[evaluating] * 2, training], [training, training, evaluating], [evaluating] * 4
    compared = [evaluating] * 2  # with a new network, after the first epoch and with the best weights
    assert Watching.modes == rehearsal + epoch + compared + epoch + compared + parts


@pytest.mark.slow
def test_early_stopping_ends_training_and_best_is_really_the_best(tmp_path):
    # a learning rate that soon overshoots, so that the best epoch is not the last
    overrides = ["training={ epochs = 60, device = 'cpu' }", "training.early_stopping.patience=4"]
    recorder = train(tmp_path, *overrides, "training.optimizer={ type = 'adam', lr = 0.3 }")
    values = [record["val/loss"] for record in recorder.run.history]
    best = int(np.argmin(values)) + 1
    assert len(values) == best + 4 < 60
    folder = recorder.run.directory / "checkpoints"
    for name, epoch in (("best.pt", best), ("last.pt", len(values))):
        found = load_checkpoint(folder / name)
        assert found["epoch"] == epoch
        expected = recorder.weights[epoch - 1]
        assert all(torch.equal(found["network"][key], expected[key]) for key in expected)
    results = results_of(recorder.run.directory)
    assert (results["best_epoch"], results["epochs"]) == (best, len(values))
    # and the final evaluation is that of the best epoch, to which validation gives the same numbers
    record = recorder.run.history[best - 1]
    for name in ("spearman", "rmse", "ccc"):
        found = results["metrics"]["val"]["valence"][name]["value"]
        assert found == pytest.approx(record[f"val/valence/{name}"])


def test_a_checkpoint_holds_all_that_the_rest_of_a_run_depends_on(tmp_path):
    recorder = train(tmp_path, "weighting.type='learned'", "training.schedule={ type = 'cosine' }")
    path = recorder.run.directory / "checkpoints" / "last.pt"
    state = torch.load(path, weights_only=True)
    assert set(state) >= {
        *("format", "epoch", "network", "optimizer", "weighting", "schedule", "scaler", "stopping"),
        *("random", "scaling", "threads", "seconds"),
    }
    assert state["epoch"] == 3
    assert set(state["random"]) == {"torch", "cuda", "python", "numpy"}
    assert state["scaling"]["offset"].shape == state["scaling"]["scale"].shape == (components.ROWS,)
    assert len(state["optimizer"]["param_groups"]) == 2


@pytest.mark.slow
@pytest.mark.parametrize(
    "monitor", ["train/valence/spearman", "weight/genre", "learning_rate", "val/genre/loss"]
)
def test_anything_recorded_can_be_monitored(monitor, tmp_path):
    recorder = train(tmp_path, f"training.early_stopping.monitor='{monitor}'", "weighting.type='learned'")
    values = [record[monitor] for record in recorder.run.history]
    pick = np.argmax if monitor.endswith("spearman") else np.argmin
    assert recorder.run.stopping.best_epoch == int(pick(values)) + 1


def test_a_misspelt_monitor_of_validation_is_found_before_training(tmp_path):
    with pytest.raises(InputError, match=r"small.toml:\d+|--set") as caught:
        train(tmp_path, "training.early_stopping.monitor='val/valance/ccc'")
    assert "did you mean 'val/valence/ccc'" in str(caught.value)
    assert not (tmp_path / "runs").exists()


def test_another_misspelt_monitor_is_found_after_an_epoch(tmp_path):
    with pytest.raises(InputError, match="did you mean 'weight/valence'"):
        train(tmp_path, "training.early_stopping.monitor='weights/valence'")
    results = results_of(only_run(tmp_path))
    assert results["status"] == "failed"
    assert "weights/valence" in results["error"]


@pytest.mark.slow
@pytest.mark.parametrize("weighting", ["sum", "learned"])
def test_missing_targets_are_left_out_even_where_a_batch_has_none_of_a_task(weighting, tmp_path):
    overrides = ["dataset.missing=0.5", "training.batch_size=2", f"weighting.type='{weighting}'"]
    recorder = train(tmp_path, *overrides, "split.method='random'")
    seen = {tuple(call[3]) for call in recorder.calls if call[0] == "batch_finished"}
    assert seen == {("valence",), ("genre",), ("valence", "genre")}
    assert all(math.isfinite(recorder.run.history[-1][f"train/{task}/loss"]) for task in ("valence", "genre"))
    run = recorder.run
    for part, evaluation in recorder.evaluations.items():
        for column, name in enumerate(("valence", "genre")):
            known = np.isfinite(run.tracks.targets[run.split.parts[part], column])
            assert len(evaluation.tasks[name].target) == known.sum() < len(known)


def test_a_task_that_validation_has_no_label_of(fakes, tmp_path):
    class Sparse(components.MemoryDataset):
        def tracks(self):
            for track in super().tracks():
                targets = dict(track.targets)
                if track.part != "train":
                    targets["valence"] = None
                yield type(track)(track.id, track.features, targets, track.group, track.part)

    fakes("dataset", "sparse", Sparse)
    recorder = train(tmp_path, "dataset.type='sparse'", "split.method='official'")
    record = recorder.run.history[-1]
    assert "val/valence/loss" not in record
    assert record["val/loss"] == record["val/genre/loss"]
    found = results_of(recorder.run.directory)["metrics"]["test"]["valence"]
    assert found["tracks"] == 0
    assert found["spearman"] == {"value": None, "low": None, "high": None}


@pytest.mark.slow
def test_the_rate_of_each_epoch_is_recorded_and_used(tmp_path):
    schedule = "training.schedule={ type = 'step', every = 1, factor = 0.5 }"
    recorder = train(tmp_path, schedule, "training.epochs=4")
    assert [record["learning_rate"] for record in recorder.run.history] == [1e-2, 5e-3, 2.5e-3, 1.25e-3]
    frozen = train(tmp_path, "training.schedule={ type = 'step', every = 1, factor = 1e-30 }", runs="frozen")
    first, second = frozen.weights[0], frozen.weights[1]
    assert all(torch.allclose(first[name], second[name], atol=1e-12) for name in first)


def test_the_run_says_where_it_trains(tmp_path):
    assert train(tmp_path, "training.epochs=1").run.device == CPU
